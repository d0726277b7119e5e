//! Whether somebody else's rules are in the way of pods.

use portolan_netfilter::Socket;
use portolan_netfilter::model::{Chain, Family, Hook, Policy};

/// Warns of chains that drop whatever they do not know, such as Docker's: what one table has dropped, no
/// other can let through. What cannot be read says nothing.
pub(super) fn warn() {
    let Ok(mut socket) = Socket::open() else { return };
    for table in socket.tables().unwrap_or_default() {
        for chain in socket.chains(&table.id).unwrap_or_default() {
            if drops_forwarded(&chain) {
                tracing::warn!(
                    "the firewall drops what is forwarded unless a rule allows it (chain {} of table {}): pods may \
                     not reach each other; iptables -I {} -i portolan-up0 -j ACCEPT lets them",
                    chain.name,
                    chain.table.name,
                    chain.name
                );
            }
        }
    }
}

fn drops_forwarded(chain: &Chain) -> bool {
    let ours = chain.table.family != Family::Ip6;
    ours && chain.base.as_ref().is_some_and(|base| base.hook == Hook::Forward && base.policy == Policy::Drop)
}

#[cfg(test)]
mod tests {
    use portolan_netfilter::model::{ChainKind, TableId};

    use super::*;

    #[test]
    fn chains_that_drop_what_is_forwarded_are_found() {
        let chain = |family, hook, policy| {
            let mut chain =
                Chain::base(TableId::new(family, "filter"), "FORWARD", ChainKind::Filter, hook, 0);
            chain.base.iter_mut().for_each(|base| base.policy = policy);
            drops_forwarded(&chain)
        };
        assert!(chain(Family::Ip, Hook::Forward, Policy::Drop));
        assert!(chain(Family::Inet, Hook::Forward, Policy::Drop));
        assert!(!chain(Family::Ip6, Hook::Forward, Policy::Drop));
        assert!(!chain(Family::Ip, Hook::Input, Policy::Drop));
        assert!(!chain(Family::Ip, Hook::Forward, Policy::Accept));
        assert!(!drops_forwarded(&Chain::regular(TableId::new(Family::Ip, "t"), "c")));
    }
}
