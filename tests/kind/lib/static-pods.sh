# shellcheck shell=bash
# The parts of the control plane. kubelet runs each as long as its manifest is there: without it the part stays away.

withhold() { # NAME
  on_node 1 sh -c 'cd /etc/kubernetes && mkdir -p withheld && if [ -e "manifests/$1.yaml" ]; then mv "manifests/$1.yaml" withheld/; fi' \
    - "$(container_name "$1")" < /dev/null
}

release() { # NAME: with the flags of its variable, where that is set, in place of those of the last time
  local variable=${1//-/_}_FLAGS flags= flag
  variable=${variable^^}
  if [ -n "${!variable+set}" ]; then
    for flag in ${!variable}; do flags+="    - $flag # added"$'\n'; done
    on_node 1 sh -c 'cd /etc/kubernetes/withheld && sed -i "/# added\$/d" "$1.yaml" && sed -i "/^    - $1\$/r /dev/stdin" "$1.yaml"' \
      - "$(container_name "$1")" <<<"${flags%$'\n'}"
  fi
  on_node 1 sh -c 'cd /etc/kubernetes && mv "withheld/$1.yaml" manifests/' - "$(container_name "$1")" < /dev/null
}
