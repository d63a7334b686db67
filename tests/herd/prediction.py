"""The simulation's word on a scenario, and both sides as rows of a table."""

import json
import os
import statistics

from lab.net import run
from lab.versions import BUILD

SEEDS = "1-5"
# part -> (what was measured, what the simulation calls it)
WHAT = {"announce": (("visible", "visibility_ms"),),
        "kill": (("excluded", "exclusion_ms"), ("joined", "join_ms")),
        "freeze": (("back", "heal_ms"),),
        "cut": (("healed", "heal_ms"),)}
TEXT = {"visible": "an announcement is visible at another", "excluded": "killed: no longer chosen",
        "joined": "started again: ready", "back": "2 s frozen: every view complete again",
        "healed": "two halves for 8 s: every view complete again"}
HEADER = (f"{'p50 / p99 / max, ms':<48} {'loss':>5} {'measured':>22} {'n':>5}"
          f" {'simulated':>22}")


def simulate(part, loss, seeds=SEEDS):
    """The reports of one run a seed."""
    name = f"real-{part}" + ("-loss30" if loss else "")
    said = run([os.path.join(BUILD, "sim"), "--scenario", name, "--nodes", 16, "--seeds", seeds,
                "--json"]).stdout
    return [json.loads(line) for line in said.splitlines() if line.startswith("{")]


def share(values, which):
    """As the simulation counts: the value at that share of the sorted list, from below."""
    ordered = sorted(values)
    return ordered[int((len(ordered) - 1) * which)] if ordered else 0.0


def rows(part, loss, measured):
    """One row for each thing measured. Of the simulation's seeds: the median of the p50, and of
    p99 and max the worst."""
    reports = simulate(part, loss)
    for what, key in WHAT[part]:
        values = measured[what]
        predicted = [r[key] for r in reports]
        yield {"part": part, "what": what, "loss": loss, "count": len(values),
               "deaths": measured.get("deaths"), "out": measured.get("out"),
               "measured_ms": {"p50": share(values, 0.5), "p99": share(values, 0.99),
                               "max": max(values)},
               "simulated_ms": {"p50": statistics.median(p["p50"] for p in predicted),
                                "p99": max(p["p99"] for p in predicted),
                                "max": max(p["max"] for p in predicted)},
               "violations": sum(r["violations"] for r in reports)}


def line(row):
    sides = ["{p50:.0f} / {p99:.0f} / {max:.0f}".format(**row[side])
             for side in ("measured_ms", "simulated_ms")]
    deaths = "" if row["deaths"] is None else (
        f"   out at {row['out']:.1f} others, dead at {row['deaths']:.0f}")
    return (f"{TEXT[row['what']]:<48} {row['loss'] * 100:>3.0f} % {sides[0]:>22} {row['count']:>5}"
            f" {sides[1]:>22}{deaths}")
