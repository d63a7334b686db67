{{- define "spegel.name" -}}
{{- .V.nameOverride | default .Chart.Name | trunc 63 | trimSuffix "-" }}
{{- end }}

{{/* The release's name, with the chart's behind it unless it contains that already. */}}
{{- define "spegel.fullname" -}}
{{- $name := .V.nameOverride | default .Chart.Name }}
{{- $full := ternary .Release.Name (printf "%s-%s" .Release.Name $name) (contains $name .Release.Name) }}
{{- .V.fullnameOverride | default $full | trunc 63 | trimSuffix "-" }}
{{- end }}

{{- define "spegel.namespace" -}}
{{- .V.namespaceOverride | default .Release.Namespace }}
{{- end }}

{{- define "spegel.serviceAccountName" -}}
{{- .V.serviceAccount.name | default (include "spegel.fullname" .) }}
{{- end }}

{{- define "spegel.image" -}}
{{- if .V.image.digest }}
{{- printf "%s@%s" .V.image.repository .V.image.digest }}
{{- else }}
{{- printf "%s:%s" .V.image.repository (.V.image.tag | default .Chart.AppVersion) }}
{{- end }}
{{- end }}

{{/* (root, component): selectors cannot be changed in place: these are the Go chart's. */}}
{{- define "spegel.selector" -}}
app.kubernetes.io/name: {{ include "spegel.name" (first .) }}
app.kubernetes.io/instance: {{ (first .).Release.Name }}
{{- with last . }}
app.kubernetes.io/component: {{ . }}
{{- end }}
{{- end }}

{{/* (root, component or ""): the labels of an object; commonLabels never replace one of ours. */}}
{{- define "spegel.labels" -}}
{{- $root := first . }}
{{- $own := include "spegel.selector" . | fromYaml }}
{{- $_ := set $own "helm.sh/chart"
      (printf "%s-%s" $root.Chart.Name $root.Chart.Version | replace "+" "_" | trunc 63 | trimSuffix "-") }}
{{- $_ := set $own "app.kubernetes.io/version" $root.Chart.AppVersion }}
{{- $_ := set $own "app.kubernetes.io/managed-by" $root.Release.Service }}
{{- toYaml (merge $own (deepCopy ($root.V.commonLabels | default dict))) }}
{{- end }}

{{/* (root, component, more labels): those of a pod. */}}
{{- define "spegel.podLabels" -}}
{{- toYaml (merge (include "spegel.selector" (list (index . 0) (index . 1)) | fromYaml)
      (deepCopy (index . 2 | default dict)) (deepCopy ((index . 0).V.commonLabels | default dict))) }}
{{- end }}

{{/* (root, name, component, annotations): the metadata of an object. */}}
{{- define "spegel.metadata" -}}
name: {{ index . 1 }}
namespace: {{ include "spegel.namespace" (first .) }}
labels:
  {{- include "spegel.labels" (list (index . 0) (index . 2)) | nindent 2 }}
{{- with index . 3 }}
annotations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}

{{- define "spegel.imagePullSecrets" -}}
{{- with .V.imagePullSecrets }}
imagePullSecrets:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}

{{/*
An older values file may ask for what the API server refuses beside our default: privileged, and
CAP_SYS_ADMIN, which is the same capability without CAP_ too.
*/}}
{{- define "spegel.securityContext" -}}
{{- $context := deepCopy .V.securityContext }}
{{- $added := ($context.capabilities | default dict).add | default list }}
{{- if or (eq (toString $context.privileged) "true") (has "SYS_ADMIN" $added) (has "CAP_SYS_ADMIN" $added) }}
{{- if eq (toString $context.allowPrivilegeEscalation) "false" }}
{{- $_ := unset $context "allowPrivilegeEscalation" }}
{{- end }}
{{- end }}
{{- toYaml $context }}
{{- end }}

{{/* What the containers share. */}}
{{- define "spegel.container" -}}
image: {{ include "spegel.image" . | quote }}
{{- with .V.image.pullPolicy }}
imagePullPolicy: {{ . }}
{{- end }}
securityContext:
  {{- include "spegel.securityContext" . | nindent 2 }}
{{- with .V.resources }}
resources:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}

{{/* A list flag and its values, each an argument of its own; nothing for an empty list. */}}
{{- define "spegel.listFlag" -}}
{{- with last . }}
- --{{ first $ }}
{{- range . }}
- {{ . | toString | quote }}
{{- end }}
{{- end }}
{{- end }}

{{- define "spegel.usesHostPort" -}}
{{- if not .V.service.registry.usePreferSameNodeTrafficDistribution }}true{{ end }}
{{- end }}

{{/* The ports of a node that lead to the registry, as a text: "30020, 30021 or 30000". */}}
{{- define "spegel.nodePorts" -}}
{{- $ports := list }}
{{- if include "spegel.usesHostPort" . }}
{{- $ports = append $ports .V.service.registry.hostPort }}
{{- end }}
{{- $ports = append $ports .V.service.registry.nodePort }}
{{- if .V.bootstrap.service.enabled }}
{{- $ports = append $ports .V.bootstrap.service.nodePort }}
{{- end }}
{{- with initial $ports }}{{ join ", " . }} or {{ end }}{{ last $ports }}
{{- end }}

{{- define "spegel.bootstrapDomain" -}}
{{ include "spegel.fullname" . }}-bootstrap.{{ include "spegel.namespace" . }}.svc.{{ .V.clusterDomain }}
{{- end }}

{{/* What is written into hosts.toml, by whoever writes it. */}}
{{- define "spegel.configurationArgs" -}}
{{- $targets := list }}
{{- if include "spegel.usesHostPort" . }}
{{- $targets = append $targets (printf "http://$(NODE_IP):%d" (int .V.service.registry.hostPort)) }}
{{- end }}
{{- $targets = append $targets (printf "http://$(NODE_IP):%d" (int .V.service.registry.nodePort)) -}}
- {{ printf "--containerd-registry-config-path=%s" .V.spegel.containerdRegistryConfigPath | quote }}
{{- include "spegel.listFlag"
      (list "mirror-targets" (concat $targets (.V.spegel.additionalMirrorTargets | default list))) }}
- --resolve-tags={{ .V.spegel.resolveTags }}
- --prepend-existing={{ .V.spegel.prependExisting }}
{{- end }}

{{- define "spegel.nodeIpEnv" -}}
- name: NODE_IP
  {{- if .V.service.registry.nodeIp }}
  value: {{ .V.service.registry.nodeIp | quote }}
  {{- else }}
  valueFrom:
    fieldRef:
      fieldPath: status.hostIP
  {{- end }}
{{- end }}

{{- define "spegel.ownEnv" -}}
{{ include "spegel.nodeIpEnv" . }}
# Whose identity is in the data directory: a pod's host name is its own.
- name: NODE_NAME
  valueFrom:
    fieldRef:
      fieldPath: spec.nodeName
- name: POD_IP
  valueFrom:
    fieldRef:
      fieldPath: status.podIP
# Every family, which POD_IP is not.
- name: POD_IPS
  valueFrom:
    fieldRef:
      fieldPath: status.podIPs
- name: ZONE
  {{- if .V.spegel.zone }}
  value: {{ .V.spegel.zone | quote }}
  {{- else }}
  valueFrom:
    fieldRef:
      fieldPath: metadata.labels['topology.kubernetes.io/zone']
  {{- end }}
{{- end }}

{{/*
The registry's environment. What extraEnv names again takes the place of ours: of two of one name the
last would count anyway, but server-side apply, which is what Helm 4 does, refuses two.
*/}}
{{- define "spegel.registryEnv" -}}
{{- $extra := .V.extraEnv | default list }}
{{- $names := list }}
{{- range $extra }}{{ $names = append $names (get . "name") }}{{ end }}
{{- $env := list }}
{{- range include "spegel.ownEnv" . | fromYamlArray }}
{{- if not (has (get . "name") $names) }}{{ $env = append $env . }}{{ end }}
{{- end }}
{{- toYaml (concat $env $extra) }}
{{- end }}

{{- define "spegel.configVolume" -}}
- name: containerd-config
  hostPath:
    path: {{ .V.spegel.containerdRegistryConfigPath | quote }}
    type: DirectoryOrCreate
{{- end }}

{{- define "spegel.configMount" -}}
- name: containerd-config
  mountPath: {{ .V.spegel.containerdRegistryConfigPath | quote }}
{{- end }}

{{- define "spegel.basicAuthMount" -}}
{{- if .V.basicAuthSecretName }}
- name: basic-auth
  mountPath: /etc/secrets/basic-auth
  readOnly: true
{{- end }}
{{- end }}
