"""`./dev herd --daemons`: what 16 real daemons do beside what the simulation says they would."""

import argparse
import json
import os
import sys
import tempfile

import lab
from lab import spegel
from lab.versions import BUILD

from . import cluster, prediction

RESULT = os.path.join(BUILD, "cluster.json")
PARTS = ("announce", "kill", "freeze", "cut")
TIMES = {"announce": 20, "kill": 4, "freeze": 4, "cut": 3}


def parse(argv):
    parser = argparse.ArgumentParser(prog="herd --daemons", description=__doc__)
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"of: {', '.join(PARTS)}")
    parser.add_argument("--loss", type=float, action="append", metavar="SHARE",
                        help="of datagrams; repeatable (default: 0 and 0.3)")
    parser.add_argument("--times", type=int, metavar="N",
                        help=f"each part so often (default: {TIMES})")
    options = parser.parse_args(argv)
    for part in options.parts:
        if part not in PARTS:
            parser.error(f"no part {part}")
    for loss in options.loss or ():
        if loss not in (0, 0.3):
            parser.error("the simulation has scenarios for 0 and 0.3")
    return options


def main(argv):
    options = parse(argv)
    reason = lab.why_unavailable() or spegel.why_missing()
    if reason:
        print(f"No real daemons here: {reason}", file=sys.stderr)
        return 1
    rows = []
    print(prediction.HEADER, flush=True)
    with tempfile.TemporaryDirectory(prefix="spegel-herd-") as directory, \
            cluster.Cluster(directory) as c:
        for loss in options.loss or (0, 0.3):
            c.lose(loss)
            c.settle()
            for part in [p for p in PARTS if not options.parts or p in options.parts]:
                measured = getattr(c, part)(options.times or TIMES[part])
                for row in prediction.rows(part, loss, measured):
                    rows.append(row)
                    print(prediction.line(row), flush=True)
    with open(RESULT, "w", encoding="utf-8") as f:
        json.dump({"nodes": cluster.NODES, "cpus": os.cpu_count(), "rows": rows}, f, indent=2)
        f.write("\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
