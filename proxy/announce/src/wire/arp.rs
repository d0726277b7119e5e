//! ARP for IPv4 on Ethernet (RFC 826), and announcements (RFC 5227).

use std::net::{IpAddr, Ipv4Addr};

use super::{ETHERNET, Heard, Mac, Question, array, ethernet, is_unicast};

/// Protocol number of ARP on Ethernet.
pub const PROTOCOL: u16 = 0x0806;

const BROADCAST: Mac = [0xff; 6];
const REQUEST: u16 = 1;
const REPLY: u16 = 2;
/// Ethernet, IPv4, and the sizes of their addresses.
const KIND: [u8; 6] = [0, 1, 8, 0, 6, 4];

/// A frame with ARP in it.
pub type Frame = [u8; ETHERNET + 28];

/// Reads a frame: an ARP request of somebody.
pub fn read(frame: &[u8]) -> Option<Heard> {
    let packet = frame.get(ETHERNET..ETHERNET + 28)?;
    if array::<2>(frame, 12)? != PROTOCOL.to_be_bytes() || !packet.starts_with(&KIND) {
        return None;
    }
    let by: Mac = array(packet, 8)?;
    if array(packet, 6)? != REQUEST.to_be_bytes() || !is_unicast(by) {
        return None;
    }
    let (from, target) = (IpAddr::from(array::<4>(packet, 14)?), IpAddr::from(array::<4>(packet, 24)?));
    Some(if from == target {
        Heard::Claim { address: target, by }
    } else {
        Heard::Question(Question { target, asker: by, from })
    })
}

/// The answer: the address is `mac`'s. A question whether it is free is answered all the same: it is not.
pub fn reply(question: &Question, target: Ipv4Addr, mac: Mac) -> Frame {
    let IpAddr::V4(from) = question.from else {
        return frame(question.asker, REPLY, mac, target, question.asker, target);
    };
    frame(question.asker, REPLY, mac, target, question.asker, from)
}

/// What tells everybody that an address is `mac`'s from now on, in both forms, as some hosts take in only one: a
/// request (RFC 5227's announcement) and a reply.
pub fn announcements(address: Ipv4Addr, mac: Mac) -> [Frame; 2] {
    [
        frame(BROADCAST, REQUEST, mac, address, [0; 6], address),
        frame(BROADCAST, REPLY, mac, address, BROADCAST, address),
    ]
}

fn frame(to: Mac, operation: u16, sender: Mac, from: Ipv4Addr, target: Mac, about: Ipv4Addr) -> Frame {
    let mut frame = [0; ETHERNET + 28];
    frame[..ETHERNET].copy_from_slice(&ethernet(to, sender, PROTOCOL));
    let packet = &mut frame[ETHERNET..];
    packet[..6].copy_from_slice(&KIND);
    packet[6..8].copy_from_slice(&operation.to_be_bytes());
    packet[8..14].copy_from_slice(&sender);
    packet[14..18].copy_from_slice(&from.octets());
    packet[18..24].copy_from_slice(&target);
    packet[24..].copy_from_slice(&about.octets());
    frame
}

#[cfg(test)]
mod tests {
    use super::*;

    const OURS: Mac = [2, 0, 0, 0, 0, 1];
    const THEIRS: Mac = [2, 0, 0, 0, 0, 9];
    const VIP: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 1);
    const HOST: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 9);

    fn request(from: Ipv4Addr) -> Frame {
        frame(BROADCAST, REQUEST, THEIRS, from, [0; 6], VIP)
    }

    #[test]
    fn a_question_and_its_answer() {
        let question = Question { target: VIP.into(), asker: THEIRS, from: HOST.into() };
        assert_eq!(read(&request(HOST)), Some(Heard::Question(question)));
        assert_eq!(read(&[&request(HOST)[..], &[0; 18]].concat()), Some(Heard::Question(question)), "padded");
        let want = b"\x02\0\0\0\0\x09\x02\0\0\0\0\x01\x08\x06\0\x01\x08\0\x06\x04\0\x02\
                     \x02\0\0\0\0\x01\xc0\0\x02\x01\x02\0\0\0\0\x09\xc0\0\x02\x09";
        assert_eq!(&reply(&question, VIP, OURS), want);
    }

    #[test]
    fn a_probe_is_answered_and_a_claim_is_not_a_question() {
        let probe = Question { target: VIP.into(), asker: THEIRS, from: Ipv4Addr::UNSPECIFIED.into() };
        assert_eq!(read(&request(Ipv4Addr::UNSPECIFIED)), Some(Heard::Question(probe)));
        assert_eq!(read(&request(VIP)), Some(Heard::Claim { address: VIP.into(), by: THEIRS }));
        assert_eq!(read(&announcements(VIP, OURS)[0]), Some(Heard::Claim { address: VIP.into(), by: OURS }));
    }

    #[test]
    fn everything_else_is_passed_over() {
        assert_eq!(read(&announcements(VIP, OURS)[1]), None, "a reply");
        for (at, value) in [(12, 0x86), (15, 6), (16, 0x86), (18, 8), (19, 16), (21, 3), (22, 1)] {
            let mut frame = request(HOST);
            frame[at] = value;
            assert_eq!(read(&frame), None, "octet {at}");
        }
        for length in 0..42 {
            assert_eq!(read(&request(HOST)[..length]), None, "{length} octets");
        }
    }
}
