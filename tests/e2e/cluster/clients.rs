//! Traffic that runs beside a case.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use portolan_e2e::{Background, Cluster};

use crate::workload::address;

/// Clients that go on for a period, as the flags of the test server say it.
pub(crate) struct Clients(Vec<Background>);

impl Clients {
    /// Traffic of every kind, from a pod on each node: an established connection, an established flow, and new connections by
    /// address.
    pub(crate) fn start(cluster: &Cluster, period: &[&str]) -> Result<Self> {
        let target = address(cluster, "my-svc")?;
        let (page, echo) = (format!("http://{target}:80/"), format!("{target}:81"));
        let datagram = format!("{target}:82");
        let mut clients = Vec::new();
        for pod in ["client-1", "client-2"] {
            for (command, interval) in [
                (["load", &page].as_slice(), "5ms"),
                (&["flow", "tcp", &echo], "20ms"),
                (&["flow", "udp", &datagram], "50ms"),
            ] {
                let arguments = [command, period, &["--interval", interval]].concat();
                clients.push(cluster.start_client(pod, &arguments)?);
            }
        }
        Ok(Self(clients))
    }

    /// As `start`, and new connections by name.
    pub(crate) fn start_with_names(cluster: &Cluster, period: &[&str]) -> Result<Self> {
        let mut clients = Self::start(cluster, period)?;
        for pod in ["client-1", "client-2"] {
            let page = "http://my-svc.e2e.svc.cluster.local:80/";
            let arguments = [&["load", page], period, &["--interval", "20ms"]].concat();
            clients.0.push(cluster.start_client(pod, &arguments)?);
        }
        Ok(clients)
    }

    /// Whether none has ended yet.
    fn all_run(&mut self) -> Result<bool> {
        Ok(self.0.iter_mut().map(Background::runs).collect::<Result<Vec<_>>>()?.into_iter().all(|runs| runs))
    }

    /// Waits for their end; the number of answers. Fails if one is missing.
    pub(crate) fn all_answered(self) -> Result<u64> {
        let mut answered = 0;
        for client in self.0 {
            answered += client.finish()?.all_answered()?.ok;
        }
        Ok(answered)
    }
}

/// Longer than a rollout of all three parts may take.
const LONGEST: &str = "120s";
/// So long the traffic goes on after a change: what it has left behind shows then.
const AFTER: Duration = Duration::from_secs(5);

/// A change while new connections by name, and all other traffic, go on; none may be missing.
pub(crate) fn under_traffic(
    cluster: &Cluster,
    what: &str,
    change: impl FnOnce() -> Result<()>,
) -> Result<()> {
    let mut clients = Clients::start_with_names(cluster, &["--duration", LONGEST, "--until-input-ends"])?;
    let began = Instant::now();
    change().with_context(|| what.to_owned())?;
    let took = began.elapsed();
    std::thread::sleep(AFTER);
    let all_run = clients.all_run()?;
    let answered = clients.all_answered().with_context(|| what.to_owned())?;
    ensure!(all_run, "{what} took longer than the traffic: {} s", took.as_secs());
    println!("    {what} in {:.1} s: {answered} answers, none missing", took.as_secs_f64());
    Ok(())
}
