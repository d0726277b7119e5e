//! TCP line echo: connections stay as long as the client wants.

use std::sync::Arc;

use serde_json::json;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};

use super::{Identity, plain};

pub(super) async fn serve(listener: TcpListener, identity: Arc<Identity>) {
    loop {
        if let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(converse(stream, identity.clone()));
        }
    }
}

async fn converse(stream: TcpStream, identity: Arc<Identity>) -> std::io::Result<()> {
    let (local, client) = (plain(stream.local_addr()?), plain(stream.peer_addr()?));
    stream.set_nodelay(true)?;
    let (read, mut write) = stream.into_split();
    let mut lines = BufReader::new(read).lines();
    while let Some(line) = lines.next_line().await? {
        let answer = json!({ "server": identity.name, "local": local, "client": client, "echo": line });
        write.write_all(format!("{answer}\n").as_bytes()).await?;
    }
    Ok(())
}
