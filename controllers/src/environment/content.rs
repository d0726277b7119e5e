//! What the ConfigMaps of a namespace hold.
//!
//! A namespace has a fixed number of ConfigMaps for each choice of Services, and a pod refers to all of
//! them from the start: a reference cannot be added to a pod that runs, and one to a ConfigMap that is not
//! there is skipped. A Service's variables lie in the ConfigMap that its name alone determines, so that a
//! change of it rewrites that one.

use std::cmp::Reverse;
use std::collections::BTreeSet;
use std::sync::Arc;

use portolan_core::{IMPORT_SERVICES, Namespace, ObjectName, Service, ServiceEnvironment, State};

use super::{Variables, variables_of};

/// Annotation of a Service: the namespaces, separated by commas, that may import its variables; `*` = all.
pub const EXPORT_TO: &str = "portolan.dev/export-environment-to";

/// Most that one ConfigMap holds, in bytes of a container's environment: name, `=`, value, the zero that ends it,
/// and the pointer to it. Four of them leave half of the 2 MiB that Linux gives a new process with the usual
/// stack limit of 8 MiB (execve(2), "Limits on size of arguments and environment") to the pod itself.
pub const SHARD_LIMIT: usize = 256 * 1024;

/// A ConfigMap.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Shard {
    /// Its namespace.
    pub namespace: Arc<str>,
    /// Which Services it names.
    pub environment: ServiceEnvironment,
    /// Which one of [`shards`].
    pub index: usize,
}

/// How many ConfigMaps there are for a choice. Part of what pods refer to: it may grow in a later version
/// (older pods then miss what moved until they are replaced), and never shrink.
pub const fn shards(environment: ServiceEnvironment) -> usize {
    match environment {
        ServiceEnvironment::All => 4,
        ServiceEnvironment::Chosen => 1,
    }
}

/// Name of a ConfigMap; the same in every namespace, so that the controller's rights can be limited to it.
pub fn config_map(environment: ServiceEnvironment, index: usize) -> String {
    format!("portolan-environment-{}-{index}", environment.as_str())
}

impl Shard {
    /// Every ConfigMap of a namespace for a choice.
    pub fn each(namespace: &Arc<str>, environment: ServiceEnvironment) -> impl Iterator<Item = Self> {
        let namespace = namespace.clone();
        (0..shards(environment)).map(move |index| Self { namespace: namespace.clone(), environment, index })
    }

    /// The one in which a Service of that name is.
    pub fn of(namespace: &Arc<str>, environment: ServiceEnvironment, service: &str) -> Self {
        let index = (hash([service]) % shards(environment) as u64) as usize;
        Self { namespace: namespace.clone(), environment, index }
    }

    /// Namespace and name of the ConfigMap.
    pub fn object_name(&self) -> ObjectName {
        ObjectName {
            namespace: self.namespace.clone(),
            name: config_map(self.environment, self.index).into(),
        }
    }
}

/// What a ConfigMap is to hold.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Content {
    /// Its data.
    pub data: Variables,
    /// How many Services are left out since there is no room.
    pub left_out: usize,
}

impl Content {
    /// A number that tells contents apart, and what `owner` says; the same in every version of this
    /// program, since it is kept in an annotation.
    pub fn hash(&self, owner: &str) -> u64 {
        hash(self.data.iter().flat_map(|(name, value)| [name.as_str(), value.as_str()]).chain([owner]))
    }
}

/// FNV-1a with 64 bits over texts and the ends of texts, and a final mix.
fn hash<'a>(texts: impl IntoIterator<Item = &'a str>) -> u64 {
    let mut hash = 0xcbf2_9ce4_8422_2325_u64;
    for byte in texts.into_iter().flat_map(|text| text.bytes().chain([0xff])) {
        hash = (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
    }
    hash ^ (hash >> 32)
}

/// What a ConfigMap is to hold now.
///
/// Of own and imported Services with the same name the own one counts, of several imported ones the one of
/// the namespace that comes last in the alphabet. Where there is no room for all, own Services go first, and of these, as of the
/// imported ones, the older: neither a new one nor one of another namespace takes away what is there. One that has no room
/// itself takes none from the others.
pub fn content(state: &State, namespace: &Namespace, shard: &Shard) -> Content {
    let own = state.services.of_namespace(&shard.namespace).map(AsRef::as_ref);
    let chosen = |service: &&Service| {
        shard.environment == ServiceEnvironment::All
            || annotation(service, ServiceEnvironment::KEY) == Some("true")
    };
    let own: Vec<_> = own.filter(chosen).filter(|service| lies_in(service, shard)).collect();
    let names: BTreeSet<&str> = own.iter().map(|service| &*service.meta.name).collect();
    let mut imported: Vec<&Service> = imports(namespace)
        .filter_map(|name| state.services.get(&name).map(AsRef::as_ref))
        .filter(|service| lets(service, &shard.namespace) && lies_in(service, shard))
        .filter(|service| !names.contains(&*service.meta.name))
        .collect();
    imported.sort_by_key(|service| (&service.meta.name, Reverse(&service.meta.namespace)));
    imported.dedup_by_key(|service| &service.meta.name);

    let mut services = [own, imported];
    for services in &mut services {
        services.sort_by_key(|service| (service.meta.creation_timestamp, &service.meta.name));
    }
    let services = services.concat();
    let mut room = SHARD_LIMIT;
    let fits = |service: &&Service| match room.checked_sub(size(&variables_of(service))) {
        Some(rest) => {
            room = rest;
            true
        }
        None => false,
    };
    let mut fitting: Vec<_> = services.iter().copied().filter(fits).collect();
    let left_out = services.len() - fitting.len();
    fitting.sort_by_key(|service| &service.meta.name);
    Content { data: fitting.into_iter().flat_map(variables_of).collect(), left_out }
}

fn lies_in(service: &Service, shard: &Shard) -> bool {
    !service.cluster_ips.is_empty()
        && Shard::of(&shard.namespace, shard.environment, &service.meta.name).index == shard.index
}

/// What the variables take of a process's environment, in bytes.
fn size(variables: &Variables) -> usize {
    variables.iter().map(|(name, value)| name.len() + value.len() + 2 + size_of::<usize>()).sum()
}

/// The Services that a namespace asks to import; its own are none of them.
pub(super) fn imports(namespace: &Namespace) -> impl Iterator<Item = ObjectName> {
    let text = namespace.meta.annotations.get(IMPORT_SERVICES).map(AsRef::as_ref).unwrap_or_default();
    let own = namespace.meta.name.clone();
    let names: BTreeSet<_> = words(text)
        .filter_map(|word| word.split_once('/'))
        .filter(|(namespace, _)| **namespace != *own)
        .map(|(namespace, name)| ObjectName { namespace: namespace.into(), name: name.into() })
        .collect();
    names.into_iter()
}

/// Whether a Service lets a namespace import it.
fn lets(service: &Service, namespace: &str) -> bool {
    words(annotation(service, EXPORT_TO).unwrap_or_default()).any(|word| word == "*" || word == namespace)
}

fn words(list: &str) -> impl Iterator<Item = &str> {
    list.split(',').map(str::trim).filter(|word| !word.is_empty())
}

fn annotation<'a>(service: &'a Service, key: &str) -> Option<&'a str> {
    service.meta.annotations.get(key).map(AsRef::as_ref)
}

#[cfg(test)]
mod tests;
