# shellcheck shell=bash
# Taking a cluster away, whether it was ended properly or its `up` was killed at any point.

clean_up() {
  local name file pid try
  # what writes pid files is known by them; -9, as nothing of its state is kept
  for file in "$RUN"/*.pid; do
    [ -e "$file" ] || continue
    name=$(basename "$file" .pid)
    if pid=$(pid_of "$name"); then kill -s KILL "$pid" 2>/dev/null || true; fi
  done
  # and what was started just before its pid file would have been written is still in one of the namespaces
  for ((try = 0; try < 200; try++)); do
    local left=()
    for name in $(namespaces); do mapfile -t -O ${#left[@]} left < <(ip netns pids "$name" 2>/dev/null || true); done
    [ ${#left[@]} -gt 0 ] || break
    # one that waits in a node's namespaces for its own end cannot be hurried; the others can
    kill -s KILL "${left[@]}" 2>/dev/null || true
    sleep 0.05
  done
  for name in $(namespaces); do ip netns del "$name"; done

  remove_cgroups "$PREFIX"
  # nothing is mounted here outside the nodes' own namespaces, but an rm must not find out otherwise
  if grep -q " $RUNDIR/" /proc/self/mounts; then echo "$RUNDIR holds mounts, nothing was removed" >&2; exit 1; fi
  rm -rf "$RUNDIR"/{etcd,apiserver,nodes,images,run,env,settings,tokens.csv,service-account.key,objects.yaml,kubeconfig} "$RUNDIR"/*.kubeconfig
}
