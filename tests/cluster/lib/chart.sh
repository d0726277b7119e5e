# shellcheck shell=bash
# Portolan as pods, installed by its chart. Their processes are seen from here too: each lies in its node's cgroup.

CHECKOUT=$(cd "$HERE/../.." && pwd)

in_pods() { # NAME: is this one of our programs, and does a pod run it?
  [ "$CHART" = yes ] && case $1 in controllers | dns | proxy-[0-9]*) ;; *) return 1 ;; esac
}

prepare_chart() { # what needs the world outside the cluster, or takes long
  "$CHECKOUT/tests/chart/helm" version >/dev/null
  if [ -z "${PORTOLAN_IMAGE:-}" ]; then
    PORTOLAN_IMAGE=$RUNDIR/portolan.tar
    mkdir -p "$RUNDIR"
    "$CHECKOUT/image/build" "$PORTOLAN_IMAGE" >&2
  fi
}

install_chart() {
  local flags
  read -ra flags <<<"${PORTOLAN_CHART_FLAGS:-}"
  "$HERE/chart" --dir "$RUNDIR" "${flags[@]}" > "$LOG/chart.log" 2>&1 && return
  "$HERE/kubectl" --dir "$RUNDIR" get pods --namespace kube-system --output wide >> "$LOG/chart.log" 2>&1
  failed chart "was not installed"
}

pod_pids() { # NAME
  local node='[0-9]*' component=$1 pid
  case $1 in proxy-*) node=${1#proxy-} component=proxy ;; esac
  for pid in $(pgrep --full "^/bin/portolan-$component( |$)"); do
    if grep -qs "/$PREFIX/node-$node/" "/proc/$pid/cgroup"; then echo "$pid"; fi
  done
}

pods_of() { # NAME: its pods' names
  local node=
  case $1 in proxy-*) node=--field-selector=spec.nodeName=node-${1#proxy-} ;; esac
  "$HERE/kubectl" --dir "$RUNDIR" get pods --namespace kube-system --output name $node \
    --selector "app.kubernetes.io/name=portolan,app.kubernetes.io/component=${1%-[0-9]*}"
}

end_pods() { # NAME SIGNAL: kubelet starts them again
  local pid
  for pid in $(pod_pids "$1"); do
    kill -s "$2" "$pid" 2>/dev/null || true
    case $2 in KILL | TERM | INT) gone "$pid" 30 ;; esac
  done
}

running_pods() { # NAME NUMBER
  [ "$(pod_pids "$1" | wc -l)" -ge "$2" ]
}

restart_pods() { # NAME: again, in new pods where kubelet waits longer and longer before it starts a container anew
  local pods number deadline=$((SECONDS + 3))
  pods=$(pods_of "$1")
  number=$(wc -l <<<"$pods")
  end_pods "$1" KILL
  until running_pods "$1" "$number" || [ $SECONDS -ge $deadline ]; do sleep 0.1; done
  # shellcheck disable=SC2086
  running_pods "$1" "$number" || "$HERE/kubectl" --dir "$RUNDIR" delete --namespace kube-system --grace-period=1 --wait=false $pods >/dev/null
  wait_for 60 "process" apiserver running_pods "$1" "$number"
}
