# shellcheck shell=bash
# The Debian packages of a node, as a folder in the cache.

NODE_PACKAGES=(
  systemd systemd-sysv containerd runc containernetworking-plugins
  iptables nftables iproute2 conntrack ipset ethtool socat kmod                          # kubeadm and kubelet call them
  curl ca-certificates jq mount util-linux hostname procps iputils-ping libseccomp2 e2fsprogs # kind's own scripts and people
)

debian_root() { # prints the folder
  local sum out mirror new
  sum=$(printf '%s ' "${NODE_PACKAGES[@]}" | sha256sum | cut -c1-8)
  out=$CACHE/kind-debian-$sum
  if [ ! -d "$out" ]; then
    # where this machine gets its packages from
    mirror=$(apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' 'Codename: bookworm' | head -1)
    [ -n "$mirror" ] || { echo "node-image: apt knows no mirror of Debian 12 (bookworm)" >&2; return 1; }
    new=$(mktemp -d "$out.XXXXXX")
    # debootstrap's mounts (/proc, /sys) stay in a mount namespace of its own
    unshare --mount debootstrap --variant=minbase --include="$(IFS=, && echo "${NODE_PACKAGES[*]}")" bookworm "$new" "$mirror" \
      >"$new.log" 2>&1 || { tail -n 25 "$new.log" >&2; rm -rf "$new" "$new.log"; return 1; }
    rm -rf "$new.log" "$new"/var/cache/apt/archives/*.deb "$new"/var/lib/apt/lists/* "$new"/usr/share/{doc,man,locale}
    chmod 755 "$new"
    mv "$new" "$out"
  fi
  echo "$out"
}
