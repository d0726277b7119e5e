//! Bodies of requests that write, as the API spells them.

use std::sync::Arc;

use portolan_core::{Labels, Meta, OwnerReference, Watched};
use serde::Serialize;

use super::{Changes, Content, Target, Write};

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
    uid: Option<&'a Arc<str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    resource_version: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    labels: Option<&'a M>,
    #[serde(skip_serializing_if = "Option::is_none")]
    annotations: Option<&'a M>,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    owner_references: &'a [OwnerReference],
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
    /// The whole object as it is to be: that of a create, and that of a change of the content where all is known that the
    /// object `stored` has beside it. The API server takes a fifth less time for it than for a merge patch of the same
    /// change, for which it has to write out and read the object once more. `None` = there is only [`Write::body`].
    pub fn whole(&self, stored: Option<&Meta>) -> Option<Whole<C>> {
        match self {
            Self::Create { name, labels, annotations, owner, content } => {
                let meta = Meta {
                    labels: labels.clone(),
                    annotations: annotations.clone(),
                    owner_references: owner.iter().cloned().collect(),
                    ..Meta::named(name.clone())
                };
                Some(Whole { meta, content: content.clone() })
            }
            Self::Update { target, labels, annotations, content: Some(content), .. } => {
                let stored = stored.filter(|stored| Target::of(stored) == *target)?;
                // What waits for its finalizers, or has more than is known, is only patched.
                if stored.more || stored.deleting() {
                    return None;
                }
                let mut meta = stored.clone();
                apply(&mut meta.labels, labels);
                apply(&mut meta.annotations, annotations);
                Some(Whole { meta, content: content.clone() })
            }
            Self::Update { content: None, .. } | Self::Delete { .. } => None,
        }
    }

    /// Body of a request that does not carry the [whole](Self::whole) object, in JSON: a merge patch for an update,
    /// DeleteOptions for a delete, both with what was seen as preconditions. A create always carries the whole.
    pub fn body(&self) -> Vec<u8> {
        match self {
            Self::Create { .. } => self.whole(None).map(|whole| whole.json()).unwrap_or_default(),
            Self::Update { target, labels, annotations, content, .. } => json(&Body {
                api_version: None,
                kind: None,
                metadata: Metadata {
                    namespace: None,
                    name: None,
                    uid: None,
                    resource_version: Some(target.resource_version.to_string()),
                    labels: Some(labels).filter(|labels| !labels.is_empty()),
                    annotations: Some(annotations).filter(|annotations| !annotations.is_empty()),
                    owner_references: &[],
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

/// An object as it is to be.
pub struct Whole<C> {
    meta: Meta,
    content: C,
}

impl<C: Content> Whole<C> {
    /// As a protobuf document, which costs the API server less to read than JSON.
    pub fn protobuf(self) -> Vec<u8> {
        self.content.to_protobuf(self.meta)
    }

    /// In JSON.
    pub fn json(&self) -> Vec<u8> {
        let Self { meta, content } = self;
        json(&Body {
            api_version: Some(C::Object::KIND.api_version()),
            kind: Some(C::Object::KIND.as_str()),
            metadata: Metadata {
                namespace: Some(&meta.namespace),
                name: Some(&meta.name),
                // Endpoints can be made by a replacement: the uid says that one is to be there.
                uid: Some(&meta.uid).filter(|uid| !uid.is_empty()),
                resource_version: Some(meta.version()).filter(|version| !version.is_empty()),
                labels: Some(&meta.labels).filter(|labels| !labels.is_empty()),
                annotations: Some(&meta.annotations).filter(|annotations| !annotations.is_empty()),
                owner_references: &meta.owner_references,
            },
            fields: Some(content.fields()),
        })
    }
}

fn apply(labels: &mut Labels, changes: &Changes) {
    if changes.is_empty() {
        return;
    }
    let kept = labels.iter().filter(|(key, _)| !changes.contains_key(*key));
    let kept = kept.map(|(key, value)| (key.clone(), value.clone()));
    let set = changes.iter().filter_map(|(key, value)| Some((key.clone(), value.clone()?)));
    *labels = kept.chain(set).collect();
}

fn json(body: &impl Serialize) -> Vec<u8> {
    serde_json::to_vec(body).expect("texts and numbers under names are JSON")
}

#[cfg(test)]
mod tests {
    use portolan_core::{Encoding, Endpoints, ObjectName, Subset};
    use serde_json::{Value, json};

    use super::*;
    use crate::plan::{Because, Effect};

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

        let whole = create.whole(None).unwrap().protobuf();
        let protobuf = Encoding::Protobuf.open(&whole.into()).unwrap();
        let json: Endpoints = serde_json::from_slice(&create.body()).unwrap();
        assert_eq!(Endpoints::decode(Encoding::Protobuf, &protobuf).unwrap(), json);

        let target = Target { name, uid: "u".into(), resource_version: 7 };
        let update = |content| Write::Update {
            target: target.clone(),
            labels: [("k".into(), None)].into(),
            annotations: [("a".into(), Some("b".into()))].into(),
            content,
            effect: Effect::Removes,
        };
        let metadata = json!({"resourceVersion": "7", "labels": {"k": null}, "annotations": {"a": "b"}});
        assert_eq!(body(&update(None)), json!({"metadata": metadata}));
        assert_eq!(body(&update(Some(Vec::new()))), json!({"metadata": metadata, "subsets": []}));

        let delete = Write::Delete { target, because: Because::Emptied };
        assert_eq!(
            body(&delete),
            json!({"apiVersion": "v1", "kind": "DeleteOptions",
                "preconditions": {"uid": "u", "resourceVersion": "7"}})
        );
    }

    #[test]
    fn an_object_is_replaced_where_all_of_it_is_known() {
        let stored: Endpoints =
            serde_json::from_value(json!({"metadata": {"namespace": "n", "name": "s", "uid": "u",
            "resourceVersion": "7", "labels": {"k": "v", "l": "w"}, "annotations": {"theirs": "x"}}}))
            .unwrap();
        let update = |content| Write::Update {
            target: Target::of(&stored.meta),
            labels: [("k".into(), None)].into(),
            annotations: [("a".into(), Some("b".into()))].into(),
            content,
            effect: Effect::Removes,
        };
        let write = update(Some(Vec::<Subset>::new()));
        let whole: Value = serde_json::from_slice(&write.whole(Some(&stored.meta)).unwrap().json()).unwrap();
        let metadata = json!({"namespace": "n", "name": "s", "uid": "u", "resourceVersion": "7",
            "labels": {"l": "w"}, "annotations": {"a": "b", "theirs": "x"}});
        assert_eq!(
            whole,
            json!({"apiVersion": "v1", "kind": "Endpoints", "metadata": metadata, "subsets": []})
        );
        let protobuf = write.whole(Some(&stored.meta)).unwrap().protobuf();
        let protobuf = Encoding::Protobuf.open(&protobuf.into()).unwrap();
        let read = Endpoints::decode(Encoding::Protobuf, &protobuf).unwrap();
        assert_eq!(read, serde_json::from_value(whole).unwrap());

        assert!(
            update(None).whole(Some(&stored.meta)).is_none(),
            "its content may be more than is understood"
        );
        assert!(write.whole(None).is_none(), "it is not in the State");
        let other = |change: fn(&mut Meta)| {
            let mut meta = stored.meta.clone();
            change(&mut meta);
            write.whole(Some(&meta)).is_some()
        };
        assert!(!other(|meta| meta.resource_version = 8), "another version");
        assert!(!other(|meta| meta.uid = "v".into()), "another object");
        assert!(!other(|meta| meta.more = true), "finalizers would be lost");
        assert!(!other(|meta| meta.deletion_timestamp = Some(jiff::Timestamp::UNIX_EPOCH)), "it goes");
    }
}
