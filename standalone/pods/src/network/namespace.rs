//! Network namespaces, kept by files on which they are mounted.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sched::{CloneFlags, unshare};
use rtnetlink::Handle;
use tokio::sync::oneshot;

use super::Error;

/// Makes a namespace and connects to the kernel in it.
pub(super) async fn create(file: PathBuf) -> Result<Handle, Error> {
    let (answer, answered) = oneshot::channel();
    let runtime = tokio::runtime::Handle::current();
    // A thread that has changed its namespace is of no use to others: it ends here.
    std::thread::spawn(move || {
        let _runtime = runtime.enter();
        let made = make(&file).map_err(|error| Error::System(format!("make {}", file.display()), error));
        // Both stay in the namespace in which they were opened.
        let _ = answer.send(made.and_then(|()| super::connect()));
    });
    let ended = || Error::System("make a namespace".to_owned(), io::Error::other("its thread ended"));
    answered.await.map_err(|_| ended())?
}

fn make(file: &Path) -> io::Result<()> {
    unshare(CloneFlags::CLONE_NEWNET)?;
    fs::File::create(file)?;
    mount(Some("/proc/thread-self/ns/net"), file, None::<&str>, MsFlags::MS_BIND, None::<&str>)?;
    for who in ["all", "default"] {
        // The node tells a pod that reaches itself through it of a shorter way, which is not to be used.
        // Where /proc/sys is read-only, a pod's address without a network makes it ignore that too.
        let _ = fs::write(format!("/proc/sys/net/ipv4/conf/{who}/accept_redirects"), "0");
    }
    Ok(())
}

/// Removes a namespace's file, and with it the namespace once its last process has ended. Tells whether
/// it was there.
pub(crate) fn remove(file: &Path) -> io::Result<bool> {
    // Not mounted (any more): the file alone is left.
    let _ = umount2(file, MntFlags::MNT_DETACH);
    match fs::remove_file(file) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}
