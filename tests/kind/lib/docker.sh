# shellcheck shell=bash
# The Docker that the nodes run in. Our own one lives in network, mount, process and IPC namespaces, which end with their first
# process: its bridge, its rules, the nodes and all mounts go with it, and the host's network never sees any of them.

own() { [ "$DOCKER" = own ]; }
SOCKET=unix://$RUNDIR/docker.sock
docker() { if own; then command docker --host "$SOCKET" "$@"; else command docker "$@"; fi; }

on_wire() { # COMMAND…: in the network that the nodes' bridge lies in
  local pid
  if own; then
    pid=$(pid_of docker) || { echo "no cluster in $RUNDIR (start one with up)" >&2; return 1; }
    DOCKER_HOST=$SOCKET nsenter --net="/proc/$pid/ns/net" "$@"
  else
    "$@"
  fi
}

start_docker() {
  mkdir -p "$RUNDIR/docker"
  rm -f "$RUNDIR/docker.sock"
  make_cgroups "$PREFIX"
  # a slave of the host's mounts: what the host unmounts later is not held here, and nothing made here shows there
  spawn_child docker unshare --net --mount --ipc --pid --fork --kill-child --propagation slave --mount-proc \
    bash "$HERE/lib/docker-init" "$RUNDIR" "$PREFIX" "$HERE/lib/runc"
  local deadline=$((SECONDS + 30))
  until docker version >/dev/null 2>&1; do
    pid_of docker >/dev/null || failed docker ended
    [ "$SECONDS" -lt "$deadline" ] || failed docker "does not answer"
    sleep 0.1
  done
}

clean_up() { # takes the cluster away, whatever its `up` has come to
  local pid
  if own; then
    end docker
    # an `up` that was killed may not have noted the id yet
    for pid in $(pgrep --full "docker-init $RUNDIR $PREFIX "); do kill -s KILL "$pid" 2>/dev/null && gone "$pid" || true; done
    remove_cgroups "$PREFIX"
  elif docker version >/dev/null 2>&1; then
    "$("$HERE/build" kind)" delete cluster --name "$PREFIX" --kubeconfig "$RUNDIR/kubeconfig" >/dev/null 2>&1 || true
  fi
  # nothing is mounted here outside of Docker's own namespace, but an rm must not find out otherwise
  if grep -q " $RUNDIR/" /proc/self/mounts; then echo "$RUNDIR holds mounts, nothing was removed" >&2; exit 1; fi
  rm -rf "$RUNDIR"/{docker,docker.sock,images,run,kubeconfig,kind.yaml,env,settings}
}
