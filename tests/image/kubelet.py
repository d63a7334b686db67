"""What the kubelet makes for a container out of its pod's specification: a Secret's files, the values
of the downward API, a limit on memory."""

import itertools
import os
import re
import time

MODE = 0o644  # of a Secret's file where the pod says nothing
UNITS = {"": 1, "k": 10**3, "M": 10**6, "G": 10**9, "Ki": 2**10, "Mi": 2**20, "Gi": 2**30}


class SecretVolume:
    """A Secret in a directory as the kubelet's atomic writer has it: <file> -> ..data/<file>, ..data
    -> ..<time>, and a new ..data is renamed into place."""

    def __init__(self, directory, source, data):
        """An empty directory; `source` is the volume's `secret`; `data` is {key: text} of the Secret."""
        self.directory, self._source = directory, source
        self._numbers = itertools.count(1)
        os.chmod(directory, 0o1777)
        self.update(data)
        for _, name, _ in self._files():
            os.symlink(os.path.join("..data", name), os.path.join(directory, name))

    def _files(self):
        """(key, path, mode) of each; all keys where the pod names none."""
        mode = self._source.get("defaultMode", MODE)
        items = self._source.get("items") or [{"key": k, "path": k} for k in self._data]
        for item in items:
            assert "/" not in item["path"], "directories are not made here"
            yield item["key"], item["path"], item.get("mode", mode)

    def update(self, data):
        """The Secret was changed: all of it is, at once."""
        self._data = data
        stamp = time.strftime("..%Y_%m_%d_%H_%M_%S.") + f"{next(self._numbers):09}"
        link, version = (os.path.join(self.directory, name) for name in ("..data", stamp))
        os.mkdir(version)
        os.chmod(version, 0o755)
        for key, name, mode in self._files():
            path = os.path.join(version, name)
            with open(path, "w", encoding="utf-8") as f:
                f.write(data[key])
            os.chmod(path, mode)
        old = os.readlink(link) if os.path.islink(link) else None
        os.symlink(stamp, link + "_tmp")
        os.rename(link + "_tmp", link)
        if old:
            old = os.path.join(self.directory, old)
            for name in os.listdir(old):
                os.remove(os.path.join(old, name))
            os.rmdir(old)


def field(path, node_name, addresses, labels):
    """The value of a fieldRef. A label that the pod has not is empty."""
    label = re.fullmatch(r"metadata\.labels\['(.+)'\]", path)
    if label:
        return labels.get(label.group(1), "")
    return {"spec.nodeName": node_name, "status.hostIP": addresses[0],
            "status.podIP": addresses[0], "status.podIPs": ",".join(addresses)}[path]


def memory_limit_bytes(container):
    """None without a limit."""
    limits = dict((container.get("resources") or {}).get("limits") or {})
    limit = limits.pop("memory", None)
    assert not limits, "a limit not applied here"
    if limit is None:
        return None
    number, unit = re.fullmatch(r"(\d+)(\w*)", str(limit)).groups()
    return int(number) * UNITS[unit]


class MemoryGroup:
    """The memory of the control group that a process is in, by version 2's or 1's interface."""

    V2 = {"limit": "memory.max", "peak": "memory.peak", "now": "memory.current",
          "kills": "memory.events"}
    V1 = {"limit": "memory.limit_in_bytes", "peak": "memory.max_usage_in_bytes",
          "now": "memory.usage_in_bytes", "kills": "memory.oom_control"}

    def __init__(self, directory, names):
        self._directory, self._names = directory, names

    @classmethod
    def of(cls, pid):
        """None where no memory controller is mounted."""
        with open(f"/proc/{pid}/cgroup", encoding="utf-8") as f:
            groups = [line.rstrip("\n").split(":", 2) for line in f]
        for _, controllers, path in groups:
            if "memory" in controllers.split(","):
                return cls("/sys/fs/cgroup/memory" + path, cls.V1)
            directory = "/sys/fs/cgroup" + path
            if not controllers and os.path.exists(os.path.join(directory, "memory.max")):
                return cls(directory, cls.V2)
        return None

    def _read(self, what):
        with open(os.path.join(self._directory, self._names[what]), encoding="utf-8") as f:
            return f.read()

    @property
    def limit_bytes(self):
        return int(self._read("limit"))

    @property
    def peak_bytes(self):
        """The most there ever was; before Linux 5.19, version 2 knows only what there is now."""
        try:
            return int(self._read("peak"))
        except FileNotFoundError:
            return int(self._read("now"))

    @property
    def kills(self):
        """How many processes were killed for want of memory."""
        [count] = re.findall(r"^oom_kill (\d+)$", self._read("kills"), re.MULTILINE)
        return int(count)
