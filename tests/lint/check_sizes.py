"""No file over the agreed number of lines, unless it says why in its first comment: `size: <reason>`.

Tests may be longer than what they test, for the tables in them.
"""

import pathlib
import subprocess
import sys

TOP = pathlib.Path(__file__).resolve().parents[2]
LINES_MAX = 400
TEST_LINES_MAX = 500
TESTS = ("tests/unit/", "tests/e2e/")
REASON_WITHIN_LINES = 40


def sources():
    listed = subprocess.run(
        ["git", "ls-files", "-z", "*.c", "*.h", "*.py"],
        cwd=TOP, check=True, capture_output=True, text=True,
    ).stdout
    return sorted(name for name in listed.split("\0") if name and (TOP / name).exists())


def main():
    problems = 0
    for name in sources():
        lines_max = TEST_LINES_MAX if name.startswith(TESTS) else LINES_MAX
        lines = (TOP / name).read_text(encoding="utf-8").splitlines()
        reason = any("size: " in line for line in lines[:REASON_WITHIN_LINES])
        if len(lines) > lines_max and not reason:
            print(
                f"{name}:{lines_max + 1}: {len(lines)} lines, more than {lines_max}: split it,"
                " or write `size: <reason>` in its first comment"
            )
            problems += 1
    return 1 if problems else 0


sys.exit(main())
