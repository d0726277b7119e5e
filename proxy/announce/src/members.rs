//! What is known of the nodes that announce: their Leases.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use portolan_core::Lease;

use crate::{Reach, Versions};

/// A Lease as one node sees that of another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    /// Version of the Lease.
    pub version: u64,
    /// Changes with each renewal.
    pub renewed: i128,
    /// How long the Lease lasts after a renewal; zero = it was given back.
    pub duration: Duration,
    /// Up to which versions the node knew all, and acted on it, when it renewed.
    pub seen: Versions,
    /// The newest versions that it had been told of: whoever watches the same comes to them.
    pub told: Versions,
    /// Where the node can announce; `None` = it does not tell, as those of an earlier release, and counts as one that can
    /// everywhere.
    pub reach: Option<Reach>,
}

impl Member {
    /// Annotation in which a node tells up to which versions it knows all.
    pub const SEEN: &str = "portolan.dev/seen";
    /// Annotation with the newest versions that it was told of.
    pub const TOLD: &str = "portolan.dev/told";
    /// Annotation in which a node tells where it can announce.
    pub const REACH: &str = "portolan.dev/reach";
    /// The longest duration of a Lease: nobody is waited for longer, whatever a Lease says.
    pub const LONGEST: Duration = Duration::from_secs(300);
    /// What names of Leases begin with; the node's name follows.
    pub const PREFIX: &str = "portolan-announcer-";

    /// The node of a Lease, and what the Lease says. `None`: it is no announcing node's.
    pub fn of(lease: &Lease) -> Option<(Arc<str>, Self)> {
        let node = lease.meta.name.strip_prefix(Self::PREFIX).filter(|node| !node.is_empty())?;
        let held = lease.holder.as_deref() == Some(node);
        let seconds = lease.duration_seconds.filter(|_| held).unwrap_or(0);
        let versions =
            |key| lease.meta.annotations.get(key).and_then(|text| text.parse().ok()).unwrap_or_default();
        let member = Self {
            version: lease.meta.resource_version,
            renewed: lease.renewed.map_or(0, Timestamp::as_nanosecond),
            duration: Duration::from_secs(seconds.into()).min(Self::LONGEST),
            seen: versions(Self::SEEN),
            told: versions(Self::TOLD),
            reach: lease.meta.annotations.get(Self::REACH).map(|text| Reach::from(&**text)),
        };
        Some((node.into(), member))
    }
}

/// All Leases, each with the time when it was last seen to be renewed. Times are a node's own, from a clock that
/// never goes back; nodes' clocks are never compared.
#[derive(Debug, Default)]
pub struct Members(BTreeMap<Arc<str>, Known>);

#[derive(Debug)]
struct Known {
    member: Member,
    moved: Duration,
    /// Whether it moved since it was first seen.
    proven: bool,
    /// Whether the Lease was deleted. That does not stop its holder, who notices when it next renews.
    gone: bool,
}

impl Known {
    fn expires(&self) -> Duration {
        self.moved + self.member.duration
    }

    fn held(&self) -> bool {
        !self.member.duration.is_zero()
    }
}

impl Members {
    /// Takes in that a Lease was deleted. It counts until it runs out, unless the `holder` itself looks.
    pub fn gone(&mut self, node: &Arc<str>, holder: bool, now: Duration) {
        match self.0.get_mut(node).filter(|known| !holder && known.held() && now < known.expires()) {
            Some(known) => known.gone = true,
            None => drop(self.0.remove(node)),
        }
    }

    /// Takes in a Lease.
    pub fn tell(&mut self, node: &Arc<str>, member: Member, now: Duration) {
        self.0.retain(|_, known| !known.gone || now < known.expires());
        let known = match self.0.get(node) {
            Some(before) if before.member.renewed == member.renewed => {
                Known { member, moved: before.moved, proven: before.proven, gone: false }
            }
            before => Known { member, moved: now, proven: before.is_some(), gone: false },
        };
        self.0.insert(node.clone(), known);
    }

    /// Nodes that were not proven dead by what was known at a time.
    pub fn live(&self, at: Duration) -> impl Iterator<Item = &Arc<str>> {
        self.0.iter().filter(move |(_, known)| known.held() && at < known.expires()).map(|(node, _)| node)
    }

    /// Leases that somebody holds, run out or not.
    pub fn held(&self) -> impl Iterator<Item = &Member> {
        self.0.values().filter(|known| known.held()).map(|known| &known.member)
    }

    /// The Lease of a node.
    pub fn get(&self, node: &str) -> Option<&Member> {
        self.0.get(node).map(|known| &known.member)
    }

    /// When a node's Lease runs out, unless it is seen to be renewed.
    pub fn expires(&self, node: &str) -> Option<Duration> {
        self.0.get(node).filter(|known| known.held()).map(Known::expires)
    }

    /// From when on it is known of every Lease but one whether its holder lives: each has moved, or has run out.
    pub fn judged(&self, but: &str) -> Duration {
        let doubtful = self.0.iter().filter(|(node, known)| &***node != but && known.held() && !known.proven);
        doubtful.map(|(_, known)| known.expires()).max().unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const S: Duration = Duration::from_secs(1);

    fn lease(text: &str) -> Option<(Arc<str>, Member)> {
        Member::of(&serde_json::from_str(text).unwrap())
    }

    #[test]
    fn a_lease_names_its_node() {
        let (node, member) = lease(
            r#"{"metadata": {"name": "portolan-announcer-a.b", "resourceVersion": "9",
                             "annotations": {"portolan.dev/seen": "1,2,3,4", "portolan.dev/told": "0,1,1,0",
                                             "portolan.dev/reach": "192.0.2.0/24"}},
                "spec": {"holderIdentity": "a.b", "leaseDurationSeconds": 5, "renewTime": "1970-01-01T00:00:01Z"}}"#,
        )
        .unwrap();
        let seen = Versions { leases: 1, services: 2, slices: 3, pools: 4 };
        let told = Versions { services: 1, slices: 1, ..Versions::default() };
        let reach = Some(Reach::from("192.0.2.0/24"));
        assert_eq!(
            (&*node, &member),
            ("a.b", &Member { version: 9, renewed: 1_000_000_000, duration: 5 * S, seen, told, reach })
        );
        let given_back = lease(
            r#"{"metadata": {"name": "portolan-announcer-a"}, "spec": {"leaseDurationSeconds": 5, "holderIdentity": ""}}"#,
        );
        assert!(given_back.unwrap().1.duration.is_zero());
        let endless = lease(
            r#"{"metadata": {"name": "portolan-announcer-a"}, "spec": {"leaseDurationSeconds": 2147483647, "holderIdentity": "a"}}"#,
        );
        assert_eq!(endless.unwrap().1.duration, 300 * S);
        let stranger = lease(
            r#"{"metadata": {"name": "portolan-announcer-a"}, "spec": {"leaseDurationSeconds": 5, "holderIdentity": "b"}}"#,
        );
        assert!(stranger.unwrap().1.duration.is_zero(), "nobody holds another node's Lease");
        assert_eq!(lease(r#"{"metadata": {"name": "kube-scheduler"}}"#), None);
    }

    #[test]
    fn what_counts_is_when_it_was_seen_to_move() {
        let mut members = Members::default();
        let node: Arc<str> = "a".into();
        let member = |renewed| Member {
            version: 1,
            renewed,
            duration: 5 * S,
            seen: Versions::default(),
            told: Versions::default(),
            reach: None,
        };
        members.tell(&node, member(1), 10 * S);
        assert_eq!(members.judged("b"), 15 * S, "it may be long dead");
        members.tell(&node, Member { version: 2, ..member(1) }, 12 * S);
        assert_eq!(members.expires("a"), Some(15 * S), "somebody else touched the Lease");
        members.tell(&node, member(2), 13 * S);
        assert_eq!((members.expires("a"), members.judged("b")), (Some(18 * S), Duration::ZERO));
        assert_eq!((members.live(17 * S).count(), members.live(18 * S).count()), (1, 0));
        members.tell(&node, Member { duration: Duration::ZERO, ..member(3) }, 14 * S);
        assert_eq!(members.live(14 * S).count(), 0, "given back");
        members.tell(&node, member(4), 20 * S);
        members.gone(&node, false, 22 * S);
        assert_eq!(
            (members.live(24 * S).count(), members.live(25 * S).count()),
            (1, 0),
            "deleted, but not ended"
        );
        members.tell(&node, member(5), 23 * S);
        assert_eq!(members.live(27 * S).count(), 1, "made again");
        members.gone(&node, true, 24 * S);
        assert_eq!(members.get("a"), None, "our own");
        members.tell(&node, member(6), 30 * S);
        members.gone(&node, false, 31 * S);
        members.tell(&"b".into(), member(1), 35 * S);
        assert_eq!(members.get("a"), None, "not kept for ever");
    }
}
