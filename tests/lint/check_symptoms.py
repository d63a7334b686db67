"""What docs/troubleshooting.md quotes from the log or from helm is said somewhere in the sources."""

import pathlib
import re
import sys

TOP = pathlib.Path(__file__).resolve().parents[2]
PAGE = TOP / "docs/troubleshooting.md"


def said():
    """The text of all sources that speak, strings that C joins over lines in one piece."""
    files = [*TOP.glob("daemon/*.c"), *TOP.glob("lib/*/*.c"),
             *TOP.glob("charts/spegel/templates/*.tpl")]
    return re.sub(r'"\s*\n\s*"', "", "\n".join(f.read_text() for f in files))


def main():
    text, missing = said(), []
    for number, line in enumerate(PAGE.read_text().splitlines(), 1):
        seen = line.split("|")[1] if line.startswith("|") else ""
        for quoted in re.findall(r"`([^`]+)`", seen):
            words = re.sub(r"^\.\.\.|\s*\.\.\.$", "", quoted)
            if " " in words and not re.match(r"helm |certs", words) and words not in text:
                missing.append(f"docs/troubleshooting.md:{number}: nobody says \"{words}\"")
    print("\n".join(missing), end="\n" if missing else "")
    return bool(missing)


if __name__ == "__main__":
    sys.exit(main())
