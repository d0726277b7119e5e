//! The answer to one request.

use std::collections::BTreeMap;
use std::time::Duration;

use portolan_core::{Labels, ObjectName};

use super::Picker;
use crate::{Choice, Domain, PoolKind, PortWant, Request, Value, Wants};

/// A choice older than this is known to have come to nothing if the Service has not come with it since: the same Service
/// may get it again.
const STALE: Duration = Duration::from_secs(5);

/// A Service that is refused gets other values so many times, since its refusal may be for the value. Then it gets those again that
/// it had first, so that one which is refused for something else (as by a quota) does not use up a pool. Of one whose name the
/// API server is to find nobody can tell that it is the same.
pub(super) const TRIES: usize = 4;

/// The answer to one request.
pub(super) struct Session<'a, 'b> {
    pub(super) picker: &'a Picker,
    pub(super) request: &'a Request<'b>,
    /// Of the request: read once, since nobody says how many labels a Service may have.
    pub(super) labels: Labels,
    pub(super) owner: ObjectName,
    pub(super) now: Duration,
    pub(super) seed: u64,
    pub(super) choice: &'a mut Choice,
}

impl Session<'_, '_> {
    pub(super) fn addresses(&mut self, wants: &Wants) {
        let mut addresses: Vec<_> = wants.addresses.iter().copied().map(Value::Ip).collect();
        let said = addresses.len();
        for family in &wants.families {
            // A second one cannot be said without the first.
            let Some(value) = self.pick(PoolKind::Addresses, (*family).into(), 1) else { break };
            addresses.push(value);
        }
        if addresses.len() > said {
            self.choice.set_addresses(&addresses);
        }
    }

    pub(super) fn ports(&mut self, wants: &Wants) {
        let mut chosen = BTreeMap::new();
        let own = wants.ports.iter().filter(|want| want.like.is_none());
        let count = own.count() + usize::from(wants.health);
        for want in &wants.ports {
            let PortWant { index, like } = *want;
            let port = match like {
                Some(earlier) => chosen.get(&earlier).copied(),
                None => self.port(count),
            };
            if let Some(port) = port {
                chosen.insert(index, port);
                self.choice.set_port(*want, port);
            }
        }
        if let Some(port) = wants.health.then(|| self.port(count)).flatten() {
            self.choice.set_health_port(port);
        }
    }

    fn port(&mut self, count: usize) -> Option<u16> {
        match self.pick(PoolKind::Ports, Domain::Port, count)? {
            Value::Port(port) => Some(port),
            Value::Ip(_) => None,
        }
    }

    /// A value of the first pool that is for the Service and has one. The Service wants `count` values of this domain.
    fn pick(&mut self, kind: PoolKind, domain: Domain, count: usize) -> Option<Value> {
        let Self { picker, request, labels, owner, now, seed, choice } = self;
        let nothing = Labels::new();
        let of_namespace = picker.namespaces.get(request.namespace).unwrap_or(&nothing);
        let (holder, terms) = (&picker.holder, &picker.terms);
        let chosen: Vec<_> = choice.picks.iter().map(|(_, value)| *value).collect();
        let pools = picker.pools.iter().filter(|pool| {
            pool.spec.key.kind == kind && pool.spec.scope.admits(request.namespace, of_namespace, labels)
        });
        let (mut asked, mut lacking) = (None, false);
        for pool in pools {
            let key = &pool.spec.key;
            let Some(space) = pool.spaces.get(&domain) else { continue };
            asked.get_or_insert_with(|| key.clone());
            let mine = || {
                let all = picker.reservations.of(owner).filter(|_| !owner.name.is_empty());
                all.filter(|(value, reservation)| value.domain() == domain && reservation.pool == *key)
            };
            let again = |rest: Duration| {
                let rested = mine().filter(|(value, reservation)| {
                    reservation.since + rest <= *now
                        && !chosen.contains(value)
                        && space.may_choose(*value, holder, *now, terms)
                });
                rested.min_by_key(|(_, reservation)| reservation.since).map(|(value, _)| value)
            };
            let another = || space.pick(holder, *now, terms, &chosen, *seed);
            let value = if mine().count() < TRIES * count {
                another().or_else(|| again(STALE))
            } else {
                // However fast the tries come: of two requests for one name one is refused anyway.
                again(Duration::ZERO).or_else(another)
            };
            let Some(value) = value else {
                if !lacking && space.values().free() > 0 {
                    lacking = true;
                    *choice.scarce.entry((key.clone(), domain)).or_default() += 1;
                }
                continue;
            };
            choice.picks.push((key.clone(), value));
            return Some(value);
        }
        choice.left.extend(asked);
        None
    }
}
