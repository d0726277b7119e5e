//! One container: started, asked whether it is ready, started again when it ends.

use std::fs::OpenOptions;
use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;
use std::time::Duration;

use jiff::Timestamp;
use nix::sys::signal::Signal;
use portolan_runtime::Backoff;
use tokio::process::Child;
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::environment::{Variables, expand};
use crate::launcher::Order;
use crate::pod::Run;
use crate::process::{Process, kill_session};
use crate::spec::{Container, RestartPolicy};
use crate::status::{ContainerState, Ended, Now};

mod readiness;

/// A container that ran this long is not one that fails at once: its pauses begin anew.
const STABLE: Duration = Duration::from_secs(60);

/// Which container of the pod.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    Init(usize),
    Main(usize),
}

/// Why a container is not started.
enum Refusal {
    /// It never will be: its spec would have to change.
    Forever(&'static str, String),
    /// It may work later.
    Now(&'static str, String),
}

/// Runs a container until it has ended for good or `stop`; tells whether it ended well.
pub(crate) async fn supervise(
    run: &Run,
    place: Place,
    policy: RestartPolicy,
    stop: &CancellationToken,
) -> bool {
    let container = run.container(place);
    let mut backoff = Backoff::new(Duration::from_secs(1), Duration::from_secs(30));
    while !stop.is_cancelled() {
        let began = Instant::now();
        match once(run, place, container, stop).await {
            Ok(ended) => {
                let succeeded = ended.code == 0;
                let done = !policy.restarts(succeeded) || stop.is_cancelled();
                run.update(place, |state| {
                    state.ready = false;
                    state.done = done;
                    state.now = Now::Ended(ended);
                });
                if done {
                    return succeeded;
                }
                if began.elapsed() >= STABLE {
                    backoff.reset();
                }
            }
            Err(refusal) => {
                let (Refusal::Forever(reason, message) | Refusal::Now(reason, message)) = &refusal;
                warn!(pod = run.name(), container = container.name, "{message}");
                let now = Now::Waiting { reason: (*reason).to_owned(), message: message.clone() };
                run.update(place, |state| state.now = now);
                if matches!(refusal, Refusal::Forever(..)) {
                    stop.cancelled().await;
                    return false;
                }
            }
        }
        let pause = backoff.next_pause();
        tokio::select! {
            () = sleep(pause / 4) => run.update(place, wait_to_restart),
            () = stop.cancelled() => break,
        }
        tokio::select! {
            () = sleep(pause - pause / 4) => {}
            () = stop.cancelled() => break,
        }
    }
    false
}

/// After a moment in which its end can be seen, a container waits.
fn wait_to_restart(state: &mut ContainerState) {
    if let Now::Ended(ended) = &state.now {
        state.last = Some(ended.clone());
        let message = format!("back-off before container {} starts again", state.name);
        state.now = Now::Waiting { reason: "CrashLoopBackOff".to_owned(), message };
    }
}

/// Starts a container and waits for its end.
async fn once(
    run: &Run,
    place: Place,
    container: &Container,
    stop: &CancellationToken,
) -> Result<Ended, Refusal> {
    let (mut child, variables) = start(run, container).await?;
    let started = Timestamp::now();
    let pid = child.id().and_then(|pid| i32::try_from(pid).ok()).unwrap_or_default();
    let process = Process::find(pid);
    run.note_process(process, true);
    info!(pod = run.name(), container = container.name, pid, "started");
    run.update(place, |state| {
        if state.last.is_some() || matches!(state.now, Now::Ended(_)) {
            state.restarts += 1;
        }
        if let Now::Ended(ended) = &state.now {
            state.last = Some(ended.clone());
        }
        state.now = Now::Running { since: started };
        state.ready = container.readiness_probe.is_none();
    });
    let asking = readiness::follow(run, place, container, &variables);
    let status = tokio::select! {
        status = child.wait() => status,
        () = asking => child.wait().await,
        () = stop.cancelled() => {
            // The process is kept until it is waited for, so the signal meets nobody else.
            if let Some(process) = process {
                process.signal_group(Signal::SIGTERM);
            }
            child.wait().await
        }
    };
    // In a real container nothing survives the first process.
    kill_session(pid, run.namespace());
    run.note_process(process, false);
    let code = status.map_or(-1, code);
    info!(pod = run.name(), container = container.name, code, "ended");
    Ok(Ended { code, started, finished: Timestamp::now() })
}

async fn start(run: &Run, container: &Container) -> Result<(Child, Variables), Refusal> {
    if container.command.is_empty() {
        let image = &container.image;
        return Err(Refusal::Forever(
            "NoCommand",
            format!(
                "portolan up runs `command` on this machine; image {image} has none (container {})",
                container.name
            ),
        ));
    }
    let variables =
        run.variables(container).await.map_err(|why| Refusal::Forever("CreateContainerConfigError", why))?;
    let command: Vec<_> = container
        .command
        .iter()
        .chain(&container.args)
        .map(|word| expand(word, |name| variables.get(name).cloned()))
        .collect();
    let path = run.log(&container.name);
    let output = OpenOptions::new().create(true).append(true).open(&path).map_err(|error| {
        Refusal::Now("RunContainerError", format!("cannot write {}: {error}", path.display()))
    })?;
    let order: Order = run.order(container, command, variables.clone(), Some(output));
    let child = run.launch(order).await.map_err(|error| {
        Refusal::Now("RunContainerError", format!("cannot start container {}: {error}", container.name))
    })?;
    Ok((child, variables))
}

fn code(status: ExitStatus) -> i32 {
    status.code().or_else(|| status.signal().map(|signal| 128 + signal)).unwrap_or(-1)
}
