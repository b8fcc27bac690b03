//! A witness (C2SP tlog-witness): a second process that cosigns a region's checkpoints only while its log does nothing
//! but grow. And the region's side of it: the client, and the local witness that `bleu up` starts.
//!
//! A witness on the same machine protects only against rewriting the log *later*: whoever has the machine has both keys.
//! A customer who wants more runs one elsewhere (`bleu witness --listen … --log …`) and has the region name it in
//! `region.toml`.
//!
//! Its folder: `witness.key` (the seed of its Ed25519 key), `logs` (the keys of the logs it watches, a line each),
//! `seen/` (a file a log: the last checkpoint cosigned), `lock`.

use crate::folder::{self, make_folder, read_small, write_public, write_secret};
use crate::{phrase, ui};
use anyhow::{Context, Result, bail};
use base::{Clock, Error, Fut, OsChance, SystemClock};
use bytes::Bytes;
use crypto::{NoteKey, Secret};
use http::{Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::client::legacy::{Client, connect::HttpConnector};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use record::witness::{Answer, REQUEST_BYTES_MAX, Seen, Watched, add_checkpoint};
use record::{KeyKind, NoteSigner, VerifierKey};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, BufReader};
use tokio::net::TcpListener;
use tokio::process::{Child, ChildStdin, Command};
use tokio::sync::Semaphore;
use tokio::task::JoinHandle;

const CONNECTIONS_MAX: usize = 64;
const LOGS_MAX: usize = 1_000;
/// Time for a request's head, for its body, and for a whole answer.
const REQUEST_TIME: Duration = Duration::from_secs(5);

/// The witness itself: a key, the logs it watches, and what it has seen of each.
pub struct Witness {
    folder: PathBuf,
    signer: NoteSigner,
    /// By origin. Held while a request is judged and its outcome made durable: two requests must not cross.
    watched: Mutex<BTreeMap<String, Watched>>,
    _lock: folder::Lock,
}

impl Witness {
    /// Opens a witness's folder, or makes one with a new key. `logs` are watched beside those of its file. A process
    /// that holds the folder is given so long to end.
    pub fn open(path: &Path, logs: &[String], patience: Duration) -> Result<Witness> {
        let shown = path.display();
        make_folder(&path.join("seen"))
            .with_context(|| phrase!("The folder '{shown}' can't be made.", "Le dossier « {shown} » ne peut être créé."))?;
        let until = Instant::now() + patience;
        let lock = loop {
            match folder::lock(&path.join("lock"))? {
                None if Instant::now() < until => std::thread::sleep(Duration::from_millis(5)),
                lock => break lock,
            }
        };
        let lock = lock.with_context(|| phrase!("A witness already runs in '{shown}'.", "Un témoin est déjà démarré dans « {shown} »."))?;
        let key_path = path.join("witness.key");
        let seed = match read_small(&key_path)? {
            Some(text) => {
                let bytes = hex::decode(text.trim()).ok().filter(|b| b.len() == 32);
                Secret::from_slice(&bytes.with_context(|| {
                    phrase!("The key of the witness in '{shown}' is damaged.", "La clé du témoin dans « {shown} » est endommagée.")
                })?)?
            }
            None => {
                let seed = Secret::<32>::random(&OsChance);
                write_secret(&key_path, format!("{}\n", hex::encode(seed.expose())).as_bytes())?;
                seed
            }
        };
        let key = NoteKey::from_seed(seed)?;
        // the name tells witnesses apart in trust files; it follows from the key, so it can't be forgotten
        let name = format!("witness-{}", hex::encode(&crypto::sha256(&key.public())[..6]));
        let public = VerifierKey::new(&name, KeyKind::Cosigner, key.public())?;
        let signer = NoteSigner::new(public, move |message| Ok(key.sign(message)));
        let witness = Witness { folder: path.to_owned(), signer, watched: Mutex::default(), _lock: lock };
        for log in logs {
            witness.watch(log)?;
        }
        witness.reread()?;
        Ok(witness)
    }

    pub fn key(&self) -> &VerifierKey {
        self.signer.key()
    }

    /// Takes up the logs that its file names. The region writes its own there when it first starts.
    fn reread(&self) -> Result<()> {
        let text = read_small(&self.folder.join("logs"))?.unwrap_or_default();
        for line in text.lines().filter(|l| !l.is_empty() && !l.starts_with('#')) {
            self.watch(line)?;
        }
        Ok(())
    }

    fn watch(&self, log: &str) -> Result<()> {
        let log: VerifierKey = log
            .parse()
            .with_context(|| phrase!("The key of a log is not right: {log}", "La clé d’un journal n’est pas correcte : {log}"))?;
        let mut watched = self.watched.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(other) = watched.get(log.name()) {
            if other.log != log {
                bail!(phrase!("The log '{}' has two keys.", "Le journal « {} » a deux clés.", log.name()));
            }
            return Ok(());
        }
        if watched.len() >= LOGS_MAX {
            bail!(phrase!("A witness watches at most {LOGS_MAX} logs.", "Un témoin suit au plus {LOGS_MAX} journaux."));
        }
        let seen = match read_small(&self.seen_path(&log))? {
            Some(text) => Seen::parse(&text)?,
            None => Seen::nothing(),
        };
        watched.insert(log.name().to_owned(), Watched { log, seen });
        Ok(())
    }

    fn seen_path(&self, log: &VerifierKey) -> PathBuf {
        self.folder.join("seen").join(hex::encode(crypto::sha256(log.to_string().as_bytes())))
    }

    /// Judges a request. What it saw is durable before the answer is given: otherwise a crash could roll the log back.
    pub fn judge(&self, body: &[u8], now: base::Timestamp) -> Answer {
        let answer = self.try_judge(body, now);
        if answer.status != 404 {
            return answer;
        }
        if let Err(error) = self.reread() {
            tracing::warn!(error = format!("{error:#}"), "the list of logs could not be read");
        }
        self.try_judge(body, now)
    }

    fn try_judge(&self, body: &[u8], now: base::Timestamp) -> Answer {
        let mut watched = self.watched.lock().unwrap_or_else(PoisonError::into_inner);
        let answer = add_checkpoint(|origin| watched.get(origin), body, &self.signer, now);
        let Some(seen) = answer.seen else { return answer };
        let origin = record::witness::AddCheckpoint::parse(body).map(|r| r.checkpoint.checkpoint.origin);
        let log = origin.ok().and_then(|origin| watched.get_mut(&origin));
        let kept = match log {
            // asked again for the same: nothing new to keep
            Some(log) if log.seen == seen => Ok(()),
            Some(log) => write_public(&self.seen_path(&log.log), seen.text().as_bytes()).map(|()| log.seen = seen),
            None => Err(anyhow::anyhow!("the log is gone")),
        };
        match kept {
            Ok(()) => answer,
            Err(error) => {
                tracing::error!(error = format!("{error:#}"), "what was seen could not be kept");
                Answer {
                    status: 500,
                    content_type: "text/plain; charset=utf-8",
                    body: "The witness can't keep what it saw.\n".into(),
                    seen: None,
                }
            }
        }
    }
}

/// What a witness tells whoever started it, on its first line.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Started {
    pub url: String,
    pub key: String,
}

/// `bleu witness`: serves until it is told to stop, or, for a child, until its parent is gone.
pub async fn run(path: &Path, at: SocketAddr, logs: &[String], json: bool, child: bool) -> Result<()> {
    // the witness of a region that has just died may be about to notice
    let patience = if child { Duration::from_secs(3) } else { Duration::ZERO };
    let witness = Arc::new(Witness::open(path, logs, patience)?);
    let listener = TcpListener::bind(at).await.with_context(|| {
        phrase!(
            "Can't listen on {at}. Choose another address with --listen.",
            "Impossible d’écouter sur {at}. Choisissez une autre adresse avec --listen."
        )
    })?;
    let started = Started { url: format!("http://{}", listener.local_addr()?), key: witness.key().to_string() };
    if json {
        ui::line(serde_json::to_string(&started)?);
    } else {
        let Started { url, key } = &started;
        ui::line(phrase!(
            "The witness answers at {url}. Name it in a region's region.toml, and its key in the trust file of whoever verifies:\n\n[[witness]]\nurl = \"{url}\"\nkey = \"{key}\"",
            "Le témoin répond sur {url}. Nommez-le dans le region.toml d’une région, et sa clé dans le fichier de confiance de qui vérifie :\n\n[[witness]]\nurl = \"{url}\"\nkey = \"{key}\""
        ));
    }
    let stop = crate::signal::stop()?;
    tokio::select! {
        () = serve(listener, witness) => {}
        () = stop => {}
        () = parent_gone(), if child => {}
    }
    Ok(())
}

/// A child holds the other end of a pipe to its parent: when the pipe ends, the parent has.
async fn parent_gone() {
    let mut byte = [0];
    while tokio::io::stdin().read(&mut byte).await.is_ok_and(|n| n > 0) {}
}

async fn serve(listener: TcpListener, witness: Arc<Witness>) {
    let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    loop {
        let Ok((stream, _)) = listener.accept().await else {
            // out of file handles, most likely: let some close
            tokio::time::sleep(Duration::from_millis(50)).await;
            continue;
        };
        let Ok(place) = places.clone().try_acquire_owned() else { continue };
        let witness = witness.clone();
        tokio::spawn(async move {
            let _place = place;
            let service = service_fn(move |request| answer(witness.clone(), request));
            let mut builder = hyper::server::conn::http1::Builder::new();
            builder.timer(TokioTimer::new()).header_read_timeout(REQUEST_TIME).max_buf_size(16 << 10).max_headers(32);
            if let Err(error) = builder.serve_connection(TokioIo::new(stream), service).await {
                tracing::debug!(%error, "a connection ended badly");
            }
        });
    }
}

async fn answer(witness: Arc<Witness>, request: Request<Incoming>) -> Result<Response<Full<Bytes>>, std::convert::Infallible> {
    let (parts, body) = request.into_parts();
    if parts.uri.path() != "/add-checkpoint" {
        return Ok(plain(StatusCode::NOT_FOUND, "There is only /add-checkpoint here.\n"));
    }
    if parts.method != Method::POST {
        return Ok(plain(StatusCode::METHOD_NOT_ALLOWED, "Use POST.\n"));
    }
    let body = match tokio::time::timeout(REQUEST_TIME, Limited::new(body, REQUEST_BYTES_MAX).collect()).await {
        Err(_) => return Ok(plain(StatusCode::REQUEST_TIMEOUT, "The body did not come in time.\n")),
        Ok(Err(_)) => return Ok(plain(StatusCode::PAYLOAD_TOO_LARGE, "The body is too long, or broke off.\n")),
        Ok(Ok(body)) => body.to_bytes(),
    };
    // it waits for the disk
    let judged = tokio::task::spawn_blocking(move || witness.judge(&body, SystemClock.now())).await;
    let Ok(judged) = judged else { return Ok(plain(StatusCode::INTERNAL_SERVER_ERROR, "The witness met an error.\n")) };
    let mut response = Response::new(Full::new(Bytes::from(judged.body)));
    *response.status_mut() = StatusCode::from_u16(judged.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    response.headers_mut().insert(http::header::CONTENT_TYPE, http::HeaderValue::from_static(judged.content_type));
    Ok(response)
}

fn plain(status: StatusCode, text: &'static str) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from_static(text.as_bytes())));
    *response.status_mut() = status;
    response
}

/// The address of a witness. Error: not `http://`; TLS to a witness is not built yet.
pub fn address(url: &str) -> Result<http::Uri> {
    let wrong = || {
        phrase!(
            "'{url}' is not the address of a witness, such as http://192.0.2.7:8090.",
            "« {url} » n’est pas l’adresse d’un témoin, telle que http://192.0.2.7:8090."
        )
    };
    let uri: http::Uri = format!("{}/add-checkpoint", url.trim_end_matches('/')).parse().with_context(wrong)?;
    if uri.scheme_str() == Some("https") {
        bail!(phrase!(
            "A witness over https is not implemented in this version of bleu: checkpoints and cosignatures are public and signed, use http.",
            "Un témoin en https n’est pas réalisé dans cette version de bleu : points de contrôle et cosignatures sont publics et signés, utilisez http."
        ));
    }
    if uri.scheme_str() != Some("http") || uri.host().is_none() || uri.query().is_some() {
        bail!(wrong());
    }
    Ok(uri)
}

/// A witness as the region sees it.
pub struct Remote {
    key: VerifierKey,
    /// Changes when a local witness is started again.
    address: Mutex<http::Uri>,
    client: Client<HttpConnector, Full<Bytes>>,
}

impl Remote {
    pub fn new(url: &str, key: VerifierKey) -> Result<Remote> {
        Ok(Remote {
            key,
            address: Mutex::new(address(url)?),
            client: Client::builder(TokioExecutor::new()).pool_max_idle_per_host(1).build_http(),
        })
    }

    async fn ask(&self, body: Vec<u8>) -> Result<(u16, Vec<u8>), Box<dyn std::error::Error + Send + Sync>> {
        let uri = self.address.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let request = Request::post(uri).body(Full::new(Bytes::from(body)))?;
        let response = self.client.request(request).await?;
        let status = response.status().as_u16();
        let body = Limited::new(response.into_body(), REQUEST_BYTES_MAX).collect().await?.to_bytes();
        Ok((status, body.to_vec()))
    }
}

impl trust::Witness for Remote {
    fn key(&self) -> &VerifierKey {
        &self.key
    }
    fn add_checkpoint(&self, body: Vec<u8>) -> Fut<'_, base::Result<(u16, Vec<u8>)>> {
        Box::pin(async move {
            match tokio::time::timeout(REQUEST_TIME, self.ask(body)).await {
                Err(_) => Err(Error::internal("the witness did not answer in time")),
                Ok(answer) => answer.map_err(Error::internal),
            }
        })
    }
}

/// The witness that a region runs beside itself: started with it, started again when it dies, stopped with it.
pub struct Local {
    pub remote: Arc<Remote>,
    folder: PathBuf,
    keeper: JoinHandle<()>,
}

/// A started child and the pipe whose end it waits for.
struct Running {
    child: Child,
    /// Held open apart from the child: waiting for a child closes what it still holds.
    _pipe: Option<ChildStdin>,
    started: Started,
}

impl Local {
    pub async fn start(folder: PathBuf) -> Result<Local> {
        let running = spawn(&folder).await?;
        let remote = Arc::new(Remote::new(&running.started.url, running.started.key.parse()?)?);
        let keeper = tokio::spawn(keep(folder.clone(), remote.clone(), running));
        Ok(Local { remote, folder, keeper })
    }

    /// Tells the witness which log it watches. Once: the key of a log does not change.
    pub fn watch(&self, log: &VerifierKey) -> Result<()> {
        let path = self.folder.join("logs");
        let text = read_small(&path)?.unwrap_or_default();
        let line = log.to_string();
        if text.lines().any(|l| l == line) {
            return Ok(());
        }
        write_public(&path, format!("{text}{line}\n").as_bytes())
    }

    /// Ends it: dropping the child closes its pipe, and `kill_on_drop` sees to the rest.
    pub async fn stop(self) {
        self.keeper.abort();
        let _ = self.keeper.await;
    }
}

async fn spawn(folder: &Path) -> Result<Running> {
    let failed = || {
        phrase!(
            "The local witness could not be started. 'bleu up --no-witness' starts without one.",
            "Le témoin local n’a pu être démarré. « bleu up --no-witness » démarre sans lui."
        )
    };
    // what runs now, even where its file was replaced meanwhile
    let mut child = Command::new("/proc/self/exe")
        .arg0("bleu")
        .arg("witness")
        .arg("--data")
        .arg(folder)
        .args(["--listen", "127.0.0.1:0", "--json", "--child"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::inherit())
        // a Ctrl-C is the region's: the witness is needed until the region's last checkpoint
        .process_group(0)
        .kill_on_drop(true)
        .spawn()
        .with_context(failed)?;
    let stdout = child.stdout.take().with_context(failed)?;
    let mut line = String::new();
    let mut first = BufReader::new(stdout.take(64 << 10));
    let started = match tokio::time::timeout(Duration::from_secs(10), first.read_line(&mut line)).await {
        // it has said itself why it did not: its messages go where ours do
        Ok(Ok(_)) => serde_json::from_str(&line).map_err(|_| anyhow::anyhow!(failed()))?,
        _ => bail!(failed()),
    };
    let pipe = child.stdin.take();
    Ok(Running { child, _pipe: pipe, started })
}

/// Waits for the child's end and starts another, ever slower.
async fn keep(folder: PathBuf, remote: Arc<Remote>, mut running: Running) {
    let mut pause = Duration::from_millis(100);
    loop {
        let ended = running.child.wait().await;
        tracing::warn!(?ended, "the local witness ended; it is started again");
        running = loop {
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(Duration::from_secs(30));
            match spawn(&folder).await {
                Ok(next) if next.started.key == remote.key.to_string() => break next,
                Ok(_) => tracing::error!("the local witness has another key: its folder was changed; it is not asked"),
                Err(error) => tracing::warn!(error = format!("{error:#}"), "the local witness could not be started"),
            }
        };
        if let Ok(uri) = address(&running.started.url) {
            *remote.address.lock().unwrap_or_else(PoisonError::into_inner) = uri;
        }
    }
}
