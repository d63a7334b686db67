"""Which values are taken, in which spellings, and what is said about those that are not."""

import re
import shutil
import subprocess
import sys
import textwrap

import generate
import pytest
import yaml
from render import CHART, TOP, RenderError, environment, flag_values, mounts, render, run

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
    ({"service": {"registry": {"port": "http"}}}, "port"),
    ({"service": {"registry": {"port": 70000}}}, "port"),
    ({"spegel": {"resolveTags": "yes"}}, "resolveTags"),
    ({"spegel": {"logLevel": "LOUD"}}, "logLevel"),
    ({"spegel": {"mirroredRegistries": "https://docker.io"}}, "mirroredRegistries"),
    ({"tolerations": {}}, "tolerations"),
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
    objects = render(helm, {"grafanaDashboard": {
        "enabled": True, "sidecarLabel": "dash", "sidecarLabelValue": "2"}})
    assert objects[("ConfigMap", "spegel-dashboard")]["metadata"]["labels"]["dash"] == "2"


@pytest.fixture
def notes(helm, tmp_path):
    """Renders NOTES.txt, which helm shows only where there is a cluster: as a ConfigMap's text."""
    chart = tmp_path / "spegel"
    shutil.copytree(CHART, chart)
    (chart / "templates/NOTES.txt").rename(chart / "notes.txt")
    (chart / "templates/notes.yaml").write_text(
        "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: notes}\n"
        'data: {text: {{ tpl (.Files.Get "notes.txt") . | toJson }} }\n')
    return lambda values: render(helm, values, chart=chart)[("ConfigMap", "notes")]["data"]["text"]


def test_the_notes_say_what_is_needed_and_name_retired_keys(notes):
    text = notes({})
    assert "pod-security.kubernetes.io/enforce=privileged" in text and "config_path" in text
    assert "can read every image" in text and "DEPRECATED" not in text
    text = notes({"basicAuthSecretName": "users", "spegel": {
        "registries": [], "appendMirrors": False, "blobSpeed": "", "containerdMirrorRemove": False,
        "imageFilter": "x", "resolveLatestTag": True, "kubeconfigPath": "", "mirrorRegistries": []}})
    assert "can read every image" not in text
    assert text.count("DEPRECATED") == 8
    assert "spegel.registries is taken as spegel.mirroredRegistries" in text
    assert "spegel.imageFilter has no effect: registryFilters excludes" in text


# --- files that are shipped with the chart, and examples in the pages ---


@pytest.mark.parametrize("path", sorted((CHART / "platforms").glob("*.yaml")), ids=lambda p: p.stem)
def test_a_platforms_file_reaches_every_container(helm, path):
    wanted = yaml.safe_load(path.read_text())["spegel"]
    objects = render(helm, {"spegel": wanted})
    args = objects.registry["args"]
    where = {m["mountPath"] for m in objects.registry["volumeMounts"]}
    if "containerdSock" in wanted:
        assert "--containerd-sock=" + wanted["containerdSock"] in args
        assert wanted["containerdSock"].rsplit("/", 1)[0] in where
    if "containerdContentPath" in wanted:
        assert wanted["containerdContentPath"] in where
    if wanted.get("containerdMirrorAdd", True):
        assert wanted["containerdRegistryConfigPath"] in where
    else:
        assert "containerd-config" not in mounts(objects.registry)
    assert path.name in (TOP / "docs/platforms.md").read_text()


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
