//! The control socket of a running region: `DIR/control.sock`, mode 0600, for its own user alone. The verbs are a closed
//! set, this table; there is no other way into a running region from beside it.
//!
//! | verb | what | in the record |
//! |---|---|---|
//! | `status` | sites, size of the record, witnesses, counts | no: nothing of a customer's |
//! | `head` | the newest signed checkpoint | no: it is public |
//! | `trust` | the public keys to verify with | no: they are public |
//! | `prove` | an entry with its proof, as the public log has it | no: it is public |
//! | `entries` | entries, those of one tenant opened | opened before, closed after |
//! | `export` | a tenant's bundle | by `trust`, in the bundle itself |
//! | `operator-trust`, `operator-export` | as `trust` and `export`, of the operator's own record | as there |
//! | `add-tenant` | a tenant with its administrator and client | by `identity`, before it is done |
//!
//! One request a connection: four bytes of length (big-endian), JSON (the verb, its fields, `language`). The answer: the same, then the bytes that it
//! announces. A region that is not running answers the same verbs, opened by the asking process itself.

use crate::credentials::{self, Client};
use crate::folder::Folder;
use crate::region::Region;
use crate::settings::Settings;
use crate::{phrase, up};
use anyhow::{Context, Result, bail};
use base::{EntryId, Kind, OsChance, ResourceId, Shard, SubscriptionId, TenantId};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use service::Urls;
use std::os::fd::AsRawFd;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{Semaphore, watch};
use tokio::task::{JoinHandle, JoinSet};
use trust::{Outcome, Read, Weight};

const REQUEST_BYTES_MAX: usize = 64 << 10;
const HEAD_BYTES_MAX: usize = 64 << 10;
/// The largest answer that a command takes: bundles are built in memory, so it is bounded by that.
const ANSWER_BYTES_MAX: u64 = 8 << 30;
const CONNECTIONS_MAX: usize = 16;
const LANGUAGE_BYTES_MAX: usize = 64;
const REQUEST_TIME: Duration = Duration::from_secs(5);
/// Entries in one answer.
const ENTRIES_MAX: usize = 1_000;
/// Above this a socket's path does not fit its address (108 bytes with the final zero).
const SOCKET_PATH_MAX: usize = 100;

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "verb", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Verb {
    // braces, so that these refuse unknown fields as well
    Status {},
    Head {},
    Trust { tenant: Option<TenantId> },
    Prove { number: u64 },
    Entries { tenant: Option<TenantId>, from: u64 },
    Export { tenant: Option<TenantId> },
    OperatorTrust {},
    OperatorExport {},
    AddTenant { name: String, domain: String },
}

#[derive(Debug, Serialize, Deserialize)]
struct AnswerHead {
    error: Option<Refusal>,
    bytes: u64,
}

#[derive(Debug, Serialize, Deserialize)]
struct Refusal {
    code: String,
    message: String,
}

/// Every reader of outside bytes here, for the fuzzer.
pub mod fuzz {
    pub fn fuzz_control(bytes: &[u8]) {
        if let Ok((verb, language)) = super::parse(bytes) {
            // what is accepted prints and parses again
            let printed = super::print(&verb, &language).unwrap_or_default();
            assert_eq!(super::parse(&printed).ok(), Some((verb, language)));
        }
    }
}

/// A request: the verb, and the language to answer in (`language`, a locale's name).
fn parse(bytes: &[u8]) -> Result<(Verb, String)> {
    let mut fields: serde_json::Map<String, Value> = serde_json::from_slice(bytes)?;
    let language = match fields.remove("language") {
        None => String::new(),
        Some(Value::String(language)) if language.len() <= LANGUAGE_BYTES_MAX => language,
        Some(_) => bail!("the language is no locale's name"),
    };
    Ok((serde_json::from_value(Value::Object(fields))?, language))
}

fn print(verb: &Verb, language: &str) -> Result<Vec<u8>> {
    let mut fields = serde_json::to_value(verb)?;
    fields["language"] = language.into();
    Ok(serde_json::to_vec(&fields)?)
}

/// Asks the region of a folder: the running one over its socket, else by opening it here.
pub async fn ask(folder: &Folder, verb: Verb) -> Result<Vec<u8>> {
    match connect(folder).await? {
        Some(stream) => ask_over(stream, &verb).await,
        None => ask_here(folder, verb).await,
    }
}

/// True where a region runs in the folder.
pub async fn is_running(folder: &Folder) -> Result<bool> {
    Ok(connect(folder).await?.is_some())
}

async fn connect(folder: &Folder) -> Result<Option<UnixStream>> {
    let socket = Socket::of(folder)?;
    match UnixStream::connect(&socket.path).await {
        Ok(stream) => Ok(Some(stream)),
        Err(error) if matches!(error.kind(), std::io::ErrorKind::NotFound | std::io::ErrorKind::ConnectionRefused) => Ok(None),
        Err(error) => Err(error).with_context(|| {
            phrase!(
                "The running region can't be asked. Are you its user?",
                "La région en marche ne peut être interrogée. Êtes-vous son utilisateur ?"
            )
        }),
    }
}

async fn ask_over(mut stream: UnixStream, verb: &Verb) -> Result<Vec<u8>> {
    let request = print(verb, crate::text::language())?;
    stream.write_all(&(request.len() as u32).to_be_bytes()).await?;
    stream.write_all(&request).await?;
    let head: AnswerHead = serde_json::from_slice(&read_frame(&mut stream, HEAD_BYTES_MAX).await?)?;
    if let Some(refusal) = head.error {
        bail!(base::Error::new(Kind::Invalid, refusal.code, refusal.message));
    }
    if head.bytes > ANSWER_BYTES_MAX {
        bail!(phrase!("The answer is too large.", "La réponse est trop grande."));
    }
    let bar = crate::ui::bytes_done(phrase!("receiving", "réception"), head.bytes);
    let mut answer = Vec::new();
    let mut left = stream.take(head.bytes);
    let mut buffer = vec![0; 64 << 10];
    loop {
        match left.read(&mut buffer).await? {
            0 => break,
            read => answer.extend_from_slice(&buffer[..read]),
        }
        bar.set_position(answer.len() as u64);
    }
    bar.finish_and_clear();
    if answer.len() as u64 != head.bytes {
        bail!(phrase!(
            "The region stopped in the middle of its answer. Ask again.",
            "La région s’est arrêtée au milieu de sa réponse. Redemandez."
        ));
    }
    Ok(answer)
}

/// Opens a region that is not running, for one verb.
async fn ask_here(folder: &Folder, verb: Verb) -> Result<Vec<u8>> {
    let lock = folder.lock()?;
    let settings = Settings::read(folder)?.context("region.toml")?;
    if !folder.is_made() {
        bail!(phrase!("The region was never started. Type 'bleu up'.", "La région n’a jamais été démarrée. Tapez « bleu up »."));
    }
    let with_witness = folder.path("witness").exists();
    let urls = Arc::new(Urls { domain: settings.domain.clone(), port: 443, location: settings.location()? });
    let region = Region::open(folder.clone(), settings, lock, with_witness).await?;
    // entries of the start itself are cosigned before anything is shown
    region.trust.turn().await?;
    let answer = act(&region, &urls, verb, None).await;
    region.close().await?;
    answer
}

/// A socket's path that fits an address; a long one goes through the folder's open handle.
struct Socket {
    path: PathBuf,
    _folder: Option<std::fs::File>,
}

impl Socket {
    fn of(folder: &Folder) -> Result<Socket> {
        let path = folder.path("control.sock");
        if path.as_os_str().len() <= SOCKET_PATH_MAX {
            return Ok(Socket { path, _folder: None });
        }
        let handle = std::fs::File::open(folder.root())?;
        Ok(Socket { path: format!("/proc/self/fd/{}/control.sock", handle.as_raw_fd()).into(), _folder: Some(handle) })
    }
}

/// The socket at work.
pub struct Control {
    stop: watch::Sender<bool>,
    task: JoinHandle<()>,
    path: PathBuf,
}

impl Control {
    /// Takes no new requests, waits for those under way.
    pub async fn stop(self) {
        let _ = self.stop.send(true);
        let _ = self.task.await;
        let _ = std::fs::remove_file(&self.path);
    }
}

/// Answers at the folder's socket. The folder's lock is held: a socket that is there is a dead process's.
/// `serving`: the namespaces that answer, for `status`.
pub fn serve(region: Arc<Region>, urls: Arc<Urls>, serving: Vec<&'static str>) -> Result<Control> {
    let path = region.folder.path("control.sock");
    let _ = std::fs::remove_file(&path);
    let socket = Socket::of(&region.folder)?;
    let shown = path.display().to_string();
    let listener = UnixListener::bind(&socket.path).with_context(|| {
        phrase!(
            "The socket '{shown}' can't be made: the folder's file system may not hold sockets.",
            "Le socket « {shown} » ne peut être créé : le système de fichiers du dossier n’en accepte peut-être pas."
        )
    })?;
    // the folder is its owner's alone (0700) while this is on its way
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600))?;
    let (stop, stopped) = watch::channel(false);
    let task = tokio::spawn(accept(listener, region, urls, serving.into(), stopped));
    Ok(Control { stop, task, path })
}

async fn accept(
    listener: UnixListener,
    region: Arc<Region>,
    urls: Arc<Urls>,
    serving: Arc<[&'static str]>,
    mut stopped: watch::Receiver<bool>,
) {
    let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    let mut under_way = JoinSet::new();
    loop {
        let stream = tokio::select! {
            _ = stopped.changed() => break,
            Some(_) = under_way.join_next() => continue,
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => stream,
                Err(_) => {
                    tokio::time::sleep(Duration::from_millis(50)).await;
                    continue;
                }
            },
        };
        let Ok(place) = places.clone().try_acquire_owned() else { continue };
        let (region, urls, serving) = (region.clone(), urls.clone(), serving.clone());
        under_way.spawn(async move {
            let _place = place;
            if let Err(error) = answer(stream, &region, &urls, &serving).await {
                tracing::debug!(error = format!("{error:#}"), "a control request ended badly");
            }
        });
    }
    while under_way.join_next().await.is_some() {}
}

async fn answer(mut stream: UnixStream, region: &Region, urls: &Arc<Urls>, serving: &[&str]) -> Result<()> {
    let request = tokio::time::timeout(REQUEST_TIME, read_frame(&mut stream, REQUEST_BYTES_MAX)).await??;
    let outcome = match parse(&request) {
        Ok((verb, language)) => crate::text::answering(language, act(region, urls, verb, Some(serving))).await,
        Err(_) => Err(unknown_verb()),
    };
    let (head, bytes) = match outcome {
        Ok(bytes) => (AnswerHead { error: None, bytes: bytes.len() as u64 }, bytes),
        Err(error) => (AnswerHead { error: Some(refusal(&error)), bytes: 0 }, Vec::new()),
    };
    let head = serde_json::to_vec(&head)?;
    stream.write_all(&(head.len() as u32).to_be_bytes()).await?;
    stream.write_all(&head).await?;
    stream.write_all(&bytes).await?;
    Ok(stream.shutdown().await?)
}

fn unknown_verb() -> anyhow::Error {
    let message = phrase!(
        "The region does not know that verb: is it another version of bleu?",
        "La région ne connaît pas ce verbe : est-ce une autre version de bleu ?"
    );
    base::Error::invalid("UnknownVerb", message).into()
}

fn refusal(error: &anyhow::Error) -> Refusal {
    match error.downcast_ref::<base::Error>() {
        Some(error) => {
            if error.kind == Kind::Internal {
                tracing::error!(%error, "a control request met an internal error");
            }
            Refusal { code: error.code.to_string(), message: error.message.clone() }
        }
        None => Refusal { code: "Failed".into(), message: format!("{error:#}") },
    }
}

async fn read_frame(stream: &mut UnixStream, bytes_max: usize) -> Result<Vec<u8>> {
    let mut length = [0; 4];
    stream.read_exact(&mut length).await?;
    let length = u32::from_be_bytes(length) as usize;
    if length > bytes_max {
        bail!("a frame of {length} bytes is too long");
    }
    let mut frame = vec![0; length];
    stream.read_exact(&mut frame).await?;
    Ok(frame)
}

/// Does what a verb says. `serving`: the namespaces that answer, when listeners are up.
async fn act(region: &Region, urls: &Arc<Urls>, verb: Verb, serving: Option<&[&str]>) -> Result<Vec<u8>> {
    match verb {
        Verb::Status {} => status(region, serving).await,
        Verb::Head {} => {
            region.trust.turn().await?;
            let checkpoint = region.trust.public().checkpoint().await;
            checkpoint.with_context(|| phrase!("The record has no checkpoint yet.", "Le journal n’a pas encore de point de contrôle."))
        }
        Verb::Trust { tenant } => Ok(region.trust.trust_keys(Some(tenant.map_or_else(|| first_tenant(region), Ok)?))?.text()?.into_bytes()),
        Verb::Prove { number } => prove(region, number).await,
        Verb::Entries { tenant, from } => entries(region, urls, tenant.map_or_else(|| first_tenant(region), Ok)?, from).await,
        Verb::Export { tenant } => Ok(region.trust.export(Some(tenant.map_or_else(|| first_tenant(region), Ok)?)).await?),
        Verb::OperatorTrust {} => Ok(region.trust.trust_keys(::record::Owner::Operator)?.text()?.into_bytes()),
        Verb::OperatorExport {} => Ok(region.trust.export(::record::Owner::Operator).await?),
        Verb::AddTenant { name, domain } => add_tenant(region, urls, &name, &domain).await,
    }
}

fn first_tenant(region: &Region) -> Result<TenantId> {
    let tenant = region.trust.facts(|f| f.tenant_by_domain(&region.settings.domain));
    tenant.with_context(|| phrase!("The region has no tenant yet.", "La région n’a pas encore de locataire."))
}

async fn status(region: &Region, serving: Option<&[&str]>) -> Result<Vec<u8>> {
    let running = serving.is_some();
    let status = region.trust.status().await;
    let sites: Vec<_> =
        status.places.iter().map(|p| json!({ "site": p.site, "country": p.country, "nuts": p.nuts, "address": p.address })).collect();
    let mut wrong: Vec<String> = Vec::new();
    if !status.cosigned {
        wrong.push(phrase!(
            "not every witness has cosigned the newest checkpoint",
            "tous les témoins n’ont pas cosigné le dernier point de contrôle"
        ));
    }
    if status.witnesses == 0 {
        wrong.push(phrase!(
            "the region has no witness: its record can be rewritten unseen",
            "la région n’a pas de témoin : son journal peut être réécrit sans que cela se voie"
        ));
    }
    if let Some(free) = status.free_bytes.filter(|free| *free < store::CONTENT_RESERVE_BYTES) {
        wrong.push(nearly_full(free));
    }
    for act in &status.left_open {
        wrong.push(phrase!(
            "the act that entry {} opened can't be closed: {}",
            "l’acte ouvert par l’entrée {} ne peut être clos : {}",
            act.opening,
            act.why
        ));
    }
    if !region.trust.is_swept() && running {
        wrong.push(phrase!(
            "acts that a crash left open are not closed yet",
            "des actes laissés ouverts par un arrêt brutal ne sont pas encore clos"
        ));
    }
    let document = json!({
        "running": running,
        "pid": running.then(std::process::id),
        "location": region.settings.location,
        "domain": region.settings.domain,
        "engine": region.settings.engine,
        "sites": sites,
        "services": serving.unwrap_or_default(),
        "tenants": status.tenants,
        "spaces": status.spaces,
        "record": { "size": status.size, "root": status.root.base64(), "witnesses": status.witnesses, "cosigned": status.cosigned },
        "now": status.now.rfc3339(),
        "wrong": wrong,
    });
    Ok(serde_json::to_vec(&document)?)
}

/// What a disk with so many free bytes still takes.
fn nearly_full(free: u64) -> String {
    let mib = free >> 20;
    match free {
        0..store::LAST_RESERVE_BYTES => phrase!(
            "the disk is full ({mib} MiB free): nothing can be written, not even deletes; give it room",
            "le disque est plein ({mib} Mio libres) : rien ne peut être écrit, pas même une suppression ; donnez-lui de la place"
        ),
        store::LAST_RESERVE_BYTES..store::ROWS_RESERVE_BYTES => phrase!(
            "the disk is nearly full ({mib} MiB free): only deletes and the record are still written",
            "le disque est presque plein ({mib} Mio libres) : seuls les suppressions et le journal sont encore écrits"
        ),
        _ => phrase!(
            "the disk is nearly full ({mib} MiB free): no new content over 4 KiB is taken",
            "le disque est presque plein ({mib} Mio libres) : aucun nouveau contenu de plus de 4 Kio n’est accepté"
        ),
    }
}

async fn prove(region: &Region, number: u64) -> Result<Vec<u8>> {
    let proof = region.trust.prove(EntryId { shard: Shard(0), number }).await?;
    let document = json!({
        "entry": proof.id.to_string(),
        "index": proof.index,
        "size": proof.size,
        "leaf": proof.leaf.base64(),
        "path": proof.path.iter().map(|d| d.base64()).collect::<Vec<_>>(),
        "checkpoint": String::from_utf8_lossy(&proof.checkpoint),
        "bytes": hex::encode(&proof.entry),
    });
    Ok(serde_json::to_vec(&document)?)
}

/// The verb under which reading entries is itself recorded.
const READ_RECORD: &str = "Read record";

/// Entries from an index on; with `from` beyond the end, where the log stands. It opens a tenant's entries, so it is an
/// act like any other, in the record before anything is shown. Where nothing is new but such acts nothing is shown and
/// nothing recorded: else whoever follows would follow himself.
async fn entries(region: &Region, urls: &Arc<Urls>, tenant: TenantId, from: u64) -> Result<Vec<u8>> {
    let size = region.trust.status().await.size;
    let found = match from < size {
        true => region.trust.entries(Some(tenant), from, ENTRIES_MAX).await?,
        false => Vec::new(),
    };
    let is_own = |event: &Option<::record::Event>| event.as_ref().is_some_and(|e| e.verb == READ_RECORD);
    if found.iter().all(|(_, _, event)| is_own(event)) {
        let next = from.min(size) + found.len() as u64;
        return Ok(serde_json::to_vec(&json!({ "size": size, "next": next, "entries": [] }))?);
    }
    let near = region.near("control", urls);
    let target = ResourceId::tenant(tenant);
    let permit =
        near.permit::<Read>(READ_RECORD, &["bleu.control/record/read"], false, &target, Weight::Before, &format!("from {from}")).await?;
    let show = |(index, entry, event): (u64, ::record::Entry, Option<::record::Event>)| json!({ "index": index, "entry": entry.id.to_string(), "at": entry.draft.at.rfc3339(), "phase": entry.draft.phase, "weight": entry.draft.weight, "event": event });
    let shown: Vec<_> = found.into_iter().map(show).collect();
    let _receipt = permit.close(Outcome::done(200)).await?;
    let next = from + shown.len() as u64;
    Ok(serde_json::to_vec(&json!({ "size": size, "next": next, "entries": shown }))?)
}

async fn add_tenant(region: &Region, urls: &Arc<Urls>, name: &str, domain: &str) -> Result<Vec<u8>> {
    if credentials::read(&region.folder, Some(domain))?.is_some_and(|c| c.client_id.is_some()) {
        bail!(base::Error::new(
            Kind::Conflict,
            "DomainTaken",
            phrase!("There is a tenant '{domain}' already.", "Il y a déjà un locataire « {domain} ».")
        ));
    }
    let client = Client {
        tenant: TenantId::random(&OsChance),
        domain: domain.to_owned(),
        subscription: Some(SubscriptionId::random(&OsChance)),
        client_id: None,
        client_secret: crypto::random_secret_text(&OsChance, 30),
    };
    let (client, administrator) = up::seed(region, urls, client, name).await?;
    credentials::write(&region.folder, Some(domain), &client)?;
    let (admin, password) = administrator.context("a new tenant has a new administrator")?;
    let document = json!({
        "tenant": client.tenant,
        "domain": domain,
        "subscription": client.subscription,
        "client_id": client.client_id,
        "administrator": admin,
        "password": String::from_utf8_lossy(password.expose()),
    });
    Ok(serde_json::to_vec(&document)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_set_of_verbs_is_closed() {
        let tenant = TenantId::random(&OsChance);
        for verb in [
            Verb::Status {},
            Verb::Head {},
            Verb::Trust { tenant: None },
            Verb::Prove { number: 7 },
            Verb::Entries { tenant: Some(tenant), from: 0 },
            Verb::Export { tenant: Some(tenant) },
            Verb::OperatorTrust {},
            Verb::OperatorExport {},
            Verb::AddTenant { name: "Contoso".into(), domain: "contoso.localhost".into() },
        ] {
            assert_eq!(parse(&print(&verb, "fr_FR.UTF-8").unwrap()).unwrap(), (verb.clone(), "fr_FR.UTF-8".to_owned()));
            assert_eq!(parse(&serde_json::to_vec(&verb).unwrap()).unwrap(), (verb, String::new()));
        }
        for bad in [
            "",
            "{}",
            "null",
            r#"{"verb":"Status"}"#,
            r#"{"verb":"exec"}"#,
            r#"{"verb":"prove"}"#,
            r#"{"verb":"prove","number":-1}"#,
            r#"{"verb":"head","more":1}"#,
            r#"{"verb":"export","tenant":"x"}"#,
            r#"{"verb":"head","language":1}"#,
        ] {
            assert!(parse(bad.as_bytes()).is_err(), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_a_verb_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..200), text in "\\PC{0,80}") {
            fuzz::fuzz_control(&bytes);
            fuzz::fuzz_control(text.as_bytes());
            fuzz::fuzz_control(format!("{{\"verb\":\"prove\",\"number\":{text}}}").as_bytes());
        }
    }
}
