"""Renders the chart and finds things in what comes out."""

import json
import os
import pathlib
import shutil
import subprocess

import yaml

TOP = pathlib.Path(__file__).resolve().parents[2]
CHART = TOP / "charts/spegel"
# Every object, and every value that renders something, at once.
EVERYTHING = yaml.safe_load((TOP / "tests/chart/values-everything.yaml").read_text())
OLD_USER = yaml.safe_load((TOP / "tests/chart/values-old-user.yaml").read_text())
PLATFORMS = {p.stem: yaml.safe_load(p.read_text())
             for p in sorted((CHART / "platforms").glob("*.yaml"))}
IMAGE = {"image": {"repository": "registry.example/spegel"}}

# What this chart renders when monitoring and autoscaling are there.
API_VERSIONS = ["autoscaling.k8s.io/v1", "monitoring.coreos.com/v1"]


def find_helm():
    """$HELM, else what `./dev chart` installed, else the one on PATH; None without any."""
    installed = TOP / "build/tools/helm"
    return os.environ.get("HELM") or (str(installed) if installed.exists() else
                                      shutil.which("helm"))


def find_helm4():
    """$HELM4, else what `./dev chart --helm4` built; None without either."""
    built = TOP / "build/tools/helm4/helm"
    return os.environ.get("HELM4") or (str(built) if built.exists() else None)


class RenderError(Exception):
    """helm refused; the text is what it said."""


def run(helm, *args, values=None):
    """Runs helm with a values document on stdin; its output."""
    command = [helm, *args, *(["--values", "-"] if values is not None else [])]
    done = subprocess.run(command, input=json.dumps(values) if values is not None else None,
                          capture_output=True, text=True, timeout=60)
    if done.returncode != 0:
        raise RenderError(done.stderr)
    return done.stdout


def with_image(values):
    return {**values, "image": {**IMAGE["image"], **(values.get("image") or {})}}


class Objects:
    """The objects of a release, by kind and name."""

    def __init__(self, documents):
        self.all = [d for d in documents if d]
        self.by_key = {(d["kind"], d["metadata"]["name"]): d for d in self.all}
        assert len(self.by_key) == len(self.all), "two objects of one kind and name"

    def __getitem__(self, key):
        return self.by_key[key]

    def __contains__(self, key):
        return key in self.by_key

    def keys(self):
        return set(self.by_key)

    @property
    def daemonset(self):
        return self[("DaemonSet", "spegel")]

    @property
    def pod(self):
        return self.daemonset["spec"]["template"]["spec"]

    @property
    def registry(self):
        return self.pod["containers"][0]

    def pod_specs(self):
        """(name, spec) of all pods, the hooks' included."""
        for document in self.all:
            if document["kind"] == "DaemonSet":
                yield document["metadata"]["name"], document["spec"]["template"]["spec"]
            elif document["kind"] == "Pod":
                yield document["metadata"]["name"], document["spec"]


def render(helm, values=None, chart=CHART, release="spegel", namespace="spegel", sets=()):
    """`values` as a file, with an image repository unless they have one; `sets` as --set-string."""
    args = ["template", release, str(chart), "--namespace", namespace]
    for version in API_VERSIONS:
        args += ["--api-versions", version]
    for item in sets:
        args += ["--set-string", item]
    return Objects(yaml.safe_load_all(run(helm, *args, values=with_image(values or {}))))


def flag_values(args, flag):
    """The values of a list flag, which stand behind it as arguments of their own; None without it."""
    if flag not in args:
        return None
    found = []
    for arg in args[args.index(flag) + 1:]:
        if arg.startswith("-"):
            break
        found.append(arg)
    return found


def mounts(container):
    return {m["name"]: m for m in container.get("volumeMounts") or []}


def environment(container):
    return {e["name"]: e for e in container.get("env") or []}
