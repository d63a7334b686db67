"""Runs a container of a rendered pod in the lab: the same image, arguments, environment, mounts and
rights, by the node's own containerd. What the kubelet would add is added here, and nothing else."""

import os
import re
import tempfile

from kubelet import MemoryGroup, SecretVolume, field, memory_limit_bytes

# What ctr gives a container; a securityContext that drops ALL has each of them dropped.
CAPABILITIES = ["CHOWN", "DAC_OVERRIDE", "FSETID", "FOWNER", "MKNOD", "NET_RAW", "SETGID", "SETUID",
                "SETFCAP", "SETPCAP", "NET_BIND_SERVICE", "SYS_CHROOT", "KILL", "AUDIT_WRITE"]


def import_image(node, archive):
    """Imports the image; its name in containerd."""
    node.containerd.ctr("images", "import", "--snapshotter", node.containerd.snapshotter,
                        "--base-name", "registry.example/spegel", "--digests", str(archive))
    [name] = [line for line in node.containerd.ctr("images", "list", "-q").splitlines()
              if line.startswith("registry.example/spegel@")]
    return name


class Pod:
    """A container of a rendered pod, running on a node."""

    def __init__(self, node, image, spec, name=None, dns=None, addresses=None, secrets=None,
                 labels=None):
        """`name` is the container's, of those of `spec` (init containers included), where it is not
        the only one in `containers`. `dns` is a ClusterDns (cluster_dns.py). `addresses` are
        the pod's and the node's, the first family first; both families' if not given. `secrets` are
        those of the namespace: {name: {key: text}}. `labels` are the pod's."""
        self.dns, self.addresses = dns, addresses or [node.ip, node.ip6]
        self.labels = labels or {}
        self.secrets = {}  # the SecretVolumes by the Secrets' names
        every = [*spec.get("initContainers", []), *spec["containers"]]
        self.node = node
        [self.container] = [c for c in every if c["name"] == name] if name else spec["containers"]
        self.name = self.container["name"]
        self.log_path = os.path.join(node.directory, f"{self.name}.log")
        node.containerd.ctr("run", "-d", *self._network(),
                            "--snapshotter", node.containerd.snapshotter,
                            "--log-uri", f"file://{self.log_path}",
                            *self._rights(), *self._limits(),
                            *self._mounts(spec, secrets or {}), *self._environment(),
                            image, self.name,
                            *self.container.get("command", ["/usr/local/bin/spegel"]),
                            *self._arguments())

    def _network(self):
        """The node's. With --net-host ctr mounts the machine's own resolv.conf."""
        if not self.dns:
            return ["--net-host"]
        return ["--with-ns", f"network:/proc/{self.node.containerd.pid}/ns/net"]

    def _rights(self):
        context = dict(self.container["securityContext"])
        flags = []
        # The image names no user, and so ctr takes root.
        assert context.pop("runAsUser", 0) == context.pop("runAsGroup", 0) == 0
        if context.pop("readOnlyRootFilesystem"):
            flags.append("--read-only")
        if context.pop("capabilities", None) == {"drop": ["ALL"]}:
            for capability in CAPABILITIES:
                flags += ["--cap-drop", f"CAP_{capability}"]
        if context.pop("seccompProfile", None) == {"type": "RuntimeDefault"}:
            flags.append("--seccomp")
        # ctr always says no new privileges, which is what this one asks for.
        assert context in ({"allowPrivilegeEscalation": False}, {}), "a right not applied here"
        return flags

    def _limits(self):
        """In a control group that no other container has: the labs' names for theirs are the same."""
        top = os.path.basename(os.path.dirname(self.node.directory))
        flags = ["--cgroup", f"/k8s.io/{top}-{self.node.name}-{self.name}"]
        limit = memory_limit_bytes(self.container)
        return flags + (["--memory-limit", str(limit)] if limit is not None else [])

    def _source(self, volume, secrets):
        """The directory or file of the node that a volume is."""
        if "secret" in volume:
            name = volume["secret"]["secretName"]
            self.secrets[name] = SecretVolume(
                tempfile.mkdtemp(prefix=volume["name"] + "-", dir=self.node.directory),
                volume["secret"], secrets[name])
            return self.secrets[name].directory
        path = volume["hostPath"]["path"]
        if volume["hostPath"]["type"] == "DirectoryOrCreate":
            os.makedirs(path, exist_ok=True)
        return path

    def _mounts(self, spec, secrets):
        volumes = {v["name"]: v for v in spec.get("volumes") or []}
        for mount in self.container.get("volumeMounts") or []:
            source = self._source(volumes[mount["name"]], secrets)
            options = ["rbind", "ro" if mount.get("readOnly") else "rw",
                       "rslave" if mount.get("mountPropagation") == "HostToContainer" else
                       "rprivate"]
            yield "--mount"
            yield (f"type=bind,src={source},dst={mount['mountPath']},"
                   f"options={':'.join(options)}")
        files = {"hosts": self.node.host.net.hosts_file,
                 "resolv.conf": self.dns and self.dns.resolv_conf}
        for name, source in files.items() if self.dns else ():
            yield "--mount"
            yield f"type=bind,src={source},dst=/etc/{name},options=rbind:ro"

    def _values(self):
        for entry in self.container.get("env") or []:
            value = entry.get("value")
            yield entry["name"], (value if value is not None else field(
                entry["valueFrom"]["fieldRef"]["fieldPath"], self.node.name, self.addresses,
                self.labels))

    def _environment(self):
        for name, value in self._values():
            yield "--env"
            yield f"{name}={value}"

    def _arguments(self):
        for argument in self.container["args"]:
            for name, value in self._values():
                argument = argument.replace(f"$({name})", value)
            yield argument

    def _task(self):
        """(pid, status) of the container, None once it is gone."""
        for line in self.node.containerd.ctr("tasks", "list").splitlines()[1:]:
            name, pid, status = line.split()
            if name == self.name:
                return int(pid), status
        return None

    def kernel_status(self):
        """/proc/<pid>/status as a dictionary."""
        with open(f"/proc/{self._task()[0]}/status", encoding="utf-8") as f:
            return {key: value.strip() for key, _, value in (line.partition(":") for line in f)}

    def memory(self):
        """Its MemoryGroup; None where this machine has none."""
        return MemoryGroup.of(self._task()[0])

    def running(self):
        task = self._task()
        return task is not None and task[1] == "RUNNING"

    def stop(self, lab):
        """SIGTERM, as the kubelet does; the exit code."""
        if self.running():
            self.node.containerd.ctr("tasks", "kill", "--signal", "SIGTERM", self.name)
        return self.wait(lab)

    def wait(self, lab):
        """Waits for its end and removes it; the exit code."""
        lab.settle(lambda: not self.running(), 25, f"{self.name} to end")
        done = self.node.host.run(["ctr", "--address", self.node.containerd.socket, "-n",
                                   self.node.containerd.NAMESPACE, "tasks", "delete", self.name],
                                  check=False)
        self.node.containerd.ctr("containers", "delete", self.name)
        # ctr ends well whatever the task ended with, and says so.
        code = re.search(r"exit with non-zero exit code (\d+)", done.stdout)
        return int(code.group(1)) if code else done.returncode

    def log(self):
        with open(self.log_path, encoding="utf-8", errors="replace") as f:
            return f.read()
