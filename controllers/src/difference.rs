//! What a plan would change for those who read the objects: the difference between what another
//! controller wrote ("there") and what this one would have written ("here").
//!
//! Each controller names slices and divides endpoints among them in its own way, so both sides are
//! first broken up into what they say of each endpoint.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::fmt::Display;
use std::sync::Arc;

use portolan_core::{Labels, Protocol, TargetRef, Watched};

use crate::membership::TRIGGER_TIME;
use crate::plan::{Changes, Content, Plan, Write};

/// What objects say: of a subject, such as an endpoint, the values of its properties, in words.
#[derive(Debug, Default, PartialEq)]
pub struct Claims(BTreeMap<String, BTreeMap<&'static str, BTreeSet<String>>>);

impl Claims {
    /// What is said of a subject, to be added to.
    pub(crate) fn of(&mut self, subject: impl Display) -> Claim<'_> {
        Claim(self.0.entry(subject.to_string()).or_default())
    }

    /// What is said of the endpoint at an address, for the object behind it.
    pub(crate) fn of_endpoint(&mut self, address: &str, target: Option<&TargetRef>) -> Claim<'_> {
        let Some(target) = target else { return self.of(address) };
        let mut claim = self.of(format!("{address} ({} {})", target.kind, target.name));
        claim.is("uid", format!("uid {}", target.uid));
        claim
    }
}

/// What is said of one subject.
pub(crate) struct Claim<'a>(&'a mut BTreeMap<&'static str, BTreeSet<String>>);

impl Claim<'_> {
    /// Adds a value of a property, in words that name the property.
    pub(crate) fn is(&mut self, property: &'static str, words: impl Into<String>) {
        self.0.entry(property).or_default().insert(words.into());
    }

    /// Adds a condition: its name, or the name with "not".
    pub(crate) fn condition(&mut self, name: &'static str, holds: bool) {
        self.is(name, if holds { name.to_owned() } else { format!("not {name}") });
    }

    /// Adds a port.
    pub(crate) fn port(&mut self, name: &str, port: u16, protocol: Protocol, application: Option<&Arc<str>>) {
        let space = if name.is_empty() { "" } else { " " };
        let application = application.map(|application| format!(" ({application})")).unwrap_or_default();
        self.is("port", format!("port {name}{space}{port}/{protocol}{application}"));
    }

    /// Adds a property that may be missing: its name and value.
    pub(crate) fn may_be(&mut self, property: &'static str, value: Option<&Arc<str>>) {
        if let Some(value) = value {
            self.is(property, format!("{property} {value}"));
        }
    }
}

/// What differs, in words; nothing if carrying the plan out would only divide or order the same
/// endpoints otherwise. `stored` are the objects that the plan was made for.
///
/// When a change was made (the trigger time) is not compared: each controller tells that of its own
/// writes.
pub fn differences<C: Content>(plan: &Plan<C>, stored: &[Arc<C::Object>]) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    if plan.is_empty() {
        return found;
    }
    let mut here = Claims::default();
    let mut there = Claims::default();
    let replaced: HashSet<_> = plan.writes.iter().filter(|write| write.replaces()).map(Write::name).collect();
    for object in stored {
        let content = C::of(object);
        content.claim(&mut there);
        if !replaced.contains(&object.meta().object_name()) {
            content.claim(&mut here);
        }
        found.extend(object.problems().iter().map(|problem| format!("{problem}: there, not here")));
    }
    for write in &plan.writes {
        if let Some(content) = write.content() {
            content.claim(&mut here);
        }
        let Write::Update { target, labels, annotations, .. } = write else { continue };
        let Some(held) = stored.iter().find(|object| object.meta().object_name() == target.name) else {
            continue;
        };
        compare_keys("label", labels, &held.meta().labels, &mut found);
        compare_keys("annotation", annotations, &held.meta().annotations, &mut found);
    }
    compare(&here, &there, &mut found);
    found
}

fn compare_keys(what: &str, changes: &Changes, there: &Labels, found: &mut BTreeSet<String>) {
    for (key, here) in changes.iter().filter(|(key, _)| key.as_ref() != TRIGGER_TIME) {
        let quoted = |value: Option<&Arc<str>>| value.map(|value| format!("{value:?}"));
        let text = sides(quoted(here.as_ref()), quoted(there.get(key)));
        found.extend(text.map(|text| format!("{what} {key}: {text}")));
    }
}

fn compare(here: &Claims, there: &Claims, found: &mut BTreeSet<String>) {
    for (subject, properties) in &here.0 {
        let Some(others) = there.0.get(subject) else {
            found.insert(format!("{subject}: here, not there"));
            continue;
        };
        let none = BTreeSet::new();
        for property in properties.keys().chain(others.keys()).collect::<BTreeSet<_>>() {
            let (ours, theirs) =
                (properties.get(property).unwrap_or(&none), others.get(property).unwrap_or(&none));
            let only = |one: &BTreeSet<String>, other: &BTreeSet<String>| {
                let words: Vec<_> = one.difference(other).map(String::as_str).collect();
                (!words.is_empty()).then(|| words.join(" and "))
            };
            let text = sides(only(ours, theirs), only(theirs, ours));
            found.extend(text.map(|text| format!("{subject}: {text}")));
        }
    }
    let missing = there.0.keys().filter(|subject| !here.0.contains_key(*subject));
    found.extend(missing.map(|subject| format!("{subject}: there, not here")));
}

/// What only one side says, or each of them.
fn sides(here: Option<String>, there: Option<String>) -> Option<String> {
    match (here, there) {
        (Some(here), Some(there)) => Some(format!("{here} here, {there} there")),
        (Some(here), None) => Some(format!("{here} here, not there")),
        (None, Some(there)) => Some(format!("{there} there, not here")),
        (None, None) => None,
    }
}

#[cfg(test)]
mod tests;
