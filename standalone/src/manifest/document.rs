//! The documents of a YAML stream, taken apart before they are parsed: one that is broken must not hide
//! what is wrong with the next.

/// Documents with something in them, by their number from 1. Each keeps its place: the lines before it
/// are empty, so that a parser's line numbers are those of the file.
pub(crate) fn split(text: &str) -> Vec<(usize, String)> {
    let mut documents = Vec::new();
    let (mut number, mut current, mut before) = (1, String::new(), 0);
    for (line, content) in text.lines().enumerate() {
        // A marker at the beginning of a line ends even a block of literal text.
        match content.strip_prefix("---") {
            Some(rest) if rest.is_empty() || rest.starts_with(char::is_whitespace) => {
                number += finish(&mut documents, number, &mut current, before);
                before = line;
                current.push_str(rest);
            }
            _ => current.push_str(content),
        }
        current.push('\n');
    }
    finish(&mut documents, number, &mut current, before);
    documents
}

/// Numbers count what people count: documents that say something.
fn finish(documents: &mut Vec<(usize, String)>, number: usize, current: &mut String, before: usize) -> usize {
    let text = std::mem::take(current);
    let says = |line: &str| {
        let line = line.trim_start();
        !(line.is_empty() || line.starts_with('#') || line.starts_with('%'))
    };
    if !text.lines().any(says) {
        return 0;
    }
    documents.push((number, "\n".repeat(before) + &text));
    1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn documents_keep_their_place() {
        let text = "# head\n---\na: 1\n--- # next\n\n---\nb: |\n  --- no marker\n----\n---\n";
        let documents = split(text);
        let want = [(1, "\n \na: 1\n"), (2, "b: |\n  --- no marker\n----\n")];
        assert_eq!(documents.len(), 2);
        for ((number, document), (expected, content)) in documents.iter().zip(want) {
            assert_eq!(*number, expected);
            assert!(document.ends_with(content.trim_start()), "{document:?}");
        }
        assert_eq!(documents[1].1.lines().position(|line| line == "b: |"), Some(6));
    }
}
