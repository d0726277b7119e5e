//! Books of who owns whom, and of namespaces that are going.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use crate::Kind;
use crate::object::{Name, meta, owners};

type Object = (Kind, Name);

/// What is to be looked at for deletion. Its cost follows the changes.
#[derive(Clone, Debug, Default)]
pub(crate) struct Garbage {
    /// Uids of all objects.
    living: BTreeSet<String>,
    dependents: BTreeMap<String, BTreeSet<Object>>,
    suspects: BTreeSet<Object>,
    ending: BTreeSet<String>,
    /// Namespaces that something holds up.
    waiting: BTreeSet<String>,
}

impl Garbage {
    pub(crate) fn follow(&mut self, kind: Kind, name: &Name, old: Option<&Value>, new: Option<&Value>) {
        let object = (kind, name.clone());
        for owner in old.into_iter().flat_map(owners) {
            if let Some(dependents) = self.dependents.get_mut(owner) {
                dependents.remove(&object);
                if dependents.is_empty() {
                    self.dependents.remove(owner);
                }
            }
        }
        for owner in new.into_iter().flat_map(owners) {
            self.dependents.entry(owner.to_owned()).or_default().insert(object.clone());
            if !self.living.contains(owner) {
                self.suspects.insert(object.clone());
            }
        }
        let uid = |object: Option<&Value>| object.and_then(|object| meta(object, "uid")).map(str::to_owned);
        match (uid(old), uid(new)) {
            (None, Some(uid)) => {
                self.living.insert(uid);
            }
            (Some(uid), None) => {
                self.suspects.extend(self.dependents.get(&uid).into_iter().flatten().cloned());
                self.living.remove(&uid);
                if self.waiting.remove(&*name.namespace) {
                    self.ending.insert(name.namespace.as_ref().to_owned());
                }
            }
            _ => {}
        }
    }

    pub(crate) fn namespace_ends(&mut self, namespace: &str) {
        self.ending.insert(namespace.to_owned());
    }

    pub(crate) fn namespace_waits(&mut self, namespace: &str) {
        self.waiting.insert(namespace.to_owned());
    }

    pub(crate) fn lives(&self, uid: &str) -> bool {
        self.living.contains(uid)
    }

    pub(crate) fn dependents(&self, uid: &str) -> Vec<Object> {
        self.dependents.get(uid).into_iter().flatten().cloned().collect()
    }

    /// What has to be looked at since the last time.
    pub(crate) fn take(&mut self) -> (BTreeSet<Object>, BTreeSet<String>) {
        (std::mem::take(&mut self.suspects), std::mem::take(&mut self.ending))
    }
}
