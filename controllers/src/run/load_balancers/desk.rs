//! What is remembered of each Service, in this process.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use portolan_core::{Node, ObjectName, Table};
use portolan_runtime::Queue;
use tokio::time::Instant;

use crate::loadbalancer::{Memory, NodeSet, Outcome};

/// What is remembered of each Service, and who is to be looked at.
pub(super) struct Desk {
    pub(super) queue: Queue<ObjectName>,
    inner: Mutex<Inner>,
}

#[derive(Default)]
struct Inner {
    files: HashMap<ObjectName, File>,
    woken: HashSet<ObjectName>,
    nodes: Arc<NodeSet>,
    /// How often this process came to lead.
    term: u64,
}

/// What is remembered of one Service.
#[derive(Clone, Debug, Default)]
pub(super) struct File {
    pub(super) memory: Memory,
    /// Calls that failed in a row.
    pub(super) failures: u32,
    /// When what did not work is to be tried again.
    pub(super) due: Option<Instant>,
    term: u64,
}

impl File {
    /// Nothing that was remembered can be relied on: others may have led meanwhile.
    fn doubt(&mut self) {
        self.memory.confirmed = None;
        match &mut self.memory.called {
            Some(called) if called.outcome != Outcome::Removed => called.outcome = Outcome::Unsure,
            called => *called = None,
        }
        (self.failures, self.due) = (0, None);
    }

    fn is_empty(&self) -> bool {
        self.memory == Memory::default()
    }
}

impl Desk {
    pub(super) fn new(queue: Queue<ObjectName>) -> Self {
        Self { queue, inner: Mutex::default() }
    }

    /// Has the provider called for a Service again.
    pub(super) fn wake(&self, name: &ObjectName) {
        self.lock().woken.insert(name.clone());
        self.queue.add(name.clone());
    }

    /// Takes the file of a Service that is to be worked on.
    pub(super) fn open(&self, name: &ObjectName) -> File {
        let mut inner = self.lock();
        let woken = inner.woken.remove(name);
        let mut file =
            inner.files.get(name).cloned().unwrap_or_else(|| File { term: inner.term, ..File::default() });
        let due = file.due.is_some_and(|due| due <= Instant::now());
        if let Some(called) = file.memory.called.as_mut().filter(|called| called.outcome != Outcome::Removed)
            && (woken || due)
        {
            called.outcome = Outcome::Unsure;
            file.due = None;
        }
        file
    }

    /// Puts a file back.
    pub(super) fn close(&self, name: &ObjectName, mut file: File) {
        let mut inner = self.lock();
        if file.term != inner.term {
            file.doubt();
            file.term = inner.term;
        }
        if file.is_empty() {
            inner.files.remove(name);
        } else {
            inner.files.insert(name.clone(), file);
        }
    }

    /// Whether anything is remembered of a Service.
    pub(super) fn knows(&self, name: &ObjectName) -> bool {
        self.lock().files.contains_key(name)
    }

    /// This process leads from now on. Returns the Services that something is remembered of.
    pub(super) fn begin_term(&self) -> Vec<ObjectName> {
        let mut inner = self.lock();
        inner.term += 1;
        let term = inner.term;
        for file in inner.files.values_mut() {
            file.doubt();
            file.term = term;
        }
        inner.files.keys().cloned().collect()
    }

    /// The nodes of load balancers.
    pub(super) fn nodes(&self) -> Arc<NodeSet> {
        self.lock().nodes.clone()
    }

    /// Computes the nodes anew.
    pub(super) fn set_nodes(&self, nodes: &Table<Node>) {
        let set = NodeSet::of(nodes.iter());
        let mut inner = self.lock();
        if *inner.nodes != set {
            inner.nodes = Arc::new(set);
        }
    }

    /// Services that a load balancer is made for, or may be, with other nodes than those there are now.
    pub(super) fn behind_the_nodes(&self) -> Vec<ObjectName> {
        let inner = self.lock();
        let behind = inner.files.iter().filter(|(_, file)| {
            let called = file.memory.called.as_ref();
            called.is_some_and(|called| {
                !Arc::ptr_eq(&called.nodes, &inner.nodes) && called.nodes != inner.nodes
            })
        });
        behind.map(|(name, _)| name.clone()).collect()
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
