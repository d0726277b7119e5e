//! What a path names.

use crate::{Failure, Kind, Name};

/// A collection, an object, or a part of an object.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Target {
    pub(crate) kind: Kind,
    /// `None` = all namespaces, or a kind outside namespaces.
    pub(super) namespace: Option<String>,
    pub(crate) name: Option<String>,
    pub(super) part: Option<String>,
}

impl Target {
    pub(crate) fn parse(path: &str) -> Result<Self, Failure> {
        let parts: Vec<_> = path.trim_matches('/').split('/').collect();
        let (group, version, rest) = match parts.as_slice() {
            ["api", version, rest @ ..] => ("", *version, rest),
            ["apis", group, version, rest @ ..] => (*group, *version, rest),
            _ => return Err(Failure::no_such_resource()),
        };
        let find = |plural| Kind::find(group, version, plural).ok_or_else(Failure::no_such_resource);
        // `namespaces/NAME/status` is a part of a namespace, `namespaces/NAME/pods` a collection in it.
        let (namespace, rest) = match rest {
            ["namespaces", namespace, inside @ ..]
                if inside.first().is_some_and(|plural| !matches!(*plural, "status" | "finalize")) =>
            {
                (Some((*namespace).to_owned()), inside)
            }
            rest => (None, rest),
        };
        let (kind, name, part) = match rest {
            [plural] => (find(plural)?, None, None),
            [plural, name] => (find(plural)?, Some((*name).to_owned()), None),
            [plural, name, part @ ..] if part.len() == 1 || part.first() == Some(&"proxy") => {
                (find(plural)?, Some((*name).to_owned()), part.first().map(|part| (*part).to_owned()))
            }
            _ => return Err(Failure::no_such_resource()),
        };
        let namespaced = kind.facts().namespaced;
        if namespace.is_some() && !namespaced || namespace.is_none() && namespaced && name.is_some() {
            return Err(Failure::no_such_resource());
        }
        Ok(Self { kind, namespace, name, part })
    }

    /// Name of the object, which a path to an object has.
    pub(super) fn object(&self) -> Result<Name, Failure> {
        let name = self.name.as_deref().ok_or_else(Failure::method_not_allowed)?;
        Ok(Name::new(self.namespace.as_deref().unwrap_or(""), name))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths() {
        for (path, expected) in [
            ("/api/v1/pods", "Pod - - -"),
            ("/api/v1/namespaces/n/pods", "Pod n - -"),
            ("/api/v1/namespaces/n/pods/p", "Pod n p -"),
            ("/api/v1/namespaces/n/pods/p/status", "Pod n p status"),
            ("/api/v1/namespaces/n", "Namespace - n -"),
            ("/api/v1/namespaces/n/status", "Namespace - n status"),
            ("/api/v1/nodes/n1", "Node - n1 -"),
            ("/apis/apps/v1/namespaces/n/deployments/d/scale", "Deployment n d scale"),
            ("/apis/events.k8s.io/v1/events", "NewEvent - - -"),
            ("/api/v1/pods/p", "404"),
            ("/api/v1/namespaces/n/nodes", "404"),
            ("/apis/apps/v1/pods", "404"),
            ("/api/v2/pods", "404"),
            ("/api/v1/namespaces/n/pods/p/a/b", "404"),
            ("/what", "404"),
        ] {
            let text = Target::parse(path).map_or_else(
                |failure| failure.code.to_string(),
                |target| {
                    let part = |part: Option<String>| part.unwrap_or("-".to_owned());
                    let (namespace, name) = (part(target.namespace), part(target.name));
                    format!("{:?} {namespace} {name} {}", target.kind, part(target.part))
                },
            );
            assert_eq!(text, expected, "{path}");
        }
    }
}
