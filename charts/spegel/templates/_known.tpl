{{/* Made by tests/chart/generate.py from values.yaml: path, kind, and the default that a
     missing key has, where it has one. */}}
{{- define "spegel.known" -}}
image.repository: {"kind": "text", "default": ""}
image.tag: {"kind": "text", "default": ""}
image.digest: {"kind": "text", "default": ""}
image.pullPolicy: {"kind": "text", "default": "IfNotPresent"}
imagePullSecrets: {"kind": "list"}
nameOverride: {"kind": "text", "default": ""}
fullnameOverride: {"kind": "text", "default": ""}
namespaceOverride: {"kind": "text", "default": ""}
allowUnknownValues: {"kind": "bool", "default": false}
serviceAccount.annotations: {"kind": "map"}
serviceAccount.name: {"kind": "text", "default": ""}
daemonsetAnnotations: {"kind": "map"}
podAnnotations: {"kind": "map"}
podLabels: {"kind": "map"}
commonLabels: {"kind": "map"}
podSecurityContext: {"kind": "map"}
securityContext: {"kind": "merged", "default": {"readOnlyRootFilesystem": true, "runAsUser": 0, "runAsGroup": 0, "allowPrivilegeEscalation": false, "capabilities": {"drop": ["ALL"]}, "seccompProfile": {"type": "RuntimeDefault"}}}
revisionHistoryLimit: {"kind": "number", "default": 10}
service.ipFamilyPolicy: {"kind": "text", "default": ""}
service.registry.port: {"kind": "number", "default": 5000}
service.registry.nodePort: {"kind": "number", "default": 30021}
service.registry.hostPort: {"kind": "number", "default": 30020}
service.registry.nodeIp: {"kind": "text", "default": ""}
service.registry.topologyAwareHintsEnabled: {"kind": "bool", "default": true}
service.registry.usePreferSameNodeTrafficDistribution: {"kind": "bool", "default": false}
service.registry.internalTrafficLocal: {"kind": "bool", "default": false}
service.registry.annotations: {"kind": "map"}
service.router.port: {"kind": "number", "default": 5001}
service.metrics.port: {"kind": "number", "default": 9090}
service.metrics.annotations: {"kind": "map"}
service.bootstrap.annotations: {"kind": "map"}
service.cleanup.port: {"kind": "number", "default": 8080}
service.cleanup.annotations: {"kind": "map"}
resources: {"kind": "map"}
nodeSelector: {"kind": "map"}
updateStrategy: {"kind": "map"}
maxUnavailable: {"kind": "either", "default": ""}
minReadySeconds: {"kind": "number", "default": 0}
terminationGracePeriodSeconds: {"kind": "number", "default": 30}
tolerations: {"kind": "list"}
affinity: {"kind": "map"}
clusterDomain: {"kind": "text", "default": "cluster.local."}
priorityClassName: {"kind": "text"}
basicAuthSecretName: {"kind": "text", "default": ""}
gossipKeySecret.name: {"kind": "text", "default": ""}
gossipKeySecret.key: {"kind": "text", "default": "keys"}
spegel.logLevel: {"kind": "text", "default": "INFO"}
spegel.persistence.enabled: {"kind": "bool", "default": true}
spegel.persistence.path: {"kind": "text", "default": "/var/lib/spegel"}
spegel.persistence.hostPath: {"kind": "text", "default": "/var/lib/spegel"}
spegel.mirroredRegistries: {"kind": "list"}
spegel.additionalMirrorTargets: {"kind": "list"}
spegel.mirrorResolveRetries: {"kind": "number", "default": 3}
spegel.mirrorResolveTimeout: {"kind": "text", "default": "20ms"}
spegel.containerdSock: {"kind": "text", "default": "/run/containerd/containerd.sock"}
spegel.containerdNamespace: {"kind": "text", "default": "k8s.io"}
spegel.containerdRegistryConfigPath: {"kind": "text", "default": "/etc/containerd/certs.d"}
spegel.containerdContentPath: {"kind": "text", "default": "/var/lib/containerd/io.containerd.content.v1.content"}
spegel.containerdMirrorAdd: {"kind": "bool", "default": true}
spegel.configurationInitContainer: {"kind": "bool", "default": false}
spegel.resolveTags: {"kind": "bool", "default": true}
spegel.registryFilters: {"kind": "list"}
spegel.coldRollout: {"kind": "bool", "default": true}
spegel.coldRolloutExclude: {"kind": "list"}
spegel.prependExisting: {"kind": "bool", "default": false}
spegel.debugWebEnabled: {"kind": "bool", "default": true}
spegel.clusterLabel: {"kind": "text", "default": ""}
spegel.zone: {"kind": "text", "default": ""}
bootstrap.service.enabled: {"kind": "bool", "default": false}
bootstrap.service.nodePort: {"kind": "number", "default": 30000}
bootstrap.service.annotations: {"kind": "map"}
bootstrap.initContainer.enabled: {"kind": "bool", "default": false}
bootstrap.initContainer.ipv6: {"kind": "bool", "default": false}
bootstrap.initContainer.image.repository: {"kind": "text", "default": ""}
bootstrap.initContainer.image.tag: {"kind": "text", "default": ""}
bootstrap.mirror: {"kind": "bool", "default": false}
cleanup.stableSeconds: {"kind": "number", "default": 30}
cleanup.limitSeconds: {"kind": "number", "default": 270}
livenessProbe.enabled: {"kind": "bool", "default": false}
extraArgs: {"kind": "list"}
extraEnv: {"kind": "list"}
extraVolumeMounts: {"kind": "list"}
extraVolumes: {"kind": "list"}
extraInitContainers: {"kind": "list"}
networkPolicy.enabled: {"kind": "bool", "default": false}
networkPolicy.registryFrom: {"kind": "list"}
networkPolicy.metricsFrom: {"kind": "list"}
serviceMonitor.enabled: {"kind": "bool", "default": false}
serviceMonitor.interval: {"kind": "text", "default": "60s"}
serviceMonitor.scrapeTimeout: {"kind": "text", "default": "30s"}
serviceMonitor.labels: {"kind": "map"}
serviceMonitor.relabelings: {"kind": "list"}
serviceMonitor.metricRelabelings: {"kind": "list"}
podMonitor.enabled: {"kind": "bool", "default": false}
podMonitor.interval: {"kind": "text", "default": "60s"}
podMonitor.scrapeTimeout: {"kind": "text", "default": "30s"}
podMonitor.labels: {"kind": "map"}
podMonitor.relabelings: {"kind": "list"}
podMonitor.metricRelabelings: {"kind": "list"}
prometheusRule.enabled: {"kind": "bool", "default": false}
prometheusRule.labels: {"kind": "map"}
prometheusRule.additionalRules: {"kind": "list"}
grafanaDashboard.enabled: {"kind": "bool", "default": false}
grafanaDashboard.mode: {"kind": "text", "default": "Sidecar"}
grafanaDashboard.labels: {"kind": "map"}
grafanaDashboard.annotations: {"kind": "map"}
grafanaDashboard.grafanaOperator.allowCrossNamespaceImport: {"kind": "bool", "default": true}
grafanaDashboard.grafanaOperator.folder: {"kind": "text", "default": ""}
grafanaDashboard.grafanaOperator.resyncPeriod: {"kind": "text", "default": "10m"}
grafanaDashboard.grafanaOperator.matchLabels: {"kind": "map"}
verticalPodAutoscaler.enabled: {"kind": "bool", "default": false}
verticalPodAutoscaler.recommenders: {"kind": "list"}
verticalPodAutoscaler.controlledResources: {"kind": "list"}
verticalPodAutoscaler.controlledValues: {"kind": "text", "default": "RequestsAndLimits"}
verticalPodAutoscaler.maxAllowed: {"kind": "map"}
verticalPodAutoscaler.minAllowed: {"kind": "map"}
verticalPodAutoscaler.updatePolicy: {"kind": "map"}
spegel.registries: {"kind": "list"}
spegel.mirrorRegistries: {"kind": "list"}
spegel.extraMirrorRegistries: {"kind": "list"}
spegel.additionalMirrorRegistries: {"kind": "list"}
spegel.appendMirrors: {"kind": "bool"}
spegel.resolveLatestTag: {"kind": "bool"}
spegel.containerdMirrorRemove: {"kind": "bool"}
spegel.blobSpeed: {"kind": "text"}
spegel.kubeconfigPath: {"kind": "text"}
spegel.imageFilter: {"kind": "text"}
grafanaDashboard.sidecarLabel: {"kind": "text"}
grafanaDashboard.sidecarLabelValue: {"kind": "text"}
global: {"kind": "any"}
enabled: {"kind": "bool"}
{{- end }}
