"""Eight containerd nodes pull a new image at once and something goes wrong (lab/rollout_faults.py):
each fault with cold rollouts and without. The ratio is of the time against the time without, plus
three seconds."""

import json
import os

from lab import rollout_faults

from .memory import use_memory
from .row import AT_MOST, Row, progress

NODES, LAYERS, IMAGE_MB = 8, 4, 32
UPSTREAM_MBIT, NODE_MBIT = 100, 400
FAULT_COST_S = 3.0
UPSTREAM_SLACK = 0.1  # heads, frames, and what was under way when a download was given up


def once(name, fault, cold):
    image = rollout_faults.image(LAYERS, IMAGE_MB)
    with rollout_faults.Scene(fault, NODES, image, UPSTREAM_MBIT, NODE_MBIT, cold) as scene:
        result = scene.run()
    progress(f"{name}, {'with' if cold else 'without'}: {result['others_s']:.2f} s, "
             f"upstream {result['upstream']:.2f} ×, {result['tries']} more tries"
             + (f", FAILED: {result['failed']}" if result["failed"] else "")
             + (f", WRONG: {result['wrong']}" if result["wrong"] else ""))
    return result


def rollout_faults_rows(rounds, result_path):
    """Yields rows, two for each fault; rounds says nothing here, each is run once."""
    del rounds
    use_memory(NODES * IMAGE_MB * 6e6)
    measured, rows = {}, []
    for name, fault in rollout_faults.FAULTS.items():
        ours, theirs = once(name, fault, True), once(name, fault, False)
        measured[name] = {"with": ours, "without": theirs}
        limit_s = theirs["others_s"] + FAULT_COST_S
        well = not ours["wrong"] and bool(ours["failed"]) == fault.ends_in_failure
        for row in (Row(f"{name}-time", f"{name}: last, + {FAULT_COST_S:g} s",
                        ours["others_s"], limit_s, "s",
                        ours["others_s"] / limit_s if well else float("inf"), AT_MOST, 1.0),
                    Row(f"{name}-upstream", f"{name}: upstream, × image", ours["upstream"],
                        theirs["upstream"], "×", ours["upstream"], AT_MOST,
                        fault.upstream + UPSTREAM_SLACK)):
            rows.append(row)
            yield row
        with open(result_path, "w", encoding="utf-8") as f:
            json.dump({"nodes": NODES, "image_mb": IMAGE_MB, "cpus": os.cpu_count(),
                       "rows": [r.as_json() for r in rows], "measured": measured}, f, indent=2)
            f.write("\n")
