//! As much of HTTP/1.1 as the tests need, for both sides.

use std::io::{Error, ErrorKind};

use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;

use crate::get::Url;

/// A request or answer: first line, the header that matters, body.
pub(crate) struct Message {
    /// Request or status line.
    pub(crate) start: String,
    /// Whether the sender closes afterwards.
    pub(crate) close: bool,
    /// Body.
    pub(crate) body: Vec<u8>,
}

/// A connection that carries messages one after the other.
pub(crate) struct Connection(BufReader<TcpStream>);

impl Connection {
    /// Takes over a stream.
    pub(crate) fn new(stream: TcpStream) -> Self {
        Self(BufReader::new(stream))
    }

    /// Next message; none at the end of the stream between messages.
    pub(crate) async fn read(&mut self) -> std::io::Result<Option<Message>> {
        let start = self.line().await?;
        if start.is_empty() {
            return Ok(None);
        }
        let (mut length, mut close) = (0, false);
        loop {
            let line = self.line().await?;
            let Some((name, value)) = line.split_once(':') else { break };
            match (name.to_ascii_lowercase().as_str(), value.trim()) {
                ("content-length", value) => length = value.parse().map_err(|_| malformed("length"))?,
                ("connection", value) => close = value.eq_ignore_ascii_case("close"),
                _ => {}
            }
        }
        let mut body = vec![0; length];
        self.0.read_exact(&mut body).await?;
        Ok(Some(Message { start, close, body }))
    }

    /// Sends a request without body.
    pub(crate) async fn ask(&mut self, url: &Url, close: bool) -> std::io::Result<()> {
        let connection = if close { "close" } else { "keep-alive" };
        let Url { authority, path, method } = url;
        let request = format!(
            "{method} {path} HTTP/1.1\r\nHost: {authority}\r\nConnection: {connection}\r\nContent-Length: 0\r\n\r\n"
        );
        self.0.get_mut().write_all(request.as_bytes()).await
    }

    /// Sends an answer.
    pub(crate) async fn answer(&mut self, status: &str, kind: &str, body: &str) -> std::io::Result<()> {
        let length = body.len();
        let head =
            format!("HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {length}\r\n\r\n{body}");
        self.0.get_mut().write_all(head.as_bytes()).await
    }

    async fn line(&mut self) -> std::io::Result<String> {
        let mut line = String::new();
        // A bound on what a broken peer can make us keep.
        (&mut self.0).take(8192).read_line(&mut line).await?;
        Ok(line.trim_end().to_owned())
    }
}

fn malformed(what: &str) -> Error {
    Error::new(ErrorKind::InvalidData, format!("malformed {what}"))
}
