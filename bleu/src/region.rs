//! A region opened by this process: its folder locked, its store, its sites, its keys, its witnesses; no listener yet.
//! `bleu up` puts listeners before it; the commands that read a stopped region use it as it is.

use crate::folder::{Folder, Lock, Opens};
use crate::settings::{Engine, Settings};
use crate::{phrase, services, witness};
use anyhow::{Context, Result, bail};
use base::{Chance, OsChance, Place, RequestId, SystemClock};
use crypto::Secret;
use service::{Neighbours, Urls};
use std::path::PathBuf;
use std::sync::Arc;
use store::disk::RealDisk;
use store::{Blobs, Stopped, Store};
use trust::{Caller, Made, Origin, Running, Trust};

pub struct Region {
    pub folder: Folder,
    pub settings: Settings,
    pub trust: Trust,
    running: Running,
    store: Arc<Store>,
    witness: Option<witness::Local>,
    _lock: Lock,
}

impl Region {
    /// Opens the region of a folder, or makes it there. What takes time goes on side by side: the digest of the code,
    /// the local witness, the store.
    pub async fn open(folder: Folder, settings: Settings, lock: Lock, with_witness: bool) -> Result<Region> {
        let chance: Arc<dyn Chance> = Arc::new(OsChance);
        // before anything of the folder is touched
        same_engine(&folder, &settings)?;
        let code = tokio::task::spawn_blocking(code_digest);
        let local = tokio::spawn(start_witness(folder.clone(), with_witness));
        let (root, store) = open_store(&folder, &settings, &*chance).await?;
        let sites = open_sites(&folder, settings.places()?).await?;
        let local = local.await??;
        let mut witnesses: Vec<Arc<dyn trust::Witness>> = Vec::new();
        witnesses.extend(local.iter().map(|w| w.remote.clone() as Arc<dyn trust::Witness>));
        for other in &settings.witnesses {
            witnesses.push(Arc::new(witness::Remote::new(&other.url, other.key()?)?));
        }
        let config = trust::Config {
            kv: store.clone(),
            sites,
            root,
            rules: services::rules(),
            parts: trust::PARTS.to_vec(),
            clock: Arc::new(SystemClock),
            chance,
            code: code.await??,
            version: env!("CARGO_PKG_VERSION").into(),
            location: settings.location()?,
            domain: settings.domain.clone(),
            witnesses,
            token_key: None,
        };
        let trust = Trust::open(config).await?;
        keep_store(&folder, &settings, &store).await?;
        if let Some(local) = &local {
            // before the first checkpoint, which `run` makes
            local.watch(&trust.trust_keys(None)?.log)?;
        }
        let running = trust.run();
        Ok(Region { folder, settings, trust, running, store, witness: local, _lock: lock })
    }

    /// Returns once nothing that this process does can become durable any more: another one has taken over the region's
    /// rows, as the next start of a region does where a database is shared, or the store is broken.
    pub async fn stopped(&self) -> Stopped {
        self.store.stopped().await
    }

    /// Writes what waits and lets the region go. The witness goes last: it cosigns the last checkpoint.
    pub async fn close(self) -> Result<()> {
        let stopped = self.running.stop().await;
        if let Some(witness) = self.witness {
            witness.stop().await;
        }
        Ok(stopped?)
    }

    /// The reach of one of the region's own parts.
    pub fn near(&self, part: &'static str, urls: &Arc<Urls>) -> Neighbours {
        let origin = Origin {
            request: RequestId::random(&OsChance),
            peer: None,
            client_request: None,
            user_agent: Some(concat!("bleu/", env!("CARGO_PKG_VERSION")).into()),
        };
        Neighbours::new(self.trust.clone(), Caller::Region { part }, origin, urls.clone())
    }
}

/// What `region.toml` says and what the region is, where they are not the same.
fn edited(what: &str, says: &str, is: &str) -> anyhow::Error {
    anyhow::anyhow!(phrase!(
        "region.toml says {what} {says}, and this region was made with {what} {is}, which can't change: nothing was started or written. Put {is} back there, or start another region with another --data.",
        "region.toml dit {what} {says}, et cette région a été créée avec {what} {is}, ce qui ne peut changer : rien n’a été démarré ni écrit. Remettez-y {is}, ou démarrez une autre région avec un autre --data."
    ))
}

/// Another engine would find nothing in the region's folder, and begin a new region under the same root key.
fn same_engine(folder: &Folder, settings: &Settings) -> Result<()> {
    let kind = Engine::parse(&settings.engine)?.kind();
    match folder.opens()? {
        Some(opens) if folder.is_made() && opens.engine != kind => Err(edited("engine", kind, &opens.engine)),
        _ => Ok(()),
    }
}

fn another_store(has_region: bool) -> String {
    let found = match has_region {
        true => crate::text::say("another region is in it", "une autre région s’y trouve"),
        false => crate::text::say("no region is in it", "aucune région ne s’y trouve"),
    };
    phrase!(
        "The store is not the one that this region was made in: {found}. Nothing was written. Put the region's own store back (the folder 'store', or the database that region.toml names), from its copy.",
        "Le stockage n’est pas celui dans lequel cette région a été créée : {found}. Rien n’a été écrit. Remettez le stockage de la région (le dossier « store », ou la base que nomme region.toml), depuis sa copie."
    )
}

/// Whether the store is the one that the root key opens, and its region the one that `region.toml` describes. Writes nothing.
async fn same_region(folder: &Folder, settings: &Settings, store: &Store, root: &Secret<32>) -> Result<()> {
    let key = folder.path("keys/root.key").display().to_string();
    let made = Trust::made(store, root).await.map_err(|error| match &*error.code {
        "WrongRootKey" => anyhow::anyhow!(phrase!(
            "The root key in '{key}' is another region's: it does not open this region's store. Put this region's own key back there, from its copy. If the store is a database, it may be another region's: give this one a database of its own with --engine.",
            "La clé racine de « {key} » est celle d’une autre région : elle n’ouvre pas le stockage de celle-ci. Remettez-y la clé de cette région, depuis sa copie. Si le stockage est une base de données, elle est peut-être à une autre région : donnez-en une propre à celle-ci avec --engine."
        )),
        _ => error.into(),
    })?;
    let known = folder.opens()?.and_then(|opens| opens.store);
    let found = Trust::store_digest(store).await?.map(hex::encode);
    if known.is_some() && known != found {
        bail!(another_store(found.is_some()));
    }
    let Some(made) = made else { return Ok(()) };
    let asked = Made::new(&settings.domain, &settings.location()?, settings.places()?);
    if asked.domain != made.domain {
        return Err(edited("domain", &asked.domain, &made.domain));
    }
    if asked.location != made.location {
        return Err(edited("location", asked.location.as_str(), made.location.as_str()));
    }
    if asked.places != made.places {
        let shown = |places: &[Place]| {
            let one = |p: &Place| format!("{} ({}, {}, {})", p.site, p.country, p.nuts, p.address);
            places.iter().map(one).collect::<Vec<_>>().join("; ")
        };
        return Err(edited("site", &shown(&asked.places), &shown(&made.places)));
    }
    Ok(())
}

/// Beside the root key: which store it opens.
async fn keep_store(folder: &Folder, settings: &Settings, store: &Store) -> Result<()> {
    let engine = Engine::parse(&settings.engine)?.kind().to_owned();
    let opens = Opens { engine, store: Trust::store_digest(store).await?.map(hex::encode) };
    if folder.opens()?.as_ref() == Some(&opens) {
        return Ok(());
    }
    folder.keep_opens(&opens)
}

async fn start_witness(folder: Folder, with_witness: bool) -> Result<Option<witness::Local>> {
    if !with_witness {
        return Ok(None);
    }
    witness::Local::start(folder.path("witness")).await.map(Some)
}

/// SHA-256 of the running binary: what entries carry, and what a customer compares with the released one.
fn code_digest() -> Result<[u8; 32]> {
    use std::io::Read;
    // the file may have been replaced since the start; this link still leads to what runs
    let mut file = std::fs::File::open("/proc/self/exe").or_else(|_| std::fs::File::open(std::env::current_exe()?))?;
    let mut hash = crypto::Sha256::new();
    let mut buffer = vec![0; 1 << 20];
    loop {
        match file.read(&mut buffer)? {
            0 => return Ok(hash.finish()),
            read => hash.update(&buffer[..read]),
        }
    }
}

/// The key that opens the region, and the rows that it opens: this region's, or nobody's yet.
async fn open_store(folder: &Folder, settings: &Settings, chance: &dyn Chance) -> Result<(Secret<32>, Arc<Store>)> {
    let path = folder.path("store");
    let engine = Engine::parse(&settings.engine)?;
    let kind = engine.kind();
    // the engine before the key: where there is a key, it is known what it opens
    let root_key = |has_rows: bool| -> Result<Secret<32>> {
        if !folder.is_made() && !has_rows {
            folder.keep_opens(&Opens { engine: kind.to_owned(), store: None })?;
        }
        folder.root_key(chance, has_rows)
    };
    let open: fn(PathBuf) -> base::Result<Arc<Store>> = match engine {
        Engine::Fjall => |path| store::open_fjall(path),
        Engine::Redb => |path| store::open_redb(path),
        Engine::Postgres(url) => {
            // the database first: only it knows whether a region is there already. Looking takes nothing over
            let store = store::open_postgres(&url).await?;
            let root = root_key(Trust::lives_in(&*store).await?)?;
            same_region(folder, settings, &store, &root).await?;
            return Ok((root, store));
        }
    };
    if !path.exists() && folder.opens()?.is_some_and(|opens| opens.store.is_some()) {
        bail!(another_store(false));
    }
    // the key first: where there is a store and no key, the key was lost
    let root = root_key(path.exists())?;
    let store = tokio::task::spawn_blocking(move || open(path)).await??;
    same_region(folder, settings, &store, &root).await?;
    Ok((root, store))
}

async fn open_sites(folder: &Folder, places: Vec<Place>) -> Result<Vec<(Place, Arc<dyn Blobs>)>> {
    let folder = folder.path("sites");
    let open = move || {
        places
            .into_iter()
            .map(|place| {
                let path = folder.join(place.site.as_str());
                let shown = path.display().to_string();
                let disk = RealDisk::new(&path)
                    .with_context(|| phrase!("The folder '{shown}' can't be made.", "Le dossier « {shown} » ne peut être créé."))?;
                let segments: Arc<dyn Blobs> = Arc::new(store::Segments::open(place.site.clone(), Arc::new(disk))?);
                Ok((place, segments))
            })
            .collect()
    };
    tokio::task::spawn_blocking(open).await?
}
