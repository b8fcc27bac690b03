//! The region's own zone: one authoritative server (RFC 1035) that answers the same address for every name in it, so
//! that hosts like `acct.blob.core.bleu.localhost` resolve without a line each. The messages are hickory's.
//!
//! | asked | answered |
//! |---|---|
//! | A or AAAA of the zone or any name under it | the region's address, or no data for the other family |
//! | SOA, NS of the zone | the region itself |
//! | another type | no data, with the SOA (RFC 2308) |
//! | a name outside the zone, another class or opcode | REFUSED, NOTIMP |

use base::{Error, Fut, Kind, Result};
use hickory_server::Server;
use hickory_server::net::runtime::Time;
use hickory_server::proto::op::{Metadata, OpCode, ResponseCode};
use hickory_server::proto::rr::rdata::{A, AAAA, NS, SOA};
use hickory_server::proto::rr::{DNSClass, LowerName, Name, RData, Record, RecordType};
use hickory_server::server::{Request, RequestHandler, ResponseHandler, ResponseInfo};
use hickory_server::zone_handler::MessageResponseBuilder;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::{TcpListener, UdpSocket};

/// How long resolvers may keep an answer: the region may move to another address.
const TTL_S: u32 = 60;
const TCP_IDLE: Duration = Duration::from_secs(5);
const TCP_ANSWERS_WAITING: usize = 16;
/// With port 0 the free port of one transport may be taken on the other.
const PORT_TRIES: usize = 16;

/// Called with each name asked for, lower case, and its type: `acct.blob.core.bleu.localhost.`, `A`.
pub type OnQuery = Arc<dyn Fn(&str, &str) + Send + Sync>;

/// A name server at work, over UDP and TCP.
pub struct Dns {
    pub addr: SocketAddr,
    server: Server<Zone>,
}

impl Dns {
    pub async fn stop(mut self) {
        if let Err(error) = self.server.shutdown_gracefully().await {
            tracing::warn!(%error, "the name server did not stop well");
        }
    }
}

/// Answers for `zone` (`bleu.localhost`) at `at`; every name in it is at `address`. Errors: `InvalidZone`;
/// `AddressUnavailable` when the address is taken, or not ours to take (ports below 1024).
pub async fn serve(at: SocketAddr, zone: &str, address: IpAddr, on_query: Option<OnQuery>) -> Result<Dns> {
    let invalid = |_| Error::invalid("InvalidZone", format!("'{zone}' is not a domain name."));
    let mut apex = Name::from_ascii(zone).map_err(invalid)?.to_lowercase();
    apex.set_fqdn(true);
    let (udp, tcp) = bind(at).await?;
    let addr = tcp.local_addr().map_err(Error::internal)?;
    let mut server = Server::new(Zone { apex: LowerName::new(&apex), address, on_query });
    server.register_socket(udp);
    server.register_listener(tcp, TCP_IDLE, TCP_ANSWERS_WAITING);
    Ok(Dns { addr, server })
}

async fn bind(at: SocketAddr) -> Result<(UdpSocket, TcpListener)> {
    let taken = |e: std::io::Error| {
        Error::new(
            Kind::Unavailable,
            "AddressUnavailable",
            format!("The name server can't listen on {at}: {e}. Choose another address with --dns."),
        )
    };
    for _ in 0..PORT_TRIES {
        let tcp = TcpListener::bind(at).await.map_err(taken)?;
        match UdpSocket::bind(tcp.local_addr().map_err(Error::internal)?).await {
            Ok(udp) => return Ok((udp, tcp)),
            Err(error) if at.port() != 0 => return Err(taken(error)),
            Err(_) => continue,
        }
    }
    Err(Error::new(Kind::Unavailable, "AddressUnavailable", format!("No port is free for the name server on {}.", at.ip())))
}

struct Zone {
    apex: LowerName,
    address: IpAddr,
    on_query: Option<OnQuery>,
}

/// What is said to one question.
struct Said {
    code: ResponseCode,
    answers: Vec<Record>,
    soa: Vec<Record>,
}

impl Zone {
    fn answer(&self, name: &LowerName, class: DNSClass, kind: RecordType) -> Said {
        let refused = Said { code: ResponseCode::Refused, answers: Vec::new(), soa: Vec::new() };
        if class != DNSClass::IN || !self.apex.zone_of(name) || kind == RecordType::AXFR || kind == RecordType::IXFR {
            return refused;
        }
        let record = |data| Record::from_rdata(Name::from(name), TTL_S, data);
        let at_apex = *name == self.apex;
        let answers = match (kind, self.address) {
            (RecordType::A, IpAddr::V4(ip)) => vec![record(RData::A(A(ip)))],
            (RecordType::AAAA, IpAddr::V6(ip)) => vec![record(RData::AAAA(AAAA(ip)))],
            (RecordType::SOA, _) if at_apex => vec![self.soa()],
            (RecordType::NS, _) if at_apex => vec![record(RData::NS(NS(self.server_name())))],
            _ => Vec::new(),
        };
        let soa = if answers.is_empty() { vec![self.soa()] } else { Vec::new() };
        Said { code: ResponseCode::NoError, answers, soa }
    }

    fn server_name(&self) -> Name {
        let apex = Name::from(&self.apex);
        // the longest domain leaves no room for a label: then the zone is its own server
        apex.prepend_label("ns").unwrap_or(apex)
    }

    fn soa(&self) -> Record {
        let apex = Name::from(&self.apex);
        let hostmaster = apex.prepend_label("hostmaster").unwrap_or_else(|_| apex.clone());
        // nothing transfers this zone: serial and timers only have to be well-formed
        let soa = SOA::new(self.server_name(), hostmaster, 1, 3_600, 600, 86_400, TTL_S);
        Record::from_rdata(apex, TTL_S, RData::SOA(soa))
    }

    async fn handle<R: ResponseHandler>(&self, request: &Request, mut responses: R) -> ResponseInfo {
        let mut metadata = Metadata::response_from_request(&request.metadata);
        metadata.recursion_available = false;
        let said = match request.request_info() {
            _ if request.metadata.op_code != OpCode::Query => Said { code: ResponseCode::NotImp, answers: Vec::new(), soa: Vec::new() },
            Err(_) => Said { code: ResponseCode::FormErr, answers: Vec::new(), soa: Vec::new() },
            Ok(info) => {
                let (name, kind) = (info.query.name(), info.query.query_type());
                if let Some(on_query) = &self.on_query {
                    on_query(&name.to_string(), &kind.to_string());
                }
                self.answer(name, info.query.query_class(), kind)
            }
        };
        metadata.response_code = said.code;
        metadata.authoritative = said.code == ResponseCode::NoError;
        let response = MessageResponseBuilder::from_message_request(request).build(metadata, &said.answers, [], &said.soa, []);
        match responses.send_response(response).await {
            Ok(info) => info,
            Err(error) => {
                tracing::debug!(%error, "a name query could not be answered");
                failed(request)
            }
        }
    }
}

fn failed(request: &Request) -> ResponseInfo {
    let mut metadata = Metadata::response_from_request(&request.metadata);
    metadata.response_code = ResponseCode::ServFail;
    hickory_server::proto::op::Header { metadata, counts: Default::default() }.into()
}

impl RequestHandler for Zone {
    // what `async_trait` would write, so that it is not a dependency for one method
    fn handle_request<'life0, 'life1, 'async_trait, R, T>(
        &'life0 self,
        request: &'life1 Request,
        response_handle: R,
    ) -> Pin<Box<dyn Future<Output = ResponseInfo> + Send + 'async_trait>>
    where
        R: 'async_trait + ResponseHandler,
        T: 'async_trait + Time,
        'life0: 'async_trait,
        'life1: 'async_trait,
        Self: 'async_trait,
    {
        let answer: Fut<'async_trait, ResponseInfo> = Box::pin(self.handle(request, response_handle));
        answer
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use hickory_server::proto::op::{Message, MessageType, Query};
    use std::str::FromStr;
    use std::sync::Mutex;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpStream;

    const ANY: SocketAddr = SocketAddr::new(IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 0);

    fn question(name: &str, kind: RecordType) -> Message {
        let mut message = Message::new(77, MessageType::Query, OpCode::Query);
        message.add_query(Query::query(Name::from_str(name).unwrap(), kind));
        message
    }

    async fn ask(dns: &Dns, message: &Message) -> Message {
        let socket = UdpSocket::bind(ANY).await.unwrap();
        socket.send_to(&message.to_vec().unwrap(), dns.addr).await.unwrap();
        let mut buffer = [0; 4096];
        let read = tokio::time::timeout(Duration::from_secs(5), socket.recv(&mut buffer)).await.unwrap().unwrap();
        Message::from_vec(&buffer[..read]).unwrap()
    }

    async fn region() -> Dns {
        serve(ANY, "Bleu.localhost", [127, 0, 0, 1].into(), None).await.unwrap()
    }

    #[tokio::test]
    async fn every_name_of_the_zone_is_the_region() {
        let dns = region().await;
        for name in ["bleu.localhost.", "management.bleu.localhost.", "ACCT.blob.core.BLEU.localhost.", "*.bleu.localhost."] {
            let said = ask(&dns, &question(name, RecordType::A)).await;
            assert_eq!(said.metadata.response_code, ResponseCode::NoError, "{name}");
            assert!(said.metadata.authoritative && !said.metadata.recursion_available);
            assert_eq!(said.metadata.id, 77);
            assert_eq!(said.answers.len(), 1);
            assert_eq!(said.answers[0].data, RData::A(A::new(127, 0, 0, 1)));
        }
        for kind in [RecordType::SOA, RecordType::NS] {
            assert_eq!(ask(&dns, &question("bleu.localhost.", kind)).await.answers.len(), 1, "{kind}");
        }
        dns.stop().await;
    }

    #[tokio::test]
    async fn what_is_not_there_is_said_so_that_resolvers_keep_it() {
        let dns = region().await;
        for (name, kind) in [
            ("a.bleu.localhost.", RecordType::AAAA),
            ("a.bleu.localhost.", RecordType::TXT),
            ("a.bleu.localhost.", RecordType::SOA),
            ("bleu.localhost.", RecordType::MX),
        ] {
            let said = ask(&dns, &question(name, kind)).await;
            assert_eq!((said.metadata.response_code, said.answers.len()), (ResponseCode::NoError, 0), "{name} {kind}");
            assert_eq!(said.authorities.len(), 1);
            assert_eq!(said.authorities[0].record_type(), RecordType::SOA);
        }
        dns.stop().await;
    }

    #[tokio::test]
    async fn other_zones_are_refused() {
        let dns = region().await;
        for name in ["example.com.", "localhost.", "xbleu.localhost.", "."] {
            let said = ask(&dns, &question(name, RecordType::A)).await;
            assert_eq!(said.metadata.response_code, ResponseCode::Refused, "{name}");
            assert!(said.answers.is_empty() && !said.metadata.authoritative);
        }
        assert_eq!(ask(&dns, &question("bleu.localhost.", RecordType::AXFR)).await.metadata.response_code, ResponseCode::Refused);
        let mut update = question("bleu.localhost.", RecordType::SOA);
        update.metadata.op_code = OpCode::Notify;
        assert_eq!(ask(&dns, &update).await.metadata.response_code, ResponseCode::NotImp);
        dns.stop().await;
    }

    #[tokio::test]
    async fn it_survives_what_is_no_question() {
        let seen: Arc<Mutex<Vec<String>>> = Arc::default();
        let keep = seen.clone();
        let dns = serve(
            ANY,
            "bleu.localhost",
            IpAddr::V6(std::net::Ipv6Addr::LOCALHOST),
            Some(Arc::new(move |name, kind| keep.lock().unwrap().push(format!("{name} {kind}")))),
        )
        .await
        .unwrap();
        let socket = UdpSocket::bind(ANY).await.unwrap();
        for junk in [&[][..], &[0xFF; 3], &[0xFF; 600]] {
            socket.send_to(junk, dns.addr).await.unwrap();
        }
        // the same question over TCP, where answers may be longer
        let mut stream = TcpStream::connect(dns.addr).await.unwrap();
        let bytes = question("A.bleu.localhost.", RecordType::AAAA).to_vec().unwrap();
        stream.write_all(&(bytes.len() as u16).to_be_bytes()).await.unwrap();
        stream.write_all(&bytes).await.unwrap();
        let length = stream.read_u16().await.unwrap();
        let mut answer = vec![0; length.into()];
        stream.read_exact(&mut answer).await.unwrap();
        assert_eq!(Message::from_vec(&answer).unwrap().answers[0].data, RData::AAAA(AAAA(std::net::Ipv6Addr::LOCALHOST)));
        drop(stream);
        assert_eq!(*seen.lock().unwrap(), ["a.bleu.localhost. AAAA"]);
        assert!(serve(dns.addr, "bleu.localhost", [127, 0, 0, 1].into(), None).await.is_err(), "the address is taken");
        assert!(serve(ANY, "a..b", [127, 0, 0, 1].into(), None).await.is_err());
        dns.stop().await;
    }
}
