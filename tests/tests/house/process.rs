//! The real binary as a process, and a client that speaks to it over TLS.

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper_util::client::legacy::Client as Pool;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

pub fn program() -> PathBuf {
    // the soak brings one that was built to be fast
    if let Some(path) = std::env::var_os("BLEU_PROGRAM") {
        return path.into();
    }
    // target/debug/deps/main-… → target/debug/bleu
    let path = std::env::current_exe().unwrap().ancestors().nth(2).unwrap().join("bleu");
    assert!(path.exists(), "{} is missing: cargo build -p bleu", path.display());
    path
}

pub struct Region {
    pub process: Child,
    pub ready: Value,
    /// Where its log is, and the folder `data`.
    folder: PathBuf,
}

impl Region {
    pub fn start(folder: &Path) -> Region {
        Region::start_with(folder, &[])
    }
    /// With further options of `bleu up`.
    pub fn start_with(folder: &Path, options: &[&str]) -> Region {
        Region::try_start(folder, options).unwrap_or_else(|said| panic!("{said}"))
    }
    /// Error: what it said before it ended.
    pub fn try_start(folder: &Path, options: &[&str]) -> Result<Region, String> {
        let ready = folder.join("ready");
        let _ = std::fs::remove_file(&ready);
        let log = std::fs::File::options().create(true).append(true).open(folder.join("log")).unwrap();
        let mut process = Command::new(program())
            .args(["up", "--listen", "127.0.0.1:0", "--data"])
            .arg(folder.join("data"))
            .arg("--ready-file")
            .arg(&ready)
            .args(options)
            .env("LC_ALL", "C")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .unwrap();
        let begun = Instant::now();
        while !ready.exists() {
            if let Some(status) = process.try_wait().unwrap() {
                return Err(format!("{status}: {}", said(folder)));
            }
            assert!(begun.elapsed() < Duration::from_secs(60), "{}", said(folder));
            std::thread::sleep(Duration::from_millis(10));
        }
        let ready = serde_json::from_slice(&std::fs::read(&ready).unwrap()).unwrap();
        Ok(Region { process, ready, folder: folder.to_owned() })
    }
    /// SIGKILL, with no word before it.
    pub fn kill(mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }
    /// Everything that the region said since its folder was made.
    pub fn said(&self) -> String {
        said(&self.folder)
    }
    pub fn subscription(&self) -> String {
        self.ready["subscription"].as_str().unwrap().to_owned()
    }
    pub fn url(&self) -> String {
        self.ready["management"].as_str().unwrap().trim_end_matches('/').to_owned()
    }
}

fn said(folder: &Path) -> String {
    std::fs::read_to_string(folder.join("log")).unwrap()
}

impl Drop for Region {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

pub fn bleu(folder: &Path, arguments: &[&str]) -> (bool, String) {
    let output = Command::new(program()).args(arguments).current_dir(folder).env("LC_ALL", "C").env("HOME", folder).output().unwrap();
    (output.status.success(), format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr)))
}

/// Status, headers, body.
pub type Answered = (u16, http::HeaderMap, Bytes);

/// HTTP over TLS, trusting the region's authority alone.
#[derive(Clone)]
pub struct Http {
    pool: Pool<Tls, Full<Bytes>>,
}

/// TLS over TCP for the pool.
#[derive(Clone)]
pub struct Tls {
    tcp: HttpConnector,
    config: Arc<rustls::ClientConfig>,
}

type Stream =
    hyper_util::rt::TokioIo<tokio_rustls::client::TlsStream<hyper_util::rt::TokioIo<hyper_util::rt::TokioIo<tokio::net::TcpStream>>>>;

pub struct Connected(Stream);

impl hyper_util::client::legacy::connect::Connection for Connected {
    fn connected(&self) -> hyper_util::client::legacy::connect::Connected {
        hyper_util::client::legacy::connect::Connected::new()
    }
}
impl hyper::rt::Read for Connected {
    fn poll_read(
        mut self: std::pin::Pin<&mut Self>,
        cx: &mut std::task::Context<'_>,
        buf: hyper::rt::ReadBufCursor<'_>,
    ) -> std::task::Poll<std::io::Result<()>> {
        std::pin::Pin::new(&mut self.0).poll_read(cx, buf)
    }
}
impl hyper::rt::Write for Connected {
    fn poll_write(
        mut self: std::pin::Pin<&mut Self>,
        cx: &mut std::task::Context<'_>,
        buf: &[u8],
    ) -> std::task::Poll<std::io::Result<usize>> {
        std::pin::Pin::new(&mut self.0).poll_write(cx, buf)
    }
    fn poll_flush(mut self: std::pin::Pin<&mut Self>, cx: &mut std::task::Context<'_>) -> std::task::Poll<std::io::Result<()>> {
        std::pin::Pin::new(&mut self.0).poll_flush(cx)
    }
    fn poll_shutdown(mut self: std::pin::Pin<&mut Self>, cx: &mut std::task::Context<'_>) -> std::task::Poll<std::io::Result<()>> {
        std::pin::Pin::new(&mut self.0).poll_shutdown(cx)
    }
}

impl tower_service::Service<http::Uri> for Tls {
    type Response = Connected;
    type Error = Box<dyn std::error::Error + Send + Sync>;
    type Future = base::Fut<'static, Result<Connected, Self::Error>>;
    fn poll_ready(&mut self, cx: &mut std::task::Context<'_>) -> std::task::Poll<Result<(), Self::Error>> {
        tower_service::Service::poll_ready(&mut self.tcp, cx).map_err(Into::into)
    }
    fn call(&mut self, uri: http::Uri) -> Self::Future {
        let (connecting, config) = (tower_service::Service::call(&mut self.tcp, uri), self.config.clone());
        Box::pin(async move {
            let tcp = hyper_util::rt::TokioIo::new(connecting.await?);
            let name = rustls::pki_types::ServerName::try_from("localhost")?;
            let tls = tokio_rustls::TlsConnector::from(config).connect(name, tcp).await?;
            Ok(Connected(hyper_util::rt::TokioIo::new(tls)))
        })
    }
}

impl Http {
    pub fn new(ca: &Path) -> Http {
        use rustls::pki_types::CertificateDer;
        use rustls::pki_types::pem::PemObject;
        let mut roots = rustls::RootCertStore::empty();
        roots.add(CertificateDer::from_pem_file(ca).unwrap()).unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = rustls::ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        let mut tcp = HttpConnector::new();
        tcp.enforce_http(false);
        Http { pool: Pool::builder(TokioExecutor::new()).build(Tls { tcp, config: Arc::new(config) }) }
    }
    pub async fn call(&self, method: &str, url: &str, headers: &[(&str, &str)], body: impl Into<Bytes>) -> Answered {
        self.try_call(method, url, headers, body).await.unwrap()
    }
    /// The answer with its body still to come.
    pub async fn open(&self, method: &str, url: &str, headers: &[(&str, &str)]) -> http::Response<hyper::body::Incoming> {
        let mut request = http::Request::builder().method(method).uri(url);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        self.pool.request(request.body(Full::default()).unwrap()).await.unwrap()
    }
    /// Error: the connection ended instead.
    pub async fn try_call(&self, method: &str, url: &str, headers: &[(&str, &str)], body: impl Into<Bytes>) -> Result<Answered, String> {
        let mut request = http::Request::builder().method(method).uri(url);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let response = self.pool.request(request.body(Full::new(body.into())).unwrap()).await.map_err(|e| e.to_string())?;
        let (parts, body) = response.into_parts();
        let body = body.collect().await.map_err(|e| e.to_string())?;
        Ok((parts.status.as_u16(), parts.headers, body.to_bytes()))
    }
}

/// Signs a path-style request with Shared Key (Azure Storage, "Authorize with Shared Key").
pub fn signed(method: &str, length: usize, path: &str, key: &[u8], extra: &[(&'static str, &str)]) -> Vec<(&'static str, String)> {
    let date = base::Clock::now(&base::SystemClock).http_date();
    let mut ms: Vec<(&'static str, String)> = extra.iter().map(|(k, v)| (*k, (*v).to_owned())).collect();
    ms.push(("x-ms-date", date));
    ms.push(("x-ms-version", "2026-04-06".into()));
    ms.sort();
    let canonical: String = ms.iter().map(|(k, v)| format!("{k}:{v}\n")).collect();
    let length = if length == 0 { String::new() } else { length.to_string() };
    let text = format!("{method}\n\n\n{length}\n\n\n\n\n\n\n\n\n{canonical}/acct{path}");
    let signature = BASE64_STANDARD.encode(crypto::hmac_sha256(key, text.as_bytes()));
    ms.push(("authorization", format!("SharedKey acct:{signature}")));
    ms
}

pub async fn blob(http: &Http, base: &str, method: &str, name: &str, key: &[u8], body: Bytes, query: &str) -> (u16, Bytes) {
    try_blob(http, base, method, name, key, body, query).await.unwrap()
}

/// One call of storage, by Shared Key. Error: the connection ended instead of an answer.
pub async fn try_blob(
    http: &Http,
    base: &str,
    method: &str,
    name: &str,
    key: &[u8],
    body: Bytes,
    query: &str,
) -> Result<(u16, Bytes), String> {
    let (url, headers) = blob_request(base, method, name, key, body.len(), query);
    let headers: Vec<(&str, &str)> = headers.iter().map(|(k, v)| (*k, v.as_str())).collect();
    let (status, _, body) = http.try_call(method, &url, &headers, body).await?;
    Ok((status, body))
}

/// URL and signed headers. `query`: in the order of its names, nothing in it encoded.
pub fn blob_request(base: &str, method: &str, name: &str, key: &[u8], length: usize, query: &str) -> (String, Vec<(&'static str, String)>) {
    let path = format!("/acct/{name}");
    let extra: &[(&'static str, &str)] = if method == "PUT" && query.is_empty() { &[("x-ms-blob-type", "BlockBlob")] } else { &[] };
    let resource = if query.is_empty() { path.clone() } else { format!("{path}\n{}", query.replace('=', ":").replace('&', "\n")) };
    let headers = signed(method, length, &resource, key, extra);
    let url = if query.is_empty() { format!("{base}{path}") } else { format!("{base}{path}?{query}") };
    (url, headers)
}

/// What signs the first client in: an `Authorization` header.
pub async fn token(http: &Http, base: &str, folder: &Path) -> String {
    let client: Value = serde_json::from_slice(&std::fs::read(folder.join("data/client.json")).unwrap()).unwrap();
    let text = |name: &str| client[name].as_str().unwrap().to_owned();
    let scope = wire::percent_encode(&format!("{base}/.default"), b"");
    let form = format!(
        "grant_type=client_credentials&client_id={}&client_secret={}&scope={scope}",
        text("client_id"),
        wire::percent_encode(&text("client_secret"), b"")
    );
    let (status, _, body) =
        http.call("POST", &format!("{base}/adfs/oauth2/token/"), &[("content-type", "application/x-www-form-urlencoded")], form).await;
    assert_eq!(status, 200, "{body:?}");
    let token: Value = serde_json::from_slice(&body).unwrap();
    format!("Bearer {}", token["access_token"].as_str().unwrap())
}

/// An account `acct` with a container `photos`; gives its key.
pub async fn account(http: &Http, base: &str, folder: &Path, subscription: &str) -> Vec<u8> {
    let bearer = token(http, base, folder).await;
    let headers = [("authorization", bearer.as_str()), ("content-type", "application/json")];
    let group = format!("{base}/subscriptions/{subscription}/resourceGroups/g");
    let (status, ..) = http.call("PUT", &format!("{group}?api-version=2024-11-01"), &headers, r#"{"location":"francecentral"}"#).await;
    assert_eq!(status, 201);
    let account = format!("{group}/providers/Microsoft.Storage/storageAccounts/acct");
    let wish = r#"{"location":"francecentral","sku":{"name":"Standard_LRS"},"kind":"StorageV2"}"#;
    let (mut status, answer, _) = http.call("PUT", &format!("{account}?api-version=2025-08-01"), &headers, wish).await;
    let location = answer.get("location").map(|l| l.to_str().unwrap().to_owned());
    for _ in 0..500 {
        if status != 202 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
        status = http.call("GET", location.as_ref().unwrap(), &headers, "").await.0;
    }
    assert_eq!(status, 200);
    let (status, _, body) = http.call("POST", &format!("{account}/listKeys?api-version=2025-08-01"), &headers, "").await;
    assert_eq!(status, 200);
    let keys: Value = serde_json::from_slice(&body).unwrap();
    let key = BASE64_STANDARD.decode(keys["keys"][0]["value"].as_str().unwrap()).unwrap();
    let (status, body) = blob(http, base, "PUT", "photos", &key, Bytes::new(), "restype=container").await;
    assert_eq!(status, 201, "{body:?}");
    key
}
