"""A new, empty node while upstream cannot be reached: the program's own image comes from a peer."""

import os
import pathlib
import shutil

import lab
import pytest
import render
from pod import Pod
from test_pod import ARCHIVE, UPSTREAM, WHY_NOT, answers, snapshot, values_for

pytestmark = pytest.mark.skipif(WHY_NOT is not None, reason=str(WHY_NOT))

REFERENCE = f"{UPSTREAM}/spegel:v1"
TOOLS = "registry.example/tools:1"


def chart_for(node, peers):
    values = values_for(node, peers, False)
    return render.render(render.find_helm(), {
        **values, "image": {"repository": f"{UPSTREAM}/spegel", "tag": "v1"},
        "bootstrap": {"service": {"enabled": True},
                      "initContainer": {"enabled": True, "image": {
                          "repository": TOOLS.partition(":")[0], "tag": "1"}}}})


def node_port(node, to):
    """What kube-proxy does for the NodePort Service on every node: here to one instance."""
    node.host.run(["iptables", "-t", "nat", "-A", "OUTPUT", "-d", node.ip, "-p", "tcp",
                   "--dport", "30000", "-j", "DNAT", "--to-destination", f"{to.ip}:5000"])


def import_tools(node, directory):
    """The image of the init container is on new nodes already."""
    archive = lab.images.archive(lab.images.image(layers=1, layer_mb=1.5),
                                 os.path.join(directory, f"{node.host.name}.tar"), TOOLS)
    node.containerd.ctr("images", "import", "--snapshotter", node.containerd.snapshotter, archive)


def start_new_node(opened, node, seed, chart, directory):
    """All that happens on a node between its first boot and its instance's readiness; its pod."""
    node_port(node, seed)
    import_tools(node, directory)
    hosts = pathlib.Path(node.containerd.certs_d, UPSTREAM, "hosts.toml")
    init = Pod(node, TOOLS, chart.pod, "bootstrap")
    assert init.wait(opened) == 0, init.log()
    assert hosts.read_text().startswith("# spegel bootstrap\n")
    node.containerd.cri.pull(REFERENCE)
    pod = Pod(node, REFERENCE, chart.pod)
    opened.settle(lambda: answers(node, "/readyz"), 20, "the new node's instance to be ready")
    opened.settle(lambda: "bootstrap" not in hosts.read_text(), 10, "hosts.toml to be replaced")
    assert f"[host.'http://{node.ip}:5000']" in hosts.read_text()
    assert "X-Spegel-Registry" not in hosts.read_text()
    return pod


def test_an_empty_node_gets_the_program_from_a_peer_and_is_then_one_itself(tmp_path):
    with lab.Lab(nodes=3, daemons=False) as opened:
        first, second, third = opened.nodes
        peers = [n.router for n in opened.nodes]
        charts = [chart_for(n, peers) for n in opened.nodes]
        opened.upstream.host.run(["skopeo", "copy", "--quiet", "--insecure-policy",
                                  "--preserve-digests", "--dest-tls-verify=false",
                                  f"oci-archive:{ARCHIVE}", "docker://127.0.0.1:5000/spegel:v1"])
        image = lab.images.image(layers=2, layer_mb=1)
        other = opened.push(image, "app:v1")
        for node in (second, third):  # the lab has told containerd that its registry speaks http
            shutil.rmtree(os.path.join(node.containerd.certs_d, UPSTREAM))
        before = [snapshot(n.containerd.certs_d) for n in opened.nodes]
        assert before[1] == before[2] == {}

        first.containerd.cri.pull(REFERENCE)
        pod = Pod(first, REFERENCE, charts[0].pod)
        opened.settle(lambda: answers(first, "/readyz"), 20, "the first instance to be ready")
        first.containerd.cri.pull(other)

        opened.upstream.cut()
        start_new_node(opened, second, first, charts[1], tmp_path)
        # A member that takes part: through its own instance it has what the first one holds ...
        opened.settle(lambda: answers(second, f"/v2/app/manifests/v1?ns={UPSTREAM}"), 10,
                      "the first node's images to be known")
        second.containerd.cri.pull(other)
        # ... and once that one is gone, the next new node starts from it.
        assert pod.stop(opened) == 0
        start_new_node(opened, third, second, charts[2], tmp_path)
        third.containerd.cri.pull(other)

        for node, chart, was in zip(opened.nodes, charts, before):
            cleanup = Pod(node, REFERENCE, dict(chart.pod_specs())["spegel-cleanup"])
            opened.settle(lambda n=node: n.host.run(
                ["curl", "-fsS", f"http://{n.ip}:8080/readyz"], check=False).returncode == 0, 10,
                "the cleanup to answer")
            assert snapshot(node.containerd.certs_d) == was
            assert cleanup.stop(opened) == 0
