//! Who asks for which ConfigMaps.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use portolan_core::{ChangeSet, Namespace, ObjectName, Pod, Service, ServiceEnvironment, State};

use super::content::{Shard, imports};

/// The pods that opted in, and the namespaces that import others' Services, by what they wait for.
#[derive(Debug, Default)]
pub struct Uses {
    pods: BTreeMap<(Arc<str>, ServiceEnvironment), BTreeSet<Arc<str>>>,
    importers: HashMap<ObjectName, BTreeSet<Arc<str>>>,
}

impl Uses {
    /// The uses of a State as a whole.
    pub fn of(state: &State) -> Self {
        let mut uses = Self::default();
        for pod in state.pods.iter() {
            uses.pod(&pod.meta.object_name(), None, Some(pod));
        }
        for namespace in state.namespaces.iter() {
            uses.namespace(None, Some(namespace));
        }
        uses
    }

    /// Whether somebody in a namespace wants that environment. A namespace wants nothing while it goes:
    /// its ConfigMaps go with it.
    pub fn wanted(&self, state: &State, namespace: &Arc<str>, environment: ServiceEnvironment) -> bool {
        state.namespaces.find("", namespace).is_some_and(|object| {
            !object.meta.deleting()
                && (labelled(object) == Some(environment)
                    || self.pods.contains_key(&(namespace.clone(), environment)))
        })
    }

    /// Every ConfigMap that somebody wants.
    pub fn each<'a>(&'a self, state: &'a State) -> impl Iterator<Item = Shard> + 'a {
        let labelled =
            state.namespaces.iter().filter_map(|object| Some((object.meta.name.clone(), labelled(object)?)));
        let wanted: BTreeSet<_> = labelled.chain(self.pods.keys().cloned()).collect();
        wanted
            .into_iter()
            .flat_map(|(namespace, environment)| Shard::each(&namespace, environment).collect::<Vec<_>>())
    }

    /// Takes in changes and tells which ConfigMaps they touch.
    pub fn follow(&mut self, changes: &ChangeSet, state: &State) -> BTreeSet<Shard> {
        let mut touched = BTreeSet::new();
        for (name, edit) in changes.pods.iter() {
            for environment in self.pod(name, edit.old.as_deref(), edit.new.as_deref()) {
                touched.extend(Shard::each(&name.namespace, environment));
            }
        }
        for (name, edit) in changes.namespaces.iter() {
            self.namespace(edit.old.as_deref(), edit.new.as_deref());
            for environment in ServiceEnvironment::EACH {
                touched.extend(Shard::each(&name.name, environment));
            }
        }
        for (name, edit) in changes.services.iter() {
            if edit.old.as_deref().zip(edit.new.as_deref()).is_some_and(|(old, new)| says_the_same(old, new))
            {
                continue;
            }
            let namespaces = self.importers.get(name).into_iter().flatten().chain([&name.namespace]);
            for (namespace, environment) in namespaces
                .flat_map(|namespace| ServiceEnvironment::EACH.map(|environment| (namespace, environment)))
            {
                if self.wanted(state, namespace, environment) {
                    touched.insert(Shard::of(namespace, environment, &name.name));
                }
            }
        }
        touched
    }

    /// Returns the environments that are wanted by a first pod, or by none any more.
    fn pod(&mut self, name: &ObjectName, old: Option<&Pod>, new: Option<&Pod>) -> Vec<ServiceEnvironment> {
        let (old, new) = (old.and_then(|pod| pod.environment), new.and_then(|pod| pod.environment));
        let mut turned = Vec::new();
        if let Some(environment) = old.filter(|old| Some(*old) != new) {
            let key = (name.namespace.clone(), environment);
            if let Some(pods) = self.pods.get_mut(&key) {
                pods.remove(&name.name);
                if pods.is_empty() {
                    self.pods.remove(&key);
                    turned.push(environment);
                }
            }
        }
        if let Some(environment) = new {
            let pods = self.pods.entry((name.namespace.clone(), environment)).or_default();
            if pods.insert(name.name.clone()) && pods.len() == 1 {
                turned.push(environment);
            }
        }
        turned
    }

    fn namespace(&mut self, old: Option<&Namespace>, new: Option<&Namespace>) {
        for (object, name) in
            old.into_iter().flat_map(|object| imports(object).map(move |name| (object, name)))
        {
            if let Some(importers) = self.importers.get_mut(&name) {
                importers.remove(&object.meta.name);
                if importers.is_empty() {
                    self.importers.remove(&name);
                }
            }
        }
        for (object, name) in
            new.into_iter().flat_map(|object| imports(object).map(move |name| (object, name)))
        {
            self.importers.entry(name).or_default().insert(object.meta.name.clone());
        }
    }
}

fn labelled(namespace: &Namespace) -> Option<ServiceEnvironment> {
    ServiceEnvironment::parse(namespace.meta.label(ServiceEnvironment::KEY)?)
}

/// Whether a change of a Service is none for any environment: most are of its status or its labels.
fn says_the_same(old: &Service, new: &Service) -> bool {
    old.cluster_ips.first() == new.cluster_ips.first()
        && old.ports == new.ports
        && old.meta.annotations == new.meta.annotations
        && old.meta.creation_timestamp == new.meta.creation_timestamp
}

#[cfg(test)]
mod tests;
