"""The lab itself: what every other end-to-end test stands on."""

import os
import signal
import subprocess
import sys
import time

import pytest

import lab
from lab import images, net, sweep, web

SMALL_MB = 1.0


def test_a_node_pulls_through_cri_straight_from_upstream(any_containerd):
    with lab.Lab(nodes=1, daemons=False, binaries=any_containerd) as l:
        image = images.image(layers=2, layer_mb=SMALL_MB)
        reference = l.push(image)
        node = l.nodes[0]
        before = l.upstream.bytes_sent()
        node.pull(reference)
        sent = l.upstream.bytes_sent() - before
        assert image.size_bytes < sent < image.size_bytes * 1.1
        assert node.containerd.cri.image(reference)["tags"] == [reference]
        assert set(image.digests) <= set(node.containerd.services.content())
        assert node.containerd.services.images()[reference] == image.digest
        assert os.path.getsize(node.containerd.blob_path(image.digest)) > 0


def test_removing_an_image_collects_its_blobs_before_it_returns(any_containerd):
    with lab.Lab(nodes=1, daemons=False, binaries=any_containerd) as l:
        image = images.image(layers=2, layer_mb=SMALL_MB)
        reference = l.push(image)
        node = l.nodes[0]
        node.pull(reference)
        node.remove(reference)
        assert not set(image.digests) & set(node.containerd.services.content())
        assert not os.path.exists(node.containerd.blob_path(image.layers[0]["digest"]))


def test_images_are_kept_when_containerd_is_killed_and_started_again(any_containerd):
    with lab.Lab(nodes=1, daemons=False, binaries=any_containerd) as l:
        reference = l.push(images.image(layers=1, layer_mb=SMALL_MB))
        node = l.nodes[0]
        node.pull(reference)
        node.containerd.kill()
        node.containerd.start()
        assert node.containerd.cri.image(reference)


def test_ctr_pulls_imports_and_runs(installed_containerd):
    with lab.Lab(nodes=2, daemons=False, binaries=installed_containerd) as l:
        image = images.image(layers=2, layer_mb=SMALL_MB)
        reference = l.push(image)
        l.nodes[0].containerd.ctr_pull(reference)
        assert l.nodes[0].containerd.services.images()[reference] == image.digest
        archive = images.archive(image, os.path.join(l.net.directory, "a.tar"), reference)
        l.nodes[1].containerd.import_image(archive)
        assert l.nodes[1].containerd.services.images()[reference] == image.digest
        ran, output = l.nodes[0].containerd.run_container(reference, ["echo", "it runs"])
        if not ran:
            pytest.skip(f"runc cannot run here: {output}")
        assert output.strip() == "it runs"


def test_an_index_keeps_all_platforms_and_a_node_takes_its_own(installed_containerd):
    with lab.Lab(nodes=1, daemons=False, binaries=installed_containerd) as l:
        own, other = images.image(layers=1, layer_mb=SMALL_MB), images.image(
            layers=1, layer_mb=SMALL_MB, seed=2, platform="linux/s390x")
        index = images.index(own, other)
        l.nodes[0].pull(l.push(index, "multi:v1"))
        held = l.nodes[0].containerd.services.content()
        assert index.digest in held and set(own.digests) <= set(held)
        assert other.layers[0]["digest"] not in held


def test_images_differ_in_what_the_field_differs_in():
    plain = images.image(layers=3, layer_mb=SMALL_MB)
    assert "mediaType" not in plain.manifest  # umoci's way
    assert len(plain.layers) == 3
    assert abs(plain.size_bytes - 3 * SMALL_MB * images.MEGABYTE) < 0.3 * images.MEGABYTE
    assert images.image(layers=3, layer_mb=SMALL_MB).digest == plain.digest
    other = images.image(layers=3, layer_mb=SMALL_MB, seed=2)
    assert not {d["digest"] for d in other.layers} & {d["digest"] for d in plain.layers}


def test_daemons_without_containerd_share_a_layout_from_disk(built_daemon):
    with lab.Lab(nodes=0, upstream=False, containerd=False) as l:
        image = images.image(layers=2, layer_mb=SMALL_MB)
        path = os.path.join(l.net.directory, "layout")
        images.layout(image, path, "registry.lab:5000/app:v1")
        l.add_node(start=False, stores=[path])
        l.add_node(start=False)
        l.start()
        layer = image.layers[0]["digest"]
        url = f"/v2/app/blobs/{layer}?ns=registry.lab:5000"
        assert l.nodes[0].get(url).status == 200
        l.settle(lambda: l.nodes[1].get(url).status == 200, what="the second node to find it")
        assert l.nodes[1].get(url).body == image.blob(layer)
        assert l.nodes[1].daemon.metrics()


def test_a_daemon_that_ends_by_itself_fails_the_lab(built_daemon):
    with pytest.raises(lab.LabError, match="ended by itself"):
        with lab.Lab(nodes=1, upstream=False, containerd=False) as l:
            os.kill(l.nodes[0].daemon.pid, signal.SIGKILL)
            l.nodes[0].daemon.wait()


@pytest.fixture
def two_hosts(real_network):
    """Two hosts; the second serves its directory over HTTP, with 4 MB of zeros in it."""
    with net.Net() as wires:
        client, server = wires.add_host("client"), wires.add_host("server")
        directory = wires.make_dir("www")
        with open(os.path.join(directory, "zeros"), "wb") as f:
            f.write(bytes(4 * images.MEGABYTE))
        server.popen([sys.executable, "-m", "http.server", "--bind", "::", "80"], cwd=directory,
                     stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        deadline = time.monotonic() + 10
        while True:
            try:
                web.request(client, f"http://{server.ip}/")
                break
            except OSError:
                assert time.monotonic() < deadline
                time.sleep(0.05)
        yield client, server


def test_hosts_reach_each_other_over_both_address_families(two_hosts):
    client, server = two_hosts
    assert web.request(client, f"http://{server.ip}/").status == 200
    assert web.request(client, f"http://[{server.ip6}]/").status == 200


@pytest.mark.timed
def test_a_shaped_link_takes_its_wire_time_and_counts_its_bytes(two_hosts):
    client, server = two_hosts
    server.link.shape(40)
    before = server.link.sent_bytes()
    reply = web.request(client, f"http://{server.ip}/zeros")
    assert len(reply.body) == 4 * images.MEGABYTE
    assert 0.75 < reply.total_s < 1.5  # 0.84 s at 40 Mbit/s
    assert len(reply.body) < server.link.sent_bytes() - before < 1.05 * len(reply.body)
    server.link.shape(None)
    assert web.request(client, f"http://{server.ip}/zeros").total_s < 0.75


@pytest.mark.parametrize("silent", [True, False])
def test_a_cut_link_carries_nothing_until_it_is_restored(two_hosts, silent):
    client, server = two_hosts
    server.link.cut(silent)
    with pytest.raises(OSError):
        web.request(client, f"http://{server.ip}/", timeout_s=0.5)
    server.link.restore()
    assert web.request(client, f"http://{server.ip}/").status == 200


def test_a_lossy_link_loses_packets(two_hosts):
    client, server = two_hosts
    server.link.lose(1.0)
    with pytest.raises(OSError):
        web.request(client, f"http://{server.ip}/", timeout_s=0.5)
    server.link.lose(0)
    assert web.request(client, f"http://{server.ip}/").status == 200


def test_nothing_of_a_lab_appears_in_the_network_of_the_machine(real_network):
    def seen():
        commands = (["ip", "-o", "link"], ["ip", "route"], ["ip", "-6", "route"], ["ip", "rule"])
        return [net.run(c).stdout for c in commands]

    before = seen()
    with net.Net() as wires:
        wires.add_host("a")
        assert seen() == before


def test_two_labs_at_once_do_not_meet(real_network):
    with net.Net() as one, net.Net() as two:
        assert one.add_host("a").ip == two.add_host("a").ip
        assert one.prefix != two.prefix


def test_a_closed_lab_leaves_nothing(installed_containerd):
    with lab.Lab(nodes=2, daemons=False, binaries=installed_containerd) as l:
        prefix = l.net.prefix
        assert sweep.leftovers(prefix)
    assert sweep.leftovers(prefix) == []


HOLD_A_LAB = """
import signal, sys, time, lab
signal.signal(signal.SIGINT, signal.default_int_handler)  # CI may run us with both ignored
signal.signal(signal.SIGHUP, signal.SIG_DFL)
with lab.Lab(nodes=1, daemons=False) as l:
    print(l.net.prefix, flush=True)
    {body}
"""


@pytest.mark.parametrize("ending", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGKILL,
                                    "exception", "exit"])
def test_a_lab_leaves_nothing_however_its_process_ends(installed_containerd, ending):
    body = {"exception": "raise RuntimeError", "exit": "sys.exit(3)"}.get(ending, "time.sleep(60)")
    path = os.path.join(os.path.dirname(__file__), "..")
    child = subprocess.Popen([sys.executable, "-c", HOLD_A_LAB.format(body=body)],
                             env={**os.environ, "PYTHONPATH": path}, stdout=subprocess.PIPE,
                             stderr=subprocess.DEVNULL, text=True)
    prefix = child.stdout.readline().strip()
    assert prefix.startswith("spl")
    if isinstance(ending, signal.Signals):
        assert sweep.leftovers(prefix)
        child.send_signal(ending)
    child.wait(20)
    child.stdout.close()
    assert sweep.wait_swept(prefix) == []
