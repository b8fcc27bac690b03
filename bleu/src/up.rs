//! `bleu up`: a region with its listeners, from the first key to the last finished request.
//!
//! The order: folder and lock; [`Region::open`]; the first tenant; certificate; listeners; control socket; only then
//! the ready file, whole. The way down is the same in reverse.

use crate::credentials::{self, Client};
use crate::folder::{Folder, read_small, write_public, write_secret};
use crate::region::Region;
use crate::services::Services;
use crate::settings::{Asked, Settings};
use crate::{control, phrase, services, text, ui};
use anyhow::{Context, Result};
use base::{Clock, OsChance, Stored, SubscriptionId, SystemClock, TenantId, Timestamp};
use crypto::{Ca, SecretBytes};
use gateway::{Gateway, Tls, dns};
use indicatif::ProgressBar;
use record::catalogue;
use serde::{Deserialize, Serialize};
use service::Urls;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};
use store::Stopped;

/// Requests under way at a stop have this long.
const GRACE: Duration = Duration::from_secs(30);
/// Open files are asked for up to so many: far beyond what the listeners take.
const FILES_MAX: u64 = 65_536;
const DAY_SECONDS: i64 = 86_400;
/// A server certificate is kept this long; it is valid for twice the time, so a long run does not outlive it.
const CERTIFICATE_DAYS: i64 = 190;
const SYSTEM_BUNDLES: &[&str] = &["/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt", "/etc/ssl/cert.pem"];

/// What the command line asks for.
pub struct Options {
    pub data: PathBuf,
    pub listen: Option<SocketAddr>,
    pub ready_file: Option<PathBuf>,
    pub asked: Asked,
    pub dns: Option<SocketAddr>,
    pub witness: bool,
    pub json: bool,
}

/// Where a region answers: the ready file, and `ready.json` in its folder.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Ready {
    pub management: String,
    pub login: String,
    pub graph: String,
    pub blob: String,
    pub record: String,
    /// The same by host name, for clients that resolve the region's names.
    pub hosts: std::collections::BTreeMap<String, String>,
    pub domain: String,
    pub location: String,
    pub port: u16,
    pub tenant: TenantId,
    pub subscription: Option<SubscriptionId>,
    pub ca: PathBuf,
    pub ca_bundle: PathBuf,
    pub dns: Option<SocketAddr>,
    pub pid: u32,
}

/// Runs a region until it is told to stop.
pub async fn run(options: Options) -> Result<()> {
    let began = Instant::now();
    let stop = crate::signal::stop()?;
    take_file_handles();
    let waiting = ui::waiting(text::say("starting the region", "démarrage de la région").into());
    let folder = Folder::create(&options.data)?;
    let lock = folder.lock()?;
    let settings = Settings::read_or_make(&folder, &options.asked)?;
    let at = options.listen.unwrap_or(settings.listen);
    // taken before anything is made, so that a port in use costs nothing
    drop(std::net::TcpListener::bind(at).with_context(|| busy(at))?);
    let region = Region::open(folder, settings, lock, options.witness).await?;
    let region = Arc::new(region);
    let served = serve(&region, &options, at, began, waiting, stop).await;
    // whatever happened, what was written so far is closed in good order
    match Arc::try_unwrap(region) {
        Ok(region) => served.and(region.close().await),
        Err(_) => served.and_then(|()| anyhow::bail!("the region is still in use")),
    }
}

/// Connections are file handles, of which a shell gives a program few: takes what the system allows.
fn take_file_handles() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let limit = getrlimit(Resource::Nofile);
    let wanted = limit.maximum.unwrap_or(FILES_MAX).min(FILES_MAX);
    if limit.current.is_some_and(|have| have < wanted)
        && let Err(error) = setrlimit(Resource::Nofile, Rlimit { current: Some(wanted), maximum: limit.maximum })
    {
        tracing::warn!(%error, "the limit of open files stays as it is");
    }
}

/// Puts listeners before an open region, and takes them away at `stop`.
async fn serve(
    region: &Arc<Region>,
    options: &Options,
    at: SocketAddr,
    began: Instant,
    waiting: ProgressBar,
    stop: impl Future<Output = ()>,
) -> Result<()> {
    // with port 0 the port is known once bound, and advertised from then on
    let port = if at.port() == 0 { free_port(at)? } else { at.port() };
    let at = SocketAddr::new(at.ip(), port);
    let urls = Arc::new(Urls { domain: region.settings.domain.clone(), port, location: region.settings.location()? });
    let (client, password) = first_tenant(region, &urls).await?;
    let administrator = password.map(|(name, password)| introduce(&region.folder, options, &name, &password)).transpose()?;
    let tls = certificate(region).await?;
    let services = Services::new();
    let workers = services::Workers::start(&services, region.trust.clone(), urls.clone(), &region.near("storage", &urls)).await?;
    let serving = services.all.iter().map(|s| s.namespace()).collect();
    let (bearer, limits) = (Arc::new(identity::verify_bearer), region.settings.limits());
    let gateway = Gateway::bounded(region.trust.clone(), urls.clone(), services.all, bearer, limits);
    let mut listening = vec![gateway.listen(at, tls.clone()).await?];
    if !at.ip().is_loopback() {
        ui::note(phrase!(
            "The region is open to other machines at {at}: whoever reaches it may try to sign in.",
            "La région est ouverte aux autres machines sur {at} : qui l’atteint peut tenter de s’y connecter."
        ));
        if !at.ip().is_unspecified() {
            // what it advertises is localhost
            listening.push(gateway.listen(SocketAddr::new(Ipv4Addr::LOCALHOST.into(), port), tls).await?);
        }
    }
    let names = match options.dns {
        Some(dns_at) => Some(dns::serve(dns_at, &region.settings.domain, address_of(at.ip()), None).await?),
        None => None,
    };
    let control = control::serve(region.clone(), urls.clone(), serving)?;
    let announced = ready(&region.folder, &urls, &client, names.as_ref().map(|d| d.addr))
        .and_then(|ready| announce(&region.folder, options, &ready).map(|()| ready));
    waiting.finish_and_clear();
    let mut stopped = None;
    if let Ok(ready) = &announced {
        tell(options, ready, administrator.as_deref(), began.elapsed());
        tokio::select! {
            () = stop => {}
            how = region.stopped() => stopped = Some(how),
        }
        ui::note(text::say("Stopping: requests under way are finished.", "Arrêt : les requêtes en cours sont terminées."));
    }
    let mut stopping = tokio::task::JoinSet::new();
    for listening in listening {
        stopping.spawn(listening.stop(GRACE));
    }
    while stopping.join_next().await.is_some() {}
    workers.stop().await;
    control.stop().await;
    if let Some(names) = names {
        names.stop().await;
    }
    if let Some(path) = &options.ready_file {
        let _ = std::fs::remove_file(path);
    }
    match stopped {
        Some(how) => Err(why_it_ends(&how)),
        None => announced.map(drop),
    }
}

/// A region that can't write says so and ends: with an error, so that whatever watches over it starts it anew.
fn why_it_ends(how: &Stopped) -> anyhow::Error {
    match how {
        Stopped::TakenOver => anyhow::anyhow!(phrase!(
            "Another process has taken over this region's database, so this one ends. What it acknowledged is there; one region, one process.",
            "Un autre processus a pris en charge la base de cette région : celui-ci s’arrête. Ce qu’il a confirmé est là ; une région, un processus."
        )),
        Stopped::Broken(why) => anyhow::anyhow!(phrase!(
            "The region's store can't be written any more, so the region ends ({why}). What it acknowledged is there. Look at the disk, then start it again.",
            "Le stockage de la région ne peut plus être écrit : la région s’arrête ({why}). Ce qu’elle a confirmé est là. Vérifiez le disque, puis redémarrez-la."
        )),
    }
}

/// Writes where the region answers, for whoever waits for it and for the other commands.
fn announce(folder: &Folder, options: &Options, ready: &Ready) -> Result<()> {
    let document = format!("{}\n", serde_json::to_string_pretty(ready)?);
    write_public(&folder.path("ready.json"), document.as_bytes())?;
    match &options.ready_file {
        Some(path) => write_public(path, document.as_bytes()),
        None => Ok(()),
    }
}

fn busy(at: SocketAddr) -> String {
    phrase!(
        "Can't listen on {at}. If another program or region has it, choose another address with --listen, such as --listen 127.0.0.1:0.",
        "Impossible d’écouter sur {at}. Si un autre programme ou une autre région l’occupe, choisissez une autre adresse avec --listen, par exemple --listen 127.0.0.1:0."
    )
}

fn free_port(at: SocketAddr) -> Result<u16> {
    let listener = std::net::TcpListener::bind(at).with_context(|| busy(at))?;
    Ok(listener.local_addr()?.port())
}

/// What the region's names resolve to: where it listens, or this machine.
fn address_of(ip: IpAddr) -> IpAddr {
    match ip {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    }
}

/// The first tenant with its subscription, administrator and client application; made once. The client's secret is in
/// its file before the tenant is, so that no crash loses it. The second value is the administrator's name and password,
/// when it was made just now.
async fn first_tenant(region: &Region, urls: &Arc<Urls>) -> Result<(Client, Option<(String, SecretBytes)>)> {
    let client = match credentials::read(&region.folder, None)? {
        Some(client) => client,
        None if region.trust.facts(|f| f.tenant_by_domain(&region.settings.domain).is_some()) => return without_credential(region),
        None => {
            let client = Client {
                tenant: TenantId::random(&OsChance),
                domain: region.settings.domain.clone(),
                subscription: Some(SubscriptionId::random(&OsChance)),
                client_id: None,
                client_secret: crypto::random_secret_text(&OsChance, 30),
            };
            credentials::write(&region.folder, None, &client)?;
            client
        }
    };
    let (client, password) = seed(region, urls, client, "Bleu").await?;
    credentials::write(&region.folder, None, &client)?;
    Ok((client, password))
}

/// The first tenant is there and its file is not: the region starts all the same, and says what was lost.
fn without_credential(region: &Region) -> Result<(Client, Option<(String, SecretBytes)>)> {
    let shown = region.folder.path("client.json").display().to_string();
    ui::note(phrase!(
        "'{shown}' is missing, so 'bleu env' and 'bleu login' have no credential. Restore the file, or add a credential to the application as its administrator.",
        "« {shown} » manque : « bleu env » et « bleu login » n’ont donc pas d’identifiants. Restaurez le fichier, ou ajoutez des identifiants à l’application en tant qu’administrateur."
    ));
    let domain = &region.settings.domain;
    let found = region.trust.facts(|f| {
        let tenant = f.tenant_by_domain(domain)?;
        Some((tenant, f.subscriptions(tenant).first().map(|s| s.id)))
    });
    let (tenant, subscription) = found.context("the first tenant")?;
    Ok((Client { tenant, domain: domain.clone(), subscription, client_id: None, client_secret: String::new() }, None))
}

/// Makes what is missing of a tenant.
pub async fn seed(region: &Region, urls: &Arc<Urls>, mut client: Client, name: &str) -> Result<(Client, Option<(String, SecretBytes)>)> {
    let seed = identity::Seed {
        tenant: client.tenant,
        name: name.into(),
        domain: client.domain.clone(),
        location: region.settings.location()?,
        client_name: "bleu env".into(),
        admin_password: None,
        client_secret: Some(SecretBytes::from(client.client_secret.clone())),
    };
    let seeded = identity::seed(&region.near("identity", urls), &seed).await?;
    client.client_id = Some(seeded.client);
    if let Some(subscription) = client.subscription {
        let owners = [seeded.admin, seeded.client_object];
        arm::seed_subscription(&region.near("arm", urls), client.tenant, subscription, name, &owners).await?;
    }
    Ok((client, seeded.admin_password.map(|password| (seeded.admin_name, password))))
}

/// The region's authority, sealed in the store.
#[derive(Serialize, Deserialize)]
struct StoredCa {
    certificate_pem: String,
    key_pem: String,
}

impl Stored for StoredCa {
    const NAME: &'static str = "bleu.ca";
    const VERSION: u8 = 1;
    type Previous = StoredCa;
    fn upgrade(previous: StoredCa) -> StoredCa {
        previous
    }
}

/// The certificate of the listeners, sealed in the store.
#[derive(Serialize, Deserialize)]
struct StoredCertificate {
    chain_der: Vec<Vec<u8>>,
    key_der: Vec<u8>,
}

impl Stored for StoredCertificate {
    const NAME: &'static str = "bleu.certificate";
    const VERSION: u8 = 1;
    type Previous = StoredCertificate;
    fn upgrade(previous: StoredCertificate) -> StoredCertificate {
        previous
    }
}

/// The listeners' certificate, under an authority that can speak for this region's names alone; both are made once (the
/// certificate once a half-year) and recorded. Writes the authority's files for clients.
async fn certificate(region: &Region) -> Result<Tls> {
    let now = SystemClock.now();
    let domain = &region.settings.domain;
    let ca_name = format!("bleu {} root", region.settings.location);
    let made = region.trust.region_secret("ca", || make_ca(&ca_name, domain, now), &catalogue::CA_CREATED).await?;
    let stored: StoredCa = base::decode(made.expose())?;
    let ca = Ca::from_pem(&stored.certificate_pem, &SecretBytes::from(stored.key_pem))?;
    let period = now.seconds().div_euclid(CERTIFICATE_DAYS * DAY_SECONDS);
    let made = region
        .trust
        .region_secret(&format!("certificate/{period}"), || make_certificate(&ca, domain, now), &catalogue::CERTIFICATE_ISSUED)
        .await?;
    let stored: StoredCertificate = base::decode(made.expose())?;
    write_authorities(&region.folder, ca.certificate_pem())?;
    Ok(Tls::new(stored.chain_der, &stored.key_der)?)
}

type Made = base::Result<(SecretBytes, Vec<(&'static str, String)>)>;

fn make_ca(name: &str, domain: &str, now: Timestamp) -> Made {
    let networks = [(Ipv4Addr::new(127, 0, 0, 0).into(), 8), (Ipv6Addr::LOCALHOST.into(), 128)];
    let ca = Ca::generate_within(name, now, &["localhost".to_owned(), domain.to_owned()], &networks)?;
    let facts = vec![("ca.sha256", hex::encode(ca.fingerprint())), ("ca.name", name.to_owned())];
    let key_pem = String::from_utf8(ca.key_pem().expose().to_vec()).map_err(base::Error::internal)?;
    let stored = StoredCa { certificate_pem: ca.certificate_pem().to_owned(), key_pem };
    Ok((SecretBytes::new(base::encode(&stored)), facts))
}

fn make_certificate(ca: &Ca, domain: &str, now: Timestamp) -> Made {
    let names = gateway::certificate_names(domain);
    let addresses = [Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()];
    let issued = ca.issue_server(&names, &addresses, now.plus_seconds(-3_600), now.plus_seconds(2 * CERTIFICATE_DAYS * DAY_SECONDS))?;
    let leaf = issued.chain_der.first().map(|der| hex::encode(crypto::sha256(der))).unwrap_or_default();
    let facts = vec![("certificate.sha256", leaf), ("names", names.join(" "))];
    let stored = StoredCertificate { chain_der: issued.chain_der.clone(), key_der: issued.key_der.expose().to_vec() };
    Ok((SecretBytes::new(base::encode(&stored)), facts))
}

/// `ca.pem` is the region's authority; `ca-bundle.pem` has the system's too, since clients take one file or the other.
fn write_authorities(folder: &Folder, ca_pem: &str) -> Result<()> {
    let system = SYSTEM_BUNDLES.iter().find_map(|path| read_small(Path::new(path)).ok().flatten()).unwrap_or_default();
    for (name, wanted) in [("ca.pem", ca_pem.to_owned()), ("ca-bundle.pem", format!("{ca_pem}{system}"))] {
        let path = folder.path(name);
        if read_small(&path)?.as_deref() != Some(wanted.as_str()) {
            write_public(&path, wanted.as_bytes())?;
        }
    }
    Ok(())
}

fn ready(folder: &Folder, urls: &Urls, client: &Client, dns: Option<SocketAddr>) -> Result<Ready> {
    let local = urls.local();
    let hosts = ["management", "login", "graph", "record"].map(|label| (label.to_owned(), urls.host(label)));
    let mut hosts = std::collections::BTreeMap::from(hosts);
    hosts.insert("blob".into(), format!("https://{{account}}.{}", urls.suffix("blob.core")));
    Ok(Ready {
        management: local.clone(),
        login: local.clone(),
        graph: local.clone(),
        blob: local.clone(),
        record: format!("{local}/record"),
        hosts,
        domain: urls.domain.clone(),
        location: urls.location.to_string(),
        port: urls.port,
        tenant: client.tenant,
        subscription: client.subscription,
        ca: folder.path("ca.pem"),
        ca_bundle: folder.path("ca-bundle.pem"),
        dns,
        pid: std::process::id(),
    })
}

/// What is said of a new administrator. The password is shown to a person alone: where the output goes to a file or a
/// log, it is put into a file that its owner alone can read.
fn introduce(folder: &Folder, options: &Options, name: &str, password: &SecretBytes) -> Result<String> {
    let password = String::from_utf8_lossy(password.expose());
    if ui::is_watched(options.json) {
        return Ok(phrase!(
            "\nAdministrator, shown this once and kept nowhere:\n  {name}\n  {password}",
            "\nAdministrateur, affiché cette seule fois et conservé nulle part :\n  {name}\n  {password}"
        ));
    }
    let path = folder.path("administrator.json");
    let document = serde_json::json!({ "name": name, "password": password });
    write_secret(&path, format!("{document:#}\n").as_bytes())?;
    let shown = path.display();
    Ok(phrase!(
        "\nAdministrator: {name}\nThe password is in {shown}, for you alone to read: keep it elsewhere and delete the file.",
        "\nAdministrateur : {name}\nLe mot de passe est dans {shown}, que vous seul pouvez lire : gardez-le ailleurs et supprimez le fichier."
    ))
}

/// What to type next.
fn tell(options: &Options, ready: &Ready, administrator: Option<&str>, took: Duration) {
    let seconds = took.as_secs_f64();
    if options.json {
        ui::line(serde_json::to_string(ready).unwrap_or_default());
    } else {
        let (location, url) = (&ready.location, &ready.management);
        ui::line(phrase!(
            "The region {location} answers at {url} (ready in {seconds:.2} s).",
            "La région {location} répond sur {url} (prête en {seconds:.2} s)."
        ));
    }
    if let Some(administrator) = administrator {
        if options.json { ui::note(administrator) } else { ui::line(administrator) }
    }
    if options.json {
        return;
    }
    let data = match options.data == Path::new(crate::DATA) {
        true => String::new(),
        false => format!(" --data {}", crate::env::quoted(&options.data.display().to_string())),
    };
    let location = &ready.location;
    ui::line(phrase!(
        "\nNext, in another terminal:\n  eval \"$(bleu env{data})\"\n  bleu login{data}\n  az group create -n demo -l {location}\n\nCtrl-C stops the region.",
        "\nEnsuite, dans un autre terminal :\n  eval \"$(bleu env{data})\"\n  bleu login{data}\n  az group create -n demo -l {location}\n\nCtrl-C arrête la région."
    ));
}
