{{/*
Service kube-dns, as it is in the cluster: absent, ours (of this release), or foreign. Foreign ones stay as they are: the
pods join by label. Ours is rendered with the address it has, since kubelets have told it to every pod.
JSON: {"state": …, "addresses": […], "make": …}: the addresses are those that the Service has or shall have, and make tells
whether it is one of the chart's objects. helm sees nothing of the cluster in `helm template` and --dry-run=client, which a
namespace that every cluster has tells ("seen"): there "absent" may be wrong, so that beside upstream's none is made then.
*/}}
{{- define "portolan.dnsService" -}}
{{- $found := lookup "v1" "Service" "kube-system" "kube-dns" -}}
{{- $dns := .Values.dns -}}
{{- /* not there at all with --reuse-values of a release from before this value */ -}}
{{- $create := dig "service" "create" nil $dns -}}
{{- $told := kindIs "bool" $create -}}
{{- $said := $dns.clusterIPs -}}
{{- if $dns.clusterIP }}{{ $said = list $dns.clusterIP }}{{ end -}}
{{- if $found -}}
{{- $annotations := $found.metadata.annotations | default dict -}}
{{- $owner := printf "%s/%s" (index $annotations "meta.helm.sh/release-namespace") (index $annotations "meta.helm.sh/release-name") -}}
{{- if eq $owner (printf "%s/%s" .Release.Namespace .Release.Name) -}}
{{- /* It stays, with dns.enabled or without: other servers may have joined it. */ -}}
{{- dict "state" "ours" "addresses" ($said | default $found.spec.clusterIPs) "has" $found.spec.clusterIPs "make" (ternary $create true $told) | toJson -}}
{{- else -}}
{{- dict "state" "foreign" "addresses" $found.spec.clusterIPs "annotations" $annotations "spec" $found.spec "make" false | toJson -}}
{{- end -}}
{{- else -}}
{{- $make := and $dns.enabled (ternary $create (eq .Values.profile "replace") $told) -}}
{{- $seen := not (empty (lookup "v1" "Namespace" "" "kube-system")) -}}
{{- dict "state" "absent" "addresses" $said "make" $make "seen" $seen | toJson -}}
{{- end -}}
{{- end }}
