{{/* The host of the image's registry, as containerd sees it: docker.io where the name has none. */}}
{{- define "spegel.imageHost" -}}
{{- $first := splitList "/" .V.image.repository | first }}
{{- if and (contains "/" .V.image.repository) (or (contains "." $first) (contains ":" $first) (eq $first "localhost")) }}
{{- $first }}
{{- else -}}
docker.io
{{- end }}
{{- end }}

{{/* Its URL: http where mirroredRegistries says so. */}}
{{- define "spegel.imageRegistry" -}}
{{- $plain := printf "http://%s" (include "spegel.imageHost" .) }}
{{- ternary $plain (printf "https://%s" (include "spegel.imageHost" .)) (has $plain (.V.spegel.mirroredRegistries | default list)) }}
{{- end }}

{{- define "spegel.bootstrapPort" -}}
{{- if .V.bootstrap.service.enabled }}{{ .V.bootstrap.service.nodePort }}{{ else }}{{ .V.service.registry.nodePort }}{{ end }}
{{- end }}

{{/*
What a node without an instance asks for this image: any instance, through the node's own address,
since not every mode of kube-proxy serves NodePorts on 127.0.0.1. $target is set by the script.
*/}}
{{- define "spegel.bootstrapHosts" -}}
{{- $registry := include "spegel.imageRegistry" . -}}
# spegel bootstrap
server = '{{ ternary "https://registry-1.docker.io" $registry (eq $registry "https://docker.io") }}'

[host.'$target']
capabilities = ['pull', 'resolve']
[host.'$target'.header]
X-Spegel-Registry = ['{{ $registry }}']
X-Spegel-Mirror = ['{{ .V.bootstrap.mirror }}']
{{- end }}

{{/*
Needs sh and mkdir alone. `_backup` says that the daemon has configured this node. What else containerd
would use now (its other name for a registry with a port comes first) is somebody's, and his may be the
only way to the registry there is.
*/}}
{{- define "spegel.bootstrapScript" -}}
{{- $host := include "spegel.imageHost" . -}}
set -eu
top=$CONFIG_PATH
if [ -e "$top/_backup" ]; then
  echo "the daemon has configured this node already"
  exit 0
fi
for name in {{ $host | replace ":" "_" }}{{ if contains ":" $host }}_ {{ $host }}{{ end }} _default; do
  for file in "$top/$name"/*; do
    [ -e "$file" ] || continue
    line=
    [ "$file" != "$top/$name/hosts.toml" ] || read -r line <"$file" || :
    if [ "$line" != "# spegel bootstrap" ]; then
      echo "$top/$name stays in force"
      exit 0
    fi
  done
done
case $NODE_IP in
{{- if .V.bootstrap.initContainer.ipv6 }}
  \[*) target=http://$NODE_IP:{{ include "spegel.bootstrapPort" . }} ;;
  *:*) target=http://[$NODE_IP]:{{ include "spegel.bootstrapPort" . }} ;;
{{- else }}
  *:*)
    echo "containerd 1.x reads no hosts.toml with an IPv6 address, $NODE_IP: none is written (bootstrap.initContainer.ipv6)"
    exit 0
    ;;
{{- end }}
  *) target=http://$NODE_IP:{{ include "spegel.bootstrapPort" . }} ;;
esac
mkdir -p "$top/{{ $host }}"
echo "{{ include "spegel.bootstrapHosts" . }}" >"$top/{{ $host }}/hosts.toml"
echo "$top/{{ $host }} leads to $target"
{{- end }}

{{- define "spegel.bootstrapContainer" -}}
{{- $image := .V.bootstrap.initContainer.image -}}
- name: bootstrap
  image: {{ printf "%s:%s" $image.repository $image.tag | quote }}
  imagePullPolicy: IfNotPresent
  securityContext:
    {{- include "spegel.securityContext" . | nindent 4 }}
  {{- with .V.resources }}
  resources:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  command: [sh, -c]
  args:
    - |
      {{- include "spegel.bootstrapScript" . | nindent 6 }}
  env:
    {{- include "spegel.nodeIpEnv" . | nindent 4 }}
    - name: CONFIG_PATH
      value: {{ .V.spegel.containerdRegistryConfigPath | quote }}
  volumeMounts:
    {{- include "spegel.configMount" . | nindent 4 }}
{{- end }}

{{- define "spegel.refuseBootstrap" -}}
{{- $s := .V.service.registry }}
{{- $service := .V.bootstrap.service }}
{{- if $service.enabled }}
{{- if or (eq (int $service.nodePort) (int $s.nodePort)) (and (include "spegel.usesHostPort" .) (eq (int $service.nodePort) (int $s.hostPort))) }}
{{- fail (printf "\n\nbootstrap.service.nodePort is %d, which service.registry has as its nodePort or hostPort.\n" (int $service.nodePort)) }}
{{- end }}
{{- end }}
{{- if .V.bootstrap.initContainer.enabled }}
{{- $mirrored := list }}
{{- range .V.spegel.mirroredRegistries | default list }}
{{- $mirrored = append $mirrored (regexReplaceAll "^(?i:https?)://" (toString .) "") }}
{{- end }}
{{- $host := include "spegel.imageHost" . }}
{{- if and $mirrored (not (or (has $host $mirrored) (has "_default" $mirrored) (has "*" $mirrored))) }}
{{- fail (printf "\n\nspegel.mirroredRegistries lacks https://%s, the registry of this program's own image, which therefore no instance serves: bootstrap cannot work.\n" $host) }}
{{- end }}
{{- end }}
{{- if .V.bootstrap.initContainer.enabled }}
{{- $image := .V.bootstrap.initContainer.image }}
{{- if or (not $image.repository) (not $image.tag) }}
{{- fail "\n\nbootstrap.initContainer needs image.repository and image.tag: an image with sh and mkdir that new nodes have, or can pull when this program's image cannot be.\n" }}
{{- end }}
{{- if not .V.spegel.containerdMirrorAdd }}
{{- fail "\n\nbootstrap.initContainer.enabled without spegel.containerdMirrorAdd: nobody would ever replace the file that it writes.\n" }}
{{- end }}
{{- if .V.basicAuthSecretName }}
{{- fail "\n\nbootstrap.initContainer.enabled with basicAuthSecretName: a shell cannot write the credentials that the other instances then want.\n" }}
{{- end }}
{{- end }}
{{- end }}
