# shellcheck shell=bash
# Each node sees a cgroup of its own as the root of every hierarchy. Otherwise all pods of all nodes would lie in one
# /k8s.io: each kubelet waits three seconds for every container there that its containerd does not know.

cgroup_mounts() { findmnt --noheadings --raw --types cgroup,cgroup2 --output TARGET; }

make_cgroups() { # PATH: in every hierarchy, able to hold containers
  local mount at step file
  for mount in $(cgroup_mounts); do
    at=$mount
    for step in ${1//\// }; do
      # version 2: what a group does not pass on, its children do not have
      if [ -e "$at/cgroup.subtree_control" ]; then
        sed 's/\(^\| \)/\1+/g' "$at/cgroup.controllers" > "$at/cgroup.subtree_control" 2>/dev/null || true
      fi
      mkdir -p "$at/$step"
      # version 1: a new set of processors is empty, and takes no process
      for file in cpuset.cpus cpuset.mems; do
        if [ -e "$at/$step/tasks" ] && [ -e "$at/$file" ]; then cat "$at/$file" > "$at/$step/$file"; fi
      done
      at=$at/$step
    done
  done
}

remove_cgroups() { # PATH
  local mount try
  for mount in $(cgroup_mounts); do
    # the last process of a container may leave its group a moment later
    for ((try = 0; try < 50; try++)); do
      [ -d "$mount/$1" ] || break
      find "$mount/$1" -depth -type d -exec rmdir {} + 2>/dev/null || sleep 0.05
    done
  done
}
