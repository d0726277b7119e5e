//! Hints of Services that ask for topology aware routing: endpoints divided among the zones by their CPU.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use portolan_core::{Endpoint, EndpointHints, EndpointSlice};

use super::pack::Identity;

/// By how much an endpoint may be asked more than with an even division.
const OVERLOAD: f64 = 0.2;

type Zones = BTreeMap<Arc<str>, u64>;

/// That the endpoints of a family have hints.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Hinted {
    /// As the stored slices have.
    Still,
    /// None of the stored slices has any.
    Begins,
}

/// Gives each ready endpoint of a family the hint for a zone. Fails, in words, where that cannot be done
/// well, and leaves them without.
///
/// Hints that the stored `slices` have stay as long as they overload no zone, so that a pod that comes or
/// goes is the change of one slice. Else endpoints are for their own zone, and zones that have more of them
/// than their share of CPU give some to those that have less.
///
/// Differs from upstream: hints for topology aware routing stay while no zone is overloaded, in every slice;
/// kube-controller-manager draws those of the slices that it writes anyway anew. The Event that they begin
/// (TopologyAwareHintsEnabled) comes once they are written and not again after a restart. And all Services that
/// ask for them are looked at when a zone's CPU changes, not only those that are overloaded by then.
pub(super) fn hint<'e>(
    endpoints: impl Iterator<Item = &'e mut Endpoint>,
    slices: &[&EndpointSlice],
    cpu: Option<&Zones>,
) -> Result<Hinted, String> {
    let mut ready: Vec<&mut Endpoint> = endpoints.filter(|endpoint| endpoint.ready()).collect();
    let shares = Shares::of(cpu, ready.len())?;
    let own: Option<Vec<_>> = ready.iter().map(|endpoint| endpoint.zone.clone()).collect();
    let own = own.ok_or("an endpoint has no zone")?;
    let stored: HashMap<_, _> = slices
        .iter()
        .flat_map(|slice| &slice.endpoints)
        .filter_map(|endpoint| Some((Identity::of(endpoint), endpoint.hints.zones().first()?)))
        .collect();
    let held = ready.iter().zip(&own);
    let held: Vec<_> = held
        .map(|(endpoint, own)| stored.get(&Identity::of(endpoint)).copied().unwrap_or(own).clone())
        .collect();
    let zones = if stored.is_empty() || !shares.hold(&held) { shares.divide(own) } else { held };
    for (endpoint, zone) in ready.iter_mut().zip(zones) {
        endpoint.hints = EndpointHints::new(vec![zone], Vec::new());
    }
    Ok(if stored.is_empty() { Hinted::Begins } else { Hinted::Still })
}

/// How many endpoints the zones should have.
struct Shares(BTreeMap<Arc<str>, Share>);

struct Share {
    desired: f64,
    most: usize,
}

impl Shares {
    fn of(cpu: Option<&Zones>, endpoints: usize) -> Result<Self, String> {
        let cpu = cpu.ok_or("a node does not tell its zone or its CPU")?;
        if cpu.len() < 2 {
            return Err("there are ready nodes in fewer than two zones".to_owned());
        }
        let zones = cpu.len();
        if endpoints < zones {
            return Err(format!("{endpoints} endpoints are too few for {zones} zones"));
        }
        let total: u64 = cpu.values().sum();
        let fair = |cpu: u64| cpu as f64 / total as f64 * endpoints as f64;
        let least = |cpu: u64| (fair(cpu) * (1.0 / (1.0 + OVERLOAD))).ceil();
        let least_total = cpu.values().map(|cpu| least(*cpu) as usize).sum();
        let spare = endpoints.checked_sub(least_total).ok_or_else(|| {
            format!("{endpoints} endpoints cannot be divided among {zones} zones without overload")
        })?;
        let share =
            |cpu: u64| Share { desired: fair(cpu).max(least(cpu)), most: least(cpu) as usize + spare };
        Ok(Self(cpu.iter().map(|(zone, cpu)| (zone.clone(), share(*cpu))).collect()))
    }

    /// Whether endpoints for these zones are divided well enough.
    fn hold(&self, zones: &[Arc<str>]) -> bool {
        let counts = count(zones);
        counts.iter().all(|(zone, count)| self.0.get(*zone).is_some_and(|share| *count <= share.most))
    }

    /// Zones of endpoints, from those that they are in. What a zone has beyond its share goes to the zone that
    /// lacks most, one by one, as long as that brings both nearer to their shares.
    fn divide(&self, mut zones: Vec<Arc<str>>) -> Vec<Arc<str>> {
        let mut excess: BTreeMap<Arc<str>, f64> =
            self.0.iter().map(|(zone, share)| (zone.clone(), -share.desired)).collect();
        for zone in &zones {
            *excess.entry(zone.clone()).or_default() += 1.0;
        }
        let by_excess = |one: &(&Arc<str>, &f64), other: &(&Arc<str>, &f64)| one.1.total_cmp(other.1);
        loop {
            let most = excess.iter().max_by(by_excess).map(|(zone, excess)| (zone.clone(), *excess));
            let least = excess.iter().min_by(by_excess).map(|(zone, excess)| (zone.clone(), -*excess));
            let (Some((giver, gives)), Some((taker, takes))) = (most, least) else { return zones };
            if (gives < 1.0 && takes < 1.0) || gives < 0.5 || takes < 0.5 {
                return zones;
            }
            let Some(given) = zones.iter_mut().find(|zone| **zone == giver) else { return zones };
            *given = taker.clone();
            excess.insert(giver, gives - 1.0);
            excess.insert(taker, 1.0 - takes);
        }
    }
}

fn count(zones: &[Arc<str>]) -> BTreeMap<&Arc<str>, usize> {
    let mut counts = BTreeMap::new();
    for zone in zones {
        *counts.entry(zone).or_default() += 1;
    }
    counts
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `zone=number`, separated by blanks.
    fn read(text: &str) -> BTreeMap<Arc<str>, u64> {
        let pairs = text.split_whitespace().map(|word| word.split_once('=').unwrap());
        pairs.map(|(zone, number)| (zone.into(), number.parse().unwrap())).collect()
    }

    fn zones(text: &str) -> Vec<Arc<str>> {
        let all = read(text).into_iter();
        all.flat_map(|(zone, number)| std::iter::repeat_n(zone, usize::try_from(number).unwrap())).collect()
    }

    fn divided(cpu: &str, endpoints: &str) -> Result<String, String> {
        let shares = Shares::of(Some(&read(cpu)), zones(endpoints).len())?;
        let zones = shares.divide(zones(endpoints));
        let text: Vec<_> = count(&zones).iter().map(|(zone, count)| format!("{zone}={count}")).collect();
        assert_eq!(shares.divide(zones.clone()), zones, "divided once: {cpu}, {endpoints}");
        Ok(text.join(" "))
    }

    #[test]
    fn endpoints_are_divided_by_cpu() {
        for (cpu, endpoints, want) in [
            ("a=4 b=4", "a=2 b=2", "a=2 b=2"),
            ("a=4 b=4", "a=4", "a=2 b=2"),
            ("a=4 b=4", "a=10", "a=5 b=5"),
            ("a=1 b=3", "a=4 b=4", "a=2 b=6"),
            ("a=4 b=4 c=4", "a=9", "a=3 b=3 c=3"),
            ("a=4 b=4 c=4", "a=7", "a=3 b=2 c=2"),
            // Upstream's examples.
            ("a=45 b=55", "a=1 b=1", "a=1 b=1"),
            ("a=35 b=35 c=30", "a=5 b=2 c=3", "a=4 b=3 c=3"),
            ("a=51 b=51 c=58", "a=16", "a=6 b=5 c=5"),
            ("a=50 b=56 c=54", "a=16", "a=5 b=6 c=5"),
            ("a=50 b=56 c=54", "b=8 c=8", "a=5 b=6 c=5"),
            // A zone without ready nodes gives all that it has.
            ("a=4 b=4", "a=2 gone=4", "a=3 b=3"),
        ] {
            assert_eq!(divided(cpu, endpoints).as_deref(), Ok(want), "{cpu}: {endpoints}");
        }
    }

    #[test]
    fn what_cannot_be_divided_well_is_not() {
        for (cpu, endpoints, why) in [
            ("a=4", "a=4", "there are ready nodes in fewer than two zones"),
            ("", "a=4", "there are ready nodes in fewer than two zones"),
            ("a=4 b=4 c=4", "a=1 b=1", "2 endpoints are too few for 3 zones"),
            ("a=30 b=40 c=30", "a=1 b=1", "2 endpoints are too few for 3 zones"),
            ("a=4 b=4 c=4", "a=5", "5 endpoints cannot be divided among 3 zones without overload"),
            ("a=1 b=9", "a=1 b=2", "3 endpoints cannot be divided among 2 zones without overload"),
        ] {
            assert_eq!(divided(cpu, endpoints), Err(why.to_owned()), "{cpu}: {endpoints}");
        }
        assert!(Shares::of(None, 9).is_err());
    }

    /// `Test_checkNodeTopologyDistribution`.
    #[test]
    fn endpoints_are_divided_anew_where_upstream_looks_again() {
        for (cpu, endpoints, again) in [
            ("a=100 b=1000 c=2000", "a=1 b=2 c=3", true),
            ("b=1000 c=2000", "a=1 b=2 c=3", true),
            ("b=4000 c=4000", "b=5 c=4", false),
            ("b=4000 c=4000", "b=6 c=4", true),
            ("a=2000 b=1000 c=100", "a=20 b=10 c=1", false),
        ] {
            let held = zones(endpoints);
            let holds = Shares::of(Some(&read(cpu)), held.len()).is_ok_and(|shares| shares.hold(&held));
            assert_eq!(!holds, again, "{cpu}: {endpoints}");
        }
    }

    #[test]
    fn a_division_holds_while_no_zone_has_more_than_its_most() {
        let shares = Shares::of(Some(&read("a=1 b=1")), 100).unwrap();
        for (held, good) in
            [("a=50 b=50", true), ("a=58 b=42", true), ("a=59 b=41", false), ("a=50 b=49 c=1", false)]
        {
            assert_eq!(shares.hold(&zones(held)), good, "{held}");
        }
    }
}
