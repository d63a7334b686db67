"""A rollback half way: one node is back on the Go implementation and the hosts.toml that it wrote, the
others are still ours. Both clusters live, and know nothing of one another. What the Go program answers
is acted out, from what the surface it shares with ours says."""

import http.server
import os
import socket
import threading

import pytest

import lab
from lab import images
from support import NEXT_TO_NOTHING, Sent, assert_holds, assert_seconds, wait_known, wait_members

HOST_PORT, NODE_PORT, ROUTER_PORT = 5000, 30021, 5001
PULL_S = 5.0

pytestmark = [pytest.mark.timed, pytest.mark.usefixtures("built_daemon", "installed_containerd")]


class GoInstance(http.server.BaseHTTPRequestHandler):
    """It is ready, and has nothing that is asked for: its peers would be Go's."""
    asked = []

    def do_GET(self):
        self.asked.append(self.path)
        found = self.path.partition("?")[0] in ("/readyz", "/livez", "/v2/")
        body = b"" if found else b'{"errors":[{"code":"MANIFEST_UNKNOWN"}]}'
        self.send_response(200 if found else 404)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(body)

    do_HEAD = do_GET

    def log_message(self, *_):
        pass


def start_go(node):
    """On the ports that ours had, and the file that Go writes. What comes to the router's port is taken
    and never answered."""
    with node.host.inside():
        server = http.server.ThreadingHTTPServer(("0.0.0.0", HOST_PORT), GoInstance)
        deaf = [socket.socket(socket.AF_INET, kind)
                for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM)]
    for listening in deaf:
        listening.bind((node.ip, ROUTER_PORT))
    deaf[0].listen()
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return [server.server_close, server.shutdown, *(d.close for d in deaf)]


def write_hosts(node, upstream):
    """In Go's way: the hostPort, which is this node's instance, and the NodePort, which is any."""
    text = f"server = '{upstream.url}'\n"
    for port in (HOST_PORT, NODE_PORT):
        text += (f"\n[host.'http://{node.ip}:{port}']\ncapabilities = ['pull', 'resolve']\n"
                 "dial_timeout = '200ms'\n")
    node.containerd.write_hosts(upstream.address, text)


def hosts_of(node, upstream):
    with open(os.path.join(node.containerd.certs_d, upstream.address, "hosts.toml"),
              encoding="utf-8") as f:
        return f.read()


def targets_of(text):
    return [line.split("'")[1] for line in text.splitlines()
            if line.startswith("[host.") and not line.endswith(".header]")]


def node_port(node, to):
    """What kube-proxy does on every node: here to one instance at a time."""
    node.host.run(["iptables", "-t", "nat", "-F", "OUTPUT"])
    node.host.run(["iptables", "-t", "nat", "-A", "OUTPUT", "-d", node.ip, "-p", "tcp", "--dport",
                   str(NODE_PORT), "-j", "DNAT", "--to-destination", f"{to.ip}:{HOST_PORT}"])


def pull_new(opened, node, seed, holder=None):
    """Seconds of a pull of an image that only `holder` has, and the bytes that upstream sent for it."""
    image = images.image(layers=2, layer_mb=1, seed=seed)
    reference = opened.push(image, f"app{seed}:v1")
    if holder:
        holder.pull(reference)
        wait_known(opened, reference, image, nodes=[n for n in opened.nodes if n.daemon.alive])
    sent = Sent(opened.upstream)
    seconds = node.pull(reference)
    assert_holds(node, reference, image)
    assert_seconds(seconds, PULL_S, "a pull half way")
    return sent.bytes


def test_every_pull_ends_well_on_either_side_of_a_rollback_half_way():
    with lab.Lab(nodes=0) as opened:
        back, still, other = [opened.add_node(start=False) for _ in range(3)]
        for node in opened.nodes:
            node_port(node, still)
            # As the chart has them, and Go's too.
            node.targets = [f"http://{node.ip}:{port}" for port in (HOST_PORT, NODE_PORT)]
            node.daemon.args += ["--write-configuration", "--containerd-registry-config-path",
                                 node.containerd.certs_d, "--mirror-targets", *node.targets,
                                 "--mirrored-registries", opened.upstream.url]
        opened.start()
        wait_members(opened)
        opened.settle(lambda: all("X-Spegel-Node" in hosts_of(n, opened.upstream)
                                  for n in opened.nodes), what="their hosts.toml")
        assert back.daemon.stop() == 0
        ending = start_go(back)
        write_hosts(back, opened.upstream)
        try:
            # The Go instance has nothing, and says so; the NodePort leads to one of ours, which does.
            GoInstance.asked.clear()
            assert pull_new(opened, back, 1, holder=other) < NEXT_TO_NOTHING
            assert any("/manifests/v1" in path for path in GoInstance.asked), "it was asked first"
            # The NodePort may as well lead to the Go instance: then it is upstream.
            node_port(back, back)
            assert pull_new(opened, back, 2) > NEXT_TO_NOTHING
            # On a node of ours nothing has changed, wherever the NodePort leads.
            node_port(still, back)
            assert pull_new(opened, still, 3, holder=other) < NEXT_TO_NOTHING
            assert pull_new(opened, still, 4) > NEXT_TO_NOTHING
            # Replaced at this moment: its own port refuses, the NodePort is the Go instance's.
            assert still.daemon.stop() == 0
            assert pull_new(opened, still, 5) > NEXT_TO_NOTHING
            # And forward again: one that has to join past the Go instance, which never answers.
            still.daemon.start()
            opened.settle(lambda: still.daemon.metric("spegel_gossip_members", state="alive") >= 1,
                          10, "it to find the other one of ours")
            assert pull_new(opened, still, 6, holder=other) < NEXT_TO_NOTHING
            # All that time each had its own file, with the same targets.
            for node in opened.nodes:
                text = hosts_of(node, opened.upstream)
                assert targets_of(text) == node.targets
                assert ("X-Spegel-Node" in text) == (node is not back)
        finally:
            for end in reversed(ending):
                end()
