"""A machine of the lab with a root file system of its own: this one's, over which it may write. What a
page tells to type as root can be typed there."""

import os
import shutil
import subprocess

import lab

HERE = os.path.dirname(os.path.abspath(__file__))
SETUP = """
mount -t tmpfs tmpfs "$0"
cd "$0"
mkdir upper work root
mount -t overlay overlay -o lowerdir=/,upperdir=upper,workdir=work root
cd root
for name in proc sys dev; do mount --rbind /$name $name; done
for name in run tmp root srv var/lib/containerd; do
    mkdir -p $name
    mount -t tmpfs tmpfs $name
done
mount --bind "$1" etc/hosts
rm -rf etc/containerd
mkdir -p etc/containerd run/systemd/system
install -m 755 "$2" usr/local/bin/systemctl
cp "$3" root/
echo ready
exec sleep infinity
"""


class Machine:
    """Ends with the lab, and leaves nothing: its files are in memory, in a mount namespace."""

    def __init__(self, opened, name, package, with_containerd=True):
        self.host = opened.add_host(name)
        self.name, self.ip = name, self.host.ip
        self.place = opened.net.make_dir(f"{name}.root")
        self._holder = subprocess.Popen(
            ["nsenter", f"--net={lab.net.sweep.NETNS_DIR}/{self.host.ns}", "unshare", "--mount",
             "--propagation", "private", "sh", "-euc", SETUP, self.place, opened.net.hosts_file,
             os.path.join(HERE, "systemctl"), str(package)],
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True)
        said = self._holder.stdout.readline()
        assert said == "ready\n", f"{name} has no root of its own"
        if with_containerd:
            self.run("systemctl start containerd")

    def run(self, script):
        """Runs a script there, as root, in root's home; its output."""
        environment = {"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
                       "HOME": "/root", "DEBIAN_FRONTEND": "noninteractive"}
        done = subprocess.run(
            ["nsenter", "-t", str(self._holder.pid), "--mount", "--net", "chroot",
             os.path.join(self.place, "root"), "sh", "-euc", "cd /root\n" + script],
            env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT, text=True, timeout=120, check=False)
        assert done.returncode == 0, f"{self.name}: {script}\n{done.stdout}\n{self.log()}"
        return done.stdout

    def log(self):
        """What its daemon said, if there is one."""
        path = self.path("/var/log/spegel.log")
        if not os.path.exists(path):
            return ""
        with open(path, encoding="utf-8", errors="replace") as f:
            return f.read()

    def path(self, name):
        """A path that leads to its file from here."""
        return f"/proc/{self._holder.pid}/root{self.place}/root{name}"

    def copy(self, name, to):
        """Carries a file of root's home to another machine."""
        shutil.copy(self.path("/root/" + name), to.path("/root/" + name))
