//! Entries to and from netlink attributes (CTA_*).

use std::net::IpAddr;

use super::entry::{Entry, Filter, Tuple};
use crate::model::CtStatus;
use crate::wire::{Attributes, Malformed, Message, Writer, value};

const TUPLE_ORIG: u16 = 1;
const TUPLE_REPLY: u16 = 2;
const STATUS: u16 = 3;
const TIMEOUT: u16 = 7;
const MARK: u16 = 8;
const ID: u16 = 12;
const ZONE: u16 = 18;
const FILTER: u16 = 25;
const STATUS_MASK: u16 = 26;

const TUPLE_IP: u16 = 1;
const TUPLE_PROTO: u16 = 2;

const IP_V4_SOURCE: u16 = 1;
const IP_V4_DESTINATION: u16 = 2;
const IP_V6_SOURCE: u16 = 3;
const IP_V6_DESTINATION: u16 = 4;

const PROTO_NUMBER: u16 = 1;
const PROTO_SOURCE_PORT: u16 = 2;
const PROTO_DESTINATION_PORT: u16 = 3;

const FILTER_ORIG_FLAGS: u16 = 1;
const FILTER_REPLY_FLAGS: u16 = 2;
/// CTA_FILTER_F_CTA_IP_DST and CTA_FILTER_F_CTA_PROTO_NUM (net/netfilter/nf_conntrack_netlink.c): which
/// parts of the tuple count.
const FILTER_DESTINATION: u32 = 1 << 1;
const FILTER_PROTOCOL: u32 = 1 << 3;

/// AF_INET and AF_INET6.
pub(super) const fn family(address: IpAddr) -> u8 {
    match address {
        IpAddr::V4(_) => 2,
        IpAddr::V6(_) => 10,
    }
}

/// The family that a question with this filter is for: zero for both.
pub(super) fn filter_family(filter: &Filter) -> u8 {
    match (filter.original_destination, filter.ipv6) {
        (Some(address), _) => family(address),
        (None, Some(true)) => 10,
        (None, Some(false)) => 2,
        (None, None) => 0,
    }
}

/// What the kernel can filter itself: the tuple since 5.8, given a family; the status since 5.15. Older ones
/// ignore the attributes, so that the caller filters again.
pub(super) fn encode_filter(w: &mut Writer, filter: &Filter) {
    // Linux compares IPv6 addresses the wrong way round (seen in 6.18: entries with the address are left out).
    let destination = filter.original_destination.filter(IpAddr::is_ipv4);
    let mut flags = 0;
    if filter_family(filter) != 0 {
        flags |= if filter.protocol.is_some() { FILTER_PROTOCOL } else { 0 };
        flags |= if destination.is_some() { FILTER_DESTINATION } else { 0 };
    }
    if flags != 0 {
        w.nest(TUPLE_ORIG, |w| {
            if let Some(address) = destination {
                w.nest(TUPLE_IP, |w| encode_address(w, IP_V4_DESTINATION, IP_V6_DESTINATION, address));
            }
            if let Some(protocol) = filter.protocol {
                w.nest(TUPLE_PROTO, |w| w.u8(PROTO_NUMBER, protocol));
            }
        });
        w.nest(FILTER, |w| {
            // The flags are in host byte order.
            w.bytes(FILTER_ORIG_FLAGS, &flags.to_ne_bytes());
            w.bytes(FILTER_REPLY_FLAGS, &0u32.to_ne_bytes());
        });
    }
    if !filter.status.is_empty() {
        w.be32(STATUS, filter.status.bits());
        w.be32(STATUS_MASK, filter.status.bits());
    }
}

/// What names an entry.
pub(super) fn encode_entry(w: &mut Writer, entry: &Entry) {
    w.nest(TUPLE_ORIG, |w| encode_tuple(w, &entry.original));
    if entry.zone != 0 {
        w.be16(ZONE, entry.zone);
    }
    if let Some(id) = entry.id {
        w.be32(ID, id);
    }
}

fn encode_tuple(w: &mut Writer, tuple: &Tuple) {
    w.nest(TUPLE_IP, |w| {
        encode_address(w, IP_V4_SOURCE, IP_V6_SOURCE, tuple.source);
        encode_address(w, IP_V4_DESTINATION, IP_V6_DESTINATION, tuple.destination);
    });
    w.nest(TUPLE_PROTO, |w| {
        w.u8(PROTO_NUMBER, tuple.protocol);
        w.be16(PROTO_SOURCE_PORT, tuple.source_port);
        w.be16(PROTO_DESTINATION_PORT, tuple.destination_port);
    });
}

fn encode_address(w: &mut Writer, v4: u16, v6: u16, address: IpAddr) {
    match address {
        IpAddr::V4(address) => w.bytes(v4, &address.octets()),
        IpAddr::V6(address) => w.bytes(v6, &address.octets()),
    }
}

pub(super) fn decode_entry(message: &Message<'_>) -> Result<Entry, Malformed> {
    let (mut original, mut reply) = (None, None);
    let (mut status, mut mark, mut zone, mut timeout, mut id) = (0, 0, 0, 0, None);
    for (kind, payload) in message.attributes() {
        match kind {
            TUPLE_ORIG => original = decode_tuple(payload),
            TUPLE_REPLY => reply = decode_tuple(payload),
            STATUS => status = value::be32(payload).unwrap_or_default(),
            MARK => mark = value::be32(payload).unwrap_or_default(),
            ZONE => zone = value::be16(payload).unwrap_or_default(),
            TIMEOUT => timeout = value::be32(payload).unwrap_or_default(),
            ID => id = value::be32(payload),
            _ => {}
        }
    }
    Ok(Entry {
        original: original.ok_or(Malformed::new("conntrack tuple"))?,
        reply: reply.ok_or(Malformed::new("conntrack tuple"))?,
        status: CtStatus::from_bits(status),
        mark,
        zone,
        timeout,
        id,
    })
}

fn decode_tuple(bytes: &[u8]) -> Option<Tuple> {
    let (mut source, mut destination, mut protocol) = (None, None, None);
    let (mut source_port, mut destination_port) = (0, 0);
    for (kind, payload) in Attributes(bytes) {
        match kind {
            TUPLE_IP => {
                for (kind, payload) in Attributes(payload) {
                    match kind {
                        IP_V4_SOURCE | IP_V6_SOURCE => source = decode_address(payload),
                        IP_V4_DESTINATION | IP_V6_DESTINATION => destination = decode_address(payload),
                        _ => {}
                    }
                }
            }
            TUPLE_PROTO => {
                for (kind, payload) in Attributes(payload) {
                    match kind {
                        PROTO_NUMBER => protocol = value::u8(payload),
                        PROTO_SOURCE_PORT => source_port = value::be16(payload)?,
                        PROTO_DESTINATION_PORT => destination_port = value::be16(payload)?,
                        _ => {}
                    }
                }
            }
            _ => {}
        }
    }
    let (source, destination, protocol) = (source?, destination?, protocol?);
    Some(Tuple { source, destination, protocol, source_port, destination_port })
}

fn decode_address(bytes: &[u8]) -> Option<IpAddr> {
    let v4 = <[u8; 4]>::try_from(bytes).ok().map(IpAddr::from);
    v4.or_else(|| <[u8; 16]>::try_from(bytes).ok().map(IpAddr::from))
}
