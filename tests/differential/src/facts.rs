//! What Endpoints and slices say, whatever the packing, the order and the names of slices: facts that two
//! sides can be compared by.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt;

use serde_json::Value;

use crate::side::Held;

pub(crate) const TRIGGER_TIME: &str = "endpoints.kubernetes.io/last-change-trigger-time";
/// [`Subject::source`] of Endpoints.
pub(crate) const ENDPOINTS: &str = "Endpoints";
/// What labels, annotations and owners are facts about.
pub(crate) const OBJECT: &str = "object";
/// What a slice without endpoints says, beside that.
pub(crate) const NO_ENDPOINT: &str = "no endpoint";
/// Most endpoints that a controller puts into a slice.
const MAX_ENDPOINTS: usize = 100;

/// What a fact is about.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Subject {
    pub(crate) service: String,
    /// `Endpoints`, or who keeps the slices.
    pub(crate) source: String,
    /// Address family and ports.
    pub(crate) group: String,
    /// An endpoint, or a part of the objects.
    pub(crate) what: String,
}

impl Subject {
    /// Its Service and the address family of its slice.
    pub(crate) fn of_family(&self) -> (String, String) {
        (self.service.clone(), self.group.split(' ').next().unwrap_or_default().to_owned())
    }

    /// The address of an endpoint, the first one of several.
    fn address(&self) -> &str {
        self.what.split(' ').next().unwrap_or_default()
    }
}

/// Each detail by its name.
pub(crate) type Details = BTreeMap<&'static str, String>;

/// Facts of one side. An endpoint that is told twice has two.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Facts {
    pub(crate) about: BTreeMap<Subject, Vec<Details>>,
    /// Trigger times, by Service and source.
    pub(crate) times: BTreeMap<(String, String), BTreeSet<String>>,
    /// What the API server made the names of slices from.
    stems: BTreeMap<(String, String), BTreeSet<String>>,
}

/// Names of uids, which differ between the sides.
pub(crate) type Uids = HashMap<String, String>;

impl fmt::Display for Subject {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{} {} [{}] {}", self.service, self.source, self.group, self.what)
    }
}

/// The facts of what a namespace holds.
pub(crate) fn facts(held: &Held, uids: &Uids) -> Facts {
    let mut facts = Facts::default();
    for (name, object) in &held.endpoints {
        Reader { facts: &mut facts, uids, held }.endpoints(name, object);
    }
    for object in held.slices.values() {
        Reader { facts: &mut facts, uids, held }.slice(object);
    }
    for all in facts.about.values_mut() {
        all.sort();
    }
    facts
}

impl Facts {
    /// What one source says about a Service, in few words: its addresses with one of their details, or what
    /// `detail` names of the objects.
    pub(crate) fn view(&self, service: &str, source: &str, detail: &str) -> String {
        let key = (service.to_owned(), source.to_owned());
        match detail {
            "trigger time" => return if self.times.contains_key(&key) { "some" } else { "none" }.to_owned(),
            "generateName" => {
                let stems = self.stems.get(&key).into_iter().flatten();
                return stems.cloned().collect::<Vec<_>>().join(" ");
            }
            "hints by zone" => return self.hints(&key),
            _ => {}
        }
        let about = || self.about.iter().filter(|(it, _)| it.service == service && it.source == source);
        match detail {
            "count" => {
                let all = about().filter(|(it, _)| it.what != OBJECT).flat_map(|(_, all)| all);
                let (ready, not_ready): (Vec<_>, Vec<_>) =
                    all.partition(|details| details.get("ready").is_some_and(|ready| ready == "true"));
                return format!("{} ready, {} not ready", ready.len(), not_ready.len());
            }
            "lowest" => {
                let addresses = about().filter(|(it, _)| it.what != OBJECT).map(|(it, _)| it.address());
                return addresses.min().unwrap_or_default().to_owned();
            }
            "IPv6" => {
                let family = about().filter(|(it, _)| it.what != OBJECT && it.group.starts_with(detail));
                let addresses: BTreeSet<_> = family.map(|(it, _)| it.address()).collect();
                return addresses.into_iter().collect::<Vec<_>>().join(" ");
            }
            _ => {}
        }
        let mut words = BTreeSet::new();
        for (subject, all) in about() {
            if detail == "group" {
                words.insert(format!("[{}]", subject.group));
                continue;
            }
            for details in all {
                let value = details.get(detail).map_or("", String::as_str);
                if subject.what == OBJECT {
                    if matches!(detail, "labels" | "annotations") {
                        words.insert(format!("[{value}]"));
                    }
                    continue;
                }
                let address = subject.address();
                match detail {
                    "labels" | "annotations" => false,
                    "" => words.insert(address.to_owned()),
                    _ => words.insert(format!("{address}={value}")),
                };
            }
        }
        match words.is_empty() {
            true => "nothing".to_owned(),
            false => words.into_iter().collect::<Vec<_>>().join(" "),
        }
    }

    /// How many endpoints have a hint for which zone.
    fn hints(&self, (service, source): &(String, String)) -> String {
        let about = self.about.iter().filter(|(it, _)| it.service == *service && it.source == *source);
        let mut zones: BTreeMap<&str, usize> = BTreeMap::new();
        for zone in about.flat_map(|(_, all)| all).filter_map(|details| details.get("zone hints")) {
            *zones.entry(zone).or_default() += 1;
        }
        zones.iter().map(|(zone, count)| format!("{zone}={count}")).collect::<Vec<_>>().join(" ")
    }
}

struct Reader<'a> {
    facts: &'a mut Facts,
    uids: &'a Uids,
    held: &'a Held,
}

impl Reader<'_> {
    fn endpoints(&mut self, name: &str, object: &Value) {
        let of = |group: String, what: String| Subject {
            service: name.to_owned(),
            source: ENDPOINTS.to_owned(),
            group,
            what,
        };
        let metadata = &object["metadata"];
        self.object(&of(String::new(), OBJECT.to_owned()), metadata);
        for subset in items(&object["subsets"]) {
            let mut ports: Vec<_> = items(&subset["ports"]).map(port).collect();
            if ports.is_empty() {
                ports.push("no port".to_owned());
            }
            for (list, ready) in [("addresses", "true"), ("notReadyAddresses", "false")] {
                for address in items(&subset[list]) {
                    let (target, rest) = self.target(&address["targetRef"]);
                    let details = details([
                        ("ready", ready.to_owned()),
                        ("hostname", text(&address["hostname"])),
                        ("node", text(&address["nodeName"])),
                        ("rest of targetRef", rest),
                    ]);
                    for port in &ports {
                        let subject = of(port.clone(), format!("{} {target}", text(&address["ip"])));
                        self.facts.about.entry(subject).or_default().push(details.clone());
                    }
                }
            }
        }
    }

    fn slice(&mut self, object: &Value) {
        let metadata = &object["metadata"];
        let label = |key: &str| text(&metadata["labels"][key]);
        let mut ports: Vec<_> = items(&object["ports"]).map(port).collect();
        ports.sort();
        let service = label("kubernetes.io/service-name");
        let source = label("endpointslice.kubernetes.io/managed-by");
        let group = format!("{} {}", text(&object["addressType"]), ports.join(" "));
        let of = |what: String| Subject {
            service: service.clone(),
            source: source.clone(),
            group: group.trim().to_owned(),
            what,
        };
        let stems = self.facts.stems.entry((service.clone(), source.clone())).or_default();
        stems.insert(text(&metadata["generateName"]));
        self.object(&of(OBJECT.to_owned()), metadata);
        let endpoints: Vec<_> = items(&object["endpoints"]).collect();
        if endpoints.is_empty() {
            self.once(of(NO_ENDPOINT.to_owned()), Details::new());
        }
        if endpoints.len() > MAX_ENDPOINTS {
            let count = details([("endpoints", endpoints.len().to_string())]);
            self.once(of("too large".to_owned()), count);
        }
        for endpoint in endpoints {
            let (target, rest) = self.target(&endpoint["targetRef"]);
            let (conditions, hints) = (&endpoint["conditions"], &endpoint["hints"]);
            let details = details([
                ("ready", text(&conditions["ready"])),
                ("serving", text(&conditions["serving"])),
                ("terminating", text(&conditions["terminating"])),
                ("hostname", text(&endpoint["hostname"])),
                ("node", text(&endpoint["nodeName"])),
                ("zone", text(&endpoint["zone"])),
                ("zone hints", names(&hints["forZones"])),
                ("node hints", names(&hints["forNodes"])),
                ("rest of targetRef", rest),
            ]);
            let addresses: Vec<_> = items(&endpoint["addresses"]).map(text).collect();
            let subject = of(format!("{} {target}", addresses.join(" ")));
            self.facts.about.entry(subject).or_default().push(details);
        }
    }

    /// Labels, annotations and owners; the same of several slices is one fact.
    fn object(&mut self, subject: &Subject, metadata: &Value) {
        let mut annotations = metadata["annotations"].clone();
        if let Some(map) = annotations.as_object_mut()
            && let Some(time) = map.remove(TRIGGER_TIME)
        {
            let key = (subject.service.clone(), subject.source.clone());
            self.facts.times.entry(key).or_default().insert(text(&time));
        }
        let owners: Vec<_> = items(&metadata["ownerReferences"]).map(|owner| self.owner(owner)).collect();
        let details = details([
            ("labels", map(&metadata["labels"])),
            ("annotations", map(&annotations)),
            ("owners", owners.join(", ")),
        ]);
        self.once(subject.clone(), details);
    }

    fn once(&mut self, subject: Subject, details: Details) {
        let all = self.facts.about.entry(subject).or_default();
        if !all.contains(&details) {
            all.push(details);
        }
    }

    fn owner(&self, owner: &Value) -> String {
        let uid = text(&owner["uid"]);
        let current = |name: &String| {
            let endpoints = self.held.endpoints.get(name);
            endpoints.is_some_and(|endpoints| endpoints["metadata"]["uid"] == uid.as_str())
        };
        let name = text(&owner["name"]);
        let which = match owner["kind"].as_str() {
            Some("Endpoints") if current(&name) => "these".to_owned(),
            Some("Endpoints") => "earlier ones".to_owned(),
            _ => self.named(&uid),
        };
        let field = |key: &str| text(&owner[key]);
        format!(
            "{}/{} {name} ({which}) controller={} blocks={}",
            field("apiVersion"),
            field("kind"),
            field("controller"),
            field("blockOwnerDeletion")
        )
    }

    fn named(&self, uid: &str) -> String {
        self.uids.get(uid).cloned().unwrap_or_else(|| uid.to_owned())
    }

    /// What identifies the target, and the rest.
    fn target(&self, target: &Value) -> (String, String) {
        if target.is_null() {
            return ("-".to_owned(), String::new());
        }
        let field = |key: &str| text(&target[key]);
        let uid = self.named(&field("uid"));
        let identity = format!("{}/{}/{} ({uid})", field("kind"), field("namespace"), field("name"));
        let rest = ["apiVersion", "resourceVersion", "fieldPath"];
        let rest = rest.into_iter().filter(|key| !target[*key].is_null());
        (identity, rest.map(|key| format!("{key}={}", field(key))).collect::<Vec<_>>().join(" "))
    }
}

fn details<const N: usize>(all: [(&'static str, String); N]) -> Details {
    all.into_iter().filter(|(_, value)| !value.is_empty()).collect()
}

fn items(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

fn text(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

fn map(value: &Value) -> String {
    let pairs = value.as_object().into_iter().flatten();
    let mut pairs: Vec<_> = pairs.map(|(key, value)| format!("{key}={}", text(value))).collect();
    pairs.sort();
    pairs.join(" ")
}

fn names(value: &Value) -> String {
    items(value).map(|item| text(&item["name"])).collect::<Vec<_>>().join(" ")
}

fn port(port: &Value) -> String {
    let field = |key: &str| text(&port[key]);
    format!("{}:{}/{}/{}", field("name"), field("port"), field("protocol"), field("appProtocol"))
}
