//! Asking a running container whether it is ready.

use std::net::{IpAddr, SocketAddr};

use tokio::time::{sleep, timeout};
use tracing::info;

use super::Place;
use crate::environment::Variables;
use crate::pod::Run;
use crate::probe::{Tracker, check_http, check_tcp};
use crate::spec::{Container, Exec, Probe};

/// Asks until dropped, and keeps the container's readiness up to date.
pub(super) async fn follow(run: &Run, place: Place, container: &Container, variables: &Variables) {
    let Some(probe) = &container.readiness_probe else { return std::future::pending().await };
    let mut tracker = Tracker::new(probe);
    let mut before = false;
    sleep(probe.initial_delay()).await;
    loop {
        let answer = match timeout(probe.timeout(), ask(run, container, probe, variables)).await {
            Ok(answer) => answer,
            Err(_) => Err(format!("no answer within {} s", probe.timeout().as_secs())),
        };
        let ready = tracker.record(answer.is_ok());
        if ready != before {
            let why = answer.err().unwrap_or_default();
            info!(pod = run.name(), container = container.name, ready, why, "readiness");
            run.update(place, |state| state.ready = ready);
            before = ready;
        }
        sleep(probe.period()).await;
    }
}

async fn ask(run: &Run, container: &Container, probe: &Probe, variables: &Variables) -> Result<(), String> {
    let address = |host: &Option<String>, port: u16| {
        let host = host.as_deref().filter(|host| !host.is_empty()).map(str::parse::<IpAddr>);
        match host {
            Some(Ok(host)) => Ok(SocketAddr::new(host, port)),
            Some(Err(error)) => Err(format!("host of the probe: {error}")),
            None => Ok(SocketAddr::new(run.address(), port)),
        }
    };
    if let Some(exec) = &probe.exec {
        ask_process(run, container, exec, variables).await
    } else if let Some(get) = &probe.http_get {
        check_http(get, address(&get.host, get.port.resolve(container)?)?).await
    } else if let Some(tcp) = &probe.tcp_socket {
        check_tcp(address(&tcp.host, tcp.port.resolve(container)?)?).await
    } else {
        Err("only httpGet, tcpSocket and exec probes are supported by portolan up".to_owned())
    }
}

async fn ask_process(
    run: &Run,
    container: &Container,
    exec: &Exec,
    variables: &Variables,
) -> Result<(), String> {
    if exec.command.is_empty() {
        return Err("the probe has no command".to_owned());
    }
    let order = run.order(container, exec.command.clone(), variables.clone(), None);
    let mut child = run.launch(order).await.map_err(|error| error.to_string())?;
    let status = child.wait().await.map_err(|error| error.to_string())?;
    if status.success() { Ok(()) } else { Err(format!("the probe's command ended with {status}")) }
}
