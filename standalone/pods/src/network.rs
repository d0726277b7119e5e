//! The network of the pods: for each pod a namespace, with a link to the node and a route to it.
//!
//! A pod's address has no network of its own (`/32`), and the link of a pod is in no bridge: everything
//! between pods is routed by the node. So answers between pods that meet through a Service pass the place
//! where their addresses were changed, and a pod reaches itself through its Service, whether or not
//! packets in bridges are shown to the firewall (`bridge-nf-call-iptables`).
//!
//! One bridge without ports has the node's address in this network, for DNS to listen on before there is
//! a pod.

mod namespace;

use std::fs;
use std::io;
use std::net::Ipv4Addr;
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use futures::TryStreamExt;
use ipnet::Ipv4Net;
use rtnetlink::packet_route::link::{InfoData, InfoVeth};
use rtnetlink::packet_route::route::RouteScope;
use rtnetlink::{Handle, LinkBridge, LinkMessageBuilder, LinkUnspec, LinkVeth, RouteMessageBuilder};

use crate::ledger::{Ledger, Setting};

pub(crate) use namespace::remove as remove_namespace;

/// Name of the bridge.
pub(crate) const BRIDGE: &str = "portolan-up0";
/// Start of the names of the links to pods.
const LINK: &str = "pup";
/// Name of the link inside a pod.
const INSIDE: &str = "eth0";
const FORWARDING: &str = "/proc/sys/net/ipv4/ip_forward";

/// Why the network cannot be as it should.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    #[error("cannot {0}: {1}")]
    Kernel(String, rtnetlink::Error),
    #[error("cannot {0}: {1}")]
    System(String, io::Error),
    #[error("a link {0} is here already: does another portolan up run?")]
    Taken(&'static str),
    #[error("no link {0} is there")]
    Missing(String),
}

/// The node's side of the network.
#[derive(Debug)]
pub(crate) struct Network {
    netlink: Handle,
    gateway: Ipv4Addr,
    ledger: Arc<Ledger>,
}

/// The place of a pod in the network.
#[derive(Clone, Debug)]
pub(crate) struct Place {
    /// Its address.
    pub(crate) address: Ipv4Addr,
    /// File on which its namespace is mounted.
    pub(crate) namespace: PathBuf,
    link: String,
}

impl Network {
    /// Makes the bridge, in the network namespace of this thread.
    pub(crate) async fn start(gateway: Ipv4Addr, pods: Ipv4Net, ledger: Arc<Ledger>) -> Result<Self, Error> {
        let netlink = connect()?;
        if index(&netlink, BRIDGE).await?.is_some() {
            return Err(Error::Taken(BRIDGE));
        }
        forward(&ledger)?;
        note(&ledger, |made| made.links.push(BRIDGE.to_owned()))?;
        let bridge = LinkBridge::new(BRIDGE).up().build();
        kernel("make the bridge", netlink.link().add(bridge).execute().await)?;
        let bridge = must(&netlink, BRIDGE).await?;
        let address = netlink.address().add(bridge, gateway.into(), pods.prefix_len());
        kernel("give the bridge its address", address.execute().await)?;
        Ok(Self { netlink, gateway, ledger })
    }

    /// Makes a pod's namespace and links it to the node.
    pub(crate) async fn attach(&self, place: &Place) -> Result<(), Error> {
        note(&self.ledger, |made| {
            made.namespaces.push(place.namespace.clone());
            made.links.push(place.link.clone());
        })?;
        let inside = namespace::create(place.namespace.clone()).await?;
        let file = fs::File::open(&place.namespace)
            .map_err(|error| Error::System(format!("open {}", place.namespace.display()), error))?;
        let peer = LinkMessageBuilder::<LinkUnspec>::new().name(INSIDE).setns_by_fd(file.as_raw_fd()).build();
        let link = LinkVeth::new(&place.link, INSIDE)
            .set_info_data(InfoData::Veth(InfoVeth::Peer(peer)))
            .up()
            .build();
        kernel("link a pod", self.netlink.link().add(link).execute().await)?;
        let link = must(&self.netlink, &place.link).await?;
        // The pod asks this link who has the address; and what the node sends has it as its source.
        let address = self.netlink.address().add(link, self.gateway.into(), 32);
        kernel("give a pod's link its address", address.execute().await)?;
        let route = RouteMessageBuilder::<Ipv4Addr>::new()
            .destination_prefix(place.address, 32)
            .output_interface(link)
            .scope(RouteScope::Link)
            .build();
        kernel("route to a pod", self.netlink.route().add(route).execute().await)?;
        self.configure(&inside, place.address).await
    }

    async fn configure(&self, inside: &Handle, address: Ipv4Addr) -> Result<(), Error> {
        let own = must(inside, INSIDE).await?;
        for link in [must(inside, "lo").await?, own] {
            let up = LinkUnspec::new_with_index(link).up().build();
            kernel("bring up a pod's link", inside.link().set(up).execute().await)?;
        }
        let address = inside.address().add(own, address.into(), 32);
        kernel("give a pod its address", address.execute().await)?;
        let route = RouteMessageBuilder::<Ipv4Addr>::new()
            .gateway(self.gateway)
            .output_interface(own)
            .onlink()
            .build();
        kernel("give a pod its route", inside.route().add(route).execute().await)
    }

    /// Takes a pod off the network. Its processes must have ended.
    pub(crate) async fn detach(&self, place: &Place) -> Result<(), Error> {
        delete_link(&self.netlink, &place.link).await?;
        namespace::remove(&place.namespace)
            .map_err(|error| Error::System(format!("remove {}", place.namespace.display()), error))?;
        note(&self.ledger, |made| {
            made.namespaces.retain(|path| *path != place.namespace);
            made.links.retain(|link| *link != place.link);
        })
    }

    /// Removes the bridge and restores the kernel's settings; one that fails does not keep the others.
    pub(crate) async fn stop(&self) -> Result<(), Error> {
        let bridge = match delete_link(&self.netlink, BRIDGE).await {
            Ok(_) => note(&self.ledger, |made| made.links.retain(|link| link != BRIDGE)),
            Err(error) => Err(error),
        };
        let settings = self.ledger.made().settings.into_iter().map(|setting| {
            fs::write(&setting.path, &setting.before)
                .map_err(|error| Error::System(format!("restore {}", setting.path.display()), error))?;
            note(&self.ledger, |made| made.settings.retain(|other| *other != setting))
        });
        // Each is tried before the first failure is told.
        settings.collect::<Vec<_>>().into_iter().fold(bridge, Result::and)
    }
}

impl Place {
    /// A place for a pod with this uid.
    pub(crate) fn new(address: Ipv4Addr, run_folder: &Path, pod: &str, uid: &str) -> Self {
        // 15 bytes are what the kernel allows; addresses of one run are unique.
        let link = format!("{LINK}{:08x}", u32::from(address));
        let short = uid.get(..8).unwrap_or(uid);
        let namespace = run_folder.join("netns").join(format!("portolan-up-{pod}-{short}"));
        Self { address, namespace, link }
    }
}

/// A connection to the kernel in the network namespace of this thread.
pub(crate) fn connect() -> Result<Handle, Error> {
    let (connection, netlink, _) =
        rtnetlink::new_connection().map_err(|error| Error::System("open netlink".to_owned(), error))?;
    tokio::spawn(connection);
    Ok(netlink)
}

/// Deletes a link; tells whether it was there.
pub(crate) async fn delete_link(netlink: &Handle, name: &str) -> Result<bool, Error> {
    let Some(index) = index(netlink, name).await? else { return Ok(false) };
    kernel(&format!("delete the link {name}"), netlink.link().del(index).execute().await)?;
    Ok(true)
}

async fn index(netlink: &Handle, name: &str) -> Result<Option<u32>, Error> {
    match netlink.link().get().match_name(name).execute().try_next().await {
        Ok(link) => Ok(link.map(|link| link.header.index)),
        Err(rtnetlink::Error::NetlinkError(error))
            if error.to_io().raw_os_error() == Some(nix::libc::ENODEV) =>
        {
            Ok(None)
        }
        Err(error) => Err(Error::Kernel(format!("look for the link {name}"), error)),
    }
}

async fn must(netlink: &Handle, name: &str) -> Result<u32, Error> {
    index(netlink, name).await?.ok_or_else(|| Error::Missing(name.to_owned()))
}

/// Lets packets pass between pods.
fn forward(ledger: &Ledger) -> Result<(), Error> {
    let failed = |error| Error::System(format!("set {FORWARDING}"), error);
    let before = fs::read_to_string(FORWARDING).map_err(failed)?.trim().to_owned();
    if before == "1" {
        return Ok(());
    }
    note(ledger, |made| made.settings.push(Setting { path: FORWARDING.into(), before }))?;
    fs::write(FORWARDING, "1").map_err(failed)
}

fn note(ledger: &Ledger, change: impl FnOnce(&mut crate::ledger::Made)) -> Result<(), Error> {
    ledger.note(change).map_err(|error| Error::System("write the state file".to_owned(), error))
}

fn kernel<T>(what: &str, result: Result<T, rtnetlink::Error>) -> Result<T, Error> {
    result.map_err(|error| Error::Kernel(what.to_owned(), error))
}
