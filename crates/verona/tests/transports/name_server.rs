//! A name server that knows what a test tells it, and says of all else that it does not exist.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};

use hickory_resolver::proto::op::{Message, MessageType, OpCode, ResponseCode};
use hickory_resolver::proto::rr::rdata::{A, SRV};
use hickory_resolver::proto::rr::{Name, RData, Record};
use tokio::net::UdpSocket;

/// Answers by name and type, such as `a.lit. A`.
#[derive(Default)]
pub(crate) struct Zone(BTreeMap<String, Vec<RData>>);

impl Zone {
    /// A server of `domain` at `address`, by an SRV record of `_xmpps-server` or of `_xmpp-server`.
    pub(crate) fn server(mut self, domain: &str, direct: bool, order: u16, at: SocketAddr) -> Self {
        let SocketAddr::V4(at) = at else {
            panic!("an IPv4 address")
        };
        let service = if direct {
            "_xmpps-server"
        } else {
            "_xmpp-server"
        };
        let host = format!("s{order}.{domain}.");
        let srv = SRV::new(order, 1, at.port(), Name::from_ascii(&host).unwrap());
        let question = format!("{service}._tcp.{domain}. SRV");
        self.0.entry(question).or_default().push(RData::SRV(srv));
        let address: Ipv4Addr = *at.ip();
        self.0
            .insert(format!("{host} A"), vec![RData::A(A(address))]);
        self
    }

    /// Answers until the test ends; says where.
    pub(crate) async fn serve(self) -> SocketAddr {
        let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let address = socket.local_addr().unwrap();
        tokio::spawn(async move {
            let mut buffer = [0; 4096];
            loop {
                let (length, peer) = socket.recv_from(&mut buffer).await.unwrap();
                let query = Message::from_vec(&buffer[..length]).unwrap();
                let answer = self.answer(&query).to_vec().unwrap();
                socket.send_to(&answer, peer).await.unwrap();
            }
        });
        address
    }

    fn answer(&self, query: &Message) -> Message {
        let question = query.queries.first().unwrap().clone();
        let owner = question.name().clone();
        let key = format!(
            "{} {}",
            owner.to_ascii().to_lowercase(),
            question.query_type()
        );
        let mut message = Message::new(query.metadata.id, MessageType::Response, OpCode::Query);
        message.metadata.recursion_available = true;
        message.add_query(question);
        match self.0.get(&key) {
            Some(records) => {
                let records = records.iter().cloned();
                message
                    .add_answers(records.map(|data| Record::from_rdata(owner.clone(), 60, data)));
            }
            None => message.metadata.response_code = ResponseCode::NXDomain,
        }
        message
    }
}
