//! Asking a container over the network, from the node.

use std::net::SocketAddr;

use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;

use crate::spec::HttpGet;

/// Whether somebody accepts a connection.
pub(crate) async fn check_tcp(address: SocketAddr) -> Result<(), String> {
    TcpStream::connect(address).await.map(drop).map_err(|error| format!("dial tcp {address}: {error}"))
}

/// Whether a GET is answered with a status from 200 to 399.
pub(crate) async fn check_http(get: &HttpGet, address: SocketAddr) -> Result<(), String> {
    if get.scheme.as_deref().is_some_and(|scheme| scheme != "HTTP") {
        return Err("probes over HTTPS are not supported by portolan up".to_owned());
    }
    let failed = |error: std::io::Error| format!("GET http://{address}{}: {error}", get.path);
    let mut connection = TcpStream::connect(address).await.map_err(failed)?;
    connection.write_all(request(get, address).as_bytes()).await.map_err(failed)?;
    let mut line = String::new();
    BufReader::new(connection).read_line(&mut line).await.map_err(failed)?;
    match status(&line) {
        Some(200..400) => Ok(()),
        Some(status) => Err(format!("HTTP probe failed with statuscode: {status}")),
        None => Err(format!("GET http://{address}{}: the answer is not HTTP", get.path)),
    }
}

fn request(get: &HttpGet, address: SocketAddr) -> String {
    let path = if get.path.starts_with('/') { get.path.clone() } else { format!("/{}", get.path) };
    let mut request = format!("GET {path} HTTP/1.1\r\n");
    let given = |name: &str| get.http_headers.iter().any(|header| header.name.eq_ignore_ascii_case(name));
    if !given("host") {
        request.push_str(&format!("Host: {address}\r\n"));
    }
    if !given("user-agent") {
        request.push_str("User-Agent: kube-probe/portolan\r\n");
    }
    if !given("accept") {
        request.push_str("Accept: */*\r\n");
    }
    for header in &get.http_headers {
        // A line break would end the header.
        let clean = |text: &str| text.replace(['\r', '\n'], " ");
        request.push_str(&format!("{}: {}\r\n", clean(&header.name), clean(&header.value)));
    }
    request.push_str("Connection: close\r\n\r\n");
    request
}

fn status(line: &str) -> Option<u16> {
    let mut words = line.split_whitespace();
    words.next().filter(|version| version.starts_with("HTTP/"))?;
    words.next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_say_what_the_probe_says() {
        let get: HttpGet = serde_json::from_value(serde_json::json!({"path": "healthz?full", "port": 80,
            "httpHeaders": [{"name": "Host", "value": "shop"}, {"name": "X", "value": "a\r\nb"}]}))
        .unwrap();
        let request = request(&get, "10.1.0.2:80".parse().unwrap());
        assert!(request.starts_with("GET /healthz?full HTTP/1.1\r\nUser-Agent: "), "{request}");
        assert!(request.contains("\r\nHost: shop\r\nX: a  b\r\nConnection: close\r\n\r\n"), "{request}");
    }

    #[test]
    fn the_status_is_in_the_first_line() {
        assert_eq!(status("HTTP/1.0 204 No Content\r\n"), Some(204));
        assert_eq!(status("SSH-2.0-x 200\r\n"), None);
        assert_eq!(status(""), None);
    }
}
