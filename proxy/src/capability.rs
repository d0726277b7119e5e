//! Whether this process may program the kernel.

use std::fs;

/// Bit of CAP_NET_ADMIN in a capability set (`linux/capability.h`).
const NET_ADMIN: u32 = 12;

/// The process lacks what it needs.
#[derive(Debug, thiserror::Error)]
#[error("the capability CAP_NET_ADMIN is missing: without it the kernel refuses changes to nftables")]
pub struct Missing;

/// Checks for CAP_NET_ADMIN, so that its absence is one clear line and not a failed netlink call.
///
/// A `/proc` that cannot be read says nothing; then the first netlink call tells.
pub fn check() -> Result<(), Missing> {
    match fs::read_to_string("/proc/self/status") {
        Ok(status) if effective(&status).is_some_and(|set| set & (1 << NET_ADMIN) == 0) => Err(Missing),
        _ => Ok(()),
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
}
