"""Eight containerd nodes pull a new image at the same moment: what leaves upstream, and when the
last one is done.

What upstream sends is counted in bytes of bodies, by its access log; the cable, which also counts
every frame's head, is compared with the same image pulled by one node alone. Times are compared
with that one node's too, in the same round. The nodes' files lie in memory where there is room.
"""

import json
import os
import statistics
import time

import lab
from lab import rollout

from .memory import use_memory
from .row import AT_MOST, Row, against_limit, progress

NODES = 8
UPSTREAM_MBIT, NODE_MBIT = 100, 400
OTHER_CONTAINERD = "2.1"
PAUSE_S = 0.5  # between rounds: what was removed is known to be gone, and the daemons are at rest
GOAL_UPSTREAM, GOAL_LAST, GOAL_UPLINK = 1.02, 1.25, 3.0
GOAL_CABLE = 1.05  # how many heads a body has depends on how it was cut into frames
GOAL_PAIRS_S, GOAL_OFFLINE_S, GOAL_HELD = 6.0, 2.3, 1.1
HELD_ROUNDS = 5


def image_of(layers, total_bytes, **more):
    return lab.images.image(layers=layers, layer_mb=total_bytes / layers / lab.images.MEGABYTE,
                            **more)


def spread(values):
    return " ".join(f"{v:.2f}" for v in values)


class Scene:
    """A lab, and what is measured in it: a dict for each round of each case, for the JSON."""

    def __init__(self, opened, rounds):
        self.lab, self.rounds, self.nodes = opened, rounds, opened.nodes
        self.upstream = opened.upstream
        self.cases = {}

    def forget(self, references):
        rollout.forget(self.lab, references)
        time.sleep(PAUSE_S)

    def crowd(self, key, pulls, size_bytes, **more):
        """One round: the pulls begin together. Whatever failed is an error of the benchmark."""
        outflow = rollout.Outflow(self.upstream)
        before = [n.link.sent_bytes() for n in self.nodes]
        crowd = rollout.Crowd(pulls).finish()
        uplinks = [(n.link.sent_bytes() - b) / size_bytes for n, b in zip(self.nodes, before)]
        measured = {"seconds": [p.seconds for p in crowd.pulls], "last_s": crowd.last_s,
                    "failed": len(crowd.errors), "errors": [str(e) for e in crowd.errors],
                    "upstream": outflow.body_bytes / size_bytes,
                    "upstream_link": outflow.link_bytes / size_bytes, "uplinks": uplinks, **more}
        self.cases.setdefault(key, []).append(measured)
        progress(f"{key}: {spread(measured['seconds'])} s; upstream {measured['upstream']:.3f}; "
                 f"uplinks {spread(uplinks)}" + "".join(f"; FAILED: {e}" for e in crowd.errors))
        return measured

    def median(self, key, value):
        return statistics.median(value(measured) for measured in self.cases[key])


def upstream_row(scene, key, what):
    ratio = scene.median(key, lambda m: m["upstream"])
    return Row(f"{key}-upstream", f"{what}: upstream, × image", ratio, 1.0, "×", ratio, AT_MOST,
               GOAL_UPSTREAM, len(scene.cases[key]))


def at_once(scene, key, what, image, reference):
    """All nodes, and before each round one of them alone."""
    for number in range(scene.rounds):
        alone = scene.crowd(f"{key}-alone", [(scene.nodes[number % len(scene.nodes)], reference)],
                            image.size_bytes)
        scene.forget([reference])
        scene.crowd(key, [(n, reference) for n in scene.nodes], image.size_bytes,
                    alone_s=alone["last_s"], alone_link=alone["upstream_link"])
        scene.forget([reference])
    yield upstream_row(scene, key, what)
    links = scene.median(key, lambda m: m["upstream_link"] / m["alone_link"])
    yield Row(f"{key}-cable", f"{what}: upstream's cable, × one node's",
              scene.median(key, lambda m: m["upstream_link"]),
              scene.median(key, lambda m: m["alone_link"]), "×", links, AT_MOST, GOAL_CABLE,
              scene.rounds)
    yield Row(f"{key}-last", f"{what}: last node, one node alone",
              scene.median(key, lambda m: m["last_s"]),
              scene.median(key, lambda m: m["alone_s"]), "s",
              scene.median(key, lambda m: m["last_s"] / m["alone_s"]), AT_MOST, GOAL_LAST,
              scene.rounds)
    busiest = scene.median(key, lambda m: max(m["uplinks"]))
    yield Row(f"{key}-uplink", f"{what}: busiest node sends, × image", busiest, 1.0, "×", busiest,
              AT_MOST, GOAL_UPLINK, scene.rounds)


def pairs(scene, image, reference):
    """Two at a time, as a DaemonSet with maxUnavailable 2."""
    for _ in range(scene.rounds):
        outflow, begun = rollout.Outflow(scene.upstream), time.monotonic()
        seconds = []
        for i in range(0, len(scene.nodes), 2):
            crowd = rollout.together(scene.nodes[i:i + 2], reference).finish()
            assert not crowd.errors, crowd.errors
            seconds.append(crowd.last_s)
        scene.cases.setdefault("pairs", []).append(
            {"seconds": seconds, "total_s": time.monotonic() - begun,
             "upstream": outflow.body_bytes / image.size_bytes})
        progress(f"pairs: {spread(seconds)} s")
        scene.forget([reference])
    yield upstream_row(scene, "pairs", "two at a time")
    yield against_limit("pairs-total", "two at a time: all of them",
                        [m["total_s"] for m in scene.cases["pairs"]], "s", GOAL_PAIRS_S)


def shared_layers(scene):
    """Three images that share all layers but the last; each on half of the nodes."""
    images = [image_of(4, 32e6, tip=number) for number in range(3)]
    references = [scene.lab.push(one, f"shared{i}:v1") for i, one in enumerate(images)]
    sizes = {d: os.path.getsize(one.blob_path(d)) for one in images for d in one.digests}
    halves = [scene.nodes[0::2], scene.nodes[1::2], scene.nodes[:len(scene.nodes) // 2]]
    for _ in range(scene.rounds):
        scene.crowd("shared", [(n, r) for r, half in zip(references, halves) for n in half],
                    sum(sizes.values()))
        scene.forget(references)
    yield upstream_row(scene, "shared", "three images, shared layers")


def offline(scene, image, reference):
    """Upstream is away; one node has the image, and everybody asks by tag."""
    holder, others = scene.nodes[0], scene.nodes[1:]
    for _ in range(scene.rounds):
        holder.pull(reference)
        scene.lab.settle(lambda: all(n.daemon.metric("spegel_gossip_index_entries") >=
                                     len(image.digests) + 1 for n in others),
                         what="the holder to be known")
        scene.upstream.cut()
        scene.crowd("offline", [(n, reference) for n in others], image.size_bytes)
        scene.upstream.restore()
        scene.forget([reference])
    measured = scene.cases["offline"]
    failed = sum(m["failed"] for m in measured)
    yield Row("offline-failed", "upstream cut, 7 from 1: failed pulls", failed, 0, "", failed,
              AT_MOST, 0, len(measured))
    yield against_limit("offline-last", "upstream cut, 7 from 1: the last node",
                        [m["last_s"] for m in measured], "s", GOAL_OFFLINE_S)
    sent = scene.median("offline", lambda m: m["uplinks"][0])
    yield Row("offline-uplink", "upstream cut, 7 from 1: it sends, × image", sent, 1.0, "×", sent,
              AT_MOST, GOAL_UPLINK, len(measured))


def held(scene, image, reference):
    """One node after the other pulls what one node holds, with this and without."""
    holder, asker = scene.nodes[0], scene.nodes[1]
    without = scene.lab.add_node(daemon_args=("--cold-rollout=false",))
    holder.pull(reference)
    for number in range(HELD_ROUNDS * 2):
        node = (asker, without)[number % 2]
        scene.lab.settle(lambda: all(n.daemon.metric("spegel_gossip_index_entries") ==
                                     len(image.digests) + 1 for n in (asker, without)),
                         what="only the holder to be known")
        time.sleep(PAUSE_S)
        key = "held" if node is asker else "held-without"
        scene.cases.setdefault(key, []).append({"last_s": node.pull(reference)})
        node.remove(reference)
    ours, theirs = (scene.median(key, lambda m: m["last_s"]) for key in ("held", "held-without"))
    yield Row("held", "one pull of what is held; without this", ours, theirs, "s", ours / theirs,
              AT_MOST, GOAL_HELD, HELD_ROUNDS)


def installed(scene):
    image = image_of(4, 32e6)
    reference = scene.lab.push(image)
    yield from at_once(scene, "all", "8 at once", image, reference)
    yield from pairs(scene, image, reference)
    yield from offline(scene, image, reference)
    yield from shared_layers(scene)
    one = image_of(1, 32e6)
    yield from at_once(scene, "one-layer", "1 layer", one, scene.lab.push(one, "one:v1"))
    large = image_of(6, 96e6)
    yield from at_once(scene, "large", "96 MB", large, scene.lab.push(large, "large:v1"))
    yield from held(scene, image, reference)


def other_containerd(scene):
    image = image_of(4, 32e6)
    yield from at_once(scene, "other", f"containerd {OTHER_CONTAINERD}", image,
                       scene.lab.push(image))


def without(scene):
    """The same without the feature, once, to be told beside it: no goal."""
    image = image_of(4, 32e6)
    reference = scene.lab.push(image)
    scene.crowd("without", [(n, reference) for n in scene.nodes], image.size_bytes)
    return ()


def rollouts(rounds, result_path):
    """Yields rows; writes all that was measured to result_path."""
    rounds = min(rounds, 3)
    labs = [(installed, lab.versions.find("1.6"), ()),
            (other_containerd, lab.versions.find(OTHER_CONTAINERD), ()),
            (without, lab.versions.find("1.6"), ("--cold-rollout=false",))]
    use_memory(NODES * 3 * 200e6)
    cases, rows = {}, []
    for part, binaries, args in labs:
        if binaries is None:
            progress(f"{part.__name__} left out: no such containerd here")
            continue
        progress(f"{NODES} nodes, containerd {binaries.version}, {' '.join(args)}")
        with lab.Lab(nodes=NODES, upstream_mbit=UPSTREAM_MBIT, node_mbit=NODE_MBIT,
                     binaries=binaries, daemon_args=args) as opened:
            scene = Scene(opened, rounds)
            try:
                for row in part(scene):
                    rows.append(row)
                    yield row
            finally:
                cases.update(scene.cases)
                with open(result_path, "w", encoding="utf-8") as f:
                    json.dump({"rounds": rounds, "cpus": os.cpu_count(), "nodes": NODES,
                               "rows": [row.as_json() for row in rows], "cases": cases}, f,
                              indent=2)
                    f.write("\n")
