{{/*
Templates read .V, never .Values: every known key is there, with the type that values.yaml gives it,
whether the user gave null, a number as a string, or (with --reuse-values) values that the Go chart
computed and that lack our keys. Each template starts with this.
*/}}
{{- define "spegel.init" -}}
{{- if not (hasKey . "V") }}
{{- $known := include "spegel.known" . | fromYaml }}
{{- $values := dict }}
{{- range $path, $entry := $known }}
{{- $from := $.Values }}
{{- $into := $values }}
{{- $parts := splitList "." $path }}
{{- range initial $parts }}
{{- if not (hasKey $into .) }}
{{- $_ := set $into . dict }}
{{- end }}
{{- $into = get $into . }}
{{- if kindIs "map" $from }}
{{- $from = get $from . }}
{{- end }}
{{- end }}
{{- $value := $entry.default }}
{{- if kindIs "map" $from }}
{{- if and (hasKey $from (last $parts)) (not (kindIs "invalid" (get $from (last $parts)))) }}
{{- $value = include "spegel.cast" (list $entry (get $from (last $parts))) | fromJson | values | first }}
{{- end }}
{{- end }}
{{- $_ := set $into (last $parts) $value }}
{{- end }}
{{- $_ := set . "Retired" (include "spegel.mapRetired" $values | fromYaml) }}
{{- $_ := set . "V" $values }}
{{- if not $values.allowUnknownValues }}
{{- include "spegel.refuseUnknown" (list .Values "" $known) }}
{{- end }}
{{- include "spegel.refuseWrong" . }}
{{- end }}
{{- end }}

{{/* (entry of the table, value): {"value": ...} in JSON, in the type that the table says. */}}
{{- define "spegel.cast" -}}
{{- $entry := first . }}
{{- $value := last . }}
{{- if eq $entry.kind "number" }}
{{- $value = int64 $value }}
{{- else if eq $entry.kind "bool" }}
{{- $value = eq (toString $value) "true" }}
{{- else if eq $entry.kind "text" }}
{{- $value = toString $value }}
{{- else if eq $entry.kind "either" }}
{{- if regexMatch "^[0-9]+$" (toString $value) }}
{{- $value = int64 $value }}
{{- end }}
{{- else if eq $entry.kind "merged" }}
{{- $merged := deepCopy $value }}
{{- range $name, $default := $entry.default }}
{{- if not (hasKey $merged $name) }}
{{- $_ := set $merged $name $default }}
{{- end }}
{{- end }}
{{- $value = $merged }}
{{- end }}
{{- dict "value" $value | toJson }}
{{- end }}

{{/*
Keys of earlier charts fill those that took their place, where these say nothing. What became of each that
was given, for NOTES.txt: {"<key>": "<sentence's end>"}.
*/}}
{{- define "spegel.mapRetired" -}}
{{- $became := dict }}
{{- range list
      (list .spegel "spegel" "registries" "mirroredRegistries")
      (list .spegel "spegel" "additionalMirrorRegistries" "additionalMirrorTargets")
      (list .spegel "spegel" "extraMirrorRegistries" "additionalMirrorTargets")
      (list .spegel "spegel" "mirrorRegistries" "additionalMirrorTargets")
      (list .spegel "spegel" "appendMirrors" "prependExisting") }}
{{- $section := index . 0 }}
{{- $old := printf "%s.%s" (index . 1) (index . 2) }}
{{- $new := printf "%s.%s" (index . 1) (index . 3) }}
{{- $value := get $section (index . 2) }}
{{- if kindIs "invalid" $value }}
{{- else if get $section (index . 3) }}
{{- $_ := set $became $old (printf "is ignored: %s, its new name, is set, by itself or by another old name" $new) }}
{{- else }}
{{- $_ := set $section (index . 3) $value }}
{{- $_ := set $became $old (printf "is taken as %s, its new name" $new) }}
{{- end }}
{{- end }}
{{- $g := .grafanaDashboard }}
{{- $labelled := $g.labels }}
{{- range list "sidecarLabel" "sidecarLabelValue" }}
{{- if not (kindIs "invalid" (get $g .)) }}
{{- $_ := set $became (printf "grafanaDashboard.%s" .)
      (ternary "is ignored: grafanaDashboard.labels, which took its place, is set"
        "is taken as grafanaDashboard.labels, which took its place" (not (empty $labelled))) }}
{{- if not $labelled }}
{{- $_ := set $g "labels"
      (dict ($g.sidecarLabel | default "grafana_dashboard") ($g.sidecarLabelValue | default "1")) }}
{{- end }}
{{- end }}
{{- end }}
{{- range $old, $why := dict
      "resolveLatestTag" "tags are resolved anew each time; see resolveTags and registryFilters"
      "blobSpeed" "nothing is throttled" "kubeconfigPath" "nothing here talks to Kubernetes"
      "imageFilter" "registryFilters excludes what matches"
      "containerdMirrorRemove" "uninstalling takes the configuration back" }}
{{- if not (kindIs "invalid" (get $.spegel $old)) }}
{{- $_ := set $became (printf "spegel.%s" $old) (printf "has no effect: %s" $why) }}
{{- end }}
{{- end }}
{{- toYaml $became }}
{{- end }}

{{/* (values, prefix of their paths, table) */}}
{{- define "spegel.refuseUnknown" -}}
{{- $known := index . 2 }}
{{- $prefix := index . 1 }}
{{- range $name, $value := first . }}
{{- $path := printf "%s%s" $prefix $name }}
{{- if not (hasKey $known $path) }}
{{- $inner := false }}
{{- range $other, $_ := $known }}
{{- if hasPrefix (printf "%s." $path) $other }}
{{- $inner = true }}
{{- end }}
{{- end }}
{{- if not $inner }}
{{- fail (printf "\n\nThere is no value %s. Did you mean %s? (allowUnknownValues: true lets unknown keys pass.)\n"
      $path (include "spegel.nearest" (list $path $known))) }}
{{- else if kindIs "map" $value }}
{{- include "spegel.refuseUnknown" (list $value (printf "%s." $path) $known) }}
{{- end }}
{{- end }}
{{- end }}
{{- end }}

{{/*
(path, table): the known key or section most like it: which shares most pairs of letters, in proportion
to their lengths. The last parts of the paths count once more, since people misspell or misplace those.
*/}}
{{- define "spegel.nearest" -}}
{{- $path := first . }}
{{- $candidates := dict }}
{{- range $other, $_ := last . }}
{{- $walked := list }}
{{- range splitList "." $other }}
{{- $walked = append $walked . }}
{{- $_ := set $candidates (join "." $walked) true }}
{{- end }}
{{- end }}
{{- $best := "" }}
{{- $most := -1 }}
{{- range $other, $_ := $candidates }}
{{- $score := add (include "spegel.likeness" (list $path $other) | int)
      (include "spegel.likeness" (list (splitList "." $path | last) (splitList "." $other | last)) | int) }}
{{- if gt (int $score) (int $most) }}
{{- $most = $score }}
{{- $best = $other }}
{{- end }}
{{- end }}
{{- $best }}
{{- end }}

{{- define "spegel.likeness" -}}
{{- $a := first . | lower }}
{{- $b := last . | lower }}
{{- $shared := 0 }}
{{- range $i := until (sub (len $a) 1 | int) }}
{{- if contains (substr $i (add $i 2 | int) $a) $b }}
{{- $shared = add $shared 1 }}
{{- end }}
{{- end }}
{{- div (mul 2000 $shared) (add (len $a) (len $b)) }}
{{- end }}

{{/* What can only be a mistake is said here, not by a cluster that does not come up. */}}
{{- define "spegel.refuseWrong" -}}
{{- $image := .V.image }}
{{- if regexMatch "(^|/)(spegel-org|xenitab)/spegel$" $image.repository }}
{{- fail (printf "\n\nimage.repository is %s, the image of the Go implementation, which does not know this chart's arguments. Set image.repository, and image.tag or image.digest with it, to this program's image.\n" $image.repository) }}
{{- end }}
{{- if not $image.repository }}
{{- fail "\n\nSet image.repository to where you pushed this program's image (docker build . in its repository).\n" }}
{{- end }}
{{- if and $image.digest (not (hasKey .Values "allowUnknownValues")) }}
{{- fail "\n\nimage.digest is one of the Go chart's computed values: --reuse-values carried it over, and it pins the Go image. Upgrade with --reset-then-reuse-values, or give the values in a file.\n" }}
{{- end }}
{{- $registry := .V.service.registry }}
{{- if not $registry.usePreferSameNodeTrafficDistribution }}
{{- if eq (int $registry.hostPort) (int $registry.nodePort) }}
{{- fail (printf "\n\nservice.registry.hostPort and nodePort are both %d: they are two targets, one for this node's instance and one for any other, and a node has one of each port.\n" (int $registry.hostPort)) }}
{{- end }}
{{- if not (int $registry.hostPort) }}
{{- fail "\n\nservice.registry.hostPort is 0. To do without it set service.registry.usePreferSameNodeTrafficDistribution.\n" }}
{{- end }}
{{- $surge := dig "rollingUpdate" "maxSurge" 0 (.V.updateStrategy | default dict) | toString }}
{{- if not (has $surge (list "0" "0%" "<nil>")) }}
{{- fail (printf "\n\nupdateStrategy.rollingUpdate.maxSurge is %s, but two instances cannot have one node's hostPort at a time. Leave it out, or set service.registry.usePreferSameNodeTrafficDistribution.\n" $surge) }}
{{- end }}
{{- end }}
{{- include "spegel.refuseBootstrap" . }}
{{- if le (int .V.terminationGracePeriodSeconds) 20 }}
{{- fail "\n\nterminationGracePeriodSeconds must be more than 20, the time for which running transfers are let end.\n" }}
{{- end }}
{{- end }}
