"""What Prometheus, Grafana and the autoscaler are given."""

import json
import re

from render import API_VERSIONS, CHART, TOP, render, run


def test_prometheus_finds_what_it_scrapes(everything):
    monitor = everything[("ServiceMonitor", "spegel")]
    assert monitor["metadata"]["labels"]["prometheus"] == "main"
    labels = everything[("Service", "spegel")]["metadata"]["labels"]
    assert monitor["spec"]["selector"]["matchLabels"].items() <= labels.items()
    assert not [name for kind, name in everything.keys() if kind == "Service" and name != "spegel"
                and monitor["spec"]["selector"]["matchLabels"].items()
                <= everything[(kind, name)]["metadata"]["labels"].items()]
    assert monitor["spec"]["endpoints"] == [{
        "port": "metrics", "interval": "60s", "scrapeTimeout": "30s",
        "relabelings": [{"action": "keep"}], "metricRelabelings": [{"action": "drop"}]}]
    pods = everything[("PodMonitor", "spegel")]["spec"]
    assert pods["podMetricsEndpoints"][0]["port"] == "metrics"
    [group] = everything[("PrometheusRule", "spegel")]["spec"]["groups"]
    assert group["rules"][-1] == {"alert": "Mine", "expr": "1"}
    for rule in group["rules"][:-1]:
        assert 'namespace="mirrors"' in rule["expr"]


def test_dashboard_and_alerts_use_metrics_that_the_program_has(everything):
    text = json.dumps(everything[("PrometheusRule", "spegel")]) + json.dumps(
        everything[("ConfigMap", "spegel-dashboard")])
    sources = "".join(p.read_text() for folder in ("lib", "daemon")
                      for p in (TOP / folder).rglob("*.c"))
    named = set(re.findall(r"\b(?:spegel|http|process)_[a-z_]+(?=[{\[ ])", text))
    assert len(named) > 8
    for name in named:
        assert re.sub("_(bucket|count|sum)$", "", name) in sources, name


def test_the_dashboard_in_both_modes(helm, everything):
    config = everything[("ConfigMap", "spegel-dashboard")]
    assert config["metadata"]["labels"]["grafana_dashboard"] == "1"
    dashboard = json.loads(config["data"]["spegel.json"])
    objects = render(helm, {"grafanaDashboard": {
        "enabled": True, "mode": "GrafanaOperator",
        "grafanaOperator": {"folder": "Spegel", "matchLabels": {"dashboards": "grafana"}}}})
    assert ("ConfigMap", "spegel-dashboard") not in objects
    spec = objects[("GrafanaDashboard", "spegel-dashboard")]["spec"]
    assert json.loads(spec.pop("json")) == dashboard
    assert spec == {"allowCrossNamespaceImport": True, "folder": "Spegel", "resyncPeriod": "10m",
                    "instanceSelector": {"matchLabels": {"dashboards": "grafana"}}}


def test_the_autoscaler_only_where_the_cluster_has_it(helm, everything):
    spec = everything[("VerticalPodAutoscaler", "spegel")]["spec"]
    assert spec["targetRef"] == {"apiVersion": "apps/v1", "kind": "DaemonSet", "name": "spegel"}
    assert spec["updatePolicy"] == {"minReplicas": 2, "updateMode": "Auto"}
    [policy] = spec["resourcePolicy"]["containerPolicies"]
    assert policy == {"containerName": "registry", "controlledResources": ["memory"],
                      "controlledValues": "RequestsAndLimits", "maxAllowed": {"memory": "256Mi"},
                      "minAllowed": {"memory": "64Mi"}}
    assert "autoscaling.k8s.io/v1" in API_VERSIONS
    text = run(helm, "template", "spegel", str(CHART), values={
        "image": {"repository": "r/s"}, "verticalPodAutoscaler": {"enabled": True}})
    assert "VerticalPodAutoscaler" not in text
