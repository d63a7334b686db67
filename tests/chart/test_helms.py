"""Helm 3 and Helm 4. Every other test here renders with each that is found; these are about the two."""

import pytest
from render import EVERYTHING, find_helm, find_helm4, render, run

# What server-side apply, which Helm 4 does, takes for the key of a list's items: of two items with one
# key it refuses the object. From the list-map-keys of Kubernetes' types.
KEYS = {
    "containers": ("name",), "initContainers": ("name",), "env": ("name",), "volumes": ("name",),
    "volumeMounts": ("mountPath",), "imagePullSecrets": ("name",),
}
PORT_KEYS = {"DaemonSet": ("containerPort", "protocol"), "Pod": ("containerPort", "protocol"),
             "Service": ("port", "protocol")}


def test_there_is_a_helm_4_to_render_with():
    if not find_helm4():
        pytest.skip("no Helm 4, nothing here was rendered with it: `./dev chart --helm4` builds it"
                    " where Go is, in about 7 min")
    assert run(find_helm4(), "version", "--short").startswith("v4.")


@pytest.mark.parametrize("values", [{}, EVERYTHING], ids=["defaults", "everything"])
def test_both_render_the_same_objects(values):
    if not find_helm() or not find_helm4():
        pytest.skip("not both are here")
    old, new = render(find_helm(), values), render(find_helm4(), values)
    assert old.all == new.all


def duplicates(kind, node, where=""):
    """The places below a node where two items of a list have one key."""
    if isinstance(node, dict):
        for name, value in node.items():
            fields = PORT_KEYS.get(kind) if name == "ports" else KEYS.get(name)
            if fields and isinstance(value, list):
                keys = [tuple(item.get(f) for f in fields) for item in value]
                if len(set(keys)) != len(keys):
                    yield f"{where}.{name}"
            yield from duplicates(kind, value, f"{where}.{name}")
    elif isinstance(node, list):
        for i, value in enumerate(node):
            yield from duplicates(kind, value, f"{where}[{i}]")


def test_no_list_that_server_side_apply_merges_has_two_items_of_one_key(everything):
    assert [d for o in everything.all for d in duplicates(o["kind"], o, o["kind"])] == []


def test_extra_environment_replaces_what_the_chart_sets_itself(helm):
    own = {"name": "NODE_IP", "value": "192.0.2.7"}
    more = {"name": "MORE", "value": "$(POD_IP)"}
    objects = render(helm, {"extraEnv": [own, more]})
    env = objects.registry["env"]
    assert [e["name"] for e in env] == ["NODE_NAME", "POD_IP", "POD_IPS", "ZONE", "NODE_IP",
                                        "MORE"]
    assert env[4:] == [own, more]
    assert not list(duplicates("DaemonSet", objects.daemonset))
