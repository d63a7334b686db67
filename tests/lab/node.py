"""A node: a host with its own containerd and its own daemon."""

import time

from . import web
from .containerd import Containerd
from .spegel import REGISTRY_PORT, ROUTER_PORT, Spegel, binary

MIRROR = f"http://127.0.0.1:{REGISTRY_PORT}"


def hosts_toml(upstream_url, mirror=None, resolve=True):
    """A hosts.toml: the mirror first if there is one, then the upstream. (The upstream stands as a
    [host] too because containerd 1.6 refuses a file without any.)"""
    lines = [f"server = '{upstream_url}'", ""]
    if mirror:
        capabilities = "'pull', 'resolve'" if resolve else "'pull'"
        lines += [f"[host.'{mirror}']", f"capabilities = [{capabilities}]",
                  "dial_timeout = '200ms'"]
    else:
        lines += [f"[host.'{upstream_url}']", "capabilities = ['pull', 'resolve']"]
    return "\n".join(lines) + "\n"


class Node:
    """containerd and daemon are None where the lab was made without."""

    def __init__(self, lab, host, directory, binaries, with_containerd, with_daemon, stores,
                 daemon_args, daemon_env, containerd_env):
        self.lab, self.host, self.directory = lab, host, directory
        self.name, self.ip, self.ip6, self.link = host.name, host.ip, host.ip6, host.link
        self.containerd = self.daemon = None
        if with_containerd:
            self.containerd = Containerd(host, directory, binaries, environment=containerd_env)
        if with_daemon:
            self.daemon = Spegel(host, directory, stores=stores, args=daemon_args,
                                 environment=daemon_env, containerd_socket=self.containerd and
                                 self.containerd.socket)

    @property
    def router(self):
        """The address that other daemons are given to find this one."""
        return f"{self.ip}:{ROUTER_PORT}"

    @property
    def processes(self):
        return [p for p in (self.containerd, self.daemon) if p]

    def use_mirror(self, registry, on=True, resolve=True):
        """Points this node's containerd at its own daemon for a Registry, or straight at it."""
        self.containerd.write_hosts(registry.address, hosts_toml(
            registry.url, MIRROR if on else None, resolve))

    def configure(self, *args):
        """Runs `spegel configuration` for this node's containerd, mirror target included, with
        further flags."""
        return self.host.run([binary(), "configuration", "--containerd-registry-config-path",
                              self.containerd.certs_d, "--mirror-targets", MIRROR, *args]).stdout

    def pull(self, image, timeout_s=120.0):
        """Pulls through CRI; returns the seconds it took. Raises rpc.RpcError."""
        begun = time.monotonic()
        self.containerd.cri.pull(image, timeout_s)
        return time.monotonic() - begun

    def remove(self, image):
        """Removes an image with all its names and collects garbage, as the kubelet does."""
        self.containerd.cri.remove(image)

    def get(self, url, method="GET", headers=None, body=None, timeout_s=10.0):
        """A request from this node; a bare path goes to its own daemon."""
        if url.startswith("/"):
            url = MIRROR + url
        return web.request(self.host, url, method, headers, body, timeout_s)

    def kill(self):
        """The machine dies: nothing says goodbye."""
        for process in self.processes:
            process.kill()
