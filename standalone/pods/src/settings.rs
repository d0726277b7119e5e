//! What the runner must know.

use std::ffi::OsString;
use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;

use ipnet::Ipv4Net;

/// What the runner must know.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Folder of this run: state file, namespaces, generated files, `logs/NAMESPACE_POD_CONTAINER.log`.
    /// It is made when missing, and left to its owner at the end.
    pub run_folder: PathBuf,
    /// Name of the node: pods with this `spec.nodeName` are run.
    pub node_name: String,
    /// Addresses of pods; the first one is the bridge's.
    pub pod_cidr: Ipv4Net,
    /// Resolver of the pods, on port 53.
    pub dns: IpAddr,
    /// Domain of the cluster, such as `cluster.local`.
    pub cluster_domain: String,
    /// Program and first arguments that end up in [`pod_exec`](crate::pod_exec).
    pub launcher: Vec<OsString>,
}

impl Settings {
    /// The launcher of a program whose hidden subcommand `pod-exec` calls [`pod_exec`](crate::pod_exec).
    ///
    /// Not the program's path: that may be another program by now, when it was built anew.
    pub fn own_launcher() -> Vec<OsString> {
        vec!["/proc/self/exe".into(), "pod-exec".into()]
    }

    /// Address of the bridge, where DNS can listen for pods: the first one of `pod_cidr`.
    pub fn gateway(&self) -> Ipv4Addr {
        self.pod_cidr.hosts().next().unwrap_or_else(|| self.pod_cidr.addr())
    }
}
