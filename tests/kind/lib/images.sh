# shellcheck shell=bash
# The images that kubeadm asks for, without a registry: the programs are those of tests/cluster/build and `build coredns`.

image_named() { "$KUBEADM" config images list --kubernetes-version "$VERSION" 2>/dev/null | grep "/$1:"; }

put() { # FILE: a dynamic program of Debian with its libraries
  local library
  mkdir -p "$ROOT$(dirname "$1")"
  cp -L "$DEBIAN$1" "$ROOT$1"
  for library in $(chroot "$DEBIAN" ldd "$1" | grep -o '/[^ ]*'); do
    mkdir -p "$ROOT$(dirname "$library")"
    cp -Ln "$DEBIAN$library" "$ROOT$library"
  done
}

# One image for etcd, the API server, the controllers, the scheduler and kube-proxy, with what kube-proxy calls.
make_kube_image() { # OUT.tar
  local ROOT part name
  ROOT=$(mktemp -d "$WORK/root.XXXXXX")
  mkdir -p "$ROOT"/{bin,tmp,run,usr/bin,usr/sbin,usr/local}
  ln -s ../bin "$ROOT/usr/local/bin" # kubeadm starts kube-proxy from there, the others by name
  cp /bin/busybox "$ROOT/bin/sh"
  cp "$KUBE" "$ROOT/usr/bin/kube"
  for part in etcd kube-apiserver kube-controller-manager kube-scheduler kube-proxy; do
    printf '#!/bin/sh\nexec /usr/bin/kube %s "$@"\n' $part > "$ROOT/usr/bin/$part"
    chmod 755 "$ROOT/usr/bin/$part"
  done
  put /usr/sbin/nft
  put /usr/sbin/xtables-nft-multi
  for name in iptables ip6tables; do
    for part in '' -save -restore; do ln -s xtables-nft-multi "$ROOT/usr/sbin/$name$part"; done
  done
  for name in $(cd "$DEBIAN" && echo usr/lib/*/xtables/*.so); do put "/$name"; done
  "$HERE/../cluster/image" "$(image_named kube-apiserver)" "$1" "$ROOT"
  rm -rf "$ROOT"
}

make_images() { # FOLDER
  make_kube_image "$1/kube.tar"
  cc -Os -static -o "$WORK/pause" "$HERE/../cluster/pause.c"
  "$HERE/../cluster/image" "$(image_named pause)" "$1/pause.tar" --entrypoint /pause "$WORK/pause"
  "$HERE/../cluster/image" "$(image_named coredns)" "$1/coredns.tar" --entrypoint /coredns "$COREDNS:/coredns"
}

# A containerd fills the node's image store, as kind's own build does in its build container.
fill_store() { # ROOT FOLDER
  local name try socket=$WORK/containerd.sock
  mkdir -p "$1/var/lib/containerd" "$WORK/state"
  cat > "$WORK/containerd.toml" <<END
version = 2
root = "$1/var/lib/containerd"
state = "$WORK/state"
disabled_plugins = ["io.containerd.grpc.v1.cri"]
[grpc]
  address = "$socket"
END
  containerd --config "$WORK/containerd.toml" >"$WORK/containerd.log" 2>&1 &
  CONTAINERD=$!
  store() { ctr --address "$socket" --namespace k8s.io images "$@"; }
  for ((try = 0; try < 100; try++)); do store ls -q >/dev/null 2>&1 && break || sleep 0.1; done
  for name in "$2"/*.tar; do store import --no-unpack "$name" >/dev/null; done
  for name in kube-controller-manager kube-scheduler kube-proxy etcd; do
    store tag "$(image_named kube-apiserver)" "$(image_named $name)" >/dev/null
  done
  for name in $(store ls -q); do store label "$name" io.cri-containerd.pinned=pinned io.cri-containerd.image=managed >/dev/null; done
  kill $CONTAINERD
  wait $CONTAINERD || true
  CONTAINERD=
}
