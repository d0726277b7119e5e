//! `dig` and what it says.

use std::net::SocketAddr;
use std::process::Command;

/// A reply as `dig` shows it.
#[derive(Debug, Default)]
pub(crate) struct Reply {
    /// Such as `NOERROR`.
    pub(crate) status: String,
    /// Such as `qr aa rd`.
    pub(crate) flags: String,
    /// The OPT record's line, if there was one.
    pub(crate) edns: String,
    pub(crate) answer: Vec<String>,
    pub(crate) authority: Vec<String>,
    pub(crate) additional: Vec<String>,
    pub(crate) text: String,
}

/// Runs `dig` with `words`, such as `web.default.svc.cluster.local A +tcp`.
pub(crate) fn dig(server: SocketAddr, words: &str) -> Reply {
    let output = Command::new("dig")
        .arg(format!("@{}", server.ip()))
        .args(["-p", &server.port().to_string(), "+time=10", "+tries=1"])
        .args(words.split_whitespace())
        .output()
        .expect("these tests need `dig`: apt-get install dnsutils");
    let text = String::from_utf8(output.stdout).unwrap();
    let mut reply = Reply { text: text.clone(), ..Reply::default() };
    let mut section = "";
    for line in text.lines() {
        if let Some((_, rest)) = line.split_once("status: ") {
            reply.status = rest.split(',').next().unwrap().to_owned();
        } else if let Some(rest) = line.strip_prefix(";; flags: ") {
            reply.flags = rest.split(';').next().unwrap().to_owned();
        } else if line.starts_with("; EDNS:") {
            reply.edns = line.to_owned();
        } else if line.starts_with(";; ") {
            section = line.trim_start_matches(";; ").split(' ').next().unwrap();
        } else if !line.starts_with(';') && !line.is_empty() {
            let line = line.split_whitespace().collect::<Vec<_>>().join(" ");
            match section {
                "ANSWER" => reply.answer.push(line),
                "AUTHORITY" => reply.authority.push(line),
                "ADDITIONAL" => reply.additional.push(line),
                _ => {}
            }
        }
    }
    reply
}
