//! Lease (coordination.k8s.io/v1), as those need it who watch whether its holder lives.

use std::sync::Arc;

use jiff::Timestamp;
use prost::Message;
use serde::Deserialize;

use crate::meta::{Time, text};
use crate::{Encoding, Meta, Pool, Undecodable, meta};

/// A Lease.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(from = "Wire")]
pub struct Lease {
    /// Metadata.
    pub meta: Meta,
    /// Who holds it; `None` = it was given back.
    pub holder: Option<Arc<str>>,
    /// How long it lasts after each renewal, in seconds.
    pub duration_seconds: Option<u32>,
    /// When it was last renewed, by the holder's clock: good to see that it moved, and for nothing else.
    pub renewed: Option<Timestamp>,
}

impl Lease {
    pub(crate) fn decode(encoding: Encoding, object: &[u8]) -> Result<Self, Undecodable> {
        encoding.read::<Wire>(object).map(Self::from)
    }

    pub(crate) fn compact(&mut self, pool: &mut Pool) {
        self.meta.compact(pool);
        pool.texts(&mut self.holder);
    }
}

#[derive(Message, Deserialize)]
struct Wire {
    #[prost(message, required, tag = "1")]
    metadata: meta::Wire,
    #[prost(message, required, tag = "2")]
    #[serde(default)]
    spec: Spec,
}

#[derive(Message, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Spec {
    #[prost(string, optional, tag = "1")]
    holder_identity: Option<String>,
    #[prost(int64, optional, tag = "2")]
    lease_duration_seconds: Option<i64>,
    #[prost(message, optional, tag = "4")]
    renew_time: Option<Time>,
}

impl From<Wire> for Lease {
    fn from(Wire { metadata, spec }: Wire) -> Self {
        Self {
            meta: metadata.into(),
            holder: text(spec.holder_identity),
            duration_seconds: spec.lease_duration_seconds.and_then(|seconds| u32::try_from(seconds).ok()),
            renewed: spec.renew_time.and_then(Time::known),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_encodings_say_the_same() {
        let json = br#"{"metadata": {"name": "a", "namespace": "n", "resourceVersion": "7"},
            "spec": {"holderIdentity": "node-1", "leaseDurationSeconds": 5, "acquireTime": null,
                     "renewTime": "1970-01-01T00:00:01.500000Z"}}"#;
        let json = Lease::decode(Encoding::Json, json).unwrap();
        let protobuf = b"\x0a\x09\x0a\x01a\x1a\x01n\x32\x017\x12\x14\x0a\x06node-1\x10\x05\x22\x08\x08\x01\x10\x80\xca\xb5\xee\x01";
        assert_eq!(Lease::decode(Encoding::Protobuf, protobuf).unwrap(), json);
        assert_eq!((json.holder.as_deref(), json.duration_seconds), (Some("node-1"), Some(5)));
        assert_eq!(json.renewed, Some(Timestamp::from_millisecond(1500).unwrap()));
    }

    #[test]
    fn one_that_was_given_back_has_no_holder() {
        let lease: Lease =
            serde_json::from_str(r#"{"metadata": {"name": "a"}, "spec": {"holderIdentity": ""}}"#).unwrap();
        assert_eq!((lease.holder, lease.duration_seconds, lease.renewed), (None, None, None));
    }
}
