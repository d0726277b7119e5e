//! The objects, their versions and their history. Pure: time and the seed are parameters.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::Timestamp;
use portolan_allocation::{AddressRange, PortRange};
use serde_json::{Value, json};

use crate::allocate::Allocations;
use crate::garbage::Garbage;
use crate::object::{Name, meta, meta_mut};
use crate::{Failure, Kind, Random, Selection};

mod delete;
mod history;
mod list;
mod write;

pub use delete::{DeleteOptions, Deleted, Propagation};
use history::History;
pub use history::{Change, Changes};
pub use list::{List, ListOptions};
pub use write::{Part, WriteOptions};

/// Settings of a [`Store`].
#[derive(Clone, Debug)]
pub struct Config {
    /// Where cluster IPs come from: one range for each family, the first being the default family.
    pub service_ranges: Vec<AddressRange>,
    /// Where node ports come from.
    pub node_ports: PortRange,
    /// Seed of uids, generated names and allocations.
    pub seed: u64,
    /// How many changes a watch can go back.
    pub history: usize,
}

impl Default for Config {
    fn default() -> Self {
        let range = "10.96.0.0/16".parse().expect("a range");
        let node_ports = PortRange::new(&(30000..=32767)).expect("a range");
        Self { service_ranges: vec![range], node_ports, seed: 0, history: 10_000 }
    }
}

/// The objects of a cluster.
#[derive(Clone, Debug)]
pub struct Store {
    objects: BTreeMap<Kind, BTreeMap<Name, Arc<Value>>>,
    history: History,
    version: u64,
    random: Random,
    allocations: Allocations,
    garbage: Garbage,
}

impl Store {
    /// A cluster with the namespaces that every cluster has.
    pub fn new(config: &Config, now: Timestamp) -> Self {
        let mut store = Self {
            objects: BTreeMap::new(),
            history: History::new(config.history),
            version: 0,
            random: Random::new(config.seed),
            allocations: Allocations::new(&config.service_ranges, config.node_ports),
            garbage: Garbage::default(),
        };
        for name in ["default", "kube-node-lease", "kube-public", "kube-system"] {
            let namespace = json!({"metadata": {"name": name}});
            store
                .create(Kind::Namespace, "", namespace, &WriteOptions::at(now))
                .expect("nothing stands against a first namespace");
        }
        store
    }

    /// The version of the last change.
    pub fn version(&self) -> u64 {
        self.version
    }

    /// An object.
    pub fn get(&self, kind: Kind, name: &Name) -> Result<Arc<Value>, Failure> {
        self.find(kind, name).cloned().ok_or_else(|| Failure::not_found(kind, &name.name))
    }

    /// The objects of a kind, by name.
    pub fn iter(&self, kind: Kind) -> impl Iterator<Item = (&Name, &Arc<Value>)> {
        self.objects.get(&kind).into_iter().flatten()
    }

    /// What happened after a version to objects that are selected.
    pub fn changes(&self, kind: Kind, after: u64, selection: &Selection) -> Result<Changes, Failure> {
        self.history.changes(kind, after, self.version, selection)
    }

    /// Forgets the history, as etcd's compaction does: every watch that is behind must list again.
    pub fn compact(&mut self) {
        self.history.forget(self.version);
    }

    fn find(&self, kind: Kind, name: &Name) -> Option<&Arc<Value>> {
        self.objects.get(&kind)?.get(name)
    }

    /// The only place where something changes: gives the next version, and keeps the books.
    fn commit(&mut self, kind: Kind, name: Name, new: Option<Value>) -> Arc<Value> {
        self.version += 1;
        let old = self.find(kind, &name).cloned();
        let stamp = |mut object: Value| {
            meta_mut(&mut object).insert("resourceVersion".to_owned(), self.version.to_string().into());
            Arc::new(object)
        };
        let gone = new.is_none();
        let state = match (new, &old) {
            (Some(object), _) => stamp(object),
            // The last state, at the version of the deletion, is what watches deliver.
            (None, Some(old)) => stamp(Value::clone(old)),
            (None, None) => unreachable!("only what is stored is removed"),
        };
        let new = (!gone).then_some(&state);
        if kind == Kind::Service {
            self.allocations.follow(&name, old.as_deref(), new.map(Arc::as_ref));
        }
        self.garbage.follow(kind, &name, old.as_deref(), new.map(Arc::as_ref));
        let table = self.objects.entry(kind).or_default();
        match new {
            Some(state) => table.insert(name.clone(), state.clone()),
            None => table.remove(&name),
        };
        self.history.record(self.version, kind, name.clone(), old, state.clone(), gone);
        // As upstream: the Endpoints of a Service's name go with it, whoever made them.
        if gone && kind == Kind::Service && self.find(Kind::Endpoints, &name).is_some() {
            self.commit(Kind::Endpoints, name, None);
        }
        state
    }

    /// Fails unless objects can be created in the namespace.
    fn check_namespace(&self, kind: Kind, name: &Name) -> Result<(), Failure> {
        if !kind.facts().namespaced {
            return Ok(());
        }
        let namespace = self.get(Kind::Namespace, &Name::new("", &name.namespace))?;
        if meta(&namespace, "deletionTimestamp").is_some() {
            return Err(Failure::terminating(kind, &name.name, &name.namespace));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
