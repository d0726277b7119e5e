# shellcheck shell=bash
# Where a cluster's files and addresses are. The settings of `up` are read back from RUNDIR/settings, so that every script
# knows the cluster by its folder alone.

# two clusters may run at once: every name outside RUNDIR carries this
ID=$(printf %s "$RUNDIR" | sha256sum | cut -c1-6)
PREFIX=portolan-$ID

# what `up` was told; `up` itself does not look at an earlier run
PROFILE=replace DOCKER=own NODES=2
# shellcheck source=/dev/null
if [ -z "${FRESH:-}" ] && [ -r "$RUNDIR/settings" ]; then . "$RUNDIR/settings"; fi

# RUN and LOG are also what ../cluster/lib/process.sh works on
RUN=$RUNDIR/run LOG=$RUNDIR/log
# kind's defaults
SERVICE_CIDR=10.96.0.0/16 POD_CIDR=10.244.0.0/16 CLUSTER_DNS=10.96.0.10

write_settings() {
  local name
  for name in PROFILE DOCKER NODES KUBE KIND; do printf '%s=%q\n' $name "${!name}"; done
  if ! own && [ -n "${DOCKER_HOST:-}" ]; then printf 'export DOCKER_HOST=%q\n' "$DOCKER_HOST"; fi
}

write_env() { # for people and tests, with the names that tests/cluster uses: `. RUNDIR/env`
  local i name FAMILY=ipv4 CP_NS=cp WIRE_NS=wire CP_IP OUTSIDE_IP SERVER_URL
  CP_IP=$(node_ip 1)
  OUTSIDE_IP=$(outside_ip)
  SERVER_URL=https://$CP_IP:6443
  for name in RUNDIR KUBE FAMILY NODES PROFILE CP_NS CP_IP WIRE_NS OUTSIDE_IP SERVER_URL CLUSTER_DNS SERVICE_CIDR POD_CIDR; do
    printf '%s=%q\n' $name "${!name}"
  done
  printf 'export KUBECONFIG=%q PORTOLAN_CLUSTER=%q\nRUN_DIR=%q LOG_DIR=%q\n' "$RUNDIR/kubeconfig" "$RUNDIR" "$RUN" "$LOG"
  for ((i = 1; i <= NODES; i++)); do
    printf 'NODE_%d=%s NODE_NS_%d=node-%d NODE_IP_%d=%s NODE_PODS_%d=%s\n' "$i" "node-$i" "$i" "$i" "$i" "$(node_ip "$i")" "$i" "$(node_pods "$i")"
  done
}
