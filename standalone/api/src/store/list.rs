//! Lists, in pages and as of earlier versions.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::Arc;

use serde_json::Value;

use crate::object::Name;
use crate::{Failure, Kind, Selection, Store};

/// How a list is wanted.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ListOptions {
    /// At most so many objects (0 = all).
    pub limit: usize,
    /// Where the page before ended.
    pub next: Option<String>,
    /// As of this version and no other.
    pub exactly: Option<u64>,
}

/// A list.
#[derive(Clone, Debug, PartialEq)]
pub struct List {
    /// The objects.
    pub items: Vec<Arc<Value>>,
    /// The version as of which they are.
    pub version: u64,
    /// Where the next page begins, if this is not the last.
    pub next: Option<String>,
    /// How many objects are left; only known without selectors.
    pub remaining: Option<usize>,
}

impl Store {
    /// The objects of a kind that are selected, by name. All pages are as of the version of the first.
    pub fn list(&self, kind: Kind, selection: &Selection, options: &ListOptions) -> Result<List, Failure> {
        let (version, start) = match (&options.next, options.exactly) {
            (Some(token), _) => {
                let (version, start) = read_token(token)?;
                (version, Bound::Excluded(start))
            }
            (None, exactly) => (exactly.unwrap_or(self.version), Bound::Unbounded),
        };
        if version > self.version {
            return Err(Failure::too_large_version(version, self.version));
        }
        let past;
        let objects = if version == self.version {
            self.objects.get(&kind)
        } else {
            past = self.as_of(kind, version)?;
            Some(&past)
        };
        let mut items = Vec::new();
        let (mut next, mut remaining, mut last) = (None, None, None);
        for (name, object) in
            objects.into_iter().flat_map(|objects| objects.range((start.clone(), Bound::Unbounded)))
        {
            if !selection.covers(name) || !selection.matches(object) {
                continue;
            }
            if options.limit > 0 && items.len() == options.limit {
                if selection.selective() {
                    next = last;
                    break;
                }
                next = last.take().or(next);
                *remaining.get_or_insert(0) += 1;
                continue;
            }
            items.push(object.clone());
            last = Some(token(version, name));
        }
        Ok(List { items, version, next, remaining })
    }

    fn as_of(&self, kind: Kind, version: u64) -> Result<BTreeMap<Name, Arc<Value>>, Failure> {
        let mut objects = self.objects.get(&kind).cloned().unwrap_or_default();
        let undo = self.history.undo(kind, version).map_err(|_| {
            Failure::expired("The provided continue parameter is too old to display a consistent list result. You can start a new list without the continue parameter.")
        })?;
        for (name, object) in undo {
            match object {
                Some(object) => objects.insert(name.clone(), object.clone()),
                None => objects.remove(name),
            };
        }
        Ok(objects)
    }
}

/// Neither namespaces nor names have a slash in them.
fn token(version: u64, name: &Name) -> String {
    format!("{version}/{}/{}", name.namespace, name.name)
}

fn read_token(token: &str) -> Result<(u64, Name), Failure> {
    let mut parts = token.splitn(3, '/');
    let version = parts.next().and_then(|version| version.parse().ok());
    match (version, parts.next(), parts.next()) {
        (Some(version), Some(namespace), Some(name)) => Ok((version, Name::new(namespace, name))),
        _ => Err(Failure::bad_request("continue key is not valid: the token was not given by this server")),
    }
}
