//! Whether this process may program the kernel.

use std::fs;

/// Bit of CAP_NET_ADMIN in a capability set (`linux/capability.h`).
const NET_ADMIN: u32 = 12;
/// Bit of CAP_NET_RAW.
const NET_RAW: u32 = 13;

/// The process lacks what it needs.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum Missing {
    /// CAP_NET_ADMIN.
    #[error("the capability CAP_NET_ADMIN is missing: without it the kernel refuses changes to nftables")]
    NetAdmin,
    /// CAP_NET_RAW.
    #[error("the capability CAP_NET_RAW is missing: without it --announce=layer2 cannot answer ARP and NDP")]
    NetRaw,
}

/// Checks for CAP_NET_ADMIN and, if the node is to announce addresses, for CAP_NET_RAW, so that their absence is one
/// clear line and not a failed system call.
///
/// A `/proc` that cannot be read says nothing; then the first such call tells.
pub fn check(announce: bool) -> Result<(), Missing> {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    effective(&status).map_or(Ok(()), |set| enough(set, announce))
}

fn enough(set: u64, announce: bool) -> Result<(), Missing> {
    let has = |bit: u32| set & (1 << bit) != 0;
    match (has(NET_ADMIN), has(NET_RAW) || !announce) {
        (false, _) => Err(Missing::NetAdmin),
        (true, false) => Err(Missing::NetRaw),
        (true, true) => Ok(()),
    }
}

fn effective(status: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix("CapEff:"))?;
    u64::from_str_radix(line.trim(), 16).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_the_effective_set() {
        assert_eq!(effective("Name:\tx\nCapPrm:\tffff\nCapEff:\t0000000000001000\n"), Some(1 << NET_ADMIN));
        assert_eq!(effective("Name:\tx\n"), None);
    }

    #[test]
    fn who_announces_needs_more() {
        let (admin, both) = (1 << NET_ADMIN, 1 << NET_ADMIN | 1 << NET_RAW);
        assert_eq!(enough(0, true), Err(Missing::NetAdmin));
        assert_eq!((enough(admin, false), enough(admin, true)), (Ok(()), Err(Missing::NetRaw)));
        assert_eq!(enough(both, true), Ok(()));
    }
}
