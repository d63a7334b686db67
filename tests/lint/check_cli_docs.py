#!/usr/bin/env python3
"""The CLI reference and the man page say what the program's own --help says.

docs/cli.md holds the --help of every command between markers; daemon/spegel.8 the same flags as
man-page entries. Without arguments: exits 1 and shows the difference where either is out of date.
With --write: brings both up to date. The program is the other argument, else $SPEGEL, else
build/spegel.
"""

import difflib
import os
import re
import subprocess
import sys

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
WRITE = "--write" in sys.argv[1:]
NAMED = [argument for argument in sys.argv[1:] if argument != "--write"]
PROGRAM = os.path.abspath(
    NAMED[0] if NAMED else os.environ.get("SPEGEL") or os.path.join(ROOT, "build", "spegel")
)
MARKDOWN = os.path.join(ROOT, "docs", "cli.md")
MAN = os.path.join(ROOT, "daemon", "spegel.8")


def help_of(*command):
    return subprocess.run(
        [PROGRAM, *command, "--help"], check=True, capture_output=True, text=True
    ).stdout


def commands():
    section = help_of().split("Commands:\n")[1].split("\n\n")[0]
    return re.findall(r"^  (\S+)", section, re.MULTILINE)


def flags(text):
    """(form, explanation) of each flag in a --help text, in its order."""
    found = []
    for line in text.splitlines():
        if line.startswith("  --"):
            form, _, explanation = line.strip().partition("  ")
            found.append([form, explanation.strip()])
        elif line.startswith(" " * 10) and found:
            found[-1][1] = f"{found[-1][1]} {line.strip()}".strip()
    return found


def markdown():
    parts = []
    for name in commands():
        parts.append(f"## spegel {name}\n\n```text\n{help_of(name).rstrip()}\n```\n")
    return "\n".join(parts)


def roff(text):
    text = text.replace("\\", "\\e").replace("-", "\\-")
    return f"\\&{text}" if text.startswith((".", "'")) else text


def man():
    lines = []
    for name in commands():
        text = help_of(name)
        usage, summary = text.splitlines()[0], text.splitlines()[2]
        lines += [f".SS {roff('spegel ' + name)}", roff(summary), ".PP"]
        lines += [f".B {roff(usage.removeprefix('Usage: '))}"]
        for form, explanation in flags(text.split("Flags of every command:")[0]):
            lines += [".TP", f".B {roff(form)}", roff(explanation)]
    return "\n".join(lines) + "\n"


def updated(path, begin, end, generated):
    """The file's text with what stands between its markers replaced."""
    with open(path, encoding="utf-8") as f:
        text = f.read()
    head, rest = text.split(begin + "\n", 1)
    tail = rest.split(end + "\n", 1)[1]
    return text, f"{head}{begin}\n{generated}{end}\n{tail}"


def main():
    if not os.access(PROGRAM, os.X_OK):
        sys.exit(f"{PROGRAM}: build the program first")
    stale = False
    for path, begin, end, generated in [
        (MARKDOWN, "<!-- begin: --help -->", "<!-- end: --help -->", markdown()),
        (MAN, '.\\" begin: --help', '.\\" end: --help', man()),
    ]:
        old, new = updated(path, begin, end, generated)
        if old == new:
            continue
        if WRITE:
            with open(path, "w", encoding="utf-8") as f:
                f.write(new)
            continue
        stale = True
        name = os.path.relpath(path, ROOT)
        diff = difflib.unified_diff(old.splitlines(), new.splitlines(), name, "--help", lineterm="")
        print("\n".join(diff))
        print(f"{name}: out of date, run tests/lint/check_cli_docs.py --write")
    sys.exit(1 if stale else 0)


if __name__ == "__main__":
    main()
