# shellcheck shell=bash
# A node: its network namespace, and mount, UTS, IPC and process namespaces that live as long as their first process, so that
# ending that one process ends containerd, kubelet and all pods of the node and takes their mounts along.

node_dir() { echo "$RUNDIR/nodes/node-$1"; }
in_node() { # I COMMAND…: as a process of the node (the child of nsenter)
  local init i=$1
  shift
  init=$(pid_of "node-$i") || failed "node-$i" "is not running"
  nsenter --target "$init" --mount --uts --ipc --net --pid "$@"
}

start_node() { # I
  local dir
  dir=$(node_dir "$1")
  mkdir -p "$dir"/{lib/containerd,lib/kubelet,log,cni,cgroup}
  touch "$dir/kube"
  rm -f "$dir/mounted"
  write_containerd_config "$1" > "$dir/containerd.toml"
  write_cni_config "$1" > "$dir/cni/portolan.conflist"
  write_kubelet_config > "$dir/kubelet.yaml"
  remove_cgroups "$PREFIX/node-$1" # of pods that a killed node had
  make_cgroups "$PREFIX/node-$1"
  # a slave of the host's mounts: what the host unmounts later is not held here, and nothing made here shows there
  spawn_child "node-$1" nsenter --net="/run/netns/$(node_ns "$1")" \
    unshare --mount --uts --ipc --pid --fork --kill-child --propagation slave --mount-proc \
    bash "$HERE/lib/node-init" "node-$1" "$dir" "$KUBE" "$RUNDIR/images/pause" "$PREFIX/node-$1"
  # whoever enters before would see the host's folders, and write there
  wait_for 10 "mounts" "node-$1" test -e "$dir/mounted"
}

start_containerd() { # I
  local i=$1
  node_run "containerd-$i" "$i" containerd --config "$(node_dir "$i")/containerd.toml"
}

start_kubelet() { # I
  local i=$1
  node_run "kubelet-$i" "$i" "$(node_dir "$i")/kube" kubelet --config "$(node_dir "$i")/kubelet.yaml" \
    --kubeconfig "$RUNDIR/node-$i.kubeconfig" --hostname-override "node-$i" \
    --node-ip "$(both "$(node_ip "$i")" "$(node_ip6 "$i")")" --v "${KUBELET_V:-1}"
}

node_run() { # NAME I COMMAND…
  local name=$1 init
  init=$(pid_of "node-$2") || failed "node-$2" "is not running"
  shift 2
  spawn_child "$name" nsenter --target "$init" --mount --uts --ipc --net --pid "$@"
}

containerd_answers() { in_node "$1" ctr version; }
load_image() { # I ARCHIVE
  in_node "$1" ctr --namespace k8s.io images import - < "$2" >> "$LOG/images-$1.log" 2>&1 || failed "images-$1" "did not take $2"
}

bring_node() { # I: everything of a node that needs no API server
  local image
  start_containerd "$1"
  wait_for 20 "answer of containerd" "containerd-$1" containerd_answers "$1"
  for image in "$RUNDIR"/images/*.tar; do load_image "$1" "$image"; done
}

write_containerd_config() { # I
  local snapshotter=overlayfs
  # an overlay cannot lie on an overlay, as in a container
  [ "$(stat -f -c %T "$(node_dir "$1")")" = overlayfs ] && snapshotter=native
  cat <<S
version = 2
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "portolan.test/pause:local"
  # the pods' network namespaces end with the node's mounts
  netns_mounts_under_state_dir = true
  # root without CAP_SYS_RESOURCE may not lower a score
  restrict_oom_score_adj = true
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "/usr/lib/cni"
    conf_dir = "$(node_dir "$1")/cni"
  [plugins."io.containerd.grpc.v1.cri".containerd]
    snapshotter = "$snapshotter"
S
}

write_cni_config() { # I
  local ranges routes interface
  ranges="[{\"subnet\": \"$(node_pods "$1")\"}]" routes='{"dst": "0.0.0.0/0"}'
  if dual; then ranges+=", [{\"subnet\": \"$(node_pods6 "$1")\"}]" routes+=', {"dst": "::/0"}'; fi
  interface='"type": "bridge", "bridge": "cni0", "isGateway": true, "hairpinMode": true'
  # Without br_netfilter an answer between two pods of a node would pass the bridge and miss the node's translation back
  # to the Service's address; with point-to-point links every packet is routed.
  [ -d /proc/sys/net/bridge ] || interface='"type": "ptp"'
  cat <<S
{"cniVersion": "0.4.0", "name": "portolan", "plugins": [
  {$interface, "ipMasq": false,
   "ipam": {"type": "host-local", "dataDir": "/run/cni", "ranges": [$ranges], "routes": [$routes]}},
  {"type": "portmap", "capabilities": {"portMappings": true}}
]}
S
}

write_kubelet_config() {
  cat <<S
apiVersion: kubelet.config.k8s.io/v1beta1
kind: KubeletConfiguration
containerRuntimeEndpoint: unix:///run/containerd/containerd.sock
# nobody but the cluster reaches this namespace; the API server comes without a certificate for exec and logs
authentication: {anonymous: {enabled: true}, webhook: {enabled: false}}
authorization: {mode: AlwaysAllow}
clusterDomain: cluster.local
clusterDNS: ["$CLUSTER_DNS"]
resolvConf: /dev/null
# several kubelets share one machine and its cgroups, of either version
cgroupDriver: cgroupfs
failCgroupV1: false
cgroupsPerQOS: false
enforceNodeAllocatable: []
failSwapOn: false
oomScoreAdj: 0
localStorageCapacityIsolation: false
evictionHard: {memory.available: 10Mi, nodefs.available: 1%, imagefs.available: 1%, nodefs.inodesFree: 1%}
imageGCHighThresholdPercent: 100
imageGCLowThresholdPercent: 99
makeIPTablesUtilChains: false
serializeImagePulls: false
registryPullQPS: 0
maxPods: 250
S
}
