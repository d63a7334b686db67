"""What the chart renders: the defaults, everything at once, and each toggle."""

import json
import re

import pytest
from render import (CHART, EVERYTHING, OLD_USER, PLATFORMS, TOP, RenderError, environment, flag_values,
                    mounts, render, run, with_image)

PLAIN = {
    ("ServiceAccount", "spegel"),
    ("Service", "spegel"),
    ("Service", "spegel-registry"),
    ("Service", "spegel-bootstrap"),
    ("DaemonSet", "spegel"),
}
HOOKS = {
    ("DaemonSet", "spegel-cleanup"),
    ("Service", "spegel-cleanup"),
    ("Pod", "spegel-cleanup-wait"),
}
TARGETS = ["http://$(NODE_IP):30020", "http://$(NODE_IP):30021"]


def known_flags():
    """The flags of each command, from its --help in docs/cli.md, which lint holds to the program."""
    found = {}
    for part in (TOP / "docs/cli.md").read_text().split("\n## spegel ")[1:]:
        command, text = part.split("\n", 1)
        found[command.strip()] = set(re.findall(r"^ +(--[a-z-]+)", text, re.MULTILINE))
    return found


# --- what a plain install is ---


@pytest.mark.parametrize("values", [{}, EVERYTHING, OLD_USER, *PLATFORMS.values()],
                         ids=["defaults", "everything", "old-user", *PLATFORMS])
def test_lint_passes(helm, values):
    run(helm, "lint", str(CHART), "--strict", values=with_image(values))


def test_the_defaults_are_these_objects_and_no_rbac(defaults):
    assert defaults.keys() == PLAIN | HOOKS


def test_the_registry_container_has_the_go_charts_names_and_ports(defaults):
    registry = defaults.registry
    assert registry["name"] == "registry"
    assert registry["ports"] == [
        {"name": "registry", "containerPort": 5000, "hostPort": 30020, "protocol": "TCP"},
        {"name": "router-tcp", "containerPort": 5001, "protocol": "TCP"},
        {"name": "router-quic", "containerPort": 5001, "protocol": "UDP"},
        {"name": "metrics", "containerPort": 9090, "protocol": "TCP"},
    ]
    assert registry["startupProbe"] == {
        "periodSeconds": 3, "failureThreshold": 60,
        "httpGet": {"path": "/readyz", "port": "registry"},
    }
    assert registry["readinessProbe"] == {"httpGet": {"path": "/readyz", "port": "registry"}}
    assert "livenessProbe" not in registry


def test_the_daemon_writes_the_configuration_with_the_targets_in_order(defaults):
    args = defaults.registry["args"]
    assert args[0] == "registry"
    assert "--write-configuration=true" in args
    assert flag_values(args, "--mirror-targets") == TARGETS
    assert "initContainers" not in defaults.pod
    mount = mounts(defaults.registry)["containerd-config"]
    assert mount == {"name": "containerd-config", "mountPath": "/etc/containerd/certs.d"}


def test_the_default_arguments(defaults):
    assert set(defaults.registry["args"]) >= {
        "--log-level=INFO", "--mirror-resolve-retries=3", "--mirror-resolve-timeout=20ms",
        "--registry-addr=:5000", "--router-addr=:5001", "--metrics-addr=:9090",
        "--containerd-sock=/run/containerd/containerd.sock", "--containerd-namespace=k8s.io",
        "--containerd-content-path=/var/lib/containerd/io.containerd.content.v1.content",
        "--bootstrap-kind=dns",
        "--dns-bootstrap-domain=spegel-bootstrap.spegel.svc.cluster.local.",
        "--data-dir=/var/lib/spegel", "--resolve-tags=true", "--prepend-existing=false",
        "--debug-web-enabled=true", "--cold-rollout=true",
    }


def test_addresses_and_zone_come_from_the_downward_api(defaults):
    fields = {name: entry["valueFrom"]["fieldRef"]["fieldPath"]
              for name, entry in environment(defaults.registry).items()}
    assert fields == {
        "NODE_IP": "status.hostIP", "NODE_NAME": "spec.nodeName",
        "POD_IP": "status.podIP", "POD_IPS": "status.podIPs",
        "ZONE": "metadata.labels['topology.kubernetes.io/zone']",
    }


def test_the_socket_is_mounted_by_its_directory_so_that_a_new_one_is_seen(defaults):
    volumes = {v["name"]: v for v in defaults.pod["volumes"]}
    assert volumes["containerd-sock"]["hostPath"] == {"path": "/run/containerd", "type": "Directory"}
    assert mounts(defaults.registry)["containerd-sock"] == {
        "name": "containerd-sock", "mountPath": "/run/containerd", "readOnly": True,
        "mountPropagation": "HostToContainer",
    }
    assert mounts(defaults.registry)["containerd-content"]["readOnly"] is True


@pytest.mark.parametrize("values", [{}, EVERYTHING, {"spegel": {"configurationInitContainer": True}}])
def test_every_container_has_no_more_rights_than_it_needs(helm, values):
    for name, spec in render(helm, values).pod_specs():
        assert spec["automountServiceAccountToken"] is False, name
        assert not {"hostNetwork", "hostPID", "hostIPC"} & set(spec), name
        for container in [*spec.get("initContainers", []), *spec["containers"]]:
            if container["name"] == "first":
                continue
            context = container["securityContext"]
            assert context["runAsUser"] == 0 and context["readOnlyRootFilesystem"] is True
            assert context["allowPrivilegeEscalation"] is False
            assert context["capabilities"] == {"drop": ["ALL"]}
            assert context["seccompProfile"] == {"type": "RuntimeDefault"}


@pytest.mark.parametrize("values", [{}, EVERYTHING, {"spegel": {"configurationInitContainer": True}}])
def test_every_rendered_flag_is_one_that_its_command_has(helm, values):
    flags = known_flags()
    assert "--mirror-targets" in flags["configuration"]
    for _, spec in render(helm, values).pod_specs():
        for container in [*spec.get("initContainers", []), *spec["containers"]]:
            if container["name"] == "first":
                continue
            command, *args = container["args"]
            for arg in args:
                if arg.startswith("-"):
                    assert arg.split("=")[0] in flags[command], f"{command} {arg}"


def test_every_volume_is_mounted_and_every_mount_has_a_volume(everything, defaults):
    for objects in (everything, defaults):
        for name, spec in objects.pod_specs():
            used = {m for c in [*spec.get("initContainers", []), *spec["containers"]]
                    for m in mounts(c)}
            assert used == {v["name"] for v in spec.get("volumes") or []}, name


# --- each toggle ---


def test_an_init_container_may_write_the_configuration_instead(helm):
    objects = render(helm, {"spegel": {"configurationInitContainer": True},
                            "basicAuthSecretName": "users"})
    [init] = objects.pod["initContainers"]
    assert init["name"] == "configuration" and init["args"][0] == "configuration"
    assert flag_values(init["args"], "--mirror-targets") == TARGETS
    assert set(mounts(init)) == {"containerd-config", "basic-auth"}
    assert environment(init)["NODE_IP"]
    assert "containerd-config" not in mounts(objects.registry)
    assert not [a for a in objects.registry["args"] if "write-configuration" in a]
    assert flag_values(objects.registry["args"], "--mirror-targets") is None
    assert HOOKS <= objects.keys()


def test_the_clusters_keys_are_a_directory_of_the_daemon_alone(helm):
    objects = render(helm, {"gossipKeySecret": {"name": "ours"},
                            "spegel": {"configurationInitContainer": True}})
    assert "--gossip-key-file=/etc/secrets/gossip/keys" in objects.registry["args"]
    [mount] = [m for m in objects.registry["volumeMounts"] if m["name"] == "gossip-keys"]
    assert mount == {"name": "gossip-keys", "mountPath": "/etc/secrets/gossip", "readOnly": True}
    [volume] = [v for v in objects.pod["volumes"] if v["name"] == "gossip-keys"]
    assert volume["secret"] == {"secretName": "ours", "defaultMode": 0o400,
                                "items": [{"key": "keys", "path": "keys"}]}
    assert "gossip-keys" not in mounts(objects.pod["initContainers"][0])
    assert "gossip" not in json.dumps(render(helm, {}).all)


def test_without_mirror_add_nothing_touches_containerds_configuration(helm):
    objects = render(helm, {"spegel": {"containerdMirrorAdd": False,
                                       "configurationInitContainer": True}})
    assert objects.keys() == PLAIN
    assert "certs.d" not in json.dumps(objects.all)


@pytest.mark.parametrize("add", [True, False])
@pytest.mark.parametrize("init", [True, False])
def test_extra_init_containers_come_first_in_every_combination(helm, add, init):
    objects = render(helm, {
        "extraInitContainers": [{"name": "first", "image": "registry.example/first:1"}],
        "spegel": {"containerdMirrorAdd": add, "configurationInitContainer": init},
    })
    names = [c["name"] for c in objects.pod["initContainers"]]
    assert names == (["first", "configuration"] if add and init else ["first"])


def test_prefer_same_node_does_without_the_host_port(helm):
    objects = render(helm, {"service": {"registry": {
        "usePreferSameNodeTrafficDistribution": True, "hostPort": 0}}})
    assert "hostPort" not in objects.registry["ports"][0]
    assert flag_values(objects.registry["args"], "--mirror-targets") == TARGETS[1:]
    service = objects[("Service", "spegel-registry")]["spec"]
    assert service["trafficDistribution"] == "PreferSameNode"
    assert "annotations" not in objects[("Service", "spegel-registry")]["metadata"], "ignored beside it"


def test_the_registry_services_topology(helm, defaults, everything):
    key = ("Service", "spegel-registry")
    hint = {"service.kubernetes.io/topology-mode": "auto"}
    assert defaults[key]["metadata"]["annotations"] == hint
    assert everything[key]["metadata"]["annotations"] == {**hint, "registry": "1"}
    off = render(helm, {"service": {"registry": {"topologyAwareHintsEnabled": False}}})
    assert "annotations" not in off[key]["metadata"]
    assert everything[key]["spec"]["internalTrafficPolicy"] == "Local"
    assert "internalTrafficPolicy" not in defaults[key]["spec"]


def test_the_families_of_every_service_that_instances_are_reached_through(helm, defaults):
    for objects, want in [(defaults, None), (render(helm, {
            "service": {"ipFamilyPolicy": "PreferDualStack"},
            "bootstrap": {"service": {"enabled": True}}}), "PreferDualStack")]:
        found = {d["metadata"]["name"]: d["spec"].get("ipFamilyPolicy") for d in objects.all
                 if d["kind"] == "Service" and d["metadata"]["name"] != "spegel-cleanup"}
        assert len(found) >= 3 and set(found.values()) == {want}, found


def test_without_persistence_or_content_path_neither_is_mounted(helm):
    objects = render(helm, {"spegel": {"persistence": {"enabled": False},
                                       "containerdContentPath": ""}})
    assert set(mounts(objects.registry)) == {"containerd-sock", "containerd-config"}
    assert not [a for a in objects.registry["args"] if re.match("--(data-dir|containerd-content)", a)]


def test_a_socket_elsewhere_is_mounted_there(helm):
    objects = render(helm, {"spegel": {"containerdSock": "/run/k3s/containerd/containerd.sock"}})
    assert mounts(objects.registry)["containerd-sock"]["mountPath"] == "/run/k3s/containerd"
    assert "--containerd-sock=/run/k3s/containerd/containerd.sock" in objects.registry["args"]


def test_an_image_by_digest_beats_its_tag_and_is_the_same_everywhere(helm):
    digest = "sha256:" + "0" * 64
    for image, want in [({"tag": "v9"}, ":v9"), ({"tag": "v9", "digest": digest}, "@" + digest)]:
        objects = render(helm, {"image": {"repository": "r.example/s", **image},
                                "spegel": {"configurationInitContainer": True}})
        images = {c["image"] for _, spec in objects.pod_specs()
                  for c in [*spec.get("initContainers", []), *spec["containers"]]}
        assert images == {"r.example/s" + want}


@pytest.mark.parametrize("strategy, limit, want", [
    ({}, "", {}),
    ({}, 2, {"rollingUpdate": {"maxUnavailable": 2}}),
    ({}, "10%", {"rollingUpdate": {"maxUnavailable": "10%"}}),
    ({"type": "OnDelete"}, 2, {"type": "OnDelete"}),
    ({"rollingUpdate": {"maxSurge": 0, "maxUnavailable": 1}}, 2,
     {"rollingUpdate": {"maxSurge": 0, "maxUnavailable": 1}}),
])
def test_the_update_strategy(helm, strategy, limit, want):
    objects = render(helm, {"updateStrategy": strategy, "maxUnavailable": limit})
    assert objects.daemonset["spec"]["updateStrategy"] == want


def test_a_pod_is_given_longer_to_end_than_running_transfers_are(helm):
    limits = (TOP / "lib/base/limits.h").read_text()
    [drain_ms] = re.findall(r"#define LIMIT_SHUTDOWN_DRAIN_MS (\d+)", limits)
    drain_s, rest = divmod(int(drain_ms), 1000)
    assert rest == 0
    with pytest.raises(RenderError, match=f"must be more than {drain_s}, the time"):
        render(helm, {"terminationGracePeriodSeconds": drain_s})
    assert render(helm, {"terminationGracePeriodSeconds": drain_s + 1}).pod[
        "terminationGracePeriodSeconds"] == drain_s + 1


def test_names_follow_the_release_and_its_overrides(helm):
    for release, values, name in [
        ("spegel", {}, "spegel"), ("my-spegel", {}, "my-spegel"), ("mirror", {}, "mirror-spegel"),
        ("mirror", {"nameOverride": "cache"}, "mirror-cache"),
        ("mirror", {"fullnameOverride": "images"}, "images"),
    ]:
        objects = render(helm, values, release=release)
        assert ("DaemonSet", name) in objects
        assert ("Service", name + "-bootstrap") in objects
        args = objects[("DaemonSet", name)]["spec"]["template"]["spec"]["containers"][0]["args"]
        assert f"--dns-bootstrap-domain={name}-bootstrap.spegel.svc.cluster.local." in args


# --- everything at once ---


def test_everything_at_once_is_every_object(everything):
    extra = {("ServiceMonitor", "spegel"), ("PodMonitor", "spegel"), ("PrometheusRule", "spegel"),
             ("ConfigMap", "spegel-dashboard"), ("NetworkPolicy", "spegel"),
             ("VerticalPodAutoscaler", "spegel")}
    assert everything.keys() == PLAIN | HOOKS | extra
    assert {d["metadata"]["namespace"] for d in everything.all} == {"mirrors"}


def test_common_labels_are_everywhere_and_never_replace_ours(everything):
    for document in everything.all:
        labels = document["metadata"]["labels"]
        assert labels["cost"] == "shared" and labels["app.kubernetes.io/name"] == "spegel"
    labels = everything.daemonset["spec"]["template"]["metadata"]["labels"]
    assert labels["cost"] == "shared" and labels["team"] == "platform"
    assert everything.daemonset["spec"]["selector"]["matchLabels"].items() <= labels.items()


def test_everything_at_once_reaches_the_registry_container(everything):
    registry = everything.registry
    assert flag_values(registry["args"], "--mirrored-registries") == ["https://docker.io",
                                                                     "https://ghcr.io"]
    assert flag_values(registry["args"], "--registry-filters") == [":latest$", "^docker\\.io/"]
    assert flag_values(registry["args"], "--cold-rollout-exclude") == ["^private\\."]
    assert "--cold-rollout=false" in registry["args"]
    assert flag_values(registry["args"], "--mirror-targets") == [*TARGETS, "http://192.0.2.7:5000"]
    assert set(registry["args"]) >= {"--cluster-label=blue", "--prepend-existing=true",
                                     "--advertise-addr=192.0.2.1", "--log-level=DEBUG"}
    env = environment(registry)
    assert env["NODE_IP"] == {"name": "NODE_IP", "value": "192.0.2.1"}
    assert env["ZONE"] == {"name": "ZONE", "value": "z1"} and env["ANYTHING"]["value"] == "1"
    assert registry["securityContext"]["seLinuxOptions"] == {"type": "spc_t"}
    assert registry["resources"]["requests"]["memory"] == 134217728
    assert registry["livenessProbe"] == {"httpGet": {"path": "/livez", "port": "registry"}}
    assert mounts(registry)["basic-auth"] == {
        "name": "basic-auth", "mountPath": "/etc/secrets/basic-auth", "readOnly": True}
    assert mounts(registry)["more"]["mountPath"] == "/more"
    spec = everything.daemonset["spec"]
    assert spec["minReadySeconds"] == 5
    assert everything.pod["terminationGracePeriodSeconds"] == 45


def test_annotations_reach_their_objects(everything):
    for name, want in [("spegel", "metrics"), ("spegel-bootstrap", "bootstrap"),
                       ("spegel-cleanup", "cleanup")]:
        assert everything[("Service", name)]["metadata"]["annotations"][want] == "1"
    assert everything.daemonset["metadata"]["annotations"] == {"daemonset": "1"}
    assert everything.daemonset["spec"]["template"]["metadata"]["annotations"] == {"pod": "1"}
    assert everything[("ServiceAccount", "spegel")]["metadata"]["annotations"] == {"account": "1"}


def test_the_network_policy_leaves_the_router_to_our_own_pods(helm, everything):
    ours = {"podSelector": {
        "matchLabels": everything.daemonset["spec"]["selector"]["matchLabels"]}}
    router, registry, metrics = everything[("NetworkPolicy", "spegel")]["spec"]["ingress"]
    assert router == {"from": [ours], "ports": [{"port": 5001, "protocol": "UDP"},
                                                {"port": 5001, "protocol": "TCP"}]}
    assert registry == {"from": [ours, {"ipBlock": {"cidr": "192.0.2.0/24"}}],
                        "ports": [{"port": 5000, "protocol": "TCP"}]}
    assert metrics["from"] == [{"namespaceSelector": {}}]
    plain = render(helm, {"networkPolicy": {"enabled": True}})
    _, registry, metrics = plain[("NetworkPolicy", "spegel")]["spec"]["ingress"]
    assert "from" not in registry and "from" not in metrics
