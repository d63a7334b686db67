"""What is measured: three daemons on OCI layouts, an nginx beside two of them, a client.

    client ──► a   holds the big blob and many middling ones; nginx serves the same files
    client ──► b   holds other middling ones, lacks a's; nginx passes requests on to the daemon a
    client ──► c   holds a little; idle

All hang on one bridge by unshaped veth.
"""

import lab
from lab.spegel import REGISTRY_PORT

from . import blobs, client
from .nginx import Nginx

CONGESTION_CONTROL = "/proc/sys/net/ipv4/tcp_congestion_control"
BIG_MB, MANY, MIDDLING_MB = 512, 32, 16


class Stage:
    def __init__(self, congestion=None):
        """congestion: TCP congestion control of all hosts; None is the machine's."""
        client.build()
        self.big = blobs.layout("big", 1, BIG_MB)
        self.of_a = blobs.layout("of-a", MANY, MIDDLING_MB)
        self.of_b = blobs.layout("of-b", MANY, MIDDLING_MB)
        little = blobs.layout("little", 1, 1)
        self.lab = lab.Lab(nodes=0, upstream=False, containerd=False)
        try:
            nodes = [self.lab.add_node(start=False, stores=[s.directory for s in stores])
                     for stores in ([self.big, self.of_a], [self.of_b], [little])]
            self.a, self.b, self.c = (node.daemon for node in nodes)
            self.client = self.lab.add_host("client")
            net = self.lab.net
            for host in net.hosts.values() if congestion else ():
                host.run(["sh", "-c", f"echo {congestion} >{CONGESTION_CONTROL}"])
            self.file_nginx = Nginx(nodes[0].host, net.make_dir("nginx-a"),
                                    files=self.big.directory)
            self.proxy_nginx = Nginx(nodes[1].host, net.make_dir("nginx-b"),
                                     origin=f"{nodes[0].ip}:{REGISTRY_PORT}")
        except BaseException:
            self.lab.close()
            raise

    def __enter__(self):
        self.lab.__enter__()
        try:
            self.file_nginx.start()
            self.proxy_nginx.start()
            path = self.of_a.blob_paths[-1]
            self.lab.settle(lambda: self.b.get(path, "HEAD").status == 200,
                            what="b to know what a holds")
            self.big.warm()
        except BaseException:
            self.lab.__exit__(Exception, None, None)
            raise
        return self

    def __exit__(self, *error):
        self.lab.__exit__(*error)

    def from_daemon(self, daemon, targets, **kwargs):
        return client.drain(self.client, daemon.host.ip, REGISTRY_PORT, targets, **kwargs)

    def from_nginx(self, nginx, targets, **kwargs):
        return client.drain(self.client, nginx.host.ip, nginx.PORT, targets, **kwargs)
