//! A fake upstream that behaves by the name it is asked for.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use hickory_proto::op::{Message, ResponseCode};
use hickory_proto::rr::rdata::{A, TXT};
use hickory_proto::rr::{Name, RData, Record};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, UdpSocket};

/// A fake upstream, and the queries it got.
pub(crate) struct Upstream {
    pub(crate) address: SocketAddr,
    seen: Arc<Mutex<Vec<Message>>>,
}

impl Upstream {
    /// Starts one on a free port.
    pub(crate) async fn start() -> Self {
        let (tcp, udp) = loop {
            let tcp = TcpListener::bind("127.0.0.1:0").await.unwrap();
            if let Ok(udp) = UdpSocket::bind(tcp.local_addr().unwrap()).await {
                break (tcp, udp);
            }
        };
        let address = tcp.local_addr().unwrap();
        let seen = Arc::new(Mutex::new(Vec::new()));
        tokio::spawn(serve_udp(udp, seen.clone()));
        tokio::spawn(serve_tcp(tcp));
        Self { address, seen }
    }

    /// Queries for a name, over UDP.
    pub(crate) fn seen(&self, name: &str) -> Vec<Message> {
        let name = Name::from_ascii(name).unwrap();
        let seen = self.seen.lock().unwrap();
        seen.iter().filter(|query| query.queries[0].name == name).cloned().collect()
    }
}

async fn serve_udp(socket: UdpSocket, seen: Arc<Mutex<Vec<Message>>>) {
    let mut buffer = [0; 4096];
    loop {
        let (length, client) = socket.recv_from(&mut buffer).await.unwrap();
        let query = Message::from_vec(&buffer[..length]).unwrap();
        seen.lock().unwrap().push(query.clone());
        let name = query.queries[0].name.to_string();
        let mut answer = answer_to(&query);
        match name.as_str() {
            "silent.example." => continue,
            "big.example." => {
                answer.answers.clear();
                answer.metadata.truncation = true;
            }
            "forged.example." => {
                let mut forged = answer.clone();
                forged.metadata.id = forged.metadata.id.wrapping_add(1);
                socket.send_to(&forged.to_vec().unwrap(), client).await.unwrap();
                let mut forged = answer.clone();
                forged.queries[0].name = Name::from_ascii("other.example.").unwrap();
                socket.send_to(&forged.to_vec().unwrap(), client).await.unwrap();
            }
            "no-edns.example." if query.edns.is_some() => {
                answer.answers.clear();
                answer.metadata.response_code = ResponseCode::FormErr;
            }
            _ => {}
        }
        socket.send_to(&answer.to_vec().unwrap(), client).await.unwrap();
    }
}

async fn serve_tcp(listener: TcpListener) {
    loop {
        let (mut stream, _) = listener.accept().await.unwrap();
        let length = stream.read_u16().await.unwrap();
        let mut bytes = vec![0; length.into()];
        stream.read_exact(&mut bytes).await.unwrap();
        let answer = answer_to(&Message::from_vec(&bytes).unwrap()).to_vec().unwrap();
        stream.write_u16(answer.len().try_into().unwrap()).await.unwrap();
        stream.write_all(&answer).await.unwrap();
    }
}

fn answer_to(query: &Message) -> Message {
    let mut answer = query.clone().into_response();
    answer.edns = None;
    answer.metadata.recursion_available = true;
    answer.metadata.authentic_data = false;
    let name = query.queries[0].name.clone();
    match name.to_string().as_str() {
        "servfail.example." => answer.metadata.response_code = ResponseCode::ServFail,
        "none.example." => answer.metadata.response_code = ResponseCode::NXDomain,
        "big.example." => {
            let text = TXT::new(vec!["x".repeat(200); 20]);
            answer.add_answer(Record::from_rdata(name, 60, RData::TXT(text)));
        }
        "validated.example." => {
            answer.metadata.authentic_data = true;
            answer.add_answer(Record::from_rdata(name, 60, RData::A(A::new(192, 0, 2, 2))));
        }
        _ => {
            answer.add_answer(Record::from_rdata(name, 60, RData::A(A::new(192, 0, 2, 1))));
        }
    }
    answer
}
