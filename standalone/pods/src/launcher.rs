//! The thread that starts processes.
//!
//! Containers are to die with `portolan up` even if that is killed. The kernel ties them to the thread
//! that started them, and threads of the runtime come and go, so one thread of its own starts them all.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs::File;
use std::io;
use std::path::PathBuf;
use std::process::Stdio;
use std::sync::mpsc;
use std::thread;

use tokio::process::{Child, Command};
use tokio::runtime::Handle;
use tokio::sync::oneshot;

use crate::enter::Launch;

/// A process to be started.
#[derive(Debug)]
pub(crate) struct Order {
    pub(crate) launch: Launch,
    pub(crate) variables: BTreeMap<String, String>,
    pub(crate) folder: Option<PathBuf>,
    /// Where its output goes; without one, nowhere.
    pub(crate) output: Option<File>,
}

/// Starts processes on a thread that lives as long as it does.
#[derive(Clone, Debug)]
pub(crate) struct Launcher {
    orders: mpsc::Sender<(Order, oneshot::Sender<io::Result<Child>>)>,
}

impl Launcher {
    /// Starts the thread. `program` is a program with first arguments that ends up in `pod_exec`.
    pub(crate) fn start(program: Vec<OsString>) -> io::Result<Self> {
        let (orders, received) = mpsc::channel::<(Order, oneshot::Sender<io::Result<Child>>)>();
        let runtime = Handle::current();
        thread::Builder::new().name("launcher".to_owned()).spawn(move || {
            // Needed to wait for the processes.
            let _runtime = runtime.enter();
            for (order, answer) in received {
                // Nobody waits any more: the process is killed as its handle is dropped.
                let _ = answer.send(start(&program, order));
            }
        })?;
        Ok(Self { orders })
    }

    /// Starts a process; it is killed when its handle is dropped.
    pub(crate) async fn launch(&self, order: Order) -> io::Result<Child> {
        let (answer, answered) = oneshot::channel();
        let gone = || io::Error::other("the launcher's thread has ended");
        self.orders.send((order, answer)).map_err(|_| gone())?;
        answered.await.map_err(|_| gone())?
    }
}

fn start(program: &[OsString], order: Order) -> io::Result<Child> {
    let (first, arguments) = program.split_first().ok_or_else(|| io::Error::other("no launcher is set"))?;
    let mut command = Command::new(first);
    command.args(arguments).args(order.launch.arguments()).env_clear().envs(order.variables);
    command.stdin(Stdio::null()).kill_on_drop(true);
    if let Some(folder) = order.folder {
        command.current_dir(folder);
    }
    match order.output {
        Some(output) => command.stdout(output.try_clone()?).stderr(output),
        None => command.stdout(Stdio::null()).stderr(Stdio::null()),
    };
    command.spawn()
}
