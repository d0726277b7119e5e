//! Lists that are not quite up to date.

use bytes::Bytes;

use crate::http::{Target, frame};
use crate::{Api, Random, Selection};

/// How many versions a list may be behind.
const LAG: u64 = 40;

/// The beginning of a streaming list (KEP-3157) as a cache that lags behind may give it: the objects as they
/// were, then what has happened to them since. Only the bookmark after that promises to be up to date.
/// `None` where the path names no collection, or nothing has happened.
pub(super) fn beginning(api: &Api, path: &str, random: &mut Random) -> Option<Vec<Bytes>> {
    let kind = Target::parse(path).ok().filter(|target| target.name.is_none())?.kind.stored();
    api.read(|store| {
        let before = store.version().saturating_sub(1 + random.below(LAG));
        let all = Selection::default();
        let changes = store.changes(kind, before, &all).ok().filter(|since| !since.changes.is_empty())?;
        let exactly = crate::ListOptions { exactly: Some(before), ..crate::ListOptions::default() };
        let list = store.list(kind, &all, &exactly).ok()?;
        let listed = list.items.iter().map(|object| frame("ADDED", object));
        let since = changes.changes.iter().map(|change| frame(change.label(), change.object()));
        Some(listed.chain(since).collect())
    })
}
