"""Each value of values.yaml has an effect, and those that more than one object needs reach all of them."""

import copy
import json

import generate
import pytest
import yaml
from render import CHART, environment, render

LEAVES = {path: (kind, default) for path, kind, default
          in generate.leaves(yaml.safe_load((CHART / "values.yaml").read_text()))}

# Nothing is rendered differently by it: it decides whether anything is (test_values.py).
WITHOUT_EFFECT = {"allowUnknownValues"}

# What has to be set for a value to matter: of a whole section, or of one key.
TOOLS = {"repository": "registry.example/tools", "tag": "1"}
CONTEXTS = {
    "gossipKeySecret": {"gossipKeySecret": {"name": "keys"}},
    "bootstrap.service": {"bootstrap": {"service": {"enabled": True}}},
    "bootstrap.initContainer": {"bootstrap": {"initContainer": {"enabled": True, "image": TOOLS}}},
    "bootstrap.initContainer.enabled": {"bootstrap": {"initContainer": {"image": TOOLS}}},
    "bootstrap.mirror": {"bootstrap": {"initContainer": {"enabled": True, "image": TOOLS}}},
    **{section: {section: {"enabled": True}} for section in (
        "networkPolicy", "serviceMonitor", "podMonitor", "prometheusRule", "grafanaDashboard",
        "verticalPodAutoscaler")},
    "grafanaDashboard.grafanaOperator": {
        "grafanaDashboard": {"enabled": True, "mode": "GrafanaOperator"}},
}

# Where any text or number will not do.
CHANGED = {
    "image.pullPolicy": "Always",
    "service.ipFamilyPolicy": "PreferDualStack",
    "spegel.logLevel": "DEBUG",
    "grafanaDashboard.mode": "GrafanaOperator",
}
TEXT, NUMBER = "changed.example", 12345
TEXT_LISTS = ("mirroredRegistries", "additionalMirrorTargets", "registryFilters",
              "coldRolloutExclude", "extraArgs", "controlledResources")


def changed_value(path, kind, default):
    if path in CHANGED:
        return CHANGED[path]
    if kind == "bool":
        return not default
    if kind == "number":
        return NUMBER
    if kind == "list":
        return [TEXT] if path.endswith(TEXT_LISTS) else [{"name": TEXT}]
    return {TEXT: TEXT} if kind in ("map", "merged") else TEXT


def nested(path, value):
    for name in reversed(path.split(".")):
        value = {name: value}
    return value


def merged(one, other):
    result = copy.deepcopy(one)
    for name, value in other.items():
        both = isinstance(value, dict) and isinstance(result.get(name), dict)
        result[name] = merged(result[name], value) if both else value
    return result


def context_of(path):
    """That of the key, else of the nearest section. What switches a section on needs no other."""
    walked = path.split(".")
    names = [".".join(walked[:n]) for n in range(len(walked), 0, -1)]
    found = next((CONTEXTS[name] for name in names if name in CONTEXTS), {})
    on = nested(path, True)
    return {} if found == on else found


@pytest.fixture(scope="module")
def texts(helm):
    """Renders to one text, each set of values once."""
    known = {}

    def text(values):
        key = json.dumps(values, sort_keys=True)
        if key not in known:
            known[key] = json.dumps(render(helm, values).all)
        return known[key]

    return text


def test_every_exemption_and_context_is_of_a_value_that_there_is():
    assert LEAVES.keys() >= WITHOUT_EFFECT | CHANGED.keys()
    for name in CONTEXTS:
        assert [p for p in LEAVES if p == name or p.startswith(name + ".")], name
    for name in TEXT_LISTS:
        assert [p for p in LEAVES if p.endswith(name)], name


@pytest.mark.parametrize("path", [p for p in LEAVES if p not in WITHOUT_EFFECT])
def test_a_changed_value_is_rendered(texts, path):
    kind, default = LEAVES[path]
    value, context = changed_value(path, kind, default), context_of(path)
    before, after = texts(context), texts(merged(context, nested(path, value)))
    assert before != after
    if kind != "bool" and path not in CHANGED:
        mark = str(NUMBER) if kind == "number" else TEXT
        assert mark not in before and mark in after


# --- values that have to reach several places ---


def containers(spec):
    return [*spec.get("initContainers", []), *spec["containers"]]


@pytest.mark.parametrize("init", [False, True])
def test_pods_of_hooks_are_pulled_and_confined_like_the_others(helm, init):
    objects = render(helm, {
        "podSecurityContext": {"supplementalGroups": [7]}, "imagePullSecrets": [{"name": "pull"}],
        "image": {"pullPolicy": "Always"}, "securityContext": {"seLinuxOptions": {"type": "spc_t"}},
        "spegel": {"configurationInitContainer": init}})
    specs = dict(objects.pod_specs())
    assert specs.keys() == {"spegel", "spegel-cleanup", "spegel-cleanup-wait"}
    for name, spec in specs.items():
        assert spec["securityContext"] == {"supplementalGroups": [7]}, name
        assert spec["imagePullSecrets"] == [{"name": "pull"}], name
        for container in containers(spec):
            assert container["imagePullPolicy"] == "Always", name
            assert container["securityContext"]["seLinuxOptions"] == {"type": "spc_t"}, name


@pytest.mark.parametrize("context, want", [
    ({"privileged": True}, None), ({"capabilities": {"add": ["CAP_SYS_ADMIN"]}}, None),
    ({"capabilities": {"add": ["CHOWN", "SYS_ADMIN"]}}, None),
    ({"privileged": True, "allowPrivilegeEscalation": True}, True),
    ({"privileged": False, "capabilities": {"add": ["CHOWN"]}}, False),
    ({"capabilities": None}, False), ({"capabilities": {"add": None}}, False),
])
def test_no_container_has_rights_that_the_api_server_refuses_together(helm, context, want):
    objects = render(helm, {
        "securityContext": context, "spegel": {"configurationInitContainer": True},
        "bootstrap": {"initContainer": {"enabled": True, "image": TOOLS}}})
    found = {c["name"]: c["securityContext"] for _, spec in objects.pod_specs()
             for c in containers(spec)}
    assert found.keys() == {"bootstrap", "configuration", "registry", "cleanup", "cleanup-wait"}
    for name, rights in found.items():
        assert rights.get("allowPrivilegeEscalation") is want, name
        assert rights["readOnlyRootFilesystem"] is True and rights["runAsUser"] == 0, name


def test_affinity_and_service_account_are_the_daemons_alone(helm):
    """The hooks' pods run where an instance once was, and after the account is gone."""
    affinity = {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {
        "nodeSelectorTerms": [{"matchFields": [
            {"key": "metadata.name", "operator": "In", "values": ["one"]}]}]}}}
    objects = render(helm, {"affinity": affinity, "serviceAccount": {"name": "mirror"}})
    assert objects.pod["affinity"] == affinity
    assert objects.pod["serviceAccountName"] == "mirror"
    assert ("ServiceAccount", "mirror") in objects and ("ServiceAccount", "spegel") not in objects
    for name, spec in objects.pod_specs():
        if name != "spegel":
            assert not {"affinity", "serviceAccountName"} & set(spec), name


def test_the_clusters_domain_is_in_every_name(helm):
    objects = render(helm, {"clusterDomain": "k8s.example."})
    assert "--dns-bootstrap-domain=spegel-bootstrap.spegel.svc.k8s.example." in \
        objects.registry["args"]
    [wait] = objects[("Pod", "spegel-cleanup-wait")]["spec"]["containers"]
    assert "--probe-endpoint=spegel-cleanup.spegel.svc.k8s.example.:8080" in wait["args"]
    assert "cluster.local" not in json.dumps(objects.all)


def test_ports_are_the_same_wherever_they_stand(helm):
    objects = render(helm, {"networkPolicy": {"enabled": True}, "service": {
        "registry": {"port": 5500}, "router": {"port": 5501}, "metrics": {"port": 5502},
        "cleanup": {"port": 5503}}})
    registry = objects.registry
    assert {"--registry-addr=:5500", "--router-addr=:5501", "--metrics-addr=:5502"} <= \
        set(registry["args"])
    assert {p["name"]: (p["containerPort"], p["protocol"]) for p in registry["ports"]} == {
        "registry": (5500, "TCP"), "router-tcp": (5501, "TCP"), "router-quic": (5501, "UDP"),
        "metrics": (5502, "TCP")}
    assert [[(p["port"], p["protocol"]) for p in rule["ports"]]
            for rule in objects[("NetworkPolicy", "spegel")]["spec"]["ingress"]] == [
        [(5501, "UDP"), (5501, "TCP")], [(5500, "TCP")], [(5502, "TCP")]]
    for name, port in [("spegel", 5502), ("spegel-registry", 5500), ("spegel-cleanup", 5503)]:
        assert [p["port"] for p in objects[("Service", name)]["spec"]["ports"]] == [port], name
    [cleanup] = objects[("DaemonSet", "spegel-cleanup")]["spec"]["template"]["spec"]["containers"]
    assert "--addr=:5503" in cleanup["args"]
    assert cleanup["ports"][0]["containerPort"] == 5503
    [wait] = objects[("Pod", "spegel-cleanup-wait")]["spec"]["containers"]
    assert any(a.endswith(":5503") for a in wait["args"])
    text = json.dumps(objects.all)
    assert not [port for port in (5000, 5001, 9090, 8080) if f": {port}" in text]


def test_the_daemons_own_flags(helm):
    objects = render(helm, {"spegel": {"containerdNamespace": "moby",
                                       "mirrorResolveTimeout": "1s", "mirrorResolveRetries": 5,
                                       "debugWebEnabled": False, "zone": "z"}})
    assert set(objects.registry["args"]) >= {
        "--containerd-namespace=moby", "--mirror-resolve-timeout=1s", "--mirror-resolve-retries=5",
        "--debug-web-enabled=false"}
    assert environment(objects.registry)["ZONE"]["value"] == "z"
