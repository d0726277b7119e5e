//! One question to one server: UDP, then TCP if the answer was cut.

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use hickory_proto::ProtoError;
use hickory_proto::op::{Message, ResponseCode};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UdpSocket};
use tokio::time::timeout;
use tracing::debug;

use crate::forward::Question;

/// How long a server has for an answer over UDP, and again over TCP.
const PATIENCE: Duration = Duration::from_secs(2);
/// Largest UDP answer that is read; more than is ever asked for.
const UDP_BUFFER: usize = 4096;

/// Why a server gave no answer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ExchangeError {
    #[error("no answer within {PATIENCE:?}")]
    Silent,
    #[error("{0}")]
    Io(#[from] io::Error),
    #[error("the query cannot be written: {0}")]
    Query(#[from] ProtoError),
    #[error("the answer over TCP is malformed or to another question")]
    Malformed,
}

/// Asks a server. One that does not know EDNS is asked again without (RFC 6891 §7).
pub(crate) async fn ask(server: SocketAddr, question: &Question) -> Result<Message, ExchangeError> {
    let answer = ask_once(server, question, true).await?;
    let unknown = matches!(
        answer.metadata.response_code,
        ResponseCode::FormErr | ResponseCode::NotImp | ResponseCode::BADVERS
    );
    if unknown && answer.edns.is_none() { ask_once(server, question, false).await } else { Ok(answer) }
}

async fn ask_once(server: SocketAddr, question: &Question, edns: bool) -> Result<Message, ExchangeError> {
    let silent = |_| ExchangeError::Silent;
    match timeout(PATIENCE, udp(server, question, edns)).await.map_err(silent)?? {
        Some(answer) => Ok(answer),
        None => timeout(PATIENCE, tcp(server, question, edns)).await.map_err(silent)?,
    }
}

/// `None` = the answer is too long for UDP.
///
/// Each query has a socket of its own: the system gives it a random port, and delivers only what comes
/// from the server.
async fn udp(server: SocketAddr, question: &Question, edns: bool) -> Result<Option<Message>, ExchangeError> {
    let any: SocketAddr = match server {
        SocketAddr::V4(_) => (Ipv4Addr::UNSPECIFIED, 0).into(),
        SocketAddr::V6(_) => (Ipv6Addr::UNSPECIFIED, 0).into(),
    };
    let socket = UdpSocket::bind(any).await?;
    socket.connect(server).await?;
    let id = rand::random();
    socket.send(&question.query(id, edns).to_vec()?).await?;
    let mut buffer = [0; UDP_BUFFER];
    loop {
        let length = socket.recv(&mut buffer).await?;
        let bytes = buffer.get(..length).unwrap_or_default();
        match Message::from_vec(bytes) {
            Ok(answer) if question.answered_by(&answer, id) => {
                return Ok((!answer.metadata.truncation).then_some(answer));
            }
            // Some servers cut in the middle of a record.
            Err(_) if is_cut(bytes, id) => return Ok(None),
            _ => debug!(%server, "datagram that answers nothing"),
        }
    }
}

/// Whether the header says: a response, to this id, and cut (RFC 1035 §4.1.1).
fn is_cut(bytes: &[u8], id: u16) -> bool {
    const RESPONSE_AND_CUT: u8 = 0b1000_0010;
    matches!(bytes, [high, low, flags, ..]
        if [*high, *low] == id.to_be_bytes() && flags & RESPONSE_AND_CUT == RESPONSE_AND_CUT)
}

async fn tcp(server: SocketAddr, question: &Question, edns: bool) -> Result<Message, ExchangeError> {
    let mut stream = TcpStream::connect(server).await?;
    let id = rand::random();
    let query = question.query(id, edns).to_vec()?;
    // In one segment (RFC 7766 §8).
    let mut bytes = u16::try_from(query.len()).unwrap_or_default().to_be_bytes().to_vec();
    bytes.extend(query);
    stream.write_all(&bytes).await?;
    let length = stream.read_u16().await?;
    let mut bytes = vec![0; length.into()];
    stream.read_exact(&mut bytes).await?;
    let answer = Message::from_vec(&bytes).ok().filter(|answer| question.answered_by(answer, id));
    answer.ok_or(ExchangeError::Malformed)
}
