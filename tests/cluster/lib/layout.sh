# shellcheck shell=bash
# Where a cluster's files, namespaces and addresses are. Source it with RUNDIR set; the settings of `up` are read back from
# RUNDIR/settings, so that every script knows the cluster by its folder alone.

# two clusters may run at once: every name outside RUNDIR carries this
ID=$(printf %s "$RUNDIR" | sha256sum | cut -c1-6)
PREFIX=portolan-$ID

# what `up` was told; `up` itself does not look at an earlier run
NODES=2 FAMILY=ipv4 KUBELET=yes PORTOLAN=controllers,dns,proxy KUBE_PROXY=no KUBE_CONTROLLERS=no CHART=no AUDIT=no
# shellcheck source=/dev/null
if [ -z "${FRESH:-}" ] && [ -r "$RUNDIR/settings" ]; then . "$RUNDIR/settings"; fi

RUN=$RUNDIR/run LOG=$RUNDIR/log
CP_NS=$PREFIX-cp WIRE_NS=$PREFIX-wire
SERVER_URL=https://192.168.100.10:6443

# The wire's own address is the world outside the cluster, and every node's default gateway.
OUTSIDE_IP=192.168.100.1 OUTSIDE_IP6=fd00:100::1
CP_IP=192.168.100.10 CP_IP6=fd00:100::10
POD_CIDR=10.244.0.0/16 POD_CIDR6=fd00:244::/48
SERVICE_CIDR=10.96.0.0/16 SERVICE_CIDR6=fd00:96::/112
CLUSTER_DNS=10.96.0.10 CLUSTER_DNS6=fd00:96::a

dual() { [ "$FAMILY" = dual ]; }
has() { case ",$PORTOLAN," in *",$1,"*) ;; *) return 1 ;; esac; } # is this one of our programs wanted?
node_count() { if [ "$KUBELET" = yes ]; then echo "$NODES"; else echo 0; fi; }

node_ns() { echo "$PREFIX-node-$1"; }
node_ip() { echo "192.168.100.$((10 + $1))"; }
node_ip6() { echo "fd00:100::$((10 + $1))"; }
node_pods() { echo "10.244.$1.0/24"; }
node_pods6() { echo "fd00:244:0:$1::/64"; }
both() { if dual; then echo "$1,$2"; else echo "$1"; fi; } # the list of both families' values, or the first alone

# What `restart` may be given anew in its environment, and otherwise remembers from `up`.
REMEMBERED=(PORTOLAN_BIN_DIR PORTOLAN_CONTROLLERS_FLAGS PORTOLAN_DNS_FLAGS PORTOLAN_PROXY_FLAGS PORTOLAN_PROXY_MODE
  APISERVER_FLAGS CONTROLLER_MANAGER_FLAGS KUBE_PROXY_FLAGS KUBE_PROXY_MODE KUBE_PROXY_PROGRAM KUBELET_V)

write_settings() {
  local name
  for name in NODES FAMILY KUBELET PORTOLAN KUBE_PROXY KUBE_CONTROLLERS CHART AUDIT KUBE; do printf '%s=%q\n' $name "${!name}"; done
  for name in "${REMEMBERED[@]}"; do
    [ -z "${!name:-}" ] || printf ': "${%s=%s}"\n' "$name" "$(sed 's/["\\$`]/\\&/g' <<<"${!name}")"
  done
}

write_env() { # for people and tests: `. RUNDIR/env`
  local i name
  for name in RUNDIR KUBE FAMILY NODES CP_NS CP_IP WIRE_NS OUTSIDE_IP SERVER_URL CLUSTER_DNS SERVICE_CIDR POD_CIDR; do
    printf '%s=%q\n' $name "${!name}"
  done
  if dual; then
    for name in CP_IP6 OUTSIDE_IP6 CLUSTER_DNS6 SERVICE_CIDR6 POD_CIDR6; do printf '%s=%q\n' $name "${!name}"; done
  fi
  printf 'export KUBECONFIG=%q PORTOLAN_CLUSTER=%q\nRUN_DIR=%q LOG_DIR=%q\n' "$RUNDIR/kubeconfig" "$RUNDIR" "$RUN" "$LOG"
  for ((i = 1; i <= $(node_count); i++)); do
    printf 'NODE_%d=node-%d NODE_NS_%d=%s NODE_IP_%d=%s NODE_PODS_%d=%s\n' "$i" "$i" "$i" "$(node_ns "$i")" "$i" "$(node_ip "$i")" "$i" "$(node_pods "$i")"
    if dual; then printf 'NODE_IP6_%d=%s NODE_PODS6_%d=%s\n' "$i" "$(node_ip6 "$i")" "$i" "$(node_pods6 "$i")"; fi
  done
}
