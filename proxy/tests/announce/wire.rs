//! What is said by ARP on one of the client's links about the IPv4 address.

use std::io::Read;
use std::os::fd::AsRawFd;
use std::time::{Duration, Instant};

use socket2::{Domain, Protocol, Socket, Type};

const QUESTION: &[u8] = b"\xff\xff\xff\xff\xff\xff\x02\0\0\0\0\x09\x08\x06\0\x01\x08\0\x06\x04\0\x01\
                          \x02\0\0\0\0\x09\xc0\0\x02\x09\0\0\0\0\0\0\xc0\0\x02\x64";

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

/// One of the client's interfaces.
pub(crate) struct Wire(Socket);

impl Wire {
    /// To be called in the client's namespace.
    pub(crate) fn open(interface: &str) -> Self {
        let arp = Protocol::from(i32::from(0x0806u16.to_be()));
        let socket = Socket::new(Domain::PACKET, Type::RAW, Some(arp)).unwrap();
        let interfaces = nix::ifaddrs::getifaddrs().unwrap().filter(|one| one.interface_name == interface);
        let link =
            interfaces.filter_map(|interface| interface.address?.as_link_addr().copied()).next().unwrap();
        nix::sys::socket::bind(socket.as_raw_fd(), &link).unwrap();
        socket.set_read_timeout(Some(Duration::from_millis(5))).unwrap();
        Self(socket)
    }

    /// Asks who has the address.
    pub(crate) fn ask(&self) {
        self.0.send(QUESTION).unwrap();
    }

    /// What was said next; `None` if that is nothing for a moment.
    pub(crate) fn hear(&self) -> Option<Heard> {
        let mut frame = [0; 128];
        while let Ok(length) = (&self.0).read(&mut frame) {
            if length < 42 || frame[28..32] != [192, 0, 2, 100] {
                continue;
            }
            if frame[..6] == [0xff; 6] {
                return Some(Heard::Announcement);
            }
            if frame[21] == 2 && frame[..6] == [2, 0, 0, 0, 0, 9] {
                return Some(Heard::Answer { node: frame[27] });
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
