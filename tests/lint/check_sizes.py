"""No C file over 400 lines, unless it says why in its first comment: `size: <reason>`."""

import pathlib
import sys

TOP = pathlib.Path(__file__).resolve().parents[2]
LINES_MAX = 400


def main():
    problems = []
    for pattern in ("lib/**/*.[ch]", "daemon/*.[ch]", "tests/sim/*.[ch]"):
        for path in sorted(TOP.glob(pattern)):
            lines = path.read_text().splitlines()
            if len(lines) > LINES_MAX and "size: " not in "\n".join(lines[:40]):
                problems.append(
                    f"{path.relative_to(TOP)}: {len(lines)} lines, more than {LINES_MAX}: split it,"
                    " or write `size: <reason>` in its first comment"
                )
    for problem in problems:
        print(problem)
    return 1 if problems else 0


sys.exit(main())
