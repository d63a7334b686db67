"""Cold rollouts without faults: an image that nobody has leaves upstream about once, and everybody
gets it. tests/bench/rollout.py has the times; here is what must hold on any machine."""

import contextlib
import threading
import time

import pytest

import lab
from lab import images, rollout, web
from lab.spegel import REGISTRY_PORT
from support import assert_holds, assert_seconds, blob_path, manifest_path, wait_members

NODES, UPSTREAM_MBIT, NODE_MBIT = 4, 64, 256
ABOUT_ONCE = 1.3
MEGABYTE = 1_000_000

pytestmark = pytest.mark.usefixtures("built_daemon", "installed_containerd")


@contextlib.contextmanager
def cluster(nodes=NODES, **options):
    with lab.Lab(nodes=nodes, upstream_mbit=UPSTREAM_MBIT, node_mbit=NODE_MBIT,
                 **options) as opened:
        wait_members(opened)
        yield opened


@pytest.fixture(scope="module")
def image():
    return images.image(layers=3, layer_mb=3)


@pytest.fixture(scope="module")
def shared_lab():
    """For tests that leave everything as they found it."""
    with cluster() as opened:
        yield opened


@pytest.fixture
def opened(shared_lab):
    yield shared_lab
    rollout.forget(shared_lab, [name for node in shared_lab.nodes
                                for one in node.containerd.cri.images() for name in one["tags"]])


def finish(crowd):
    crowd.finish()
    assert not crowd.errors, crowd.errors


def downloading(opened, node):
    """One of the digests that it downloads, of which it has bytes."""
    opened.settle(lambda: any(f["bytes"] for f in rollout.flights(node).values()), 20,
                  "the download to begin")
    return next(iter(rollout.flights(node)))


def total(opened, name, **labels):
    return sum(node.daemon.metric(name, **labels) for node in opened.nodes)


def times_upstream(outflow, *all_images):
    sizes = {d: len(one.blob(d)) for one in all_images for d in one.digests}
    return outflow.body_bytes / sum(sizes.values())


def gets(outflow, digest):
    """How many times upstream was asked for this content itself."""
    return sum(method == "GET" and path.endswith(digest) for method, path, _, _ in
               outflow.answers())


def test_all_at_once_it_leaves_upstream_once_and_all_have_it(opened, image):
    reference = opened.push(image)
    outflow = rollout.Outflow(opened.upstream)
    finish(rollout.together(opened.nodes, reference))
    for node in opened.nodes:
        assert_holds(node, reference, image)
    assert 1 <= times_upstream(outflow, image) <= ABOUT_ONCE
    # Manifest and config as well: they are small, but they are what rate limits count.
    assert gets(outflow, image.digest) <= 2 and gets(outflow, image.config_digest) <= 2


def test_what_was_decided_is_counted(opened, image):
    reference = opened.push(image)
    names = {"granted": ("spegel_cold_events_total", {"event": "granted"}),
             "followed": ("spegel_cold_events_total", {"event": "followed"}),
             "fed": ("spegel_cold_events_total", {"event": "fed"}),
             "bytes followed": ("spegel_cold_bytes_total", {"path": "followed"}),
             "bytes fed": ("spegel_cold_bytes_total", {"path": "fed"}),
             "decided granted": ("spegel_swarm_decisions_total", {"decision": "granted"}),
             "no badge": ("spegel_http_refused_total", {"reason": "bad_badge"}),
             "decided offered": ("spegel_swarm_decisions_total", {"decision": "offered"})}

    def read():
        return {key: total(opened, name, **labels) for key, (name, labels) in names.items()}

    before = read()
    finish(rollout.together(opened.nodes, reference))
    grown = {key: value - before[key] for key, value in read().items()}
    layers = sum(layer["size"] for layer in image.layers)
    assert grown["granted"] >= len(image.layers) and grown["decided granted"] >= len(image.layers)
    assert grown["no badge"] == 0  # each knew the others for members
    assert grown["followed"] >= 1 and grown["fed"] >= 1 and grown["decided offered"] >= 1
    # Each of the others followed, or had it from one who was done already.
    assert layers / 2 < grown["bytes followed"] <= layers * (NODES - 1) * 1.2
    assert grown["bytes fed"] <= grown["bytes followed"] * 1.2


def test_debug_swarm_says_what_is_in_flight(opened, image):
    reference = opened.push(image)
    ids = rollout.node_ids(opened.nodes)
    crowd = rollout.together(opened.nodes, reference)
    layers = {layer["digest"]: layer["size"] for layer in image.layers}
    leaders, followers, leases = set(), set(), set()
    while crowd.running:
        for node in opened.nodes:
            page = rollout.debug(node, "swarm")
            leases |= {(int(lease["leader"], 16), lease["key"]) for lease in page["leases"]}
            for flight in page["flights"]:
                parent = int(flight["parent"], 16)
                if flight["digest"] in layers and flight["bytes"] > 0:
                    assert 0 < flight["bytes"] <= flight["total"] == layers[flight["digest"]]
                    assert parent in (0, *ids.values()) and parent != ids[node]
                    assert flight["age_ms"] >= 0 and flight["children"] <= NODES
                    (followers if parent else leaders).add(flight["digest"])
        time.sleep(0.05)
    finish(crowd)
    assert leaders == followers == set(layers)
    keys = {f"{int(digest[7:23], 16) & (2**63 - 1):016x}" for digest in layers}
    assert keys <= {key for leader, key in leases if leader in ids.values()}
    opened.settle(lambda: not any(rollout.flights(node) for node in opened.nodes),
                  what="the flights to be over")


def test_two_images_share_layers_on_their_way(opened):
    both = [images.image(layers=3, layer_mb=3, tip=number) for number in range(2)]
    references = [opened.push(one, f"shared{i}:v1") for i, one in enumerate(both)]
    outflow = rollout.Outflow(opened.upstream)
    finish(rollout.Crowd([(node, references[i % 2]) for i, node in enumerate(opened.nodes)]))
    for i, node in enumerate(opened.nodes):
        assert_holds(node, references[i % 2], both[i % 2])
    assert times_upstream(outflow, *both) <= ABOUT_ONCE


def test_a_node_that_joins_later_follows_too(opened, image):
    """It asks when the others have half of it."""
    reference = opened.push(image)
    late = opened.nodes[-1]
    outflow = rollout.Outflow(opened.upstream)
    crowd = rollout.together(opened.nodes[:-1], reference)
    opened.settle(lambda: outflow.link_bytes > image.size_bytes / 2, 30, "half of it to leave")
    crowd.add([(late, reference)])
    finish(crowd)
    assert_holds(late, reference, image)
    assert times_upstream(outflow, image) <= ABOUT_ONCE


@pytest.mark.timed
def test_a_client_that_downloads_nowhere_neither_leads_for_ever_nor_hangs_others(opened, image):
    """curl on a node looks like its containerd; what it gets nobody can be fed from."""
    reference = opened.push(image)
    digest = image.layers[0]["digest"]
    url = f"http://127.0.0.1:{REGISTRY_PORT}{blob_path(reference, digest)}"
    node, others = opened.nodes[0], opened.nodes[1:]
    reply = web.request(node.host, url, timeout_s=5)
    assert reply.status == 404  # granted: it would go upstream now, and does not
    outflow, begun = rollout.Outflow(opened.upstream), time.monotonic()
    crowd = rollout.together(others, reference)
    curled = []
    threading.Thread(target=lambda: curled.append(web.request(node.host, url, timeout_s=60)),
                     daemon=True).start()
    finish(crowd)
    assert_seconds(time.monotonic() - begun, 10, "with a leader that downloads nothing")
    for other in others:
        assert_holds(other, reference, image)
    assert times_upstream(outflow, image) <= ABOUT_ONCE
    opened.settle(lambda: curled, 30, "the client's second answer")
    assert curled[0].status == 404 or curled[0].body == image.blob(digest)
    opened.settle(lambda: not rollout.flights(node), 10, "its flight to end")


def test_another_node_gets_no_part_in_it_through_this_mirror(opened, image):
    """Only a node's own containerd follows: another's request is answered at once."""
    reference = opened.push(image)
    crowd = rollout.together(opened.nodes[:1], reference)
    leader = opened.nodes[0]
    digest = downloading(opened, leader)
    reply = web.request(opened.nodes[1].host,
                        f"http://{opened.nodes[2].ip}:{REGISTRY_PORT}"
                        + blob_path(reference, digest), timeout_s=5)
    assert reply.status == 404 or reply.body == image.blob(digest)
    assert not rollout.flights(opened.nodes[2])
    finish(crowd)


def test_who_is_no_member_does_not_get_what_is_on_its_way(opened, image):
    reference = opened.push(image)
    crowd = rollout.together(opened.nodes[:1], reference)
    leader = opened.nodes[0]
    digest = downloading(opened, leader)
    before = leader.daemon.metric("spegel_http_refused_total", reason="bad_badge")
    for follow in ("true", "0" * 94):
        reply = web.request(opened.nodes[1].host,
                            f"http://{leader.ip}:{REGISTRY_PORT}{blob_path(reference, digest)}",
                            headers={"X-Spegel-Mirrored": "true", "X-Spegel-Follow": follow},
                            timeout_s=5)
        # What is held by then anybody may read.
        assert reply.status == 404 or digest not in rollout.flights(leader)
    assert leader.daemon.metric("spegel_http_refused_total", reason="bad_badge") == before + 2
    finish(crowd)


def test_a_manifest_in_flight_has_its_type(opened, image):
    reference = opened.push(image)
    finish(rollout.together(opened.nodes[:2], reference))
    for node in opened.nodes:
        reply = node.get(manifest_path(reference, image.digest))
        assert reply.status == 200 and reply.body == image.blob(image.digest)
        assert "manifest" in reply.headers["Content-Type"]


@pytest.mark.parametrize("args, once", [
    (("--cold-rollout=false",), False),
    (("--cold-rollout-exclude", r"^registry\.lab:5000/app$"), False),
    (("--cold-rollout-exclude", r"^registry\.lab:5000/other$"), True),
], ids=["off", "excluded", "another excluded"])
def test_it_can_be_turned_off_and_references_kept_out(image, args, once):
    with cluster(nodes=3, daemon_args=args) as opened:
        reference = opened.push(image)
        outflow = rollout.Outflow(opened.upstream)
        finish(rollout.together(opened.nodes, reference))
        for node in opened.nodes:
            assert_holds(node, reference, image)
        times = times_upstream(outflow, image)
        assert times <= ABOUT_ONCE if once else times > 2
        assert (total(opened, "spegel_cold_events_total", event="followed") > 0) == once
        assert (total(opened, "spegel_swarm_decisions_total", decision="granted") > 0) == once
