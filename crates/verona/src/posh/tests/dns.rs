//! A name server that knows addresses and nothing else.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex};

use hickory_resolver::proto::op::{Message, MessageType, OpCode, ResponseCode};
use hickory_resolver::proto::rr::rdata::{A, AAAA, SOA};
use hickory_resolver::proto::rr::{Name, RData, Record, RecordType};
use tokio::net::UdpSocket;

type Zone = Arc<Mutex<BTreeMap<String, Vec<IpAddr>>>>;

/// It answers by name; NXDOMAIN to all else.
pub(super) struct Dns {
    address: SocketAddr,
    zone: Zone,
}

impl Dns {
    pub(super) async fn new() -> Self {
        let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let address = socket.local_addr().unwrap();
        let zone = Zone::default();
        let known = Arc::clone(&zone);
        tokio::spawn(async move {
            let mut buffer = [0; 4096];
            loop {
                let (length, peer) = socket.recv_from(&mut buffer).await.unwrap();
                let answer = answer(&known, &buffer[..length]);
                socket.send_to(&answer, peer).await.unwrap();
            }
        });
        Self { address, zone }
    }

    pub(super) fn address(&self) -> SocketAddr {
        self.address
    }

    /// The addresses of `host`, in the place of those that it had.
    pub(super) fn set<A: Into<IpAddr> + Copy>(&self, host: &str, addresses: &[A]) {
        let addresses = addresses.iter().copied().map(Into::into).collect();
        self.zone
            .lock()
            .unwrap()
            .insert(format!("{host}."), addresses);
    }
}

fn answer(zone: &Zone, query: &[u8]) -> Vec<u8> {
    let query = Message::from_vec(query).unwrap();
    let question = query.queries.first().unwrap().clone();
    let (owner, kind) = (question.name().clone(), question.query_type());
    let mut message = Message::new(query.metadata.id, MessageType::Response, OpCode::Query);
    message.metadata.recursion_available = true;
    message.add_query(question);
    let name = |text: &str| Name::from_ascii(text).unwrap();
    match zone.lock().unwrap().get(&owner.to_ascii().to_lowercase()) {
        None => message.metadata.response_code = ResponseCode::NXDomain,
        Some(addresses) => {
            let records: Vec<_> = addresses
                .iter()
                .filter_map(|address| match (address, kind) {
                    (IpAddr::V4(v4), RecordType::A) => Some(RData::A(A(*v4))),
                    (IpAddr::V6(v6), RecordType::AAAA) => Some(RData::AAAA(AAAA(*v6))),
                    _ => None,
                })
                .map(|data| Record::from_rdata(owner.clone(), 60, data))
                .collect();
            if records.is_empty() {
                let soa = SOA::new(name("ns.lit."), name("postmaster.lit."), 1, 60, 60, 60, 60);
                message.add_authority(Record::from_rdata(name("lit."), 60, RData::SOA(soa)));
            }
            message.add_answers(records);
        }
    }
    message.to_vec().unwrap()
}
