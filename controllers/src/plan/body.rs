//! Bodies of requests that write, as the API spells them.

use std::sync::Arc;

use portolan_core::{Meta, OwnerReference, Watched};
use serde::Serialize;

use super::{Content, Target, Write};

/// An object, or a JSON merge patch of one (RFC 7386).
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Body<'a, M, F> {
    #[serde(skip_serializing_if = "Option::is_none")]
    api_version: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    kind: Option<&'static str>,
    metadata: Metadata<'a, M>,
    #[serde(flatten)]
    fields: Option<F>,
}

/// `M` are whole labels, or changes of them.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Metadata<'a, M> {
    #[serde(skip_serializing_if = "Option::is_none")]
    namespace: Option<&'a Arc<str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<&'a Arc<str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    resource_version: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    labels: Option<&'a M>,
    #[serde(skip_serializing_if = "Option::is_none")]
    annotations: Option<&'a M>,
    #[serde(skip_serializing_if = "Option::is_none")]
    owner_references: Option<[&'a OwnerReference; 1]>,
}

/// meta/v1 DeleteOptions.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct DeleteOptions<'a> {
    api_version: &'static str,
    kind: &'static str,
    preconditions: Preconditions<'a>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Preconditions<'a> {
    uid: &'a Arc<str>,
    resource_version: String,
}

impl<C: Content> Write<C> {
    /// The object to create as a protobuf document, which costs the API server less to read than JSON. Changes are
    /// merge patches, for which there is only JSON.
    pub fn protobuf(&self) -> Option<Vec<u8>> {
        let Self::Create { name, labels, annotations, owner, content } = self else { return None };
        let meta = Meta {
            labels: labels.clone(),
            annotations: annotations.clone(),
            owner_references: owner.iter().cloned().collect(),
            ..Meta::named(name.clone())
        };
        Some(content.to_protobuf(meta))
    }

    /// Body of the request, in JSON: the object for a create, a merge patch for an update, DeleteOptions for
    /// a delete. Updates and deletes carry what was seen as preconditions.
    pub fn body(&self) -> Vec<u8> {
        match self {
            Self::Create { name, labels, annotations, owner, content } => json(&Body {
                api_version: Some(C::Object::KIND.api_version()),
                kind: Some(C::Object::KIND.as_str()),
                metadata: Metadata {
                    namespace: Some(&name.namespace),
                    name: Some(&name.name),
                    resource_version: None,
                    labels: Some(labels).filter(|labels| !labels.is_empty()),
                    annotations: Some(annotations).filter(|annotations| !annotations.is_empty()),
                    owner_references: owner.as_ref().map(|owner| [owner]),
                },
                fields: Some(content.fields()),
            }),
            Self::Update { target, labels, annotations, content, .. } => json(&Body {
                api_version: None,
                kind: None,
                metadata: Metadata {
                    namespace: None,
                    name: None,
                    resource_version: Some(target.resource_version.to_string()),
                    labels: Some(labels).filter(|labels| !labels.is_empty()),
                    annotations: Some(annotations).filter(|annotations| !annotations.is_empty()),
                    owner_references: None,
                },
                fields: content.as_ref().map(Content::fields),
            }),
            Self::Delete { target: Target { uid, resource_version, .. }, .. } => json(&DeleteOptions {
                api_version: "v1",
                kind: "DeleteOptions",
                preconditions: Preconditions { uid, resource_version: resource_version.to_string() },
            }),
        }
    }
}

fn json(body: &impl Serialize) -> Vec<u8> {
    serde_json::to_vec(body).expect("texts and numbers under names are JSON")
}

#[cfg(test)]
mod tests {
    use portolan_core::{Encoding, Endpoints, Labels, ObjectName, Subset};
    use serde_json::{Value, json};

    use super::*;
    use crate::plan::Because;

    fn body(write: &Write<Vec<Subset>>) -> Value {
        serde_json::from_slice(&write.body()).unwrap()
    }

    #[test]
    fn bodies_of_the_three_operations() {
        let name = ObjectName::new("n", "s");
        let pair = || (Arc::from("k"), Arc::from("v"));
        let create = Write::Create {
            name: name.clone(),
            labels: Labels::from_iter([pair()]),
            annotations: Labels::new(),
            owner: Some(OwnerReference {
                kind: "Service".into(),
                controller: Some(true),
                ..OwnerReference::default()
            }),
            content: Vec::new(),
        };
        assert_eq!(
            body(&create),
            json!({"apiVersion": "v1", "kind": "Endpoints", "subsets": [], "metadata":
                {"namespace": "n", "name": "s", "labels": {"k": "v"}, "ownerReferences": [{"apiVersion": "",
                    "kind": "Service", "name": "", "uid": "", "controller": true, "blockOwnerDeletion": null}]}})
        );

        let protobuf = Encoding::Protobuf.open(&create.protobuf().unwrap().into()).unwrap();
        let json: Endpoints = serde_json::from_slice(&create.body()).unwrap();
        assert_eq!(Endpoints::decode(Encoding::Protobuf, &protobuf).unwrap(), json);

        let target = Target { name, uid: "u".into(), resource_version: 7 };
        let update = |content| Write::Update {
            target: target.clone(),
            labels: [("k".into(), None)].into(),
            annotations: [("a".into(), Some("b".into()))].into(),
            content,
            adds: false,
        };
        let metadata = json!({"resourceVersion": "7", "labels": {"k": null}, "annotations": {"a": "b"}});
        assert_eq!(body(&update(None)), json!({"metadata": metadata}));
        assert_eq!(update(None).protobuf(), None);
        assert_eq!(body(&update(Some(Vec::new()))), json!({"metadata": metadata, "subsets": []}));

        let delete = Write::Delete { target, because: Because::Emptied };
        assert_eq!(
            body(&delete),
            json!({"apiVersion": "v1", "kind": "DeleteOptions",
                "preconditions": {"uid": "u", "resourceVersion": "7"}})
        );
    }
}
