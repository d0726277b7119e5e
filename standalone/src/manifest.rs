//! Manifests: read, and created through the API, which fills in, checks and allocates.
//!
//! All that is wrong with them is found before anything is started: the API is memory, so a manifest that
//! it takes costs nothing when another one is refused.

use std::fmt;
use std::path::Path;

use jiff::Timestamp;
use portolan_api::{Api, Kind, WriteOptions};
use portolan_runtime::Failure;
use serde_json::{Map, Value, json};

mod document;

use document::split;

/// Where kubectl looks for what an author wrote last; with it `kubectl apply` of the same file changes
/// only what the author changes.
const LAST_APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";

/// An object as its author wrote it.
#[derive(Debug)]
pub(crate) struct Manifest {
    kind: Kind,
    namespace: String,
    object: Value,
    place: Place,
}

/// Where an object is written.
#[derive(Clone, Debug)]
struct Place {
    file: String,
    document: usize,
    /// Position in a List.
    item: Option<usize>,
    /// Kind and name, as far as they are known.
    object: String,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: document {}", self.file, self.document)?;
        if let Some(item) = self.item {
            write!(f, ", item {item}")?;
        }
        if !self.object.is_empty() {
            write!(f, ", {}", self.object)?;
        }
        Ok(())
    }
}

/// What is wrong with manifests, one line for each.
#[derive(Debug, Default)]
pub(crate) struct Complaints(Vec<String>);

impl Complaints {
    fn add(&mut self, place: impl fmt::Display, why: impl fmt::Display) {
        let line = format!("{place}: {why}");
        self.0.push(line.split_whitespace().collect::<Vec<_>>().join(" "));
    }

    /// Fails if there are any: all but the last are printed here, that one is the failure.
    pub(crate) fn check(mut self) -> Result<(), Failure> {
        let Some(last) = self.0.pop() else { return Ok(()) };
        for line in self.0 {
            eprintln!("portolan: {line}");
        }
        Err(Failure::usage(last))
    }
}

/// Reads a file; `-` is standard input.
pub(crate) fn read(file: &Path, complaints: &mut Complaints) -> Vec<Manifest> {
    let text = if file == Path::new("-") {
        std::io::read_to_string(std::io::stdin())
    } else {
        std::fs::read_to_string(file)
    };
    match text {
        Ok(text) => parse(&file.display().to_string(), &text, complaints),
        Err(error) => {
            complaints.add(format_args!("-f {}", file.display()), error);
            Vec::new()
        }
    }
}

fn parse(file: &str, text: &str, complaints: &mut Complaints) -> Vec<Manifest> {
    let mut manifests = Vec::new();
    for (document, text) in split(text) {
        let place = Place { file: file.to_owned(), document, item: None, object: String::new() };
        let object: Value = match serde_saphyr::from_str_with_options(&text, yaml()) {
            Ok(object) => object,
            Err(error) => {
                // The lines below the first show the place in the text.
                complaints.add(place, error.to_string().lines().next().unwrap_or("not YAML"));
                continue;
            }
        };
        let listed = object.get("kind").and_then(Value::as_str) == Some("List");
        match object.get("items").and_then(Value::as_array) {
            Some(items) if listed => {
                for (index, object) in items.iter().enumerate() {
                    let place = Place { item: Some(index + 1), ..place.clone() };
                    take(object.clone(), place, &mut manifests, complaints);
                }
            }
            _ if object.is_null() => {}
            _ => take(object, place, &mut manifests, complaints),
        }
    }
    manifests
}

/// Yes, no, on, off, y and n are words: somebody's namespace is called `n`.
fn yaml() -> serde_saphyr::Options {
    serde_saphyr::options! { strict_booleans: true }
}

fn take(object: Value, place: Place, manifests: &mut Vec<Manifest>, complaints: &mut Complaints) {
    match identify(object, place.clone()) {
        Ok(manifest) => manifests.push(manifest),
        Err((object, why)) => complaints.add(Place { object, ..place }, why),
    }
}

/// Finds the kind and gives the namespace; fails with what is known of the object, and why.
fn identify(mut object: Value, mut place: Place) -> Result<Manifest, (String, String)> {
    let text = |field: &str| object.get(field).and_then(Value::as_str).unwrap_or("").to_owned();
    let (version, name) = (text("apiVersion"), text("kind"));
    let Some(fields) = object.as_object_mut() else {
        return Err((String::new(), "not an object with apiVersion, kind and metadata".to_owned()));
    };
    for (field, value) in [("apiVersion", &version), ("kind", &name)] {
        if value.is_empty() {
            return Err((name.clone(), format!("{field}: required")));
        }
    }
    let served = |kind: &Kind| kind.api_version() == version && kind.facts().name == name;
    let Some(kind) = Kind::all().find(served) else {
        return Err((name.clone(), format!("kind: {name} of {version} is not served here")));
    };
    let metadata = fields.entry("metadata").or_insert_with(|| json!({}));
    let Some(metadata) = metadata.as_object_mut() else {
        return Err((name, "metadata: not an object".to_owned()));
    };
    let mut namespace = String::new();
    if kind.facts().namespaced {
        let given = metadata.entry("namespace").or_insert_with(|| "default".into());
        given.as_str().unwrap_or("default").clone_into(&mut namespace);
    }
    let own = ["name", "generateName"].into_iter().find_map(|field| metadata.get(field)?.as_str());
    let own = own.unwrap_or("(without a name)");
    place.object =
        if namespace.is_empty() { format!("{name} {own}") } else { format!("{name} {namespace}/{own}") };
    Ok(Manifest { kind, namespace, object, place })
}

/// Creates the objects: namespaces first, the rest in their authors' order.
pub(crate) fn create(api: &Api, mut manifests: Vec<Manifest>, complaints: &mut Complaints) {
    manifests.sort_by_key(|manifest| manifest.kind != Kind::Namespace);
    for Manifest { kind, namespace, mut object, place } in manifests {
        note_applied(&mut object);
        let made = api.write(|store, now| store.create(kind, &namespace, object, &strict(now)));
        let Err(refused) = made else { continue };
        let causes: Vec<_> =
            refused.causes().iter().map(|cause| format!("{}: {}", cause.field, cause.message)).collect();
        complaints.add(place, if causes.is_empty() { refused.message } else { causes.join("; ") });
    }
}

/// A field that the kind does not have is most likely a slip of the author's.
fn strict(now: Timestamp) -> WriteOptions {
    WriteOptions { strict: true, ..WriteOptions::at(now) }
}

fn note_applied(object: &mut Value) {
    let Some(metadata) = object.get_mut("metadata").and_then(Value::as_object_mut) else { return };
    let annotations = metadata.entry("annotations").or_insert_with(|| Map::new().into());
    // What is no map the API refuses, by name.
    if let Some(annotations) = annotations.as_object_mut() {
        annotations.remove(LAST_APPLIED);
    }
    let applied = format!("{object}\n");
    if let Some(Value::Object(annotations)) = object.pointer_mut("/metadata/annotations") {
        annotations.insert(LAST_APPLIED.to_owned(), applied.into());
    }
}

#[cfg(test)]
mod tests {
    use portolan_api::{Config, Name};

    use super::*;

    fn load(text: &str) -> (Api, Vec<String>) {
        let api = Api::new(&Config::default(), Timestamp::now);
        let mut complaints = Complaints::default();
        let manifests = parse("f.yaml", text, &mut complaints);
        create(&api, manifests, &mut complaints);
        (api, complaints.0)
    }

    #[test]
    fn objects_go_into_their_namespace_whatever_the_order() {
        let text = "apiVersion: v1\nkind: Service\nmetadata: {name: a, namespace: n}\n\
            spec: {ports: [{port: 80}]}\n---\n# nothing\n---\n\
            apiVersion: v1\nkind: List\nitems:\n- {apiVersion: v1, kind: Namespace, metadata: {name: n}}\n\
            - {apiVersion: v1, kind: ConfigMap, metadata: {name: m}, data: {k: v}}\n";
        let (api, complaints) = load(text);
        assert!(complaints.is_empty(), "{complaints:?}");
        api.read(|store| {
            let service = store.get(Kind::Service, &Name::new("n", "a")).unwrap();
            assert!(service.pointer("/spec/clusterIP").unwrap().as_str().unwrap().starts_with("10.96."));
            let map = store.get(Kind::ConfigMap, &Name::new("default", "m")).unwrap();
            let applied = map.pointer("/metadata/annotations").unwrap()[LAST_APPLIED].as_str().unwrap();
            assert!(applied.contains(r#""data":{"k":"v"}"#), "{applied}");
        });
    }

    #[test]
    fn what_is_wrong_is_one_line_with_place_and_field() {
        let service = "apiVersion: v1\nkind: Service\nmetadata: {name: a}\nspec: {ports: [{port: ";
        for (text, want) in [
            (format!("{service}0}}]}}\n"), "document 1, Service default/a: spec.ports[0].port"),
            (format!("{service}80, pork: 1}}]}}\n"), "spec.ports[0].pork"),
            (format!("{service}eighty}}]}}\n"), "spec.ports[0].port"),
            (format!("{service}80}}]}}\n---\n{service}80}}]}}\n"), "document 2, Service default/a: "),
            ("a: [\n".to_owned(), "f.yaml: document 1: "),
            ("kind: Pod\n".to_owned(), "document 1, Pod: apiVersion: required"),
            ("apiVersion: v1\n".to_owned(), "document 1: kind: required"),
            ("just text\n".to_owned(), "not an object"),
            ("apiVersion: apps/v1\nkind: DaemonSet\n".to_owned(), "DaemonSet of apps/v1 is not served"),
            (
                "apiVersion: v1\nkind: ConfigMap\nmetadata: {namespace: none, name: a}\n".to_owned(),
                "\"none\"",
            ),
            ("apiVersion: v1\nkind: ConfigMap\nmetadata: 3\n".to_owned(), "metadata: not an object"),
        ] {
            let (_, complaints) = load(&text);
            assert_eq!(complaints.len(), 1, "{text}: {complaints:?}");
            assert!(complaints[0].contains(want) && !complaints[0].contains('\n'), "{complaints:?}");
        }
    }
}
