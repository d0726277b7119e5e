# shellcheck shell=bash
# The wire: a bridge in a namespace of its own, and one veth each to the control plane and to the nodes. Nothing is made in
# the host's namespace, so its addresses, rules and sysctls stay as they are.

in_ns() { # NAMESPACE COMMAND…
  local namespace=$1
  shift
  # not `ip netns exec`: that one mounts /sys anew, which hides the cgroups
  nsenter --net="/run/netns/$namespace" "$@"
}

make_ns() { # NAMESPACE IPV4 IPV6: a namespace on the wire
  local namespace=$1 port=${1#"$PREFIX"-}
  ip netns add "$namespace"
  # before the link, which takes its own settings from `default`; duplicate address detection only costs a second here
  in_ns "$namespace" sysctl -qw net.ipv6.conf.default.accept_dad=0 net.ipv6.conf.all.accept_dad=0 net.ipv6.conf.default.accept_ra=0
  ip -n "$namespace" -batch - <<S
link set lo up
link add eth0 type veth peer name $port netns $WIRE_NS
address add $2/24 dev eth0
link set eth0 up
route add default via $OUTSIDE_IP
S
  if dual; then
    ip -n "$namespace" -batch - <<S
address add $3/64 dev eth0 nodad
route add default via $OUTSIDE_IP6
S
  fi
  ip -n "$WIRE_NS" link set "$port" master bridge up
}

make_network() {
  local i
  ip netns add "$WIRE_NS"
  # the wire only carries frames: no filtering of what the bridge passes, no forwarding of what is sent to the gateway
  in_ns "$WIRE_NS" sysctl -qw net.ipv4.ip_forward=0 net.ipv6.conf.all.forwarding=0 net.ipv6.conf.default.accept_dad=0
  if in_ns "$WIRE_NS" test -d /proc/sys/net/bridge; then
    in_ns "$WIRE_NS" sysctl -qw net.bridge.bridge-nf-call-iptables=0 net.bridge.bridge-nf-call-ip6tables=0
  fi
  ip -n "$WIRE_NS" -batch - <<S
link set lo up
link add bridge type bridge
address add $OUTSIDE_IP/24 dev bridge
link set bridge up
S
  if dual; then ip -n "$WIRE_NS" address add "$OUTSIDE_IP6/64" dev bridge nodad; fi

  make_ns "$CP_NS" "$CP_IP" "$CP_IP6"
  for ((i = 1; i <= $(node_count); i++)); do join_network "$i"; done
}

join_network() { # I: the node's namespace, and what a network plugin of a real cluster does: every pod network is reached through its node
  local other
  make_ns "$(node_ns "$1")" "$(node_ip "$1")" "$(node_ip6 "$1")"
  in_ns "$(node_ns "$1")" sysctl -qw net.ipv4.ip_forward=1 net.ipv6.conf.all.forwarding=1 net.ipv6.conf.default.forwarding=1
  route_pods add "$CP_NS" "$1"
  for ((other = 1; other < $1; other++)); do
    route_pods add "$(node_ns $other)" "$1"
    route_pods add "$(node_ns "$1")" $other
  done
}

leave_network() { # I, the last one
  local other
  ip netns del "$(node_ns "$1")"
  route_pods del "$CP_NS" "$1"
  for ((other = 1; other < $1; other++)); do route_pods del "$(node_ns $other)" "$1"; done
}

route_pods() { # add|del NAMESPACE I
  ip -n "$2" route "$1" "$(node_pods "$3")" via "$(node_ip "$3")"
  if dual; then ip -n "$2" route "$1" "$(node_pods6 "$3")" via "$(node_ip6 "$3")"; fi
}

namespaces() { # those of this cluster that exist
  local path
  for path in "/run/netns/$PREFIX"-*; do
    [ -e "$path" ] && basename "$path" || true
  done
}
