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
    let taken = |e: std::io::Error| Error::new(Kind::Unavailable, "AddressUnavailable", format!("The name server can't listen on {at}: {e}. Choose another address with --dns."));
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
    fn handle_request<'life0, 'life1, 'async_trait, R, T>(&'life0 self, request: &'life1 Request, response_handle: R) -> Pin<Box<dyn Future<Output = ResponseInfo> + Send + 'async_trait>>
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
