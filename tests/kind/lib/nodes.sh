# shellcheck shell=bash
# The nodes: node-1 is the control plane, which also runs pods, and node-2 the worker. Docker knows them by kind's names.

container() { if [ "$1" = 1 ]; then echo "$PREFIX-control-plane"; else echo "$PREFIX-worker"; fi; } # of node I
node_ip() { docker inspect --format '{{(index .NetworkSettings.Networks "kind").IPAddress}}' "$(container "$1")"; }
node_pods() { on_node 1 kubectl --kubeconfig /etc/kubernetes/admin.conf get node "node-$1" --output 'jsonpath={.spec.podCIDR}'; }
outside_ip() { docker network inspect --format '{{range .IPAM.Config}}{{println .Gateway}}{{end}}' kind | grep -m 1 '\.'; }

on_node() { # I COMMAND…: as a process of the node
  docker exec --interactive "$(container "$1")" "${@:2}"
}

enter_node() { # I COMMAND…: in the node's network, otherwise on this machine
  local network
  if own; then
    network=/proc/$(pid_of docker)/root$(docker inspect --format '{{.NetworkSettings.SandboxKey}}' "$(container "$1")")
  else
    network=/proc/$(docker inspect --format '{{.State.Pid}}' "$(container "$1")")/ns/net
  fi
  nsenter --net="$network" "${@:2}"
}

connect_pods() { # what a network plugin does: kind's own is not among the locally made images
  local i j pods
  for ((i = 1; i <= NODES; i++)); do
    pods=$(node_pods "$i")
    on_node "$i" sh -c 'cat > /etc/cni/net.d/.new && mv /etc/cni/net.d/.new /etc/cni/net.d/10-portolan.conflist' <<END
{"cniVersion": "0.3.1", "name": "portolan", "plugins": [
  {"type": "ptp", "ipMasq": false, "ipam": {"type": "host-local", "dataDir": "/run/cni-ipam-state",
   "ranges": [[{"subnet": "$pods"}]], "routes": [{"dst": "0.0.0.0/0"}]}},
  {"type": "portmap", "capabilities": {"portMappings": true}}
]}
END
    for ((j = 1; j <= NODES; j++)); do
      [ "$j" = "$i" ] || on_node "$j" ip route replace "$pods" via "$(node_ip "$i")" < /dev/null
    done
  done
}

save_logs() { # what kubelet, containerd and all containers of the nodes said, since it goes with them
  local i
  for ((i = 1; i <= NODES; i++)); do
    on_node "$i" sh -c 'journalctl --no-pager --unit kubelet --unit containerd; tail -n 200 /var/log/pods/*/*/*.log' \
      < /dev/null >"$LOG/node-$i.log" 2>&1 || true
  done
}
