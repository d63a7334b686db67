"""IPv4 only, IPv6 only, both with either first: the rendered pods with the addresses that such a cluster
gives them, which are never in brackets."""

import pathlib
import time

import lab
import pytest
import render
from cluster_dns import ClusterDns
from pod import Pod, import_image
from test_pod import ARCHIVE, UPSTREAM, WHY_NOT, snapshot, values_for

pytestmark = pytest.mark.skipif(WHY_NOT is not None, reason=str(WHY_NOT))

DOMAIN = "spegel-bootstrap.spegel.svc.cluster.local."
V4, V6 = (lambda n: n.ip), (lambda n: n.ip6)


def release_for(node, policy=""):
    values = values_for(node, [], False)
    del values["extraArgs"]
    del values["service"]["registry"]["nodeIp"]  # the node's own, as the kubelet says it
    values["service"]["ipFamilyPolicy"] = policy
    return render.render(render.find_helm(), values)


def families_in_dns(release, families):
    """A Service has the cluster's first family unless it asks for both."""
    policy = release[("Service", "spegel-bootstrap")]["spec"].get("ipFamilyPolicy")
    assert policy in (None, "PreferDualStack")
    return families if policy else families[:1]


def url(address):
    return f"http://[{address}]:5000" if ":" in address else f"http://{address}:5000"


def has(node, address, path):
    try:
        return node.get(url(address) + path, "HEAD").status == 200
    except OSError:
        return False


def drop_other_family(node, tool):
    """What there is of the other family in the lab cannot help."""
    for protocol, port in (("tcp", "5000"), ("udp", "5001")):
        node.host.run([tool, "-A", "INPUT", "!", "-i", "lo", "-p", protocol, "--dport", port, "-j",
                       "DROP"])


def later_containerd():
    """The TOML parser of containerd 1.x takes no IPv6 address in a table's name."""
    binaries = lab.versions.find("2.1")
    if binaries is None:
        pytest.skip(lab.versions.why_not("2.1"))
    return binaries


@pytest.mark.parametrize("families, policy, named, dropped", [
    ([V4], "", [V4], "ip6tables"), ([V6], "", [V6], "iptables"),
    ([V4, V6], "", [V4], None), ([V6, V4], "", [V6], None),
    ([V4, V6], "PreferDualStack", [V4, V6], None),
], ids=["ipv4", "ipv6", "dual-ipv4-first", "dual-ipv6-first", "dual-in-dns-too"])
def test_nodes_share_whatever_their_addresses_are(families, policy, named, dropped, tmp_path):
    binaries = later_containerd() if families[0] is V6 else None
    with lab.Lab(nodes=2, daemons=False, binaries=binaries) as opened:
        nodes = opened.nodes
        dns = ClusterDns(opened.add_host("dns"), tmp_path)
        releases = [release_for(n, policy) for n in nodes]
        assert families_in_dns(releases[0], families) == named
        dns.names[DOMAIN] = [f(n) for n in nodes for f in named]
        pods = [Pod(n, import_image(n, ARCHIVE), r.pod, dns=dns,
                    addresses=[f(n) for f in families]) for n, r in zip(nodes, releases)]
        for node in nodes if dropped else ():
            drop_other_family(node, dropped)
        addresses = [families[0](n) for n in nodes]
        opened.settle(lambda: all(has(n, a, "/readyz") for n, a in zip(nodes, addresses)), 20,
                      "the pods to be ready")
        for node, address in zip(nodes, addresses):
            hosts = pathlib.Path(node.containerd.certs_d, UPSTREAM, "hosts.toml")
            opened.settle(lambda h=hosts: ":30021" in h.read_text(), 10, "hosts.toml")
            assert f"[host.'{url(address)}']" in hosts.read_text()

        reference = opened.push(lab.images.image(layers=2, layer_mb=1), "app:v1")
        nodes[0].pull(reference)
        opened.settle(lambda: has(nodes[1], addresses[1], f"/v2/app/manifests/v1?ns={UPSTREAM}"),
                      15, "the second node to know the image")
        sent = opened.upstream.bytes_sent()
        nodes[1].pull(reference)
        assert opened.upstream.bytes_sent() - sent < 100_000
        for pod in pods:
            assert pod.stop(opened) == 0


def test_containerd_1_is_left_as_it_is_rather_than_given_a_file_that_it_refuses():
    with lab.Lab(nodes=1, daemons=False) as opened:
        [node] = opened.nodes
        own = opened.push(lab.images.image(layers=1, layer_mb=1), "app:v1")
        before = snapshot(node.containerd.certs_d)
        pod = Pod(node, import_image(node, ARCHIVE), release_for(node).pod, addresses=[node.ip6])
        opened.settle(lambda: has(node, node.ip6, "/readyz"), 20, "the pod to be ready")
        opened.settle(lambda: "cannot read a hosts.toml with an IPv6 address" in pod.log(), 10,
                      "the error to be told")
        time.sleep(2)
        assert snapshot(node.containerd.certs_d) == before
        node.pull(own)
        assert pod.stop(opened) == 0
