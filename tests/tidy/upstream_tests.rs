//! `controllers/upstream-tests.md`: every test that it names exists, and every row names one or says why not.

use std::collections::BTreeSet;

use super::{files, read};

const DOCUMENT: &str = "controllers/upstream-tests.md";
/// What a row without a test begins its reason with.
const WHY_NOT: &str = "No test: ";

/// Names of test functions.
fn tests(code: &str) -> impl Iterator<Item = &str> {
    let marked = code.lines().scan(false, |marked, line| {
        let line = line.trim_start();
        let name = line.split_once("fn ").and_then(|(_, rest)| rest.split_once('(')).map(|(name, _)| name);
        let found = name.filter(|_| *marked);
        *marked = line.starts_with("#[test]")
            || line.starts_with("#[tokio::test")
            || (*marked && line.starts_with("#["));
        Some(found)
    });
    marked.flatten()
}

/// Rows of the tables, as cells; without heads.
fn rows(document: &str) -> impl Iterator<Item = Vec<&str>> {
    let lines = document.lines().filter(|line| line.starts_with("| ") && !line.starts_with("| upstream |"));
    lines.map(|line| line.trim_matches('|').split(" | ").map(str::trim).collect())
}

#[test]
fn every_test_of_upstream_has_one_here_or_a_reason() {
    let code: Vec<_> = files().iter().filter(|name| name.ends_with(".rs")).map(|name| read(name)).collect();
    let existing: BTreeSet<_> = code.iter().flat_map(|text| tests(text)).collect();
    let document = read(DOCUMENT);
    let mut count = 0;
    for row in rows(&document) {
        let [upstream, asserts, here] = row[..] else { panic!("{DOCUMENT}: not three cells: {row:?}") };
        assert!(!upstream.is_empty() && !asserts.is_empty(), "{DOCUMENT}: {row:?}");
        count += 1;
        if let Some(reason) = here.strip_prefix(WHY_NOT) {
            assert!(reason.split_whitespace().count() > 4, "{DOCUMENT}: {upstream}: no reason: {reason:?}");
            continue;
        }
        for cell in here.split(", ") {
            let name = cell.strip_prefix('`').and_then(|name| name.strip_suffix('`')).unwrap_or_default();
            assert!(existing.contains(name), "{DOCUMENT}: {upstream}: {cell} is not a test");
        }
    }
    assert!(count > 90, "{DOCUMENT}: only {count} rows are found");
}

#[test]
fn tests_and_rows_are_found() {
    let code = "#[test]\nfn one() {\nfn two() {\n#[tokio::test(x)]\n#[y]\n    async fn three() {\n// #[test]\nfn four() {";
    assert_eq!(tests(code).collect::<Vec<_>>(), ["one", "three"]);
    let table = "| upstream | asserts | here |\n|---|---|---|\n| A, B | x | `y`, `z` |\ntext\n";
    assert_eq!(rows(table).collect::<Vec<_>>(), [["A, B", "x", "`y`, `z`"]]);
}
