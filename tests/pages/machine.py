"""A machine of the lab with a root file system of its own, this one's, over which it may write, and
with systemd as its first process. What a page tells to type as root can be typed there."""

import functools
import os
import shutil
import subprocess
import time

import lab

SYSTEMD = "/lib/systemd/systemd"
BOOT_WAIT_S = 60.0
ENTER = 'echo $$ >"$0/cgroup.procs" && exec "$@"'  # a control group
MARK = "/run/lab.machine"  # is there once its root is the root, and nowhere else
# It gets no device but those that hold nothing, and what the kernel has only one of, /proc/sys and
# /sys, may be read. Of what starts by itself, only the journal does.
SETUP = """
mount -t tmpfs tmpfs "$0"
cd "$0"
mkdir upper work root
mount -t overlay overlay -o lowerdir=/,upperdir=upper,workdir=work root
cd root
mount -t proc proc proc
mount --bind proc/sys proc/sys
mount -o remount,bind,ro proc/sys
mount -t sysfs -o ro sysfs sys
mount -t cgroup2 cgroup2 sys/fs/cgroup
mount -t tmpfs -o mode=755 tmpfs dev
for name in null zero full random urandom tty; do
    touch dev/$name
    mount --bind /dev/$name dev/$name
done
mkdir dev/shm dev/pts
mount -t devpts -o newinstance,ptmxmode=0666 devpts dev/pts
ln -s pts/ptmx dev/ptmx
ln -s /proc/self/fd dev/fd
for name in run tmp root srv var/lib/containerd var/log; do
    mkdir -p $name
    mount -t tmpfs -o mode=755 tmpfs $name
done
touch .$MARK
mount --bind "$1" etc/hosts
[ -z "$2" ] || cp "$2" root/
[ -z "$3" ] || { mkdir -p ".$3" && mount --bind "$3" ".$3"; }
rm -rf etc/containerd etc/systemd/system/*.wants var/lib/systemd/deb-systemd-helper-*
mkdir -p etc/containerd
cd usr/lib/systemd/system/sysinit.target.wants
find . -type l ! -name systemd-journald.service -delete
cd ../../../../..
ln -sf /usr/lib/systemd/system/basic.target etc/systemd/system/default.target
mkdir old
pivot_root . old
umount -l old
exec env -i PATH="$PATH" container=lab "$4"
"""


@functools.cache  # it tries
def why_unavailable():
    """None when such machines can be made here, else a one-line reason."""
    reason = lab.why_unavailable()
    if reason:
        return reason
    if not os.access(SYSTEMD, os.X_OK) or not shutil.which("systemctl"):
        return "systemd is not installed"
    home = lab.net.sweep.cgroup_home()
    if not home:
        return "there is no unified hierarchy of control groups"
    group = os.path.join(home, f"spl{os.getpid()}-probe")
    try:
        os.mkdir(group)
        tried = subprocess.run(["sh", "-c", ENTER, group, "true"], stderr=subprocess.PIPE,
                               text=True, check=False)
        os.rmdir(group)
    except OSError as e:
        return f"control groups cannot be made: {e}"
    return f"control groups cannot be entered: {tried.stderr}" if tried.returncode else None


class Machine:
    """Ends with the lab, and leaves nothing: its files are in memory, in a mount namespace."""

    def __init__(self, opened, name, package="", shared="", with_containerd=True):
        """`package` lies in root's home; the directory `shared` has its name there, and is this one."""
        self.host = opened.add_host(name)
        self.name, self.ip = name, self.host.ip
        group = os.path.join(lab.net.sweep.cgroup_home(), self.host.ns)
        os.mkdir(group)
        # In its group before it unshares, so that this is the root of what it sees.
        self._holder = subprocess.Popen(
            ["nsenter", f"--net={lab.net.sweep.NETNS_DIR}/{self.host.ns}", "sh", "-c", ENTER, group,
             "unshare", "--mount", "--pid", "--fork", "--kill-child", "--cgroup", "--uts", "--ipc",
             "--propagation", "private", "sh", "-euc", SETUP, opened.net.make_dir(f"{name}.root"),
             opened.net.hosts_file, str(package), str(shared), SYSTEMD],
            env={**os.environ, "MARK": MARK}, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
        self._wait_until_booted()
        if with_containerd:
            self.run("systemctl start containerd")

    def _wait_until_booted(self):
        deadline = time.monotonic() + BOOT_WAIT_S
        while not (os.path.exists(self.path(MARK)) and
                   self._run("systemctl is-system-running").stdout in ("running\n", "degraded\n")):
            assert self._holder.poll() is None and time.monotonic() < deadline, \
                f"{self.name} does not boot"
            time.sleep(0.05)

    def _run(self, script):
        environment = {"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
                       "HOME": "/root", "DEBIAN_FRONTEND": "noninteractive"}
        pid = self._holder.pid
        return subprocess.run(
            ["nsenter", "-t", str(pid), "--mount", "--net", "--cgroup", "--uts", "--ipc",
             f"--pid=/proc/{pid}/ns/pid_for_children", "--root", "sh", "-euc",
             "cd /root\n" + script],
            env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT, text=True, timeout=120, check=False)

    def run(self, script):
        """Runs a script there, as root, in root's home; its output."""
        done = self._run(script)
        assert done.returncode == 0, f"{self.name}: {script}\n{done.stdout}\n{self.log()}"
        return done.stdout

    def log(self):
        """What its daemon said, if there is one, and what systemd said of it."""
        return self._run("journalctl --unit spegel --output cat").stdout

    def path(self, name):
        """A path that leads to its file from here."""
        return f"/proc/{self._holder.pid}/root{name}"

    def copy(self, name, to):
        """Carries a file of root's home to another machine."""
        shutil.copy(self.path("/root/" + name), to.path("/root/" + name))
