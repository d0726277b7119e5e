//! Neighbor Discovery for IPv6 on Ethernet (RFC 4861): solicitations and advertisements.

use std::net::{IpAddr, Ipv6Addr};

use super::{ETHERNET, Heard, Mac, Question, array, ethernet, is_unicast};

/// Protocol number of IPv6 on Ethernet.
pub const PROTOCOL: u16 = 0x86dd;

const ICMP: usize = ETHERNET + 40;
const ICMP_V6: u8 = 58;
const SOLICITATION: u8 = 135;
const ADVERTISEMENT: u8 = 136;
const SOURCE_LINK_LAYER: u8 = 1;
const TARGET_LINK_LAYER: u8 = 2;
const SOLICITED: u8 = 0x40;
const OVERRIDE: u8 = 0x20;
/// What proves that a packet comes from the same link.
const HOP_LIMIT: u8 = 255;

/// A frame with an advertisement in it.
pub type Frame = [u8; ICMP + 32];

/// The group in which questions for an address are asked.
pub fn solicited_node(address: Ipv6Addr) -> Ipv6Addr {
    let [.., high, low] = address.segments();
    Ipv6Addr::new(0xff02, 0, 0, 0, 0, 1, 0xff00 | (high & 0xff), low)
}

/// Reads a frame: a valid solicitation or advertisement (RFC 4861, 7.1) of somebody.
pub fn read(frame: &[u8]) -> Option<Heard> {
    let header = frame.get(ETHERNET..ICMP)?;
    if array::<2>(frame, 12)? != PROTOCOL.to_be_bytes() || header[0] >> 4 != 6 || header[7] != HOP_LIMIT {
        return None;
    }
    let length = usize::from(u16::from_be_bytes(array(header, 4)?));
    let message = frame.get(ICMP..ICMP + length)?;
    if header[6] != ICMP_V6 || length < 24 || message[1] != 0 {
        return None;
    }
    let (from, to) = (Ipv6Addr::from(array::<16>(header, 8)?), Ipv6Addr::from(array::<16>(header, 24)?));
    let target = Ipv6Addr::from(array::<16>(message, 8)?);
    if checksum(from, to, message) != 0 || target.is_multicast() {
        return None;
    }
    let option = |kind| link_layer(&message[24..], kind);
    let sender = |option: Option<Mac>| option.or(array(frame, 6)).filter(|mac| is_unicast(*mac));
    match message[0] {
        SOLICITATION => {
            let option = option(SOURCE_LINK_LAYER)?;
            if from.is_unspecified() && (option.is_some() || to != solicited_node(target)) {
                return None;
            }
            let asker = sender(option)?;
            Some(Heard::Question(Question { target: target.into(), asker, from: from.into() }))
        }
        ADVERTISEMENT if !(to.is_multicast() && message[4] & SOLICITED != 0) => {
            Some(Heard::Claim { address: target.into(), by: sender(option(TARGET_LINK_LAYER)?)? })
        }
        _ => None,
    }
}

/// The link-layer address of that kind of options, if they have one; `None` for what are no options.
#[allow(clippy::option_option, reason = "malformed and absent differ")]
fn link_layer(mut options: &[u8], wanted: u8) -> Option<Option<Mac>> {
    let mut found = None;
    while let [kind, length, ..] = *options {
        let length = usize::from(length) * 8;
        let option = options.get(..length).filter(|option| !option.is_empty())?;
        if kind == wanted && found.is_none() {
            found = array(option, 2);
        }
        options = &options[length..];
    }
    options.is_empty().then_some(found)
}

/// The answer: the address is `mac`'s. Whoever asks whether it is free has no address yet, so all nodes are told.
/// `source` is an address of the interface.
pub fn reply(question: &Question, target: Ipv6Addr, mac: Mac, source: Ipv6Addr) -> Frame {
    match question.from {
        IpAddr::V6(from) if !from.is_unspecified() => {
            advertisement(question.asker, source, from, SOLICITED | OVERRIDE, target, mac)
        }
        _ => announcement(target, mac, source),
    }
}

/// What tells everybody that an address is `mac`'s from now on.
pub fn announcement(address: Ipv6Addr, mac: Mac, source: Ipv6Addr) -> Frame {
    let all_nodes = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1);
    advertisement([0x33, 0x33, 0, 0, 0, 1], source, all_nodes, OVERRIDE, address, mac)
}

fn advertisement(to_mac: Mac, from: Ipv6Addr, to: Ipv6Addr, flags: u8, target: Ipv6Addr, mac: Mac) -> Frame {
    let mut frame = [0; ICMP + 32];
    frame[..ETHERNET].copy_from_slice(&ethernet(to_mac, mac, PROTOCOL));
    let header = &mut frame[ETHERNET..ICMP];
    header[0] = 0x60;
    header[5] = 32;
    header[6] = ICMP_V6;
    header[7] = HOP_LIMIT;
    header[8..24].copy_from_slice(&from.octets());
    header[24..].copy_from_slice(&to.octets());
    let message = &mut frame[ICMP..];
    message[0] = ADVERTISEMENT;
    message[4] = flags;
    message[8..24].copy_from_slice(&target.octets());
    message[24] = TARGET_LINK_LAYER;
    message[25] = 1;
    message[26..].copy_from_slice(&mac);
    let sum = checksum(from, to, message);
    message[2..4].copy_from_slice(&sum.to_be_bytes());
    frame
}

/// The checksum of ICMPv6 (RFC 4443, 2.3); of a message that holds its own it is zero.
fn checksum(from: Ipv6Addr, to: Ipv6Addr, message: &[u8]) -> u16 {
    let words = |bytes: &[u8]| -> u32 {
        let (pairs, rest) = bytes.as_chunks::<2>();
        let sum: u32 = pairs.iter().map(|pair| u32::from(u16::from_be_bytes(*pair))).sum();
        sum + rest.first().map_or(0, |last| u32::from(*last) << 8)
    };
    let length = u32::try_from(message.len()).unwrap_or(u32::MAX);
    let mut sum = words(&from.octets()) + words(&to.octets()) + length + u32::from(ICMP_V6) + words(message);
    while let carry @ 1.. = sum >> 16 {
        sum = (sum & 0xffff) + carry;
    }
    !u16::try_from(sum).unwrap_or(u16::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const OURS: Mac = [2, 0, 0, 0, 0, 1];
    const THEIRS: Mac = [2, 0, 0, 0, 0, 9];

    fn ip(text: &str) -> Ipv6Addr {
        text.parse().unwrap()
    }

    /// A solicitation, with its source link-layer address if there is a source.
    fn solicitation(from: &str, to: &str, target: &str) -> Vec<u8> {
        let mut frame =
            advertisement([0x33, 0x33, 0xff, 0, 0, 1], ip(from), ip(to), 0, ip(target), THEIRS).to_vec();
        frame[ICMP] = SOLICITATION;
        frame[ICMP + 24] = SOURCE_LINK_LAYER;
        if ip(from).is_unspecified() {
            frame.truncate(ICMP + 24);
            frame[ETHERNET + 5] = 24;
        }
        sealed(frame)
    }

    fn sealed(mut frame: Vec<u8>) -> Vec<u8> {
        frame[ICMP + 2..ICMP + 4].fill(0);
        let address = |at: usize| Ipv6Addr::from(array::<16>(&frame, at).unwrap());
        let sum = checksum(address(ETHERNET + 8), address(ETHERNET + 24), &frame[ICMP..]);
        frame[ICMP + 2..ICMP + 4].copy_from_slice(&sum.to_be_bytes());
        frame
    }

    #[test]
    fn a_question_and_its_answer() {
        let frame = solicitation("fe80::9", "ff02::1:ff00:1", "2001:db8::1");
        let question =
            Question { target: ip("2001:db8::1").into(), asker: THEIRS, from: ip("fe80::9").into() };
        assert_eq!(read(&frame), Some(Heard::Question(question)));
        let answer = reply(&question, ip("2001:db8::1"), OURS, ip("fe80::1"));
        // Worked out by hand from RFC 4861, 4.4.
        let want = b"\x02\0\0\0\0\x09\x02\0\0\0\0\x01\x86\xdd\x60\0\0\0\0\x20\x3a\xff\
            \xfe\x80\0\0\0\0\0\0\0\0\0\0\0\0\0\x01\xfe\x80\0\0\0\0\0\0\0\0\0\0\0\0\0\x09\
            \x88\0\xee\xc7\x60\0\0\0\x20\x01\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\x01\x02\x01\x02\0\0\0\0\x01";
        assert_eq!(&answer[..56], &want[..56]);
        assert_eq!(&answer[58..], &want[58..]);
        assert_eq!(checksum(ip("fe80::1"), ip("fe80::9"), &answer[ICMP..]), 0);
    }

    #[test]
    fn whoever_wants_the_address_is_told_with_all_others() {
        let frame = solicitation("::", "ff02::1:ff00:1", "2001:db8::1");
        let Some(Heard::Question(question)) = read(&frame) else { panic!("{frame:?}") };
        assert_eq!((question.asker, question.from), (THEIRS, IpAddr::from(Ipv6Addr::UNSPECIFIED)));
        let answer = reply(&question, ip("2001:db8::1"), OURS, ip("fe80::1"));
        assert_eq!(answer, announcement(ip("2001:db8::1"), OURS, ip("fe80::1")));
        assert_eq!((answer[ICMP + 4], &answer[..6]), (OVERRIDE, &[0x33, 0x33, 0, 0, 0, 1][..]));
    }

    #[test]
    fn everything_else_is_passed_over() {
        let good = solicitation("fe80::9", "ff02::1:ff00:1", "2001:db8::1");
        for (what, at, value) in [
            ("no IPv6", 12, 8),
            ("other version", ETHERNET, 0x40),
            ("too long", ETHERNET + 5, 40),
            ("too short", ETHERNET + 5, 16),
            ("UDP", ETHERNET + 6, 17),
            ("from another link", ETHERNET + 7, 254),
            ("a router's", ICMP, 134),
            ("code", ICMP + 1, 1),
            ("multicast target", ICMP + 8, 0xff),
            ("option of no length", ICMP + 25, 0),
            ("option that is too long", ICMP + 25, 2),
            ("hardware address of a group", ICMP + 26, 1),
        ] {
            let mut frame = good.clone();
            frame[at] = value;
            assert_eq!(read(&sealed(frame)), None, "{what}");
        }
        let mut damaged = good.clone();
        damaged[ICMP + 3] ^= 1;
        assert_eq!(read(&damaged), None, "checksum");
        assert_eq!(read(&solicitation("::", "ff02::1", "2001:db8::1")), None, "a probe goes to the group");
        for length in 0..good.len() {
            assert_eq!(read(&good[..length]), None, "{length} octets");
        }
    }

    #[test]
    fn an_advertisement_is_a_claim() {
        let claim = Heard::Claim { address: ip("2001:db8::1").into(), by: OURS };
        let said = announcement(ip("2001:db8::1"), OURS, ip("fe80::1")).to_vec();
        assert_eq!(read(&said), Some(claim));
        let mut bare = said.clone();
        bare.truncate(ICMP + 24);
        bare[ETHERNET + 5] = 24;
        assert_eq!(read(&sealed(bare)), Some(claim), "by the sender of the frame");
        let mut answer = said;
        answer[ICMP + 4] = SOLICITED | OVERRIDE;
        assert_eq!(read(&sealed(answer)), None, "an answer is not for everybody");
    }
}
