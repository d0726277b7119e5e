//! Deleting: finalizers, time to end, dependents, namespaces.

use std::sync::Arc;

use jiff::{Span, Timestamp};
use serde_json::Value;

use super::write::{held, seconds};
use super::{Store, WriteOptions};
use crate::object::{
    Name, deleting, field_mut, fields, has_finalizers, meta, meta_mut, owners, text, version,
};
use crate::{Failure, Kind};

/// How a deletion is meant.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct DeleteOptions {
    /// Only this incarnation.
    pub uid: Option<String>,
    /// Only this version.
    pub version: Option<u64>,
    /// Time to end, for pods.
    pub grace: Option<i64>,
    /// What becomes of the objects that it owns.
    pub propagation: Propagation,
}

/// What becomes of the objects that a deleted object owns.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Propagation {
    /// They go after it.
    #[default]
    Background,
    /// They go before it. Differs from upstream: with foreground deletion the owner
    /// does not wait for what it owns.
    Foreground,
    /// They stay, without an owner.
    Orphan,
}

/// What became of a deletion.
#[derive(Clone, Debug, PartialEq)]
pub enum Deleted {
    /// The object is gone; this was its last state.
    Gone(Arc<Value>),
    /// The object is going, when its finalizers, its process or its contents have gone.
    Going(Arc<Value>),
}

impl Store {
    /// Deletes an object.
    pub fn delete(
        &mut self,
        kind: Kind,
        name: &Name,
        delete: &DeleteOptions,
        options: &WriteOptions,
    ) -> Result<Deleted, Failure> {
        let old = self.get(kind, name)?;
        let uid = meta(&old, "uid").unwrap_or("");
        if let Some(wanted) = delete.uid.as_deref().filter(|wanted| *wanted != uid) {
            let why =
                format!("Precondition failed: UID in precondition: {wanted}, UID in object meta: {uid}");
            return Err(Failure::conflict(kind, &name.name, &why));
        }
        if let Some(wanted) = delete.version.filter(|wanted| *wanted != version(&old)) {
            let why = format!(
                "Precondition failed: ResourceVersion in precondition: {wanted}, ResourceVersion in object meta: {}",
                version(&old)
            );
            return Err(Failure::conflict(kind, &name.name, &why));
        }
        if kind == Kind::Namespace && ["default", "kube-system", "kube-public"].contains(&&*name.name) {
            return Err(Failure::forbidden(kind, &name.name, "this namespace may not be deleted"));
        }
        let grace = grace(kind, &old, delete.grace);
        if options.dry_run {
            return Ok(if grace > 0 { Deleted::Going(old) } else { Deleted::Gone(old) });
        }
        match delete.propagation {
            Propagation::Orphan => self.orphan(uid),
            Propagation::Foreground | Propagation::Background => {}
        }
        if grace == 0 && !has_finalizers(&old) && !held(kind, &old) {
            return Ok(Deleted::Gone(self.commit(kind, name.clone(), None)));
        }
        let marked = mark(kind, &old, grace, options.now);
        if marked == *old {
            return Ok(Deleted::Going(old));
        }
        let marked = self.commit(kind, name.clone(), Some(marked));
        if kind == Kind::Namespace {
            self.garbage.namespace_ends(&name.name);
        }
        Ok(Deleted::Going(marked))
    }

    /// Deletes what has lost its last owner, and what is in namespaces that are going. Returns whether
    /// there was something to do.
    pub fn collect(&mut self, now: Timestamp) -> bool {
        let (orphans, namespaces) = self.garbage.take();
        let mut worked = false;
        let options = WriteOptions::at(now);
        for (kind, name) in orphans {
            let Ok(object) = self.get(kind, &name) else { continue };
            let owned = owners(&object).next().is_some();
            if owned && !deleting(&object) && !owners(&object).any(|owner| self.garbage.lives(owner)) {
                let precondition =
                    DeleteOptions { version: Some(version(&object)), ..DeleteOptions::default() };
                worked |= self.delete(kind, &name, &precondition, &options).is_ok();
            }
        }
        for namespace in namespaces {
            worked |= self.empty(&namespace, &options);
        }
        worked
    }

    /// Empties a namespace that is going, and removes it once it is empty.
    fn empty(&mut self, namespace: &str, options: &WriteOptions) -> bool {
        let Some(object) = self.find(Kind::Namespace, &Name::new("", namespace)).cloned() else {
            return false;
        };
        let mut worked = false;
        let mut left = false;
        let inside: Vec<_> = Kind::all()
            .filter(|kind| kind.facts().namespaced)
            .flat_map(|kind| {
                let inside = self.iter(kind).filter(|(name, _)| &*name.namespace == namespace);
                inside.map(move |(name, object)| (kind, name.clone(), deleting(object))).collect::<Vec<_>>()
            })
            .collect();
        for (kind, name, going) in inside {
            if going {
                left = true;
                continue;
            }
            match self.delete(kind, &name, &DeleteOptions::default(), options) {
                Ok(Deleted::Gone(_)) => worked = true,
                Ok(Deleted::Going(_)) => (worked, left) = (true, true),
                Err(_) => {}
            }
        }
        if left {
            // Looked at again when something in it goes.
            self.garbage.namespace_waits(namespace);
            return worked;
        }
        let mut last = Value::clone(&object);
        field_mut(fields(&mut last), "spec").remove("finalizers");
        self.commit(Kind::Namespace, Name::new("", namespace), Some(last.clone()));
        if !has_finalizers(&last) {
            self.commit(Kind::Namespace, Name::new("", namespace), None);
        }
        true
    }

    /// Takes an owner off its dependents.
    fn orphan(&mut self, owner: &str) {
        for (kind, name) in self.garbage.dependents(owner) {
            let Some(object) = self.find(kind, &name) else { continue };
            let mut object = Value::clone(object);
            if let Some(Value::Array(owners)) = meta_mut(&mut object).get_mut("ownerReferences") {
                owners.retain(|reference| reference.get("uid").and_then(Value::as_str) != Some(owner));
            }
            if owners(&object).next().is_none() {
                meta_mut(&mut object).remove("ownerReferences");
            }
            self.commit(kind, name, Some(object));
        }
    }
}

/// How long the object has to end: only pods that run somewhere need time.
fn grace(kind: Kind, object: &Value, asked: Option<i64>) -> i64 {
    if kind != Kind::Pod || text(object, "/spec/nodeName").is_none() {
        return 0;
    }
    if let Some("Succeeded" | "Failed") = text(object, "/status/phase") {
        return 0;
    }
    let own = object.pointer("/spec/terminationGracePeriodSeconds").and_then(Value::as_i64);
    asked.or(own).unwrap_or(30).max(0)
}

/// Marks an object as going; marked a second time, it can only go sooner.
fn mark(kind: Kind, old: &Value, grace: i64, now: Timestamp) -> Value {
    let mut object = old.clone();
    let metadata = meta_mut(&mut object);
    let before = metadata.get("deletionGracePeriodSeconds").and_then(Value::as_i64);
    let marked = metadata.contains_key("deletionTimestamp");
    if !marked || before.is_some_and(|before| grace < before) {
        let end = now.checked_add(Span::new().seconds(grace)).unwrap_or(now);
        metadata.insert("deletionTimestamp".to_owned(), seconds(end).into());
        metadata.insert("deletionGracePeriodSeconds".to_owned(), grace.into());
        if kind.facts().generation && !marked {
            let generation = metadata.get("generation").and_then(Value::as_i64).unwrap_or(0);
            metadata.insert("generation".to_owned(), (generation + 1).into());
        }
    }
    if kind == Kind::Namespace {
        field_mut(fields(&mut object), "status").insert("phase".to_owned(), "Terminating".into());
    }
    object
}
