//! A small cluster, and the one `check` that all tests go through.

use portolan_core::{ChangeSet, EndpointSlice, Event, Namespace, ObjectName, Pod, Service, State, Watched};
use portolan_zone::{Answer, Config, Outcome, PodNames, Report, Zone};

use hickory_proto::rr::{Name, Record, RecordType};

const TTL: u32 = 30;

/// A State and the zone that follows it.
pub(crate) struct Cluster {
    state: State,
    pub(crate) zone: Zone,
    serial: u32,
}

impl Cluster {
    /// Nothing listed yet.
    pub(crate) fn empty(pod_names: PodNames) -> Self {
        Self::of("cluster.local.", pod_names)
    }

    /// Nothing listed yet, under another domain.
    pub(crate) fn of(origin: &str, pod_names: PodNames) -> Self {
        let config = Config {
            origin: Name::from_ascii(origin).unwrap(),
            ttl: TTL,
            pod_names,
            name_servers: vec!["10.96.0.10".parse().unwrap()],
        };
        Self { state: State::default(), zone: Zone::new(config), serial: 1 }
    }

    /// The objects of CoreDNS' handler tests, listed completely.
    pub(crate) fn full(pod_names: PodNames) -> Self {
        let mut cluster = Self::empty(pod_names);
        cluster.lists_begin();
        for namespace in ["testns", "podns", "kube-system"] {
            cluster.namespace(namespace);
        }
        for (name, spec) in SERVICES {
            cluster.service("testns", name, spec);
        }
        for (name, service, family, endpoints, ports) in SLICES {
            cluster.slice("testns", name, service, family, endpoints, ports);
        }
        cluster.service("kube-system", "kubedns", r#"{"clusterIP": "10.0.0.10", "ports": [{"name": "dns", "port": 53, "protocol": "UDP"}, {"name": "dns-tcp", "port": 53}]}"#);
        cluster.pod(
            "podns",
            "foo",
            r#"{"phase": "Running", "podIPs": [{"ip": "10.240.0.1"}, {"ip": "1234:abcd::7"}]}"#,
        );
        cluster.lists_end();
        cluster
    }

    pub(crate) fn lists_begin(&mut self) {
        self.apply(Event::<Service>::ListBegins);
        self.apply(Event::<EndpointSlice>::ListBegins);
        self.apply(Event::<Namespace>::ListBegins);
        self.apply(Event::<Pod>::ListBegins);
    }

    pub(crate) fn lists_end(&mut self) {
        self.apply(Event::<Service>::ListEnds);
        self.apply(Event::<EndpointSlice>::ListEnds);
        self.apply(Event::<Namespace>::ListEnds);
        self.apply(Event::<Pod>::ListEnds);
    }

    pub(crate) fn apply<T: Watched>(&mut self, event: Event<T>) -> Vec<Report> {
        let mut changes = ChangeSet::default();
        self.state.apply(event, &mut changes);
        self.serial += 1;
        self.zone.update(&self.state, &changes, self.serial)
    }

    pub(crate) fn namespace(&mut self, name: &str) -> Vec<Report> {
        self.apply(Event::Applied(object::<Namespace>("", name, "{}", "{}")))
    }

    pub(crate) fn service(&mut self, namespace: &str, name: &str, spec: &str) -> Vec<Report> {
        self.apply(Event::Applied(object::<Service>(
            namespace,
            name,
            &format!(r#"{{"spec": {spec}}}"#),
            "{}",
        )))
    }

    pub(crate) fn pod(&mut self, namespace: &str, name: &str, status: &str) -> Vec<Report> {
        self.apply(Event::Applied(object::<Pod>(
            namespace,
            name,
            &format!(r#"{{"status": {status}}}"#),
            "{}",
        )))
    }

    /// `endpoints` and `ports` are words: `ADDRESS[@HOSTNAME][!]` (`!` = not ready), `[NAME]:NUMBER[/PROTOCOL]`.
    pub(crate) fn slice(
        &mut self,
        namespace: &str,
        name: &str,
        service: &str,
        family: &str,
        endpoints: &str,
        ports: &str,
    ) -> Vec<Report> {
        let endpoints: Vec<_> = endpoints
            .split_whitespace()
            .map(|word| {
                let (word, ready) = word.strip_suffix('!').map_or((word, true), |word| (word, false));
                let (address, hostname) = word.split_once('@').unwrap_or((word, ""));
                serde_json::json!({"addresses": [address], "hostname": hostname, "conditions": {"ready": ready}})
            })
            .collect();
        let ports: Vec<_> = ports
            .split_whitespace()
            .map(|word| {
                let (word, protocol) = word.split_once('/').unwrap_or((word, "TCP"));
                let (name, port) = word.split_once(':').unwrap();
                serde_json::json!({"name": name, "port": port.parse::<u16>().unwrap(), "protocol": protocol})
            })
            .collect();
        let body = serde_json::json!({"addressType": family, "endpoints": endpoints, "ports": ports});
        let labels = format!(r#"{{"kubernetes.io/service-name": "{service}"}}"#);
        self.apply(Event::Applied(object::<EndpointSlice>(namespace, name, &body.to_string(), &labels)))
    }

    pub(crate) fn delete<T: Watched>(&mut self, namespace: &str, name: &str) {
        self.apply(Event::<T>::Deleted(ObjectName::new(namespace, name), 0));
    }

    /// A zone that reads the State as it is now.
    pub(crate) fn reloaded(&self) -> Self {
        let mut reloaded = Self::empty(PodNames::Verified);
        reloaded.zone.load(&self.state, self.serial);
        reloaded
    }

    pub(crate) fn ask(&self, question: &str) -> Answer {
        let (name, record_type) = question.split_once(' ').unwrap();
        let record_type = match record_type.strip_prefix("TYPE") {
            Some(number) => RecordType::from(number.parse::<u16>().unwrap()),
            None => record_type.parse().unwrap(),
        };
        self.zone.answer(&Name::from_ascii(expand(name)).unwrap(), record_type)
    }

    /// Asks `NAME TYPE` and compares with the answer's text; see [`render`].
    #[track_caller]
    pub(crate) fn check(&self, question: &str, want: &str) {
        let question = expand(question);
        assert_eq!(render(&self.ask(&question)), expand(want), "{question}");
    }
}

/// `@` stands for the zone.
pub(crate) fn expand(text: &str) -> String {
    text.replace('@', "cluster.local.")
}

fn object<T: Watched>(namespace: &str, name: &str, body: &str, labels: &str) -> T {
    let mut body: serde_json::Value = serde_json::from_str(body).unwrap();
    let labels: serde_json::Value = serde_json::from_str(labels).unwrap();
    body["metadata"] = serde_json::json!({"namespace": namespace, "name": name, "labels": labels});
    serde_json::from_value(body).unwrap()
}

/// Records as `TYPE DATA`, separated by ` | `; with the owner where it is not the name asked for;
/// additional ones after `+`. Times to live and SOA records are checked, not shown.
pub(crate) fn render(answer: &Answer) -> String {
    let mut parts: Vec<String> = answer.chain.iter().map(named).collect();
    match &answer.outcome {
        Outcome::Records { answer: records, additional } => {
            parts.extend(records.iter().map(|record| {
                assert!(record.name.eq_case(&answer.name), "owner {} of {}", record.name, answer.name);
                plain(record)
            }));
            parts.extend(additional.iter().map(|record| format!("+ {}", named(record))));
        }
        Outcome::NoData(soa) => parts.push(negative("NODATA", soa)),
        Outcome::NxDomain(soa) => parts.push(negative("NXDOMAIN", soa)),
        Outcome::NotSynced(soa) => parts.push(negative("SERVFAIL", soa)),
        Outcome::NotOurs => parts.push("elsewhere".to_owned()),
        Outcome::AliasLoop => parts = vec!["loop".to_owned()],
    }
    parts.join(" | ")
}

fn negative(word: &str, soa: &Record) -> String {
    assert_eq!(soa.record_type(), RecordType::SOA);
    assert_eq!(soa.ttl, TTL);
    word.to_owned()
}

fn named(record: &Record) -> String {
    format!("{} {}", record.name, plain(record))
}

fn plain(record: &Record) -> String {
    let ttl = if record.record_type() == RecordType::TXT { 28_800 } else { TTL };
    assert_eq!(record.ttl, ttl, "{record}");
    format!("{} {}", record.record_type(), record.data)
}

const SERVICES: [(&str, &str); 12] = [
    ("svc1", r#"{"clusterIP": "10.0.0.1", "ports": [{"name": "http", "port": 80}]}"#),
    ("svcempty", r#"{"clusterIP": "10.0.0.2", "ports": [{"name": "http", "port": 80}]}"#),
    ("svc6", r#"{"clusterIP": "1234:abcd::1", "ports": [{"name": "http", "port": 80}]}"#),
    ("svc-dual-stack", r#"{"clusterIPs": ["10.0.0.3", "10::3"], "ports": [{"name": "http", "port": 80}]}"#),
    ("svc-unnamed", r#"{"clusterIP": "10.0.0.4", "ports": [{"port": 8080}]}"#),
    ("hdls1", r#"{"clusterIP": "None", "ports": [{"name": "http", "port": 80}]}"#),
    ("hdlsprtls", r#"{"clusterIP": "None"}"#),
    ("hdlsempty", r#"{"clusterIP": "None", "ports": [{"name": "http", "port": 80}]}"#),
    (
        "external",
        r#"{"type": "ExternalName", "externalName": "ext.interwebs.test", "ports": [{"name": "http", "port": 80}]}"#,
    ),
    ("external-to-service", r#"{"type": "ExternalName", "externalName": "svc1.testns.svc.cluster.local."}"#),
    ("external-to-nothing", r#"{"type": "ExternalName", "externalName": "none.testns.svc.cluster.local"}"#),
    ("1digit", r#"{"clusterIP": "10.0.0.5", "ports": [{"name": "http", "port": 80}]}"#),
];

const SLICES: [(&str, &str, &str, &str, &str); 7] = [
    ("svc1-a", "svc1", "IPv4", "172.0.0.1@ep1a 172.0.0.9", "http:8080"),
    ("svcempty-a", "svcempty", "IPv4", "", "http:8080"),
    (
        "hdls1-a",
        "hdls1",
        "IPv4",
        "172.0.0.2 172.0.0.3 172.0.0.4@dup-name 172.0.0.5@dup-name 172.0.0.6!",
        "http:80",
    ),
    ("hdls1-b", "hdls1", "IPv6", "5678:abcd::1 5678:abcd::2", "http:80"),
    ("hdlsprtls-a", "hdlsprtls", "IPv4", "172.0.0.20", ""),
    ("hdlsempty-a", "hdlsempty", "IPv4", "172.0.0.30!", "http:80"),
    ("orphan", "gone", "IPv4", "172.0.0.40", "http:80"),
];
