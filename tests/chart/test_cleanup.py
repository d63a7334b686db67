"""Uninstalling: the hooks that take containerd's configuration back."""

from render import mounts, render


def test_the_hooks_run_after_deletion_in_order_and_go_away(defaults):
    for key, weight in [(("DaemonSet", "spegel-cleanup"), "0"), (("Service", "spegel-cleanup"), "0"),
                        (("Pod", "spegel-cleanup-wait"), "1")]:
        annotations = defaults[key]["metadata"]["annotations"]
        # Its log ends with a list of what failed, and helm shows that.
        assert annotations.pop("helm.sh/hook-output-log-policy", None) == \
            ("hook-failed" if key[0] == "Pod" else None)
        assert annotations == {
            "helm.sh/hook": "post-delete", "helm.sh/hook-weight": weight,
            "helm.sh/hook-delete-policy": "before-hook-creation, hook-succeeded",
        }


def test_the_wait_lasts_until_every_node_was_clean_for_the_stated_time(helm, defaults):
    pod = defaults[("Pod", "spegel-cleanup-wait")]["spec"]
    assert pod["containers"][0]["args"][2:] == [
        "--probe-endpoint=spegel-cleanup.spegel.svc.cluster.local.:8080", "--stable-for=30s",
        "--give-up-after=270s",
    ]
    assert pod["activeDeadlineSeconds"] == 290 and pod["restartPolicy"] == "Never"
    objects = render(helm, {"cleanup": {"stableSeconds": "5", "limitSeconds": 60}})
    pod = objects[("Pod", "spegel-cleanup-wait")]["spec"]
    assert pod["containers"][0]["args"][-2:] == ["--stable-for=5s", "--give-up-after=60s"]
    assert pod["activeDeadlineSeconds"] == 80


def test_hook_pods_go_where_an_instance_once_was_and_can_pull(helm):
    objects = render(helm, {"imagePullSecrets": [{"name": "pull"}],
                            "nodeSelector": {"pool": "workers"}})
    specs = dict(objects.pod_specs())
    assert specs["spegel"]["nodeSelector"] == {"pool": "workers", "kubernetes.io/os": "linux"}
    for name in ("spegel-cleanup", "spegel-cleanup-wait"):
        assert specs[name]["nodeSelector"] == {"kubernetes.io/os": "linux"}
        assert specs[name]["imagePullSecrets"] == [{"name": "pull"}]
        assert len(specs[name]["tolerations"]) == 3


def test_cleanup_takes_back_what_the_daemon_writes(helm):
    objects = render(helm, {"spegel": {"containerdRegistryConfigPath": "/etc/cri/conf.d/hosts"}})
    for name, spec in objects.pod_specs():
        if name == "spegel-cleanup-wait":
            continue
        container = spec["containers"][0]
        assert "--containerd-registry-config-path=/etc/cri/conf.d/hosts" in container["args"]
        assert mounts(container)["containerd-config"]["mountPath"] == "/etc/cri/conf.d/hosts"
        volume = {v["name"]: v for v in spec["volumes"]}["containerd-config"]
        assert volume["hostPath"] == {"path": "/etc/cri/conf.d/hosts", "type": "DirectoryOrCreate"}
