//! Bugs that controllers like these have had, put back in: the simulation must find each of them.
//!
//! `bugs/` holds one file for each: a line that says what was wrong, then files of the workspace, each with a
//! passage and what it is replaced by. All of them go into one copy of the workspace, each behind a switch
//! (`portolan_core::bug`), so that one build serves for all. A passage that is not there any more, or is there
//! twice, is a failure.

use std::collections::BTreeMap;
use std::env;
use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// What is added to portolan-core.
const SWITCH: &str = r#"
/// Whether a bug is in.
pub fn bug(name: &str) -> bool {
    static IN: std::sync::LazyLock<String> =
        std::sync::LazyLock::new(|| std::env::var("PORTOLAN_BUG").unwrap_or_default());
    *IN == name
}
"#;
const SWITCH_GOES_TO: &str = "core/src/lib.rs";
/// Seeds within which each is found.
const SEEDS: &str = "2000";
const FEWEST: usize = 20;

struct Bug {
    name: String,
    what: String,
    changes: Vec<Change>,
}

struct Change {
    file: String,
    before: String,
    after: String,
}

impl Bug {
    fn read(path: &Path) -> Self {
        let name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        let text = fs::read_to_string(path).expect("a bug is text");
        let (what, rest) = text.split_once('\n').unwrap_or_else(|| panic!("{name}: no change"));
        let mut changes = Vec::new();
        for change in rest.split(">>>>>>>\n").map(str::trim_start).filter(|change| !change.is_empty()) {
            let parts = change.split_once("\n<<<<<<<\n");
            let parts = parts.and_then(|(file, rest)| Some((file, rest.split_once("=======\n")?)));
            let (file, (before, after)) = parts.unwrap_or_else(|| panic!("{name}: not a change: {change}"));
            assert!(
                after.contains(&format!("bug(\"{name}\")")) || file.ends_with("backoff.rs"),
                "{name}: no switch"
            );
            changes.push(Change { file: file.into(), before: before.into(), after: after.into() });
        }
        Self { name, what: what.to_owned(), changes }
    }
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2).expect("a folder in the workspace").to_owned()
}

/// The folder that cargo builds in, out of the place of this program in it.
fn target() -> PathBuf {
    let program = env::current_exe().expect("the path of this test");
    program.ancestors().nth(3).expect("target/PROFILE/deps").to_owned()
}

/// The files of the workspace, by their paths in it.
fn sources(folder: &Path, root: &Path, found: &mut BTreeMap<PathBuf, Vec<u8>>) {
    for entry in fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        let hidden = path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b"."));
        // What cargo builds in has a tag.
        if hidden || path.is_symlink() || path.join("CACHEDIR.TAG").exists() {
            continue;
        }
        if path.is_dir() {
            sources(&path, root, found);
        } else if let Ok(relative) = path.strip_prefix(root) {
            found.insert(relative.to_owned(), fs::read(&path).expect("a file"));
        }
    }
}

fn put_in(bug: &Bug, sources: &mut BTreeMap<PathBuf, Vec<u8>>) {
    for Change { file, before, after } in &bug.changes {
        let source = sources.get_mut(Path::new(file));
        let source = source.unwrap_or_else(|| panic!("{}: there is no {file}", bug.name));
        let text = String::from_utf8_lossy(source).into_owned();
        let places = text.matches(before.as_str()).count();
        assert_eq!(places, 1, "{}: {file} has this passage {places} times:\n{before}", bug.name);
        *source = text.replacen(before.as_str(), after, 1).into_bytes();
    }
}

/// Gives the copy's crates a version of their own. By it cargo keeps them apart from this workspace's in one folder, where
/// the crates that both are built of are compiled once.
fn tell_apart(sources: &mut BTreeMap<PathBuf, Vec<u8>>) {
    let version = format!("version = \"{}\"", env!("CARGO_PKG_VERSION"));
    for (file, before) in [("Cargo.toml", ""), ("Cargo.lock", "name = \"portolan")] {
        let source = sources.get_mut(Path::new(file)).unwrap_or_else(|| panic!("there is no {file}"));
        let (mut text, mut line_before) = (String::new(), "");
        for line in String::from_utf8_lossy(source).lines() {
            let own = line == version && line_before.starts_with(before);
            text += if own { "version = \"0.0.0-bugs\"" } else { line };
            text.push('\n');
            line_before = line;
        }
        assert_ne!(text.as_bytes(), source.as_slice(), "{file} has no {version}");
        *source = text.into_bytes();
    }
}

/// Makes `copy` hold these files and no others. What is right already keeps its time, for cargo.
fn write(copy: &Path, wanted: &BTreeMap<PathBuf, Vec<u8>>) {
    let mut held = BTreeMap::new();
    if copy.exists() {
        sources(copy, copy, &mut held);
    }
    for path in held.keys().filter(|path| !wanted.contains_key(*path)) {
        fs::remove_file(copy.join(path)).expect("an old file");
    }
    for (path, text) in wanted.iter().filter(|(path, text)| held.get(*path) != Some(*text)) {
        let path = copy.join(path);
        fs::create_dir_all(path.parent().expect("a folder")).expect("a folder can be made");
        fs::write(path, text).expect("a file can be written");
    }
}

fn tells_of_package(variable: &OsStr) -> bool {
    let bytes = variable.as_encoded_bytes();
    bytes.starts_with(b"CARGO_PKG_") || bytes.starts_with(b"CARGO_MANIFEST_")
}

/// The first seed that fails with a bug in, and how.
fn look_for(bug: &str, copy: &Path) -> Option<(u64, String)> {
    let mut cargo = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    // What cargo tells this program about its package would have build scripts that look at it (ring's) run again.
    for (name, _) in env::vars_os().filter(|(name, _)| tells_of_package(name)) {
        cargo.env_remove(name);
    }
    let output = cargo
        .args(["test", "--locked", "--profile", "simulation", "--workspace", "--test", "seeds"])
        .args(["--", "--nocapture"])
        .current_dir(copy)
        .env("CARGO_TARGET_DIR", target())
        .env("PORTOLAN_BUG", bug)
        .env("PORTOLAN_SIMULATION_SEEDS", SEEDS)
        .env("PORTOLAN_SIMULATION_FIRST", "1")
        .env_remove("PORTOLAN_SIMULATION_SEED")
        .env_remove("PORTOLAN_SIMULATION_FROM")
        .output()
        .expect("cargo runs");
    let text = String::from_utf8_lossy(&output.stdout);
    let found = text.lines().filter_map(|line| {
        let (seed, what) = line.strip_prefix("seed ")?.split_once(": ")?;
        Some((seed.parse::<u64>().ok()?, what.to_owned()))
    });
    let first = found.min();
    if first.is_none() && !output.status.success() {
        panic!("the simulation failed:\n{text}\n{}", String::from_utf8_lossy(&output.stderr));
    }
    first
}

#[test]
fn bugs_that_were_put_back_in_are_found() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("bugs");
    let files = fs::read_dir(folder).expect("bugs").map(|entry| entry.expect("an entry").path());
    let mut bugs: Vec<_> = files.map(|path| Bug::read(&path)).collect();
    bugs.sort_by(|one, other| one.name.cmp(&other.name));
    assert!(bugs.len() >= FEWEST, "{} bugs", bugs.len());

    let mut files = BTreeMap::new();
    sources(&root(), &root(), &mut files);
    bugs.iter().for_each(|bug| put_in(bug, &mut files));
    files.get_mut(Path::new(SWITCH_GOES_TO)).expect(SWITCH_GOES_TO).extend_from_slice(SWITCH.as_bytes());
    tell_apart(&mut files);
    let copy = target().join("bugs");
    write(&copy, &files);

    if let Some((seed, wrong)) = look_for("", &copy) {
        panic!("without a bug, seed {seed} fails: {wrong}");
    }
    let mut missed = Vec::new();
    for bug in &bugs {
        match look_for(&bug.name, &copy) {
            Some((seed, wrong)) => {
                println!("found  {:<14} by seed {seed:<4} {}\n       {wrong}", bug.name, bug.what);
            }
            None => {
                println!("MISSED {:<14} {}", bug.name, bug.what);
                missed.push(&bug.name);
            }
        }
    }
    println!("{} of {} bugs found within {SEEDS} seeds", bugs.len() - missed.len(), bugs.len());
    assert!(missed.is_empty(), "not found: {missed:?}");
}
