"""`helm upgrade` from the Go implementation's chart v0.7.4, in place."""

import json
import shutil

import pytest
import yaml
from render import CHART, IMAGE, TOP, RenderError, environment, flag_values, mounts, render, run

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
