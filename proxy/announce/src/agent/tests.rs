use super::*;
use crate::{Candidates, Wanted};

const MS: Duration = Duration::from_millis(1);

fn agent(node: &str) -> Agent {
    Agent::new(node.into(), Times::of(Duration::from_secs(5)))
}

fn ip() -> IpAddr {
    "192.0.2.1".parse().unwrap()
}

fn member(version: u64, seen: u64) -> Option<Member> {
    let seen = Versions { leases: seen, ..Versions::default() };
    Some(Member {
        version,
        renewed: version.into(),
        duration: Duration::from_secs(5),
        seen,
        told: Versions::default(),
        reach: None,
    })
}

fn wanted() -> Wanted {
    Wanted { candidates: Candidates::Any, interfaces: Vec::new() }
}

fn claim(agent: &mut Agent) {
    agent.service(&ObjectName::new("n", "s"), vec![(ip(), wanted())], Versions::default(), Duration::ZERO);
}

/// Two nodes, the first of which owns the address if both live.
fn two() -> (Arc<str>, Arc<str>) {
    let (a, b): (Arc<str>, Arc<str>) = ("node-1".into(), "node-2".into());
    if crate::rank(&a, ip()) > crate::rank(&b, ip()) { (a, b) } else { (b, a) }
}

fn unheld(version: u64) -> Option<Member> {
    member(version, 0).map(|member| Member { duration: Duration::ZERO, ..member })
}

fn renew(agent: &mut Agent, began: Duration, version: u64, back: Duration) {
    agent.renewing(version.into(), began);
    agent.renewed(version.into());
    agent.lease(&agent.node.clone(), member(version, version), back);
}

/// A node alone that announces since 10 ms, by its Lease of version 3.
fn announcing() -> Agent {
    let mut agent = agent("a");
    claim(&mut agent);
    renew(&mut agent, Duration::ZERO, 3, 10 * MS);
    assert_eq!(agent.decide(10 * MS).take, [ip()].into());
    agent
}

#[test]
fn a_node_alone_announces_once_its_watch_has_shown_its_lease() {
    let mut agent = agent("a");
    claim(&mut agent);
    assert_eq!(agent.decide(Duration::ZERO).renew, Some(Duration::ZERO), "nobody to wait for");
    agent.renewing(7, 10 * MS);
    agent.renewed(7);
    assert_eq!(agent.decide(20 * MS).take, [].into());
    agent.lease(&"a".into(), member(7, 0), 30 * MS);
    let decision = agent.decide(30 * MS);
    assert_eq!((decision.take, decision.until), ([ip()].into(), 4010 * MS));
    assert_eq!(decision.wake, Some(4010 * MS));
    assert_eq!(agent.decide(4010 * MS).give_up, [ip()].into(), "by the start of the renewal");
}

#[test]
fn whoever_comes_waits_until_the_others_say_that_they_know() {
    let (owner, other) = two();
    let mut agent = agent(&owner);
    claim(&mut agent);
    agent.lease(&other, member(1, 0), Duration::ZERO);
    assert_eq!(agent.decide(Duration::ZERO).renew, Some(5000 * MS), "is the other one dead?");
    agent.lease(&other, member(2, 0), 100 * MS);
    assert_eq!(agent.decide(100 * MS).renew, Some(Duration::ZERO), "it lives");
    renew(&mut agent, 100 * MS, 3, 110 * MS);
    assert_eq!(agent.decide(110 * MS).take, [].into());
    agent.lease(&other, member(4, 2), 120 * MS);
    assert_eq!(agent.decide(120 * MS).take, [].into(), "it has not seen our Lease yet");
    agent.lease(&other, member(5, 3), 130 * MS);
    assert_eq!(agent.decide(130 * MS).take, [ip()].into());
}

#[test]
fn whoever_does_not_say_so_is_waited_for_as_long_as_a_lease_lasts() {
    let (owner, other) = two();
    let mut agent = agent(&owner);
    claim(&mut agent);
    for (version, at) in [(1, 0), (2, 1)] {
        agent.lease(&other, member(version, 0), at * MS);
    }
    for second in 0..11 {
        let at = second * 1000 * MS;
        renew(&mut agent, at + 10 * MS, 10 + u64::from(second) * 2, at + 20 * MS);
        agent.lease(&other, member(11 + u64::from(second) * 2, 0), at + 30 * MS);
        let want: BTreeSet<_> = if second < 10 { [].into() } else { [ip()].into() };
        assert_eq!(agent.decide(at + 30 * MS).take, want, "{second}");
    }
}

#[test]
fn the_heir_takes_over_when_its_own_renewal_has_shown_that_nothing_came() {
    let (owner, heir) = two();
    let mut agent = agent(&heir);
    claim(&mut agent);
    agent.lease(&owner, member(1, 0), Duration::ZERO);
    agent.lease(&owner, member(2, 0), 1 * MS);
    renew(&mut agent, 10 * MS, 3, 20 * MS);
    for n in 1..4 {
        renew(&mut agent, n * 1250 * MS, 3 + u64::from(n), n * 1250 * MS + 10 * MS);
        assert_eq!(agent.decide(n * 1250 * MS + 10 * MS).take, [].into());
    }
    let late = agent.decide(5001 * MS);
    assert_eq!((late.take, late.renew), ([].into(), Some(3850 * MS)), "asks at once");
    renew(&mut agent, 5002 * MS, 9, 5010 * MS);
    assert_eq!(agent.decide(5010 * MS).take, [ip()].into());
}

#[test]
fn an_owner_gives_up_at_once_and_says_so_soon() {
    let (owner, heir) = two();
    let mut agent = agent(&heir);
    claim(&mut agent);
    renew(&mut agent, Duration::ZERO, 3, 20 * MS);
    assert_eq!(agent.decide(20 * MS).take, [ip()].into());
    agent.lease(&owner, member(4, 3), 500 * MS);
    let decision = agent.decide(500 * MS);
    assert_eq!((decision.give_up, decision.renew), ([ip()].into(), Some(100 * MS)));
    assert_eq!(agent.renewing(5, 500 * MS).seen.leases, 4);
}

#[test]
fn a_lease_given_back_hands_over_at_once() {
    let (owner, heir) = two();
    let mut agent = agent(&heir);
    claim(&mut agent);
    agent.lease(&owner, member(1, 0), Duration::ZERO);
    agent.lease(&owner, member(2, 0), 1 * MS);
    renew(&mut agent, 10 * MS, 3, 20 * MS);
    agent.decide(20 * MS);
    agent.lease(&owner, Some(Member { duration: Duration::ZERO, ..member(4, 0).unwrap() }), 30 * MS);
    assert_eq!(agent.decide(30 * MS).take, [ip()].into());
}

#[test]
fn after_a_lapse_everything_is_asked_for_anew() {
    let (owner, other) = two();
    let mut agent = agent(&owner);
    claim(&mut agent);
    for version in [1, 2] {
        agent.lease(&other, member(version, 0), Duration::ZERO);
    }
    renew(&mut agent, Duration::ZERO, 3, 10 * MS);
    agent.lease(&other, member(4, 3), 20 * MS);
    assert_eq!(agent.decide(20 * MS).take, [ip()].into());
    assert!(!agent.renewing(8, 5990 * MS).held, "is it in time again?");
    agent.lease(&owner, unheld(8), 6000 * MS);
    assert_eq!(agent.decide(6000 * MS).renew, Some(5990 * MS), "it is");
    renew(&mut agent, 6000 * MS, 9, 6010 * MS);
    agent.lease(&other, member(10, 3), 6020 * MS);
    let decision = agent.decide(6020 * MS);
    assert_eq!((decision.take, decision.give_up), ([].into(), [].into()), "others may have it");
    agent.lease(&other, member(11, 9), 6030 * MS);
    assert_eq!(agent.decide(6030 * MS).take, [ip()].into());
}

#[test]
fn a_renewal_that_was_written_counts_without_an_answer() {
    let mut agent = agent("a");
    claim(&mut agent);
    renew(&mut agent, Duration::ZERO, 3, 10 * MS);
    agent.renewing(4, 1250 * MS);
    assert_eq!(agent.decide(3250 * MS).renew, Some(2500 * MS), "no answer came");
    agent.renewing(5, 3250 * MS);
    agent.lease(&"a".into(), member(4, 0), 3300 * MS);
    assert_eq!(agent.decide(3300 * MS).until, 5250 * MS, "from when that one was sent");
}

#[test]
fn a_renewal_that_failed_is_tried_again_soon_while_there_is_something_to_keep() {
    let mut agent = agent("a");
    renew(&mut agent, Duration::ZERO, 3, 10 * MS);
    agent.renewing(4, 1250 * MS);
    agent.failed();
    assert_eq!(agent.decide(1260 * MS).renew, Some(1500 * MS));
    agent.renewing(5, 1500 * MS);
    assert_eq!(agent.decide(1510 * MS).renew, Some(2750 * MS), "under way");
    agent.failed();
    assert_eq!(agent.decide(4000 * MS).renew, Some(2750 * MS), "too late to hurry");
}

#[test]
fn a_lease_that_somebody_else_gives_back_silences_its_node() {
    let mut agent = announcing();
    let node = agent.node.clone();
    agent.renewing(5, 1250 * MS);
    // Such as `kubectl edit`, which leaves the time as it was.
    let edited = |version, renewed| unheld(version).map(|member| Member { renewed, ..member });
    agent.lease(&node, edited(4, 3), 1260 * MS);
    assert_eq!(agent.decide(1260 * MS).give_up, [ip()].into());
    agent.lease(&node, edited(6, 5), 1270 * MS);
    assert_eq!(agent.decide(1270 * MS).take, [].into(), "not by the time of a renewal that we never saw");
    assert!(!agent.renewing(7, 2500 * MS).held);
    agent.lease(&node, unheld(7), 2510 * MS);
    renew(&mut agent, 2520 * MS, 8, 2530 * MS);
    assert_eq!(agent.decide(2530 * MS).take, [ip()].into());
}

#[test]
fn a_node_that_is_not_seen_in_time_leaves_its_addresses_to_others_until_it_is() {
    let mut agent = announcing();
    let node = agent.node.clone();
    assert!(agent.renewing(4, 2000 * MS).held);
    assert_eq!(agent.decide(4000 * MS).give_up, [ip()].into());
    assert!(!agent.renewing(5, 4000 * MS).held, "who does not announce tells so");
    agent.lease(&node, member(4, 0), 4100 * MS);
    assert_eq!(agent.decide(4100 * MS).take, [].into(), "others may be told already that it left");
    assert!(!agent.renewing(6, 6000 * MS).held);
    agent.lease(&node, unheld(6), 8001 * MS);
    assert!(!agent.renewing(7, 8010 * MS).held, "too late");
    agent.lease(&node, unheld(7), 10_010 * MS);
    assert!(agent.renewing(8, 10_010 * MS).held);
    agent.lease(&node, member(8, 0), 10_020 * MS);
    assert_eq!(agent.decide(10_020 * MS).take, [ip()].into());
}

#[test]
fn a_node_that_is_behind_takes_nothing_and_then_leaves() {
    let (owner, other) = two();
    let mut agent = agent(&owner);
    claim(&mut agent);
    let ahead = |version, services| {
        let told = Versions { services, ..Versions::default() };
        Some(Member { told, ..member(version, u64::MAX).unwrap() })
    };
    for version in [1, 2] {
        agent.lease(&other, ahead(version, 0), Duration::ZERO);
    }
    renew(&mut agent, Duration::ZERO, 3, 10 * MS);
    agent.lease(&other, ahead(4, 7), 20 * MS);
    assert_eq!(agent.decide(20 * MS).take, [].into(), "what is it that we do not know?");
    agent.seen(Versions { services: 7, ..Versions::default() }, Versions::default());
    assert_eq!(agent.decide(30 * MS).take, [ip()].into());
    agent.lease(&other, ahead(5, 8), 100 * MS);
    let decision = agent.decide(100 * MS);
    assert_eq!((decision.give_up, decision.wake), ([].into(), Some(1100 * MS)));
    let decision = agent.decide(1100 * MS);
    assert_eq!((decision.give_up, decision.leave, decision.renew), ([ip()].into(), true, None));
}

#[test]
fn a_node_that_always_comes_to_what_others_know_stays() {
    let (owner, other) = two();
    let mut agent = agent(&owner);
    claim(&mut agent);
    let services = |services| Versions { services, ..Versions::default() };
    let ahead = |version| Some(Member { told: services(version), ..member(version, u64::MAX).unwrap() });
    for version in [1, 2] {
        agent.lease(&other, ahead(version), Duration::ZERO);
    }
    agent.seen(services(2), Versions::default());
    renew(&mut agent, Duration::ZERO, 3, 10 * MS);
    assert_eq!(agent.decide(10 * MS).take, [ip()].into());
    let mut now = Duration::ZERO;
    // What others know is taken in 800 ms later, when they know of something else.
    for version in 4..20 {
        now = (u32::try_from(version).unwrap() * 400) * MS;
        agent.lease(&other, ahead(version), now);
        agent.seen(services(version - 2), Versions::default());
        let decision = agent.decide(now);
        assert!(!decision.leave, "{version}");
        renew(&mut agent, now, 100 + version, now);
    }
    agent.seen(services(18), Versions::default());
    let last = agent.decide(now + 500 * MS);
    assert_eq!((last.leave, last.wake), (false, Some(now + 1000 * MS)), "since it was told of the newest");
    assert!(agent.decide(now + 1000 * MS).leave);
}

#[test]
fn a_node_whose_watch_stands_still_leaves() {
    let mut agent = announcing();
    agent.renewing(4, 1250 * MS);
    agent.renewed(4);
    let decision = agent.decide(4000 * MS);
    assert_eq!((decision.give_up, decision.renew, decision.leave), ([ip()].into(), None, false));
    assert!(agent.decide(6250 * MS).leave);
}

#[test]
fn an_address_stays_with_its_owner_when_only_its_pool_changes() {
    let mut agent = announcing();
    renew(&mut agent, 100 * MS, 4, 110 * MS);
    let before = agent.decide(110 * MS);
    // Such as: other interfaces. To place it anew is the owner's own matter.
    let newer = Versions { pools: 9, ..Versions::default() };
    agent.service(&ObjectName::new("n", "s"), vec![(ip(), wanted())], newer, 120 * MS);
    agent.seen(newer, newer);
    let after = agent.decide(120 * MS);
    assert_eq!((after.take, after.give_up, after.renew), ([].into(), [].into(), before.renew));
    assert_eq!(agent.held(), &[ip()].into());
}

#[test]
fn an_address_goes_to_a_node_that_can_announce_it_once_others_know() {
    let (owner, heir) = two();
    let reach = |text: &str| Some(Reach::from(text));
    let at =
        |version, seen, text: &str| Some(Member { reach: reach(text), ..member(version, seen).unwrap() });
    let mut agent = agent(&heir);
    claim(&mut agent);
    for version in [1, 2] {
        agent.lease(&owner, at(version, 0, "192.0.2.0/24"), Duration::ZERO);
    }
    agent.renewing(3, Duration::ZERO);
    agent.renewed(3);
    agent.lease(&heir, at(3, 0, "192.0.2.0/24"), 10 * MS);
    assert_eq!(agent.decide(10 * MS).take, [].into());
    // The owner's interface goes; it tells so, and has not told yet that it knows what it told.
    agent.lease(&owner, at(4, 3, ""), 20 * MS);
    let decision = agent.decide(20 * MS);
    assert_eq!((decision.take, decision.renew), ([].into(), Some(100 * MS)));
    agent.lease(&owner, at(5, 4, ""), 30 * MS);
    assert_eq!(agent.decide(30 * MS).take, [ip()].into());
    agent.lease(&owner, at(6, 5, "192.0.2.0/24"), 40 * MS);
    assert_eq!(agent.decide(40 * MS).give_up, [ip()].into(), "and back");
}
