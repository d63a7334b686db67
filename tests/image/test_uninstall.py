"""Uninstalling, as the chart's hooks do it: a late pod, a node that dies, one that was dead before,
and installed again straight after. The cluster's DNS is the lab's; the pods are the rendered ones."""

import json
import pathlib
import re
import shlex
import time

import lab
import pytest
import render
import yaml
from cluster_dns import ClusterDns
from pod import Pod, import_image
from test_pod import ARCHIVE, UPSTREAM, WHY_NOT, answers, snapshot, values_for

pytestmark = pytest.mark.skipif(WHY_NOT is not None, reason=str(WHY_NOT))

NAME = "spegel-cleanup.spegel.svc.cluster.local."


class Release:
    """Nodes with the daemon on them, and their configuration as it was before."""

    def __init__(self, opened, directory, stable_s, limit_s):
        self.opened, self.nodes = opened, opened.nodes
        self.dns = ClusterDns(opened.add_host("dns"), directory)
        self.dns.names[NAME] = []
        self.images = [import_image(n, ARCHIVE) for n in self.nodes]
        self.before = [snapshot(n.containerd.certs_d) for n in self.nodes]
        cleanup = {"stableSeconds": stable_s, "limitSeconds": limit_s}
        self.specs = [dict(render.render(render.find_helm(), {
            **values_for(n, [n.router], False), "cleanup": cleanup}).pod_specs())
            for n in self.nodes]

    def install(self, i):
        pod = Pod(self.nodes[i], self.images[i], self.specs[i]["spegel"])
        hosts = pathlib.Path(self.nodes[i].containerd.certs_d, UPSTREAM, "hosts.toml")
        self.opened.settle(lambda: answers(self.nodes[i], "/readyz") and
                           ":30021" in hosts.read_text(), 20, "an instance to be ready")
        return pod

    def clean(self, i):
        """The cleanup's pod on a node, which the headless Service names at once."""
        self.dns.names[NAME] = [*self.dns.names[NAME], self.nodes[i].ip]
        return Pod(self.nodes[i], self.images[i], self.specs[i]["spegel-cleanup"])

    def wait(self):
        """The pod that helm waits for, on the first node."""
        return Pod(self.nodes[0], self.images[0], self.specs[0]["spegel-cleanup-wait"],
                   dns=self.dns)

    def is_clean(self, i):
        try:
            return snapshot(self.nodes[i].containerd.certs_d) == self.before[i]
        except FileNotFoundError:
            return False  # it is being cleaned while we look


def lines(pod, message):
    return [line for line in map(json.loads, pod.log().splitlines()) if line["msg"] == message]


def test_a_late_pod_is_waited_for_and_a_new_release_starts_from_nothing(tmp_path):
    with lab.Lab(nodes=3, daemons=False) as opened:
        release = Release(opened, tmp_path, stable_s=6, limit_s=60)
        for i in range(3):
            assert release.install(i).stop(opened) == 0
            assert not release.is_clean(i)

        cleanups = [release.clean(0), release.clean(1)]
        wait = release.wait()
        opened.settle(lambda: lines(wait, "every cleanup answers"), 15, "the two to answer")
        time.sleep(3)
        assert wait.running(), "two are clean, but not for as long as was asked"
        cleanups.append(release.clean(2))
        late = time.monotonic()
        assert wait.wait(opened) == 0, wait.log()
        assert time.monotonic() - late > 5, "the late one starts the clock anew"
        assert lines(wait, "every cleanup answers")[-1]["addresses"] == 3
        assert all(release.is_clean(i) for i in range(3))

        # Installed again while the cleanups are still there: helm deletes them now.
        again = release.install(0)
        assert cleanups[0].stop(opened) == 0
        assert ":30021" in pathlib.Path(opened.nodes[0].containerd.certs_d, UPSTREAM,
                                        "hosts.toml").read_text()
        for pod in (again, *cleanups[1:]):
            assert pod.stop(opened) == 0


def by_hand(node):
    """The pod that the page's `kubectl debug node` starts: the node's root at /host, of which it needs
    only what is mounted here."""
    page = (render.TOP / "docs/kubernetes.md").read_text()
    [command] = re.findall(r"kubectl [^\n]*debug node/(?:.*\\\n)*.*", page)
    program, *args = shlex.split(command.replace("\\\n", " ").split(" -- ")[1])
    values = yaml.safe_load((render.CHART / "values.yaml").read_text())
    path = "/host" + values["spegel"]["containerdRegistryConfigPath"]
    return {"containers": [{
        "name": "debugger", "command": [program], "args": args,
        "securityContext": {"readOnlyRootFilesystem": False},
        "volumeMounts": [{"name": "host-root", "mountPath": path}],
    }], "volumes": [{"name": "host-root", "hostPath": {"path": node.containerd.certs_d, "type": ""}}]}


def test_a_node_dead_before_is_not_waited_for_and_is_cleaned_by_hand(tmp_path):
    with lab.Lab(nodes=2, daemons=False) as opened:
        release = Release(opened, tmp_path, stable_s=2, limit_s=20)
        for i in range(2):
            assert release.install(i).stop(opened) == 0
        # The second's cleanup pod is Pending: it has no address, and DNS does not name it.
        cleanup = release.clean(0)
        wait = release.wait()
        assert wait.wait(opened) == 0, wait.log()
        assert lines(wait, "every cleanup answers")[-1]["addresses"] == 1
        assert cleanup.stop(opened) == 0
        assert release.is_clean(0) and not release.is_clean(1)

        back = opened.nodes[1]
        debugger = Pod(back, release.images[1], by_hand(back))
        opened.settle(lambda: release.is_clean(1), 10, "the node to be clean")
        assert debugger.stop(opened) == 0


def test_a_dead_node_ends_it_in_failure_and_is_named(tmp_path):
    with lab.Lab(nodes=2, daemons=False) as opened:
        release = Release(opened, tmp_path, stable_s=2, limit_s=8)
        dead = opened.add_host("dead")
        dead.link.cut()
        release.dns.names[NAME] = [dead.ip]
        cleanup = release.clean(0)
        begun = time.monotonic()
        wait = release.wait()
        assert wait.wait(opened) == 1
        assert 7 < time.monotonic() - begun < 25
        [failed] = lines(wait, "not cleaned up")
        assert failed["address"] == dead.ip
        [end] = lines(wait, "gave up waiting for every cleanup")
        assert (end["addresses"], end["failed"]) == (2, 1)
        assert cleanup.stop(opened) == 0
