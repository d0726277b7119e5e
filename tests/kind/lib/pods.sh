# shellcheck shell=bash
# The programs of the cluster: containers of pods, found by their container's name in the nodes' containerd.

parts() {
  local i
  echo etcd apiserver controller-manager scheduler controllers dns
  for ((i = 1; i <= NODES; i++)); do echo "proxy-$i"; done
  if [ "$PROFILE" = beside ]; then for ((i = 1; i <= NODES; i++)); do echo "kube-proxy-$i"; done; fi
}

container_of() { # NAME: of its container
  case $1 in
    etcd) echo etcd ;;
    apiserver | controller-manager | scheduler) echo "kube-$1" ;;
    controllers | dns) echo "$1" ;;
    proxy-[1-9] | kube-proxy-[1-9]) echo "${1%-*}" ;;
    *) echo "no part $1; there are:" $(parts) >&2; return 64 ;;
  esac
}
nodes_of() { # NAME: the nodes that it may run on
  case $1 in
    *-[1-9]) echo "${1##*-}" ;;
    controllers | dns) seq "$NODES" ;;
    *) echo 1 ;;
  esac
}
is_static() { case $1 in etcd | apiserver | controller-manager | scheduler) ;; *) return 1 ;; esac; }

containers() { # NAME: one line `NODE CONTAINER PID` for each of its running containers; the id is that in the node
  local container i
  container=$(container_of "$1") || return
  for i in $(nodes_of "$1"); do
    on_node "$i" sh -c '
      ids=$(ctr --namespace k8s.io containers ls --quiet "labels.\"io.kubernetes.container.name\"==$1,labels.\"io.cri-containerd.kind\"==container")
      [ -z "$ids" ] || ctr --namespace k8s.io tasks ls | grep -F "$ids" | grep RUNNING' - "$container" < /dev/null |
      while read -r id pid _; do echo "$i $id $pid"; done || true
  done
}

signal() { # NAME SIGNAL: to all its containers; for signals that end a program, waits until they are gone
  local i id pid running
  running=$(containers "$1") || return
  while read -r i id pid; do
    [ -z "$id" ] || on_node "$i" ctr --namespace k8s.io tasks kill --signal "SIG${2#SIG}" "$id" < /dev/null
  done <<<"$running"
  case $2 in KILL | TERM | INT) ;; *) return ;; esac
  while read -r i id pid; do
    [ -z "$id" ] || on_node "$i" sh -c 'for try in $(seq 300); do [ -d "/proc/$1" ] || exit 0; sleep 0.1; done; exit 1' - "$pid" < /dev/null
  done <<<"$running"
}

# kubelet starts a pod that ended again; of a static one it does so only while its manifest is there.
withhold() { on_node 1 sh -c 'mkdir -p /etc/kubernetes/withheld; [ ! -e "/etc/kubernetes/manifests/$1.yaml" ] || mv "/etc/kubernetes/manifests/$1.yaml" /etc/kubernetes/withheld/' - "$(container_of "$1")"; }
release() { on_node 1 sh -c '[ ! -e "/etc/kubernetes/withheld/$1.yaml" ] || mv "/etc/kubernetes/withheld/$1.yaml" /etc/kubernetes/manifests/' - "$(container_of "$1")"; }

running() { [ -n "$(containers "$1")" ]; }
answers() { "$HERE/kubectl" --dir "$RUNDIR" get --raw /readyz --request-timeout 2s; }
await() { # SECONDS COMMAND…
  local deadline=$((SECONDS + $1))
  until "${@:2}" >/dev/null 2>&1; do
    [ "$SECONDS" -lt "$deadline" ] || { echo "not within $1 s: ${*:2}" >&2; return 1; }
    sleep 0.2
  done
}

start_again() { # NAME
  local selector=app.kubernetes.io/name=portolan,app.kubernetes.io/component=${1%-[1-9]} nodes=() owner
  if is_static "$1"; then
    withhold "$1"
    signal "$1" KILL
    release "$1"
    await 60 running "$1"
    if [ "$1" = apiserver ]; then await 60 answers; fi
    return
  fi
  signal "$1" KILL
  case $1 in *-[1-9]) nodes=(--field-selector "spec.nodeName=$(node_name "${1##*-}")") ;; esac
  case $1 in kube-proxy-*) selector=k8s-app=kube-proxy owner=daemonset/kube-proxy ;; proxy-*) owner=daemonset/portolan-proxy ;; *) owner=deployment/portolan-$1 ;; esac
  # a new pod starts at once; kubelet would let the old one wait longer after each end
  "$HERE/kubectl" --dir "$RUNDIR" --namespace kube-system delete pod --selector "$selector" "${nodes[@]}" --force --grace-period 0 >/dev/null 2>&1
  "$HERE/kubectl" --dir "$RUNDIR" --namespace kube-system rollout status "$owner" --timeout 60s >/dev/null
}
