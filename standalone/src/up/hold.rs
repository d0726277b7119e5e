//! One `portolan up` at a time: in a run folder, and in a network namespace, whose links and tables it has.

use std::fs::{self, DirBuilder, File, TryLockError};
use std::io;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::os::unix::net::{SocketAddr, UnixListener};
use std::path::{Path, PathBuf};

use portolan_runtime::Failure;

/// Abstract sockets belong to a network namespace, vanish with their process and leave no file behind.
const SOCKET: &[u8] = b"portolan-up";
/// The kubeconfig in the run folder.
pub(crate) const KUBECONFIG: &str = "kubeconfig";
/// The file that makes a folder a run folder.
const MARK: &str = "portolan-up";

/// The right to run, until it is released or the process ends, however it ends.
pub(crate) struct Hold {
    folder: PathBuf,
    /// Both are held by being open.
    _lock: File,
    _socket: UnixListener,
}

impl Hold {
    /// Makes the folder and takes the right to use it.
    pub(crate) fn take(folder: &Path) -> Result<Self, Failure> {
        let wrong = |why: String| Failure::usage(format!("--run-folder {}: {why}", folder.display()));
        let socket = SocketAddr::from_abstract_name(SOCKET)
            .and_then(|address| UnixListener::bind_addr(&address))
            .map_err(|error| match error.kind() {
                io::ErrorKind::AddrInUse => {
                    Failure::usage("another portolan up is running on this machine; only one can at a time")
                }
                _ => {
                    Failure::fatal(format!("cannot make sure that no other portolan up is running: {error}"))
                }
            })?;
        let folder = std::path::absolute(folder).map_err(|error| wrong(error.to_string()))?;
        let lock = make(&folder).map_err(|error| wrong(error.to_string()))?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                return Err(wrong("another portolan up is running with this folder".to_owned()));
            }
            Err(TryLockError::Error(error)) => return Err(wrong(error.to_string())),
        }
        // The run before may have removed the folder between our opening and locking it.
        let same =
            fs::metadata(&folder).is_ok_and(|now| lock.metadata().is_ok_and(|ours| now.ino() == ours.ino()));
        if !same {
            return Err(wrong("another portolan up has just removed it; try again".to_owned()));
        }
        check(&folder).map_err(wrong)?;
        Ok(Self { folder, _lock: lock, _socket: socket })
    }

    /// The folder, as an absolute path.
    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }

    /// Removes what belongs to us of the folder, and gives back the right to run.
    pub(crate) fn release(self) -> Result<(), Failure> {
        remove(&self.folder)
            .map_err(|error| Failure::fatal(format!("cannot remove {}: {error}", self.folder.display())))
    }
}

/// Never removes what it does not know: whoever puts a file of their own there finds it again.
fn remove(folder: &Path) -> io::Result<()> {
    let logs = folder.join("logs");
    for log in fs::read_dir(&logs).into_iter().flatten() {
        let log = log?.path();
        if log.extension().is_some_and(|extension| extension == "log") {
            fs::remove_file(log)?;
        }
    }
    for file in [KUBECONFIG, MARK] {
        harmless(fs::remove_file(folder.join(file)))?;
    }
    harmless(fs::remove_dir(logs))?;
    harmless(fs::remove_dir(folder))?;
    if folder.exists() {
        tracing::warn!(folder = %folder.display(), "left in place: there are files of somebody else in it");
    }
    Ok(())
}

fn harmless(outcome: io::Result<()>) -> io::Result<()> {
    match outcome {
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::DirectoryNotEmpty) => {
            Ok(())
        }
        other => other,
    }
}

/// The folder, open. Nobody but root has any business in it.
fn make(folder: &Path) -> io::Result<File> {
    DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
    let open = File::open(folder)?;
    if !open.metadata()?.is_dir() {
        return Err(io::Error::from(io::ErrorKind::NotADirectory));
    }
    Ok(open)
}

/// Tells a run folder from any other. The folder is removed at the end, so it must be ours or empty.
fn check(folder: &Path) -> Result<(), String> {
    let mark = folder.join(MARK);
    let entries = fs::read_dir(folder).map_err(|error| error.to_string())?.count();
    if entries > 0 && !mark.exists() {
        return Err("is neither empty nor of portolan up; it would be removed at the end".to_owned());
    }
    fs::write(&mark, "").map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_ours_is_neither_taken_nor_removed() {
        let parent = tempfile::tempdir().unwrap();
        let folder = parent.path().join("run");
        make(&folder).unwrap();
        assert_eq!(fs::metadata(&folder).unwrap().mode() & 0o777, 0o700);
        assert_eq!(check(&folder), Ok(()));
        assert_eq!(check(&folder), Ok(()), "a run that was killed leaves its mark");
        fs::create_dir(folder.join("logs")).unwrap();
        for file in [KUBECONFIG, "logs/default_a_c.log", "mine"] {
            fs::write(folder.join(file), "").unwrap();
        }
        remove(&folder).unwrap();
        let left: Vec<_> = fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(left, ["mine"]);
        assert!(check(&folder).unwrap_err().contains("neither empty"));
        fs::remove_file(folder.join("mine")).unwrap();
        remove(&folder).unwrap();
        assert!(!folder.exists());
    }
}
