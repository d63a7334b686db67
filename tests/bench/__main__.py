"""Ratios against nginx in one run: PYTHONPATH=tests python3 -m bench"""

import argparse
import json
import os
import shutil
import sys

import lab
from lab import spegel
from lab.versions import BUILD

from . import mirroring, pulls, resources, rollout, rollout_faults, rollout_many, row, serving
from .stage import CONGESTION_CONTROL, Stage

RESULT = os.path.join(BUILD, "bench.json")

# In this order: memory when idle is looked at before anything was asked.
PARTS = {"idle": resources.idle, "serve": serving.serve, "mirror": mirroring.mirror,
         "manifests": serving.manifests, "miss": serving.miss, "busy": resources.busy,
         "cold": resources.cold, "pulls": None}

# Minutes of lab nodes each, so only when they are named, one at a time; each has a file of its own.
LONG_PARTS = {"rollout": rollout.rollouts, "rollout-faults": rollout_faults.rollout_faults_rows,
              "rollout-many": rollout_many.rollout_many}


def parse(argv):
    parser = argparse.ArgumentParser(prog="bench", description=__doc__)
    parser.add_argument("parts", nargs="*", metavar="PART",
                        help=f"what to measure, of: {', '.join(PARTS)} (default: all of these); or "
                             f"one of: {', '.join(LONG_PARTS)}, with a file of its own")
    parser.add_argument("--rounds", type=int, default=5, help="of each, in turns with nginx")
    parser.add_argument("--congestion", metavar="NAME",
                        help="TCP congestion control between the hosts (default: the machine's)")
    parser.add_argument("--report", action="store_true", help="exit 0 even if a goal is missed")
    options = parser.parse_args(argv)
    for part in options.parts:
        if part not in PARTS and options.parts != [part]:
            parser.error(f"no part {part}, or one to be measured by itself")
        if part not in PARTS and part not in LONG_PARTS:
            parser.error(f"no part {part}")
    return options


def why_not(parts):
    path = os.environ.get("PATH", "") + ":/usr/sbin"
    for tool in ("nginx", "wrk", "cc") if not set(parts) & set(LONG_PARTS) else ():
        if not shutil.which(tool, path=path):
            return f"{tool} is not installed"
    return lab.why_unavailable() or spegel.why_missing()


def default_congestion():
    with open(CONGESTION_CONTROL, encoding="ascii") as f:
        return f.read().strip()


def measure(parts, rounds, congestion):
    """Yields rows, part by part."""
    staged = [p for p in parts if PARTS[p]]
    if staged:
        with Stage(congestion) as stage:
            for part in staged:
                yield from PARTS[part](stage, rounds)
    if "pulls" in parts:
        yield from pulls.pulls()


def write_result(rows, options):
    with open(RESULT, "w", encoding="utf-8") as f:
        json.dump({"rounds": options.rounds, "cpus": os.cpu_count(),
                   "congestion_control": options.congestion or default_congestion(),
                   "rows": [one.as_json() for one in rows]}, f, indent=2)
        f.write("\n")


def main(argv):
    options = parse(argv)
    reason = why_not(options.parts)
    if reason:
        print(f"No benchmark here: {reason}", file=sys.stderr)
        return 1
    long_part = LONG_PARTS.get(options.parts[0]) if options.parts else None
    if long_part:
        measured = long_part(options.rounds, os.path.join(BUILD, f"{options.parts[0]}.json"))
    else:
        measured = measure([p for p in PARTS if not options.parts or p in options.parts],
                           options.rounds, options.congestion)
    rows = []
    print(row.HEADER, flush=True)
    for one in measured:
        rows.append(one)
        print(one.line(), flush=True)
    if not long_part:
        write_result(rows, options)
    missed = [one.key for one in rows if not one.ok]
    print(f"\n{len(rows) - len(missed)} of {len(rows)} goals reached"
          + (f"; missed: {', '.join(missed)}" if missed else ""))
    return 1 if missed and not options.report else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
