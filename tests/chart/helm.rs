//! helm, and what it prints.

use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

/// The major versions that the chart is for.
pub(crate) const VERSIONS: [&str; 2] = ["4", "3"];

pub(crate) fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("tests/ lies in the repository").to_owned()
}

pub(crate) fn read(name: &str) -> String {
    std::fs::read_to_string(root().join(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
}

pub(crate) fn yaml(text: &str) -> Value {
    serde_saphyr::from_str(text).unwrap_or_else(|error| panic!("{error}\n{text}"))
}

/// Values of `ci/`, one file for each way to use the chart.
pub(crate) fn cases() -> Vec<String> {
    let folder = std::fs::read_dir(root().join("charts/portolan/ci")).expect("there are values to try");
    let mut names: Vec<String> = folder
        .map(|entry| entry.expect("the folder can be listed").file_name().to_string_lossy().into_owned())
        .collect();
    names.sort();
    assert!(names.len() > 3, "{names:?}");
    names
}

/// Standard output, or standard error if helm fails.
pub(crate) fn helm(version: &str, arguments: &[&str]) -> Result<String, String> {
    let output = Command::new("tests/chart/helm")
        .args(arguments)
        .current_dir(root())
        .env("HELM_VERSION", version)
        .env("KUBECONFIG", "/dev/null")
        .output()
        .expect("tests/chart/helm runs");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    if output.status.success() { Ok(text(&output.stdout)) } else { Err(text(&output.stderr)) }
}

/// The objects that the chart makes of a file of `ci/` and further settings, as on an empty cluster.
pub(crate) fn template(version: &str, case: &str, set: &[&str]) -> Result<Vec<Value>, String> {
    rendered(version, case, set, &[])
}

/// The same on the cluster whose API server has that address.
pub(crate) fn template_in(
    server: &str,
    version: &str,
    case: &str,
    set: &[&str],
) -> Result<Vec<Value>, String> {
    rendered(
        version,
        case,
        set,
        &["--dry-run=server", "--disable-openapi-validation", "--kube-apiserver", server],
    )
}

fn rendered(version: &str, case: &str, set: &[&str], flags: &[&str]) -> Result<Vec<Value>, String> {
    let file = format!("charts/portolan/ci/{case}");
    let mut arguments =
        vec!["template", "portolan", "charts/portolan", "--namespace=kube-system", "-f", &file];
    arguments.extend(flags);
    for setting in set {
        arguments.extend(["--set", setting]);
    }
    let text = helm(version, &arguments)?;
    let documents =
        text.split("\n---\n").filter(|document| document.lines().any(|line| !line.starts_with('#')));
    Ok(documents.map(|document| yaml(document.trim_start_matches("---\n"))).collect())
}

/// The one object of that kind and name.
pub(crate) fn object<'a>(objects: &'a [Value], kind: &str, name: &str) -> Option<&'a Value> {
    let mut found =
        objects.iter().filter(|object| object["kind"] == kind && object["metadata"]["name"] == name);
    let first = found.next();
    assert!(found.next().is_none(), "two of {kind} {name}");
    first
}
