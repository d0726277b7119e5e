# shellcheck shell=bash
# The command line of every program of the cluster, by name. `up` and `restart` both start them here.

parts() { # the names of all that this cluster consists of, in the order in which they start
  local i
  echo etcd apiserver
  for ((i = 1; i <= $(node_count); i++)); do echo "node-$i containerd-$i"; done
  echo controller-manager scheduler
  for ((i = 1; i <= $(node_count); i++)); do echo "kubelet-$i"; done
  for i in controllers dns; do if has $i || in_pods $i; then echo $i; fi; done
  for ((i = 1; i <= $(node_count); i++)); do
    if has proxy || in_pods "proxy-$i"; then echo "proxy-$i"; fi
    if [ "$KUBE_PROXY" = yes ]; then echo "kube-proxy-$i"; fi
  done
}

processes() { # those of them that are started here, not by a kubelet
  local name
  for name in $(parts); do in_pods "$name" || echo "$name"; done
}

start() { # NAME
  local i=${1##*-}
  case $1 in
    etcd) start_etcd ;;
    apiserver) start_apiserver ;;
    controller-manager) start_controller_manager ;;
    scheduler) start_scheduler ;;
    controllers) start_controllers ;;
    dns) start_dns ;;
    node-[0-9]*) start_node "$i" ;;
    containerd-[0-9]*) start_containerd "$i" ;;
    kubelet-[0-9]*) start_kubelet "$i" ;;
    kube-proxy-[0-9]*) start_kube_proxy "$i" ;;
    proxy-[0-9]*) start_proxy "$i" ;;
    *) echo "no part $1; there are:" $(parts) >&2; exit 64 ;;
  esac
}

cp_run() { # NAME COMMAND…: in the control plane's namespace
  local name=$1
  shift
  spawn "$name" nsenter --net="/run/netns/$CP_NS" "$@"
}

start_etcd() {
  cp_run etcd "$KUBE" etcd --data-dir "$RUNDIR/etcd" --unsafe-no-fsync --log-level warn --name "$PREFIX"
}

start_apiserver() {
  local audit=()
  [ "$AUDIT" = no ] || audit=(--audit-policy-file "$HERE/manifests/audit.yaml" --audit-log-path "$LOG/audit.log")
  # node names do not resolve, so the kubelets are reached by address; the plugin is what hardened clusters have; webhooks are
  # reached at their pods, since Service addresses do not work in cp
  cp_run apiserver "$KUBE" kube-apiserver --etcd-servers http://127.0.0.1:2379 \
    --advertise-address "$CP_IP" --secure-port 6443 --cert-dir "$RUNDIR/apiserver" \
    --service-cluster-ip-range "$(both "$SERVICE_CIDR" "$SERVICE_CIDR6")" \
    --service-account-issuer https://kubernetes.default.svc.cluster.local \
    --service-account-key-file "$RUNDIR/service-account.key" --service-account-signing-key-file "$RUNDIR/service-account.key" \
    --token-auth-file "$RUNDIR/tokens.csv" --authorization-mode Node,RBAC --allow-privileged \
    --kubelet-preferred-address-types InternalIP --enable-aggregator-routing \
    --enable-admission-plugins OwnerReferencesPermissionEnforcement "${audit[@]}" ${APISERVER_FLAGS:-}
}

start_controller_manager() {
  local controllers='*'
  [ "$KUBE_CONTROLLERS" = yes ] || controllers+=,-endpoints-controller,-endpointslice-controller,-endpointslice-mirroring-controller
  # the grace period: after an API outage of its usual 50 s every pod would be marked NotReady
  cp_run controller-manager "$KUBE" kube-controller-manager --kubeconfig "$RUNDIR/admin.kubeconfig" --leader-elect=false \
    --controllers "$controllers" --node-monitor-grace-period 5m \
    --root-ca-file "$RUNDIR/apiserver/apiserver.crt" --service-account-private-key-file "$RUNDIR/service-account.key" \
    ${CONTROLLER_MANAGER_FLAGS:-}
}

start_scheduler() {
  cp_run scheduler "$KUBE" kube-scheduler --kubeconfig "$RUNDIR/admin.kubeconfig" --leader-elect=false
}

start_controllers() {
  cp_run controllers "$PORTOLAN_BIN_DIR/portolan-controllers" --kubeconfig "$RUNDIR/portolan-controllers.kubeconfig" \
    --admin-bind-address 127.0.0.1:10260 ${PORTOLAN_CONTROLLERS_FLAGS:-}
}

start_dns() {
  local listen=$CP_IP:53
  if dual; then listen+=,[$CP_IP6]:53; fi
  cp_run dns "$PORTOLAN_BIN_DIR/portolan-dns" --kubeconfig "$RUNDIR/portolan-dns.kubeconfig" --listen "$listen" \
    --admin-bind-address 127.0.0.1:10261 ${PORTOLAN_DNS_FLAGS:-}
}

proxy_run() { # NAME I COMMAND…: in the node's network and with its name, but not in its process namespace
  local name=$1 init
  init=$(pid_of "node-$2") || failed "node-$2" "is not running"
  shift 2
  spawn "$name" nsenter --target "$init" --net --uts "$@"
}

start_proxy() { # I
  proxy_run "proxy-$1" "$1" "$PORTOLAN_BIN_DIR/portolan-proxy" --kubeconfig "$RUNDIR/portolan-proxy.kubeconfig" --node-name "node-$1" \
    --mode "${PORTOLAN_PROXY_MODE:-nftables}" --admin-bind-address 127.0.0.1:10249 ${PORTOLAN_PROXY_FLAGS:-}
}

start_kube_proxy() { # I: the peer, with its own defaults where the namespace allows them
  # a file of its own, as in an image: it shares no memory with the control plane, nor with the other nodes
  local program=$RUNDIR/kube-proxy-$1 part=kube-proxy
  [ -z "${KUBE_PROXY_PROGRAM:-}" ] || part= # that one needs not be told
  [ -e "$program" ] || cp "${KUBE_PROXY_PROGRAM:-$KUBE}" "$program"
  # shellcheck disable=SC2086
  proxy_run "kube-proxy-$1" "$1" "$program" $part --kubeconfig "$RUNDIR/kube-proxy.kubeconfig" --hostname-override "node-$1" \
    --proxy-mode "${KUBE_PROXY_MODE:-nftables}" --cluster-cidr "$(both "$POD_CIDR" "$POD_CIDR6")" --conntrack-max-per-core 0 \
    ${KUBE_PROXY_FLAGS:-}
}
