"""The unit, run by systemd itself: what it may do, and how it starts, is started again and ends."""

import re

import pytest
from machine import Machine
from test_pages import LOCAL, PACKAGES, POINT_CONTAINERD, READY, WHY_NOT

import lab

pytestmark = pytest.mark.skipif(WHY_NOT is not None, reason=str(WHY_NOT))

SETTINGS = """BOOTSTRAP_KIND=static
STATIC_BOOTSTRAP_PEERS=127.0.0.1:5001
CONTAINERD_NAMESPACE=default
"""
CAPABILITIES = 0b1111  # chown, dac_override, dac_read_search, fowner: see capabilities(7)


@pytest.fixture(scope="module")
def machine():
    with lab.Lab(nodes=0) as opened:
        opened.push(lab.images.image(layers=1, layer_mb=4), "library/busybox:1.36")
        made = Machine(opened, "host", PACKAGES[-1])
        made.run(f"""{POINT_CONTAINERD}dpkg --install spegel_*.deb
cat >/etc/default/spegel <<'EOF'
{SETTINGS}EOF
mkdir -p /etc/containerd/certs.d
ctr images pull --plain-http {LOCAL}
systemctl enable --now spegel
{READY}""")
        yield made


def main_pid(machine):
    return int(machine.run("systemctl show --property MainPID --value spegel"))


def test_it_may_no_more_than_it_needs(machine):
    pid = main_pid(machine)
    status = dict(line.split(":\t", 1)
                  for line in machine.run(f"cat /proc/{pid}/status").splitlines() if ":\t" in line)
    assert int(status["CapEff"], 16) == int(status["CapBnd"], 16) == CAPABILITIES
    assert (status["NoNewPrivs"], status["Seccomp"]) == ("1", "2")
    seen = f"nsenter --target {pid} --mount "
    for path in ("/usr/bin/x", "/etc/x", "/var/lib/x", "/sys/x"):
        assert "Read-only" in machine.run(f"! {seen} touch {path}")
    machine.run(f"{seen} touch /etc/containerd/certs.d/x /var/lib/spegel/x /tmp/x")
    assert machine.run("cd /tmp && find . -name x -maxdepth 1") == ""  # it has its own
    assert machine.run(f"{seen} ls -A /root /home") == "/home:\n\n/root:\n"
    said = machine.log()
    assert '"msg":"running"' in said and not re.search('"level":"(WARN|ERROR)"', said), said


def test_it_is_started_again_when_it_is_killed(machine):
    before = main_pid(machine)
    machine.run(f"kill -KILL {before}\ntimeout 20 sh -c 'until [ $(systemctl show --property MainPID "
                f"--value spegel) -ne 0 ] && ! [ -e /proc/{before} ]; do sleep 0.1; done'\n{READY}")
    assert main_pid(machine) != before


def test_it_waits_for_containerd_and_outlives_it(machine):
    machine.run("systemctl stop spegel containerd; systemctl start spegel")
    pid = main_pid(machine)
    assert machine.run("! curl --fail --silent http://127.0.0.1:5000/readyz") == ""
    machine.run("systemctl start containerd\n" + READY)
    machine.run("systemctl restart containerd\n" + READY)
    assert main_pid(machine) == pid


def test_a_stream_may_end_before_it_does(machine):
    name = LOCAL.partition("/")[2].rpartition(":")[0]
    host = LOCAL.partition("/")[0]
    script = f"""
at=http://127.0.0.1:5000/v2/{name}
blob=$(curl --fail --silent "$at/manifests/1.36?ns={host}" |
    grep -o '"layers".*' | grep -o 'sha256:[0-9a-f]*' | head -n 1)
curl --fail --silent --limit-rate 1M --output got "$at/blobs/$blob?ns={host}" &
sleep 0.5
systemctl stop spegel
[ $(systemctl show --property Result --value spegel) = success ]
wait $!
[ "sha256:$(sha256sum <got | cut -d ' ' -f 1)" = "$blob" ]
systemctl start spegel
"""
    machine.run(script)


def test_systemd_finds_it_confined_as_it_runs(machine):
    done = machine.run("systemd-analyze security --threshold=30 spegel.service")
    assert "Overall exposure level" in done, done
