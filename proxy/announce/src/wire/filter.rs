//! Socket filters (classic BPF) that let through only questions for certain addresses and claims to them, so that a
//! busy link wakes nobody. What a frame says is looked at again; which network it came from is only looked at here.

use std::net::IpAddr;

use portolan_core::IpFamily;

/// An instruction: code, where to go on if a comparison holds and if not, operand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Instruction {
    /// Operation.
    pub code: u16,
    /// Instructions to skip if a comparison holds.
    pub then: u8,
    /// Instructions to skip otherwise.
    pub otherwise: u8,
    /// Operand.
    pub operand: u32,
}

/// Loads of 1, 2 and 4 octets at a place of the frame; a frame that is shorter does not pass.
const OCTET: u16 = 0x30;
const HALF: u16 = 0x28;
const WORD: u16 = 0x20;
const EQUALS: u16 = 0x15;
const RETURN: u16 = 0x06;

/// Places below those of the frame, where a load takes what the kernel knows of it (`linux/filter.h`): what it is to the
/// host, and the interface that it has come to.
const KIND: u32 = AUXILIARY + 4;
const INTERFACE: u32 = AUXILIARY + 8;
const AUXILIARY: u32 = 0u32.wrapping_sub(0x1000);

/// `PACKET_OTHERHOST`: not for this host.
const OTHER_HOST: u32 = 3;

/// With more addresses, every question passes: the kernel takes 4,096 instructions.
const MOST: usize = 1500;

/// A filter for what is said in a family on an interface of one of these addresses; those of the other family are not
/// looked at. IPv6 addresses are told apart by their last four octets.
pub fn program(
    family: IpFamily,
    interface: u32,
    addresses: impl IntoIterator<Item = IpAddr>,
) -> Vec<Instruction> {
    let mut words: Vec<u32> =
        addresses.into_iter().filter(|address| IpFamily::of(*address) == family).map(last_word).collect();
    words.sort_unstable();
    words.dedup();
    if words.len() > MOST {
        return of_any(family, interface);
    }
    let (mut program, target) = kind(family, interface);
    program.push(instruction(WORD, target));
    for word in words {
        program.push(Instruction { otherwise: 1, ..instruction(EQUALS, word) });
        program.push(instruction(RETURN, u32::MAX));
    }
    program.push(instruction(RETURN, 0));
    program
}

/// A filter for what is said in a family on an interface of any address.
pub fn of_any(family: IpFamily, interface: u32) -> Vec<Instruction> {
    let (mut program, _) = kind(family, interface);
    program.push(instruction(RETURN, u32::MAX));
    program
}

/// Drops what is of another network, and what is neither question nor claim; and where the others have the last octets of
/// the address.
fn kind(family: IpFamily, interface: u32) -> (Vec<Instruction>, u32) {
    let (kind, target) = match family {
        // The operation is a request.
        IpFamily::V4 => (only(HALF, 20, &[1]), 38),
        // ICMPv6, neighbor solicitation or advertisement.
        IpFamily::V6 => ([only(OCTET, 20, &[58]), only(OCTET, 54, &[135, 136])].concat(), 74),
    };
    ([untagged(interface), kind].concat(), target)
}

/// Drops frames of VLANs. The kernel takes their tags off and brings them to sockets of the interface that they came by all
/// the same: after it has handed them to the VLAN's own interface or, where there is none, marked as another host's.
fn untagged(interface: u32) -> Vec<Instruction> {
    let of_others = [
        instruction(WORD, KIND),
        Instruction { otherwise: 1, ..instruction(EQUALS, OTHER_HOST) },
        instruction(RETURN, 0),
    ];
    [&only(WORD, INTERFACE, &[interface])[..], &of_others].concat()
}

fn instruction(code: u16, operand: u32) -> Instruction {
    Instruction { code, then: 0, otherwise: 0, operand }
}

/// Drops frames that have none of these values at a place.
fn only(load: u16, at: u32, values: &[u32]) -> Vec<Instruction> {
    let rest = (1..=values.len()).rev().filter_map(|left| u8::try_from(left).ok());
    let tests =
        values.iter().zip(rest).map(|(value, then)| Instruction { then, ..instruction(EQUALS, *value) });
    [instruction(load, at)].into_iter().chain(tests).chain([instruction(RETURN, 0)]).collect()
}

fn last_word(address: IpAddr) -> u32 {
    match address {
        IpAddr::V4(address) => address.to_bits(),
        IpAddr::V6(address) => {
            let [.., high, low] = address.segments();
            u32::from(high) << 16 | u32::from(low)
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, Ipv6Addr};

    use super::super::{arp, ndp};
    use super::*;

    const ETH0: u32 = 2;
    /// `PACKET_BROADCAST`.
    const BROADCAST: u32 = 1;

    /// What the kernel does with a program, for the instructions that there are.
    fn passes(program: &[Instruction], frame: &[u8]) -> bool {
        passes_as(program, frame, ETH0, BROADCAST)
    }

    fn passes_as(program: &[Instruction], frame: &[u8], interface: u32, kind: u32) -> bool {
        let (mut at, mut accumulator) = (0, 0);
        loop {
            let Instruction { code, then, otherwise, operand } = program[at];
            at += 1;
            let known = match operand {
                KIND => Some(kind),
                INTERFACE => Some(interface),
                _ => None,
            };
            if let (WORD, Some(known)) = (code, known) {
                accumulator = known;
                continue;
            }
            let size = match code {
                RETURN => return operand != 0,
                EQUALS => {
                    at += usize::from(if accumulator == operand { then } else { otherwise });
                    continue;
                }
                OCTET => 1,
                HALF => 2,
                WORD => 4,
                other => panic!("unknown code {other:#x}"),
            };
            let place = operand as usize;
            let Some(bytes) = frame.get(place..place + size) else { return false };
            accumulator = bytes.iter().fold(0, |value, byte| value << 8 | u32::from(*byte));
        }
    }

    fn v4(last: u8) -> Ipv4Addr {
        Ipv4Addr::new(192, 0, 2, last)
    }

    #[test]
    fn only_requests_for_our_addresses_pass() {
        let frames = |last| arp::announcements(v4(last), [2, 0, 0, 0, 0, 1]);
        let both: [IpAddr; 3] = [v4(1).into(), v4(2).into(), "2001:db8::1".parse().unwrap()];
        let program = program(IpFamily::V4, ETH0, both);
        for (frame, want) in
            [(frames(1)[0], true), (frames(2)[0], true), (frames(3)[0], false), (frames(1)[1], false)]
        {
            assert_eq!(passes(&program, &frame), want);
        }
        assert!(!passes(&program, &frames(1)[0][..40]), "too short");
        assert!(!passes(&super::program(IpFamily::V4, ETH0, []), &frames(1)[0]));
    }

    #[test]
    fn only_solicitations_and_advertisements_of_our_addresses_pass() {
        let program = program(IpFamily::V6, ETH0, ["2001:db8::1:2".parse().unwrap()]);
        let frame = |target: &str, kind: u8| {
            let mut frame =
                ndp::announcement(target.parse().unwrap(), [2, 0, 0, 0, 0, 1], "fe80::1".parse().unwrap());
            frame[54] = kind;
            frame
        };
        for (kind, want) in [(134, false), (135, true), (136, true), (137, false)] {
            assert_eq!(passes(&program, &frame("2001:db8::1:2", kind)), want, "{kind}");
            assert!(!passes(&program, &frame("2001:db8::1:3", kind)));
        }
    }

    #[test]
    fn frames_of_vlans_do_not_pass() {
        let address = v4(1);
        let question = arp::announcements(address, [2, 0, 0, 0, 0, 1])[0];
        let target: Ipv6Addr = "2001:db8::1".parse().unwrap();
        let advertisement = ndp::announcement(target, [2, 0, 0, 0, 0, 1], "fe80::1".parse().unwrap());
        let programs =
            |family| [program(family, ETH0, [address.into(), target.into()]), of_any(family, ETH0)];
        for (family, frame) in [(IpFamily::V4, &question[..]), (IpFamily::V6, &advertisement)] {
            for program in programs(family) {
                // To the host, to all, to a group.
                for kind in 0..OTHER_HOST {
                    assert!(passes_as(&program, frame, ETH0, kind), "{kind}");
                    assert!(!passes_as(&program, frame, ETH0 + 1, kind), "of an interface eth0.100");
                }
                assert!(!passes_as(&program, frame, ETH0, OTHER_HOST), "of a VLAN without an interface");
            }
        }
    }

    #[test]
    fn a_great_many_addresses_are_not_told_apart() {
        let many = (0..2000u32).map(|n| IpAddr::from(Ipv4Addr::from(n)));
        let program = program(IpFamily::V4, ETH0, many);
        assert!(program.len() < 4096);
        assert!(passes(&program, &arp::announcements(v4(3), [2, 0, 0, 0, 0, 1])[0]));
    }
}
