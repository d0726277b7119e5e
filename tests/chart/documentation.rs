//! Every value is documented, once: by the comment above it in values.yaml.

use serde_json::Value;

use crate::helm::{read, root, yaml};

const README: &str = "charts/portolan/README.md";
const SCHEMA: &str = "charts/portolan/values.schema.json";
const AGAIN: &str = "write it anew: PORTOLAN_WRITE=1 cargo test -p portolan-tests --test chart documentation";

/// A value with the comment above it.
#[derive(Debug, PartialEq)]
struct Documented {
    path: Vec<String>,
    text: String,
}

/// Keys with a comment above them; a key without one is a section.
fn documented(values: &str) -> Vec<Documented> {
    let (mut found, mut path, mut text) = (Vec::new(), Vec::<(usize, String)>::new(), String::new());
    for line in values.lines() {
        let indent = line.len() - line.trim_start().len();
        if let Some(comment) = line.trim_start().strip_prefix("# ") {
            text = format!("{text} {comment}").trim().to_owned();
        } else if let Some((key, _)) = line.trim_start().split_once(':').filter(|(key, _)| is_key(key)) {
            path.retain(|(column, _)| *column < indent);
            path.push((indent, key.to_owned()));
            if !text.is_empty() {
                let path = path.iter().map(|(_, key)| key.clone()).collect();
                found.push(Documented { path, text: std::mem::take(&mut text) });
            }
        }
    }
    found
}

fn is_key(text: &str) -> bool {
    text.chars().all(char::is_alphanumeric)
}

/// The pointer of a value in the values, or with `/properties` in the schema.
fn pointer(path: &[String], between: &str) -> String {
    path.iter().map(|key| format!("{between}/{key}")).collect()
}

/// The table of the README.
fn table(values: &str) -> String {
    let defaults = yaml(values);
    let mut table = "| value | default | |\n|---|---|---|\n".to_owned();
    for Documented { path, text } in documented(values) {
        let default = defaults.pointer(&pointer(&path, "")).expect("a documented key has a value");
        table += &format!("| `{}` | `{default}` | {} |\n", path.join("."), text.replace('|', "\\|"));
    }
    table
}

/// The schema with the comments as descriptions.
fn described(schema: &Value, values: &str) -> Value {
    let mut schema = schema.clone();
    for Documented { path, text } in documented(values) {
        let place = schema.pointer_mut(&pointer(&path, "/properties"));
        let place = place.unwrap_or_else(|| panic!("{SCHEMA} does not know {}", path.join(".")));
        place["description"] = text.into();
    }
    schema
}

/// Keys of the schema that have no value or no comment.
fn undocumented(schema: &Value, values: &Value, path: &str) -> Vec<String> {
    let properties = schema["properties"].as_object().into_iter().flatten();
    let inner =
        properties.flat_map(|(key, inner)| undocumented(inner, &values[key], &format!("{path}.{key}")));
    let section = schema["properties"].is_object();
    let nullable = schema["type"].as_array().is_some_and(|types| types.contains(&"null".into()));
    let known = section || (schema["description"].is_string() && (!values.is_null() || nullable));
    inner.chain((!known && path != ".global").then(|| path.to_owned())).collect()
}

#[test]
fn readme_has_the_table_of_values() {
    let readme = read(README);
    let (before, _) = readme.split_once("| value |").unwrap_or((&readme, ""));
    let wanted = format!("{}\n\n{}", before.trim_end(), table(&read("charts/portolan/values.yaml")));
    if std::env::var_os("PORTOLAN_WRITE").is_some() {
        std::fs::write(root().join(README), &wanted).expect("the README can be written");
    }
    assert!(read(README) == wanted, "{README} is stale; {AGAIN}");
}

#[test]
fn the_schema_describes_every_value() {
    let schema: Value = serde_json::from_str(&read(SCHEMA)).expect("the schema is JSON");
    let values = read("charts/portolan/values.yaml");
    let wanted = described(&schema, &values);
    if std::env::var_os("PORTOLAN_WRITE").is_some() {
        let text = serde_json::to_string_pretty(&wanted).expect("JSON can be written");
        std::fs::write(root().join(SCHEMA), text + "\n").expect("the schema can be written");
    }
    let schema: Value = serde_json::from_str(&read(SCHEMA)).expect("the schema is JSON");
    assert!(schema == wanted, "{SCHEMA} is stale; {AGAIN}");
    assert_eq!(
        undocumented(&schema, &yaml(&values), ""),
        [""; 0],
        "keys without a value or a comment in values.yaml"
    );
}

#[test]
fn the_charts_version_is_the_workspaces() {
    let chart = yaml(&read("charts/portolan/Chart.yaml"));
    let version = env!("CARGO_PKG_VERSION");
    assert_eq!((&chart["version"], &chart["appVersion"]), (&version.into(), &version.into()));
    let images = chart["annotations"]["artifacthub.io/images"].as_str().unwrap_or_default();
    assert!(images.contains(&format!("portolan/portolan:{version}")), "{images}");
}

#[test]
fn comments_are_found_by_their_key() {
    let found = documented(
        "# one\n# two\na: 1\nb:\n  # three\n  c: {d: 1}\n  # four\n  e:\n    - {k: v}\n# five\nf: x\n",
    );
    let found: Vec<_> = found.iter().map(|one| format!("{}={}", one.path.join("."), one.text)).collect();
    assert_eq!(found, ["a=one two", "b.c=three", "b.e=four", "f=five"]);
}
