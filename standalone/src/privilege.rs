//! What `portolan up` may do on this machine.

use nix::unistd::geteuid;
use portolan_runtime::Failure;

/// Capabilities that are used: number (`linux/capability.h`), name, purpose.
const NEEDED: [(u32, &str, &str); 2] =
    [(12, "CAP_NET_ADMIN", "links and nftables rules"), (21, "CAP_SYS_ADMIN", "network namespaces of pods")];

/// Fails in one line that says what is missing.
pub(crate) fn check() -> Result<(), Failure> {
    if !geteuid().is_root() {
        return Err(Failure::usage(
            "up needs root: it makes network namespaces, links and nftables rules; start it with sudo",
        ));
    }
    // A /proc that cannot be read says nothing; then the first thing that is refused will.
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    match missing(&status) {
        Some((name, purpose)) => Err(Failure::usage(format!(
            "up needs the capability {name}, for {purpose}; root alone lacks it here"
        ))),
        None => Ok(()),
    }
}

fn missing(status: &str) -> Option<(&'static str, &'static str)> {
    let line = status.lines().find_map(|line| line.strip_prefix("CapEff:"))?;
    let effective = u64::from_str_radix(line.trim(), 16).ok()?;
    let lacks = NEEDED.into_iter().find(|(number, ..)| effective & (1 << number) == 0);
    lacks.map(|(_, name, purpose)| (name, purpose))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_what_is_missing() {
        let name =
            |effective: &str| missing(&format!("Name:\tx\nCapEff:\t{effective}\n")).map(|(name, _)| name);
        assert_eq!(name("000001ffffffffff"), None);
        assert_eq!(name("0000000000001000"), Some("CAP_SYS_ADMIN"));
        assert_eq!(name("0000000000200000"), Some("CAP_NET_ADMIN"));
        assert_eq!(missing("Name:\tx\n"), None);
    }
}
