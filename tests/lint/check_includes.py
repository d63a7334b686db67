"""Arrows between folders run one way: base <- {oci, http, grpc, gossip} <- io <- {store, registry}.

Prints file, line and what the rule is for every include that breaks it.
"""

import pathlib
import re
import sys

TOP = pathlib.Path(__file__).resolve().parents[2]
PURE = {"base", "oci", "http", "grpc", "gossip", "certsd", "cli"}
MAY_INCLUDE = {
    "base": set(),
    "oci": {"base"},
    "http": {"base"},
    "grpc": {"base"},
    "gossip": {"base"},
    "certsd": {"base"},
    "cli": {"base", "certsd"},
    "io": {"base", "oci", "http", "grpc"},
    "store": {"base", "oci", "grpc", "io"},
    "cluster": {"base", "oci", "gossip", "io"},
    "registry": {"base", "oci", "http", "gossip", "io", "store"},
}
LOOP_LIBRARIES = re.compile(r"^(uv\.h|curl/|sys/epoll\.h)")
INCLUDE = re.compile(r'^\s*#\s*include\s+["<]([^">]+)[">]')


def main():
    problems = []
    for path in sorted(TOP.glob("lib/*/*.[ch]")):
        folder = path.parent.name
        allowed = MAY_INCLUDE.get(folder)
        if allowed is None:
            problems.append(f"{path.relative_to(TOP)}: no rule for lib/{folder}: add it here")
            continue
        for number, line in enumerate(path.read_text().splitlines(), 1):
            match = INCLUDE.match(line)
            if not match:
                continue
            target = match.group(1)
            where = f"{path.relative_to(TOP)}:{number}"
            head = target.split("/")[0]
            if head in MAY_INCLUDE and "/" in target and head != folder and head not in allowed:
                problems.append(
                    f"{where}: lib/{folder} may include {', '.join(sorted(allowed)) or 'nothing'},"
                    f" not {head}"
                )
            if LOOP_LIBRARIES.match(target) and folder != "io":
                problems.append(f"{where}: only lib/io uses {target}; wrap what is needed there")
    for problem in problems:
        print(problem)
    return 1 if problems else 0


sys.exit(main())
