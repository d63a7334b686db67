"""`helm upgrade` from the Go implementation's chart v0.7.4, in place."""

import json
import re
import shutil

import pytest
import yaml
from render import (CHART, EVERYTHING, IMAGE, TOP, RenderError, environment, flag_values, mounts,
                    render, run)

HERE = TOP / "tests/chart"
IMMUTABLE = json.loads((HERE / "immutable.json").read_text())
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
    with pytest.raises(RenderError, match="the image of the Go implementation"):
        render(helm, {"image": {"repository": "harbor.example/ghcr/spegel-org/spegel"}})


def test_an_old_users_file_keeps_its_meaning(helm):
    objects = render(helm, yaml.safe_load("""
      priorityClassName: high
      updateStrategy: {type: RollingUpdate, rollingUpdate: {maxSurge: 0, maxUnavailable: 1}}
      resources: {requests: {memory: 64Mi, cpu: 10m}, limits: {memory: 256Mi}}
      basicAuthSecretName: users
      serviceMonitor: {enabled: true, interval: 30s, labels: {release: prometheus}}
      grafanaDashboard: {enabled: true, sidecarLabel: grafana_dashboard, sidecarLabelValue: "1"}
      service: {registry: {hostPort: 29999, nodePort: 30091}}
      spegel:
        logLevel: ERROR
        registries: [https://docker.io, https://quay.io]
        containerdSock: /run/k3s/containerd/containerd.sock
        containerdContentPath: /var/lib/rancher/k3s/agent/containerd/io.containerd.content.v1.content
        containerdRegistryConfigPath: /var/lib/rancher/k3s/agent/etc/containerd/certs.d
        registryFilters: [":latest$"]
        resolveLatestTag: false
    """))
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
