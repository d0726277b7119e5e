//! Claims to addresses of ours: whether they are of another host, and whether the log is to tell of them.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::time::Duration;

use portolan_announce::wire::Mac;

/// How long nothing more is told of a host and an address.
const PAUSE: Duration = Duration::from_secs(60);

/// As many hosts and addresses are told of in that time. Who makes up hardware addresses is to fill neither the memory nor the log.
const MOST: usize = 256;

/// What has been claimed, and by whom.
#[derive(Default)]
pub(super) struct Conflicts {
    own: BTreeSet<Mac>,
    told: BTreeMap<(IpAddr, Mac), Duration>,
}

impl Conflicts {
    /// Takes in the hardware addresses of this node.
    pub(super) fn own(&mut self, own: BTreeSet<Mac>) {
        self.own = own;
    }

    /// Whether a hardware address is another host's. A node with two interfaces in one network hears itself.
    pub(super) fn foreign(&self, mac: Mac) -> bool {
        !self.own.contains(&mac)
    }

    /// Whether the log is to tell now that a host claims an address.
    pub(super) fn tell(&mut self, address: IpAddr, by: Mac, now: Duration) -> bool {
        let fresh = |told: Duration| now < told + PAUSE;
        if self.told.get(&(address, by)).is_some_and(|told| fresh(*told)) {
            return false;
        }
        if self.told.len() >= MOST {
            self.told.retain(|_, told| fresh(*told));
        }
        let room = self.told.len() < MOST;
        if room {
            self.told.insert((address, by), now);
        }
        room
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const VIP: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 100));

    fn mac(number: u16) -> Mac {
        let [high, low] = number.to_be_bytes();
        [2, 0, 0, 0, high, low]
    }

    #[test]
    fn what_this_node_says_on_another_interface_is_no_conflict() {
        let mut conflicts = Conflicts::default();
        conflicts.own(BTreeSet::from([mac(1), mac(2)]));
        assert_eq!([1, 2, 3].map(|number| conflicts.foreign(mac(number))), [false, false, true]);
    }

    #[test]
    fn of_a_host_and_an_address_the_log_tells_once_a_minute() {
        let mut conflicts = Conflicts::default();
        let second = Duration::from_secs(1);
        assert!(conflicts.tell(VIP, mac(1), second));
        assert!(!conflicts.tell(VIP, mac(1), PAUSE));
        assert!(conflicts.tell(VIP, mac(2), PAUSE), "another host");
        assert!(conflicts.tell("2001:db8::100".parse().unwrap(), mac(1), PAUSE), "another address");
        assert!(conflicts.tell(VIP, mac(1), PAUSE + second));
    }

    #[test]
    fn hosts_without_number_fill_neither_memory_nor_log() {
        let mut conflicts = Conflicts::default();
        let told = (0..1000).filter(|number| conflicts.tell(VIP, mac(*number), Duration::ZERO)).count();
        assert_eq!((told, conflicts.told.len()), (MOST, MOST));
        assert!(conflicts.tell(VIP, mac(999), PAUSE), "those before are over");
        assert_eq!(conflicts.told.len(), 1);
    }
}
