//! Objects as rows of a table, which is how `kubectl get` asks for them.

use std::sync::Arc;

use jiff::Timestamp;
use serde_json::{Value, json};

use crate::Kind;

mod age;
mod cells;
mod endpoints;
mod pod;

/// What a row carries of its object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Include {
    /// The metadata, by which kubectl knows the object.
    Metadata,
    /// The object.
    Object,
    /// Nothing.
    Nothing,
}

/// How objects become a table.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Table {
    pub(crate) kind: Kind,
    pub(crate) now: Timestamp,
    pub(crate) include: Include,
}

/// A column; one that is not always shown has the mark `+` before its name.
type Columns = &'static [&'static str];

fn columns(kind: Kind) -> Columns {
    match kind {
        Kind::Namespace => &["Name", "Status", "Age"],
        Kind::Node => &[
            "Name",
            "Status",
            "Roles",
            "Age",
            "Version",
            "+Internal-IP",
            "+External-IP",
            "+OS-Image",
            "+Kernel-Version",
            "+Container-Runtime",
        ],
        Kind::Pod => &[
            "Name",
            "Ready",
            "Status",
            "Restarts",
            "Age",
            "+IP",
            "+Node",
            "+Nominated Node",
            "+Readiness Gates",
        ],
        Kind::Service => &["Name", "Type", "Cluster-IP", "External-IP", "Port(s)", "Age", "+Selector"],
        Kind::Endpoints => &["Name", "Endpoints", "Age"],
        Kind::EndpointSlice => &["Name", "AddressType", "Ports", "Endpoints", "Age"],
        Kind::Deployment => {
            &["Name", "Ready", "Up-to-date", "Available", "Age", "+Containers", "+Images", "+Selector"]
        }
        Kind::Lease => &["Name", "Holder", "Age"],
        Kind::ConfigMap => &["Name", "Data", "Age"],
        Kind::Secret => &["Name", "Type", "Data", "Age"],
        Kind::ServiceAccount => &["Name", "Secrets", "Age"],
        Kind::Event | Kind::NewEvent => {
            &["Last Seen", "Type", "Reason", "Object", "+Count", "Message", "+Name"]
        }
    }
}

impl Table {
    /// A table of objects, with or without the columns' names.
    pub(crate) fn of(&self, objects: &[Arc<Value>], metadata: &Value, with_columns: bool) -> Value {
        let rows: Vec<_> = objects.iter().map(|object| self.row(object)).collect();
        let column = |name: &&str| {
            let (name, priority) = name.strip_prefix('+').map_or((*name, 0), |name| (name, 1));
            let format = if name == "Name" { "name" } else { "" };
            json!({"name": name, "type": "string", "format": format, "description": "", "priority": priority})
        };
        let columns: Vec<_> = columns(self.kind).iter().filter(|_| with_columns).map(column).collect();
        json!({
            "kind": "Table", "apiVersion": "meta.k8s.io/v1", "metadata": metadata,
            "columnDefinitions": columns, "rows": rows,
        })
    }

    fn row(&self, object: &Arc<Value>) -> Value {
        let cells = cells::of(self.kind, object, self.now);
        let metadata = object.get("metadata").cloned().unwrap_or_default();
        match self.include {
            Include::Nothing => json!({"cells": cells}),
            Include::Object => json!({"cells": cells, "object": **object}),
            Include::Metadata => json!({"cells": cells, "object": {
                "kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1", "metadata": metadata,
            }}),
        }
    }
}

#[cfg(test)]
mod tests;
