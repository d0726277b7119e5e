//! Why a watch fails, and how that is told.

use std::time::Duration;

use portolan_core::Undecodable;

use super::stream::Broken;
use crate::answer;

/// Why a watch failed.
#[derive(Debug, thiserror::Error)]
pub(super) enum Error {
    #[error("{}", explain(.0))]
    Request(#[from] kube::Error),
    #[error("cannot build the request: {0}")]
    Build(#[from] http::Error),
    #[error("the API server said nothing for {} s", .0.as_secs())]
    Silent(Duration),
    #[error("the list does not decode: {0}")]
    Decode(Undecodable),
    #[error(transparent)]
    Broken(#[from] Broken),
    #[error("the API server does not know {0}: its CustomResourceDefinition is not installed")]
    NotServed(String),
    #[error("the connection ended in the middle of a list")]
    ListCut,
    #[error("the API server answered {code}: {message}")]
    Server { code: i32, message: String },
}

impl Error {
    /// The pause that the server asks for.
    pub(super) fn retry_after(&self) -> Duration {
        match self {
            Self::Request(error) => answer::retry_after(error),
            _ => Duration::ZERO,
        }
    }
}

/// A request's failure in one line; kube's own text repeats the whole status.
pub fn explain(error: &kube::Error) -> String {
    match error {
        kube::Error::Api(status) if status.code == 401 => {
            "the API server does not accept these credentials (401 Unauthorized)".to_owned()
        }
        kube::Error::Api(status) => format!("the API server answered {}: {}", status.code, status.message),
        other => {
            let mut source: &dyn std::error::Error = other;
            while let Some(next) = source.source() {
                source = next;
            }
            format!("cannot reach the API server: {source}")
        }
    }
}
