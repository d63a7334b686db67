#!/usr/bin/python3
"""Makes from charts/spegel/values.yaml what has to agree with it: the schema, and the table of known
keys that the templates use. `generate.py` tells whether they do, `generate.py --write` renews them."""

import json
import pathlib
import re
import sys

import yaml

CHART = pathlib.Path(__file__).resolve().parents[2] / "charts/spegel"
SCHEMA = CHART / "values.schema.json"
KNOWN = CHART / "templates/_known.tpl"

# Maps and lists that are whatever Kubernetes takes: null removes them, they have no default to fall
# back to. Every empty map and list of values.yaml is one too.
OPEN = {
    "resources",
    "nodeSelector",
    "tolerations",
    "imagePullSecrets",
    "verticalPodAutoscaler.updatePolicy",
}
# Likewise, as a text.
OPTIONAL = {"priorityClassName"}
# A map whose missing keys are the default's: values computed by the Go chart know only one of them.
MERGED = {"securityContext"}
# Texts which Kubernetes takes as a number too.
EITHER = {"maxUnavailable"}

CHOICES = {
    "spegel.logLevel": ["DEBUG", "INFO", "WARN", "ERROR", "debug", "info", "warn", "error"],
    "image.pullPolicy": ["", "Always", "IfNotPresent", "Never"],
    "grafanaDashboard.mode": ["Sidecar", "GrafanaOperator"],
    "service.ipFamilyPolicy": ["", "SingleStack", "PreferDualStack", "RequireDualStack"],
}
PORTS = re.compile(r"\.(port|nodePort|hostPort)$")

# Keys of earlier releases: mapped or named, see templates/_values.tpl.
RETIRED_LISTS = ["registries", "mirrorRegistries", "extraMirrorRegistries",
                 "additionalMirrorRegistries"]
RETIRED = {
    **{f"spegel.{name}": "list" for name in RETIRED_LISTS},
    **{f"spegel.{name}": "bool" for name in ("appendMirrors", "resolveLatestTag",
                                            "containerdMirrorRemove")},
    **{f"spegel.{name}": "text" for name in ("blobSpeed", "kubeconfigPath", "imageFilter")},
    "grafanaDashboard.sidecarLabel": "text",
    "grafanaDashboard.sidecarLabelValue": "text",
}
# What a parent chart hands to every child.
FOREIGN = {"global": "any", "enabled": "bool"}


def leaves(values, prefix=""):
    """(path, kind, default) of every key, in the order of the file."""
    for name, value in values.items():
        path = prefix + name
        if path in MERGED:
            yield path, "merged", value
        elif path in OPTIONAL or path in OPEN or value == {} or value == []:
            kind = {dict: "map", list: "list"}.get(type(value), "text")
            yield path, kind, None
        elif isinstance(value, dict):
            yield from leaves(value, path + ".")
        elif isinstance(value, bool):
            yield path, "bool", value
        elif isinstance(value, int):
            yield path, "number", value
        else:
            yield path, "either" if path in EITHER else "text", value


def comments(text):
    """The comment above each key, by path."""
    found, lines, stack = {}, [], []
    for line in text.splitlines():
        comment = re.match(r"\s*# ?(.*)", line)
        key = re.match(r"( *)([A-Za-z]\w*):", line)
        if comment:
            lines.append(comment.group(1))
            continue
        if key:
            depth = len(key.group(1)) // 2
            stack = stack[:depth] + [key.group(2)]
            if lines:
                found[".".join(stack)] = " ".join(lines)
        lines = []
    return found


def schema_of(path, kind):
    if path in CHOICES:
        return {"enum": [*CHOICES[path], None]}
    if kind == "number":
        pattern = {"type": ["integer", "string", "null"], "pattern": "^[0-9]+$", "minimum": 0}
        if PORTS.search(path):
            # Who uses no hostPort may have said so with 0.
            pattern.update(minimum=0 if path.endswith("hostPort") else 1, maximum=65535)
        return pattern
    if kind == "bool":
        return {"enum": [True, False, "true", "false", None]}
    if kind == "text" or kind == "either":
        return {"type": ["string", "number", "boolean", "null"]}
    if kind == "list":
        return {"type": ["array", "null"]}
    if kind == "any":
        return {}
    return {"type": ["object", "null"]}


def make_schema(entries, described):
    root = {
        "$schema": "http://json-schema.org/draft-07/schema#",
        "title": "Values of the chart spegel",
        "description": "Unknown keys are refused by the templates, which name the nearest known one.",
        "type": "object",
        "properties": {},
    }
    for path, kind, _ in entries:
        at, walked = root, []
        *parents, name = path.split(".")
        for parent in parents:
            walked.append(parent)
            at = at["properties"].setdefault(
                parent, {"type": ["object", "null"], "properties": {}})
        entry = schema_of(path, kind)
        if path in described:
            entry = {"description": described[path], **entry}
        at["properties"][name] = entry
    return json.dumps(root, indent=2) + "\n"


def make_known(entries):
    lines = ["{{/* Made by tests/chart/generate.py from values.yaml: path, kind, and the default that a",
             "     missing key has, where it has one. */}}", '{{- define "spegel.known" -}}']
    for path, kind, default in entries:
        entry = {"kind": kind}
        if default is not None:
            entry["default"] = default
        lines.append(f"{path}: {json.dumps(entry)}")
    lines.append("{{- end }}")
    return "\n".join(lines) + "\n"


def generate():
    """What each file should hold, by path."""
    text = (CHART / "values.yaml").read_text()
    entries = list(leaves(yaml.safe_load(text)))
    entries += [(path, kind, None) for path, kind in {**RETIRED, **FOREIGN}.items()]
    return {SCHEMA: make_schema(entries, comments(text)), KNOWN: make_known(entries)}


def main():
    stale = False
    for path, text in generate().items():
        if path.exists() and path.read_text() == text:
            continue
        if sys.argv[1:] == ["--write"]:
            path.write_text(text)
            continue
        stale = True
        print(f"{path.relative_to(CHART.parents[1])} does not agree with values.yaml: run "
              "tests/chart/generate.py --write", file=sys.stderr)
    return stale


if __name__ == "__main__":
    sys.exit(main())
