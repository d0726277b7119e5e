//! ServiceCIDR (networking.k8s.io/v1): a range of cluster IPs (KEP-1880).

use ipnet::IpNet;
use prost::Message;
use serde::Deserialize;

use crate::meta::or_default;
use crate::{Encoding, Meta, Pool, Problem, Undecodable, meta};

/// A range of cluster IPs.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(from = "Wire")]
pub struct ServiceCidr {
    /// Metadata.
    pub meta: Meta,
    /// `metadata.finalizers`.
    pub finalizers: Vec<String>,
    /// Usable `spec.cidrs`, at most one of each family.
    pub cidrs: Vec<IpNet>,
    /// The condition `Ready`.
    pub ready: Option<ReadyCondition>,
    /// Parts that cannot be used.
    pub problems: Vec<Problem>,
}

/// The condition `Ready` of a ServiceCIDR.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ReadyCondition {
    /// `True`, `False` or `Unknown`.
    pub status: String,
    /// Why, in one word.
    pub reason: String,
    /// Why, for people.
    pub message: String,
}

impl ServiceCidr {
    pub(crate) fn decode(encoding: Encoding, object: &[u8]) -> Result<Self, Undecodable> {
        encoding.read::<Wire>(object).map(Self::from)
    }

    pub(crate) fn compact(&mut self, pool: &mut Pool) {
        self.meta.compact(pool);
    }
}

#[derive(Message, Deserialize)]
struct Wire {
    #[prost(message, required, tag = "1")]
    metadata: meta::Wire,
    #[prost(message, required, tag = "2")]
    #[serde(default)]
    spec: Spec,
    #[prost(message, required, tag = "3")]
    #[serde(default)]
    status: Status,
}

#[derive(Message, Deserialize)]
#[serde(default)]
struct Spec {
    #[prost(string, repeated, tag = "1")]
    #[serde(deserialize_with = "or_default")]
    cidrs: Vec<String>,
}

#[derive(Message, Deserialize)]
#[serde(default)]
struct Status {
    #[prost(message, repeated, tag = "1")]
    #[serde(deserialize_with = "or_default")]
    conditions: Vec<Condition>,
}

#[derive(Message, Deserialize)]
#[serde(default)]
struct Condition {
    #[prost(string, tag = "1")]
    #[serde(rename = "type")]
    kind: String,
    #[prost(string, tag = "2")]
    status: String,
    #[prost(string, tag = "5")]
    reason: String,
    #[prost(string, tag = "6")]
    message: String,
}

impl From<Wire> for ServiceCidr {
    fn from(Wire { mut metadata, spec, status }: Wire) -> Self {
        metadata.annotations.clear();
        let finalizers = std::mem::take(&mut metadata.finalizers);
        let mut problems = Vec::new();
        let mut cidrs = Vec::new();
        for (index, text) in spec.cidrs.iter().enumerate() {
            match text.parse() {
                Ok(cidr) => cidrs.push(cidr),
                Err(_) => {
                    problems
                        .push(Problem::new(format!("spec.cidrs[{index}]"), format!("{text:?} is no CIDR")));
                }
            }
        }
        let ready = status.conditions.into_iter().find(|condition| condition.kind == "Ready");
        let ready = ready.map(|condition| ReadyCondition {
            status: condition.status,
            reason: condition.reason,
            message: condition.message,
        });
        Self { meta: metadata.into(), finalizers, cidrs, ready, problems }
    }
}
