"""A long-running program on a host: started, frozen, killed, by its own pid."""

import os
import signal
import subprocess
import time

from .net import LabError


class Process:
    """A program in a host's namespace, its output appended to a log file."""

    def __init__(self, host, name, directory):
        self.host, self.name, self.directory = host, name, directory
        self.log_path = os.path.join(directory, f"{name}.log")
        self._popen = None

    def command(self):
        """The argv to start; to be overridden."""
        raise NotImplementedError

    def environment(self):
        """The environment to start with; None is ours."""
        return None

    def launch(self):
        """Starts the program without waiting until it is ready."""
        if self.alive:
            raise LabError(f"{self.name} on {self.host.name} runs already")
        with open(self.log_path, "ab") as log:
            self._popen = self.host.popen(self.command(), stdin=subprocess.DEVNULL, stdout=log,
                                          stderr=subprocess.STDOUT, env=self.environment(),
                                          start_new_session=True, cwd=self.directory)
        return self

    def ready(self):
        """True once it does its work; to be overridden."""
        return True

    def wait_ready(self, timeout_s=30.0):
        deadline = time.monotonic() + timeout_s
        while not self.ready():
            if not self.alive:
                raise LabError(f"{self.name} on {self.host.name} ended with "
                               f"{self.returncode} instead of starting:\n{self.log_tail()}")
            if time.monotonic() > deadline:
                raise LabError(f"{self.name} on {self.host.name} was not ready after "
                               f"{timeout_s:g} s:\n{self.log_tail()}")
            time.sleep(0.02)
        return self

    def start(self, timeout_s=30.0):
        return self.launch().wait_ready(timeout_s)

    @property
    def pid(self):
        return self._popen.pid if self._popen else None

    @property
    def alive(self):
        return self._popen is not None and self._popen.poll() is None

    @property
    def returncode(self):
        """None while it runs or before it was started; negative: the signal that ended it."""
        return self._popen.poll() if self._popen else None

    def signal(self, number):
        if self.alive:
            self._popen.send_signal(number)

    def wait(self, timeout_s=15.0):
        """Waits for its end; returns the exit code."""
        try:
            return self._popen.wait(timeout_s)
        except subprocess.TimeoutExpired:
            raise LabError(f"{self.name} on {self.host.name} did not end within {timeout_s:g} s:"
                           f"\n{self.threads()}\n{self.log_tail()}") from None

    def stop(self, timeout_s=15.0):
        """SIGTERM, then waits; returns the exit code (None: it did not run)."""
        if not self.alive:
            return self.returncode
        self.signal(signal.SIGCONT)
        self.signal(signal.SIGTERM)
        return self.wait(timeout_s)

    def kill(self):
        """SIGKILL: no goodbye. Returns when it is gone."""
        if self.alive:
            self.signal(signal.SIGKILL)
            self.wait()

    def freeze(self):
        """SIGSTOP: its sockets stay open and nobody answers."""
        self.signal(signal.SIGSTOP)

    def thaw(self):
        self.signal(signal.SIGCONT)

    def restart(self, timeout_s=30.0):
        self.stop()
        return self.start(timeout_s)

    def log(self):
        """All it has said."""
        try:
            with open(self.log_path, encoding="utf-8", errors="replace") as f:
                return f.read()
        except FileNotFoundError:
            return ""

    def log_tail(self, lines=25):
        return "\n".join(self.log().splitlines()[-lines:])

    def threads(self):
        """What each thread does right now: name, state, system call, where in the kernel."""
        lines = []
        for task in sorted(os.listdir(f"/proc/{self.pid}/task")):
            try:
                name, stat, call, where = (self._proc(f"task/{task}/{f}").strip()
                                           for f in ("comm", "stat", "syscall", "wchan"))
            except OSError:
                continue  # it ended while we looked
            state = stat.rpartition(")")[2].split()[0]
            lines.append(f"thread {task} {name} {state} {call} {where}")
        return "\n".join(lines)

    def _proc(self, name):
        with open(f"/proc/{self.pid}/{name}", encoding="ascii", errors="replace") as f:
            return f.read()

    def memory_bytes(self, key="VmRSS"):
        """A value of /proc/<pid>/status, in bytes: VmRSS, RssAnon, VmHWM."""
        for line in self._proc("status").splitlines():
            if line.startswith(key + ":"):
                return int(line.split()[1]) * 1024
        raise LabError(f"no {key} for {self.name}")

    def cpu_seconds(self):
        """User and system time of the whole process so far."""
        fields = self._proc("stat").rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def open_files(self):
        return len(os.listdir(f"/proc/{self.pid}/fd"))
