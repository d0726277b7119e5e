//! How pods and namespaces ask for variables that name Services.

/// Which Services a pod wants to find in the environment of its containers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum ServiceEnvironment {
    /// All Services of its namespace, and those that the namespace imports.
    All,
    /// Those that are marked by the same annotation, and those that the namespace imports.
    Chosen,
}

impl ServiceEnvironment {
    /// Every choice.
    pub const EACH: [Self; 2] = [Self::All, Self::Chosen];
    /// Annotation of a pod, and label of a namespace for its pods: `all` or `chosen`. Annotation of a
    /// Service: `true` = it is among the chosen.
    pub const KEY: &str = "portolan.dev/service-environment";

    /// Value of the annotation or label.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::All => "all",
            Self::Chosen => "chosen",
        }
    }

    /// The choice that an annotation or a label names.
    pub fn parse(text: &str) -> Option<Self> {
        Self::EACH.into_iter().find(|choice| choice.as_str() == text)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::{IMPORT_SERVICES, Namespace, Pod};

    #[test]
    fn a_pod_keeps_its_choice_and_no_annotation() {
        for (text, choice) in [
            ("all", Some(ServiceEnvironment::All)),
            ("chosen", Some(ServiceEnvironment::Chosen)),
            ("none", None),
            ("All", None),
        ] {
            let annotations = json!({ServiceEnvironment::KEY: text, "other": "x"});
            let pod = json!({"metadata": {"namespace": "n", "name": "p", "annotations": annotations}});
            let pod: Pod = serde_json::from_value(pod).unwrap();
            assert_eq!((pod.environment, pod.meta.annotations.is_empty()), (choice, true), "{text}");
        }
    }

    #[test]
    fn a_namespace_keeps_one_annotation() {
        let annotations = json!({IMPORT_SERVICES: "a/b", "other": "x"});
        let namespace = json!({"metadata": {"name": "n", "annotations": annotations}});
        let namespace: Namespace = serde_json::from_value(namespace).unwrap();
        assert_eq!(
            namespace.meta.annotations.keys().map(AsRef::as_ref).collect::<Vec<_>>(),
            [IMPORT_SERVICES]
        );
    }
}
