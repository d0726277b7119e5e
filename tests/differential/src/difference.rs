//! Differences between the sides, and those that are kept on purpose.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use crate::facts::{Details, ENDPOINTS, Facts, NO_ENDPOINT, OBJECT, Subject};
use crate::generate::{BY_MIRRORING, BY_SLICES};
use crate::log::{AllFailing, Failing};

/// How often upstream at least has tried while the sides were waited for, unless something kept it from trying:
/// the fifth try is due after 15 seconds, the sixth after 31.
const IN_VAIN: usize = 5;

/// What the sides say about a subject, where that differs.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Difference {
    pub(crate) subject: Subject,
    pub(crate) upstream: Vec<Details>,
    pub(crate) ours: Vec<Details>,
}

impl fmt::Display for Difference {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(out, "{}", self.subject)?;
        for (who, all) in [("upstream", &self.upstream), ("ours", &self.ours)] {
            match all.as_slice() {
                [] => writeln!(out, "  {who}: nothing")?,
                all => all.iter().try_for_each(|details| writeln!(out, "  {who}: {details:?}"))?,
            }
        }
        Ok(())
    }
}

/// All differences.
pub(crate) fn differences(upstream: &Facts, ours: &Facts) -> Vec<Difference> {
    let subjects: BTreeSet<_> = upstream.about.keys().chain(ours.about.keys()).collect();
    let of = |facts: &Facts, subject| facts.about.get(subject).cloned().unwrap_or_default();
    subjects
        .into_iter()
        .map(|subject| Difference {
            subject: subject.clone(),
            upstream: of(upstream, subject),
            ours: of(ours, subject),
        })
        .filter(|difference| difference.upstream != difference.ours)
        .collect()
}

/// Services with an address family.
pub(crate) type Families = BTreeSet<(String, String)>;

/// What a predicate may ask for.
pub(crate) struct Context<'a> {
    pub(crate) ours: &'a Facts,
    /// What was mirrored here since the controller of slices last wrote.
    pub(crate) mirrored: &'a Families,
    /// Services of which upstream made a mirrored slice under the name of a deleted one.
    pub(crate) remade: &'a BTreeSet<String>,
    /// What upstream says in its log that it fails at.
    pub(crate) failing: &'a AllFailing,
}

/// A difference that is kept on purpose.
pub(crate) struct Allowed {
    /// That of its case, too.
    pub(crate) name: &'static str,
    pub(crate) is: fn(&Difference, &Context<'_>) -> bool,
}

/// All of them that the random sequences meet; each has a case of its own ([`mod@crate::cases`]).
pub(crate) const ALLOWED: &[Allowed] = &[
    Allowed { name: "upstream waits for its own cache", is: given_up },
    Allowed { name: "retries that wait for each other", is: postponed },
    Allowed { name: "slices reused in two families", is: mixed_up },
    Allowed { name: "slices that a lost selector leaves", is: leftover },
    Allowed { name: "rest of a mirrored targetRef", is: mirrored_target },
    Allowed { name: "annotations of a reused slice", is: reused },
    Allowed { name: "mark of a headless Service", is: headless },
    Allowed { name: "an empty slice beside others", is: empty },
];

/// What upstream says that it fails at, as far as the difference is about that.
fn failing<'a>(difference: &Difference, context: &Context<'a>) -> Option<&'a Failing> {
    let Subject { service, source, .. } = &difference.subject;
    context.failing.iter().find(|((name, by), _)| name == service && by == source).map(|(_, failing)| failing)
}

fn waits_for_cache(failing: &Failing) -> bool {
    failing.error.contains("informer cache is out of date")
}

/// Upstream has said again and again that it waits for its own cache, and writes nothing.
fn given_up(difference: &Difference, context: &Context<'_>) -> bool {
    failing(difference, context).is_some_and(|it| waits_for_cache(it) && it.tries >= IN_VAIN)
}

/// Upstream's cache was behind, or its write met an object that somebody else had changed or made (409), and it has
/// not looked again, although the pauses between so few tries are short.
fn postponed(difference: &Difference, context: &Context<'_>) -> bool {
    let made = |it: &Failing| difference.subject.source == ENDPOINTS && it.error.contains("already exists");
    let behind =
        |it: &Failing| waits_for_cache(it) || made(it) || it.error.contains("Operation cannot be fulfilled");
    failing(difference, context).is_some_and(|it| behind(it) && it.tries < IN_VAIN)
}

/// Upstream makes a mirrored slice under the name of one that it has, instead of one of the other family. Where it has had it
/// only by what its cache said, it succeeds, and lacks the other one from then on.
fn mixed_up(difference: &Difference, context: &Context<'_>) -> bool {
    let lacks = difference.upstream.is_empty() && context.remade.contains(&difference.subject.service);
    let fails = failing(difference, context).is_some_and(|it| it.error.contains("already exists"));
    difference.subject.source == BY_MIRRORING && (lacks || fails)
}

/// Here a slice that is reused has annotations that upstream's has lost.
fn reused(difference: &Difference, _: &Context<'_>) -> bool {
    let without = |all: &[Details]| -> BTreeSet<Details> {
        let mut all = all.to_vec();
        all.iter_mut().for_each(|details| drop(details.remove("annotations")));
        all.into_iter().collect()
    };
    let annotated =
        |all: &[Details]| all.iter().filter(|details| details.contains_key("annotations")).count();
    difference.subject.source == BY_SLICES
        && difference.subject.what == OBJECT
        && annotated(&difference.ours) > annotated(&difference.upstream)
        && without(&difference.ours) == without(&difference.upstream)
}

/// Labels are the same but for the mark of a headless Service.
fn headless(difference: &Difference, _: &Context<'_>) -> bool {
    let without = |all: &[Details]| -> BTreeSet<Details> {
        let mut all = all.to_vec();
        for labels in all.iter_mut().filter_map(|details| details.get_mut("labels")) {
            let words = labels.split(' ').filter(|word| *word != "service.kubernetes.io/headless=");
            *labels = words.collect::<Vec<_>>().join(" ");
        }
        all.into_iter().collect()
    };
    difference.subject.what == OBJECT
        && difference.subject.source != BY_MIRRORING
        && difference.ours.len() == 1
        && without(&difference.ours) == without(&difference.upstream)
}

/// Upstream still has a slice of its controller beside mirrored ones of the same family; here it is gone, and
/// stays so whatever is mirrored later.
fn leftover(difference: &Difference, context: &Context<'_>) -> bool {
    let key = difference.subject.of_family();
    let mirrored = |it: &Subject| it.source == BY_MIRRORING && it.of_family() == key;
    difference.subject.source == BY_SLICES
        && difference.ours.is_empty()
        && (context.ours.about.keys().any(mirrored) || context.mirrored.contains(&key))
}

/// Upstream has a slice without endpoints where here there are only others of the family.
fn empty(difference: &Difference, context: &Context<'_>) -> bool {
    let key = difference.subject.of_family();
    let other = |it: &Subject| it.source == BY_SLICES && it.of_family() == key && it.what != NO_ENDPOINT;
    difference.subject.source == BY_SLICES
        && [NO_ENDPOINT, OBJECT].contains(&difference.subject.what.as_str())
        && difference.ours.is_empty()
        && context.ours.about.keys().any(other)
}

/// All but `apiVersion`, `resourceVersion` and `fieldPath` is the same.
fn mirrored_target(difference: &Difference, _: &Context<'_>) -> bool {
    let without = |all: &[Details]| -> Vec<Details> {
        let mut all = all.to_vec();
        all.iter_mut().for_each(|details| drop(details.remove("rest of targetRef")));
        all
    };
    let told = |details: &Details| details.contains_key("rest of targetRef");
    difference.subject.source == BY_MIRRORING
        && !difference.ours.iter().any(told)
        && difference.ours == without(&difference.upstream)
}

/// Parts the differences into those that are allowed, counted by name, and the rest.
pub(crate) fn judge(
    upstream: &Facts,
    context: &Context<'_>,
) -> (BTreeMap<&'static str, u64>, Vec<Difference>) {
    let mut allowed = BTreeMap::new();
    let mut rest = Vec::new();
    for difference in differences(upstream, context.ours) {
        match ALLOWED.iter().find(|allowed| (allowed.is)(&difference, context)) {
            Some(by) => *allowed.entry(by.name).or_default() += 1,
            None => rest.push(difference),
        }
    }
    (allowed, rest)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(what: &str, details: &[(&'static str, &str)]) -> (Subject, Vec<Details>) {
        let subject = Subject {
            service: "s".to_owned(),
            source: BY_SLICES.to_owned(),
            group: "IPv4".to_owned(),
            what: what.to_owned(),
        };
        (subject, vec![details.iter().map(|(name, value)| (*name, (*value).to_owned())).collect()])
    }

    fn facts<const N: usize>(all: [(Subject, Vec<Details>); N]) -> Facts {
        let mut facts = Facts::default();
        facts.about.extend(all);
        facts
    }

    fn judged(upstream: &Facts, ours: &Facts) -> (usize, Vec<Difference>) {
        let context = Context {
            ours,
            mirrored: &Families::new(),
            remade: &BTreeSet::new(),
            failing: &AllFailing::new(),
        };
        let (allowed, rest) = judge(upstream, &context);
        (allowed.len(), rest)
    }

    #[test]
    fn what_differs_beyond_an_allowed_difference_is_not_allowed() {
        let upstream = facts([said(OBJECT, &[("labels", "a=b")]), said("10.0.0.1", &[("ready", "true")])]);
        let annotated = [("labels", "a=b"), ("annotations", "note=x")];
        let ours = facts([said(OBJECT, &annotated), said("10.0.0.1", &[("ready", "true")])]);
        let (allowed, rest) = judged(&upstream, &ours);
        assert_eq!((allowed, rest), (1, Vec::new()));
        let (allowed, rest) = judged(&ours, &upstream);
        assert_eq!((allowed, rest.len()), (0, 1), "the other way round it is a loss");

        let other = [("labels", "a=c"), ("annotations", "note=x")];
        let ours = facts([said(OBJECT, &other), said("10.0.0.1", &[("ready", "false")])]);
        let (allowed, rest) = judged(&upstream, &ours);
        assert_eq!((allowed, rest.len()), (0, 2), "{rest:?}");

        let (allowed, rest) = judged(&upstream, &Facts::default());
        assert_eq!((allowed, rest.len()), (0, 2), "slices that are missing, with no mirrored ones");
    }

    #[test]
    fn a_mirrored_slice_may_be_missing_beside_one_made_under_an_old_name() {
        let (mut subject, details) = said("fd01::1", &[("ready", "true")]);
        subject.source = BY_MIRRORING.to_owned();
        let (with, without) = (facts([(subject, details)]), Facts::default());
        let allowed = |upstream: &Facts, ours: &Facts, remade: &str| {
            let context = Context {
                ours,
                mirrored: &Families::new(),
                remade: &BTreeSet::from([remade.to_owned()]),
                failing: &AllFailing::new(),
            };
            judge(upstream, &context).0.into_keys().next()
        };
        assert_eq!(allowed(&without, &with, "s"), Some("slices reused in two families"));
        assert_eq!(allowed(&without, &with, "t"), None);
        assert_eq!(allowed(&with, &without, "s"), None, "the other way round it is a loss");
    }

    #[test]
    fn what_upstream_fails_at_is_told_by_the_error_and_the_tries() {
        let upstream = facts([said("10.0.0.1", &[("ready", "true")])]);
        let ours = facts([said("10.0.0.1", &[("ready", "false")])]);
        let allowed = |service: &str, source, tries, error: &str| {
            let failing = Failing { in_a_row: tries, tries, error: error.to_owned() };
            let failing = AllFailing::from([((service.to_owned(), source), failing)]);
            let context = Context {
                ours: &ours,
                mirrored: &Families::new(),
                remade: &BTreeSet::new(),
                failing: &failing,
            };
            let (allowed, rest) = judge(&upstream, &context);
            assert_eq!(allowed.len() + rest.len(), 1);
            allowed.into_keys().next()
        };
        let stale = "EndpointSlice informer cache is out of date";
        assert_eq!(allowed("s", BY_SLICES, 1, stale), Some("retries that wait for each other"));
        assert_eq!(allowed("s", BY_SLICES, IN_VAIN, stale), Some("upstream waits for its own cache"));
        let conflict = "Operation cannot be fulfilled on endpointslices.discovery.k8s.io";
        assert_eq!(allowed("s", BY_SLICES, 1, conflict), Some("retries that wait for each other"));
        assert_eq!(allowed("s", BY_SLICES, IN_VAIN, conflict), None, "it would have succeeded by then");
        assert_eq!(allowed("s", BY_SLICES, 1, "Node n Not Found"), None, "the rest of it was written");
        assert_eq!(allowed("s", BY_SLICES, 1, "x already exists"), None, "this is about mirrored slices");
        assert_eq!(allowed("s", BY_MIRRORING, 1, stale), None, "it fails at others");
        assert_eq!(allowed("t", BY_SLICES, 1, stale), None);
    }
}
