//! Requests to the API server.

use std::time::Duration;

use http::request::Builder;
use kube::Client;
use kube::client::Body;
use portolan_runtime::{Answer, explain};

/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(30);

/// The answer to a request that succeeded; else why not, in one line.
pub(crate) async fn call(client: &Client, request: Builder, body: Vec<u8>) -> Result<Answer, String> {
    let request = request.body(Body::from(body)).map_err(|error| error.to_string())?;
    let answer = async { Answer::read(client.send(request).await?).await };
    let answer = tokio::time::timeout(PATIENCE, answer).await;
    let answer = answer.map_err(|_| format!("no answer in {} s", PATIENCE.as_secs()))?;
    let answer = answer.map_err(|error| explain(&error))?;
    if answer.status.is_success() {
        Ok(answer)
    } else {
        Err(format!("the API server answered {}: {}", answer.status.as_u16(), answer.failure().message))
    }
}
