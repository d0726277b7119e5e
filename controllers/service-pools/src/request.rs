//! What is asked about a Service, and answered.

use std::collections::BTreeMap;

use portolan_core::{Labels, ObjectName};
use serde_json::{Value as Json, json};

use crate::{Domain, PoolKey, PortWant, Value};

/// A Service that is to be stored.
#[derive(Clone, Copy, Debug)]
pub struct Request<'a> {
    /// Its namespace.
    pub namespace: &'a str,
    /// Its name; empty where the API server is to find one.
    pub name: &'a str,
    /// The object.
    pub service: &'a Json,
    /// The object as it is stored, if it is.
    pub old: Option<&'a Json>,
}

impl Request<'_> {
    pub(crate) fn owner(&self) -> ObjectName {
        ObjectName::new(self.namespace, self.name)
    }

    pub(crate) fn labels(&self) -> Labels {
        let labels = self.service["metadata"]["labels"].as_object().into_iter().flatten();
        labels.filter_map(|(key, value)| Some((key.as_str().into(), value.as_str()?.into()))).collect()
    }
}

/// What is answered.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Choice {
    /// Changes of the Service, as operations of RFC 6902.
    pub patch: Vec<Json>,
    /// What its author should know.
    pub warnings: Vec<String>,
    /// What was chosen, and from which pool.
    pub picks: Vec<(PoolKey, Value)>,
    /// Pools that are for the Service and had nothing for it, so that the API server picks from all that it has.
    pub left: Vec<PoolKey>,
    /// Pools that have free values of which this replica has too few at hand, and how many are lacking; whether or not another
    /// pool had something instead.
    pub scarce: BTreeMap<(PoolKey, Domain), u64>,
}

impl Choice {
    pub(crate) fn set_addresses(&mut self, addresses: &[Value]) {
        let addresses: Vec<_> = addresses.iter().map(ToString::to_string).collect();
        let Some(first) = addresses.first() else { return };
        self.patch.push(json!({"op": "add", "path": "/spec/clusterIP", "value": first}));
        self.patch.push(json!({"op": "add", "path": "/spec/clusterIPs", "value": addresses}));
    }

    pub(crate) fn set_port(&mut self, want: PortWant, port: u16) {
        let path = format!("/spec/ports/{}/nodePort", want.index);
        self.patch.push(json!({"op": "add", "path": path, "value": port}));
    }

    pub(crate) fn set_health_port(&mut self, port: u16) {
        self.patch.push(json!({"op": "add", "path": "/spec/healthCheckNodePort", "value": port}));
    }
}
