//! What is said by ARP or NDP on one of the client's links about an address.

use std::io::Read;
use std::net::IpAddr;
use std::os::fd::AsRawFd;
use std::time::{Duration, Instant};

use portolan_announce::wire::{arp, ndp};
use socket2::{Domain, Protocol, Socket, Type};

use crate::network::VIPS;

/// The hardware address of the client.
const CLIENT: [u8; 6] = [2, 0, 0, 0, 0, 9];

/// Where a frame of a protocol has what is asked here.
struct Layout {
    protocol: u16,
    /// The client asks who has the address.
    question: &'static [u8],
    /// What kind of message it is, and that of an answer.
    kind: (usize, u8),
    /// The address, in its last two octets.
    address: usize,
    /// The last octet of the hardware address of whoever has it.
    owner: usize,
}

const ARP: Layout = Layout {
    protocol: arp::PROTOCOL,
    question: b"\xff\xff\xff\xff\xff\xff\x02\0\0\0\0\x09\x08\x06\0\x01\x08\0\x06\x04\0\x01\
                \x02\0\0\0\0\x09\xc0\0\x02\x09\0\0\0\0\0\0\xc0\0\x02\x64",
    kind: (21, 2),
    address: 30,
    owner: 27,
};

const NDP: Layout = Layout {
    protocol: ndp::PROTOCOL,
    question: b"\x33\x33\xff\0\x01\0\x02\0\0\0\0\x09\x86\xdd\
                \x60\0\0\0\0\x20\x3a\xff\x20\x01\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\x09\
                \xff\x02\0\0\0\0\0\0\0\0\0\x01\xff\0\x01\0\
                \x87\0\x1a\x1b\0\0\0\0\x20\x01\x0d\xb8\0\0\0\0\0\0\0\0\0\0\x01\0\x01\x01\x02\0\0\0\0\x09",
    kind: (54, 136),
    address: 76,
    owner: 85,
};

/// What somebody says who has the address.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Heard {
    /// To the client, which asked.
    Answer {
        /// The last octet of his hardware address.
        node: u8,
    },
    /// To everybody.
    Announcement,
}

/// One of the client's interfaces, and one of the addresses.
pub(crate) struct Wire {
    socket: Socket,
    layout: &'static Layout,
    /// Its last two octets.
    address: [u8; 2],
}

impl Wire {
    /// To be called in the client's namespace.
    pub(crate) fn open(interface: &str, address: IpAddr) -> Self {
        assert!(VIPS.contains(&address.to_string().as_str()), "a question is for one of these");
        let (layout, address) = match address {
            IpAddr::V4(address) => (&ARP, *address.octets().last_chunk().unwrap()),
            IpAddr::V6(address) => (&NDP, *address.octets().last_chunk().unwrap()),
        };
        let protocol = Protocol::from(i32::from(layout.protocol.to_be()));
        let socket = Socket::new(Domain::PACKET, Type::RAW, Some(protocol)).unwrap();
        let interfaces = nix::ifaddrs::getifaddrs().unwrap().filter(|one| one.interface_name == interface);
        let link =
            interfaces.filter_map(|interface| interface.address?.as_link_addr().copied()).next().unwrap();
        nix::sys::socket::bind(socket.as_raw_fd(), &link).unwrap();
        socket.set_read_timeout(Some(Duration::from_millis(5))).unwrap();
        Self { socket, layout, address }
    }

    /// Asks who has the address.
    pub(crate) fn ask(&self) {
        self.socket.send(self.layout.question).unwrap();
    }

    /// Asks in a VLAN.
    pub(crate) fn ask_in(&self, vlan: u16) {
        let (addresses, rest) = self.layout.question.split_at(12);
        let tag = [[0x81, 0], vlan.to_be_bytes()].concat();
        self.socket.send(&[addresses, &tag, rest].concat()).unwrap();
    }

    /// Asks a single hardware address.
    pub(crate) fn ask_only(&self, mac: [u8; 6]) {
        self.socket.send(&[&mac, &self.layout.question[6..]].concat()).unwrap();
    }

    /// How many answers there were until now.
    pub(crate) fn answers(&self) -> usize {
        self.heard().iter().filter(|heard| matches!(heard, Heard::Answer { .. })).count()
    }

    /// Says so that everybody hears it that the IPv4 address is the client's.
    pub(crate) fn claim(&self) {
        let [frame, _] = arp::announcements(VIPS[0].parse().unwrap(), CLIENT);
        self.socket.send(&frame).unwrap();
    }

    /// What was said next; `None` if that is nothing for a moment.
    pub(crate) fn hear(&self) -> Option<Heard> {
        let Layout { kind: (kind, answer), address, owner, .. } = *self.layout;
        let mut frame = [0; 128];
        while let Ok(length) = (&self.socket).read(&mut frame) {
            if length <= owner.max(address + 1) || frame[address..address + 2] != self.address {
                continue;
            }
            let to_all = frame[0] & 1 == 1;
            if to_all && (self.layout.protocol == arp::PROTOCOL || frame[kind] == answer) {
                return Some(Heard::Announcement);
            }
            if frame[kind] == answer && frame[..6] == CLIENT {
                return Some(Heard::Answer { node: frame[owner] });
            }
        }
        None
    }

    /// Everything that was said until now.
    pub(crate) fn heard(&self) -> Vec<Heard> {
        std::iter::from_fn(|| self.hear()).collect()
    }

    /// Asks until there is an answer.
    pub(crate) fn answered(&self, patience: Duration) {
        let began = Instant::now();
        self.ask();
        while !matches!(self.hear(), Some(Heard::Answer { .. })) {
            assert!(began.elapsed() < patience, "no answer");
            self.ask();
        }
    }

    /// Waits until everybody was told as many times.
    pub(crate) fn announced(&self, times: usize, patience: Duration) {
        let began = Instant::now();
        let mut heard = 0;
        while heard < times {
            heard += usize::from(self.hear() == Some(Heard::Announcement));
            assert!(began.elapsed() < patience, "told {heard} times, not {times}");
        }
    }
}
