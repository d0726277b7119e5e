//! Objects of one kind, as a watch delivers them.

use std::collections::HashMap;
use std::sync::Arc;

use crate::{Meta, ObjectName};

/// What a watch says about objects of one kind.
#[derive(Clone, Debug, PartialEq)]
pub enum Event<T> {
    /// A full list begins; what it does not name is gone when it ends.
    ListBegins,
    /// An object of the list, or one that was added or changed.
    Applied(T),
    /// An object was deleted, at this version (0 = not known).
    Deleted(ObjectName, u64),
    /// The list is complete.
    ListEnds,
}

/// Objects of one kind by name.
///
/// A list is taken in by mark and sweep, so that there is never a second copy of the objects, and an
/// interrupted list removes nothing.
#[derive(Debug)]
pub struct Table<T> {
    objects: HashMap<ObjectName, Entry<T>>,
    list: u32,
    synced: bool,
}

#[derive(Debug)]
struct Entry<T> {
    object: Arc<T>,
    /// The list in which the object was last seen.
    list: u32,
}

impl<T> Default for Table<T> {
    fn default() -> Self {
        Self { objects: HashMap::new(), list: 0, synced: false }
    }
}

impl<T> Table<T> {
    /// The object of that name.
    pub fn get(&self, name: &ObjectName) -> Option<&Arc<T>> {
        self.objects.get(name).map(|entry| &entry.object)
    }

    /// All objects, in no particular order.
    pub fn iter(&self) -> impl Iterator<Item = (&ObjectName, &Arc<T>)> {
        self.objects.iter().map(|(name, entry)| (name, &entry.object))
    }

    /// How many objects there are.
    pub fn len(&self) -> usize {
        self.objects.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.objects.is_empty()
    }

    /// Whether a list was ever complete.
    pub fn synced(&self) -> bool {
        self.synced
    }

    /// Takes in an event and tells which objects it changed, as (name, before, after).
    ///
    /// An object older than what is held is ignored: a program puts its own writes into the table at
    /// once, and the watch may then still deliver what was true before.
    pub(crate) fn apply(&mut self, event: Event<T>, meta: impl Fn(&T) -> &Meta) -> Vec<Change<T>> {
        match event {
            Event::ListBegins => {
                self.list = self.list.wrapping_add(1);
                Vec::new()
            }
            Event::Applied(object) => {
                let (version, uid) = (meta(&object).resource_version, meta(&object).uid.clone());
                let name = meta(&object).object_name();
                if let Some(entry) = self.objects.get_mut(&name) {
                    let held = meta(&entry.object);
                    if version != 0 && held.resource_version >= version {
                        if held.uid == uid {
                            entry.list = self.list;
                        }
                        return Vec::new();
                    }
                }
                let object = Arc::new(object);
                let entry = Entry { object: object.clone(), list: self.list };
                let old = self.objects.insert(name.clone(), entry).map(|entry| entry.object);
                vec![Change { name, old, new: Some(object) }]
            }
            Event::Deleted(name, version) => {
                let newer = |entry: &Entry<T>| version != 0 && meta(&entry.object).resource_version > version;
                if self.objects.get(&name).is_none_or(newer) {
                    return Vec::new();
                }
                let old = self.objects.remove(&name).map(|entry| entry.object);
                vec![Change { name, old, new: None }]
            }
            Event::ListEnds => {
                self.synced = true;
                let list = self.list;
                self.objects
                    .extract_if(|_, entry| entry.list != list)
                    .map(|(name, entry)| Change { name, old: Some(entry.object), new: None })
                    .collect()
            }
        }
    }
}

/// An object before and after an event.
#[derive(Debug)]
pub(crate) struct Change<T> {
    pub(crate) name: ObjectName,
    pub(crate) old: Option<Arc<T>>,
    pub(crate) new: Option<Arc<T>>,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn object(name: &str, version: u64) -> Meta {
        Meta { resource_version: version, ..Meta::named(ObjectName::new("n", name)) }
    }

    fn names<T>(changes: &[Change<T>]) -> Vec<String> {
        let sign = |change: &Change<T>| match (&change.old, &change.new) {
            (None, _) => '+',
            (_, Some(_)) => '~',
            (_, None) => '-',
        };
        let mut names: Vec<_> = changes.iter().map(|c| format!("{}{}", sign(c), c.name.name)).collect();
        names.sort();
        names
    }

    fn run(table: &mut Table<Meta>, events: impl IntoIterator<Item = Event<Meta>>) -> Vec<String> {
        events.into_iter().flat_map(|event| names(&table.apply(event, |meta| meta))).collect()
    }

    #[test]
    fn a_list_removes_what_it_does_not_name() {
        let mut table = Table::default();
        let first = [
            Event::ListBegins,
            Event::Applied(object("a", 1)),
            Event::Applied(object("b", 2)),
            Event::ListEnds,
        ];
        assert_eq!(run(&mut table, first), ["+a", "+b"]);
        let second = [
            Event::ListBegins,
            Event::Applied(object("b", 2)),
            Event::Applied(object("c", 3)),
            Event::ListEnds,
        ];
        assert_eq!(run(&mut table, second), ["+c", "-a"]);
        assert!(table.synced());
    }

    #[test]
    fn a_list_that_breaks_off_removes_nothing() {
        let mut table = Table::default();
        run(
            &mut table,
            [Event::ListBegins, Event::Applied(object("a", 1)), Event::ListEnds, Event::ListBegins],
        );
        let again = [Event::ListBegins, Event::Applied(object("a", 1)), Event::ListEnds];
        assert_eq!(run(&mut table, again), [] as [&str; 0]);
    }

    #[test]
    fn what_is_older_than_what_is_held_changes_nothing() {
        let mut table = Table::default();
        assert_eq!(run(&mut table, [Event::Applied(object("a", 5))]), ["+a"]);
        let stale = [Event::Applied(object("a", 4)), Event::Deleted(ObjectName::new("n", "a"), 4)];
        assert_eq!(run(&mut table, stale), [] as [&str; 0]);
        assert_eq!(run(&mut table, [Event::Deleted(ObjectName::new("n", "a"), 6)]), ["-a"]);
    }
}
