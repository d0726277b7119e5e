//! Deployments and pods, reduced to what the plan needs.

use portolan_api::Name;
use serde::Deserialize;
use serde_json::Value;

/// Label that tells the pods of one template from those of another.
pub(crate) const TEMPLATE_HASH: &str = "pod-template-hash";

/// A Deployment.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Deployment {
    pub(crate) metadata: Metadata,
    pub(crate) spec: Spec,
    #[serde(default)]
    pub(crate) status: Value,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Metadata {
    pub(crate) namespace: String,
    pub(crate) name: String,
    pub(crate) uid: String,
    #[serde(default)]
    pub(crate) generation: i64,
    #[serde(default)]
    pub(crate) deletion_timestamp: Option<String>,
}

#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Spec {
    #[serde(default = "one")]
    pub(crate) replicas: usize,
    #[serde(default)]
    pub(crate) strategy: Strategy,
    pub(crate) template: Value,
}

#[derive(Clone, Debug, Default, Deserialize)]
pub(crate) struct Strategy {
    #[serde(default, rename = "type")]
    pub(crate) kind: String,
}

fn one() -> usize {
    1
}

impl Deployment {
    /// Value of [`TEMPLATE_HASH`] for the template: FNV-1a in upstream's alphabet, which spells no words.
    pub(crate) fn template_hash(&self) -> String {
        const ALPHABET: &[u8] = b"bcdfghjklmnpqrstvwxz2456789";
        let text = self.spec.template.to_string();
        let start = 0xcbf2_9ce4_8422_2325_u64;
        let mut hash =
            text.bytes().fold(start, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3));
        let mut letters = String::new();
        for _ in 0..10 {
            let (rest, index) = (hash / ALPHABET.len() as u64, hash % ALPHABET.len() as u64);
            hash = rest;
            letters.extend(usize::try_from(index).ok().map(|index| char::from(ALPHABET[index])));
        }
        letters
    }
}

/// A pod of a Deployment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Replica {
    pub(crate) name: Name,
    pub(crate) uid: String,
    /// Hash of the template it was made from.
    pub(crate) template: String,
    /// In RFC 3339, which sorts as time does.
    pub(crate) created: String,
    pub(crate) ready: bool,
    /// Whether it is going away.
    pub(crate) going: bool,
    /// Whether its processes have ended for good.
    pub(crate) finished: bool,
    /// Whether it has no node yet.
    pub(crate) unbound: bool,
}

/// The Deployment, unless it is not one.
pub(crate) fn deployment(object: &Value) -> Option<Deployment> {
    Deployment::deserialize(object).ok()
}

/// The pod, and the uid of the Deployment that it belongs to.
pub(crate) fn replica(pod: &Value) -> Option<(Replica, Option<String>)> {
    let text = |at: &str| pod.pointer(at).and_then(Value::as_str).filter(|text| !text.is_empty());
    let list = |at: &str| pod.pointer(at).and_then(Value::as_array).into_iter().flatten();
    let has =
        |object: &Value, field: &str, value: &str| object.get(field).and_then(Value::as_str) == Some(value);
    let replica = Replica {
        name: Name::new(text("/metadata/namespace")?, text("/metadata/name")?),
        uid: text("/metadata/uid")?.to_owned(),
        template: text(&format!("/metadata/labels/{TEMPLATE_HASH}")).unwrap_or("").to_owned(),
        created: text("/metadata/creationTimestamp").unwrap_or("").to_owned(),
        ready: list("/status/conditions")
            .any(|condition| has(condition, "type", "Ready") && has(condition, "status", "True")),
        going: text("/metadata/deletionTimestamp").is_some(),
        finished: matches!(text("/status/phase"), Some("Succeeded" | "Failed")),
        unbound: text("/spec/nodeName").is_none() && text("/metadata/deletionTimestamp").is_none(),
    };
    let owner = list("/metadata/ownerReferences").find(|owner| {
        owner.get("controller").and_then(Value::as_bool) == Some(true) && has(owner, "kind", "Deployment")
    });
    let owner = owner.and_then(|owner| owner.get("uid")?.as_str()).map(str::to_owned);
    Some((replica, owner))
}
