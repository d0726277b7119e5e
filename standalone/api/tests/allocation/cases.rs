//! The requests.

use serde_json::{Value, json};

use Step::{Create, Delete, DryRun, Patch, Put};

/// What the cluster has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Family {
    IPv4,
    Dual,
}

impl Family {
    pub(crate) const ALL: [Self; 2] = [Self::IPv4, Self::Dual];

    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::IPv4 => "ipv4",
            Self::Dual => "dual",
        }
    }
}

/// Requests one after the other, and then their Services go.
pub(crate) struct Case {
    pub(crate) name: String,
    pub(crate) steps: Vec<Step>,
    /// Whether the first answer is that of another case already.
    pub(crate) known_start: bool,
}

/// A request about a Service, with its spec; what stands in that as `labels` and `annotations` goes to the metadata.
pub(crate) enum Step {
    Create(&'static str, Value),
    DryRun(&'static str, Value),
    Put(&'static str, Value),
    /// A JSON merge patch.
    Patch(&'static str, Value),
    Delete(&'static str),
}

impl Step {
    /// Of the Service.
    pub(crate) fn name(&self) -> &'static str {
        match self {
            Create(name, _) | DryRun(name, _) | Put(name, _) | Patch(name, _) | Delete(name) => name,
        }
    }

    /// The spec that is sent, or what else is asked.
    pub(crate) fn what(&self) -> String {
        match self {
            Create(_, spec) | Put(_, spec) | Patch(_, spec) => spec.to_string(),
            DryRun(name, _) => format!("try {name}"),
            Delete(name) => format!("delete {name}"),
        }
    }
}

pub(crate) fn cases(family: Family) -> Vec<Case> {
    let mut cases = created();
    cases.extend(changed(family));
    cases.extend(ports());
    cases.extend(metadata());
    cases
}

/// Every policy with every list of families and of addresses.
fn created() -> Vec<Case> {
    let policies = [json!(null), json!("SingleStack"), json!("PreferDualStack"), json!("RequireDualStack")];
    let families =
        [json!(null), json!(["IPv4"]), json!(["IPv6"]), json!(["IPv4", "IPv6"]), json!(["IPv6", "IPv4"])];
    let addresses = [
        json!(null),
        json!(["None"]),
        json!(["10.96.7.1"]),
        json!(["fd00:96::701"]),
        json!(["10.96.7.1", "fd00:96::701"]),
        json!(["fd00:96::701", "10.96.7.1"]),
    ];
    let mut cases = Vec::new();
    for policy in &policies {
        for families in &families {
            for addresses in &addresses {
                let headless = addresses[0] == "None";
                for selector in [Some(json!({"a": "b"})), None].into_iter().take(1 + usize::from(headless)) {
                    let mut spec = json!({"ports": [{"port": 80}]});
                    let fields =
                        [("ipFamilyPolicy", policy), ("ipFamilies", families), ("clusterIPs", addresses)];
                    for (field, value) in fields.into_iter().filter(|(_, value)| !value.is_null()) {
                        spec[field] = value.clone();
                    }
                    if !addresses.is_null() {
                        spec["clusterIP"] = addresses[0].clone();
                    }
                    if let Some(selector) = selector {
                        spec["selector"] = selector;
                    }
                    cases.push(Case {
                        name: "create".to_owned(),
                        steps: vec![Create("s", spec)],
                        known_start: false,
                    });
                }
            }
        }
    }
    for spec in malformed() {
        cases.push(Case { name: "malformed".to_owned(), steps: vec![Create("s", spec)], known_start: false });
    }
    cases
}

fn malformed() -> Vec<Value> {
    let port = json!([{"port": 80}]);
    vec![
        json!({"ports": port, "clusterIPs": ["10.96.7.1"]}),
        json!({"ports": port, "clusterIP": "10.96.7.1", "clusterIPs": ["10.96.7.2"]}),
        json!({"ports": port, "clusterIP": "what"}),
        json!({"ports": port, "clusterIP": "10.96.7.1", "clusterIPs": ["10.96.7.1", "None"]}),
        json!({"ports": port, "clusterIP": "None", "clusterIPs": ["None", "10.96.7.1"]}),
        json!({"ports": port, "clusterIP": "10.96.7.1", "clusterIPs": ["10.96.7.1", "10.96.7.2"]}),
        json!({"ports": port, "clusterIP": "10.96.7.1", "clusterIPs": ["10.96.7.1", "fd00:96::701", "10.96.7.2"]}),
        json!({"ports": port, "clusterIP": "10.97.0.1"}),
        json!({"ports": port, "clusterIP": "10.96.0.0"}),
        json!({"ports": port, "clusterIP": "10.96.255.255"}),
        json!({"ports": port, "clusterIP": "fd00:97::1"}),
        json!({"ports": port, "ipFamilies": ["IPv5"]}),
        json!({"ports": port, "ipFamilies": ["IPv4", "IPv4"]}),
        json!({"ports": port, "ipFamilyPolicy": "Both"}),
        json!({"ports": port, "type": "ExternalName", "externalName": "a.b", "clusterIP": "10.96.7.1"}),
        json!({"ports": port, "type": "ExternalName", "externalName": "a.b", "ipFamilies": ["IPv4"], "ipFamilyPolicy": "SingleStack"}),
        json!({"type": "ExternalName", "externalName": "a.b", "clusterIP": "None"}),
        json!({"ports": [{"port": 80, "nodePort": 30001}], "type": "ExternalName", "externalName": "a.b"}),
        json!({"ports": port, "type": "NodePort", "clusterIP": "None"}),
        json!({"ports": port, "type": "LoadBalancer", "clusterIP": "None"}),
        json!({"clusterIP": "None"}),
        json!({}),
        // Several things at once: the order in which they are named.
        json!({"type": "ClusterIP", "externalTrafficPolicy": "Local", "healthCheckNodePort": 30003, "ports": [{"port": 80, "nodePort": 30001}, {"port": 80, "nodePort": 30001}]}),
        json!({"type": "What", "sessionAffinity": "Maybe", "internalTrafficPolicy": "Global", "trafficDistribution": "Far", "ports": [{"port": 0}], "selector": {"-": "a"}, "externalIPs": ["127.0.0.1"]}),
        json!({"type": "NodePort", "clusterIP": "None", "ports": [{"name": "A", "port": 70000}]}),
        json!({"type": "ClusterIP", "ports": port, "loadBalancerClass": "a.b/c", "allocateLoadBalancerNodePorts": true, "loadBalancerSourceRanges": ["10.0.0.0/8", "what"]}),
        json!({"type": "LoadBalancer", "ports": port, "loadBalancerSourceRanges": [" 10.0.0.0/8 ", "10.0.0.1/8", "10.0.0.0", "::ffff:10.0.0.0/104", "FD00:0::/8", "010.0.0.0/8", "10.0.0.0/08"]}),
    ]
}

/// Services to begin with.
fn starts() -> Vec<(&'static str, Value)> {
    let port = json!([{"name": "a", "port": 80}]);
    vec![
        ("single", json!({"ports": port})),
        ("prefer", json!({"ports": port, "ipFamilyPolicy": "PreferDualStack"})),
        ("require", json!({"ports": port, "ipFamilyPolicy": "RequireDualStack"})),
        ("six", json!({"ports": port, "ipFamilies": ["IPv6"]})),
        ("headless", json!({"ports": port, "clusterIP": "None", "selector": {"a": "b"}})),
        ("unbound", json!({"ports": port, "clusterIP": "None"})),
        ("external", json!({"type": "ExternalName", "externalName": "a.b", "ports": port})),
        ("nodes", json!({"type": "NodePort", "ports": port})),
        ("balanced", json!({"type": "LoadBalancer", "ports": port, "loadBalancerClass": "a.b/c"})),
        ("local", json!({"type": "LoadBalancer", "ports": port, "externalTrafficPolicy": "Local"})),
        ("portless", json!({"type": "LoadBalancer", "ports": port, "allocateLoadBalancerNodePorts": false})),
    ]
}

/// What is made of each of them.
fn changes() -> Vec<Value> {
    vec![
        json!({"type": "ClusterIP"}),
        json!({"type": "NodePort"}),
        json!({"type": "LoadBalancer"}),
        json!({"type": "ExternalName", "externalName": "a.b"}),
        json!({"type": "ExternalName", "externalName": "a.b", "clusterIP": null, "clusterIPs": null}),
        json!({"type": "LoadBalancer", "externalTrafficPolicy": "Local"}),
        json!({"type": "LoadBalancer", "allocateLoadBalancerNodePorts": false}),
        json!({"type": "ClusterIP", "clusterIP": "None", "clusterIPs": ["None"]}),
        json!({"externalTrafficPolicy": "Local"}),
        json!({"externalTrafficPolicy": "Cluster"}),
        json!({"ipFamilyPolicy": "SingleStack"}),
        json!({"ipFamilyPolicy": "PreferDualStack"}),
        json!({"ipFamilyPolicy": "RequireDualStack"}),
        json!({"ipFamilyPolicy": null}),
        json!({"ipFamilies": ["IPv4"]}),
        json!({"ipFamilies": ["IPv6"]}),
        json!({"ipFamilies": ["IPv6", "IPv4"]}),
        json!({"ipFamilies": null}),
        json!({"ipFamilyPolicy": "PreferDualStack", "ipFamilies": ["IPv4", "IPv6"]}),
        json!({"ipFamilyPolicy": "SingleStack", "ipFamilies": ["IPv4"]}),
        json!({"clusterIP": null}),
        json!({"clusterIPs": null}),
        json!({"clusterIP": null, "clusterIPs": null}),
        json!({"clusterIP": "10.96.7.9"}),
        json!({"clusterIP": "10.96.7.9", "clusterIPs": ["10.96.7.9"]}),
        json!({"healthCheckNodePort": 30050}),
        json!({"healthCheckNodePort": null}),
        json!({"loadBalancerClass": "d.e/f"}),
        json!({"allocateLoadBalancerNodePorts": false}),
        json!({"allocateLoadBalancerNodePorts": true}),
        json!({"ports": [{"name": "a", "port": 80}, {"name": "b", "port": 81}]}),
        json!({"ports": [{"name": "a", "port": 80, "nodePort": 30060}]}),
        json!({"ports": [{"name": "b", "port": 80}]}),
        json!({"ports": [{"name": "a", "port": 80}, {"name": "b", "port": 80, "protocol": "UDP"}]}),
        json!({"ports": []}),
        json!({"ports": null}),
        json!({"type": "NodePort", "ports": [{"name": "a", "port": 80, "nodePort": 30061}, {"name": "b", "port": 80, "protocol": "UDP", "nodePort": 30061}]}),
        json!({"type": "NodePort", "ports": [{"name": "a", "port": 80, "nodePort": 30061}, {"name": "b", "port": 81, "nodePort": 30061}]}),
        json!({"type": "NodePort", "externalTrafficPolicy": null, "healthCheckNodePort": null}),
        json!({"internalTrafficPolicy": "Local"}),
        json!({"loadBalancerSourceRanges": ["10.0.0.0/8"]}),
    ]
}

fn changed(family: Family) -> Vec<Case> {
    let mut cases = Vec::new();
    let starts =
        starts().into_iter().filter(|(name, _)| family == Family::Dual || !["require", "six"].contains(name));
    for (name, start) in starts {
        for change in changes() {
            let mut whole = start.clone();
            for (field, value) in change.as_object().unwrap() {
                whole[field] = value.clone();
            }
            for (how, step) in [("patched", Patch("s", change)), ("put", Put("s", whole))] {
                let steps = vec![Create("s", start.clone()), step];
                cases.push(Case { name: format!("{name} {how}"), steps, known_start: true });
            }
        }
    }
    cases
}

/// Node ports, and who gets what when two want it.
fn ports() -> Vec<Case> {
    let nodes = |ports: Value| json!({"type": "NodePort", "ports": ports});
    let two = |a: Value, b: Value| {
        let mut ports =
            [json!({"name": "a", "port": 53}), json!({"name": "b", "port": 53, "protocol": "UDP"})];
        for (port, with) in ports.iter_mut().zip([a, b]) {
            for (field, value) in with.as_object().unwrap() {
                port[field] = value.clone();
            }
        }
        json!(ports)
    };
    let single = [
        nodes(two(json!({}), json!({}))),
        nodes(two(json!({"nodePort": 30001}), json!({}))),
        nodes(two(json!({}), json!({"nodePort": 30001}))),
        nodes(two(json!({"nodePort": 30001}), json!({"nodePort": 30001}))),
        nodes(two(json!({"nodePort": 30001}), json!({"nodePort": 30002}))),
        nodes(two(json!({"nodePort": 30001}), json!({"nodePort": 30001, "port": 54}))),
        nodes(two(json!({"nodePort": 30001, "protocol": "UDP"}), json!({"nodePort": 30001, "port": 54}))),
        nodes(two(json!({}), json!({"port": 54}))),
        nodes(json!([{"port": 80, "nodePort": 29999}])),
        nodes(json!([{"port": 80, "nodePort": 32768}])),
        nodes(json!([{"port": 80, "nodePort": 70000}])),
        nodes(json!([{"port": 80, "nodePort": -1}])),
        nodes(json!([{"port": 0, "nodePort": 30001}])),
        json!({"type": "LoadBalancer", "externalTrafficPolicy": "Local", "healthCheckNodePort": 30003, "ports": [{"port": 80}]}),
        json!({"type": "LoadBalancer", "externalTrafficPolicy": "Local", "healthCheckNodePort": 29999, "ports": [{"port": 80}]}),
        json!({"type": "LoadBalancer", "externalTrafficPolicy": "Local", "healthCheckNodePort": 30001, "ports": [{"port": 80, "nodePort": 30001}]}),
        json!({"type": "LoadBalancer", "healthCheckNodePort": 30003, "ports": [{"port": 80}]}),
        json!({"type": "ClusterIP", "ports": [{"port": 80, "nodePort": 30001}]}),
    ];
    let mut cases: Vec<_> = single
        .into_iter()
        .map(|spec| Case { name: "ports".to_owned(), steps: vec![Create("s", spec)], known_start: false })
        .collect();
    let wanted = nodes(json!([{"port": 80, "nodePort": 30001}]));
    let other = nodes(json!([{"port": 80, "protocol": "UDP", "nodePort": 30001}]));
    let health = json!({"type": "LoadBalancer", "externalTrafficPolicy": "Local", "healthCheckNodePort": 30001, "ports": [{"port": 80}]});
    let address = json!({"clusterIP": "10.96.7.5", "ports": [{"port": 80}]});
    let second =
        json!({"clusterIP": "10.96.7.5", "type": "NodePort", "ports": [{"port": 80, "nodePort": 30001}]});
    let plain = json!({"ports": [{"port": 80}]});
    let local = |number: u16| json!({"type": "LoadBalancer", "externalTrafficPolicy": "Local", "healthCheckNodePort": number, "ports": [{"port": 80}]});
    let one_port = |number: u16| json!({"ports": [{"port": 80, "nodePort": number}]});
    let meet = |name: &str, steps: Vec<Step>| Case { name: name.to_owned(), steps, known_start: false };
    cases.extend([
        meet(
            "taken port",
            vec![
                Create("s", wanted.clone()),
                Create("t", wanted.clone()),
                Delete("s"),
                Create("t", wanted.clone()),
            ],
        ),
        meet("other protocol", vec![Create("s", wanted.clone()), Create("t", other)]),
        meet("taken health port", vec![Create("s", wanted.clone()), Create("t", health)]),
        meet(
            "taken address",
            vec![
                Create("s", address.clone()),
                Create("t", address.clone()),
                Delete("s"),
                Create("t", address.clone()),
            ],
        ),
        meet("both taken", vec![Create("s", second.clone()), Create("t", second)]),
        meet(
            "dry run",
            vec![DryRun("s", address.clone()), Create("t", address.clone()), DryRun("s", address.clone())],
        ),
        meet(
            "taken by a patch",
            vec![Create("s", wanted.clone()), Create("t", plain.clone()), Patch("t", wanted.clone())],
        ),
        meet(
            "given back by a type",
            vec![
                Create("s", wanted.clone()),
                Patch("s", json!({"type": "ClusterIP"})),
                Create("t", wanted.clone()),
            ],
        ),
        meet(
            "given back by a name",
            vec![
                Create("s", address.clone()),
                Patch("s", json!({"type": "ExternalName", "externalName": "a.b"})),
                Create("t", address.clone()),
                Put("s", address.clone()),
            ],
        ),
        meet(
            "moved",
            vec![
                Create("s", wanted.clone()),
                Patch("s", json!({"ports": [{"port": 80, "nodePort": 30002}]})),
                Create("t", wanted.clone()),
            ],
        ),
        meet("created by a put", vec![Put("s", plain)]),
        meet(
            "made twice",
            vec![Create("s", address.clone()), Create("s", address.clone()), DryRun("s", address)],
        ),
        meet(
            "port made twice",
            vec![Create("s", wanted.clone()), Create("s", wanted.clone()), DryRun("s", wanted.clone())],
        ),
        meet("own port for health", vec![Create("s", wanted), Patch("s", local(30001))]),
        meet("own health port for a node", vec![Create("s", local(30003)), Patch("s", one_port(30003))]),
        meet(
            "own health port for another type",
            vec![
                Create("s", local(30003)),
                Patch("s", {
                    let mut spec = one_port(30003);
                    spec["type"] = json!("NodePort");
                    spec
                }),
            ],
        ),
    ]);
    cases
}

/// What metadata say, alone and beside a wrong spec.
fn metadata() -> Vec<Case> {
    const RANGES: &str = "service.beta.kubernetes.io/load-balancer-source-ranges";
    const HINTS: &str = "service.kubernetes.io/topology-aware-hints";
    const MODE: &str = "service.kubernetes.io/topology-mode";
    let port = || json!([{"port": 80}]);
    let plain = |annotations: Value| json!({"ports": port(), "annotations": annotations});
    let balanced = |annotations: Value, ranges: Value| json!({"type": "LoadBalancer", "ports": port(), "loadBalancerSourceRanges": ranges, "annotations": annotations});
    let long = "a".repeat(64);
    let single = [
        balanced(json!({RANGES: " 10.0.0.0/8 , 192.168.0.0/16"}), json!(null)),
        balanced(json!({RANGES: "10.0.0.0/8,what,10.0.0.1/8, "}), json!(null)),
        balanced(json!({RANGES: " "}), json!([])),
        balanced(json!({RANGES: "what"}), json!(["10.0.0.0/8"])),
        plain(json!({RANGES: "10.0.0.0/8"})),
        plain(json!({RANGES: ""})),
        plain(json!({RANGES: "what"})),
        plain(json!({HINTS: "Auto", MODE: "Auto"})),
        plain(json!({HINTS: "Auto", MODE: "Disabled"})),
        plain(json!({HINTS: "", MODE: "Auto"})),
        plain(json!({(long.as_str()): "b"})),
        json!({"type": "What", "ports": port(), "annotations": {"-a": "b", HINTS: "Auto", MODE: ""}}),
        json!({"ports": [{"port": 0}], "labels": {"-a": "b"}}),
        json!({"ports": port(), "labels": {(long.as_str()): "a"}}),
        json!({"ports": port(), "labels": {"a": long}}),
        json!({"ports": port(), "selector": {"a": long}}),
        json!({"ports": [{"port": 80, "name": long}]}),
        json!({"ports": [{"port": 80, "targetPort": long}]}),
        json!({"type": "ExternalName", "externalName": long.repeat(4)}),
    ];
    let case = |steps: Vec<Step>| Case { name: "metadata".to_owned(), steps, known_start: false };
    let mut cases: Vec<_> = single.into_iter().map(|spec| case(vec![Create("s", spec)])).collect();
    for name in [
        "-s",
        "s.t",
        "1s",
        "S",
        "sssssssssssssssssssssssssssssssssssssssssssssssssssssssssssssss",
        "ssssssssssssssssssssssssssssssssssssssssssssssssssssssssssssssss",
    ] {
        cases.push(case(vec![Create(name, plain(json!({})))]));
        cases.push(case(vec![Create(name, json!({"type": "What", "ports": port()}))]));
    }
    let annotated = |annotations: Value| json!({"annotations": annotations});
    cases.extend([
        // What was not looked at when it came is not looked at as long as it stays.
        case(vec![
            Create("s", balanced(json!({RANGES: "what"}), json!(["10.0.0.0/8"]))),
            Patch("s", json!({"loadBalancerSourceRanges": null})),
            Patch("s", annotated(json!({RANGES: "what,10.0.0.1/8"}))),
            Patch("s", json!({"type": "ClusterIP"})),
            Patch("s", json!({"type": "ClusterIP", "annotations": {RANGES: null}})),
            Patch("s", annotated(json!({RANGES: ""}))),
        ]),
        case(vec![
            Create("s", plain(json!({HINTS: "Auto"}))),
            Patch("s", annotated(json!({MODE: "Disabled"}))),
            Patch("s", annotated(json!({MODE: "Auto"}))),
            Patch("s", json!({"ports": [{"port": 0}], "annotations": {MODE: "Disabled"}})),
        ]),
    ]);
    cases
}
