# shellcheck shell=bash
# The node's root: Debian, the files of kind's base image (its Go module brings them), Kubernetes and the images.

make_node_root() { # ROOT IMAGES
  local r=$1 kind name
  cp -a "$DEBIAN/." "$r/"
  kind=$(cd "$HERE/tools" && GOFLAGS=-mod=readonly go list -m -f '{{.Dir}}' sigs.k8s.io/kind)
  cp -r --no-preserve=mode "$kind"/images/base/files/{etc,kind,usr} "$r/"
  chmod 755 "$r"/usr/local/bin/* "$r"/kind "$r"/kind/bin "$r"/kind/bin/*

  # from here to the next blank line as images/base/Dockerfile of kind does
  find "$r/lib/systemd/system/sysinit.target.wants/" -name systemd-tmpfiles-setup.service -delete
  rm -f "$r"/lib/systemd/system/multi-user.target.wants/* "$r"/etc/systemd/system/*.wants/* \
    "$r"/lib/systemd/system/local-fs.target.wants/* "$r"/lib/systemd/system/sockets.target.wants/*udev* \
    "$r"/lib/systemd/system/sockets.target.wants/*initctl* "$r"/lib/systemd/system/basic.target.wants/*
  echo ReadKMsg=no >> "$r/etc/systemd/journald.conf"
  ln -sf /usr/lib/systemd/systemd "$r/sbin/init"
  ctr oci spec | jq '.hooks.createContainer[0].path = "/kind/bin/mount-product-files.sh" | del(.process.rlimits)' > "$r/etc/containerd/cri-base.json"

  rm -f "$r/lib/systemd/system/containerd.service" # Debian's; kind's own lies in /etc
  chroot "$r" systemctl enable kubelet containerd undo-mount-hacks 2>/dev/null
  chroot "$r" systemctl mask systemd-binfmt.service dbus.service dbus.socket 2>/dev/null
  rm -f "$r/var/lib/dbus/machine-id" "$r/etc/machine-id" # or all nodes would have the same
  mkdir -p "$r"/etc/kubernetes/manifests "$r"/opt/cni/bin "$r"/kind/manifests
  cp "$r"/usr/lib/cni/{host-local,loopback,ptp,portmap} "$r/opt/cni/bin/"
  for name in containerd ctr containerd-shim-runc-v2; do ln -sf /usr/bin/$name "$r/usr/local/bin/$name"; done
  # root without CAP_SYS_RESOURCE may not lower a score
  sed -i "s/restrict_oom_score_adj = false/restrict_oom_score_adj = true/; s#sandbox_image = .*#sandbox_image = \"$(image_named pause)\"#" \
    "$r/etc/containerd/config.toml"

  cp "$KUBE" "$r/usr/bin/kube"
  cp "$KUBEADM" "$r/usr/bin/kubeadm"
  for name in kubelet kubectl; do
    printf '#!/bin/sh\nexec /usr/bin/kube %s "$@"\n' $name > "$r/usr/bin/$name"
    chmod 755 "$r/usr/bin/$name"
  done
  printf %s "$VERSION" > "$r/kind/version"
  # no provisioner here: only the class that claims name
  cat > "$r/kind/manifests/default-storage.yaml" <<END
apiVersion: storage.k8s.io/v1
kind: StorageClass
metadata: {name: standard, annotations: {storageclass.kubernetes.io/is-default-class: "true"}}
provisioner: kubernetes.io/no-provisioner
volumeBindingMode: WaitForFirstConsumer
END
  fill_store "$r" "$2"
}
