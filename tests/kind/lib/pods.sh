# shellcheck shell=bash
# The programs of the cluster: containers of pods, found by their container's name in the nodes' containerd.

parts() {
  local i
  echo etcd apiserver controller-manager scheduler controllers dns
  for ((i = 1; i <= NODES; i++)); do echo "proxy-$i"; done
  if [ "$PROFILE" = beside ]; then for ((i = 1; i <= NODES; i++)); do echo "kube-proxy-$i"; done; fi
}
known() { # NAME: or says which there are
  [[ " $(parts | xargs) " = *" $1 "* ]] || { echo "no part $1; there are:" $(parts) >&2; exit 64; }
}
is_static() { case $1 in etcd | apiserver | controller-manager | scheduler) ;; *) return 1 ;; esac; }

container_name() {
  case $1 in
    apiserver | controller-manager | scheduler) echo "kube-$1" ;;
    *) echo "${1%-[1-9]}" ;;
  esac
}
nodes_of() { # NAME: the nodes that it may run on
  case $1 in
    *-[1-9]) echo "${1##*-}" ;;
    controllers | dns) seq "$NODES" ;;
    *) echo 1 ;;
  esac
}
pods_of() { # NAME: flags for kubectl that select its pods
  case $1 in
    kube-proxy-*) echo "--namespace kube-system --selector k8s-app=kube-proxy" ;;
    *) echo "--namespace kube-system --selector app.kubernetes.io/name=portolan,app.kubernetes.io/component=$(container_name "$1")" ;;
  esac
  case $1 in *-[1-9]) echo "--field-selector spec.nodeName=node-${1##*-}" ;; esac
}

containers() { # NAME: one line `NODE CONTAINER PID` for each of its running containers; the id is that in the node
  local i id pid
  for i in $(nodes_of "$1"); do
    on_node "$i" sh -c '
      ids=$(ctr --namespace k8s.io containers ls --quiet "labels.\"io.kubernetes.container.name\"==$1,labels.\"io.cri-containerd.kind\"==container")
      [ -z "$ids" ] || ctr --namespace k8s.io tasks ls | grep -F "$ids" | grep RUNNING' - "$(container_name "$1")" < /dev/null |
      while read -r id pid _; do echo "$i $id $pid"; done || true
  done
}
running() { [ -n "$(containers "$1")" ]; }

signal() { # NAME SIGNAL: to all its containers; for signals that end a program, waits until they are gone
  local i id pid running
  running=$(containers "$1")
  while read -r i id pid; do
    # unless it has ended meanwhile
    [ -z "$id" ] || on_node "$i" ctr --namespace k8s.io tasks kill --signal "SIG${2#SIG}" "$id" < /dev/null ||
      on_node "$i" test ! -d "/proc/$pid" < /dev/null
  done <<<"$running"
  case $2 in KILL | TERM | INT) ;; *) return ;; esac
  while read -r i id pid; do
    [ -z "$id" ] || on_node "$i" sh -c 'for try in $(seq 300); do [ -d "/proc/$1" ] || exit 0; sleep 0.1; done; exit 1' - "$pid" < /dev/null
  done <<<"$running"
}
