//! One keep-alive connection over TLS, and Shared Key.

use crate::region::Account;
use anyhow::{Context, Result, ensure};
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper_util::rt::TokioIo;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use std::path::Path;
use std::sync::Arc;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

/// Where to connect, and whom to trust.
#[derive(Clone)]
pub struct Caller {
    tls: TlsConnector,
    port: u16,
}

pub struct Connection {
    sender: SendRequest<Full<Bytes>>,
    port: u16,
}

impl Caller {
    pub fn new(ca: &Path, port: u16) -> Result<Caller> {
        let mut roots = rustls::RootCertStore::empty();
        roots.add(CertificateDer::from_pem_file(ca).context("the authority's certificate")?)?;
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = rustls::ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_root_certificates(roots)
            .with_no_client_auth();
        Ok(Caller { tls: TlsConnector::from(Arc::new(config)), port })
    }

    pub async fn connect(&self) -> Result<Connection> {
        let tcp = TcpStream::connect(("127.0.0.1", self.port)).await?;
        tcp.set_nodelay(true)?;
        let tls = self.tls.connect(ServerName::try_from("localhost")?, tcp).await?;
        let (sender, connection) = handshake(TokioIo::new(tls)).await?;
        tokio::spawn(connection);
        Ok(Connection { sender, port: self.port })
    }
}

impl Connection {
    pub async fn call(
        &mut self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: Bytes,
    ) -> Result<(http::response::Parts, Bytes)> {
        let mut request = http::Request::builder().method(method).uri(path).header("host", format!("localhost:{}", self.port));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        self.sender.ready().await?;
        let (parts, body) = self.sender.send_request(request.body(Full::new(body))?).await?.into_parts();
        Ok((parts, body.collect().await?.to_bytes()))
    }

    async fn signed(
        &mut self,
        account: &Account,
        method: &str,
        name: &str,
        query: &[(&str, &str)],
        extra: &[(&'static str, &str)],
        body: Bytes,
    ) -> Result<Bytes> {
        let path = format!("/{}/{name}", account.name);
        let mut resource = path.clone();
        query.iter().for_each(|(k, v)| resource.push_str(&format!("\n{k}:{v}")));
        let mut ms: Vec<(&'static str, String)> = extra.iter().map(|(k, v)| (*k, (*v).to_owned())).collect();
        ms.push(("x-ms-date", base::Clock::now(&base::SystemClock).http_date()));
        ms.push(("x-ms-version", "2026-04-06".into()));
        ms.sort();
        let canonical: String = ms.iter().map(|(k, v)| format!("{k}:{v}\n")).collect();
        let length = if body.is_empty() { String::new() } else { body.len().to_string() };
        let text = format!("{method}\n\n\n{length}\n\n\n\n\n\n\n\n\n{canonical}/{}{resource}", account.name);
        ms.push(("authorization", format!("SharedKey {}:{}", account.name, BASE64_STANDARD.encode(account.key.sign(text.as_bytes())))));
        let headers: Vec<(&str, &str)> = ms.iter().map(|(k, v)| (*k, v.as_str())).collect();
        let query: Vec<String> = query.iter().map(|(k, v)| format!("{k}={}", wire::percent_encode(v, b""))).collect();
        let url = if query.is_empty() { path } else { format!("{path}?{}", query.join("&")) };
        let (parts, answer) = self.call(method, &url, &headers, body).await?;
        ensure!(parts.status.is_success(), "{method} {url}: {} {}", parts.status, String::from_utf8_lossy(&answer));
        Ok(answer)
    }

    pub async fn container(&mut self, account: &Account, name: &str) -> Result<()> {
        self.signed(account, "PUT", name, &[("restype", "container")], &[], Bytes::new()).await.map(drop)
    }
    pub async fn put(&mut self, account: &Account, name: &str, body: Bytes) -> Result<()> {
        self.signed(account, "PUT", name, &[], &[("x-ms-blob-type", "BlockBlob")], body).await.map(drop)
    }
    pub async fn put_block(&mut self, account: &Account, name: &str, id: &str, body: Bytes) -> Result<()> {
        self.signed(account, "PUT", name, &[("blockid", id), ("comp", "block")], &[], body).await.map(drop)
    }
    pub async fn put_block_list(&mut self, account: &Account, name: &str, ids: &[String]) -> Result<()> {
        let list: String = ids.iter().map(|id| format!("<Latest>{id}</Latest>")).collect();
        let body = format!("<?xml version=\"1.0\" encoding=\"utf-8\"?><BlockList>{list}</BlockList>");
        self.signed(account, "PUT", name, &[("comp", "blocklist")], &[], body.into()).await.map(drop)
    }
    pub async fn get(&mut self, account: &Account, name: &str) -> Result<Bytes> {
        self.signed(account, "GET", name, &[], &[], Bytes::new()).await
    }
    pub async fn plain_get(&mut self, path: &str) -> Result<Bytes> {
        let (parts, body) = self.call("GET", path, &[], Bytes::new()).await?;
        ensure!(parts.status.is_success(), "{path}: {}", parts.status);
        Ok(body)
    }
    pub async fn arm(&mut self, method: &str, path: &str, bearer: &str, body: &'static str) -> Result<Bytes> {
        let headers = [("authorization", bearer), ("content-type", "application/json")];
        let (parts, answer) = self.call(method, path, &headers, body.into()).await?;
        ensure!(parts.status.is_success(), "{method} {path}: {} {}", parts.status, String::from_utf8_lossy(&answer));
        Ok(answer)
    }
}
