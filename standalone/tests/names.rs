//! One program under four names: what it is called as is what it is.

#![allow(clippy::unwrap_used, reason = "in a test a failed step is a failed test")]

use std::os::unix::fs::symlink;
use std::process::{Command, Output};

use tempfile::TempDir;

/// Each name with a flag that no other program has.
const NAMES: [(&str, &str); 4] = [
    ("portolan", "Usage: portolan <COMMAND>"),
    ("portolan-controllers", "--leader-elect"),
    ("portolan-dns", "--pod-names"),
    ("portolan-proxy", "--cluster-cidr"),
];

/// Runs the program by a link of this name.
fn call(name: &str, flag: &str) -> (Option<i32>, String, String) {
    let folder = TempDir::new().unwrap();
    let link = folder.path().join(name);
    symlink(env!("CARGO_BIN_EXE_portolan"), &link).unwrap();
    let Output { status, stdout, stderr } = Command::new(link).arg(flag).output().unwrap();
    (status.code(), String::from_utf8(stdout).unwrap(), String::from_utf8(stderr).unwrap())
}

#[test]
fn each_name_has_its_own_flags_version_and_errors() {
    for (name, own) in NAMES {
        let (status, help, _) = call(name, "--help");
        assert_eq!(status, Some(0), "{name}");
        for (other, words) in NAMES {
            assert_eq!(help.contains(words), words == own, "help of {name}, words of {other}:\n{help}");
        }
        let version = format!("{name} {}\n", env!("CARGO_PKG_VERSION"));
        assert_eq!(call(name, "--version"), (Some(0), version, String::new()));
        let (status, output, line) = call(name, "--sise");
        assert_eq!((status, output.as_str(), line.lines().count()), (Some(64), "", 1), "{line}");
        assert!(line.starts_with(&format!("{name}: ")) && line.contains("--sise"), "{line}");
    }
}

#[test]
fn any_other_name_is_portolan() {
    let (_, version, _) = call("exe", "--version");
    assert_eq!(version, concat!("portolan ", env!("CARGO_PKG_VERSION"), "\n"));
}
