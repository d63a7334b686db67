"""Machines leave nothing behind: neither namespaces nor control groups, nor what ran in them."""

import os
import signal
import subprocess
import sys
import time

import pytest
from machine import why_unavailable

import lab
from lab.net import sweep

WHY_NOT = lab.why_unavailable() or why_unavailable()
pytestmark = pytest.mark.skipif(WHY_NOT is not None, reason=str(WHY_NOT))

HOLD = """
import time
import lab
from machine import Machine
with lab.Lab(nodes=0, upstream=False) as opened:
    Machine(opened, "host", with_containerd=False)
    print(opened.net.prefix, flush=True)
    time.sleep(60)
"""


def leftovers(prefix):
    groups = [n for n in os.listdir(sweep.cgroup_home()) if n.startswith(prefix + "-")]
    return sweep.namespaces(prefix) + groups


@pytest.mark.parametrize("ending", [signal.SIGTERM, signal.SIGKILL])
def test_a_machine_leaves_nothing_however_its_process_ends(ending):
    child = subprocess.Popen([sys.executable, "-c", HOLD], stdout=subprocess.PIPE, text=True,
                             env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)})
    prefix = child.stdout.readline().strip()
    assert sorted(leftovers(prefix)) == sorted([f"{prefix}-host", f"{prefix}-hub", f"{prefix}-host"])
    child.send_signal(ending)
    child.wait(20)
    child.stdout.close()
    deadline = time.monotonic() + 10  # after SIGKILL the janitor needs a moment
    while leftovers(prefix) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert leftovers(prefix) == []
