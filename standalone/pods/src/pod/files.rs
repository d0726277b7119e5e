//! The network place of a pod and the files that it sees instead of the machine's.

use std::fs;
use std::io;
use std::path::PathBuf;

use crate::network::Place;
use crate::node::Node;
use crate::spec::Pod;

/// Files of a pod.
#[derive(Debug)]
pub(crate) struct Files {
    /// Its `/etc/resolv.conf`.
    pub(crate) resolv: PathBuf,
    /// Its `/etc/hosts`.
    pub(crate) hosts: PathBuf,
}

impl Files {
    pub(crate) fn of(node: &Node, pod: &Pod) -> Self {
        let file = |what: &str| {
            let name = format!("{}.{what}", pod.metadata.uid);
            node.settings.run_folder.join("files").join(name)
        };
        Self { resolv: file("resolv.conf"), hosts: file("hosts") }
    }
}

/// Makes what a pod needs; what was made is removed again when something cannot be.
pub(super) async fn prepare(node: &Node, pod: &Pod) -> Result<Place, String> {
    if pod.spec.host_network {
        return Err(
            "hostNetwork is not supported by portolan up: each pod has a network of its own".to_owned()
        );
    }
    let address = node
        .take_address()
        .ok_or_else(|| format!("all addresses of {} are taken", node.settings.pod_cidr))?;
    let (metadata, folder) = (&pod.metadata, &node.settings.run_folder);
    // File names end at 255 bytes.
    let name: String = format!("{}-{}", metadata.namespace, metadata.name).chars().take(200).collect();
    let place = Place::new(address, folder, &name, &metadata.uid);
    let files = write(node, pod, &place).map_err(|error| format!("cannot write the pod's files: {error}"));
    let made = match files {
        Ok(()) => node.network.attach(&place).await.map_err(|error| error.to_string()),
        Err(error) => Err(error),
    };
    match made {
        Ok(()) => Ok(place),
        Err(why) => {
            // The first error is the one to tell.
            let _ = clear(node, pod, &place).await;
            Err(why)
        }
    }
}

/// Removes it all.
pub(super) async fn clear(node: &Node, pod: &Pod, place: &Place) -> Result<(), String> {
    node.network.detach(place).await.map_err(|error| error.to_string())?;
    let files = Files::of(node, pod);
    for file in [&files.resolv, &files.hosts] {
        match fs::remove_file(file) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(format!("cannot remove {}: {error}", file.display()));
            }
            _ => {}
        }
    }
    node.ledger
        .note(|made| made.files.retain(|file| *file != files.resolv && *file != files.hosts))
        .map_err(|error| format!("cannot write the state file: {error}"))?;
    node.give_back(place.address);
    Ok(())
}

fn write(node: &Node, pod: &Pod, place: &Place) -> io::Result<()> {
    let files = Files::of(node, pod);
    node.ledger.note(|made| made.files.extend([files.resolv.clone(), files.hosts.clone()]))?;
    let (dns, domain) = (node.settings.dns, &node.settings.cluster_domain);
    fs::write(&files.resolv, resolv_conf(dns, &pod.metadata.namespace, domain))?;
    fs::write(&files.hosts, hosts(pod, &place.address.to_string(), domain))
}

fn resolv_conf(dns: std::net::IpAddr, namespace: &str, domain: &str) -> String {
    format!("search {namespace}.svc.{domain} svc.{domain} {domain}\nnameserver {dns}\noptions ndots:5\n")
}

fn hosts(pod: &Pod, address: &str, domain: &str) -> String {
    let mut hosts = String::from("127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\n");
    let hostname = pod.hostname();
    match pod.spec.subdomain.as_deref().filter(|subdomain| !subdomain.is_empty()) {
        Some(subdomain) => {
            let full = format!("{hostname}.{subdomain}.{}.svc.{domain}", pod.metadata.namespace);
            hosts.push_str(&format!("{address}\t{full}\t{hostname}\n"));
        }
        None => hosts.push_str(&format!("{address}\t{hostname}\n")),
    }
    for alias in &pod.spec.host_aliases {
        hosts.push_str(&format!("{}\t{}\n", alias.ip, alias.hostnames.join("\t")));
    }
    hosts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_name_the_cluster_and_the_pod() {
        let resolv = resolv_conf("10.96.0.10".parse().unwrap(), "shop", "cluster.local");
        assert_eq!(
            resolv,
            "search shop.svc.cluster.local svc.cluster.local cluster.local\nnameserver 10.96.0.10\noptions ndots:5\n"
        );
        let pod: Pod = serde_json::from_value(serde_json::json!({
            "metadata": {"namespace": "shop", "name": "a"},
            "spec": {"subdomain": "sub", "hostAliases": [{"ip": "1.2.3.4", "hostnames": ["x", "y"]}]}}))
        .unwrap();
        let hosts = hosts(&pod, "10.1.0.2", "cluster.local");
        assert!(hosts.ends_with("10.1.0.2\ta.sub.shop.svc.cluster.local\ta\n1.2.3.4\tx\ty\n"), "{hosts}");
    }
}
