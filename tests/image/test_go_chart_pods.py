"""Only the image is changed: the pods that the Go implementation's chart v0.7.4 renders, run with our
image. What they are given is what the surface that users know says of that chart."""

import os
import pathlib
import socket
import time

import lab
import pytest
import render
from cluster_dns import ClusterDns
from pod import Pod, import_image
from test_pod import ARCHIVE, UPSTREAM, WHY_NOT, answers, snapshot, values_for

pytestmark = pytest.mark.skipif(WHY_NOT is not None, reason=str(WHY_NOT))

DOMAIN = "spegel-bootstrap.spegel.svc.cluster.local."
CLEANUP = "spegel-cleanup.spegel.svc.cluster.local."
NODE_IP = {"name": "NODE_IP", "valueFrom": {"fieldRef": {"fieldPath": "status.hostIP"}}}


def go_pod(node):
    """That chart's pod. No POD_IP, and the socket mounted by itself."""
    containerd = node.containerd
    common = {"env": [NODE_IP], "securityContext": {"readOnlyRootFilesystem": True}}
    paths = {
        "containerd-sock": (containerd.socket, containerd.socket, "Socket"),
        "containerd-content": (containerd.content_path, containerd.content_path, "Directory"),
        "data": (os.path.join(node.directory, "data"), "/var/lib/spegel", "DirectoryOrCreate"),
        "containerd-config": (containerd.certs_d, containerd.certs_d, "DirectoryOrCreate"),
    }
    mounts = {name: {"name": name, "mountPath": path, "readOnly": name == "containerd-content"}
              for name, (_, path, _) in paths.items()}
    return {
        "initContainers": [{
            "name": "configuration", **common, "volumeMounts": [mounts["containerd-config"]],
            "args": ["configuration", "--log-level=INFO",
                     f"--containerd-registry-config-path={containerd.certs_d}",
                     "--mirrored-registries", f"http://{UPSTREAM}",
                     "--mirror-targets", "http://$(NODE_IP):5000", "http://$(NODE_IP):30021",
                     "--resolve-tags=true", "--prepend-existing=false"]}],
        "containers": [{
            "name": "registry", **common,
            "volumeMounts": [mounts[n] for n in ("containerd-sock", "containerd-content", "data")],
            "args": ["registry", "--log-level=INFO", "--mirror-resolve-retries=3",
                     "--mirror-resolve-timeout=20ms", "--registry-addr=:5000",
                     "--router-addr=:5001", "--metrics-addr=:9090",
                     "--mirrored-registries", f"http://{UPSTREAM}",
                     f"--containerd-sock={containerd.socket}", "--containerd-namespace=k8s.io",
                     f"--containerd-content-path={containerd.content_path}",
                     "--bootstrap-kind=dns", f"--dns-bootstrap-domain={DOMAIN}",
                     "--data-dir=/var/lib/spegel", "--debug-web-enabled=true"]}],
        "volumes": [{"name": name, "hostPath": {"path": source, "type": kind}}
                    for name, (source, _, kind) in paths.items()],
    }


def go_hook_pods(node):
    """That chart's hooks: the cleanup of one node, and what waits for that of all."""
    certs_d = node.containerd.certs_d
    cleanup = {
        "containers": [{
            "name": "cleanup", "securityContext": {"readOnlyRootFilesystem": True},
            "args": ["cleanup", f"--containerd-registry-config-path={certs_d}", "--addr=:8080"],
            "volumeMounts": [{"name": "containerd-config", "mountPath": certs_d}]}],
        "volumes": [{"name": "containerd-config",
                     "hostPath": {"path": certs_d, "type": "DirectoryOrCreate"}}],
    }
    wait = {"containers": [{
        "name": "cleanup-wait", "securityContext": {"readOnlyRootFilesystem": True},
        "args": ["cleanup-wait", f"--probe-endpoint={CLEANUP}:8080"]}]}
    return cleanup, wait


def our_pod(node):
    """This chart's, in the same release: the domain that it looks its peers up by is the same."""
    values = values_for(node, [], False)
    del values["extraArgs"]
    return render.render(render.find_helm(), values).pod


def known(opened, node, name):
    opened.settle(lambda: answers(node, f"/v2/{name}/manifests/v1?ns={UPSTREAM}"), 15,
                  f"{name} to be known on {node.host.name}")


def test_our_image_under_the_go_chart_beside_our_own_chart(tmp_path):
    with lab.Lab(nodes=2, daemons=False) as opened:
        theirs, ours = opened.nodes
        names = [import_image(n, ARCHIVE) for n in opened.nodes]
        # The third is a Go instance, which never answers gossip.
        go = opened.add_host("go")
        dns = ClusterDns(opened.add_host("dns"), tmp_path)
        dns.names[DOMAIN] = [theirs.ip, ours.ip, go.ip]
        before = [snapshot(n.containerd.certs_d) for n in opened.nodes]
        # The identity that the Go instances had.
        data = [pathlib.Path(n.directory, "data") for n in opened.nodes]
        for directory in data:
            directory.mkdir(exist_ok=True)
            (directory / "private.key").write_bytes(os.urandom(68))
            (directory / "private.key").chmod(0o600)
        keys = [snapshot(d)["private.key"] for d in data]

        init = Pod(theirs, names[0], go_pod(theirs), "configuration")
        assert init.wait(opened) == 0, init.log()
        pods = [Pod(theirs, names[0], go_pod(theirs), "registry", dns),
                Pod(ours, names[1], our_pod(ours), dns=dns)]
        opened.settle(lambda: answers(theirs, "/readyz") and answers(ours, "/readyz"), 20,
                      "both to be ready")
        toml = [pathlib.Path(n.containerd.certs_d, UPSTREAM, "hosts.toml") for n in opened.nodes]
        opened.settle(lambda: "X-Spegel-Node" in toml[1].read_text(), 10, "our own hosts.toml")
        assert "X-Spegel-Node" not in toml[0].read_text()

        # One cluster: each has what the other holds.
        for holder, asker, name in [(theirs, ours, "one"), (ours, theirs, "two")]:
            reference = opened.push(lab.images.image(layers=2, layer_mb=1, seed=ord(
                name[0])), f"{name}:v1")
            holder.pull(reference)
            known(opened, asker, name)
            sent = opened.upstream.bytes_sent()
            asker.pull(reference)
            assert opened.upstream.bytes_sent() - sent < 100_000

        # containerd makes a new socket. Mounted by itself the old one is never reached again: the
        # program ends, and the kubelet's next container has the new one.
        begun = time.monotonic()
        theirs.containerd.restart()
        opened.settle(lambda: not pods[0].running(), 30, "the program to end")
        assert time.monotonic() - begun > 8, "not before it is certain that nothing is lost by it"
        assert pods[0].wait(opened) == 1
        assert "mounted by itself" in pods[0].log()
        pods[0] = Pod(theirs, names[0], go_pod(theirs), "registry", dns)
        opened.settle(lambda: answers(theirs, "/readyz"), 20, "its successor to be ready")
        third = opened.push(lab.images.image(layers=1, layer_mb=1, seed=3), "three:v1")
        theirs.pull(third)
        known(opened, ours, "three")

        # Rolled back half way: on one node the Go instance is back, whose port answers nobody here.
        # containerd passes it by, and the NodePort, and asks upstream.
        assert pods[0].stop(opened) == 0
        fourth = opened.push(lab.images.image(layers=1, layer_mb=1, seed=4), "four:v1")
        begun = time.monotonic()
        theirs.pull(fourth)
        assert time.monotonic() - begun < 5
        assert pods[1].stop(opened) == 0

        # Either chart is uninstalled, each by its own hooks.
        chart = render.render(render.find_helm(), values_for(ours, [], False))
        clean, wait = go_hook_pods(theirs)
        dns.names[CLEANUP] = [n.ip for n in opened.nodes]
        cleanups = [Pod(theirs, names[0], clean),
                    Pod(ours, names[1], dict(chart.pod_specs())["spegel-cleanup"])]
        waits = Pod(theirs, names[0], wait, dns=dns)
        assert waits.wait(opened) == 0, waits.log()
        assert [snapshot(n.containerd.certs_d) for n in opened.nodes] == before
        assert [c.stop(opened) for c in cleanups] == [0, 0]
        assert [snapshot(d)["private.key"] for d in data] == keys


def test_instances_that_never_answer_gossip_delay_readiness_by_less_than_a_second(tmp_path):
    """In the middle of a replacement, bootstrap DNS names both kinds. Their ports take what is sent to
    them: TCP and UDP, and nothing ever comes back."""
    with lab.Lab(nodes=2, daemons=False, upstream=False) as opened:
        first, second = opened.nodes
        go = [opened.add_host(f"go{i}") for i in range(8)]
        silent = [deaf_socket(host, kind) for host in go
                  for kind in (socket.SOCK_DGRAM, socket.SOCK_STREAM)]
        dns = ClusterDns(opened.add_host("dns"), tmp_path)
        names = [import_image(n, ARCHIVE) for n in opened.nodes]
        dns.names[DOMAIN] = [first.ip]
        pod = Pod(first, names[0], our_pod(first), dns=dns)
        opened.settle(lambda: answers(first, "/readyz"), 20, "the first to be ready")

        took = []
        for addresses in ([first.ip, second.ip], [*(h.ip for h in go), first.ip, second.ip]):
            dns.names[DOMAIN] = addresses
            begun = time.monotonic()
            other = Pod(second, names[1], our_pod(second), dns=dns)
            opened.settle(lambda: answers(second, "/readyz"), 20, "the second to be ready")
            took.append(time.monotonic() - begun)
            assert '"members":1' in second.get(f"http://{second.ip}:5000/readyz").body.decode()
            assert other.stop(opened) == 0
        assert took[1] - took[0] < 1, took
        assert pod.stop(opened) == 0
        for deaf in silent:
            deaf.close()


def deaf_socket(host, kind):
    with host.inside():
        deaf = socket.socket(socket.AF_INET, kind)
    deaf.bind((host.ip, 5001))
    if kind == socket.SOCK_STREAM:
        deaf.listen()
    return deaf
