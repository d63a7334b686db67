"""A real containerd on a host: CRI on, with root, state, socket and configuration of its own."""

import functools
import os
import socket
import subprocess
import tempfile

from . import rpc
from .cri import Cri
from .net import LabError
from .process import Process
from .services import Services

# The version 2 file is read by 1.6, 1.7 and 2.x alike, but of what it says of the snapshotter and of
# discarding layers 2.x takes nothing over: it has a table of its own. NRI is off because all instances would
# listen on the same socket. Plugins that only probe for devices or touch /opt are disabled.
CONFIG = """\
version = 2
root = "{dir}/root"
state = "{dir}/state"
disabled_plugins = [
  "io.containerd.internal.v1.opt", "io.containerd.internal.v1.tracing",
  "io.containerd.tracing.processor.v1.otlp", "io.containerd.snapshotter.v1.btrfs",
  "io.containerd.snapshotter.v1.zfs", "io.containerd.snapshotter.v1.devmapper",
  "io.containerd.snapshotter.v1.aufs", "io.containerd.snapshotter.v1.blockfile",
  "io.containerd.snapshotter.v1.erofs", "io.containerd.nri.v1.nri",
]

[grpc]
  address = "{socket}"

[plugins."io.containerd.nri.v1.nri"]
  disable = true

[plugins."io.containerd.grpc.v1.cri"]
  max_concurrent_downloads = 3
  disable_apparmor = true
  restrict_oom_score_adj = true
  tolerate_missing_hugetlb_controller = true
  [plugins."io.containerd.grpc.v1.cri".containerd]
    snapshotter = "{snapshotter}"
    discard_unpacked_layers = {discard}
  [plugins."io.containerd.grpc.v1.cri".registry]
    config_path = "{certs_d}"

[plugins."io.containerd.cri.v1.images"]
  snapshotter = "{snapshotter}"
  discard_unpacked_layers = {discard}
"""


@functools.lru_cache(maxsize=None)
def snapshotter_for(directory):
    """overlayfs where it can be mounted over directory's file system, else native (which copies
    every layer)."""
    with tempfile.TemporaryDirectory(dir=directory) as d:
        script = ('cd "$0" && mkdir l u w m && '
                  'mount -t overlay overlay -o lowerdir=l,upperdir=u,workdir=w m')
        # In a mount namespace of its own: nothing to unmount.
        done = subprocess.run(["unshare", "-m", "sh", "-c", script, d], check=False,
                              stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    return "overlayfs" if done.returncode == 0 else "native"


class Containerd(Process):
    """One containerd. binaries is from lab.versions.find(); None takes the installed one."""

    NAMESPACE = "k8s.io"

    def __init__(self, host, directory, binaries=None, discard_unpacked_layers=False,
                 environment=None):
        super().__init__(host, "containerd", directory)
        self.binaries = binaries
        self.socket = os.path.join(directory, "c.sock")
        self.certs_d = os.path.join(directory, "certs.d")
        self.content_path = os.path.join(directory, "root", "io.containerd.content.v1.content")
        self.config_path = os.path.join(directory, "config.toml")
        self.snapshotter = snapshotter_for(os.path.dirname(directory))
        self._environment = environment or {}
        self._cri = self._services = None
        if len(self.socket) > 100:
            raise LabError(f"socket path too long: {self.socket}")
        os.makedirs(self.certs_d, exist_ok=True)
        with open(self.config_path, "w", encoding="utf-8") as f:
            f.write(CONFIG.format(dir=directory, socket=self.socket, certs_d=self.certs_d,
                                  snapshotter=self.snapshotter,
                                  discard=str(bool(discard_unpacked_layers)).lower()))

    def command(self):
        binary = self.binaries.containerd if self.binaries else "containerd"
        return [binary, "--config", self.config_path]

    def environment(self):
        env = dict(os.environ)
        for name in list(env):
            if name.lower() in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
                del env[name]
        if self.binaries:  # so that it finds its own shim
            env["PATH"] = os.path.dirname(self.binaries.containerd) + ":" + env.get("PATH", "")
        env["PATH"] = env.get("PATH", "") + ":/usr/sbin:/sbin"
        env.update(self._environment)
        return env

    @property
    def cri(self):
        """Its CRI client; a new one after each start."""
        if self._cri is None:
            self._cri = Cri(self.socket)
        return self._cri

    @property
    def services(self):
        if self._services is None:
            self._services = Services(self.socket, self.NAMESPACE)
        return self._services

    def launch(self):
        self.forget()  # a channel to the one before would take seconds to find the new one
        return super().launch()

    def forget(self):
        """Closes our connections to it."""
        for client in (self._cri, self._services):
            if client:
                client.close()
        self._cri = self._services = None

    def ready(self):
        try:  # asked only once somebody listens, since gRPC would back off
            with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
                probe.connect(self.socket)
            self.cri.version()
            return True
        except (OSError, rpc.RpcError):
            return False

    def blob_path(self, digest):
        """The file of a blob, whether it is there or not."""
        algorithm, _, digits = digest.partition(":")
        return os.path.join(self.content_path, "blobs", algorithm, digits)

    def write_hosts(self, registry, toml):
        """Writes certs.d/<registry>/hosts.toml; containerd reads it at each pull."""
        directory = os.path.join(self.certs_d, registry)
        os.makedirs(directory, exist_ok=True)
        with open(os.path.join(directory, "hosts.toml"), "w", encoding="utf-8") as f:
            f.write(toml)

    def ctr(self, *args, check=True, timeout_s=120.0):
        """Runs ctr against this containerd; returns its output."""
        binary = self.binaries.ctr if self.binaries else "ctr"
        done = self.host.run([binary, "--address", self.socket, "-n", self.NAMESPACE, *args],
                             check=check, timeout=timeout_s, env=self.environment())
        return done.stdout

    def ctr_pull(self, image):
        """Pulls with ctr, which makes other records and labels than CRI does."""
        return self.ctr("images", "pull", "--snapshotter", self.snapshotter,
                        "--hosts-dir", self.certs_d, image)

    def import_image(self, archive):
        """Imports an archive (docker-archive or oci-archive), unpacking nothing."""
        return self.ctr("images", "import", "--no-unpack", archive)

    def run_container(self, image, argv, timeout_s=60.0):
        """Runs a pulled image with runc: (True, its output) or (False, why not)."""
        # The host's network: a namespace of its own would not be found when the lab is swept.
        args = ["run", "--rm", "--net-host", "--snapshotter", self.snapshotter,
                image, f"lab-{os.urandom(4).hex()}", *argv]
        try:
            return True, self.ctr(*args, timeout_s=timeout_s)
        except (LabError, subprocess.TimeoutExpired) as e:
            return False, str(e).strip().splitlines()[-1]
