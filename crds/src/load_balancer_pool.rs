//! LoadBalancerPool: addresses for Services of type LoadBalancer.

use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::condition::conditions;
use crate::{Condition, LabelSelector};

/// Addresses for Services of type LoadBalancer.
#[derive(Clone, Debug, PartialEq, CustomResource, Deserialize, Serialize, KubeSchema)]
#[kube(
    group = "portolan.dev",
    version = "v1alpha1",
    kind = "LoadBalancerPool",
    plural = "loadbalancerpools",
    shortname = "lbpool",
    category = "portolan",
    doc = "Addresses for Services of type LoadBalancer.",
    status = "LoadBalancerPoolStatus",
    derive = "PartialEq",
    printcolumn(
        name = "Ready",
        type_ = "string",
        json_path = ".status.conditions[?(@.type=='Ready')].status"
    ),
    printcolumn = r#"{"name":"Auto","type":"boolean","jsonPath":".spec.autoAssign"}"#,
    printcolumn = r#"{"name":"Used4","type":"integer","jsonPath":".status.usedIPv4"}"#,
    printcolumn = r#"{"name":"Free4","type":"integer","jsonPath":".status.freeIPv4"}"#,
    printcolumn = r#"{"name":"Used6","type":"integer","jsonPath":".status.usedIPv6"}"#,
    printcolumn = r#"{"name":"Free6","type":"integer","jsonPath":".status.freeIPv6"}"#,
    printcolumn = r#"{"name":"Addresses","type":"string","jsonPath":".spec.addresses","priority":1}"#,
    printcolumn = r#"{"name":"Age","type":"date","jsonPath":".metadata.creationTimestamp"}"#
)]
#[serde(rename_all = "camelCase")]
pub struct LoadBalancerPoolSpec {
    /// Addresses of the pool, both families mixed as you like: `192.0.2.0/28` (all of it), `192.0.2.20-192.0.2.29`,
    /// `2001:db8::/112`, or one address. No two pools may have an address in common
    #[schemars(length(min = 1, max = 64), inner(length(min = 2, max = 91)))]
    #[x_kube(
        validation = Rule::new(
            "self.all(a, a.contains('/') ? isCIDR(a) : a.split('-').size() <= 2 && a.split('-').all(e, isIP(e.trim())))"
        ).message("each entry must be a CIDR (192.0.2.0/28), a range (192.0.2.20-192.0.2.29) or an address"),
        validation = Rule::new(
            "self.all(a, !a.contains('-') || !a.split('-').all(e, isIP(e.trim())) || \
             ip(a.split('-')[0].trim()).family() == ip(a.split('-')[1].trim()).family())"
        ).message("a range must begin and end in one family")
    )]
    pub addresses: Vec<String>,
    /// Whether Services that ask for neither this pool nor one of its addresses may get one
    #[serde(default = "yes")]
    pub auto_assign: bool,
    /// Leave out addresses that end in .0 or .255: some old devices take them for those of a network
    #[serde(default, rename = "avoidBuggyIPs")]
    pub avoid_buggy_ips: bool,
    /// Of several pools that a Service may use, the one with the lower number comes first, and those without come last
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub priority: Option<i32>,
    /// Namespaces whose Services may use the pool, by name. With `namespaceSelector`, either may name them; with
    /// neither, all may
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 256), inner(length(min = 1, max = 63)))]
    pub namespaces: Vec<String>,
    /// Namespaces whose Services may use the pool, by their labels
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub namespace_selector: Option<LabelSelector>,
    /// Services that may use the pool, by their labels; without it, all of those namespaces
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service_selector: Option<LabelSelector>,
    /// How the node proxies announce the addresses
    #[serde(default)]
    pub announce: Announce,
    /// Network interfaces of the nodes that the addresses are announced on; without it, those whose own addresses are
    /// in a common network with the announced one
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16), inner(length(min = 1, max = 15)))]
    pub interfaces: Vec<String>,
}

/// How addresses are announced.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
pub enum Announce {
    /// By ARP and NDP, each by one node at a time.
    #[default]
    Layer2,
    /// Not by Portolan: a router has a route for them, or another program announces them.
    None,
}

/// What became of a pool.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct LoadBalancerPoolStatus {
    /// IPv4 addresses that Services have
    #[serde(default, rename = "usedIPv4")]
    pub used_ipv4: i64,
    /// IPv4 addresses that a Service can get
    #[serde(default, rename = "freeIPv4")]
    pub free_ipv4: i64,
    /// IPv6 addresses that Services have
    #[serde(default, rename = "usedIPv6")]
    pub used_ipv6: i64,
    /// IPv6 addresses that a Service can get; at most 9223372036854775807 is counted
    #[serde(default, rename = "freeIPv6")]
    pub free_ipv6: i64,
    /// `Ready`: whether addresses are given out, and why not all or none
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "conditions")]
    pub conditions: Vec<Condition>,
}

fn yes() -> bool {
    true
}
