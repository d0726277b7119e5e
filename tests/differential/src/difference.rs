//! Differences between the sides, and those that are kept on purpose.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use crate::facts::{Details, Facts, Subject};
use crate::generate::{BY_MIRRORING, BY_SLICES};

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

/// What both sides say as a whole, which a predicate may ask for.
pub(crate) struct Context<'a> {
    pub(crate) ours: &'a Facts,
}

/// A difference that is kept on purpose.
pub(crate) struct Allowed {
    pub(crate) name: &'static str,
    /// How its sentence in docs/differences.md begins.
    pub(crate) sentence: &'static str,
    pub(crate) is: fn(&Difference, &Context<'_>) -> bool,
}

/// All of them that the random sequences meet; each has a case of its own in [`crate::cases`].
pub(crate) const ALLOWED: &[Allowed] = &[
    Allowed {
        name: "slices that a lost selector leaves",
        sentence: "Slices that stay behind when a Service loses its selector go once slices that mirror its Endpoints",
        is: leftover,
    },
    Allowed {
        name: "rest of a mirrored targetRef",
        sentence: "Of what a mirrored address refers to (`targetRef`), kind, namespace, name and uid are repeated;",
        is: mirrored_target,
    },
];

/// Upstream still has a slice of its controller beside mirrored ones of the same family; here it is gone.
fn leftover(difference: &Difference, context: &Context<'_>) -> bool {
    let Subject { service, source, group, .. } = &difference.subject;
    let family = group.split(' ').next();
    let mirrored = |subject: &&Subject| {
        subject.service == *service
            && subject.source == BY_MIRRORING
            && subject.group.split(' ').next() == family
    };
    source == BY_SLICES && difference.ours.is_empty() && context.ours.about.keys().any(|it| mirrored(&it))
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
    ours: &Facts,
) -> (BTreeMap<&'static str, u64>, Vec<Difference>) {
    let context = Context { ours };
    let mut allowed = BTreeMap::new();
    let mut rest = Vec::new();
    for difference in differences(upstream, ours) {
        match ALLOWED.iter().find(|allowed| (allowed.is)(&difference, &context)) {
            Some(by) => *allowed.entry(by.name).or_default() += 1,
            None => rest.push(difference),
        }
    }
    (allowed, rest)
}
