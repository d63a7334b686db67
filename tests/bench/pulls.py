"""Eight containerd nodes pull the same image, one after another, over shaped links."""

import statistics
import time

import lab

from .memory import use_memory
from .row import AT_MOST, Row, against_limit, progress

NODES, LAYERS, IMAGE_BYTES = 8, 4, 32_000_000
MEMORY_BYTES = 64 * IMAGE_BYTES  # each node holds the image packed and unpacked
UPSTREAM_MBIT, NODE_MBIT = 100, 400
ROUNDS = 3
WITHDRAWN_S = 1.5  # until every node knows that the image is gone


def one_round(opened, reference):
    """(bytes that upstream sent, seconds of each node)"""
    before = opened.upstream.bytes_sent()
    seconds = [node.pull(reference) for node in opened.nodes]
    progress("seconds: " + " ".join(f"{s:.2f}" for s in seconds))
    return opened.upstream.bytes_sent() - before, seconds


def pulls():
    progress(f"{NODES} nodes pull a {IMAGE_BYTES / 1e6:.0f} MB image, one after another")
    image = lab.images.image(layers=LAYERS,
                             layer_mb=IMAGE_BYTES / LAYERS / lab.images.MEGABYTE)
    use_memory(MEMORY_BYTES)
    with lab.Lab(nodes=NODES, upstream_mbit=UPSTREAM_MBIT, node_mbit=NODE_MBIT) as opened:
        reference = opened.push(image)
        rounds = []
        for _ in range(ROUNDS):
            rounds.append(one_round(opened, reference))
            for node in opened.nodes:
                node.remove(reference)
            time.sleep(WITHDRAWN_S)
    sent = max(r[0] for r in rounds)
    later = [statistics.median(of_node) for of_node in zip(*(r[1][1:] for r in rounds))]
    return [
        # Heads and frames are counted too: a few percent.
        Row("pulls-upstream", "8 pulls: upstream sends", sent / 1e6, image.size_bytes / 1e6, "MB",
            sent / image.size_bytes, AT_MOST, 1.05, ROUNDS),
        against_limit("pulls-later", "8 pulls: the slowest later node", [max(later)], "s", 0.85)]
