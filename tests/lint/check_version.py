"""The release's version stands in several places; CMakeLists.txt has the one that counts."""

import pathlib
import re
import sys

TOP = pathlib.Path(__file__).resolve().parents[2]
SOURCE = "CMakeLists.txt", r"project\(spegel VERSION (\S+)"
COPIES = [
    ("Dockerfile", r'org\.opencontainers\.image\.version="([^"]+)"'),
    ("Dockerfile", r"-t registry\.example/spegel:(\S+)"),
    ("charts/spegel/Chart.yaml", r"(?m)^version: (\S+)"),
    ("charts/spegel/Chart.yaml", r"(?m)^appVersion: (\S+)"),
    ("docs/kubernetes.md", r"registry\.example/spegel:([0-9][^\s`]*)"),
]


def find(name, pattern):
    found = re.findall(pattern, (TOP / name).read_text(encoding="utf-8"))
    if not found:
        print(f"{name}: no version, looked for {pattern}")
    return found


def main():
    [version] = find(*SOURCE)
    problems = 0
    for name, pattern in COPIES:
        found = find(name, pattern)
        problems += not found
        for other in found:
            if other != version:
                print(f"{name}: version {other}, but {SOURCE[0]} says {version}")
                problems += 1
    return 1 if problems else 0


sys.exit(main())
