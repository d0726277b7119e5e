//! What a killed run left behind.

use std::fs;
use std::io;
use std::path::Path;
use std::thread;

use nix::sys::signal::Signal;
use portolan_runtime::Failure;

use crate::ledger::{self, Ledger, Made};
use crate::network::{Error, connect, delete_link, remove_namespace};
use crate::process::{Process, kill_namespace};

/// Ends and removes what an earlier run left of the same folder, and names it. Must be called in the
/// network namespace of that run. Fails if another run uses the folder now.
///
/// Processes are known by their id and start, or by the namespace that is mounted in the folder; nothing
/// is chosen by its name alone.
pub fn remove_leftovers(run_folder: &Path) -> Result<Vec<String>, Failure> {
    let failed = |what: &str, error: &dyn std::fmt::Display| {
        Failure::fatal(format!(
            "cannot {what} that an earlier run left (see {}): {error}",
            run_folder.display()
        ))
    };
    let read = Ledger::read(run_folder).map_err(|error| failed("read the state file", &error))?;
    let Some(made) = read else { return Ok(Vec::new()) };
    let same_boot = ledger::boot().is_ok_and(|boot| boot == made.boot);
    if let Some(owner) =
        made.owner.filter(|owner| same_boot && owner.runs() && Some(*owner) != Process::own())
    {
        let folder = run_folder.display();
        return Err(Failure::usage(format!("another run uses the folder {folder}: process {}", owner.pid)));
    }
    let mut removed = Vec::new();
    if same_boot {
        end_processes(&made, &mut removed).map_err(|error| failed("end processes", &error))?;
        remove_links(&made, &mut removed).map_err(|error| failed("remove links", &error))?;
    }
    remove_files(&made, &mut removed).map_err(|error| failed("remove files", &error))?;
    if same_boot {
        for setting in &made.settings {
            fs::write(&setting.path, &setting.before).map_err(|error| failed("restore settings", &error))?;
            removed.push(format!("setting {} (again {})", setting.path.display(), setting.before));
        }
    }
    let state = ledger::path_in(run_folder);
    fs::remove_file(&state).map_err(|error| failed("remove the state file", &error))?;
    Ok(removed)
}

fn end_processes(made: &Made, removed: &mut Vec<String>) -> io::Result<()> {
    for process in made.processes.iter().copied().filter(|process| process.exists()) {
        process.signal_group(Signal::SIGKILL);
        removed.push(format!("process {}", process.pid));
    }
    for namespace in &made.namespaces {
        let inside = crate::process::in_namespace(namespace);
        removed.extend(
            inside
                .iter()
                .filter(|process| !made.processes.contains(process))
                .map(|process: &Process| format!("process {}", process.pid)),
        );
        kill_namespace(namespace)?;
    }
    Ok(())
}

fn remove_files(made: &Made, removed: &mut Vec<String>) -> io::Result<()> {
    for namespace in &made.namespaces {
        if remove_namespace(namespace)? {
            removed.push(format!("network namespace {}", namespace.display()));
        }
    }
    for file in &made.files {
        match fs::remove_file(file) {
            Ok(()) => removed.push(format!("file {}", file.display())),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// On a thread and runtime of its own: the caller may be part of a runtime already.
fn remove_links(made: &Made, removed: &mut Vec<String>) -> Result<(), String> {
    if made.links.is_empty() {
        return Ok(());
    }
    let links = made.links.clone();
    let thread = thread::spawn(move || -> Result<Vec<String>, String> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(|error| error.to_string())?;
        let outcome: Result<Vec<String>, Error> = runtime.block_on(async {
            let netlink = connect()?;
            let mut gone = Vec::new();
            for link in links {
                if delete_link(&netlink, &link).await? {
                    gone.push(format!("link {link}"));
                }
            }
            Ok(gone)
        });
        outcome.map_err(|error| error.to_string())
    });
    removed.extend(thread.join().map_err(|_| "its thread ended".to_owned())??);
    Ok(())
}
