//! Creating and updating.

use std::sync::Arc;

use jiff::Timestamp;
use serde_json::Value;

use super::Store;
use crate::admit::{self, Context};
use crate::failure::Causes;
use crate::object::{
    Name, carry, deleting, field_mut, fields, has_finalizers, list, meta, meta_mut, text, version,
};
use crate::{Failure, Kind, Patch};

/// How a write is meant.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct WriteOptions {
    /// The time.
    pub now: Timestamp,
    /// Go through everything but change nothing.
    pub dry_run: bool,
    /// Refuse fields that the kind does not have instead of dropping them.
    pub strict: bool,
}

impl WriteOptions {
    /// A plain write at a time.
    pub fn at(now: Timestamp) -> Self {
        Self { now, dry_run: false, strict: false }
    }
}

/// Which part of an object a write is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// Everything but the status.
    Main,
    /// The status, and the metadata (as upstream).
    Status,
}

impl Store {
    /// Creates an object in a namespace (empty for kinds outside namespaces).
    pub fn create(
        &mut self,
        kind: Kind,
        namespace: &str,
        mut object: Value,
        options: &WriteOptions,
    ) -> Result<Arc<Value>, Failure> {
        admit::name_kind(kind, &mut object)?;
        let name = self.identify(kind, namespace, &mut object)?;
        if meta(&object, "resourceVersion").is_some() {
            return Err(Failure::bad_request("resourceVersion should not be set on objects to be created"));
        }
        self.check_namespace(kind, &name)?;
        let uid = self.random.uuid();
        let metadata = meta_mut(&mut object);
        for field in
            ["deletionTimestamp", "deletionGracePeriodSeconds", "managedFields", "generation", "selfLink"]
        {
            metadata.remove(field);
        }
        metadata.insert("uid".to_owned(), uid.into());
        metadata.insert("creationTimestamp".to_owned(), seconds(options.now).into());
        if kind.facts().generation {
            metadata.insert("generation".to_owned(), 1.into());
        }
        if kind.facts().status {
            fields(&mut object).remove("status");
        }
        let context = Context {
            allocations: &self.allocations,
            random: &mut self.random,
            name: &name,
            part: Part::Main,
            dry_run: options.dry_run,
            strict: options.strict,
        };
        let object = admit::admit(kind, &object, None, context)?;
        if self.find(kind, &name).is_some() {
            return Err(Failure::already_exists(kind, &name.name));
        }
        if options.dry_run {
            return Ok(Arc::new(object));
        }
        Ok(self.commit(kind, name, Some(object)))
    }

    /// Replaces a part of an object; creates it where PUT does that.
    pub fn update(
        &mut self,
        kind: Kind,
        name: &Name,
        part: Part,
        mut object: Value,
        options: &WriteOptions,
    ) -> Result<Arc<Value>, Failure> {
        admit::name_kind(kind, &mut object)?;
        let found = self.identify(kind, &name.namespace, &mut object)?;
        if found != *name {
            return Err(Failure::bad_request(format!(
                "the name of the object ({}) does not match the name on the URL ({})",
                found.name, name.name
            )));
        }
        let Some(old) = self.find(kind, name).cloned() else {
            let wanted = meta(&object, "resourceVersion").is_some() || meta(&object, "uid").is_some();
            if kind.facts().put_creates && part == Part::Main && !wanted {
                return self.create(kind, &name.namespace, object, options);
            }
            return Err(Failure::not_found(kind, &name.name));
        };
        check_precondition(kind, name, &old, &object)?;
        carry_over(kind, part, &old, &mut object);
        let context = Context {
            allocations: &self.allocations,
            random: &mut self.random,
            name,
            part,
            dry_run: options.dry_run,
            strict: options.strict,
        };
        let mut object = admit::admit(kind, &object, Some(&old), context)?;
        check_finalizers(kind, &name.name, &old, &object)?;
        if kind.facts().generation && admit::intent_changed(kind, &old, &object) {
            let generation = old.pointer("/metadata/generation").and_then(Value::as_i64).unwrap_or(0);
            meta_mut(&mut object).insert("generation".to_owned(), (generation + 1).into());
        }
        if options.dry_run || object == *old {
            return Ok(Arc::new(object));
        }
        let grace =
            object.pointer("/metadata/deletionGracePeriodSeconds").and_then(Value::as_i64).unwrap_or(0);
        // The last finalizer was what kept it; a pod may still have time to end.
        if deleting(&object)
            && has_finalizers(&old)
            && !has_finalizers(&object)
            && grace == 0
            && !held(kind, &object)
        {
            self.commit(kind, name.clone(), Some(object));
            return Ok(self.commit(kind, name.clone(), None));
        }
        Ok(self.commit(kind, name.clone(), Some(object)))
    }

    /// Patches a part of an object; a version in the patch is a precondition.
    pub fn patch(
        &mut self,
        kind: Kind,
        name: &Name,
        part: Part,
        patch: &Patch,
        options: &WriteOptions,
    ) -> Result<Arc<Value>, Failure> {
        let mut object = Value::clone(&*self.get(kind, name)?);
        patch.apply(kind, &mut object)?;
        self.update(kind, name, part, object, options)
    }

    /// Gives a pod its node.
    pub fn bind(&mut self, pod: &Name, node: &str, options: &WriteOptions) -> Result<(), Failure> {
        let mut object = Value::clone(&*self.get(Kind::Pod, pod)?);
        if let Some(bound) = text(&object, "/spec/nodeName") {
            let why = format!("pod {} is already assigned to node {bound:?}", pod.name);
            return Err(Failure::conflict(Kind::Pod, &pod.name, &why));
        }
        if !options.dry_run {
            field_mut(fields(&mut object), "spec").insert("nodeName".to_owned(), node.into());
            self.commit(Kind::Pod, pod.clone(), Some(object));
        }
        Ok(())
    }

    /// Where the object belongs; names what has only a `generateName`.
    fn identify(&mut self, kind: Kind, namespace: &str, object: &mut Value) -> Result<Name, Failure> {
        let given = meta(object, "namespace");
        if kind.facts().namespaced && given.is_some_and(|given| given != namespace) {
            let message =
                "the namespace of the provided object does not match the namespace sent on the request";
            return Err(Failure::bad_request(message));
        }
        let metadata = meta_mut(object);
        if kind.facts().namespaced {
            metadata.insert("namespace".to_owned(), namespace.into());
        } else {
            metadata.remove("namespace");
        }
        if metadata.get("name").and_then(Value::as_str).is_none_or(str::is_empty)
            && let Some(prefix) =
                metadata.get("generateName").and_then(Value::as_str).filter(|name| !name.is_empty())
        {
            // Upstream cuts the prefix so that the whole fits into a label.
            let prefix: String = prefix.chars().take(58).collect();
            let name = prefix + &self.random.suffix();
            metadata.insert("name".to_owned(), name.into());
        }
        let name = Name::of(object);
        if name.name.is_empty() {
            let mut causes = Causes::default();
            causes.required("metadata.name", "name or generateName is required");
            return Err(Failure::invalid(kind, "", causes));
        }
        Ok(name)
    }
}

/// What else than finalizers keeps an object that is going away.
pub(super) fn held(kind: Kind, object: &Value) -> bool {
    kind == Kind::Namespace && !list(object, "/spec/finalizers").is_empty()
}

/// Metadata has seconds.
pub(crate) fn seconds(time: Timestamp) -> String {
    time.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

fn check_precondition(kind: Kind, name: &Name, old: &Value, new: &Value) -> Result<(), Failure> {
    if let (Some(wanted), Some(uid)) = (meta(new, "uid"), meta(old, "uid"))
        && wanted != uid
    {
        let why = format!("Precondition failed: UID in precondition: {wanted}, UID in object meta: {uid}");
        return Err(Failure::conflict(kind, &name.name, &why));
    }
    match meta(new, "resourceVersion") {
        Some(wanted) if wanted.parse() != Ok(version(old)) => Err(Failure::modified(kind, &name.name)),
        // All other kinds take an update without a precondition.
        None if kind == Kind::Lease => {
            let mut causes = Causes::default();
            causes.invalid("metadata.resourceVersion", 0, "must be specified for an update");
            Err(Failure::invalid(kind, &name.name, causes))
        }
        _ => Ok(()),
    }
}

/// What a writer cannot change.
fn carry_over(kind: Kind, part: Part, old: &Value, new: &mut Value) {
    let no_meta = Value::Null;
    let old_meta = old.get("metadata").unwrap_or(&no_meta);
    let metadata = meta_mut(new);
    for field in [
        "uid",
        "creationTimestamp",
        "deletionTimestamp",
        "deletionGracePeriodSeconds",
        "generation",
        "resourceVersion",
    ] {
        carry(old_meta, metadata, field);
    }
    metadata.remove("managedFields");
    metadata.remove("selfLink");
    if !kind.facts().status {
        return;
    }
    match part {
        Part::Main => carry(old, fields(new), "status"),
        Part::Status => {
            carry(old_meta, metadata, "ownerReferences");
            carry(old, fields(new), "spec");
        }
    }
}

fn check_finalizers(kind: Kind, name: &str, old: &Value, new: &Value) -> Result<(), Failure> {
    let before = list(old, "/metadata/finalizers");
    let added: Vec<_> =
        list(new, "/metadata/finalizers").iter().filter(|finalizer| !before.contains(finalizer)).collect();
    let mut causes = Causes::default();
    if deleting(old) && !added.is_empty() {
        let added: Vec<_> = added.iter().map(ToString::to_string).collect();
        let why = format!(
            "no new finalizers can be added if the object is being deleted, found new finalizers []string{{{}}}",
            added.join(", ")
        );
        causes.forbidden("metadata.finalizers", &why);
    }
    causes.check(kind, name)
}
