//! The kinds that are served, and how they differ.

use self::NameRule::{Label, Subdomain};

/// A kind of object.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Kind {
    /// v1 Namespace.
    Namespace,
    /// v1 Node.
    Node,
    /// v1 Pod.
    Pod,
    /// v1 Service.
    Service,
    /// v1 Endpoints.
    Endpoints,
    /// v1 Event.
    Event,
    /// v1 ConfigMap.
    ConfigMap,
    /// v1 Secret.
    Secret,
    /// v1 ServiceAccount.
    ServiceAccount,
    /// apps/v1 Deployment.
    Deployment,
    /// discovery.k8s.io/v1 EndpointSlice.
    EndpointSlice,
    /// coordination.k8s.io/v1 Lease.
    Lease,
    /// events.k8s.io/v1 Event: the objects of v1 Event under other field names.
    NewEvent,
}

/// How a kind differs from the others.
#[derive(Debug)]
pub struct Facts {
    /// The kind.
    pub kind: Kind,
    /// API group; empty for the core group.
    pub group: &'static str,
    /// Version in the group.
    pub version: &'static str,
    /// Name, such as `Pod`.
    pub name: &'static str,
    /// As in paths, such as `pods`.
    pub plural: &'static str,
    /// As kubectl takes it, such as `pod`.
    pub singular: &'static str,
    /// Abbreviations for kubectl.
    pub short: &'static [&'static str],
    /// Whether objects live in namespaces.
    pub namespaced: bool,
    /// Whether the status is a subresource.
    pub status: bool,
    /// Whether `kubectl get all` shows it.
    pub all: bool,
    /// Whether `metadata.generation` counts changes of what the author wants.
    pub generation: bool,
    /// Whether PUT creates what does not exist.
    pub put_creates: bool,
    /// What names must look like.
    pub names: NameRule,
}

/// What names of a kind must look like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NameRule {
    /// An RFC 1123 label, at most 63 characters.
    Label,
    /// An RFC 1123 subdomain, at most 253 characters.
    Subdomain,
}

const BASE: Facts = Facts {
    kind: Kind::Pod,
    group: "",
    version: "v1",
    name: "",
    plural: "",
    singular: "",
    short: &[],
    namespaced: true,
    status: false,
    all: false,
    generation: false,
    put_creates: false,
    names: Subdomain,
};

static FACTS: [Facts; 13] = [
    Facts {
        kind: Kind::Namespace,
        name: "Namespace",
        plural: "namespaces",
        singular: "namespace",
        short: &["ns"],
        namespaced: false,
        status: true,
        names: Label,
        ..BASE
    },
    Facts {
        kind: Kind::Node,
        name: "Node",
        plural: "nodes",
        singular: "node",
        short: &["no"],
        namespaced: false,
        status: true,
        ..BASE
    },
    Facts {
        kind: Kind::Pod,
        name: "Pod",
        plural: "pods",
        singular: "pod",
        short: &["po"],
        status: true,
        all: true,
        generation: true,
        ..BASE
    },
    Facts {
        kind: Kind::Service,
        name: "Service",
        plural: "services",
        singular: "service",
        short: &["svc"],
        status: true,
        all: true,
        put_creates: true,
        names: Label,
        ..BASE
    },
    Facts {
        kind: Kind::Endpoints,
        name: "Endpoints",
        plural: "endpoints",
        singular: "endpoints",
        short: &["ep"],
        put_creates: true,
        ..BASE
    },
    Facts {
        kind: Kind::Event,
        name: "Event",
        plural: "events",
        singular: "event",
        short: &["ev"],
        put_creates: true,
        ..BASE
    },
    Facts {
        kind: Kind::ConfigMap,
        name: "ConfigMap",
        plural: "configmaps",
        singular: "configmap",
        short: &["cm"],
        ..BASE
    },
    Facts { kind: Kind::Secret, name: "Secret", plural: "secrets", singular: "secret", ..BASE },
    Facts {
        kind: Kind::ServiceAccount,
        name: "ServiceAccount",
        plural: "serviceaccounts",
        singular: "serviceaccount",
        short: &["sa"],
        ..BASE
    },
    Facts {
        kind: Kind::Deployment,
        group: "apps",
        name: "Deployment",
        plural: "deployments",
        singular: "deployment",
        short: &["deploy"],
        status: true,
        all: true,
        generation: true,
        ..BASE
    },
    Facts {
        kind: Kind::EndpointSlice,
        group: "discovery.k8s.io",
        name: "EndpointSlice",
        plural: "endpointslices",
        singular: "endpointslice",
        generation: true,
        ..BASE
    },
    Facts {
        kind: Kind::Lease,
        group: "coordination.k8s.io",
        name: "Lease",
        plural: "leases",
        singular: "lease",
        put_creates: true,
        ..BASE
    },
    Facts {
        kind: Kind::NewEvent,
        group: "events.k8s.io",
        name: "Event",
        plural: "events",
        singular: "event",
        short: &["ev"],
        put_creates: true,
        ..BASE
    },
];

impl Kind {
    /// All kinds.
    pub fn all() -> impl Iterator<Item = Self> {
        FACTS.iter().map(|facts| facts.kind)
    }

    /// How it differs from the others.
    pub fn facts(self) -> &'static Facts {
        // The table is in the order of the enum; a test holds it to that.
        &FACTS[self as usize]
    }

    /// The kind behind a path.
    pub fn find(group: &str, version: &str, plural: &str) -> Option<Self> {
        let found = FACTS
            .iter()
            .find(|facts| facts.group == group && facts.version == version && facts.plural == plural);
        found.map(|facts| facts.kind)
    }

    /// Groups, each with its only version.
    pub fn groups() -> impl Iterator<Item = (&'static str, &'static str)> {
        let mut seen = std::collections::BTreeSet::new();
        FACTS.iter().map(|facts| (facts.group, facts.version)).filter(move |group| seen.insert(*group))
    }

    /// As in `apiVersion`.
    pub fn api_version(self) -> String {
        let facts = self.facts();
        if facts.group.is_empty() {
            facts.version.to_owned()
        } else {
            format!("{}/{}", facts.group, facts.version)
        }
    }

    /// Plural with group, such as `deployments.apps`.
    pub(crate) fn resource(self) -> String {
        with_group(self.facts().plural, self.facts().group)
    }

    /// Kind with group, such as `Deployment.apps`.
    pub(crate) fn qualified(self) -> String {
        with_group(self.facts().name, self.facts().group)
    }

    /// The kind under which objects are stored.
    pub(crate) fn stored(self) -> Self {
        if self == Self::NewEvent { Self::Event } else { self }
    }
}

fn with_group(name: &str, group: &str) -> String {
    if group.is_empty() { name.to_owned() } else { format!("{name}.{group}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_in_the_order_of_the_kinds() {
        for (index, kind) in Kind::all().enumerate() {
            assert_eq!(kind as usize, index);
            assert_eq!(kind.facts().kind, kind);
        }
    }
}
