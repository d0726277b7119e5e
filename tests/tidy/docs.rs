//! Documents for users: their links, the flags that `docs/` names, and what it tells of each program's settings.

use std::collections::BTreeSet;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Command, Output};
use std::sync::LazyLock;

use crate::{files, read, root};

const CONFIGURATION: &str = "docs/configuration.md";

/// What the programs are called, and their names in a settings file.
const PROGRAMS: [(&str, &str); 3] =
    [("portolan-controllers", "Controllers"), ("portolan-dns", "DNS"), ("portolan-proxy", "Proxy")];

/// Flags of other programs that the documents name.
const FOREIGN: [(&str, &str); 7] = [
    ("cargo", "test"),
    ("helm", "no-hooks reuse-values set wait"),
    ("k3s", "disable disable-kube-proxy kube-controller-manager-arg"),
    ("kind, kubeadm", "config"),
    (
        "kubectl",
        "all-containers attach command for image override-type overrides port prefix profile quiet replicas restart rm tail timeout type",
    ),
    ("kube-controller-manager", "controllers"),
    ("kube-proxy", "cleanup"),
];

fn documents() -> Vec<String> {
    let documents: Vec<_> = files()
        .into_iter()
        .filter(|name| name.ends_with(".md"))
        .filter(|name| {
            name.starts_with("docs/") || ["README.md", "charts/portolan/README.md"].contains(&name.as_str())
        })
        .collect();
    assert!(documents.len() > 4, "{documents:?}");
    documents
}

/// The one program under all its names, as cargo builds it; a test is named so that it has the tests' features, and
/// nothing is compiled again.
static PORTOLAN: LazyLock<PathBuf> = LazyLock::new(|| {
    let output = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
        .args(["build", "--locked", "--workspace", "--bin=portolan", "--test=tidy"])
        .arg("--message-format=json-render-diagnostics")
        .current_dir(root())
        .output()
        .expect("cargo runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let messages = String::from_utf8(output.stdout).expect("cargo writes UTF-8");
    let mut built = messages.lines().filter_map(|line| {
        let message: serde_json::Value = serde_json::from_str(line).ok()?;
        message["executable"].as_str().map(PathBuf::from)
    });
    built.find(|path| path.ends_with("portolan")).expect("cargo names the program")
});

/// Runs it as the program of that name, with nothing in its environment.
fn run(name: &str, arguments: &[&str]) -> Output {
    Command::new(&*PORTOLAN).arg0(name).args(arguments).env_clear().output().expect("the program runs")
}

/// A flag as `--help` tells of it.
#[derive(Clone, Debug, Default, PartialEq)]
struct Flag {
    /// With the shape of its value.
    usage: String,
    text: String,
    variable: String,
    default: String,
}

impl Flag {
    fn name(&self) -> &str {
        let long = self.usage.split("--").nth(1).unwrap_or_default();
        long.split([' ', '[', '=']).next().unwrap_or_default()
    }

    fn row(&self) -> String {
        let code = |text: &str| if text.is_empty() { String::new() } else { format!("`{text}`") };
        let cells = [&code(&self.usage), &code(&self.variable), &code(&self.default), &self.text];
        format!("| {} |\n", cells.map(|cell| cell.replace('|', "\\|")).join(" | "))
    }
}

/// The flags of a help text, without those for help and version.
fn flags(help: &str) -> Vec<Flag> {
    let mut flags: Vec<Flag> = Vec::new();
    let options = help.split_once("\nOptions:\n").map(|(_, options)| options).unwrap_or_default();
    for line in options.lines() {
        let words = line.trim();
        let bracketed = |name: &str| words.strip_prefix(name).map(|rest| rest.trim_end_matches(']'));
        if line.starts_with(' ') && !line.starts_with("        ") && words.starts_with('-') {
            flags.push(Flag { usage: words.replace(['<', '>'], ""), ..Flag::default() });
            continue;
        }
        let Some(flag) = flags.last_mut() else { continue };
        if let Some(variable) = bracketed("[env: ") {
            flag.variable = variable.trim_end_matches('=').to_owned();
        } else if let Some(default) = bracketed("[default: ") {
            flag.default = default.to_owned();
        } else if let Some(values) = bracketed("[possible values: ") {
            flag.text += &format!(" ({values})");
        } else if words == "Possible values:" {
            flag.text.push(':');
        } else if let Some(value) = words.strip_prefix("- ") {
            flag.text += &format!(" {value};");
        } else if !words.is_empty() {
            flag.text += &format!(" {words}");
        }
    }
    for flag in &mut flags {
        flag.text = flag.text.trim().trim_end_matches(';').to_owned();
    }
    flags.retain(|flag| !["help", "version"].contains(&flag.name()));
    flags
}

fn help(name: &str, arguments: &[&str]) -> Vec<Flag> {
    let output = run(name, arguments);
    let found = flags(&String::from_utf8_lossy(&output.stdout));
    assert!(found.len() > 2, "{name}: {output:?}");
    found
}

/// Headings, and the flags below them.
fn sections() -> Vec<(String, Vec<Flag>)> {
    let programs = PROGRAMS.map(|(name, _)| (name, help(name, &["--help"])));
    let (_, first) = &programs[0];
    let shared: Vec<Flag> =
        first.iter().filter(|flag| programs.iter().all(|(_, flags)| flags.contains(flag))).cloned().collect();
    let mut sections = vec![("All three programs".to_owned(), shared.clone())];
    for (name, mut flags) in programs {
        flags.retain(|flag| !shared.contains(flag));
        sections.push((format!("`{name}`"), flags));
    }
    for command in ["up", "status"] {
        sections.push((format!("`portolan {command}`"), help("portolan", &[command, "--help"])));
    }
    sections
}

fn tables(sections: &[(String, Vec<Flag>)]) -> String {
    let mut text = String::new();
    for (heading, flags) in sections {
        text += &format!("\n### {heading}\n\n| flag | variable | default | |\n|---|---|---|---|\n");
        text.extend(flags.iter().map(Flag::row));
    }
    text
}

#[test]
fn the_flags_are_those_of_help() {
    let sections = sections();
    let document = read(CONFIGURATION);
    let (before, _) = document.split_once("\n### ").unwrap_or((&document, ""));
    let wanted = format!("{}\n{}", before.trim_end(), tables(&sections));
    if std::env::var_os("PORTOLAN_WRITE").is_some() {
        std::fs::write(root().join(CONFIGURATION), &wanted).expect("the document can be written");
    }
    assert!(
        read(CONFIGURATION) == wanted,
        "{CONFIGURATION} is stale; write it anew: PORTOLAN_WRITE=1 cargo test -p portolan-tests --test tidy flags"
    );
}

#[test]
fn every_flag_of_a_document_exists() {
    let sections = sections();
    let own = sections.iter().flat_map(|(_, flags)| flags).map(Flag::name);
    let foreign = FOREIGN.iter().flat_map(|(_, flags)| flags.split(' '));
    let known: BTreeSet<&str> = own.chain(["help", "version"]).chain(foreign.clone()).collect();
    let ours = documents().into_iter().filter(|name| name.starts_with("docs/"));
    let texts: Vec<_> = ours.map(|name| (read(&name), name)).collect();
    for (text, name) in &texts {
        for flag in named_flags(text) {
            assert!(known.contains(flag), "{name} names --{flag}, which no program has");
        }
    }
    for flag in foreign {
        let named = texts.iter().any(|(text, _)| named_flags(text).contains(flag));
        assert!(named, "--{flag} is on the list of other programs' flags, but no document names it");
    }
}

/// Words of a document that are flags.
fn named_flags(text: &str) -> BTreeSet<&str> {
    let words = text.split(|letter: char| !(letter.is_ascii_alphanumeric() || letter == '-'));
    let names = words.filter_map(|word| word.strip_prefix("--"));
    names.filter(|name| name.starts_with(|letter: char| letter.is_ascii_lowercase())).collect()
}

/// Code blocks of a document in that language.
fn blocks<'a>(document: &'a str, language: &'a str) -> impl Iterator<Item = &'a str> {
    let opened = document.split("```").skip(1).step_by(2);
    opened.filter_map(move |block| block.strip_prefix(language)?.strip_prefix('\n'))
}

#[test]
fn the_programs_read_the_settings_files_of_the_document() {
    let document = read(CONFIGURATION);
    let folder = tempfile::tempdir().expect("a folder can be made");
    let complaint = |name: &str, text: &str| {
        let file = folder.path().join("settings.yaml");
        std::fs::write(&file, text).expect("the file can be written");
        // Settings are read before the API server is looked for.
        let flags = ["--config", &file.display().to_string(), "--kubeconfig", "no-such-file"];
        String::from_utf8_lossy(&run(name, &flags).stderr).into_owned()
    };
    let mut seen = BTreeSet::new();
    for text in blocks(&document, "yaml") {
        let kind = text.lines().find_map(|line| line.strip_prefix("kind: ")).expect("a file has a kind");
        let program = PROGRAMS.iter().find(|(_, its)| *its == kind).expect("the kind is a program").0;
        let said = complaint(program, text);
        assert!(said.starts_with(&format!("{program}: --kubeconfig no-such-file")), "{said}\n{text}");
        let said = complaint(program, &format!("{text}  no-such-setting: 1\n"));
        assert!(said.contains("'--no-such-setting'") && said.lines().count() == 1, "{said}");
        seen.insert(kind);
    }
    assert_eq!(seen.len(), PROGRAMS.len(), "not every program has an example: {seen:?}");
}

/// Commands for what is not there where the tests run.
const NOT_RUN: [&str; 3] = ["docker build", "kind create cluster", "k3s server"];

#[test]
fn commands_are_run_where_they_can_be() {
    let mut run = 0;
    for name in documents().iter().filter(|name| name.starts_with("docs/")) {
        let text = read(name);
        for (before, block) in text.match_indices("```sh\n").map(|(at, _)| text.split_at(at)) {
            if before.lines().last().is_some_and(|line| line.starts_with("<!-- run: ")) {
                run += 1;
                continue;
            }
            let command = block.lines().nth(1).unwrap_or_default();
            assert!(
                NOT_RUN.iter().any(|known| command.starts_with(known)),
                "{name}: {command}: neither run by a test (tests/e2e/cluster/docs.rs) nor known as one that cannot be"
            );
        }
    }
    assert!(run > 20, "only {run} blocks are run");
}

#[test]
fn every_link_of_a_document_leads_somewhere() {
    let mut followed = 0;
    for name in documents() {
        let folder = root().join(&name).parent().expect("a file lies in a folder").to_owned();
        let text = read(&name);
        for target in text.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            if target.contains("://") {
                continue;
            }
            let path = target.split('#').next().unwrap_or_default();
            assert!(folder.join(path).exists(), "{name} links to {target}, which does not exist");
            followed += 1;
        }
    }
    assert!(followed > 4, "the check found hardly any link");
}

#[test]
fn flags_are_read_from_help() {
    let help = "Does it.\n\nUsage: x\n\nOptions:\n  -f, --file <A|B>\n          What it\n          is\n\n          Possible values:\n          \
                - a: One\n          - b: Two\n          \n          [env: X_FILE=]\n          [default: a]\n\n      --on[=<BOOL>]\n          \
                Whether\n\n          [possible values: true, false]\n\n  -h, --help\n          Print help\n";
    let rows: Vec<_> = flags(help).iter().map(|flag| format!("{}{}", flag.name(), flag.row())).collect();
    assert_eq!(
        rows,
        [
            "file| `-f, --file A\\|B` | `X_FILE` | `a` | What it is: a: One; b: Two |\n",
            "on| `--on[=BOOL]` |  |  | Whether (true, false) |\n"
        ]
    );
    assert_eq!(named_flags("a `--b-c` -- --d=e <!-- f -->x--g"), BTreeSet::from(["b-c", "d"]));
}
