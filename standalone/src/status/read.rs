//! Reads from the API server what a report is made of.

use std::time::Duration;

use http::Request;
use kube::Client;
use portolan_core::{
    ChangeSet, Encoding, Event, IpAddress, Kind, Lease, Service, ServiceCidr, State, Watched,
};
use portolan_runtime::{Failure, explain};
use serde::Deserialize;
use serde_json::value::RawValue;
use tokio::time::timeout;

use super::report::{Reading, Workload};

/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(10);
/// Objects in a page of a list, as kubectl asks for them.
const PAGE: usize = 500;

/// A page of a list; its objects are not decoded yet, so that each does, or does not, by itself.
#[derive(Deserialize)]
struct Page {
    metadata: PageMeta,
    /// Go writes an empty list as `null`.
    items: Option<Vec<Box<RawValue>>>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct PageMeta {
    #[serde(rename = "continue")]
    next: Option<String>,
    remaining_item_count: Option<u64>,
}

/// Everything, kind by kind: addresses before the Services that have them.
///
/// Fails if the server cannot be reached or refuses a list; a kind that it does not serve is noted.
pub(super) async fn all(client: &Client) -> Result<Reading, Failure> {
    let mut reading = Reading::default();
    objects::<IpAddress>(client, &mut reading, "").await?;
    objects::<ServiceCidr>(client, &mut reading, "").await?;
    objects::<Service>(client, &mut reading, "").await?;
    objects::<Lease>(client, &mut reading, "&fieldSelector=metadata.name%3Dportolan-controllers").await?;
    for (kind, plural) in [("Deployment", "deployments"), ("DaemonSet", "daemonsets")] {
        let path = format!("/apis/apps/v1/{plural}");
        match list(client, &path, "&labelSelector=app.kubernetes.io%2Fname%3Dportolan").await? {
            None => reading.unserved.push(kind),
            Some(items) => {
                let workloads: Vec<_> = items
                    .iter()
                    .filter_map(|item| serde_json::from_str::<Workload>(item.get()).ok())
                    .collect();
                reading.unreadable += items.len() - workloads.len();
                reading.workloads.extend(workloads.into_iter().map(|workload| (kind, workload)));
            }
        }
    }
    reading.slices = count(client, &path(Kind::EndpointSlice)).await?;
    Ok(reading)
}

async fn objects<T: Watched>(client: &Client, reading: &mut Reading, selector: &str) -> Result<(), Failure> {
    let Some(items) = list(client, &path(T::KIND), selector).await? else {
        reading.unserved.push(T::KIND.as_str());
        return Ok(());
    };
    for item in items {
        match T::decode(Encoding::Json, item.get().as_bytes()) {
            Ok(object) => take(&mut reading.state, object),
            Err(_) => reading.unreadable += 1,
        }
    }
    Ok(())
}

fn take<T: Watched>(state: &mut State, object: T) {
    state.apply(Event::Applied(object), &mut ChangeSet::default());
}

/// Path of the objects of all namespaces.
fn path(kind: Kind) -> String {
    let root = if kind.api_version().contains('/') { "apis" } else { "api" };
    format!("/{root}/{}/{}", kind.api_version(), kind.plural())
}

/// All objects of a list; `None` if the server does not serve the kind.
async fn list(client: &Client, path: &str, selector: &str) -> Result<Option<Vec<Box<RawValue>>>, Failure> {
    let mut items = Vec::new();
    let mut from = String::new();
    loop {
        let uri = format!("{path}?limit={PAGE}{selector}{from}");
        let Some(page) = page(client, &uri).await? else { return Ok(None) };
        items.extend(page.items.unwrap_or_default());
        match page.metadata.next.filter(|token| !token.is_empty()) {
            // The token is base64 in URL letters.
            Some(token) => from = format!("&continue={token}"),
            None => return Ok(Some(items)),
        }
    }
}

/// How many objects a list has, which costs one of them where the server counts.
async fn count(client: &Client, path: &str) -> Result<Option<u64>, Failure> {
    let Some(first) = page(client, &format!("{path}?limit=1")).await? else { return Ok(None) };
    let seen = first.items.map_or(0, |items| items.len() as u64);
    match (first.metadata.remaining_item_count, first.metadata.next.as_deref()) {
        (Some(rest), _) => Ok(Some(seen + rest)),
        (None, None | Some("")) => Ok(Some(seen)),
        (None, Some(_)) => Ok(list(client, path, "").await?.map(|items| items.len() as u64)),
    }
}

async fn page(client: &Client, uri: &str) -> Result<Option<Page>, Failure> {
    let failed = |why: String| Failure::fatal(format!("{}: {why}", uri.split('?').next().unwrap_or(uri)));
    let request = Request::get(uri).body(Vec::new()).map_err(|error| failed(error.to_string()))?;
    match timeout(PATIENCE, client.request::<Page>(request)).await {
        Ok(Ok(page)) => Ok(Some(page)),
        Ok(Err(kube::Error::Api(status))) if status.code == 404 => Ok(None),
        // It is no matter of that list.
        Ok(Err(error @ (kube::Error::HyperError(_) | kube::Error::Service(_)))) => {
            Err(Failure::fatal(explain(&error)))
        }
        Ok(Err(error)) => Err(failed(explain(&error))),
        Err(_) => Err(failed(format!("the API server did not answer within {} s", PATIENCE.as_secs()))),
    }
}
