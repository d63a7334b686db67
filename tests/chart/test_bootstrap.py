"""How a new node gets the program's own image: the Service, and the init container, whose script is
run here by every shell there is."""

import os
import shutil
import stat
import subprocess

import pytest
from render import EVERYTHING, RenderError, mounts, render

SHELLS = [s for s in (["dash", "-c"], ["bash", "--posix", "-c"], ["busybox", "sh", "-c"])
          if shutil.which(s[0])]
INIT = {"enabled": True, "image": {"repository": "registry.example/tools", "tag": "1"}}
REPOSITORY = "registry.example:5000/spegel"


def values(repository=REPOSITORY, service=True, **more):
    return {"image": {"repository": repository}, "bootstrap": {
        "service": {"enabled": service}, "initContainer": INIT, **more}}


def init_container(objects):
    return objects.pod["initContainers"][0]


def run(script, top, shell=SHELLS[0], node_ip="192.0.2.7"):
    """Runs the script with `mkdir` and no other program on its PATH; what it said."""
    programs = top.parent / "programs"
    if not programs.exists():
        programs.mkdir()
        os.symlink(shutil.which("mkdir"), programs / "mkdir")
    binary = shutil.which(shell[0])
    done = subprocess.run([binary, *shell[1:], script], capture_output=True, text=True, check=False,
                          env={"PATH": str(programs), "CONFIG_PATH": str(top), "NODE_IP": node_ip})
    assert done.returncode == 0 and done.stderr == "", done.stderr
    return done.stdout


def script_of(helm, *args, **kwargs):
    return init_container(render(helm, values(*args, **kwargs)))["args"][0]


def tree(top):
    return {str(p.relative_to(top)): p.read_text() for p in top.rglob("*") if p.is_file()}


def test_by_default_there_is_neither(defaults):
    assert ("Service", "spegel-bootstrap-nodeport") not in defaults
    assert "initContainers" not in defaults.pod


def test_the_service_reaches_any_ready_instance(helm):
    service = render(helm, values())[("Service", "spegel-bootstrap-nodeport")]["spec"]
    assert service["type"] == "NodePort" and "publishNotReadyAddresses" not in service
    assert service["selector"] == {
        "app.kubernetes.io/name": "spegel", "app.kubernetes.io/instance": "spegel",
        "app.kubernetes.io/component": "spegel"}
    assert service["ports"] == [{"name": "registry", "port": 5000, "targetPort": "registry",
                                 "nodePort": 30000, "protocol": "TCP"}]


def test_the_init_container_comes_first_and_has_no_more_rights_than_the_daemon(helm):
    objects = render(helm, {**EVERYTHING, "basicAuthSecretName": "",
                            "spegel": {"configurationInitContainer": True},
                            "bootstrap": {"initContainer": INIT}})
    names = [c["name"] for c in objects.pod["initContainers"]]
    assert names == ["bootstrap", "first", "configuration"]
    container = init_container(objects)
    assert container["image"] == "registry.example/tools:1"
    assert container["securityContext"] == objects.registry["securityContext"]
    assert set(mounts(container)) == {"containerd-config"}
    assert "$(" not in container["args"][0], "Kubernetes would take it for a variable of its own"


@pytest.mark.parametrize("shell", SHELLS, ids=lambda s: s[0])
def test_it_leads_to_the_node_port_through_the_nodes_address(helm, shell, tmp_path):
    top = tmp_path / "certs.d"
    run(script_of(helm), top, shell)
    assert tree(top) == {"registry.example:5000/hosts.toml": """# spegel bootstrap
server = 'https://registry.example:5000'

[host.'http://192.0.2.7:30000']
capabilities = ['pull', 'resolve']
[host.'http://192.0.2.7:30000'.header]
X-Spegel-Registry = ['https://registry.example:5000']
X-Spegel-Mirror = ['false']
"""}
    assert stat.S_IMODE((top / "registry.example:5000/hosts.toml").stat().st_mode) & 0o444 == 0o444


@pytest.mark.parametrize("node_ip, target", [
    ("2001:db8::7", "http://[2001:db8::7]:30021"), ("[2001:db8::7]", "http://[2001:db8::7]:30021"),
    ("192.0.2.7", "http://192.0.2.7:30021")])
def test_an_address_of_any_family_and_the_registrys_own_node_port(helm, node_ip, target, tmp_path):
    top = tmp_path / "certs.d"
    given = values(service=False, mirror=True, initContainer={**INIT, "ipv6": True})
    run(init_container(render(helm, given))["args"][0], top, node_ip=node_ip)
    [text] = tree(top).values()
    assert f"[host.'{target}']" in text and "X-Spegel-Mirror = ['true']" in text


@pytest.mark.parametrize("shell", SHELLS, ids=lambda s: s[0])
@pytest.mark.parametrize("node_ip", ["2001:db8::7", "[2001:db8::7]"])
def test_an_ipv6_address_is_written_only_where_containerd_is_said_to_read_it(
        helm, shell, node_ip, tmp_path):
    top = tmp_path / "certs.d"
    assert run(script_of(helm), top, shell, node_ip) == (
        f"containerd 1.x reads no hosts.toml with an IPv6 address, {node_ip}: none is written"
        " (bootstrap.initContainer.ipv6)\n")
    assert not top.exists()


@pytest.mark.parametrize("repository, more, directory, server, registry", [
    ("spegel", {}, "docker.io", "https://registry-1.docker.io", "https://docker.io"),
    ("someone/spegel", {}, "docker.io", "https://registry-1.docker.io", "https://docker.io"),
    ("docker.io/someone/spegel", {}, "docker.io", "https://registry-1.docker.io",
     "https://docker.io"),
    ("ghcr.io/someone/spegel", {}, "ghcr.io", "https://ghcr.io", "https://ghcr.io"),
    ("localhost/spegel", {}, "localhost", "https://localhost", "https://localhost"),
    ("r.lab:5000/spegel", {"spegel": {"mirroredRegistries": ["http://r.lab:5000"]}}, "r.lab:5000",
     "http://r.lab:5000", "http://r.lab:5000"),
])
def test_the_registry_is_the_images(helm, repository, more, directory, server, registry, tmp_path):
    top = tmp_path / "certs.d"
    run(init_container(render(helm, {**values(repository), **more}))["args"][0], top)
    [(path, text)] = tree(top).items()
    assert path == f"{directory}/hosts.toml"
    assert f"server = '{server}'\n" in text and f"['{registry}']" in text


@pytest.mark.parametrize("path", [
    "_backup/x", "registry.example:5000/hosts.toml", "registry.example:5000/ca.crt",
    "registry.example_5000_/hosts.toml", "_default/hosts.toml"])
def test_a_configured_node_and_somebodys_own_files_are_left_alone(helm, path, tmp_path):
    top = tmp_path / "certs.d"
    (top / path).parent.mkdir(parents=True)
    (top / path).write_text("server = 'https://mine.example'\n")
    run(script_of(helm), top)
    assert tree(top) == {path: "server = 'https://mine.example'\n"}


def test_a_bootstrap_file_that_the_machine_came_with_is_replaced(helm, tmp_path):
    top = tmp_path / "certs.d"
    old = top / "registry.example:5000/hosts.toml"
    old.parent.mkdir(parents=True)
    old.write_text("# spegel bootstrap\nserver = 'https://registry.example:5000'\n")
    (top / "other.example").mkdir()
    (top / "other.example/hosts.toml").write_text("x")
    run(script_of(helm), top)
    assert "192.0.2.7:30000" in old.read_text() and tree(top)["other.example/hosts.toml"] == "x"


@pytest.mark.parametrize("changes, said", [
    ({"bootstrap": {"service": {"enabled": True, "nodePort": 30021}}}, "nodePort is 30021"),
    ({"bootstrap": {"service": {"enabled": True, "nodePort": 30020}}}, "nodePort is 30020"),
    ({"bootstrap": {"initContainer": {"enabled": True}}}, "needs image.repository and image.tag"),
    ({"bootstrap": {"initContainer": INIT}, "spegel": {"containerdMirrorAdd": False}},
     "nobody would ever replace"),
    ({"bootstrap": {"initContainer": INIT}, "basicAuthSecretName": "users"}, "the credentials"),
])
def test_what_cannot_work_is_refused(helm, changes, said):
    with pytest.raises(RenderError, match=said):
        render(helm, changes)


def test_without_the_images_registry_among_the_mirrored_ones_it_is_refused(helm):
    def rendered(*registries, repository=REPOSITORY, wanted={"initContainer": INIT}):
        return render(helm, {"image": {"repository": repository}, "bootstrap": wanted,
                             "spegel": {"mirroredRegistries": list(registries)}})

    with pytest.raises(RenderError, match="mirroredRegistries lacks https://registry.example:5000, "):
        rendered("https://registry.example", "https://docker.io")
    with pytest.raises(RenderError, match="mirroredRegistries lacks https://docker.io, "):
        rendered("https://ghcr.io", repository="someone/spegel")
    rendered()
    rendered("https://docker.io", repository="someone/spegel")
    for taken in ("https://registry.example:5000", "http://registry.example:5000", "_default", "*"):
        rendered("https://ghcr.io", taken)
    for elsewhere in ({}, {"service": {"enabled": True}}): # a file of one's own, for other images
        rendered("https://ghcr.io", wanted=elsewhere)
