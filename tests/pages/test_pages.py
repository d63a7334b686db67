"""The pages about hosts without Kubernetes, and the README's section: every command on them, typed on
machines of the lab."""

import os
import pathlib
import re
import shutil

import pytest
from cluster_dns import ClusterDns
from machine import Machine, why_unavailable

import lab

TOP = pathlib.Path(__file__).resolve().parents[2]
PACKAGES = sorted((TOP / "build/package").glob("spegel_*.deb"))

WHY_NOT = (why_unavailable() or (None if PACKAGES else "no package: `./dev deb` builds it") or
           (None if shutil.which("containerd") else "no containerd"))
needs_machines = pytest.mark.skipif(WHY_NOT is not None, reason=str(WHY_NOT))

IMAGE = "docker.io/library/busybox:1.36"
LOCAL = "registry.lab:5000/library/busybox:1.36"
# What a page names that the lab has under another name.
NAMES = [
    (f"docker://{IMAGE}", f"--src-tls-verify=false docker://{LOCAL}"),
    ("skopeo copy", "skopeo copy --insecure-policy"),
    (IMAGE, LOCAL),
    ("certs.d/docker.io/", "certs.d/registry.lab:5000/"),
    ("https://docker.io", "http://registry.lab:5000"),
]
READY = """timeout 20 sh -c 'until curl --fail --silent http://127.0.0.1:5000/readyz; do sleep 0.1; done'
"""


def blocks(page):
    """(where, script) of a page's commands."""
    text = (TOP / "docs" / page).read_text()
    return re.findall(r"^```sh ?(?:on )?(.*?)\n(.*?)^```$", text, re.M | re.S)


# What the README says in words: the first block of that page.
POINT_CONTAINERD = blocks("host.md")[0][1]


def follow(script_of, machines, names=()):
    """Types a page's commands. `machines` says who is meant by what stands behind ```sh."""
    for where, script in script_of:
        for theirs, ours in [*NAMES, *names]:
            script = script.replace(theirs, ours)
        for machine in machines[where]:
            machine.run(script)


@pytest.fixture
def opened():
    with lab.Lab(nodes=0) as made:
        made.push(lab.images.image(layers=2, layer_mb=1), "library/busybox:1.36")
        yield made


def entries(machine, directory):
    path = machine.path(directory)
    return sorted(os.listdir(path)) if os.path.isdir(path) else []


@needs_machines
def test_one_containerd_host(opened):
    host = Machine(opened, "host", PACKAGES[-1])
    follow(blocks("host.md"), {"": [host]})
    assert entries(host, "/etc/containerd/certs.d") == []
    assert "spegel" not in entries(host, "/var/lib") + entries(host, "/etc/default")


@needs_machines
def test_a_few_hosts(opened, tmp_path):
    hosts = [Machine(opened, f"host{i}", PACKAGES[-1]) for i in range(3)]
    dns = ClusterDns(opened.add_host("dns"), tmp_path)
    dns.names["spegel.example.net."] = [h.ip for h in hosts]
    for host in hosts:
        shutil.copy(dns.resolv_conf, host.path("/etc/resolv.conf"))
    follow(blocks("hosts.md"), {"every host": hosts, "the first host": hosts[:1],
                                "the second host": hosts[1:2]},
           [(f"192.0.2.{i + 1}:", f"{h.ip}:") for i, h in enumerate(hosts)])


@needs_machines
def test_an_air_gapped_site(opened):
    connected = Machine(opened, "connected", PACKAGES[-1], with_containerd=False)
    box = Machine(opened, "box", PACKAGES[-1], with_containerd=False)
    hosts = [Machine(opened, f"host{i}", PACKAGES[-1]) for i in range(2)]
    fill, *rest = blocks("air-gapped.md")
    follow([fill], {"the connected machine": [connected]})
    connected.copy("images.tar", box)
    opened.upstream.cut()
    follow(rest, {"the box": [box], "every host": hosts}, [("192.0.2.1:", f"{box.ip}:")])


@needs_machines
@pytest.mark.skipif(not (TOP / "build/cmake_install.cmake").exists(), reason="not built")
def test_the_readme(opened):
    hosts = [Machine(opened, f"host{i}", shared=TOP) for i in range(2)]
    [script] = [s for _, s in blocks("../README.md") if "cmake --install" in s]
    for host in hosts:
        host.run(POINT_CONTAINERD)
    follow([("", script)], {"": hosts},
           [("./dev build &&", f"cd '{TOP}' &&"), ("cmake --install", "cmake --install >/dev/null"),
            *((f"10.0.0.{i + 11}:", f"{h.ip}:") for i, h in enumerate(hosts))])
    pull = f"""{READY}ctr --namespace k8s.io images pull --plain-http --hosts-dir /etc/containerd/certs.d {LOCAL}
timeout 20 sh -c 'until curl -s http://127.0.0.1:5000/v2/_catalog | grep busybox; do sleep 0.1; done'
"""
    hosts[0].run(pull)
    opened.upstream.cut()
    hosts[1].run(pull)
    served = re.findall("^spegel_served_bytes_total.* ([0-9]+)$",
                        hosts[0].run("curl -s http://127.0.0.1:9090/metrics"), re.M)
    assert sum(map(int, served)) > 1e6
    hosts[1].run("timeout --preserve-status --signal INT 3 spegel cleanup --addr 127.0.0.1:8080")
    assert entries(hosts[1], "/etc/containerd/certs.d") == []


def test_every_command_of_these_pages_is_run():
    pages = {p.name for p in (TOP / "docs").glob("*.md") if "`tests/pages`" in p.read_text()}
    assert pages == {"host.md", "hosts.md", "air-gapped.md"}
    for page in pages:
        text = (TOP / "docs" / page).read_text()
        assert len(blocks(page)) == len(re.findall("^```[a-z]", text, re.M)) > 0
