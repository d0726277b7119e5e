//! What the simulator knows of one client.

use std::collections::HashMap;

use tokio::time::Instant;

/// One process, as the API sees it.
#[derive(Debug, Default)]
pub(super) struct Client {
    pub(super) number: u64,
    /// It has died; nothing that it sends reaches the API any more.
    pub(super) crashed: bool,
    pub(super) link: Link,
    /// The newest version that it was told of, by the path of the watch.
    newest: HashMap<String, u64>,
}

/// The network between a client and the API.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub enum Link {
    /// It works.
    #[default]
    Open,
    /// Connections break, until then.
    Broken(Instant),
    /// Nothing gets through until then; after that, everything that was sent meanwhile.
    Held(Instant),
}

impl Client {
    pub(super) fn new(number: u64) -> Self {
        Self { number, ..Self::default() }
    }

    /// Takes note of an event that is delivered; tells whether a newer one of another kind came before it.
    pub(super) fn delivers(&mut self, path: &str, version: u64) -> bool {
        match self.newest.get_mut(path) {
            Some(newest) => *newest = version.max(*newest),
            None => {
                self.newest.insert(path.to_owned(), version);
            }
        }
        self.newest.iter().any(|(other, newest)| other != path && *newest > version)
    }
}
