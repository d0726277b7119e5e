# shellcheck shell=bash
# The objects that a cluster starts with.

make_objects() {
  local i
  {
    cat "$HERE/manifests/portolan.yaml"
    if has dns; then write_dns_service; fi
    for ((i = 1; i <= $(node_count); i++)); do write_node "$i"; done
  } > "$RUNDIR/objects.yaml"
  # the server makes its own namespaces a moment after it is ready
  wait_for 20 "namespace kube-system" apiserver get /api/v1/namespaces/kube-system
  "$HERE/kubectl" --dir "$RUNDIR" create -f "$RUNDIR/objects.yaml" > "$LOG/objects.log" 2>&1 || failed objects "were not made"
}

write_node() { # I: with its pod network, which kubelet leaves as it is when it registers
  cat <<S
---
apiVersion: v1
kind: Node
metadata: {name: node-$1, labels: {kubernetes.io/hostname: node-$1}}
spec: {podCIDR: $(node_pods "$1"), podCIDRs: [$(both "\"$(node_pods "$1")\"" "\"$(node_pods6 "$1")\"")]}
S
}

# As a process portolan-dns runs in the control plane's namespace: a Service without a selector and slices written by hand
# lead to it, so that look-ups take the way through the proxy as they do anywhere.
write_dns_service() {
  cat <<S
---
apiVersion: v1
kind: Service
metadata: {name: kube-dns, namespace: kube-system, labels: {k8s-app: kube-dns, kubernetes.io/name: CoreDNS}}
spec:
  clusterIP: $CLUSTER_DNS
  clusterIPs: [$(both "\"$CLUSTER_DNS\"" "\"$CLUSTER_DNS6\"")]
  ipFamilyPolicy: $(if dual; then echo RequireDualStack; else echo SingleStack; fi)
  ports: [{name: dns, port: 53, protocol: UDP}, {name: dns-tcp, port: 53, protocol: TCP}]
S
  write_dns_slice IPv4 "$CP_IP"
  if dual; then write_dns_slice IPv6 "$CP_IP6"; fi
}

write_dns_slice() { # FAMILY ADDRESS
  cat <<S
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata:
  name: kube-dns-${1,,}
  namespace: kube-system
  labels: {kubernetes.io/service-name: kube-dns, endpointslice.kubernetes.io/managed-by: tests.portolan.dev, k8s-app: kube-dns}
addressType: $1
endpoints: [{addresses: ["$2"], conditions: {ready: true, serving: true, terminating: false}}]
ports: [{name: dns, port: 53, protocol: UDP}, {name: dns-tcp, port: 53, protocol: TCP}]
S
}
