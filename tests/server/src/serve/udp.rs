//! UDP echo.

use std::sync::Arc;

use serde_json::json;
use tokio::net::UdpSocket;

use super::{Identity, plain};

pub(super) async fn serve(socket: UdpSocket, identity: Arc<Identity>) {
    let mut buffer = vec![0; 2048];
    loop {
        // Errors here are ICMP answers to earlier replies; the socket itself stays good.
        let Ok((length, client)) = socket.recv_from(&mut buffer).await else { continue };
        let echo = String::from_utf8_lossy(&buffer[..length]);
        let answer = json!({ "server": identity.name, "client": plain(client), "echo": echo.trim_end() });
        let _ = socket.send_to(answer.to_string().as_bytes(), client).await;
    }
}
