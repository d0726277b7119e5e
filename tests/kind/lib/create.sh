# shellcheck shell=bash
# Making the cluster: the image of its nodes, kind itself, and what is left to do until the nodes are Ready.

choose_node_image() { # [IMAGE]: sets NODE_IMAGE
  local version archive
  NODE_IMAGE=$1
  [ -z "$NODE_IMAGE" ] || return 0
  version=$("$KUBE" kubectl version --client --output json | jq -r .clientVersion.gitVersion)
  if ! own; then
    NODE_IMAGE=kindest/node:$version
    timeout 600 docker pull --quiet "$NODE_IMAGE" >"$LOG/pull.log" 2>&1 && return
  fi
  archive=$("$HERE/node-image")
  NODE_IMAGE=portolan.test/kind-node:$(basename "$archive" .tar | sed 's/^kind-node-//')
  docker image inspect "$NODE_IMAGE" >/dev/null 2>&1 ||
    docker import --change 'ENTRYPOINT ["/usr/local/bin/entrypoint", "/sbin/init"]' --change 'ENV container=docker' \
      "$archive" "$NODE_IMAGE" >"$LOG/import.log" 2>&1 || failed import "did not take $archive"
}
local_image() { case $NODE_IMAGE in portolan.test/*) ;; *) return 1 ;; esac; }

create_cluster() {
  cp "$HERE/config/$PROFILE.yaml" "$RUNDIR/kind.yaml"
  # kind's own network plugin is not among the locally made images
  if local_image; then sed -i 's/^networking:/&\n  disableDefaultCNI: true/' "$RUNDIR/kind.yaml"; fi
  on_wire "$KIND" create cluster --name "$PREFIX" --image "$NODE_IMAGE" --config "$RUNDIR/kind.yaml" --kubeconfig "$RUNDIR/kubeconfig" \
    --retain >"$LOG/kind.log" 2>&1 || failed kind "made no cluster"
  # the address that the nodes use holds in all of their networks; kind wrote a port of 127.0.0.1
  if own; then "$KUBE" kubectl --kubeconfig "$RUNDIR/kubeconfig" config set-cluster "kind-$PREFIX" --server "https://$(node_ip 1):6443" >/dev/null; fi
  if local_image; then connect_pods; fi
}

wait_for_nodes() {
  local what=(nodes --all --for=condition=Ready)
  "$HERE/kubectl" --dir "$RUNDIR" wait "${what[@]}" --timeout=120s >"$LOG/ready.log" 2>&1 || failed ready "the nodes are not Ready"
  [ "$PROFILE" = replace ] || "$HERE/kubectl" --dir "$RUNDIR" --namespace kube-system rollout status deployment/coredns --timeout=120s \
    >>"$LOG/ready.log" 2>&1 || failed ready "CoreDNS is not ready"
}

load_image() { # ARCHIVE
  on_wire "$KIND" load image-archive --name "$PREFIX" "$1" >>"$LOG/load.log" 2>&1 || failed load "the nodes did not take $1"
}
