//! Whose process is at the other end of a connection within this machine.

use std::net::{IpAddr, SocketAddr};

/// User of the process that connected from `peer` to `local`.
pub(crate) fn owner(peer: SocketAddr, local: SocketAddr) -> Option<u32> {
    find(&std::fs::read_to_string("/proc/net/tcp").ok()?, peer, local)
}

/// Looks for the other end's socket in the text of `/proc/net/tcp`: its own address comes first, then the
/// address it is connected to, and the user is the eighth field.
fn find(table: &str, peer: SocketAddr, local: SocketAddr) -> Option<u32> {
    let (peer, local) = (form(peer)?, form(local)?);
    table.lines().skip(1).find_map(|line| {
        let fields: Vec<_> = line.split_whitespace().collect();
        let ours = fields.get(1) == Some(&peer.as_str()) && fields.get(2) == Some(&local.as_str());
        if ours { fields.get(7)?.parse().ok() } else { None }
    })
}

/// As the kernel prints it: the address as a number of the machine's byte order.
fn form(address: SocketAddr) -> Option<String> {
    match address.ip() {
        IpAddr::V4(ip) => Some(format!("{:08X}:{:04X}", u32::from_ne_bytes(ip.octets()), address.port())),
        IpAddr::V6(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[cfg(target_endian = "little")]
    fn the_other_end_is_found_and_not_ours() {
        let table = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n\
            0: 0100007F:1F90 0100007F:D431 01 00000000:00000000 00:00000000 00000000     0        0 1\n\
            1: 0100007F:D431 0100007F:1F90 01 00000000:00000000 00:00000000 00000000  1000        0 2\n";
        let address = |text: &str| text.parse::<SocketAddr>().unwrap();
        let (server, client) = (address("127.0.0.1:8080"), address("127.0.0.1:54321"));
        assert_eq!(find(table, client, server), Some(1000));
        assert_eq!(find(table, server, client), Some(0));
        assert_eq!(find(table, address("127.0.0.1:1"), server), None);
    }
}
