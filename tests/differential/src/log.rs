//! What upstream's log says of the Endpoints and slices that it could not bring up to date.

use std::collections::BTreeMap;

use crate::facts::ENDPOINTS;
use crate::generate::{BY_MIRRORING, BY_SLICES};

/// What upstream has failed at. It tries again, but for every sixteenth time, after which it waits for an event.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Failing {
    /// How often in a row, whatever was wrong: its pause doubles with each.
    pub(crate) in_a_row: usize,
    /// How often of these in the same way as the last time, without another one in between.
    pub(crate) tries: usize,
    /// What was wrong.
    pub(crate) error: String,
}

/// By Service and by what is kept, or by who keeps the slices.
pub(crate) type AllFailing = BTreeMap<(String, &'static str), Failing>;

/// The files whose lines are read here, with the verbosity that it takes.
pub(crate) const VERBOSE: &str =
    "endpoints_controller=4,endpointslice_controller=4,endpointslicemirroring_controller=4";

/// What a controller says after each try, and then if that has failed.
const SAID: [(&str, &str, [&str; 2]); 3] = [
    (
        ENDPOINTS,
        "Finished syncing service endpoints",
        ["Error syncing endpoints, retrying", "Dropping service out of the queue"],
    ),
    (
        BY_SLICES,
        "Finished syncing service endpoint slices",
        [
            "Error syncing endpoint slices for service, retrying",
            "Retry budget exceeded, dropping service out of the queue",
        ],
    ),
    (
        BY_MIRRORING,
        "Finished syncing EndpointSlices for Endpoints",
        [
            "Error mirroring EndpointSlices for Endpoints, retrying",
            "Retry budget exceeded, dropping Endpoints out of the queue",
        ],
    ),
];

/// Everything in a namespace of which upstream said last that it has failed.
pub(crate) fn failing(log: &str, namespace: &str) -> AllFailing {
    // `key="…"`, and `service="…"` where it is about Endpoints.
    let key = format!("=\"{namespace}/");
    let mut all = AllFailing::new();
    // Tries of which no failure has been told so far.
    let mut ended = BTreeMap::new();
    for line in log.lines() {
        let Some((said, rest)) = line.split_once(&key) else { continue };
        let Some((service, rest)) = rest.split_once('"') else { continue };
        for (source, try_ended, try_failed) in SAID {
            let of = (service.to_owned(), source);
            if said.contains(try_ended) {
                if ended.insert(of.clone(), ()).is_some() {
                    all.remove(&of); // the one before succeeded
                }
            } else if try_failed.iter().any(|failed| said.contains(failed)) {
                ended.remove(&of);
                let error = rest.split_once("err=").map_or(rest, |(_, error)| error);
                let failing = all.entry(of).or_default();
                failing.in_a_row += 1;
                failing.tries = if alike(&failing.error, error) { failing.tries + 1 } else { 1 };
                error.clone_into(&mut failing.error);
            }
        }
    }
    all.retain(|of, _| !ended.contains_key(of));
    all
}

/// Whether two errors are the same but for versions.
fn alike(one: &str, other: &str) -> bool {
    let words = |text: &'_ str| text.chars().filter(|letter| !letter.is_ascii_digit()).collect::<String>();
    words(one) == words(other)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(all: &[&str]) -> String {
        let line = |said: &&str| match *said {
            "ended" => {
                "I1 1 a.go:1] \"Finished syncing service endpoint slices\" key=\"n/s\" elapsedTime=\"1ms\"\n"
            }
            "stale" => {
                "I1 1 a.go:1] \"Error syncing endpoint slices for service, retrying\" key=\"n/s\" err=\"stale\"\n"
            }
            "node" => {
                "I1 1 a.go:1] \"Error syncing endpoint slices for service, retrying\" key=\"n/s\" err=\"node\"\n"
            }
            "dropped" => {
                "I1 1 a.go:1] \"Retry budget exceeded, dropping service out of the queue\" key=\"n/s\" err=\"node\"\n"
            }
            "mirror" => {
                "I1 1 b.go:1] \"Error mirroring EndpointSlices for Endpoints, retrying\" key=\"n/s\" err=\"m\"\n"
            }
            "endpoints" => {
                "I1 1 c.go:1] \"Error syncing endpoints, retrying\" service=\"n/s\" err=\"version 7 of n/s\"\n"
            }
            "endpoints ended" => {
                "I1 1 c.go:1] \"Finished syncing service endpoints\" service=\"n/s\" startTime=\"1ms\"\n"
            }
            other => panic!("{other}"),
        };
        all.iter().map(line).collect()
    }

    fn of_slices(all: &[&str]) -> Option<(usize, String)> {
        let failing = failing(&lines(all), "n").remove(&("s".to_owned(), BY_SLICES));
        failing.map(|failing| (failing.tries, failing.error))
    }

    #[test]
    fn what_failed_is_failing_until_a_try_succeeds() {
        assert_eq!(of_slices(&["ended"]), None);
        assert_eq!(of_slices(&["ended", "stale"]), Some((1, "\"stale\"".to_owned())));
        assert_eq!(of_slices(&["ended", "stale", "ended", "node"]), Some((1, "\"node\"".to_owned())));
        assert_eq!(of_slices(&["ended", "node", "ended", "dropped"]), Some((2, "\"node\"".to_owned())));
        assert_eq!(of_slices(&["ended", "stale", "ended"]), None);
        assert_eq!(
            of_slices(&["ended", "stale", "ended", "ended", "stale"]),
            Some((1, "\"stale\"".to_owned()))
        );
    }

    #[test]
    fn failures_in_a_row_can_have_different_reasons() {
        let row = |all: &[&str]| {
            let failing = failing(&lines(all), "n").remove(&("s".to_owned(), BY_SLICES)).unwrap_or_default();
            (failing.in_a_row, failing.tries)
        };
        assert_eq!(row(&["ended", "stale", "ended", "stale", "ended", "node"]), (3, 1));
        assert_eq!(row(&["ended", "stale", "ended", "node", "ended", "node"]), (3, 2));
        assert_eq!(row(&["ended", "stale", "ended", "ended", "node"]), (1, 1));
    }

    #[test]
    fn controllers_and_namespaces_are_told_apart() {
        let log = lines(&["mirror", "ended"]);
        let failing_in = |namespace: &str| failing(&log, namespace).into_keys().collect::<Vec<_>>();
        assert_eq!(failing_in("n"), [("s".to_owned(), BY_MIRRORING)]);
        assert_eq!(failing_in("m"), []);
        let log = lines(&["endpoints ended", "endpoints", "ended"]);
        let failing = failing(&log, "n");
        assert_eq!(failing.keys().collect::<Vec<_>>(), [&("s".to_owned(), ENDPOINTS)]);
        assert_eq!(failing[&("s".to_owned(), ENDPOINTS)].error, "\"version 7 of n/s\"");
    }
}
