"""What the chart renders is what runs: its pods, from the image, on real containerd nodes, with no
right more than they are given."""

import os
import pathlib
import shutil

import lab
import pytest
import render
from archive import ARCHIVE, why_not
from pod import Pod, import_image

UPSTREAM = "registry.lab:5000"

WHY_NOT = (lab.why_unavailable() or why_not() or (None if render.find_helm() else
           "no helm: `./dev chart` installs it where Go is") or
           (None if shutil.which("containerd") else "no containerd"))
pytestmark = pytest.mark.skipif(WHY_NOT is not None, reason=str(WHY_NOT))


def values_for(node, peers, init_writes):
    """The chart's values for one node of the lab, whose paths are its own. The lab has no kube-proxy:
    the node's own port stands for the hostPort, and nobody answers at the NodePort."""
    containerd = node.containerd
    return {
        "service": {"registry": {"hostPort": 5000, "nodeIp": node.ip}},
        "spegel": {
            "containerdSock": containerd.socket,
            "containerdContentPath": containerd.content_path,
            "containerdRegistryConfigPath": containerd.certs_d,
            "persistence": {"path": "/var/lib/spegel",
                            "hostPath": os.path.join(node.directory, "data")},
            "mirroredRegistries": ["http://" + UPSTREAM],
            "configurationInitContainer": init_writes,
        },
        "extraArgs": ["--bootstrap-kind=static", "--static-bootstrap-peers", *peers],
    }


def users_own(node):
    """What somebody but root may have there, closed to root without capabilities or not."""
    top = pathlib.Path(node.containerd.certs_d)
    for name, mode in [(f"{UPSTREAM}/hosts.toml", 0o600), ("other.example/hosts.toml", 0o644)]:
        path = top / name
        path.parent.mkdir(exist_ok=True)
        with open(path, "a", encoding="utf-8") as f:  # the lab may have written one
            f.write("# theirs\n")
        path.chmod(mode)
        os.chown(path, 1000, 1000)
    os.chown(top / "other.example", 1000, 1000)


def snapshot(directory):
    """{name: (mode, owner, group, bytes)} of all that is there."""
    found = {}
    for p in pathlib.Path(directory).rglob("*"):
        status = p.lstat()
        found[str(p.relative_to(directory))] = (
            status.st_mode, status.st_uid, status.st_gid, p.read_bytes() if p.is_file() else None)
    return found


def answers(node, path):
    try:
        return node.get(f"http://{node.ip}:5000{path}", "HEAD").status == 200
    except OSError:
        return False


@pytest.mark.parametrize("init_writes", [False, True], ids=["daemon-writes", "init-writes"])
def test_the_rendered_pods_mirror_and_clean_up_after_themselves(init_writes):
    with lab.Lab(nodes=2, daemons=False) as opened:
        nodes = opened.nodes
        image = lab.images.image(layers=2, layer_mb=2)
        reference = opened.push(image, "app:v1")
        for node in nodes:
            users_own(node)
        before = [snapshot(n.containerd.certs_d) for n in nodes]
        names = [import_image(n, ARCHIVE) for n in nodes]
        peers = [n.router for n in nodes]
        charts = [render.render(render.find_helm(), values_for(n, peers, init_writes))
                  for n in nodes]

        for node, name, chart in zip(nodes, names, charts) if init_writes else ():
            init = Pod(node, name, chart.pod, "configuration")
            assert init.wait(opened) == 0, init.log()
        pods = [Pod(n, name, c.pod) for n, name, c in zip(nodes, names, charts)]
        opened.settle(lambda: all(answers(n, "/readyz") for n in nodes), 15, "the pods to be ready")
        hosts = [pathlib.Path(n.containerd.certs_d, UPSTREAM, "hosts.toml") for n in nodes]
        opened.settle(lambda: all(":30021" in h.read_text() for h in hosts), 10, "hosts.toml")
        for node, path in zip(nodes, hosts):
            tables = [line for line in path.read_text().splitlines()
                      if line.startswith("[host.") and not line.endswith(".header]")]
            assert tables == [f"[host.'http://{node.ip}:5000']", f"[host.'http://{node.ip}:30021']"]

        # No right more than the chart gives.
        for pod in pods:
            status = pod.kernel_status()
            assert int(status["CapEff"], 16) == int(status["CapBnd"], 16) == 0
            assert status["NoNewPrivs"] == "1" and status["Seccomp"] == "2"
            assert status["Uid"].split() == ["0"] * 4

        # It mirrors.
        nodes[0].pull(reference)
        layer = image.layers[-1]["digest"]
        opened.settle(lambda: answers(nodes[1], f"/v2/app/blobs/{layer}?ns={UPSTREAM}"), 10,
                      "the second node to know the image")
        sent = opened.upstream.bytes_sent()
        nodes[1].pull(reference)
        assert opened.upstream.bytes_sent() - sent < 100_000

        # containerd comes back with a new socket, in the same directory.
        nodes[0].containerd.restart()
        assert pods[0].running()
        second = opened.push(lab.images.image(layers=1, layer_mb=1, seed=2), "late:v1")
        nodes[0].pull(second)
        opened.settle(lambda: answers(nodes[1], f"/v2/late/manifests/v1?ns={UPSTREAM}"), 15,
                      "an image that was pulled after containerd's restart to be shared")

        # SIGTERM leaves the configuration in force; cleaning up does not.
        written = [h.read_bytes() for h in hosts]
        for pod in pods:
            assert pod.stop(opened) == 0
            assert '"msg":"ended"' in pod.log(), pod.log()
        assert [h.read_bytes() for h in hosts] == written
        for node, name, chart, was in zip(nodes, names, charts, before):
            cleanup = Pod(node, name, dict(chart.pod_specs())["spegel-cleanup"])
            opened.settle(lambda n=node: n.host.run(
                ["curl", "-fsS", f"http://{n.ip}:8080/readyz"], check=False).returncode == 0, 10,
                "the cleanup to answer")
            assert snapshot(node.containerd.certs_d) == was
            assert cleanup.stop(opened) == 0
