# shellcheck shell=bash
# Portolan's image and chart.

install_portolan() {
  local archive=${PORTOLAN_IMAGE:-} settings=(--set "profile=$PROFILE")
  if [ -z "$archive" ]; then
    archive=$RUNDIR/images/portolan.tar
    "$HERE/../../image/build" "$archive" >"$LOG/image.log" 2>&1 || failed image "was not built"
  fi
  load_image "$archive"
  # in place of kube-proxy nothing leads to the API server's Service address until Portolan's own proxy runs
  [ "$PROFILE" = beside ] || settings+=(--set "apiServer.host=$(node_ip 1),dns.clusterIP=$CLUSTER_DNS")
  # shellcheck disable=SC2086
  KUBECONFIG=$RUNDIR/kubeconfig on_wire "$HERE/../chart/helm" upgrade --install portolan "$HERE/../../charts/portolan" --namespace kube-system \
    "${settings[@]}" ${PORTOLAN_CHART_FLAGS:-} --wait --timeout 3m >"$LOG/helm.log" 2>&1 || failed helm "did not install the chart"
}
