//! Objects of one kind, as a watch delivers them.

use std::borrow::Borrow;
use std::collections::{HashMap, HashSet, VecDeque};
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use crate::{ObjectName, Watched};

/// What a watch says about objects of one kind.
#[derive(Clone, Debug, PartialEq)]
pub enum Event<T> {
    /// A full list begins; what it does not name is gone when it ends.
    ListBegins,
    /// An object of the list, or one that was added or changed.
    Applied(T),
    /// The answer to a request for one object that was sent at this [moment](Table::moment): not part of what
    /// the watch tells in order.
    Answered(T, Moment),
    /// An object was deleted, at this version (0 = not known).
    Deleted(ObjectName, u64),
    /// The list is complete.
    ListEnds,
    /// Everything up to this version has been told.
    Reached(u64),
}

/// What a table knew of deletions when a request was sent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Moment {
    /// Moves when objects go of which it is not known when they were deleted: with a list, or without a version.
    unknown: u64,
    /// Deletions at known versions.
    known: u64,
}

/// Objects of one kind by namespace and name. The names are the objects' own: for each object, the table
/// itself holds two words and a byte.
///
/// A list is taken in by mark and sweep, so that there is never a second copy of the objects, and an
/// interrupted list removes nothing.
#[derive(Debug)]
pub struct Table<T> {
    namespaces: HashMap<Arc<str>, HashSet<Entry<T>>>,
    len: usize,
    /// The last deletions since the last list, with their versions: the answer to a write that was made
    /// before may still be on its way.
    deleted: VecDeque<(ObjectName, u64)>,
    list: u32,
    moment: Moment,
    version: u64,
    told: u64,
    listing: bool,
    synced: bool,
}

/// Deletions to remember: more than there can be while an answer is on its way.
const DELETIONS: usize = 256;

/// An object of a namespace, found by its name.
#[derive(Debug)]
struct Entry<T> {
    object: Arc<T>,
    /// The list in which the object was last seen.
    list: u32,
}

impl<T: Watched> Borrow<str> for Entry<T> {
    fn borrow(&self) -> &str {
        &self.object.meta().name
    }
}

impl<T: Watched> Hash for Entry<T> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        Borrow::<str>::borrow(self).hash(state);
    }
}

impl<T: Watched> PartialEq for Entry<T> {
    fn eq(&self, other: &Self) -> bool {
        Borrow::<str>::borrow(self) == Borrow::<str>::borrow(other)
    }
}

impl<T: Watched> Eq for Entry<T> {}

impl<T> Default for Table<T> {
    fn default() -> Self {
        Self {
            namespaces: HashMap::new(),
            len: 0,
            deleted: VecDeque::new(),
            list: 0,
            moment: Moment::default(),
            version: 0,
            told: 0,
            listing: false,
            synced: false,
        }
    }
}

impl<T: Watched> Table<T> {
    /// The object of that name.
    pub fn get(&self, name: &ObjectName) -> Option<&Arc<T>> {
        self.find(&name.namespace, &name.name)
    }

    /// The object of that name in that namespace.
    pub fn find(&self, namespace: &str, name: &str) -> Option<&Arc<T>> {
        self.entry(namespace, name).map(|entry| &entry.object)
    }

    /// All objects, in no particular order.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<T>> {
        self.namespaces.values().flatten().map(|entry| &entry.object)
    }

    /// The names of all objects, in no particular order.
    pub fn names(&self) -> impl Iterator<Item = ObjectName> {
        self.iter().map(|object| object.meta().object_name())
    }

    /// The objects of a namespace, in no particular order.
    pub fn of_namespace(&self, namespace: &str) -> impl Iterator<Item = &Arc<T>> {
        self.namespaces.get(namespace).into_iter().flatten().map(|entry| &entry.object)
    }

    /// How many objects there are.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Whether a list was ever complete.
    pub fn synced(&self) -> bool {
        self.synced
    }

    /// Now, for the answer to a request that is sent now.
    pub fn moment(&self) -> Moment {
        self.moment
    }

    /// Whether all deletions since are known. If not, an object that is not here may be one that was deleted
    /// after the request sent then had found it.
    pub fn remembers(&self, since: Moment) -> bool {
        let Moment { unknown, known } = self.moment;
        unknown == since.unknown && known - since.known <= DELETIONS as u64
    }

    /// The version up to which the table holds all that there is to tell, as a watch tells in order; while a list is
    /// under way, that of before.
    pub fn version(&self) -> u64 {
        self.version
    }

    /// The newest version of an object or a deletion that the watch told of: whoever watches the same comes to that
    /// version, while [`Table::version`] also moves when nothing happens.
    pub fn told(&self) -> u64 {
        self.told
    }

    /// Whether a list is under way: objects come in no order then.
    pub fn listing(&self) -> bool {
        self.listing
    }

    /// Takes in an event and tells which objects it changed, as (name, before, after).
    ///
    /// An object older than what is held, or than its deletion, is ignored: a program puts its own writes
    /// into the table at once, and the watch may then still deliver what was true before, or have delivered
    /// what came after.
    pub(crate) fn apply(&mut self, event: Event<T>) -> Vec<Change<T>> {
        match &event {
            Event::Applied(object) => self.told = self.told.max(object.meta().resource_version),
            Event::Deleted(_, version) => self.told = self.told.max(*version),
            Event::Reached(version) => self.version = self.version.max(*version),
            Event::ListBegins => self.listing = true,
            Event::ListEnds => self.listing = false,
            Event::Answered(..) => {}
        }
        if !self.listing {
            self.version = self.version.max(self.told);
        }
        match event {
            Event::ListBegins => {
                self.list = self.list.wrapping_add(1);
                self.moment.unknown += 1;
                self.deleted.clear();
                Vec::new()
            }
            Event::Applied(object) => self.put(object, self.list).into_iter().collect(),
            Event::Answered(object, since) => {
                let list = match self.entry(&object.meta().namespace, &object.meta().name) {
                    Some(entry) => entry.list,
                    // The watch will deliver it if it exists.
                    None if !self.remembers(since) => return Vec::new(),
                    // If a list is under way, whether the object is in it remains to be seen.
                    None => self.list.wrapping_sub(1),
                };
                self.put(object, list).into_iter().collect()
            }
            Event::Deleted(name, version) => self.delete(name, version).into_iter().collect(),
            Event::Reached(_) => Vec::new(),
            Event::ListEnds => {
                self.synced = true;
                self.moment.unknown += 1;
                self.sweep()
            }
        }
    }

    fn entry(&self, namespace: &str, name: &str) -> Option<&Entry<T>> {
        self.namespaces.get(namespace)?.get(name)
    }

    fn put(&mut self, object: T, list: u32) -> Option<Change<T>> {
        let (name, version) = (object.meta().object_name(), object.meta().resource_version);
        if let Some(entry) = self.entry(&name.namespace, &name.name) {
            let held = entry.object.meta();
            if version != 0 && held.resource_version >= version {
                if held.uid == object.meta().uid && entry.list != list {
                    self.insert(Entry { object: entry.object.clone(), list });
                }
                return None;
            }
        } else if version != 0 && self.deleted.iter().any(|(gone, at)| *at >= version && *gone == name) {
            return None;
        }
        let object = Arc::new(object);
        let old = self.insert(Entry { object: object.clone(), list });
        Some(Change { name, old, new: Some(object) })
    }

    fn insert(&mut self, entry: Entry<T>) -> Option<Arc<T>> {
        let namespace = &entry.object.meta().namespace;
        let objects = match self.namespaces.get_mut(namespace) {
            Some(objects) => objects,
            None => self.namespaces.entry(namespace.clone()).or_default(),
        };
        let old = objects.replace(entry);
        self.len += usize::from(old.is_none());
        old.map(|entry| entry.object)
    }

    fn delete(&mut self, name: ObjectName, version: u64) -> Option<Change<T>> {
        let objects = self.namespaces.get_mut(&name.namespace)?;
        let newer = |entry: &Entry<T>| version != 0 && entry.object.meta().resource_version > version;
        if objects.get(&*name.name).is_none_or(newer) {
            return None;
        }
        let old = objects.take(&*name.name).map(|entry| entry.object);
        if objects.is_empty() {
            self.namespaces.remove(&name.namespace);
        }
        self.len -= 1;
        if version == 0 {
            self.moment.unknown += 1;
        } else {
            self.moment.known += 1;
            self.deleted.truncate(DELETIONS - 1);
            self.deleted.push_front((name.clone(), version));
        }
        Some(Change { name, old, new: None })
    }

    /// Removes what the list has not named.
    fn sweep(&mut self) -> Vec<Change<T>> {
        let list = self.list;
        let unnamed = self.namespaces.values_mut().flat_map(|objects| {
            objects.extract_if(move |entry| entry.list != list).map(|entry| Change {
                name: entry.object.meta().object_name(),
                old: Some(entry.object),
                new: None,
            })
        });
        let removed: Vec<_> = unnamed.collect();
        self.len -= removed.len();
        self.namespaces.retain(|_, objects| !objects.is_empty());
        removed
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
    use crate::{Endpoints, Meta};

    fn object(name: &str, version: u64) -> Endpoints {
        let meta = Meta { resource_version: version, ..Meta::named(ObjectName::new("n", name)) };
        Endpoints { meta, ..Endpoints::default() }
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

    fn run(table: &mut Table<Endpoints>, events: impl IntoIterator<Item = Event<Endpoints>>) -> Vec<String> {
        events.into_iter().flat_map(|event| names(&table.apply(event))).collect()
    }

    #[test]
    fn versions_tell_how_far_the_watch_has_come() {
        let mut table = Table::<Endpoints>::default();
        table.apply(Event::ListBegins);
        table.apply(Event::Applied(object("b", 5)));
        assert_eq!((table.version(), table.told()), (0, 5), "what is older than that may still come");
        table.apply(Event::ListEnds);
        assert_eq!(table.version(), 5);
        table.apply(Event::Reached(9));
        assert_eq!((table.version(), table.told()), (9, 5));
        table.apply(Event::Deleted(ObjectName::new("n", "b"), 12));
        let sent = table.moment();
        table.apply(Event::Answered(object("c", 20), sent));
        assert_eq!((table.version(), table.told()), (12, 12), "an answer is not the watch's");
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
        let sent = table.moment();
        assert_eq!(run(&mut table, [Event::Answered(object("b", 2), sent)]), ["+b"]);
        assert_eq!(run(&mut table, [Event::ListBegins, Event::ListEnds]).len(), 2);
        assert_eq!(run(&mut table, [Event::Answered(object("a", 3), sent)]), [] as [&str; 0]);

        run(&mut table, [Event::ListBegins]);
        let sent = table.moment();
        assert_eq!(run(&mut table, [Event::Answered(object("a", 3), sent)]), ["+a"]);
        assert_eq!(run(&mut table, [Event::Answered(object("a", 4), sent)]), ["~a"]);
        assert_eq!(run(&mut table, [Event::ListEnds]), ["-a"], "made and deleted before the list was");
        assert_eq!(run(&mut table, [Event::Answered(object("a", 5), sent)]), [] as [&str; 0]);

        let sent = table.moment();
        let delete = |table: &mut Table<Endpoints>, number: usize| {
            let name = format!("o{number}");
            let gone = Event::Deleted(ObjectName::new("n", &*name), 11);
            run(table, [Event::Applied(object(&name, 10)), gone]);
        };
        for number in 0..DELETIONS {
            delete(&mut table, number);
        }
        assert_eq!(run(&mut table, [Event::Answered(object("o0", 10), sent)]), [] as [&str; 0]);
        assert_eq!(
            run(&mut table, [Event::Answered(object("new", 12), sent)]),
            ["+new"],
            "none was forgotten"
        );
        let sent_later = table.moment();
        delete(&mut table, DELETIONS);
        assert_eq!(run(&mut table, [Event::Answered(object("o0", 10), sent)]), [] as [&str; 0]);
        assert_eq!(run(&mut table, [Event::Answered(object("newer", 12), sent)]), [] as [&str; 0], "one was");
        assert_eq!(run(&mut table, [Event::Answered(object("newer", 12), sent_later)]), ["+newer"]);
    }
}
