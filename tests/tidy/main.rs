//! Rules of the repository that a machine can check.

use std::path::{Path, PathBuf};
use std::process::Command;

mod differences;
mod docs;
mod image;
mod upstream_tests;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("tests/ lies in the repository").to_owned()
}

/// Files that git tracks, or would if they were added.
fn files() -> Vec<String> {
    let output = Command::new("git")
        .args(["ls-files", "--cached", "--others", "--exclude-standard"])
        .current_dir(root())
        .output()
        .expect("git runs");
    assert!(output.status.success(), "git ls-files failed");
    let text = String::from_utf8(output.stdout).expect("names are UTF-8");
    text.lines().filter(|name| root().join(name).is_file()).map(str::to_owned).collect()
}

fn read(name: &str) -> String {
    std::fs::read_to_string(root().join(name)).unwrap_or_default()
}

/// Code words in backticks of a document that look like paths of the repository.
fn named_paths(document: &str) -> Vec<String> {
    let tops: Vec<String> = std::fs::read_dir(root())
        .expect("the repository can be listed")
        .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
        .collect();
    let words = document.split('`').skip(1).step_by(2).flat_map(str::split_whitespace);
    words
        .map(|word| word.trim_matches([',', '.', ':', ';']).trim_end_matches('/'))
        .filter(|word| tops.iter().any(|top| *word == top || word.starts_with(&format!("{top}/"))))
        .filter(|word| !word.starts_with("target") && !word.contains(['*', '{', '$', '…']))
        .map(str::to_owned)
        .collect()
}

#[test]
fn every_path_that_a_document_names_exists() {
    for document in files().iter().filter(|name| name.ends_with(".md")) {
        for path in named_paths(&read(document)) {
            assert!(root().join(&path).exists(), "{document} names {path}, which does not exist");
        }
    }
    assert!(named_paths(&read("ARCHITECTURE.md")).len() > 20, "the check found hardly any path to check");
}

/// Folders and files of pure code: decisions as functions of their parameters (ARCHITECTURE.md).
const PURE: &[&str] = &[
    "core/src/",
    "controllers/allocation/src/",
    "controllers/src/allocation/look.rs",
    "controllers/cloud/pool/src/allocator",
    "controllers/cloud/pool/src/request.rs",
    "controllers/service-pools/src/",
    "controllers/src/difference.rs",
    "controllers/src/endpoints/",
    "controllers/src/environment/",
    "controllers/src/labels.rs",
    "controllers/src/loadbalancer/",
    "controllers/src/membership.rs",
    "controllers/src/plan.rs",
    "controllers/src/service_cidr/",
    "controllers/src/endpoint_slices/",
    "controllers/src/webhook/admission.rs",
    "controllers/src/webhook/rotation.rs",
    "dns/zone/src/",
    "proxy/announce/src/",
    "proxy/rules/src/",
    "proxy/netfilter/src/model",
    "standalone/api/src/store/",
    "standalone/src/deployments/plan.rs",
    "standalone/src/status/report",
];

/// What pure code may not name: runtimes, clients, clocks, randomness, the outside world.
const IMPURE: &[&str] = &[
    "tokio",
    "kube::",
    "hickory_server",
    "SystemTime",
    "Instant::now",
    "Timestamp::now",
    "rand::",
    "std::fs",
    "std::process",
    "std::env",
    "std::thread",
    "UdpSocket",
    "TcpStream",
    "netlink_sys",
];

#[test]
fn pure_code_names_no_runtime_client_clock_or_randomness() {
    let mut seen = vec![0; PURE.len()];
    for name in files().iter().filter(|name| name.ends_with(".rs")) {
        let Some(place) = PURE.iter().position(|place| name.starts_with(place)) else { continue };
        seen[place] += 1;
        if name.ends_with("/tests.rs") || name.contains("/tests/") {
            continue;
        }
        let text = read(name);
        let code = text.split("#[cfg(test)]").next().unwrap_or_default();
        for (number, line) in code.lines().enumerate() {
            let line = line.split("//").next().unwrap_or_default();
            for word in IMPURE {
                assert!(!line.contains(word), "{name}:{}: pure code names {word}", number + 1);
            }
        }
    }
    for (place, count) in PURE.iter().zip(seen) {
        assert!(count > 0, "{place} holds no code; the list of pure places is out of date");
    }
}

#[test]
fn pure_crates_depend_on_nothing_impure() {
    for manifest in [
        "core/Cargo.toml",
        "controllers/allocation/Cargo.toml",
        "controllers/service-pools/Cargo.toml",
        "dns/zone/Cargo.toml",
        "proxy/announce/Cargo.toml",
        "proxy/rules/Cargo.toml",
    ] {
        let text = read(manifest);
        let dependencies = text.split("[dependencies]").nth(1).unwrap_or_default();
        let dependencies = dependencies.split("\n[").next().unwrap_or_default();
        assert!(!dependencies.is_empty(), "{manifest} lists no dependency");
        for name in ["tokio", "kube", "rand", "hickory-server", "axum", "portolan-runtime"] {
            assert!(!dependencies.lines().any(|line| line.starts_with(name)), "{manifest} depends on {name}");
        }
    }
}

#[test]
fn parts_do_not_depend_on_each_other() {
    for (manifest, others) in [
        ("controllers/Cargo.toml", ["portolan-dns", "portolan-proxy"]),
        ("dns/Cargo.toml", ["portolan-controllers", "portolan-proxy"]),
        ("proxy/Cargo.toml", ["portolan-controllers", "portolan-dns"]),
    ] {
        for other in others {
            assert!(!read(manifest).contains(other), "{manifest} names {other}: parts meet in core's State");
        }
    }
}

#[test]
fn files_are_short_and_named_by_their_subject() {
    for name in files().iter().filter(|name| name.ends_with(".rs") || name.ends_with(".sh")) {
        let lines = read(name).lines().count();
        assert!(lines <= 600, "{name} has {lines} lines; at most 600 can be read in one go");
        let stem = Path::new(name).file_stem().and_then(|stem| stem.to_str()).unwrap_or_default();
        assert!(
            !["util", "utils", "helper", "helpers", "common", "misc"].contains(&stem),
            "{name} has no subject"
        );
    }
}

#[test]
fn no_file_names_a_machine() {
    // Put together so that this file does not find itself.
    let homes = ["root", "work", "home"].map(|top| format!("/{top}/"));
    let registries = [
        ["pypi", "org"],
        ["npmjs", "org"],
        ["static.crates", "io"],
        ["proxy.golang", "org"],
        ["deb.debian", "org"],
    ]
    .map(|parts| parts.join("."));
    for name in files()
        .iter()
        .filter(|name| !name.ends_with(".lock") && !name.ends_with("go.sum") && *name != "LICENSE")
    {
        for (number, line) in read(name).lines().enumerate() {
            for word in &homes {
                let hit = line.find(word.as_str()).is_some_and(|at| {
                    let before = line[..at].chars().next_back();
                    let after = line[at + word.len()..].chars().next();
                    before.is_none_or(|c| !c.is_alphanumeric() && !"/.}_-$\"'*".contains(c))
                        && after.is_some_and(char::is_alphanumeric)
                });
                assert!(!hit, "{name}:{}: a path of one machine: {line}", number + 1);
            }
            for host in &registries {
                assert!(!line.contains(host.as_str()), "{name}:{}: a registry's host: {line}", number + 1);
            }
        }
    }
}

#[test]
fn tests_run_names_every_test() {
    let metadata = Command::new(env!("CARGO"))
        .args(["metadata", "--no-deps", "--offline", "--format-version", "1"])
        .current_dir(root())
        .output()
        .expect("cargo tells of the workspace");
    let metadata: serde_json::Value = serde_json::from_slice(&metadata.stdout).expect("JSON");
    let packages = metadata["packages"].as_array().expect("packages");
    let targets = packages.iter().flat_map(|package| package["targets"].as_array().expect("targets"));
    let tests: Vec<_> = targets.filter(|target| target["kind"][0] == "test").collect();
    assert!(tests.len() > 20, "{} tests", tests.len());
    let run = read("tests/run");
    let words: Vec<_> = run.split_whitespace().collect();
    for name in tests.iter().map(|target| target["name"].as_str().expect("a name")) {
        let runs = words.windows(2).any(|pair| pair == ["--test", name]);
        assert!(runs, "tests/run does not run the test {name}");
    }
}

#[test]
fn nothing_is_left_unfinished() {
    let marks = [concat!("FIX", "ME"), concat!("XX", "X:"), concat!("#[ign", "ore")];
    for name in files().iter().filter(|name| name.ends_with(".rs")) {
        for (number, line) in read(name).lines().enumerate() {
            for mark in marks {
                assert!(!line.contains(mark), "{name}:{}: {mark}", number + 1);
            }
        }
    }
}
