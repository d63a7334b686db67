"""Eight containerd nodes pull the same image, one after another, over shaped links."""

import lab

from .row import AT_MOST, Row, against_limit, progress

NODES, LAYERS, LAYER_MB = 8, 4, 8
UPSTREAM_MBIT, NODE_MBIT = 100, 400


def pulls():
    progress(f"{NODES} nodes pull a {LAYERS * LAYER_MB} MB image, one after another")
    image = lab.images.image(layers=LAYERS, layer_mb=LAYER_MB)
    seconds = []
    with lab.Lab(nodes=NODES, upstream_mbit=UPSTREAM_MBIT, node_mbit=NODE_MBIT) as opened:
        reference = opened.push(image)
        before = opened.upstream.bytes_sent()
        for node in opened.nodes:
            seconds.append(node.pull(reference))
            progress(f"{node.name}: {seconds[-1]:.2f} s")
        sent = opened.upstream.bytes_sent() - before
    return [
        # Frames and heads of HTTP are counted too: a few percent.
        Row("pulls-upstream", "8 pulls: upstream sends", sent / 1e6, image.size_bytes / 1e6, "MB",
            sent / image.size_bytes, AT_MOST, 1.06),
        against_limit("pulls-later", "8 pulls: a later node, slowest", [max(seconds[1:])], "s",
                      0.85),
    ]
