//! A region under attack: bodies without end, bombs, floods of blocks, ranges, connections, guesses and refusals. Each is
//! refused clearly and soon, memory stays within bounds, and whoever else comes is served.

use crate::client::ledger_of;
use crate::process::{Http, Region, account, signed};
use crate::world::{Customer, World};
use bytes::Bytes;
use serde_json::Value;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio_rustls::client::TlsStream;

/// No single request of a flood may take longer, on a busy machine and without optimization.
const SOON: Duration = Duration::from_secs(20);
/// Resident memory that all floods together may add.
const MEMORY_KIB_MAX: u64 = 128 << 10;
/// What is sent of a body without end, if nobody stops it.
const ENDLESS_BYTES: usize = 512 << 20;

/// A TLS connection to a port of this machine, HTTP/1.1.
async fn connect(ca: &Path, port: u16) -> TlsStream<TcpStream> {
    use rustls::pki_types::pem::PemObject;
    let mut roots = rustls::RootCertStore::empty();
    roots.add(rustls::pki_types::CertificateDer::from_pem_file(ca).unwrap()).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let config = config.with_root_certificates(roots).with_no_client_auth();
    let tcp = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
    let name = rustls::pki_types::ServerName::try_from("localhost").unwrap();
    tokio_rustls::TlsConnector::from(Arc::new(config)).connect(name, tcp).await.unwrap()
}

/// Peak resident memory of a process, in KiB (proc(5)).
fn peak_kib(pid: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find_map(|l| l.strip_prefix("VmHWM:")).unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}

struct Attack<'a> {
    region: &'a Region,
    ca: std::path::PathBuf,
    port: u16,
    key: Vec<u8>,
    bearer: String,
}

impl Attack<'_> {
    /// The status of a request whose chunked body goes on until somebody stops it, and what was taken of it.
    async fn endless(&self, method: &str, path: &str, headers: &[(&str, &str)], part: &[u8]) -> (u16, usize) {
        let stream = connect(&self.ca, self.port).await;
        let (mut reader, mut writer) = tokio::io::split(stream);
        let fields: String = headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
        let head = format!("{method} {path} HTTP/1.1\r\nhost: localhost:{}\r\n{fields}transfer-encoding: chunked\r\n\r\n", self.port);
        writer.write_all(head.as_bytes()).await.unwrap();
        let chunk = [format!("{:x}\r\n", part.len()).as_bytes(), part, b"\r\n"].concat();
        let sending = tokio::spawn(async move {
            let mut sent = 0;
            while sent < ENDLESS_BYTES && writer.write_all(&chunk).await.is_ok() {
                sent += chunk.len();
            }
            sent
        });
        let mut answer = Vec::new();
        while !answer.windows(4).any(|w| w == b"\r\n\r\n") {
            if tokio::time::timeout(SOON, reader.read_buf(&mut answer)).await.expect("an answer in time").unwrap_or(0) == 0 {
                break;
            }
        }
        drop(reader);
        sending.abort();
        let sent = sending.await.unwrap_or(0);
        let status = String::from_utf8_lossy(&answer).split(' ').nth(1).and_then(|s| s.parse().ok()).unwrap_or(0);
        (status, sent)
    }
    fn bearer(&self) -> [(&str, &str); 2] {
        [("authorization", &self.bearer), ("content-type", "application/json")]
    }
    async fn blob(&self, http: &Http, method: &str, path: &str, headers: &[(&'static str, &str)], body: Bytes) -> (u16, String) {
        let (raw, query) = path.split_once('?').unwrap_or((path, ""));
        let signed_as = |q: &str| q.split_once('=').map(|(name, value)| format!("{name}:{}", wire::percent_decode(value).unwrap()));
        let mut pairs: Vec<String> = query.split('&').filter_map(signed_as).collect();
        pairs.sort();
        let resource = pairs.iter().fold(format!("/acct/{raw}"), |all, pair| format!("{all}\n{pair}"));
        let own: Vec<(&'static str, &str)> = headers.iter().copied().filter(|(name, _)| name.starts_with("x-ms-")).collect();
        let mut all = signed(method, body.len(), &resource, &self.key, &own);
        all.extend(headers.iter().filter(|(name, _)| !name.starts_with("x-ms-")).map(|(name, value)| (*name, (*value).to_owned())));
        let all: Vec<(&str, &str)> = all.iter().map(|(k, v)| (*k, v.as_str())).collect();
        let url = format!("{}/acct/{path}", self.region.url());
        let (status, _, body) = http.call(method, &url, &all, body).await;
        (status, String::from_utf8_lossy(&body).into_owned())
    }
}

fn bearer_of(folder: &Path) -> (String, String) {
    let client: Value = serde_json::from_slice(&std::fs::read(folder.join("data/client.json")).unwrap()).unwrap();
    let text = |name: &str| client[name].as_str().unwrap().to_owned();
    (text("client_id"), text("client_secret"))
}

async fn token(http: &Http, base: &str, folder: &Path) -> String {
    let (id, secret) = bearer_of(folder);
    let scope = wire::percent_encode(&format!("{base}/.default"), b"");
    let form = format!("grant_type=client_credentials&client_id={id}&client_secret={}&scope={scope}", wire::percent_encode(&secret, b""));
    let headers = [("content-type", "application/x-www-form-urlencoded")];
    let (status, _, body) = http.call("POST", &format!("{base}/adfs/oauth2/token/"), &headers, form).await;
    assert_eq!(status, 200, "{body:?}");
    let body: Value = serde_json::from_slice(&body).unwrap();
    format!("Bearer {}", body["access_token"].as_str().unwrap())
}

fn entity_bomb() -> String {
    let mut text = String::from("<?xml version=\"1.0\"?><!DOCTYPE b [<!ENTITY a0 \"bomb\">");
    for level in 1..12 {
        text.push_str(&format!("<!ENTITY a{level} \"{}\">", format!("&a{};", level - 1).repeat(10)));
    }
    text + "]><BlockList><Latest>&a11;</Latest></BlockList>"
}

fn block_list(ids: impl Iterator<Item = String>) -> String {
    let ids: String = ids.map(|id| format!("<Latest>{id}</Latest>")).collect();
    format!("<?xml version=\"1.0\" encoding=\"utf-8\"?><BlockList>{ids}</BlockList>")
}

fn block_id(number: usize) -> String {
    use base64::Engine;
    base64::prelude::BASE64_STANDARD.encode(format!("{number:08}"))
}

#[tokio::test(flavor = "multi_thread")]
async fn bodies_bombs_blocks_and_ranges_are_refused_soon_and_in_bounded_memory() {
    let folder = tempfile::tempdir().unwrap();
    let region = Region::start(folder.path());
    let (base, subscription) = (region.url(), region.subscription());
    let ca = folder.path().join("data/ca.pem");
    let http = Http::new(&ca);
    let key = account(&http, &base, folder.path(), &subscription).await;
    let bearer = token(&http, &base, folder.path()).await;
    let port = region.ready["port"].as_u64().unwrap() as u16;
    let attack = Attack { region: &region, ca, port, key, bearer };
    let before = peak_kib(region.process.id());

    // bodies without end, at each door that reads one into memory
    let group = format!("/subscriptions/{subscription}/resourceGroups/flood?api-version=2024-11-01");
    let list = signed("PUT", 0, "/acct/photos/endless\ncomp:blocklist", &attack.key, &[]);
    let list: Vec<(&str, &str)> = list.iter().map(|(k, v)| (*k, v.as_str())).collect();
    let form = [("content-type", "application/x-www-form-urlencoded")];
    let json = attack.bearer();
    let spaces = [b' '; 64 << 10];
    for (method, path, headers, part) in [
        ("POST", "/adfs/oauth2/token/", &form[..], &[b'a'; 64 << 10][..]),
        ("PUT", group.as_str(), &json[..], &spaces[..]),
        ("POST", "/v1.0/applications", &json[..], &spaces[..]),
        ("PUT", "/acct/photos/endless?comp=blocklist", &list[..], &spaces[..]),
        // nobody at all
        ("PUT", group.as_str(), &[][..], &spaces[..]),
        ("PUT", "/acct/photos/endless", &[][..], &spaces[..]),
    ] {
        let began = Instant::now();
        let (status, sent) = attack.endless(method, path, headers, part).await;
        assert!((400..500).contains(&status), "{method} {path}: {status}");
        assert!(sent < ENDLESS_BYTES && began.elapsed() < SOON, "{method} {path}: {sent} bytes in {:?}", began.elapsed());
    }

    // bombs of markup and of nesting
    let deep = |open: &str, close: &str| format!("{}{}", open.repeat(100_000), close.repeat(100_000));
    for bomb in [
        entity_bomb(),
        deep("<BlockList>", "</BlockList>"),
        format!("<BlockList>{}</BlockList>", deep("<Latest>", "</Latest>")),
        "<".repeat(1 << 20),
    ] {
        let began = Instant::now();
        let (status, said) = attack.blob(&http, "PUT", "photos/bomb?comp=blocklist", &[], Bytes::from(bomb)).await;
        assert!((400..500).contains(&status) && said.contains("<Code>"), "{status} {said}");
        assert!(began.elapsed() < SOON, "{:?}", began.elapsed());
    }
    for (method, path) in [("PUT", group.as_str()), ("POST", "/v1.0/applications")] {
        for bomb in [deep("[", "]"), deep("{\"a\":", "}"), format!("{{\"a\":{}", "[".repeat(500_000))] {
            let began = Instant::now();
            let (status, _, said) = http.call(method, &format!("{base}{path}"), &json, bomb).await;
            assert!((400..500).contains(&status), "{status} {said:?}");
            assert!(began.elapsed() < SOON);
        }
    }

    // lists of as many blocks as Azure allows, and of one more; none of them is there
    for (count, code) in [(50_000, "InvalidBlockList"), (50_001, "BlockListTooLong")] {
        let began = Instant::now();
        let list = block_list((0..count).map(block_id));
        let (status, said) = attack.blob(&http, "PUT", "photos/blocks?comp=blocklist", &[], list.into()).await;
        assert!((400..500).contains(&status) && said.contains(code), "{count}: {status} {said}");
        assert!(began.elapsed() < SOON, "{count}: {:?}", began.elapsed());
    }
    // one small block, named as often as a list may name one
    let staged = format!("photos/blocks?comp=block&blockid={}", wire::percent_encode(&block_id(0), b""));
    assert_eq!(attack.blob(&http, "PUT", &staged, &[], Bytes::from_static(b"b")).await.0, 201);
    let began = Instant::now();
    let list = block_list((0..50_000).map(|_| block_id(0)));
    let (status, said) = attack.blob(&http, "PUT", "photos/blocks?comp=blocklist", &[], list.into()).await;
    assert_eq!(status, 201, "{said}");
    let (status, said) = attack.blob(&http, "GET", "photos/blocks", &[], Bytes::new()).await;
    assert_eq!((status, said.len()), (200, 50_000));
    assert!(began.elapsed() < SOON, "{:?}", began.elapsed());

    // ranges: thousands in a header, and the same one over and over
    let put = attack.blob(&http, "PUT", "photos/range", &[("x-ms-blob-type", "BlockBlob")], Bytes::from(vec![7; 100_000])).await;
    assert_eq!(put.0, 201, "{}", put.1);
    let many = format!("bytes={}", (0..4_000).map(|i| format!("{i}-{i}")).collect::<Vec<_>>().join(","));
    let (status, said) = attack.blob(&http, "GET", "photos/range", &[("x-ms-range", &many)], Bytes::new()).await;
    assert!(matches!(status, 200 | 400 | 416) && said.len() <= 100_000, "{status} {}", said.len());
    let began = Instant::now();
    let floods = (0..64).map(|i| {
        let (attack, http) = (&attack, &http);
        async move {
            let range = format!("bytes={}-{}", i, 99_999 - i);
            for _ in 0..8 {
                assert_eq!(attack.blob(http, "GET", "photos/range", &[("x-ms-range", &range)], Bytes::new()).await.0, 206);
            }
        }
    });
    futures::future::join_all(floods).await;
    assert!(began.elapsed() < SOON * 2);

    let grown = peak_kib(region.process.id()) - before;
    assert!(grown < MEMORY_KIB_MAX, "the floods took {grown} KiB");
    // and it is still there for others
    let (status, ..) = http.call("GET", &format!("{base}/subscriptions?api-version=2022-12-01"), &json, "").await;
    assert_eq!(status, 200);
    let said = region.said();
    assert!(!said.contains("ERROR") && !said.contains("panic"), "{said}");
}

/// A client of `from` that says nothing.
async fn knock(from: [u8; 4], at: std::net::SocketAddr) -> TcpStream {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind((std::net::Ipv4Addr::from(from), 0).into()).unwrap();
    socket.connect(at).await.unwrap()
}

fn server_tls() -> gateway::Tls {
    let now = base::Clock::now(&base::SystemClock);
    let ca = crypto::Ca::generate_within("test", now, &["localhost".into()], &[([127, 0, 0, 0].into(), 8)]).unwrap();
    let issued = ca.issue_server(&["localhost".into()], &[[127, 0, 0, 1].into()], now.plus_seconds(-60), now.plus_seconds(3_600)).unwrap();
    gateway::Tls::new(issued.chain_der.clone(), issued.key_der.expose()).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn one_address_can_not_take_every_place() {
    let world = World::new(77).await;
    let limits = gateway::Limits { connections_max: 64, ..gateway::Limits::default() };
    let bearer = Arc::new(identity::verify_bearer);
    let gateway = gateway::Gateway::bounded(world.kit.trust.clone(), world.kit.urls.clone(), Vec::new(), bearer, limits);
    let listening = gateway.listen(([127, 0, 0, 1], 0).into(), server_tls()).await.unwrap();
    let mut held = Vec::new();
    for _ in 0..40 {
        held.push(knock([127, 0, 0, 5], listening.addr).await);
    }
    // what is too much is closed at once; the share is held
    let mut closed = 0;
    for connection in &mut held {
        let ended = tokio::time::timeout(Duration::from_millis(100), connection.read_u8()).await;
        closed += usize::from(ended.is_ok());
    }
    assert_eq!(closed, 40 - 16);
    // another address is served
    let mut other = knock([127, 0, 0, 6], listening.addr).await;
    assert!(tokio::time::timeout(Duration::from_millis(100), other.read_u8()).await.is_err(), "it was closed");
    world.kit.trust.turn().await.unwrap();
    let bundle = world.kit.trust.export(record::Owner::Operator).await.unwrap();
    let tallied: u64 = auditor::list(&bundle)
        .unwrap()
        .iter()
        .flat_map(|e| e.event.lines.clone())
        .filter(|l| l.outcome.code == "TooManyConnectionsOfPeer")
        .map(|l| l.count)
        .sum();
    assert_eq!(tallied, 24);
    drop((held, other));
    listening.stop(Duration::from_secs(5)).await;
}

#[tokio::test]
async fn a_stranger_with_an_account_can_not_fill_anothers_record() {
    const TRIES: u64 = 300;
    let world = World::new(78).await;
    let (victim, stranger): (&Customer, _) = (&world.contoso, world.client(&world.fabrikam, world.contoso.subscription).await);
    let entries = |bundle: &[u8]| auditor::list(bundle).unwrap().len();
    let owner = world.owner(&world.contoso).await;
    owner.put_group("g").await;
    owner.put_account("g", "victim").await;
    world.kit.trust.turn().await.unwrap();
    let before = world.kit.trust.export(Some(victim.tenant)).await.unwrap();
    for number in 0..TRIES {
        let path = stranger.group(&format!("group-{number}"));
        let answer = stranger.arm("Put Resource Group", "PUT", &path, serde_json::json!({"location": "francecentral"})).await;
        assert_eq!(answer.status, 404, "{}", answer.text());
    }
    world.kit.clock.advance_seconds(60);
    for number in 0..TRIES {
        let answer = stranger.blob_by_token("Get Blob", "GET", "victim", &format!("/photos/blob-{number}"), "").await;
        assert!(matches!(answer.status, 403 | 404), "{}", answer.text());
    }
    world.kit.trust.turn().await.unwrap();
    let after = world.kit.trust.export(Some(victim.tenant)).await.unwrap();
    let (made, all) = (entries(&after) - entries(&before), ledger_of(&after));
    assert!(made <= 60, "{made} entries for {TRIES} refusals");
    // every one of them is counted all the same
    assert_eq!(all[&("Put Resource Group".to_owned(), 404)], TRIES);
    let refused: u64 = [403, 404].iter().filter_map(|status| all.get(&("Get Blob".to_owned(), *status))).sum();
    assert_eq!(refused, TRIES);
    let lines: usize = auditor::list(&after).unwrap().iter().flat_map(|e| &e.event.lines).filter(|l| l.verb == "Get Blob").count();
    assert!(lines <= 40, "{lines} lines for {TRIES} refusals");
    // and the report says who it was: a name is the stranger's to choose, its tenant is not
    let report = world.kit.audit(Some(victim.tenant)).await.text("en");
    let line = report.lines().find(|l| l.contains("Put Resource Group") && l.contains("refused")).unwrap_or_else(|| panic!("{report}"));
    assert!(line.contains(&format!("of tenant {}", world.fabrikam.tenant)), "{line}");
}

#[tokio::test]
async fn sign_in_shadows_no_storage_account() {
    let world = World::new(79).await;
    let client = world.owner(&world.contoso).await;
    client.put_group("g").await;
    let local = |path: &str| format!("https://localhost{path}");
    for name in ["oauth2", "discovery"] {
        let key = client.put_account("g", name).await;
        for (other, made) in [("oauth2", 201), ("discovery", 201)] {
            let path = format!("/{other}?restype=container");
            assert_eq!(client.blob_by_key("", "PUT", name, &key, &path, "").await.status, made);
        }
        let bearer = format!("Bearer {}", client.storage);
        let headers = [("authorization", bearer.as_str()), ("x-ms-version", "2026-04-06")];
        // without a role on the data this is refused, by storage
        for path in ["oauth2/authorize", "oauth2/logout", "oauth2/v2.0/logout", "discovery/keys", "discovery/v2.0/keys"] {
            let answer = world.kit.call("GET", &local(&format!("/{name}/{path}")), &headers, "").await;
            assert!(answer.header("content-type").contains("xml"), "{name}/{path}: {} {:?}", answer.status, answer.headers);
        }
    }
    // and sign-in is where it was
    for directory in [world.contoso.tenant.to_string(), "contoso.example".into(), "common".into(), "organizations".into(), "adfs".into()] {
        let answer = world.kit.call("GET", &local(&format!("/{directory}/discovery/keys")), &[], "").await;
        assert_eq!((answer.status, answer.json()["keys"].is_array()), (200, true), "{directory}");
        let answer = world.kit.call("GET", &format!("https://login.bleu.localhost/{directory}/discovery/keys"), &[], "").await;
        assert_eq!(answer.status, 200, "{directory}");
    }
    // by its own name the door says what it does not know
    let answer = world.kit.call("GET", "https://login.bleu.localhost/nobody/v2.0/.well-known/openid-configuration", &[], "").await;
    assert_eq!(answer.json()["error"], "invalid_tenant");
}
