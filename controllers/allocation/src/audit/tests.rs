use super::*;

const fn s(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn name(name: &str) -> ObjectName {
    ObjectName { namespace: "n".into(), name: name.into() }
}

/// An auditor of 10.0.0.0/24 and of 30000-30099, and what Services hold so far.
struct Audit {
    auditor: Auditor,
    held: BTreeMap<String, Claims>,
}

impl Audit {
    fn new() -> Self {
        let mut auditor = Auditor::new(PortRange::new(&(30000..=30099)).unwrap());
        auditor.set_ranges(&["10.0.0.0/24".parse().unwrap()], s(0));
        Self { auditor, held: BTreeMap::new() }
    }

    /// `service a 10.0.0.1 30001`, `record 10.0.0.1 a`, `record 10.0.0.1` (gone).
    fn apply(&mut self, line: &str, now: u64) {
        let words: Vec<_> = line.split(' ').collect();
        if words[0] == "record" {
            let record = words.get(2).map(|owner| Record { service: Some(name(owner)), managed: true });
            return self.auditor.record(words[1].parse().unwrap(), record, s(now));
        }
        let (ports, addresses): (Vec<&str>, Vec<&str>) =
            words[2..].iter().copied().partition(|word| word.parse::<u16>().is_ok());
        let new = Claims {
            addresses: addresses.iter().map(|word| word.parse().unwrap()).collect(),
            ports: ports.iter().map(|word| word.parse().unwrap()).collect(),
        };
        let old = self.held.insert(words[1].to_owned(), new.clone()).unwrap_or_default();
        self.auditor.service(&name(words[1]), &old, &new, s(now));
    }

    fn ripe(&mut self, now: u64) -> Vec<String> {
        let found = self.auditor.ripe(s(now));
        found.iter().map(|finding| format!("{} {:?}", finding.reason(), finding.subject())).collect()
    }

    fn told(&self) -> Vec<&'static str> {
        self.auditor.told().map(Finding::reason).collect()
    }
}

#[test]
fn what_is_in_order_is_not_told() {
    let mut audit = Audit::new();
    for line in ["service a 10.0.0.1 30001", "record 10.0.0.1 a", "service b 10.0.0.2", "record 10.0.0.2 b"] {
        audit.apply(line, 0);
    }
    assert_eq!((audit.ripe(1000).len(), audit.auditor.next()), (0, None));
    audit.apply("service a", 1001);
    audit.apply("record 10.0.0.1", 1002);
    assert_eq!((audit.ripe(9999).len(), audit.auditor.next()), (0, None));
    let usage: Vec<_> = audit.auditor.usage().collect();
    assert_eq!(usage, [("10.0.0.0/24".to_owned(), 1, 253), ("30000-30099".to_owned(), 0, 100)]);
}

#[test]
fn duplicates_are_told_at_once_and_the_record_says_who_stays() {
    let mut audit = Audit::new();
    for line in ["service a 10.0.0.1 30001", "service b 10.0.0.1 30001", "record 10.0.0.1 b"] {
        audit.apply(line, 0);
    }
    let told = audit.ripe(0);
    assert_eq!(told, ["ClusterIPAlreadyAllocated Service(n/a)", "PortAlreadyAllocated Service(n/b)"]);
    assert_eq!(audit.ripe(0).len(), 0);
    assert_eq!(audit.told().len(), 2);
    audit.apply("service a 10.0.0.3 30003", 1);
    audit.apply("record 10.0.0.3 a", 1);
    assert_eq!((audit.told().len(), audit.ripe(99).len()), (0, 0));
}

#[test]
fn what_may_pass_counts_only_once_it_has_lasted() {
    for (lines, reason) in [
        (&["service a 10.0.0.1"][..], "ClusterIPNotAllocated"),
        (&["record 10.0.0.1 a"], "IPAddressNotAllocated"),
        (&["service a 10.0.0.1", "record 10.0.0.1 b"], "IPAddressWrongReference"),
    ] {
        let mut audit = Audit::new();
        lines.iter().for_each(|line| audit.apply(line, 5));
        assert_eq!((audit.ripe(64).len(), audit.auditor.next()), (0, Some(s(65))), "{lines:?}");
        assert_eq!((audit.ripe(65).len(), audit.told()), (1, vec![reason]));
        audit.apply("service a 10.0.0.1", 66);
        audit.apply("record 10.0.0.1 a", 66);
        assert_eq!((audit.told().len(), audit.ripe(999).len()), (0, 0), "{lines:?}");
    }
    // Healed in time: never told.
    let mut audit = Audit::new();
    audit.apply("service a 10.0.0.1", 0);
    audit.apply("record 10.0.0.1 a", 59);
    assert_eq!((audit.ripe(999).len(), audit.auditor.next()), (0, None));
}

#[test]
fn what_others_recorded_is_theirs() {
    let mut audit = Audit::new();
    let foreign = Record { service: None, managed: false };
    audit.auditor.record("10.0.0.7".parse().unwrap(), Some(foreign), s(0));
    assert_eq!(audit.ripe(999).len(), 0);
}

#[test]
fn what_is_out_of_range_follows_the_ranges() {
    let mut audit = Audit::new();
    for line in ["service a 10.0.1.1 31000", "record 10.0.1.1 a"] {
        audit.apply(line, 0);
    }
    let mut told = audit.ripe(0);
    told.iter_mut().for_each(|line| line.truncate(14));
    assert_eq!(told, ["ClusterIPOutOf", "PortOutOfRange"]);
    let ranges = ["10.0.0.0/24", "10.0.1.0/24"].map(|range| range.parse().unwrap());
    audit.auditor.set_ranges(&ranges, s(1));
    assert_eq!(audit.told(), ["PortOutOfRange"]);
    // Without any range (before the first list) nothing is out of it.
    audit.auditor.set_ranges(&[], s(2));
    assert_eq!(audit.told(), ["PortOutOfRange"]);
}

#[test]
fn the_end_of_a_range_is_seen_coming() {
    let mut audit = Audit::new();
    audit.auditor.set_ranges(&["10.0.0.0/28".parse().unwrap()], s(0));
    for host in 1..=12 {
        audit.apply(&format!("service s{host} 10.0.0.{host}"), 0);
    }
    assert_eq!(audit.ripe(0).len(), 0);
    audit.apply("service s13 10.0.0.13", 1);
    assert_eq!(audit.ripe(1), ["ClusterIPRangeNearlyFull ServiceCidr(10.0.0.0/28)"]);
    audit.apply("service s14 10.0.0.14", 2);
    assert_eq!(audit.ripe(2).len(), 0);
    audit.apply("service s1", 3);
    audit.apply("service s2", 3);
    assert_eq!(audit.told().len(), 0);
    let mut audit = Audit::new();
    for port in 30000..30091 {
        audit.apply(&format!("service s{port} {port}"), 0);
    }
    assert_eq!(audit.ripe(0), ["PortRangeNearlyFull NodePorts"]);
}

#[test]
fn incremental_and_from_the_start_agree() {
    let mut seed = 7_u64;
    let mut next = move |below: u64| {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (seed >> 33) % below
    };
    let mut audit = Audit::new();
    let mut records: BTreeMap<u64, u64> = BTreeMap::new();
    for step in 0..3000 {
        let (service, host) = (next(5), next(4));
        let line = match next(4) {
            0 => format!("service s{service}"),
            1 => format!("service s{service} 10.0.{}.{host} {}", next(2), 30098 + next(4)),
            2 => {
                records.insert(host, service);
                format!("record 10.0.0.{host} s{service}")
            }
            _ => {
                records.remove(&host);
                format!("record 10.0.0.{host}")
            }
        };
        audit.apply(&line, step);
        audit.ripe(step + 100);
        let mut fresh = Audit::new();
        for (host, service) in &records {
            fresh.apply(&format!("record 10.0.0.{host} s{service}"), 0);
        }
        for (service, claims) in &audit.held {
            fresh.held.insert(service.clone(), claims.clone());
            fresh.auditor.service(&name(service), &Claims::default(), claims, s(0));
        }
        fresh.ripe(100);
        let found = |audit: &Audit| audit.auditor.told().cloned().collect::<Vec<_>>();
        assert_eq!(found(&audit), found(&fresh), "after step {step}, {line}");
    }
}
