"""What the Debian package's scripts do on a machine: what removing it gives back, what purging leaves."""

import os

import pytest
from machine import Machine, why_unavailable
from test_pages import PACKAGES

import lab

WHY_NOT = why_unavailable() or (None if PACKAGES else "no package: `./dev deb` builds it")
pytestmark = pytest.mark.skipif(WHY_NOT is not None, reason=str(WHY_NOT))

LINK = "/etc/systemd/system/multi-user.target.wants/spegel.service"
INSTALL = "dpkg --install spegel_*.deb"


@pytest.fixture(scope="module")
def machine():
    with lab.Lab(nodes=0, upstream=False) as opened:
        yield Machine(opened, "host", PACKAGES[-1], with_containerd=False)


def exists(machine, path):
    return os.path.lexists(machine.path(path))


CERTS_D, OTHER = "/etc/containerd/certs.d", "/etc/other/certs d"


# What systemd makes of an environment file; a shell would stop at some, and run others.
@pytest.mark.parametrize("text, path", [
    ("REGISTRY_FILTERS=^(docker.io|ghcr.io)/x\nWRITE_CONFIGURATION=true", CERTS_D),
    ("ZONE=a; touch /root/ran | touch /root/ran\nWRITE_CONFIGURATION=T", CERTS_D),
    ("WRITE_CONFIGURATION=1\n#CONTAINERD_REGISTRY_CONFIG_PATH=/etc/other", CERTS_D),
    (f"CONTAINERD_REGISTRY_CONFIG_PATH={OTHER}  ", OTHER),
    (f"  CONTAINERD_REGISTRY_CONFIG_PATH = '{OTHER}'", OTHER),
    (f'CONTAINERD_REGISTRY_CONFIG_PATH=/etc/no\nCONTAINERD_REGISTRY_CONFIG_PATH="{OTHER}"', OTHER),
    (None, CERTS_D),
])
def test_removing_gives_back_whatever_the_environment_file_says(machine, text, path):
    machine.run(INSTALL)
    if text is None:
        os.unlink(machine.path("/etc/default/spegel"))
    else:
        with open(machine.path("/etc/default/spegel"), "w", encoding="utf-8") as f:
            f.write(text + "\n")
    machine.run(f"""mkdir -p "{path}/docker.io"
echo mine >"{path}/docker.io/hosts.toml"
spegel configuration --containerd-registry-config-path="{path}" --mirror-targets http://127.0.0.1:5000 \
    --mirrored-registries https://docker.io
grep -q 127.0.0.1 "{path}/docker.io/hosts.toml"
dpkg --remove spegel""")
    assert machine.run(f'cd "{path}"; find; cat */hosts.toml').split() == [
        ".", "./docker.io", "./docker.io/hosts.toml", "mine"]
    assert not exists(machine, "/root/ran")


@pytest.mark.parametrize("enabled", [False, True])
def test_a_unit_is_enabled_by_its_administrator_alone_and_purging_forgets_it(machine, enabled):
    machine.run("dpkg --purge spegel")
    machine.run(INSTALL)
    assert not exists(machine, LINK)
    if enabled:
        machine.run("systemctl enable spegel")
    machine.run(INSTALL)
    assert exists(machine, LINK) == enabled
    machine.run("dpkg --remove spegel")
    machine.run(INSTALL)
    assert exists(machine, LINK) == enabled
    machine.run("dpkg --purge spegel")
    assert machine.run("find /etc/systemd /var/lib/systemd -name '*spegel*'") == ""
