"""`helm upgrade` from the Go implementation's chart v0.7.4, in place."""

import json
import re
import shutil

import pytest
import yaml
from render import (CHART, EVERYTHING, IMAGE, OLD_USER, TOP, RenderError, environment, flag_values,
                    mounts, render, run)

HERE = TOP / "tests/chart"
IMMUTABLE = json.loads((HERE / "immutable.json").read_text())
# What else Kubernetes lets nobody change once it is there, by kind. The Go chart sets none of these, and
# what the cluster chose for them stays: clusterIP is recorded, being "None" for some.
FIXED = {
    "Service": ["spec.clusterIPs", "spec.ipFamilies", "spec.loadBalancerClass",
                "spec.healthCheckNodePort"],
    "ConfigMap": ["immutable"],
}
COMPUTED = yaml.safe_load((HERE / "values-go-v0.7.4.yaml").read_text())


def at(document, path):
    for name in path.split("."):
        document = document.get(name) if isinstance(document, dict) else None
    return document


@pytest.fixture
def reused(tmp_path):
    """The chart as --reuse-values renders it: the values are those that the Go chart computed, and
    no default of ours is there."""
    chart = tmp_path / "spegel"
    shutil.copytree(CHART, chart)
    (chart / "values.yaml").write_text(yaml.safe_dump(COMPUTED))
    return chart


@pytest.mark.parametrize("name", IMMUTABLE)
@pytest.mark.parametrize("release", ["spegel", "mirror"])
def test_nothing_changes_that_kubernetes_cannot_change_in_place(helm, release, name):
    kind, name_of_spegel = name.split()
    full = name_of_spegel.replace("spegel", {"spegel": "spegel", "mirror": "mirror-spegel"}[release],
                                  1)
    document = render(helm, release=release)[(kind, full)]
    for path, want in IMMUTABLE[name].items():
        want = json.loads(json.dumps(want).replace("RELEASE", release))
        assert at(document, path) == want, path


@pytest.mark.parametrize("values", [{}, EVERYTHING, {
    "service": {"ipFamilyPolicy": "RequireDualStack"}, "bootstrap": {"service": {"enabled": True}}}],
    ids=["defaults", "everything", "dual-stack"])
def test_nothing_else_is_set_that_could_not_be_changed_later(helm, values):
    for document in render(helm, values).all:
        for path in FIXED.get(document["kind"], []):
            assert at(document, path) is None, (document["metadata"]["name"], path)
        if document["kind"] == "Service":
            assert at(document, "spec.clusterIP") in (None, "None")
            assert at(document, "spec.type") in (None, "NodePort"), "no ExternalName"


def selects(selector, labels):
    """As Kubernetes does, for `key=value` and `!key`."""
    return all(term[1:] not in labels if term[0] == "!" else
               labels.get(term.split("=")[0]) == term.split("=")[1] for term in selector.split(","))


@pytest.mark.parametrize("values", [{}, EVERYTHING, {
    "commonLabels": {"app.kubernetes.io/component": None}, "podLabels": {"more": "1"}}],
    ids=["defaults", "everything", "labels"])
def test_what_deletes_the_orphans_of_old_releases_takes_none_of_our_pods(helm, values):
    page = (TOP / "docs/kubernetes.md").read_text()
    [selector] = re.findall(r"delete pod (?:.*\\\n)*.*--selector '(.*)'", page)
    # What releases before v0.4.0 gave their pods.
    orphan = {"app.kubernetes.io/name": "spegel", "app.kubernetes.io/instance": "spegel",
              "controller-revision-hash": "6d4b8f7c9", "pod-template-generation": "1"}
    assert selects(selector, orphan)
    ours = [d["spec"]["template"] if d["kind"] == "DaemonSet" else d
            for d in render(helm, values).all if d["kind"] in ("DaemonSet", "Pod")]
    assert len(ours) == 3
    for pod in ours:
        labels = pod["metadata"]["labels"]
        assert labels["app.kubernetes.io/name"] == "spegel" and not selects(selector, labels)


def test_every_value_of_the_go_chart_is_here_with_its_default():
    ours = yaml.safe_load((CHART / "values.yaml").read_text())

    def compare(theirs, here, prefix):
        for name, value in theirs.items():
            path = f"{prefix}{name}"
            assert name in here, path
            if isinstance(value, dict) and value and path != "securityContext":
                compare(value, here[name], path + ".")
            elif path not in ("securityContext", "image.repository"):
                assert here[name] == value, path

    compare(COMPUTED, ours, "")
    assert COMPUTED["securityContext"].items() <= ours["securityContext"].items()


def test_reused_values_render_what_fresh_ones_do(helm, reused):
    fresh = render(helm)
    again = render(helm, chart=reused)
    assert again.by_key == fresh.by_key


def test_reused_values_that_pin_the_go_image_stop_with_one_message(helm, reused):
    with pytest.raises(RenderError, match="the image of the Go implementation"):
        run(helm, "template", "spegel", str(reused))
    with pytest.raises(RenderError, match="--reset-then-reuse-values"):
        render(helm, {"image": {**IMAGE["image"], "digest": "sha256:" + "1" * 64}}, chart=reused)


@pytest.mark.parametrize("repository, theirs", [
    ("ghcr.io/spegel-org/spegel", True), ("harbor.example/ghcr/spegel-org/spegel", True),
    ("ghcr.io/xenitab/spegel", True), ("xenitab/spegel", True), ("spegel-org/spegel", True),
    ("harbor.example/not-spegel-org/spegel", False), ("ghcr.io/xenitab/spegel-c", False),
    ("ghcr.io/someone/spegel", False)])
def test_the_go_image_is_known_by_its_repositories_wherever_it_is_copied_to(helm, repository, theirs):
    values = {"image": {"repository": repository, "digest": "sha256:" + "1" * 64}}
    if not theirs:
        assert render(helm, values).registry["image"].startswith(repository + "@")
        return
    with pytest.raises(RenderError, match="the image of the Go implementation"):
        render(helm, values)


def test_an_old_users_file_keeps_its_meaning(helm):
    objects = render(helm, OLD_USER)
    args = objects.registry["args"]
    assert objects.pod["priorityClassName"] == "high"
    assert flag_values(args, "--mirror-targets") == ["http://$(NODE_IP):29999",
                                                     "http://$(NODE_IP):30091"]
    assert flag_values(args, "--mirrored-registries") == ["https://docker.io", "https://quay.io"]
    assert flag_values(args, "--registry-filters") == [":latest$"]
    assert mounts(objects.registry)["containerd-content"]["mountPath"].startswith("/var/lib/rancher")
    assert environment(objects.registry)["NODE_IP"]
    monitor = objects[("ServiceMonitor", "spegel")]
    assert monitor["spec"]["endpoints"][0]["interval"] == "30s"
    assert objects[("ConfigMap", "spegel-dashboard")]["metadata"]["labels"]["grafana_dashboard"] == "1"
