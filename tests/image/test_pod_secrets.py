"""The rendered pods with both Secrets, which are rotated under them, with a zone, and within their
limit on memory."""

import base64
import json
import os
import pathlib
import random
import stat

import lab
import pytest
import render
from pod import Pod, import_image
from test_pod import ARCHIVE, UPSTREAM, WHY_NOT, values_for

pytestmark = pytest.mark.skipif(WHY_NOT is not None, reason=str(WHY_NOT))

ZONE = {"topology.kubernetes.io/zone": "lab-1a"}
LIMIT_BYTES = 128 << 20
FEW_BYTES = 100_000  # of upstream's, where layers come from a peer


def gossip_key(number):
    return base64.b64encode(random.Random(number).randbytes(32)).decode()


OLD_KEY, NEW_KEY = gossip_key(1), gossip_key(2)


def login(password):
    """The Secret of basic auth, and what is sent with it."""
    pair = base64.b64encode(f"puller:{password}".encode()).decode()
    return {"username": "puller", "password": password}, {"Authorization": f"Basic {pair}"}


def ring(*keys):
    return {"ring": "".join(key + "\n" for key in keys)}


def status(node, path, headers):
    try:
        return node.get(f"http://{node.ip}:5000{path}", "HEAD", headers).status
    except OSError:
        return None


def cluster_of(node):
    return json.loads(node.get(f"http://{node.ip}:9090/debug/cluster").body)


def metric(node, name):
    """The sum over its series, which must be there."""
    lines = node.get(f"http://{node.ip}:9090/metrics").body.decode().splitlines()
    series = [line.rpartition(" ") for line in lines if line.startswith((name + " ", name + "{"))]
    assert series, name
    return sum(float(value) for _, _, value in series)


def start(opened, values, **more):
    """A pod on each node, all ready."""
    nodes = opened.nodes
    peers = [n.router for n in nodes]
    pods = []
    for i, node in enumerate(nodes):
        spec = render.render(render.find_helm(), {**values_for(node, peers, False), **values}).pod
        pods.append(Pod(node, import_image(node, ARCHIVE), spec, **more, labels=ZONE if i == 0 else {}))
    opened.settle(lambda: all(status(n, "/readyz", {}) == 200 for n in nodes), 20,
                  "the pods to be ready")
    opened.settle(lambda: all(cluster_of(n)["counts"]["alive"] == 1 for n in nodes), 20,
                  "the pods to know each other")
    return pods


def share(opened, name, headers, image):
    """The second node has it from the first, and the program has the second's password."""
    reference = opened.push(image, f"{name}:v1")
    holder, asker = opened.nodes
    holder.pull(reference)
    opened.settle(lambda: status(asker, f"/v2/{name}/manifests/v1?ns={UPSTREAM}", headers) == 200,
                  15, f"{name} to be known")
    sent = opened.upstream.bytes_sent()
    asker.pull(reference)
    assert opened.upstream.bytes_sent() - sent < FEW_BYTES


def small(seed):
    return lab.images.image(layers=2, layer_mb=1, seed=seed)


def hosts_toml(node):
    return pathlib.Path(node.containerd.certs_d, UPSTREAM, "hosts.toml")


def rotate_password(opened, pods, old, new):
    secret, headers = login(new)
    for pod in pods:
        pod.secrets["login"].update(secret)
    # Promised within 5 s; how long it takes on an idle machine is asserted in tests/e2e.
    opened.settle(lambda: all(headers["Authorization"] in hosts_toml(n).read_text()
                              for n in opened.nodes), 15, "hosts.toml to have the new password")
    for node in opened.nodes:
        assert login(old)[1]["Authorization"] not in hosts_toml(node).read_text()
        assert stat.S_IMODE(os.stat(hosts_toml(node)).st_mode) == 0o600
        assert status(node, "/v2/", login(old)[1]) == status(node, "/v2/", {}) == 401
        assert status(node, "/v2/", headers) == 200


def rotate_keys(opened, pods):
    """As docs/gossip.md says: first all accept the new one, then all send under it."""
    before = [cluster_of(n) for n in opened.nodes]
    for keys in ([OLD_KEY, NEW_KEY], [NEW_KEY, OLD_KEY], [NEW_KEY]):
        loads = [metric(n, "spegel_gossip_key_loads_total") for n in opened.nodes]
        for pod in pods:
            pod.secrets["keys"].update(ring(*keys))
        opened.settle(lambda had=loads: all(
            metric(n, "spegel_gossip_key_loads_total") > count
            for n, count in zip(opened.nodes, had)), 15, "the new keys to be taken up")
    for node, was in zip(opened.nodes, before):
        now = cluster_of(node)
        assert now["keys"]["from"] == "file" and len(now["keys"]["accepts"]) == 1
        assert now["keys"]["accepts"] != was["keys"]["accepts"]
        assert now["counts"]["alive"] == 1 and now["id"] == was["id"]
        # Nobody was lost, and no packet came under a key that was not accepted.
        assert metric(node, "spegel_gossip_deaths_total") == 0
        for reason in ("key", "seal"):
            assert metric(node, f'spegel_gossip_dropped_total{{reason="{reason}"}}') == 0


def test_secrets_are_rotated_under_running_pods():
    values = {"basicAuthSecretName": "login", "gossipKeySecret": {"name": "keys", "key": "ring"}}
    first, headers = login("swordfish")
    with lab.Lab(nodes=2, daemons=False) as opened:
        pods = start(opened, values, secrets={"login": first, "keys": ring(OLD_KEY)})
        for pod in pods:  # root without any capability reads only what is root's
            keys = os.path.join(pod.secrets["keys"].directory, "keys")
            assert stat.S_IMODE(os.stat(keys).st_mode) == 0o400
        opened.settle(lambda: all(headers["Authorization"] in hosts_toml(n).read_text()
                                  for n in opened.nodes), 15, "hosts.toml")
        share(opened, "one", headers, small(1))

        # The zone that a pod's label names is known to the other.
        [member] = cluster_of(opened.nodes[1])["members"]
        assert member["zone"] == cluster_of(opened.nodes[0])["zone"] == "lab-1a"
        assert cluster_of(opened.nodes[1])["zone"] == ""

        rotate_password(opened, pods, "swordfish", "red herring")
        headers = login("red herring")[1]
        share(opened, "two", headers, small(2))
        rotate_keys(opened, pods)
        share(opened, "three", headers, small(3))
        for pod in pods:
            assert "swordfish" not in pod.log() and "red herring" not in pod.log()
            assert pod.stop(opened) == 0


def test_the_chart_s_limit_on_memory_is_enough():
    with lab.Lab(nodes=2, daemons=False) as opened:
        pods = start(opened, {})
        memory = [pod.memory() for pod in pods]
        if None in memory:
            pytest.skip("no memory controller among this machine's control groups")
        assert [m.limit_bytes for m in memory] == [LIMIT_BYTES] * 2
        # More than the limit goes through both.
        share(opened, "large", {}, lab.images.image(layers=3, layer_mb=48))
        print([(m.peak_bytes, m.kills) for m in memory])
        for m in memory:
            assert 0 < m.peak_bytes < LIMIT_BYTES and m.kills == 0
        assert all(pod.running() for pod in pods)
        assert [pod.stop(opened) for pod in pods] == [0, 0]
