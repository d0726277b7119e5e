//! `docs/differences.md` is what the code's marks say, and nothing else.
//!
//! A mark is a comment's paragraph, or the end of one, that begins with "Differs from upstream:". What
//! follows up to the paragraph's end goes into the document, so it has to be understood without the
//! code around it.

use super::{files, read, root};

const DOCUMENT: &str = "docs/differences.md";
// Put together so that this file is not one with a mark.
const MARK: &str = concat!("Differs from ", "upstream");

/// Headings, and the folders whose marks stand below them.
const PARTS: [(&str, &str); 5] = [
    ("Controllers, beside kube-controller-manager", "controllers/"),
    ("DNS, beside CoreDNS", "dns/"),
    ("Proxy, beside kube-proxy", "proxy/"),
    ("All parts", "core/"),
    ("`portolan up`, beside an API server, its controllers and kubelet", "standalone/"),
];

/// What a file's marks say, in their order.
fn marks(text: &str) -> Vec<String> {
    let mut marks = Vec::new();
    let mut open: Option<String> = None;
    for line in text.lines() {
        let comment =
            line.trim_start().strip_prefix("//").map(|line| line.trim_start_matches(['/', '!']).trim());
        let words = comment.filter(|words| !words.is_empty());
        let begins = words.and_then(|words| words.split_once(MARK));
        open = match (open, words, begins) {
            (before, _, Some((_, rest))) => {
                marks.extend(before);
                Some(rest.to_owned())
            }
            (Some(mark), Some(words), None) => Some(format!("{mark} {words}")),
            (before, _, None) => {
                marks.extend(before);
                None
            }
        };
    }
    marks.extend(open);
    marks
}

/// A mark's text as a sentence.
fn sentence(file: &str, mark: &str) -> String {
    let text = mark.strip_prefix(':').map(str::trim).unwrap_or_default();
    let mut letters = text.chars();
    let first = letters.next();
    assert!(
        first.is_some() && text.ends_with('.'),
        "{file}: \"{MARK}\" is to be followed by a colon and whole sentences, not by {mark:?}"
    );
    first.into_iter().flat_map(char::to_uppercase).chain(letters).collect()
}

/// Lines of at most 110 characters, indented as an item.
fn item(text: &str) -> String {
    let mut lines = vec!["-".to_owned()];
    for word in text.split_whitespace() {
        let line = lines.last_mut().expect("there is a line");
        if line.chars().count() + 1 + word.chars().count() > 110 {
            lines.push(format!("  {word}"));
        } else {
            line.push(' ');
            line.push_str(word);
        }
    }
    lines.join("\n")
}

fn document() -> String {
    let mut document =
        "# Differences from upstream\n\nWhere Portolan behaves otherwise than the program that it \
        replaces, on purpose.\nThis page is made from the marks in the code by `tests/tidy/differences.rs`.\n"
            .to_owned();
    let mut files: Vec<String> = files();
    files.retain(|name| name.ends_with(".rs") && !name.starts_with("tests/"));
    files.sort();
    for name in &files {
        let text = read(name);
        let found = marks(&text).len();
        assert_eq!(
            text.matches(MARK).count(),
            found,
            "{name}: a mark begins a comment line, or a sentence in it"
        );
        let placed = PARTS.iter().any(|(_, folder)| name.starts_with(folder));
        assert!(placed || found == 0, "{name} has a mark, but {DOCUMENT} has no part for its folder");
    }
    for (heading, folder) in PARTS {
        document.push_str(&format!("\n## {heading}\n\n"));
        for name in files.iter().filter(|name| name.starts_with(folder)) {
            for mark in marks(&read(name)) {
                document.push_str(&item(&format!("{} (`{name}`)", sentence(name, &mark))));
                document.push('\n');
            }
        }
    }
    document
}

#[test]
fn the_document_of_differences_is_what_the_code_says() {
    let document = document();
    if std::env::var_os("PORTOLAN_WRITE").is_some() {
        std::fs::create_dir_all(root().join("docs")).expect("docs/ can be made");
        std::fs::write(root().join(DOCUMENT), &document).expect("the document can be written");
    }
    assert!(
        read(DOCUMENT) == document,
        "{DOCUMENT} is stale; write it anew: PORTOLAN_WRITE=1 cargo test -p portolan-tests --test tidy differences"
    );
    assert!(document.lines().filter(|line| line.starts_with("- ")).count() > 20, "the marks are not found");
}

#[test]
fn a_mark_ends_with_its_paragraph() {
    let code = format!(
        "//! Subject. {MARK}: one\n//! two.\n//!\n//! Other.\nfn f() {{}} // not {MARK}\n    // {MARK}: three.\n    f();\n    /// {MARK}: four.\n    /// {MARK}: five."
    );
    assert_eq!(marks(&code), [": one two.", ": three.", ": four.", ": five."]);
    assert_eq!(sentence("x.rs", ": one two."), "One two.");
    assert!(item(&"word ".repeat(40)).lines().all(|line| line.chars().count() <= 110));
}
