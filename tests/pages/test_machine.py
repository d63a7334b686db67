"""Machines leave nothing behind: neither namespaces nor control groups, nor what ran in them."""

import os
import signal
import subprocess
import sys

import pytest
from machine import why_unavailable

from lab.net import sweep

WHY_NOT = why_unavailable()
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


@pytest.mark.parametrize("ending", [signal.SIGTERM, signal.SIGKILL])
def test_a_machine_leaves_nothing_however_its_process_ends(ending):
    child = subprocess.Popen([sys.executable, "-c", HOLD], stdout=subprocess.PIPE, text=True,
                             env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)})
    prefix = child.stdout.readline().strip()
    assert sweep.namespaces(prefix) == [f"{prefix}-host", f"{prefix}-hub"]
    assert [os.path.basename(g) for g in sweep.cgroups(prefix)] == [f"{prefix}-host"]
    child.send_signal(ending)
    child.wait(20)
    child.stdout.close()
    assert sweep.wait_swept(prefix) == []
