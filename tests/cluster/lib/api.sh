# shellcheck shell=bash
# Asking the API server without the 0.2 s that kubectl needs to start.

get() { # PATH: the answer's body; fails quietly when there is none
  in_ns "$CP_NS" curl --silent --fail --max-time 5 --cacert "$RUNDIR/apiserver/apiserver.crt" \
    --header "Authorization: Bearer $(head -1 "$RUNDIR/tokens.csv" | cut -d, -f1)" "$SERVER_URL$1"
}

wait_for() { # SECONDS WHAT NAMES COMMAND…: until the command succeeds; fails when one of the named programs ends before
  local deadline=$((SECONDS + $1)) what=$2 names=$3 name
  shift 3
  until "$@" >/dev/null 2>&1; do
    for name in $names; do pid_of "$name" >/dev/null || failed "$name" "ended while $what was waited for"; done
    [ "$SECONDS" -lt "$deadline" ] || failed "${names%% *}" "no $what in time"
    sleep 0.05
  done
}

api_ready() { [ "$(get /readyz)" = ok ]; }
default_account() { get /api/v1/namespaces/default/serviceaccounts/default; }
nodes_ready() {
  [ "$(get /api/v1/nodes | jq '[.items[] | select(any(.status.conditions[]?; .type == "Ready" and .status == "True"))] | length')" = "$NODES" ]
}
portolan_ready() { # NAME: what one of our programs says of itself
  case $1 in
    controllers) in_ns "$CP_NS" curl --silent --fail --max-time 2 http://127.0.0.1:10260/readyz ;;
    dns) in_ns "$CP_NS" curl --silent --fail --max-time 2 http://127.0.0.1:10261/readyz ;;
    proxy-*) in_ns "$(node_ns "${1#proxy-}")" curl --silent --fail --max-time 2 http://127.0.0.1:10249/readyz ;;
  esac
}
