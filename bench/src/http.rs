//! One keep-alive connection, with TLS or without, and Shared Key.

use anyhow::{Context, Result, ensure};
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use bytes::Bytes;
use crypto::HmacKey;
use http::request::Builder;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request};
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper_util::rt::TokioIo;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use std::path::Path;
use std::sync::Arc;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

/// A storage account and its key.
#[derive(Clone)]
pub struct Account {
    pub name: &'static str,
    pub key: Arc<HmacKey>,
}

/// Where to connect, and whom to trust. Traffic stays on this machine: there is no other address to give.
#[derive(Clone)]
pub struct Caller {
    tls: Option<TlsConnector>,
    port: u16,
}

pub struct Connection {
    sender: SendRequest<Full<Bytes>>,
    host: HeaderValue,
}

impl Caller {
    /// TLS, trusting one authority.
    pub fn tls(ca: &Path, port: u16) -> Result<Caller> {
        let mut roots = rustls::RootCertStore::empty();
        roots.add(CertificateDer::from_pem_file(ca).context("the authority's certificate")?)?;
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = rustls::ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_root_certificates(roots)
            .with_no_client_auth();
        Ok(Caller { tls: Some(TlsConnector::from(Arc::new(config))), port })
    }

    /// Without TLS.
    pub fn plain(port: u16) -> Caller {
        Caller { tls: None, port }
    }

    pub async fn connect(&self) -> Result<Connection> {
        let tcp = TcpStream::connect(("127.0.0.1", self.port)).await?;
        tcp.set_nodelay(true)?;
        let host = HeaderValue::from_str(&format!("localhost:{}", self.port))?;
        let Some(tls) = &self.tls else {
            let (sender, connection) = handshake(TokioIo::new(tcp)).await?;
            tokio::spawn(connection);
            return Ok(Connection { sender, host });
        };
        let tls = tls.connect(ServerName::try_from("localhost")?, tcp).await?;
        let (sender, connection) = handshake(TokioIo::new(tls)).await?;
        tokio::spawn(connection);
        Ok(Connection { sender, host })
    }
}

/// The head of a request, ready to be sent many times within the fifteen minutes of its date.
#[derive(Clone)]
pub struct Head {
    method: Method,
    target: http::Uri,
    headers: HeaderMap,
}

impl Head {
    pub fn plain(path: &str) -> Result<Head> {
        Ok(Head { method: Method::GET, target: path.parse()?, headers: HeaderMap::new() })
    }

    pub fn arm(method: &str, path: &str, bearer: &str) -> Result<Head> {
        let mut headers = HeaderMap::new();
        headers.insert("authorization", HeaderValue::from_str(bearer)?);
        headers.insert("content-type", HeaderValue::from_static("application/json"));
        Ok(Head { method: method.parse()?, target: path.parse()?, headers })
    }

    /// Shared Key, path style (Azure Storage, "Authorize with Shared Key"). `query` in the order of its names.
    pub fn signed(account: &Account, method: &str, name: &str, query: &[(&str, &str)], length: usize) -> Result<Head> {
        let path = format!("/{}/{name}", account.name);
        let mut resource = path.clone();
        query.iter().for_each(|(k, v)| resource.push_str(&format!("\n{k}:{v}")));
        let date = base::Clock::now(&base::SystemClock).http_date();
        let is_blob = method == "PUT" && query.is_empty();
        let kind = if is_blob { "x-ms-blob-type:BlockBlob\n" } else { "" };
        let signed_length = if length == 0 { String::new() } else { length.to_string() };
        let text = format!(
            "{method}\n\n\n{signed_length}\n\n\n\n\n\n\n\n\n{kind}x-ms-date:{date}\nx-ms-version:2026-04-06\n/{}{resource}",
            account.name
        );
        let signature = BASE64_STANDARD.encode(account.key.sign(text.as_bytes()));
        let mut headers = HeaderMap::new();
        let mut add = |name: &'static str, value: &str| -> Result<()> {
            headers.insert(HeaderName::from_static(name), HeaderValue::from_str(value)?);
            Ok(())
        };
        add("x-ms-date", &date)?;
        add("x-ms-version", "2026-04-06")?;
        add("authorization", &format!("SharedKey {}:{signature}", account.name))?;
        if is_blob {
            add("x-ms-blob-type", "BlockBlob")?;
        }
        let query: Vec<String> = query.iter().map(|(k, v)| format!("{k}={}", wire::percent_encode(v, b""))).collect();
        let target = if query.is_empty() { path } else { format!("{path}?{}", query.join("&")) };
        Ok(Head { method: method.parse()?, target: target.parse()?, headers })
    }

    fn request(&self) -> Builder {
        let mut request = Request::builder().method(self.method.clone()).uri(self.target.clone());
        if let Some(headers) = request.headers_mut() {
            headers.clone_from(&self.headers);
        }
        request
    }
}

impl Connection {
    /// Status, headers, whole body; any status.
    pub async fn call(&mut self, head: Builder, body: Bytes) -> Result<(http::response::Parts, Bytes)> {
        self.sender.ready().await?;
        let request = head.header("host", self.host.clone()).body(Full::new(body))?;
        let (parts, body) = self.sender.send_request(request).await?.into_parts();
        Ok((parts, body.collect().await?.to_bytes()))
    }

    /// The body of a success; anything else is an error.
    pub async fn send(&mut self, head: &Head, body: Bytes) -> Result<Bytes> {
        let (parts, answer) = self.call(head.request(), body).await?;
        let said = || String::from_utf8_lossy(&answer[..answer.len().min(500)]).into_owned();
        ensure!(parts.status.is_success(), "{} {}: {} {}", head.method, head.target, parts.status, said());
        Ok(answer)
    }

    /// A success whose body is exactly `expected`, compared as it arrives.
    pub async fn receive(&mut self, head: &Head, expected: &[u8]) -> Result<()> {
        self.sender.ready().await?;
        let request = head.request().header("host", self.host.clone()).body(Full::new(Bytes::new()))?;
        let response = self.sender.send_request(request).await?;
        ensure!(response.status().is_success(), "{}: {}", head.target, response.status());
        let (mut body, mut at) = (response.into_body(), 0);
        while let Some(frame) = body.frame().await {
            let Ok(part) = frame?.into_data() else { continue };
            let end = at + part.len();
            ensure!(expected.get(at..end) == Some(&part[..]), "{}: a wrong byte after {at}", head.target);
            at = end;
        }
        ensure!(at == expected.len(), "{}: {at} bytes instead of {}", head.target, expected.len());
        Ok(())
    }

    pub async fn container(&mut self, account: &Account, name: &str) -> Result<()> {
        let head = Head::signed(account, "PUT", name, &[("restype", "container")], 0)?;
        self.send(&head, Bytes::new()).await.map(drop)
    }
    pub async fn put(&mut self, account: &Account, name: &str, body: Bytes) -> Result<()> {
        let head = Head::signed(account, "PUT", name, &[], body.len())?;
        self.send(&head, body).await.map(drop)
    }
    pub async fn put_block(&mut self, account: &Account, name: &str, id: &str, body: Bytes) -> Result<()> {
        let head = Head::signed(account, "PUT", name, &[("blockid", id), ("comp", "block")], body.len())?;
        self.send(&head, body).await.map(drop)
    }
    pub async fn put_block_list(&mut self, account: &Account, name: &str, ids: &[String]) -> Result<()> {
        let list: String = ids.iter().map(|id| format!("<Latest>{id}</Latest>")).collect();
        let body = format!("<?xml version=\"1.0\" encoding=\"utf-8\"?><BlockList>{list}</BlockList>");
        let head = Head::signed(account, "PUT", name, &[("comp", "blocklist")], body.len())?;
        self.send(&head, body.into()).await.map(drop)
    }
    pub async fn arm(&mut self, method: &str, path: &str, bearer: &str, body: &'static str) -> Result<Bytes> {
        self.send(&Head::arm(method, path, bearer)?, body.into()).await
    }
}
