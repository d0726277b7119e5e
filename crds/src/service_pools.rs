//! ServiceIPPool and NodePortPool: where cluster IPs and node ports of some Services are chosen from.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::condition::{conditions, date_time};
use crate::{Condition, LabelSelector};

/// Addresses that the cluster IPs of some Services are chosen from.
#[derive(Clone, Debug, Default, PartialEq, CustomResource, Deserialize, Serialize, KubeSchema)]
#[kube(
    group = "portolan.dev",
    version = "v1alpha1",
    kind = "ServiceIPPool",
    plural = "serviceippools",
    shortname = "svcpool",
    category = "portolan",
    doc = "Addresses that the cluster IPs of some Services are chosen from.",
    status = "PoolStatus",
    derive = "PartialEq",
    printcolumn(
        name = "Ready",
        type_ = "string",
        json_path = ".status.conditions[?(@.type=='Ready')].status"
    ),
    printcolumn = r#"{"name":"Used","type":"integer","jsonPath":".status.used"}"#,
    printcolumn = r#"{"name":"Free","type":"integer","jsonPath":".status.free"}"#,
    printcolumn = r#"{"name":"Addresses","type":"string","jsonPath":".spec.addresses","priority":1}"#,
    printcolumn = r#"{"name":"Age","type":"date","jsonPath":".metadata.creationTimestamp"}"#
)]
#[serde(rename_all = "camelCase")]
pub struct ServiceIPPoolSpec {
    /// Addresses of the pool, both families mixed as you like: `10.96.4.0/24` (all of it), `10.96.4.20-10.96.4.29`,
    /// `fd00:96::4:0/112`, or one address. What is in no ServiceCIDR is not chosen. No two pools should have an address in
    /// common: it is chosen only for the one whose name comes first
    #[schemars(length(min = 1, max = 64), inner(length(min = 2, max = 91)))]
    #[x_kube(
        validation = Rule::new(
            "self.all(a, a.contains('/') ? isCIDR(a) : a.split('-').size() <= 2 && a.split('-').all(e, isIP(e.trim())))"
        ).message("each entry must be a CIDR (10.96.4.0/24), a range (10.96.4.20-10.96.4.29) or an address"),
        validation = Rule::new(
            "self.all(a, !a.contains('-') || !a.split('-').all(e, isIP(e.trim())) || \
             ip(a.split('-')[0].trim()).family() == ip(a.split('-')[1].trim()).family())"
        ).message("a range must begin and end in one family")
    )]
    pub addresses: Vec<String>,
    /// Addresses among these that are never chosen, in the same forms. Who asks for one of them gets it
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64), inner(length(min = 2, max = 91)))]
    #[x_kube(validation = Rule::new(
        "self.all(a, a.contains('/') ? isCIDR(a) : a.split('-').size() <= 2 && a.split('-').all(e, isIP(e.trim())))"
    ).message("each entry must be a CIDR (10.96.4.0/24), a range (10.96.4.20-10.96.4.29) or an address"))]
    pub reserved: Vec<String>,
    /// Of several pools for a Service, the one with the lower number comes first, and those without come last
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub priority: Option<i32>,
    /// Namespaces for whose Services the pool is, by name. With `namespaceSelector`, either may name them; with neither,
    /// it is for all
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 256), inner(length(min = 1, max = 63)))]
    pub namespaces: Vec<String>,
    /// Namespaces for whose Services the pool is, by their labels
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub namespace_selector: Option<LabelSelector>,
    /// Services that the pool is for, by their labels; without it, all of those namespaces
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service_selector: Option<LabelSelector>,
}

/// Ports that the node ports of some Services are chosen from.
#[derive(Clone, Debug, Default, PartialEq, CustomResource, Deserialize, Serialize, KubeSchema)]
#[kube(
    group = "portolan.dev",
    version = "v1alpha1",
    kind = "NodePortPool",
    plural = "nodeportpools",
    shortname = "nppool",
    category = "portolan",
    doc = "Ports that the node ports of some Services are chosen from.",
    status = "PoolStatus",
    derive = "PartialEq",
    printcolumn(
        name = "Ready",
        type_ = "string",
        json_path = ".status.conditions[?(@.type=='Ready')].status"
    ),
    printcolumn = r#"{"name":"Used","type":"integer","jsonPath":".status.used"}"#,
    printcolumn = r#"{"name":"Free","type":"integer","jsonPath":".status.free"}"#,
    printcolumn = r#"{"name":"Ports","type":"string","jsonPath":".spec.ports","priority":1}"#,
    printcolumn = r#"{"name":"Age","type":"date","jsonPath":".metadata.creationTimestamp"}"#
)]
#[serde(rename_all = "camelCase")]
pub struct NodePortPoolSpec {
    /// Ports of the pool: `30000-30099`, or one port. What is not among the API server's node ports is not chosen. No two
    /// pools should have a port in common: it is chosen only for the one whose name comes first
    #[schemars(length(min = 1, max = 64), inner(length(min = 1, max = 13)))]
    #[x_kube(validation = Rule::new("self.all(p, p.matches('^[0-9]{1,5}( *- *[0-9]{1,5})?$'))")
        .message("each entry must be a range of ports (30000-30099) or a port"))]
    pub ports: Vec<String>,
    /// Ports among these that are never chosen, in the same forms. Who asks for one of them gets it
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64), inner(length(min = 1, max = 13)))]
    #[x_kube(validation = Rule::new("self.all(p, p.matches('^[0-9]{1,5}( *- *[0-9]{1,5})?$'))")
        .message("each entry must be a range of ports (30000-30099) or a port"))]
    pub reserved: Vec<String>,
    /// Of several pools for a Service, the one with the lower number comes first, and those without come last
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub priority: Option<i32>,
    /// Namespaces for whose Services the pool is, by name. With `namespaceSelector`, either may name them; with neither,
    /// it is for all
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 256), inner(length(min = 1, max = 63)))]
    pub namespaces: Vec<String>,
    /// Namespaces for whose Services the pool is, by their labels
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub namespace_selector: Option<LabelSelector>,
    /// Services that the pool is for, by their labels; without it, all of those namespaces
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service_selector: Option<LabelSelector>,
}

/// What became of a pool.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PoolStatus {
    /// Values that Services have, chosen or asked for
    #[serde(default)]
    pub used: i64,
    /// Values that can be chosen; at most 9223372036854775807 is counted
    #[serde(default)]
    pub free: i64,
    /// Which replica may choose where. Portolan's own: whoever changes it may have one value chosen twice, which the API
    /// server then refuses
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 4096))]
    pub leases: Vec<PoolLease>,
    /// `Ready`: whether values are chosen, and why not all or none
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "conditions")]
    pub conditions: Vec<Condition>,
}

/// Values that one replica may choose from for a time.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PoolLease {
    /// The values: `10.96.4.0-10.96.4.7`, `30000-30007`, or single ones
    pub values: Vec<String>,
    /// One run of one replica
    pub holder: String,
    /// When it ends
    #[schemars(schema_with = "date_time")]
    pub until: Time,
}
