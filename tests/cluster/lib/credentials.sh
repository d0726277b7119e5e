# shellcheck shell=bash
# Users with fixed tokens, one kubeconfig each. Portolan's programs are users of their own with a role (manifests/portolan.yaml),
# so that audit logs and refused requests name the program.

make_credentials() {
  local i
  openssl genrsa -out "$RUNDIR/service-account.key" 2048 2>/dev/null
  : > "$RUNDIR/tokens.csv"
  user admin admin system:masters
  # kube-controller-manager and kube-scheduler are not what is tested here
  for i in controllers dns proxy; do user "portolan-$i" "portolan-$i" portolan; done
  user kube-proxy system:kube-proxy ""
  # one more than there are: the server reads the tokens when it starts, and `node add` comes later
  for ((i = 1; i <= $(node_count) + 1; i++)); do user "node-$i" "system:node:node-$i" system:nodes; done
  ln -sf admin.kubeconfig "$RUNDIR/kubeconfig"
}

user() { # FILE USER GROUP
  local token
  token=$(od -An -N16 -tx1 /dev/urandom | tr -d ' \n')
  echo "$token,$2,$2,\"$3\"" >> "$RUNDIR/tokens.csv"
  # the server makes its certificate itself at its first start; the file then also holds the authority that signed it
  cat > "$RUNDIR/$1.kubeconfig" <<S
apiVersion: v1
kind: Config
current-context: cluster
contexts: [{name: cluster, context: {cluster: cluster, user: user}}]
clusters: [{name: cluster, cluster: {server: "$SERVER_URL", certificate-authority: "$RUNDIR/apiserver/apiserver.crt"}}]
users: [{name: user, user: {token: "$token"}}]
S
}
