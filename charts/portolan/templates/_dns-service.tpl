{{/*
Service kube-dns, as it is in the cluster: absent, ours (of this release), or foreign. Foreign ones stay as they are: the
pods join by label. Ours is rendered with the address it has, since kubelets have told it to every pod.
JSON: {"state": …, "addresses": […]}, where the addresses are what the Service has or shall have.
*/}}
{{- define "portolan.dnsService" -}}
{{- $found := lookup "v1" "Service" "kube-system" "kube-dns" -}}
{{- $dns := .Values.dns -}}
{{- $said := $dns.clusterIPs -}}
{{- if $dns.clusterIP }}{{ $said = list $dns.clusterIP }}{{ end -}}
{{- if $found -}}
{{- $annotations := $found.metadata.annotations | default dict -}}
{{- $owner := printf "%s/%s" (index $annotations "meta.helm.sh/release-namespace") (index $annotations "meta.helm.sh/release-name") -}}
{{- if eq $owner (printf "%s/%s" .Release.Namespace .Release.Name) -}}
{{- dict "state" "ours" "addresses" ($said | default $found.spec.clusterIPs) "has" $found.spec.clusterIPs | toJson -}}
{{- else -}}
{{- dict "state" "foreign" "addresses" $found.spec.clusterIPs "selector" $found.spec.selector | toJson -}}
{{- end -}}
{{- else -}}
{{- dict "state" "absent" "addresses" $said | toJson -}}
{{- end -}}
{{- end }}
