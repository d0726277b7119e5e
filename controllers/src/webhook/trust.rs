//! Whom the API server trusts: the `caBundle` of webhook configurations
//! (admissionregistration.k8s.io/v1).

use http::{Request, header};
use k8s_openapi::ByteString;
use kube::Client;
use serde_json::{Value, json};
use tracing::info;

/// Lets the API server trust `authorities` (PEM) for all webhooks of a configuration. Only that field is
/// written, so that whoever keeps the rest (helm) does not come across it.
///
/// Returns whether it was so already. A configuration that is not there is nobody's to be trusted.
pub(super) async fn publish(
    client: &Client,
    configuration: &str,
    authorities: &[u8],
) -> Result<bool, kube::Error> {
    let path = format!("/apis/admissionregistration.k8s.io/v1/mutatingwebhookconfigurations/{configuration}");
    let get = built(Request::get(&path), Vec::new());
    let found: Value = match client.request(get).await {
        Ok(found) => found,
        Err(kube::Error::Api(status)) if status.code == 404 => return Ok(true),
        Err(error) => return Err(error),
    };
    let changes = changes(&found, authorities);
    if changes.is_empty() {
        return Ok(true);
    }
    // Fails if it has changed since it was read: by its place alone another webhook could be meant.
    let version = &found["metadata"]["resourceVersion"];
    let test = json!({"op": "test", "path": "/metadata/resourceVersion", "value": version});
    let patch: Vec<_> = std::iter::once(test).chain(changes).collect();
    let patch = Value::Array(patch).to_string().into_bytes();
    let request = Request::patch(format!("{path}?fieldManager=portolan-controllers"))
        .header(header::CONTENT_TYPE, "application/json-patch+json");
    client.request::<Value>(built(request, patch)).await?;
    info!(configuration, "the API server was told whom to trust");
    Ok(false)
}

fn changes(configuration: &Value, authorities: &[u8]) -> Vec<Value> {
    let bundle = json!(ByteString(authorities.to_vec()));
    let webhooks = configuration["webhooks"].as_array().map(Vec::as_slice).unwrap_or_default();
    webhooks
        .iter()
        .enumerate()
        .filter(|(_, webhook)| webhook["clientConfig"]["caBundle"] != bundle)
        .map(|(index, _)| {
            json!({"op": "add", "path": format!("/webhooks/{index}/clientConfig/caBundle"), "value": bundle})
        })
        .collect()
}

fn built(request: http::request::Builder, body: Vec<u8>) -> Request<Vec<u8>> {
    request.body(body).expect("names of configurations are valid in URIs")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_bundles_that_differ_are_written() {
        let found = json!({"webhooks": [
            {"name": "a", "clientConfig": {"caBundle": "bmV3", "service": {"name": "s"}}},
            {"name": "b", "clientConfig": {"service": {"name": "s"}}},
            {"name": "c", "clientConfig": {"caBundle": "b2xk", "url": "https://a.example"}}]});
        let changed = changes(&found, b"new");
        let paths: Vec<_> =
            changed.iter().map(|change| change["path"].as_str().unwrap_or_default()).collect();
        assert_eq!(paths, ["/webhooks/1/clientConfig/caBundle", "/webhooks/2/clientConfig/caBundle"]);
        assert!(changed.iter().all(|change| change["op"] == "add" && change["value"] == "bmV3"));
        assert_eq!(changes(&json!({}), b"new"), Vec::<Value>::new());
    }
}
