{{/* The admission webhook, which the controllers' pods serve for every feature that needs one. */}}

{{/* Whether any feature needs it. */}}
{{- define "portolan.webhook" -}}
{{- if and .Values.controllers.enabled (or (.Values.environment).enabled (.Values.pools).enabled) }}yes{{ end -}}
{{- end }}

{{/* Names of the configurations that the leader tells whom to trust, separated by commas; the first one owns the ConfigMaps. */}}
{{- define "portolan.webhookConfigurations" -}}
{{- $names := list -}}
{{- if (.Values.environment).enabled }}{{ $names = append $names "portolan-environment" }}{{ end -}}
{{- if (.Values.pools).enabled }}{{ $names = append $names "portolan-pools" }}{{ end -}}
{{- join "," $names -}}
{{- end }}

{{/*
What the webhooks of all features have in common: (list $ "/path"). There is no caBundle: it is the leader's, and helm, which
does not say it, leaves it alone in upgrades.
*/}}
{{- define "portolan.webhookClient" -}}
{{- $root := index . 0 -}}
clientConfig:
  service: {name: portolan-webhook, namespace: {{ $root.Release.Namespace }}, port: 443, path: {{ index . 1 }}}
admissionReviewVersions: [v1]
matchPolicy: Equivalent
reinvocationPolicy: IfNeeded
timeoutSeconds: {{ $root.Values.webhook.timeoutSeconds }}
# Ignore: a pod without its variables is better than none, and the API server chooses what nobody else does
failurePolicy: {{ $root.Values.webhook.failurePolicy | default "Ignore" }}
{{- end }}

{{/* Namespaces whose objects no webhook is asked about: what Portolan needs itself must come up without it. */}}
{{- define "portolan.webhookNamespaces" -}}
{key: kubernetes.io/metadata.name, operator: NotIn, values: {{ list "kube-system" .Release.Namespace | uniq | toJson }}}
{{- end }}
