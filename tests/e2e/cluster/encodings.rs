//! The two encodings in which the API server answers.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use portolan_core::{
    Encoding, EndpointSlice, Endpoints, List, Namespace, Node, ObjectName, Pod, Service, Watched,
};
use portolan_e2e::{Cluster, repository, wait_until};
use serde_json::Value;

/// Every object of the cluster, and varied ones of every kind, read the same in JSON and in protobuf, and those that we
/// write are written the same.
pub(crate) fn agree(cluster: &Cluster) -> Result<()> {
    let folder = repository()?.join("core/tests/encodings");
    let file = |name: &str| folder.join(name).display().to_string();
    cluster.kubectl(&["apply", "--server-side", "-f", &file("objects.yaml")])?;
    cluster.kubectl(&["apply", "--server-side", "--subresource=status", "-f", &file("status.yaml")])?;
    cluster.kubectl(&["delete", "-n", "encodings", "pod", "full", "--wait=false"])?;
    let lists = [
        pair::<Pod>,
        pair::<Service>,
        pair::<Endpoints>,
        pair::<EndpointSlice>,
        pair::<Node>,
        pair::<Namespace>,
    ];
    for (compare, least) in lists.into_iter().zip([3, 4, 2, 3, 1, 1]) {
        // Kubelets and controllers may write between the two lists.
        wait_until(Duration::from_secs(20), || compare(cluster, least))?;
    }
    written::<Endpoints>(cluster, Endpoints::to_protobuf, &["/subsets"])?;
    written::<EndpointSlice>(cluster, EndpointSlice::to_protobuf, &["/addressType", "/endpoints", "/ports"])?;
    let finalizers = r#"{"metadata": {"finalizers": null}}"#;
    cluster.kubectl(&["patch", "-n", "encodings", "pod", "full", "--type=merge", "--patch", finalizers])?;
    cluster.kubectl(&["delete", "-n", "encodings", "pods", "--all", "--force", "--grace-period=0"])?;
    cluster.kubectl(&["delete", "namespace/encodings", "node/encodings"]).map(|_| ())
}

fn pair<T: Watched + PartialEq>(cluster: &Cluster, least: usize) -> Result<()> {
    let json = list::<T>(cluster, Encoding::Json, "application/json")?;
    let protobuf = list::<T>(cluster, Encoding::Protobuf, Encoding::ACCEPT)?;
    ensure!(json.len() >= least, "{} objects of kind {}", json.len(), T::KIND);
    ensure!(json.keys().eq(protobuf.keys()), "lists of {} at different times", T::KIND);
    for (name, object) in &json {
        let other = &protobuf[name];
        ensure!(
            object.meta().resource_version == other.meta().resource_version,
            "{} {name} has changed between the lists",
            T::KIND
        );
        if object != other {
            bail!("{} {name} differs:\n{object:?}\n{other:?}", T::KIND);
        }
    }
    println!("    {}: {} read the same", T::KIND, json.len());
    Ok(())
}

/// What is written in protobuf is stored as what the object was made of, field by field as the server shows it in JSON.
fn written<T: Watched>(cluster: &Cluster, document: impl Fn(&T) -> Vec<u8>, fields: &[&str]) -> Result<()> {
    let list: Value = serde_json::from_slice(&request(cluster, &path::<T>(""), "application/json", None)?.1)?;
    let objects = list["items"].as_array().context("a list has items")?;
    // Nobody of ours writes names.
    let objects = objects.iter().filter(|object| object["addressType"] != "FQDN");
    let mut count = 0;
    for object in objects {
        let namespace = object["metadata"]["namespace"].as_str().context("an object is in a namespace")?;
        let mut again = object.clone();
        again["metadata"]["name"] = "written-again".into();
        let again = T::decode(Encoding::Json, again.to_string().as_bytes())?;
        let path = format!("{}?dryRun=All", path::<T>(&format!("namespaces/{namespace}/")));
        let (_, stored) = request(cluster, &path, "application/json", Some(document(&again)))?;
        let stored: Value = serde_json::from_slice(&stored)?;
        for field in
            fields.iter().chain(&["/metadata/labels", "/metadata/annotations", "/metadata/ownerReferences"])
        {
            let (had, has) = (object.pointer(field), stored.pointer(field));
            ensure!(
                had == has,
                "{field} of {} {}: {had:?}, written again {has:?}",
                T::KIND,
                object["metadata"]
            );
        }
        count += 1;
    }
    ensure!(count >= 2, "{count} objects of kind {}", T::KIND);
    println!("    {}: {count} written in protobuf", T::KIND);
    Ok(())
}

/// The objects of a list that the server answers in an encoding.
fn list<T: Watched>(cluster: &Cluster, encoding: Encoding, accept: &str) -> Result<BTreeMap<ObjectName, T>> {
    let path = path::<T>("");
    let (content_type, answer) = request(cluster, &path, accept, None)?;
    ensure!(Encoding::of(&content_type) == encoding, "{path} was answered as {content_type}");
    let list = List::read(encoding, &encoding.open(&answer.into())?)?;
    let objects = list.items.iter().map(|item| {
        let object = T::decode(encoding, item).with_context(|| format!("{encoding:?} of {path}"))?;
        Ok((object.meta().object_name(), object))
    });
    objects.collect()
}

/// Path of the objects of a kind, in `namespaces/NAME/` or everywhere.
fn path<T: Watched>(namespace: &str) -> String {
    let group = match T::KIND.api_version() {
        "v1" => "api/v1".to_owned(),
        group => format!("apis/{group}"),
    };
    format!("/{group}/{namespace}{}", T::KIND.plural())
}

/// Gets a path, or posts a protobuf document to it; returns the type of the answer, and the answer.
fn request(
    cluster: &Cluster,
    path: &str,
    accept: &str,
    document: Option<Vec<u8>>,
) -> Result<(String, Vec<u8>)> {
    let url = format!("{}{path}", cluster.variable("SERVER_URL")?);
    let token = cluster.kubectl(&["config", "view", "--raw", "-o", "jsonpath={.users[0].user.token}"])?;
    let folder = tempfile::tempdir()?;
    let [answer, sent] = ["answer", "sent"].map(|name| folder.path().join(name).display().to_string());
    let headers = [
        format!("Authorization: Bearer {token}"),
        format!("Accept: {accept}"),
        format!("Content-Type: {}", Encoding::Protobuf.media_type()),
    ];
    let data = format!("@{sent}");
    let mut curl = vec!["cp", "curl", "--silent", "--show-error", "--fail-with-body", "--insecure"];
    curl.extend(["--header", &headers[0], "--header", &headers[1]]);
    if let Some(document) = document {
        std::fs::write(&sent, document)?;
        curl.extend(["--header", &headers[2], "--data-binary", &data]);
    }
    curl.extend(["--output", &answer, "--write-out", "%{content_type}", &url]);
    let content_type =
        cluster.run("enter", &curl).with_context(|| std::fs::read_to_string(&answer).unwrap_or_default())?;
    Ok((content_type, std::fs::read(&answer)?))
}
