//! Slices as they are to be, and the writes that make them so.

use std::collections::HashSet;
use std::sync::Arc;

use jiff::Timestamp;
use portolan_core::{Endpoint, EndpointSlice, IpAddrs, IpFamily, Labels, Meta, ObjectName, OwnerReference};

use super::content::{SliceContent, port_key};
use super::name::name;
use crate::membership;
use crate::plan::{Effect, Target, Write, changes};

/// A slice as it is to be.
pub(crate) struct Draft<'a> {
    /// The stored slice; `None` = one to be made, under `name`.
    held: Option<&'a EndpointSlice>,
    name: String,
    pub(crate) content: SliceContent,
}

/// The slices of one owner as they are to be.
pub(crate) struct Drafts<'a, 'o> {
    owner: &'o Meta,
    /// Whether a slice of that name exists in the namespace, whoever's it is.
    taken: &'o dyn Fn(&str) -> bool,
    /// Names given to new slices.
    names: HashSet<String>,
    drafts: Vec<Draft<'a>>,
}

impl<'a, 'o> Drafts<'a, 'o> {
    pub(crate) fn new(owner: &'o Meta, taken: &'o dyn Fn(&str) -> bool) -> Self {
        Self { owner, taken, names: HashSet::new(), drafts: Vec::new() }
    }

    /// A stored slice is to have that content.
    pub(crate) fn keep(&mut self, held: &'a EndpointSlice, content: SliceContent) {
        self.drafts.push(Draft { held: Some(held), name: String::new(), content });
    }

    /// There is to be one more slice. One that is not needed any more, of the same family, becomes the new
    /// one, if there is any: one write instead of two, and no moment at which a consumer sees neither.
    ///
    /// Differs from upstream: a slice that is put to another use keeps the annotations that others gave it;
    /// kube-controller-manager drops them (kubernetes#108267).
    ///
    /// Differs from upstream: mirrored slices of one family are reused while others of the other family are
    /// made; kube-controller-manager strikes the wrong ones off its list of those to make, asks for one under a
    /// name that is taken, and fails again and again until chance puts its list in another order; where that
    /// name has just become free, it succeeds, and the other family is not mirrored until the next change.
    pub(crate) fn add(
        &mut self,
        family: IpFamily,
        content: SliceContent,
        doomed: &mut Vec<&'a EndpointSlice>,
    ) {
        let key = port_key(&content.ports);
        if !doomed.is_empty() {
            let index = doomed.iter().position(|slice| port_key(&slice.ports) == key).unwrap_or(0);
            self.keep(doomed.remove(index), content);
        } else if self.owner.deleting() {
            // The garbage collector is removing slices; new ones would get in its way.
        } else {
            let mut candidates = (0..).map(|ordinal| name(self.owner, family, &key, ordinal));
            let free = candidates.find(|name| !self.names.contains(name) && !(self.taken)(name));
            let name = free.unwrap_or_default();
            self.names.insert(name.clone());
            self.drafts.push(Draft { held: None, name, content });
        }
    }

    pub(crate) fn contents(&self) -> impl Iterator<Item = &SliceContent> {
        self.drafts.iter().map(|draft| &draft.content)
    }

    /// The writes; a slice that is as it should be needs none.
    pub(crate) fn writes(self, head: &Head<'_>) -> Vec<Write<SliceContent>> {
        let owner = self.owner;
        let edits: Vec<_> = self.drafts.iter().map(Edit::of).collect();
        let effects: Vec<_> = edits.iter().map(|edit| edit.effect(&edits)).collect();
        let drafts = self.drafts.into_iter().zip(effects);
        drafts.filter_map(|(draft, effect)| draft.write(effect, owner, head)).collect()
    }
}

/// Ready endpoints that a slice loses and gains, by their addresses; with other ports, all of them.
struct Edit<'d> {
    lost: HashSet<&'d IpAddrs>,
    gained: HashSet<&'d IpAddrs>,
}

impl<'d> Edit<'d> {
    fn of(draft: &'d Draft<'_>) -> Self {
        let after = ready(&draft.content.endpoints);
        let Some(held) = draft.held else { return Self { lost: HashSet::new(), gained: after.collect() } };
        let other_ports = port_key(&held.ports) != port_key(&draft.content.ports);
        if !other_ports && held.endpoints == draft.content.endpoints {
            return Self { lost: HashSet::new(), gained: HashSet::new() };
        }
        let (mut lost, mut gained): (HashSet<_>, HashSet<_>) =
            (ready(&held.endpoints).collect(), after.collect());
        if !other_ports {
            let stay: Vec<_> = lost.intersection(&gained).copied().collect();
            for addresses in stay {
                lost.remove(addresses);
                gained.remove(addresses);
            }
        }
        Self { lost, gained }
    }

    fn effect(&self, all: &[Self]) -> Effect {
        let moves = |other: &Self| !std::ptr::eq(self, other) && !self.lost.is_disjoint(&other.gained);
        if !self.lost.is_empty() && all.iter().any(moves) {
            Effect::Moves
        } else if self.gained.is_empty() {
            Effect::Removes
        } else {
            Effect::Adds
        }
    }
}

fn ready(endpoints: &[Endpoint]) -> impl Iterator<Item = &IpAddrs> {
    endpoints.iter().filter(|endpoint| endpoint.ready()).map(|endpoint| &endpoint.addresses)
}

/// What the slices of one owner have in common.
pub(crate) struct Head<'o> {
    /// Kind of the owner, of version `v1`.
    pub(crate) owner_kind: &'static str,
    /// Labels, all of them.
    pub(crate) labels: &'o Labels,
    pub(crate) annotations: Annotations<'o>,
}

/// What is wanted of a slice's annotations.
pub(crate) enum Annotations<'o> {
    /// The trigger time of what is written, if anything is; others are left alone.
    Trigger(Option<Timestamp>),
    /// These and no others.
    Exactly(&'o Labels),
}

impl Annotations<'_> {
    fn after(&self, held: &Labels) -> Labels {
        match self {
            Self::Trigger(time) => membership::annotated(held, *time),
            Self::Exactly(wanted) => (*wanted).clone(),
        }
    }
}

/// Whether all of a slice was understood. What is not was not written here.
pub(crate) fn as_written(slice: &EndpointSlice) -> bool {
    slice.problems.is_empty() && !slice.has_vague_ports
}

impl Draft<'_> {
    fn write(self, effect: Effect, owner: &Meta, head: &Head<'_>) -> Option<Write<SliceContent>> {
        let Some(held) = self.held else {
            return Some(Write::Create {
                name: ObjectName { namespace: owner.namespace.clone(), name: self.name.into() },
                labels: head.labels.clone(),
                annotations: head.annotations.after(&Labels::new()),
                owner: Some(reference(owner, head.owner_kind)),
                content: self.content,
            });
        };
        let labels = changes(&held.meta.labels, head.labels);
        let annotations = changes(&held.meta.annotations, &head.annotations.after(&held.meta.annotations));
        let other_ports = port_key(&held.ports) != port_key(&self.content.ports);
        let same = as_written(held) && held.endpoints == self.content.endpoints && !other_ports;
        let annotated = matches!(head.annotations, Annotations::Trigger(_)) || annotations.is_empty();
        if same && labels.is_empty() && annotated {
            return None;
        }
        Some(Write::Update {
            target: Target::of(&held.meta),
            labels,
            annotations,
            content: (!same).then_some(self.content),
            effect,
        })
    }
}

fn reference(owner: &Meta, kind: &str) -> OwnerReference {
    OwnerReference {
        api_version: "v1".into(),
        kind: Arc::from(kind),
        name: owner.name.clone(),
        uid: owner.uid.clone(),
        controller: Some(true),
        block_owner_deletion: Some(true),
    }
}

/// Whether a slice was made for this object and not for an earlier one of the same name.
pub(crate) fn is_owned(slice: &EndpointSlice, owner: &Meta, kind: &str) -> bool {
    let is = |reference: &OwnerReference| {
        reference.uid == owner.uid && &*reference.kind == kind && &*reference.api_version == "v1"
    };
    slice.meta.owner_references.iter().any(is)
}
