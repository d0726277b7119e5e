//! The connection to the API server.

use std::path::Path;
use std::time::Duration;

use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use kube::client::{Body, ConfigExt};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Client, Config};
use tower::{BoxError, ServiceBuilder};
use tracing::info;

use crate::exit::Failure;

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// The file named by `--kubeconfig` cannot be used.
    #[error("--kubeconfig {file}: {reason}")]
    File {
        /// The file.
        file: String,
        /// What is wrong.
        reason: String,
    },
    /// No kubeconfig was named, and there is neither a pod's service account nor `$KUBECONFIG`.
    #[error("no API server: not in a pod, and neither --kubeconfig nor KUBECONFIG names a file ({0})")]
    Nowhere(String),
    /// The settings cannot be used.
    #[error("cannot use the API server's settings: {0}")]
    Settings(String),
}

impl From<ClientError> for Failure {
    fn from(error: ClientError) -> Self {
        Self::usage(error.to_string())
    }
}

/// A client by `--kubeconfig`, else the pod's service account, else `$KUBECONFIG`. It does not connect
/// yet: a server that cannot be reached is a matter of patience, not of settings.
pub async fn connect(kubeconfig: Option<&Path>) -> Result<Client, ClientError> {
    let config = match kubeconfig {
        Some(file) => from_file(file).await?,
        None => match Config::incluster() {
            Ok(config) => config,
            Err(_) => match std::env::var_os("KUBECONFIG").filter(|value| !value.is_empty()) {
                Some(file) => from_file(Path::new(&file)).await?,
                None => return Err(ClientError::Nowhere("KUBERNETES_SERVICE_HOST is not set".to_owned())),
            },
        },
    };
    info!(address = %config.cluster_url, kubeconfig = ?kubeconfig, "API server");
    client(&config).map_err(|error| ClientError::Settings(error.to_string()))
}

/// A client whose dead connections are found out by TCP itself.
///
/// kube's own sets no keepalive: a connection whose other end has vanished without a word (a node without
/// power, a load balancer that forgot it) would stay, and with it a watch that hears nothing, for five
/// minutes. Nor does this one repeat requests by itself: watches and writers do, and ask first whether
/// they still may.
fn client(config: &Config) -> Result<Client, kube::Error> {
    let mut connector = HttpConnector::new();
    connector.enforce_http(false);
    connector.set_nodelay(true);
    connector.set_connect_timeout(Some(CONNECT));
    connector.set_keepalive(Some(KEEPALIVE));
    connector.set_keepalive_interval(Some(KEEPALIVE));
    connector.set_keepalive_retries(Some(2));
    connector.set_tcp_user_timeout(Some(KEEPALIVE * 3));
    let connector = config.rustls_https_connector_with_connector(connector)?;
    let connections = hyper_util::client::legacy::Client::builder(TokioExecutor::new())
        .pool_timer(TokioTimer::new())
        .pool_idle_timeout(IDLE)
        .http1_max_buf_size(BUFFER)
        .build::<_, Body>(connector);
    let service = ServiceBuilder::new()
        .layer(config.base_uri_layer())
        .option_layer(config.auth_layer()?)
        .layer(config.extra_headers_layer()?)
        .map_err(BoxError::from)
        .service(connections);
    Ok(Client::new(service, config.default_namespace.clone()))
}

/// How long a connection may take to be made.
const CONNECT: Duration = Duration::from_secs(5);
/// Silence after which TCP asks whether the other end is there, and pause between such questions. A
/// connection is given up after three of them: about as fast as client-go's HTTP/2 pings (30 s + 15 s).
const KEEPALIVE: Duration = Duration::from_secs(10);
/// How long a connection that nobody uses is kept for the next request.
const IDLE: Duration = Duration::from_secs(15);
/// Most that a connection buffers, in bytes: two TLS records. hyper's own limit is 400 KiB, which a first list fills
/// and which every watch would hold from then on.
const BUFFER: usize = 32 * 1024;

async fn from_file(file: &Path) -> Result<Config, ClientError> {
    let failed = |reason: String| ClientError::File { file: file.display().to_string(), reason };
    // kube's error names the file again; the I/O error alone says what is wrong.
    std::fs::metadata(file).map_err(|error| failed(error.to_string()))?;
    let kubeconfig =
        Kubeconfig::read_from(file).map_err(|error| failed(without_excerpt(&error.to_string())))?;
    Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default())
        .await
        .map_err(|error| failed(error.to_string()))
}

/// A parser's complaint without the lines of the file that it quotes: there may be a token in them.
fn without_excerpt(complaint: &str) -> String {
    let first = complaint.lines().next().unwrap_or_default();
    first.split(" --> ").next().unwrap_or_default().trim().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_malformed_file_is_named_and_its_secrets_are_not() {
        let file = std::env::temp_dir().join(format!("portolan-kubeconfig-test-{}", std::process::id()));
        let text = "apiVersion: v1\nclusters: [{name: c, cluster: {server: https://192.0.2.9:6443\nusers: [{user: {token: s3cret}}]\n";
        std::fs::write(&file, text).unwrap();
        let error = connect(Some(&file)).await.map(|_| ()).unwrap_err().to_string();
        std::fs::remove_file(&file).unwrap();
        assert!(error.contains(file.to_str().unwrap()) && !error.contains("s3cret"), "{error}");
    }
}
