//! How many files a program may have open.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tracing::debug;

/// Allows as many open files as there may be: the thousand that a login shell allows are too few for a program that has a
/// socket for each query, client or group.
pub fn allow_many_files() {
    let limit = getrlimit(Resource::Nofile);
    if let Err(error) = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit }) {
        debug!(%error, "the number of open files stays as it is");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_many_files_as_there_may_be() {
        let limit = getrlimit(Resource::Nofile);
        setrlimit(Resource::Nofile, Rlimit { current: limit.maximum.map(|most| most / 2), ..limit }).unwrap();
        allow_many_files();
        assert_eq!(getrlimit(Resource::Nofile).current, limit.maximum);
    }
}
