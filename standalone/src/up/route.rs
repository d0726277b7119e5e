//! A route to cluster IPs, so that the machine reaches them without a default route too.
//!
//! The packets never go where it leads: they get the address of an endpoint on their way out. It goes with
//! the link that it leads to.

use std::net::{IpAddr, Ipv4Addr};

use ipnet::Ipv4Net;
use nix::ifaddrs::getifaddrs;
use nix::net::if_::if_nametoindex;
use portolan_runtime::Failure;
use rtnetlink::RouteMessageBuilder;
use rtnetlink::packet_route::route::RouteScope;

/// Adds the route to the link that has the address.
pub(crate) async fn add(services: Ipv4Net, gateway: Ipv4Addr) -> Result<(), Failure> {
    let failed = |why: String| Failure::fatal(format!("cannot add a route to {services}: {why}"));
    let link = link_with(gateway).ok_or_else(|| failed(format!("no link has the address {gateway}")))?;
    let (connection, handle, _) = rtnetlink::new_connection().map_err(|error| failed(error.to_string()))?;
    let connection = tokio::spawn(connection);
    let route = RouteMessageBuilder::<Ipv4Addr>::new()
        .destination_prefix(services.network(), services.prefix_len())
        .output_interface(link)
        .pref_source(gateway)
        .scope(RouteScope::Link)
        .build();
    let added = handle.route().add(route).execute().await;
    connection.abort();
    added.map_err(|error| failed(error.to_string()))
}

fn link_with(address: Ipv4Addr) -> Option<u32> {
    let mut links = getifaddrs().ok()?;
    let link = links.find(|link| {
        let own = link.address.as_ref().and_then(|address| address.as_sockaddr_in());
        own.is_some_and(|own| IpAddr::V4(own.ip()) == IpAddr::V4(address))
    })?;
    if_nametoindex(link.interface_name.as_str()).ok()
}
