//! The connection to the API server.

use std::path::Path;
use std::time::Duration;

use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Client, Config};
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
    let mut config = match kubeconfig {
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
    config.connect_timeout = Some(Duration::from_secs(5));
    // Watches and writers try again by themselves, and ask first whether they still may.
    config.default_retry = false;
    Client::try_from(config).map_err(|error| ClientError::Settings(error.to_string()))
}

async fn from_file(file: &Path) -> Result<Config, ClientError> {
    let failed = |reason: String| ClientError::File { file: file.display().to_string(), reason };
    // kube's error names the file again; the I/O error alone says what is wrong.
    std::fs::metadata(file).map_err(|error| failed(error.to_string()))?;
    let kubeconfig = Kubeconfig::read_from(file).map_err(|error| failed(error.to_string()))?;
    Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default())
        .await
        .map_err(|error| failed(error.to_string()))
}
