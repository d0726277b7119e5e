//! Whether what was written should have been.

use std::collections::BTreeMap;

use portolan_api::Kind;
use portolan_api::fault::Write;
use serde_json::Value;

/// Whether a write is one of the controllers' own. Events are only ever added to, and Leases have their own
/// rules.
pub(crate) fn concerns(write: &Write) -> bool {
    !write.path.contains("/events") && write.holder().is_none()
}

/// What a write of the controllers has changed.
pub(crate) fn kind(write: &Write) -> Option<Kind> {
    let plural = write.path.split('/').skip_while(|part| *part != "namespaces").nth(2)?;
    let mut kinds = [Kind::EndpointSlice, Kind::Endpoints].into_iter();
    kinds.find(|kind| write.changed && kind.facts().plural == plural)
}

/// Writes that overwrite what was not seen, and such that change nothing.
pub(crate) fn careless(writes: &[Write]) -> Vec<String> {
    let ours = || writes.iter().filter(|write| concerns(write));
    let blind = ours().filter(|write| write.is_blind()).map(|write| told("a blind write", write));
    let idle = ours().filter(|write| write.succeeded() && !write.changed);
    blind.chain(idle.map(|write| told("a write that changes nothing", write))).collect()
}

/// Writes at a time when there is nothing to write; `refused`: those that were refused, too.
pub(crate) fn needless(writes: &[Write], refused: bool) -> Vec<String> {
    let ours = writes.iter().filter(|write| concerns(write));
    let found = ours.filter_map(|write| {
        let what = match write.succeeded() {
            true if write.changed => "written although nothing changed",
            false if refused => "refused, and nothing was to be written",
            _ => return None,
        };
        Some(told(what, write))
    });
    found.collect()
}

/// Services for which a process wrote over what it had not seen (409) more than `most` times: it should have waited
/// for what it ran into. Writes that it had given up by the time at which they landed do not count.
pub(crate) fn unseen_too_often(writes: &[Write], most: usize) -> Vec<String> {
    refused(writes.iter().filter(|write| write.code == 409 && !write.late), service, most)
}

/// Writes that a process sent again more than `most` times, word for word, although they were refused.
pub(crate) fn repeated_too_often(writes: &[Write], most: usize) -> Vec<String> {
    refused(writes.iter(), |write| format!("{} {} {}", write.method, write.path, write.body), most)
}

fn refused<'a>(
    writes: impl Iterator<Item = &'a Write>,
    what: impl Fn(&Write) -> String,
    most: usize,
) -> Vec<String> {
    let mut refused: BTreeMap<(u64, String), Vec<&Write>> = BTreeMap::new();
    for write in writes.filter(|write| concerns(write) && !write.succeeded()) {
        refused.entry((write.client, what(write))).or_default().push(write);
    }
    let often = refused.into_values().filter(|writes| writes.len() > most);
    often.map(|writes| told(&format!("refused {} times", writes.len()), writes[0])).collect()
}

/// Namespace and name of the Service that a write is for: its slices' names begin with its own.
fn service(write: &Write) -> String {
    let mut parts = write.path.split('/').skip_while(|part| *part != "namespaces").skip(1);
    let namespace = parts.next().unwrap_or_default();
    let created = || write.body.pointer("/metadata/name").and_then(Value::as_str);
    let name = parts.nth(1).or_else(created).unwrap_or_default();
    format!("{namespace}/{}", name.split('-').next().unwrap_or_default())
}

fn told(what: &str, write: &Write) -> String {
    format!("{what}: process {}, {} {} {}", write.client, write.method, write.path, write.body)
}
