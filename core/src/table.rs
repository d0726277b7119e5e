//! Objects of one kind, as a watch delivers them.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use crate::{Meta, ObjectName};

/// What a watch says about objects of one kind.
#[derive(Clone, Debug, PartialEq)]
pub enum Event<T> {
    /// A full list begins; what it does not name is gone when it ends.
    ListBegins,
    /// An object of the list, or one that was added or changed.
    Applied(T),
    /// The answer to a request for one object that was sent in this [era](Table::era): not part of what the
    /// watch tells in order.
    Answered(T, u64),
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
    /// The last deletions since the last list, with their versions: the answer to a write that was made
    /// before may still be on its way.
    deleted: VecDeque<(ObjectName, u64)>,
    list: u32,
    era: u64,
    synced: bool,
}

/// Deletions to remember: more than there can be while an answer is on its way.
const DELETIONS: usize = 256;

#[derive(Debug)]
struct Entry<T> {
    object: Arc<T>,
    /// The list in which the object was last seen.
    list: u32,
}

impl<T> Default for Table<T> {
    fn default() -> Self {
        Self { objects: HashMap::new(), deleted: VecDeque::new(), list: 0, era: 0, synced: false }
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

    /// Moves when it is no longer known which objects were deleted until now: an object that is not here
    /// may then be one that a request sent before has found.
    pub fn era(&self) -> u64 {
        self.era
    }

    /// Takes in an event and tells which objects it changed, as (name, before, after).
    ///
    /// An object older than what is held, or than its deletion, is ignored: a program puts its own writes
    /// into the table at once, and the watch may then still deliver what was true before, or have delivered
    /// what came after.
    pub(crate) fn apply(&mut self, event: Event<T>, meta: impl Fn(&T) -> &Meta) -> Vec<Change<T>> {
        match event {
            Event::ListBegins => {
                self.list = self.list.wrapping_add(1);
                self.era += 1;
                self.deleted.clear();
                Vec::new()
            }
            Event::Applied(object) => self.put(object, meta, self.list),
            Event::Answered(object, era) => {
                let name = meta(&object).object_name();
                let list = match self.objects.get(&name) {
                    Some(entry) => entry.list,
                    // The watch will deliver it if it exists.
                    None if era != self.era => return Vec::new(),
                    // If a list is under way, whether the object is in it remains to be seen.
                    None => self.list.wrapping_sub(1),
                };
                self.put(object, meta, list)
            }
            Event::Deleted(name, version) => {
                let newer = |entry: &Entry<T>| version != 0 && meta(&entry.object).resource_version > version;
                if self.objects.get(&name).is_none_or(newer) {
                    return Vec::new();
                }
                let old = self.objects.remove(&name).map(|entry| entry.object);
                if version == 0 || self.deleted.len() == DELETIONS {
                    self.era += 1;
                }
                if version != 0 {
                    self.deleted.truncate(DELETIONS - 1);
                    self.deleted.push_front((name.clone(), version));
                }
                vec![Change { name, old, new: None }]
            }
            Event::ListEnds => {
                self.synced = true;
                self.era += 1;
                let list = self.list;
                self.objects
                    .extract_if(|_, entry| entry.list != list)
                    .map(|(name, entry)| Change { name, old: Some(entry.object), new: None })
                    .collect()
            }
        }
    }

    fn put(&mut self, object: T, meta: impl Fn(&T) -> &Meta, list: u32) -> Vec<Change<T>> {
        let name = meta(&object).object_name();
        let version = meta(&object).resource_version;
        if let Some(entry) = self.objects.get_mut(&name) {
            let held = meta(&entry.object);
            if version != 0 && held.resource_version >= version {
                if held.uid == meta(&object).uid {
                    entry.list = list;
                }
                return Vec::new();
            }
        } else if version != 0 && self.deleted.iter().any(|(gone, at)| *at >= version && *gone == name) {
            return Vec::new();
        }
        let object = Arc::new(object);
        let entry = Entry { object: object.clone(), list };
        let old = self.objects.insert(name.clone(), entry).map(|entry| entry.object);
        vec![Change { name, old, new: Some(object) }]
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
        assert_eq!(
            run(&mut table, [Event::Applied(object("a", 6))]),
            [] as [&str; 0],
            "was before the deletion"
        );
        assert_eq!(run(&mut table, [Event::Applied(object("a", 7))]), ["+a"], "was made again");
    }

    #[test]
    fn few_deletions_are_remembered_and_none_over_a_list() {
        let mut table = Table::default();
        for number in 0..DELETIONS as u64 + 10 {
            let name = format!("o{number}");
            run(
                &mut table,
                [Event::Applied(object(&name, 1)), Event::Deleted(ObjectName::new("n", &*name), 2)],
            );
        }
        assert_eq!(table.deleted.len(), DELETIONS);
        run(&mut table, [Event::ListBegins]);
        assert_eq!(table.deleted.len(), 0);
    }

    #[test]
    fn a_late_answer_does_not_bring_back_what_a_list_no_longer_names() {
        let mut table = Table::default();
        run(&mut table, [Event::ListBegins, Event::Applied(object("a", 1)), Event::ListEnds]);
        let sent = table.era();
        assert_eq!(run(&mut table, [Event::Answered(object("b", 2), sent)]), ["+b"]);
        assert_eq!(run(&mut table, [Event::ListBegins, Event::ListEnds]).len(), 2);
        assert_eq!(run(&mut table, [Event::Answered(object("a", 3), sent)]), [] as [&str; 0]);

        run(&mut table, [Event::ListBegins]);
        let sent = table.era();
        assert_eq!(run(&mut table, [Event::Answered(object("a", 3), sent)]), ["+a"]);
        assert_eq!(run(&mut table, [Event::Answered(object("a", 4), sent)]), ["~a"]);
        assert_eq!(run(&mut table, [Event::ListEnds]), ["-a"], "made and deleted before the list was");
        assert_eq!(run(&mut table, [Event::Answered(object("a", 5), sent)]), [] as [&str; 0]);

        let sent = table.era();
        for number in 0..DELETIONS as u64 + 1 {
            let name = format!("o{number}");
            let gone = Event::Deleted(ObjectName::new("n", &*name), 11);
            run(&mut table, [Event::Applied(object(&name, 10)), gone]);
        }
        assert_eq!(run(&mut table, [Event::Answered(object("o0", 10), sent)]), [] as [&str; 0]);
    }
}
