//! The HTTP side.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use serde_json::{Value, json};

use super::{KINDS, Shared};

pub(super) fn serve(listener: &TcpListener, shared: &Arc<Shared>) {
    for stream in listener.incoming() {
        let Ok(stream) = stream else { continue };
        if shared.lock().ended {
            return;
        }
        let shared = shared.clone();
        std::thread::spawn(move || converse(stream, &shared));
    }
}

fn converse(stream: TcpStream, shared: &Shared) -> std::io::Result<()> {
    let mut stream = BufReader::new(stream);
    loop {
        let mut start = String::new();
        if stream.read_line(&mut start)? == 0 {
            return Ok(());
        }
        let mut length = 0;
        loop {
            let mut header = String::new();
            stream.read_line(&mut header)?;
            let Some((name, value)) = header.trim_end().split_once(':') else { break };
            if name.eq_ignore_ascii_case("content-length") {
                length = value.trim().parse().unwrap_or(0);
            }
        }
        let mut body = vec![0; length];
        stream.read_exact(&mut body)?;
        let mut words = start.split(' ');
        let (method, target) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        let asks = |wish: &str| query.split('&').any(|parameter| parameter == wish);
        let out = stream.get_mut();
        match KINDS.into_iter().find(|(known, _, _)| *known == path) {
            // Events and the like are taken and forgotten.
            _ if method != "GET" => answer(out, "201 Created", &body)?,
            Some((path, _, _)) if asks("watch=true") || asks("watch=1") => {
                let version =
                    query.split('&').find_map(|parameter| parameter.strip_prefix("resourceVersion="));
                let initial = asks("sendInitialEvents=true");
                return watch(out, shared, path, version.unwrap_or_default(), initial);
            }
            Some((path, version, kind)) => {
                let list = list(shared, path, version, kind);
                answer(out, "200 OK", list.to_string().as_bytes())?;
            }
            None => answer(
                out,
                "404 Not Found",
                br#"{"kind":"Status","apiVersion":"v1","status":"Failure","code":404}"#,
            )?,
        }
    }
}

fn answer(out: &mut TcpStream, status: &str, body: &[u8]) -> std::io::Result<()> {
    let length = body.len();
    let head =
        format!("HTTP/1.1 {status}\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n\r\n");
    out.write_all(head.as_bytes())?;
    out.write_all(body)
}

fn list(shared: &Shared, path: &str, version: &str, kind: &str) -> Value {
    let store = shared.lock();
    let items: Vec<&Value> =
        store.objects.iter().filter(|((known, _), _)| *known == path).map(|(_, object)| object).collect();
    json!({
        "apiVersion": version, "kind": format!("{kind}List"),
        "metadata": { "resourceVersion": store.log.len().to_string() }, "items": items,
    })
}

/// Streams what happens after a version; with `initial`, first what there is and a bookmark (KEP-3157).
fn watch(
    out: &mut TcpStream,
    shared: &Shared,
    path: &str,
    version: &str,
    initial: bool,
) -> std::io::Result<()> {
    out.write_all(
        b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n",
    )?;
    let mut store = shared.lock();
    let mut seen = version.parse().unwrap_or(store.log.len());
    if initial {
        seen = store.log.len();
        let mut events: Vec<Value> = store
            .objects
            .iter()
            .filter(|((known, _), _)| *known == path)
            .map(|(_, object)| json!({ "type": "ADDED", "object": object }))
            .collect();
        let (_, api_version, kind) =
            KINDS.into_iter().find(|(known, _, _)| *known == path).unwrap_or_default();
        events.push(json!({ "type": "BOOKMARK", "object": {
            "apiVersion": api_version, "kind": kind,
            "metadata": {
                "resourceVersion": seen.to_string(),
                "annotations": { "k8s.io/initial-events-end": "true" },
            },
        } }));
        for event in events {
            chunk(out, &event)?;
        }
    }
    loop {
        for (_, event) in store.log.iter().skip(seen).filter(|(known, _)| *known == path) {
            chunk(out, event)?;
        }
        seen = store.log.len();
        if store.ended {
            return Ok(());
        }
        let waited = shared.changed.wait_timeout(store, Duration::from_secs(5));
        (store, _) = waited.unwrap_or_else(PoisonError::into_inner);
    }
}

fn chunk(out: &mut TcpStream, event: &Value) -> std::io::Result<()> {
    let line = format!("{event}\n");
    out.write_all(format!("{:x}\r\n{line}\r\n", line.len()).as_bytes())
}
