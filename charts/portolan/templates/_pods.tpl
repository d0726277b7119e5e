{{/* What pods of more than one part have in common. */}}

{{- define "portolan.images" -}}
image: {{ include "portolan.image" . }}
imagePullPolicy: {{ .Values.image.pullPolicy }}
{{- end }}

{{/* Security of a container that needs nothing of the machine. */}}
{{- define "portolan.restricted" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities: {drop: [ALL]}
{{- end }}

{{/*
Where a pod shows its health: (list $ "part" port). Kubelets ask at the pod's first address, whose family is that of the cluster's
first range of Services. IPv6's wildcard stands for both families, but nodes whose kernel has no IPv6 do not know it.
*/}}
{{- define "portolan.adminBindAddress" -}}
{{- $root := index . 0 -}}
{{- $port := index . 2 -}}
{{- $dns := $root.Values.dns -}}
{{- with index $root.Values (index . 1) "adminBindAddress" }}{{ . }}{{ else -}}
{{- $said := compact (concat (list $dns.clusterIP) $dns.clusterIPs) -}}
{{- $first := lookup "v1" "Service" "default" "kubernetes" | dig "spec" "clusterIPs" $said | join "," -}}
{{ regexMatch "^[^,]*:" $first | ternary "[::]" "0.0.0.0" }}:{{ $port }}
{{- end }}
{{- end }}

{{/* Probes against an admin address: (list "IP:PORT" host), where an empty host is the pod's address. */}}
{{- define "portolan.probes" -}}
{{- $port := regexFind "[0-9]+$" (index . 0) -}}
{{- $host := index . 1 -}}
startupProbe:
  httpGet: {path: /livez, port: {{ $port }}{{ with $host }}, host: {{ . | quote }}{{ end }}}
  periodSeconds: 1
  failureThreshold: 60
livenessProbe:
  httpGet: {path: /livez, port: {{ $port }}{{ with $host }}, host: {{ . | quote }}{{ end }}}
  periodSeconds: 10
  timeoutSeconds: 5
  failureThreshold: 3
readinessProbe:
  httpGet: {path: /readyz, port: {{ $port }}{{ with $host }}, host: {{ . | quote }}{{ end }}}
  periodSeconds: 2
  timeoutSeconds: 2
  failureThreshold: 3
{{- end }}

{{/*
Where the pods of a part may run: (list $ "part" values).

Replicas spread over nodes, and over zones where there are some, but rather together than not at all. Zones are not a
second constraint of the spread, since nodes without a zone would then be left out of the first one too.
*/}}
{{- define "portolan.placement" -}}
{{- $values := index . 2 -}}
{{- $labels := include "portolan.selectorLabels" . -}}
priorityClassName: {{ $values.priorityClassName | quote }}
{{- with $values.nodeSelector }}
nodeSelector:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with $values.tolerations }}
tolerations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- if hasKey $values "replicas" }}
topologySpreadConstraints:
  - maxSkew: 1
    topologyKey: kubernetes.io/hostname
    whenUnsatisfiable: ScheduleAnyway
    labelSelector:
      matchLabels:
        {{- $labels | nindent 8 }}
    matchLabelKeys: [pod-template-hash]
affinity:
  {{- with $values.affinity }}
  {{- toYaml . | nindent 2 }}
  {{- else }}
  podAntiAffinity:
    preferredDuringSchedulingIgnoredDuringExecution:
      - weight: 100
        podAffinityTerm:
          topologyKey: topology.kubernetes.io/zone
          labelSelector:
            matchLabels:
              {{- $labels | nindent 14 }}
  {{- end }}
{{- end }}
{{- end }}

{{/* A ServiceAccount and the binding of the part's ClusterRole to it. */}}
{{- define "portolan.account" -}}
{{- $root := index . 0 -}}
{{- $name := printf "portolan-%s" (index . 1) -}}
apiVersion: v1
kind: ServiceAccount
metadata:
  name: {{ $name }}
  namespace: {{ $root.Release.Namespace }}
  labels:
    {{- include "portolan.labels" . | nindent 4 }}
automountServiceAccountToken: false
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata:
  name: {{ $name }}
  labels:
    {{- include "portolan.labels" . | nindent 4 }}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: {{ $name }}}
subjects:
  - {kind: ServiceAccount, name: {{ $name }}, namespace: {{ $root.Release.Namespace }}}
{{- end }}
