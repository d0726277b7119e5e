//! HTTP: who answers and who asked; readiness; the environment.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use serde_json::json;
use tokio::net::{TcpListener, TcpStream};

use super::{Identity, plain};
use crate::http::Connection;

pub(super) async fn serve(listener: TcpListener, identity: Arc<Identity>) {
    loop {
        // Out of descriptors or a peer that left again: the next one may do better.
        if let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(converse(stream, identity.clone()));
        }
    }
}

async fn converse(stream: TcpStream, identity: Arc<Identity>) -> std::io::Result<()> {
    let (local, client) = (plain(stream.local_addr()?), plain(stream.peer_addr()?));
    stream.set_nodelay(true)?;
    let mut connection = Connection::new(stream);
    while let Some(request) = connection.read().await? {
        let mut words = request.start.split(' ');
        let (method, target) = (words.next().unwrap_or(""), words.next().unwrap_or("/"));
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        let (status, body) = match (method, path) {
            ("POST", "/ready") => {
                identity.ready.store(query != "on=false", Ordering::SeqCst);
                ("200 OK", json!({ "ready": identity.ready.load(Ordering::SeqCst) }))
            }
            (_, "/ready") => {
                let ready = identity.ready.load(Ordering::SeqCst);
                let status = if ready { "200 OK" } else { "503 Service Unavailable" };
                (status, json!({ "ready": ready }))
            }
            (_, "/env") => ("200 OK", json!(std::env::vars().collect::<BTreeMap<_, _>>())),
            _ => ("200 OK", who(&identity, &local, &client, path)),
        };
        connection.answer(status, "application/json", &format!("{body}\n")).await?;
        if request.close {
            break;
        }
    }
    Ok(())
}

fn who(identity: &Identity, local: &str, client: &str, path: &str) -> serde_json::Value {
    json!({
        "server": identity.name,
        "local": local,
        "client": client,
        "path": path,
        "leaving": identity.leaving.load(Ordering::SeqCst),
    })
}
