"""Which values are taken, in which spellings, and what is said about those that are not."""

import re
import shutil
import subprocess
import sys
import textwrap

import generate
import pytest
import yaml
from render import CHART, PLATFORMS, TOP, RenderError, environment, flag_values, mounts, render, run

VALUES = yaml.safe_load((CHART / "values.yaml").read_text())


def leaves(values, prefix=()):
    for name, value in values.items():
        if isinstance(value, dict) and value and name not in ("resources", "nodeSelector"):
            yield from leaves(value, (*prefix, name))
        else:
            yield (*prefix, name)


def nested(path, value):
    for name in reversed(path):
        value = {name: value}
    return value


def test_schema_and_table_of_keys_agree_with_values_yaml():
    done = subprocess.run([sys.executable, TOP / "tests/chart/generate.py"], capture_output=True,
                          text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("path", [p for p in leaves(VALUES) if p != ("image", "repository")],
                         ids=".".join)
def test_null_is_as_good_as_saying_nothing(helm, path):
    objects = render(helm, nested(path, None))
    assert objects.registry["args"][0] == "registry"
    assert "<nil>" not in str(objects.all) and "%!" not in str(objects.all)
    for port in objects.registry["ports"]:
        assert port["containerPort"] > 0


@pytest.mark.parametrize("section", [k for k, v in VALUES.items() if isinstance(v, dict) and v])
def test_a_whole_section_may_be_null(helm, section):
    if section != "image":
        assert render(helm, {section: None}).registry["args"][0] == "registry"


def test_null_removes_what_is_optional(helm):
    objects = render(helm, {"resources": None, "tolerations": None, "priorityClassName": None,
                            "nodeSelector": None})
    assert "resources" not in objects.registry
    assert not {"tolerations", "priorityClassName", "nodeSelector"} & set(objects.pod)


def test_numbers_and_booleans_may_be_strings(helm):
    objects = render(helm, sets=[
        "service.registry.port=5500", "service.registry.hostPort=30120", "revisionHistoryLimit=3",
        "spegel.resolveTags=false", "spegel.persistence.enabled=false", "livenessProbe.enabled=true",
        "serviceMonitor.enabled=false", "minReadySeconds=7", "maxUnavailable=3",
        "spegel.mirrorResolveRetries=5",
    ])
    assert objects.registry["ports"][0]["containerPort"] == 5500
    assert objects.registry["ports"][0]["hostPort"] == 30120
    assert set(objects.registry["args"]) >= {"--registry-addr=:5500", "--resolve-tags=false",
                                             "--mirror-resolve-retries=5"}
    assert "data" not in mounts(objects.registry)
    assert "livenessProbe" in objects.registry
    assert ("ServiceMonitor", "spegel") not in objects
    spec = objects.daemonset["spec"]
    assert (spec["revisionHistoryLimit"], spec["minReadySeconds"]) == (3, 7)
    assert spec["updateStrategy"] == {"rollingUpdate": {"maxUnavailable": 3}}


def test_texts_may_be_numbers(helm):
    objects = render(helm, {"image": {"repository": "r/s", "tag": 12}, "spegel": {"zone": 3}})
    assert objects.registry["image"] == "r/s:12"
    assert environment(objects.registry)["ZONE"]["value"] == "3"


def test_what_a_parent_chart_hands_down_is_taken(helm):
    render(helm, {"global": {"imageRegistry": "r.example", "anything": [1]}, "enabled": True})
    render(helm, {"global": None, "enabled": "true"})


@pytest.mark.parametrize("values, nearest", [
    ({"spegel": {"mirroredRegistrys": []}}, "spegel.mirroredRegistries"),
    ({"spegel": {"logLevl": "INFO"}}, "spegel.logLevel"),
    ({"spegel": {"persistance": {"enabled": False}}}, "spegel.persistence"),
    ({"hostPort": 1}, "service.registry.hostPort"),
    ({"service": {"registry": {"nodeport": 1}}}, "service.registry.nodePort"),
    ({"toleration": []}, "tolerations"),
    ({"Resources": {}}, "resources"),
    ({"serviceMonitor": {"enable": True}}, "serviceMonitor.enabled"),
])
def test_an_unknown_key_is_refused_with_the_nearest_known_one(helm, values, nearest):
    with pytest.raises(RenderError, match="There is no value .* Did you mean " + nearest):
        render(helm, values)
    render(helm, {**values, "allowUnknownValues": True})


def test_keys_inside_free_maps_are_nobodys_business(helm):
    render(helm, {"podAnnotations": {"anything": "x"}, "resources": {"claims": []},
                  "securityContext": {"procMount": "Default"}, "nodeSelector": {"x": "y"}})


@pytest.mark.parametrize("values, said", [
    ({"service": {"registry": {"hostPort": 30021}}}, "hostPort and nodePort are both 30021"),
    ({"service": {"registry": {"hostPort": 0}}}, "hostPort is 0"),
    ({"updateStrategy": {"rollingUpdate": {"maxSurge": 1}}}, "maxSurge is 1"),
    ({"updateStrategy": {"rollingUpdate": {"maxSurge": "25%"}}}, "maxSurge is 25%"),
    ({"terminationGracePeriodSeconds": 20}, "terminationGracePeriodSeconds must be more than 20"),
    ({"service": {"registry": {"port": "http"}}},
     "/service/registry/port': 'http' does not match pattern"),
    ({"service": {"registry": {"port": 70000}}}, "/service/registry/port': maximum: got 70,000"),
    ({"spegel": {"resolveTags": "yes"}}, "/spegel/resolveTags': value must be one of true, false"),
    ({"spegel": {"logLevel": "LOUD"}}, "/spegel/logLevel': value must be one of 'DEBUG'"),
    ({"spegel": {"mirroredRegistries": "https://docker.io"}},
     "/spegel/mirroredRegistries': got string, want null or array"),
    ({"tolerations": {}}, "/tolerations': got object, want null or array"),
])
def test_what_cannot_work_is_refused(helm, values, said):
    with pytest.raises(RenderError, match=said):
        render(helm, values)


def test_a_missing_image_is_asked_for(helm):
    with pytest.raises(RenderError, match="Set image.repository"):
        run(helm, "template", "spegel", str(CHART))


# --- keys of earlier releases ---


@pytest.mark.parametrize("old", ["mirrorRegistries", "extraMirrorRegistries",
                                 "additionalMirrorRegistries"])
def test_retired_targets_are_taken_unless_the_new_key_speaks(helm, old):
    values = {"spegel": {old: ["http://192.0.2.8:5000"]}}
    args = render(helm, values).registry["args"]
    assert flag_values(args, "--mirror-targets")[2:] == ["http://192.0.2.8:5000"]
    values["spegel"]["additionalMirrorTargets"] = ["http://192.0.2.9:5000"]
    args = render(helm, values).registry["args"]
    assert flag_values(args, "--mirror-targets")[2:] == ["http://192.0.2.9:5000"]


def test_other_retired_keys(helm):
    args = render(helm, {"spegel": {"registries": ["https://ghcr.io"], "appendMirrors": True,
                                    "resolveLatestTag": False, "blobSpeed": "", "imageFilter": "x",
                                    "kubeconfigPath": "", "containerdMirrorRemove": True,
                                    }}).registry["args"]
    assert flag_values(args, "--mirrored-registries") == ["https://ghcr.io"]
    assert "--prepend-existing=true" in args


@pytest.mark.parametrize("old, labels", [
    ({"sidecarLabel": "dash", "sidecarLabelValue": "2"}, {"dash": "2"}),
    ({"sidecarLabel": "dash"}, {"dash": "1"}),
    ({"sidecarLabelValue": "2"}, {"grafana_dashboard": "2"}),
    ({"sidecarLabel": "dash", "labels": {"mine": "3"}}, {"mine": "3"}),
])
def test_the_dashboards_retired_label_is_taken_unless_the_new_key_speaks(helm, old, labels):
    def rendered(values):
        objects = render(helm, {"grafanaDashboard": {"enabled": True, **values}})
        return objects[("ConfigMap", "spegel-dashboard")]["metadata"]["labels"]

    assert rendered(old) == {**rendered({}), **labels}


@pytest.fixture
def notes(helm, tmp_path):
    """Renders NOTES.txt, which helm shows only where there is a cluster: as a ConfigMap's text."""
    chart = tmp_path / "spegel"
    shutil.copytree(CHART, chart)
    (chart / "templates/NOTES.txt").rename(chart / "notes.txt")
    (chart / "templates/notes.yaml").write_text(
        "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: notes}\n"
        'data: {text: {{ tpl (.Files.Get "notes.txt") . | toJson }} }\n')
    return lambda values, **more: render(
        helm, values, chart=chart, **more)[("ConfigMap", "notes")]["data"]["text"]


def paragraphs(text):
    """The notes' paragraphs, each on one line."""
    return [" ".join(p.split()) for p in text.strip().split("\n\n")]


def deprecated(text):
    """{retired key: what is said of it} of the notes."""
    found = [re.fullmatch(r"DEPRECATED: (\S+) (.*)\.", p) for p in paragraphs(text)]
    return {m.group(1): m.group(2) for m in found if m}


def test_the_notes_say_what_is_needed(notes):
    text = notes({})
    assert "pod-security.kubernetes.io/enforce=privileged" in text and "config_path" in text
    assert "can read every image" in text and "DEPRECATED" not in text
    assert "can read every image" not in notes({"basicAuthSecretName": "users"})


@pytest.mark.parametrize("same_node, bootstrap, ports", [
    (False, False, "30020 or 30021"), (True, False, "30021"), (True, True, "30021 or 30123"),
    (False, True, "30020, 30021 or 30123")])
def test_the_notes_name_every_port_of_a_node_that_leads_to_the_registry(
        notes, same_node, bootstrap, ports):
    text = notes({"service": {"registry": {"usePreferSameNodeTrafficDistribution": same_node}},
                  "bootstrap": {"service": {"enabled": bootstrap, "nodePort": 30123}}})
    assert [p for p in paragraphs(text) if p.startswith(
        f"Whoever reaches a node's port {ports} can read every image")]


def test_the_notes_say_where_this_differs_from_the_go_implementation(notes):
    said = ("Other than the Go implementation, this one leaves directories of /etc/here in force that"
            " it does not write itself, and names them in its log as not mirrored.")
    spegel = {"containerdRegistryConfigPath": "/etc/here"}
    assert said in paragraphs(notes({"spegel": spegel}))
    assert "Other than" not in notes({"spegel": {**spegel, "containerdMirrorAdd": False}})


def test_the_notes_say_what_may_keep_the_priority_class_from_being_allowed(notes):
    said = ("Some clusters allow the priority class system-node-critical only in kube-system, or where"
            " a ResourceQuota in spegel names it. If no pods appear, that may be why.")
    assert said in paragraphs(notes({}))
    assert "priority class" not in notes({"priorityClassName": "mine"})
    assert "priority class" not in notes({"priorityClassName": ""})
    assert "priority class" not in notes({}, namespace="kube-system")


# Each retired key with the one that took its place, and what either may say.
MOVED = [
    ("spegel.registries", "spegel.mirroredRegistries", ["https://ghcr.io"], ["https://quay.io"]),
    *[(f"spegel.{old}", "spegel.additionalMirrorTargets", ["http://192.0.2.8"], ["http://192.0.2.9"])
      for old in ("mirrorRegistries", "extraMirrorRegistries", "additionalMirrorRegistries")],
    ("spegel.appendMirrors", "spegel.prependExisting", True, True),
    ("grafanaDashboard.sidecarLabel", "grafanaDashboard.labels", "dash", {"mine": "3"}),
    ("grafanaDashboard.sidecarLabelValue", "grafanaDashboard.labels", "2", {"mine": "3"}),
]
GONE = {"blobSpeed": "", "containerdMirrorRemove": False, "imageFilter": "x", "kubeconfigPath": "",
        "resolveLatestTag": True}


def test_the_notes_are_tested_for_every_retired_key():
    assert sorted(generate.RETIRED) == sorted([m[0] for m in MOVED] + [f"spegel.{n}" for n in GONE])


@pytest.mark.parametrize("old, new, value, newer", MOVED, ids=[m[0] for m in MOVED])
def test_the_notes_say_whether_a_retired_key_counts(notes, old, new, value, newer):
    section, name = old.split(".")
    alone, beside = (deprecated(notes({section: values})) for values in (
        {name: value}, {name: value, new.split(".")[1]: newer}))
    assert alone.keys() == beside.keys() == {old}
    assert alone[old].startswith(f"is taken as {new}, ")
    assert beside[old].startswith(f"is ignored: {new}, ")


def test_of_several_names_for_one_key_the_first_counts_and_the_others_are_said_to_be_ignored(
        helm, notes):
    values = {"spegel": {"mirrorRegistries": ["http://192.0.2.1"],
                         "extraMirrorRegistries": ["http://192.0.2.2"],
                         "additionalMirrorRegistries": ["http://192.0.2.3"]}}
    said = deprecated(notes(values))
    assert {k: v.split(":")[0] for k, v in said.items()} == {
        "spegel.additionalMirrorRegistries":
            "is taken as spegel.additionalMirrorTargets, its new name",
        "spegel.extraMirrorRegistries": "is ignored", "spegel.mirrorRegistries": "is ignored"}
    assert flag_values(render(helm, values).registry["args"], "--mirror-targets")[2:] == [
        "http://192.0.2.3"]


def test_the_notes_name_keys_without_effect_and_both_halves_of_the_label(notes):
    said = deprecated(notes({"spegel": GONE, "grafanaDashboard": {
        "sidecarLabel": "dash", "sidecarLabelValue": "2"}}))
    assert said.keys() == {f"spegel.{n}" for n in GONE} | {
        "grafanaDashboard.sidecarLabel", "grafanaDashboard.sidecarLabelValue"}
    assert said["spegel.imageFilter"] == "has no effect: registryFilters excludes what matches"
    assert all(v.startswith("has no effect: ") for k, v in said.items() if k.startswith("spegel."))


# --- files that are shipped with the chart, and examples in the pages ---


@pytest.mark.parametrize("name", PLATFORMS)
def test_a_platforms_file_reaches_every_container(helm, name):
    values = PLATFORMS[name]
    wanted = values["spegel"]
    assert values.keys() == {"spegel"}, "what else it says is not looked at below"
    for more in ({}, {"configurationInitContainer": True}):
        objects = render(helm, {**values, "spegel": {**wanted, **more}})
        where = {m["name"]: m["mountPath"] for m in objects.registry["volumeMounts"]}
        paths = {v["name"]: v["hostPath"]["path"] for v in objects.pod["volumes"]
                 if "hostPath" in v}
        assert where.items() <= paths.items(), "each is where it is on the node"
        if "containerdSock" in wanted:
            assert "--containerd-sock=" + wanted["containerdSock"] in objects.registry["args"]
            assert where["containerd-sock"] == wanted["containerdSock"].rsplit("/", 1)[0]
        if "containerdContentPath" in wanted:
            assert where["containerd-content"] == wanted["containerdContentPath"]
        specs = dict(objects.pod_specs())
        if not wanted.get("containerdMirrorAdd", True):
            assert "containerd-config" not in paths and specs.keys() == {"spegel"}
            continue
        path = wanted["containerdRegistryConfigPath"]
        assert paths["containerd-config"] == path
        writes = objects.pod["initContainers"][0] if more else objects.registry
        [cleanup] = specs["spegel-cleanup"]["containers"]
        for container in (writes, cleanup):
            assert mounts(container)["containerd-config"]["mountPath"] == path
            assert "--containerd-registry-config-path=" + path in container["args"]
        [volume] = specs["spegel-cleanup"]["volumes"]
        assert volume["hostPath"]["path"] == path
    assert name + ".yaml" in (TOP / "docs/platforms.md").read_text()


PAGES = [TOP / "README.md", *sorted((TOP / "docs").glob("*.md"))]
# Examples of what platforms read: a machine's configuration of Talos, EKS's NodeConfig, GKE's.
OTHERS = {"machine", "apiVersion", "registryHosts"}


def is_known(name):
    known = {".".join(p) for p in leaves(VALUES)} | set(generate.RETIRED)
    return name in known or any(k.startswith(name + ".") for k in known)


def examples(text):
    """The values files shown in a page."""
    for fenced in re.findall(r"^ *```ya?ml\n.*?^ *```", text, re.DOTALL | re.MULTILINE):
        values = yaml.safe_load(textwrap.dedent(fenced).split("\n", 1)[1].removesuffix("```"))
        if not OTHERS & set(values):
            yield values


def named_values(text):
    """`spegel.zone` and --set spegel.zone=, wherever a page says so."""
    named = re.findall(r"`([a-z]\w*(?:\.\w+)+)`", text)
    return ({n for n in named if n.split(".")[0] in VALUES} |
            set(re.findall(r"--set(?:-string)? ([\w.]+)=", text)))


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.stem)
def test_the_pages_examples_render(helm, page):
    for values in examples(page.read_text()):
        assert render(helm, values).all != render(helm).all, f"without effect: {values}"
    for name in named_values(page.read_text()):
        assert is_known(name), name


def test_the_pages_have_examples():
    texts = {p.stem: p.read_text() for p in PAGES}
    assert {n for n, t in texts.items() if list(examples(t))} >= {"bootstrap", "kubernetes"}
    assert {n for n, t in texts.items() if named_values(t)} >= {
        "bootstrap", "kubernetes", "platforms", "troubleshooting", "air-gapped", "gossip"}
