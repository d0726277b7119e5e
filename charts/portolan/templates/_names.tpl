{{/* Labels and the image: what every object of the chart has in common. Each part is called with (list $ "part"). */}}

{{- define "portolan.selectorLabels" -}}
{{- $root := index . 0 -}}
app.kubernetes.io/name: portolan
app.kubernetes.io/instance: {{ $root.Release.Name }}
app.kubernetes.io/component: {{ index . 1 }}
{{- end }}

{{/* Without a version: pods are replaced only when something changes for them. */}}
{{- define "portolan.podLabels" -}}
{{ include "portolan.selectorLabels" . }}
{{- with (index . 0).Values.commonLabels }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{- define "portolan.labels" -}}
{{- $root := index . 0 -}}
{{ include "portolan.selectorLabels" . }}
app.kubernetes.io/version: {{ $root.Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ $root.Release.Service }}
helm.sh/chart: {{ printf "%s-%s" $root.Chart.Name $root.Chart.Version | replace "+" "_" }}
{{- with $root.Values.commonLabels }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{- define "portolan.image" -}}
{{- with .Values.image -}}
{{ .repository }}{{ if .digest }}@{{ .digest }}{{ else }}:{{ .tag | default $.Chart.AppVersion }}{{ end }}
{{- end -}}
{{- end }}

{{/* Replaces the list of environment variables by which a program in a pod finds the API server. */}}
{{- define "portolan.apiServerEnv" -}}
{{- with .Values.apiServer.host -}}
- {name: KUBERNETES_SERVICE_HOST, value: {{ . | quote }}}
- {name: KUBERNETES_SERVICE_PORT, value: {{ $.Values.apiServer.port | quote }}}
{{- end }}
{{- end }}

{{/* Whether the controllers keep endpoints, or are to compare them. Values of an earlier release do not say it. */}}
{{- define "portolan.endpoints" -}}
{{- if ne (toString .Values.controllers.endpoints) "false" }}yes{{ end -}}
{{- end }}

{{/* Whether the controllers only compare: said by the values, else by the profile. */}}
{{- define "portolan.compareOnly" -}}
{{- $said := .Values.controllers.compareOnly -}}
{{- if not (include "portolan.endpoints" .) }}{{ else if kindIs "bool" $said }}{{ if $said }}yes{{ end }}{{ else if eq .Values.profile "beside" }}yes{{ end -}}
{{- end }}

{{/* Controllers that run because a value asks for them, beside those of endpoints. */}}
{{- define "portolan.controllers" -}}
{{- $names := list }}
{{- if .Values.controllers.allocation }}{{ $names = append $names "allocation" }}{{ end }}
{{- if .Values.controllers.serviceCIDR }}{{ $names = append $names "service-cidr" }}{{ end }}
{{- if (.Values.controllers.loadBalancer).provider }}{{ $names = append $names "loadbalancer" }}{{ end }}
{{- if (.Values.environment).enabled }}{{ $names = append $names "environment" }}{{ end }}
{{- if (.Values.pools).enabled }}{{ $names = append $names "pools" }}{{ end }}
{{- join "," $names }}
{{- end }}

{{/* Whether the definitions of custom resources come with the release: said by the values, else where something reads such resources. */}}
{{- define "portolan.customResources" -}}
{{- $said := (.Values.customResources).install -}}
{{- $read := or (eq (toString (.Values.controllers.loadBalancer).provider) "pool") (.Values.proxy.announce).enabled (.Values.pools).enabled -}}
{{- if kindIs "bool" $said }}{{ if $said }}yes{{ end }}{{ else if $read }}yes{{ end -}}
{{- end }}
