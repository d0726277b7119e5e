//! What a run has made, in a file that is written before each thing is made.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use serde::{Deserialize, Serialize};

use crate::process::Process;

/// What a run has made, or is about to.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Made {
    /// Which start of the machine it belongs to: processes and settings do not outlive that.
    pub(crate) boot: String,
    /// The run itself.
    pub(crate) owner: Option<Process>,
    /// First processes of containers.
    pub(crate) processes: Vec<Process>,
    /// Files on which network namespaces are mounted.
    pub(crate) namespaces: Vec<PathBuf>,
    /// Network links.
    pub(crate) links: Vec<String>,
    /// Settings of the kernel, as they were before.
    pub(crate) settings: Vec<Setting>,
    /// Other files.
    pub(crate) files: Vec<PathBuf>,
}

/// A setting of the kernel.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Setting {
    /// Its file in `/proc/sys`.
    pub(crate) path: PathBuf,
    /// Its value before.
    pub(crate) before: String,
}

impl Made {
    fn is_empty(&self) -> bool {
        *self == Self { boot: self.boot.clone(), owner: self.owner, ..Self::default() }
    }
}

/// The file, and its contents as of now.
#[derive(Debug)]
pub(crate) struct Ledger {
    path: PathBuf,
    made: Mutex<Made>,
}

/// Where the file of a run is.
pub(crate) fn path_in(run_folder: &Path) -> PathBuf {
    run_folder.join("pods.json")
}

/// Which start of the machine this is.
pub(crate) fn boot() -> io::Result<String> {
    Ok(fs::read_to_string("/proc/sys/kernel/random/boot_id")?.trim().to_owned())
}

impl Ledger {
    /// An empty one in the folder of a run.
    pub(crate) fn create(run_folder: &Path) -> io::Result<Self> {
        let ledger = Self { path: path_in(run_folder), made: Mutex::default() };
        ledger.note(|made| {
            made.boot = boot().unwrap_or_default();
            made.owner = Process::own();
        })?;
        Ok(ledger)
    }

    /// What the file of an earlier run says; none if there is no file.
    pub(crate) fn read(run_folder: &Path) -> io::Result<Option<Made>> {
        match fs::read(path_in(run_folder)) {
            Ok(text) => Ok(Some(serde_json::from_slice(&text)?)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Changes the contents and writes them to the disk's cache, at once or not at all.
    pub(crate) fn note(&self, change: impl FnOnce(&mut Made)) -> io::Result<()> {
        let mut made = self.made.lock().unwrap_or_else(PoisonError::into_inner);
        change(&mut made);
        let new = self.path.with_extension("json.new");
        fs::write(&new, serde_json::to_vec_pretty(&*made)?)?;
        fs::rename(&new, &self.path)
    }

    /// The contents.
    pub(crate) fn made(&self) -> Made {
        self.made.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Removes the file if nothing is left; tells whether that was so.
    pub(crate) fn close(&self) -> io::Result<bool> {
        let made = self.made.lock().unwrap_or_else(PoisonError::into_inner);
        if made.is_empty() {
            fs::remove_file(&self.path)?;
        }
        Ok(made.is_empty())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_noted_is_read_again() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(Ledger::read(folder.path()).unwrap(), None);
        let ledger = Ledger::create(folder.path()).unwrap();
        let setting = Setting { path: "/proc/sys/x".into(), before: "0".to_owned() };
        ledger
            .note(|made| {
                made.links.push("a".to_owned());
                made.settings.push(setting.clone());
                made.processes.push(Process { pid: 7, start: 9 });
            })
            .unwrap();
        let read = Ledger::read(folder.path()).unwrap().unwrap();
        assert_eq!(read, ledger.made());
        assert_eq!((read.links.len(), &read.settings[0], read.processes[0].start), (1, &setting, 9));
        assert!(!ledger.close().unwrap());
        ledger.note(|made| *made = Made { owner: made.owner, ..Made::default() }).unwrap();
        assert!(ledger.close().unwrap());
        assert_eq!(Ledger::read(folder.path()).unwrap(), None);
    }
}
