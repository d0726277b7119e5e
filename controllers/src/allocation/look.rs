//! The auditor, for who looks once and has not followed what happened.

use std::time::Duration;

use jiff::Timestamp;
use portolan_allocation::PortRange;
use portolan_allocation::audit::{Auditor, Claims};
use portolan_core::{Meta, State};

use super::{claims, ranges, take_record};

/// An auditor that has told all that is wrong in a state, as if it had been there from the beginning.
///
/// Each object comes at the time that its `creationTimestamp` names, so that what is wrong for a moment only, because two
/// objects are written one after the other, is not told. What became wrong later, such as by the end of the Service that an
/// address is recorded for, shows no time and is told at once. `now` is by the API server's clock.
pub fn look(state: &State, node_ports: PortRange, now: Timestamp) -> Auditor {
    let addresses = state.ip_addresses.iter().map(|object| &object.meta);
    let metas = addresses.chain(state.services.iter().map(|service| &service.meta));
    let origin = metas.filter_map(|meta| meta.creation_timestamp).min().unwrap_or(now).min(now);
    let since = |meta: &Meta| {
        let made = meta.creation_timestamp.unwrap_or(origin);
        Duration::try_from(made.duration_since(origin)).unwrap_or_default()
    };
    let mut addresses: Vec<_> =
        state.ip_addresses.iter().map(|object| (since(&object.meta), object)).collect();
    addresses.sort_by_key(|(made, _)| *made);
    let mut services: Vec<_> = state.services.iter().map(|service| (since(&service.meta), service)).collect();
    services.sort_by_key(|(made, _)| *made);

    let mut auditor = Auditor::new(node_ports);
    auditor.set_ranges(&ranges(state), Duration::ZERO);
    let mut addresses = addresses.into_iter().peekable();
    let nothing = Claims::default();
    for (made, service) in services {
        while let Some((recorded, object)) = addresses.next_if(|(recorded, _)| *recorded <= made) {
            take_record(&mut auditor, None, Some(object), recorded);
        }
        auditor.service(&service.meta.object_name(), &nothing, &claims(service), made);
    }
    for (recorded, object) in addresses {
        take_record(&mut auditor, None, Some(object), recorded);
    }
    auditor.ripe(Duration::try_from(now.duration_since(origin)).unwrap_or_default());
    auditor
}

#[cfg(test)]
mod tests {
    use portolan_core::{ChangeSet, Event, IpAddress, Service, ServiceCidr, Watched};

    use super::*;

    /// A state of a range and, in words, `service NAME SECOND ADDRESS` and `record ADDRESS SECOND NAME`.
    fn state(lines: &[&str]) -> State {
        fn apply<T: Watched>(state: &mut State, json: &str) {
            let event = Event::Applied(serde_json::from_str::<T>(json).unwrap());
            state.apply(event, &mut ChangeSet::default());
        }
        let mut state = State::default();
        apply::<ServiceCidr>(
            &mut state,
            r#"{"metadata": {"name": "kubernetes"}, "spec": {"cidrs": ["10.0.0.0/24"]}}"#,
        );
        for line in lines {
            let [what, name, second, other] = line.split(' ').collect::<Vec<_>>()[..] else {
                panic!("{line}")
            };
            let made = format!("2026-01-01T00:{second}Z");
            if what == "service" {
                let json = format!(
                    r#"{{"metadata": {{"name": "{name}", "namespace": "n", "creationTimestamp": "{made}"}},
                        "spec": {{"clusterIP": "{other}", "clusterIPs": ["{other}"]}}}}"#
                );
                apply::<Service>(&mut state, &json);
            } else {
                let json = format!(
                    r#"{{"metadata": {{"name": "{name}", "creationTimestamp": "{made}",
                        "labels": {{"ipaddress.kubernetes.io/managed-by": "ipallocator.k8s.io"}}}}, "spec":
                        {{"parentRef": {{"group": "", "resource": "services", "namespace": "n", "name": "{other}"}}}}}}"#
                );
                apply::<IpAddress>(&mut state, &json);
            }
        }
        state
    }

    #[test]
    fn ages_decide_what_may_pass() {
        for (lines, told) in [
            // Each has what it needs, whichever came first.
            (&["service a 00:00 10.0.0.1", "record 10.0.0.1 00:01 a"][..], &[][..]),
            (&["record 10.0.0.1 00:00 a", "service a 05:00 10.0.0.1"], &[]),
            // As old as that by 10:00.
            (&["service a 08:59 10.0.0.1"], &["ClusterIPNotAllocated"]),
            (&["service a 00:00 10.0.0.1", "record 10.0.0.1 00:00 a", "service b 09:30 10.0.0.2"], &[]),
            (&["record 10.0.0.1 09:00 a"], &["IPAddressNotAllocated"]),
            (&["service b 00:00 10.0.0.9", "record 10.0.0.9 00:00 b", "record 10.0.0.1 09:01 a"], &[]),
            (&["service a 00:00 10.0.0.1", "record 10.0.0.1 08:00 b"], &["IPAddressWrongReference"]),
            (&["service a 00:00 10.0.0.1", "record 10.0.0.1 09:30 b"], &[]),
            // What cannot pass is told at once, and clocks that differ hurt nobody.
            (&["service a 10:00 10.1.0.1", "record 10.1.0.1 10:00 a"], &["ClusterIPOutOfRange"]),
            (&["service a 11:00 10.0.0.1"], &[]),
        ] {
            let now = "2026-01-01T00:10:00Z".parse().unwrap();
            let auditor = look(&state(lines), PortRange::new(&(30000..=32767)).unwrap(), now);
            let found: Vec<_> = auditor.told().map(portolan_allocation::audit::Finding::reason).collect();
            assert_eq!(found, told, "{lines:?}");
        }
    }
}
