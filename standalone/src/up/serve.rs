//! The API on a socket, for kubectl and whoever else is root here.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::time::Duration;

use axum::Router;
use axum::serve::Listener;
use portolan_runtime::Failure;
use tokio::net::{TcpListener, TcpStream};

use super::connection;

/// The socket, bound to a free port of the machine itself.
pub(crate) async fn bind() -> Result<TcpListener, Failure> {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
        .await
        .map_err(|error| Failure::fatal(format!("cannot listen on {}: {error}", Ipv4Addr::LOCALHOST)))
}

/// Serves until it is dropped.
pub(crate) async fn serve(listener: TcpListener, router: Router) {
    if let Err(error) = axum::serve(RootOnly(listener), router).await {
        tracing::error!(%error, "the API is not served any more");
    }
}

/// Takes connections of root's processes alone: who may create a pod runs commands as root. A token would
/// do as well, but kubectl sends none over plain HTTP.
struct RootOnly(TcpListener);

impl Listener for RootOnly {
    type Io = TcpStream;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (TcpStream, SocketAddr) {
        loop {
            let accepted = self.0.accept().await;
            let (stream, peer) = match accepted {
                Ok(accepted) => accepted,
                Err(error) => {
                    tracing::warn!(%error, "cannot take a connection to the API");
                    tokio::time::sleep(Duration::from_millis(100)).await;
                    continue;
                }
            };
            let owner = stream.local_addr().ok().and_then(|local| connection::owner(peer, local));
            if owner == Some(0) {
                return (stream, peer);
            }
            tracing::warn!(%peer, user = owner, "connection to the API refused: it is not root's");
        }
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.0.local_addr()
    }
}

/// Writes a kubeconfig for the API; only its owner can read it.
pub(crate) fn write_kubeconfig(file: &Path, api: SocketAddr) -> Result<(), Failure> {
    use std::io::Write;
    use std::os::unix::fs::OpenOptionsExt;

    let text = format!(
        "apiVersion: v1\nkind: Config\ncurrent-context: portolan-up\n\
         clusters: [{{name: portolan-up, cluster: {{server: \"http://{api}\"}}}}]\n\
         users: [{{name: portolan-up, user: {{}}}}]\n\
         contexts: [{{name: portolan-up, context: {{cluster: portolan-up, user: portolan-up, namespace: default}}}}]\n"
    );
    let open = std::fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(file);
    open.and_then(|mut file| file.write_all(text.as_bytes()))
        .map_err(|error| Failure::fatal(format!("cannot write {}: {error}", file.display())))
}
