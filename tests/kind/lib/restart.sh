# shellcheck shell=bash
# Starting a program again, without the pause that kubelet makes before it starts a container that ended a moment ago.

answers() { "$HERE/kubectl" --dir "$RUNDIR" get --raw /readyz --request-timeout 2s; }
await() { # SECONDS COMMAND…
  local deadline=$((SECONDS + $1))
  until "${@:2}" >/dev/null 2>&1; do
    [ "$SECONDS" -lt "$deadline" ] || { echo "not within $1 s: ${*:2}" >&2; return 1; }
    sleep 0.2
  done
}

start_again() { # NAME
  local pods owner
  if is_static "$1"; then
    withhold "$1"
    signal "$1" KILL
    release "$1"
    await 60 running "$1"
    if [ "$1" = apiserver ]; then await 60 answers; fi
    return
  fi
  signal "$1" KILL
  case $1 in
    kube-proxy-*) owner=daemonset/kube-proxy ;;
    proxy-*) owner=daemonset/portolan-proxy ;;
    *) owner=deployment/portolan-$1 ;;
  esac
  read -ra pods <<<"$(pods_of "$1" | xargs)"
  # a new pod starts at once
  "$HERE/kubectl" --dir "$RUNDIR" delete pod "${pods[@]}" --grace-period 1 >/dev/null
  "$HERE/kubectl" --dir "$RUNDIR" --namespace kube-system rollout status "$owner" --timeout 60s >/dev/null
}
