//! A region opened by this process: its folder locked, its store, its sites, its keys, its witnesses; no listener yet.
//! `bleu up` puts listeners before it; the commands that read a stopped region use it as it is.

use crate::folder::{Folder, Lock};
use crate::settings::{Engine, Settings};
use crate::{phrase, services, witness};
use anyhow::{Context, Result};
use base::{Chance, OsChance, Place, RequestId, SystemClock};
use crypto::Secret;
use service::{Neighbours, Urls};
use std::path::PathBuf;
use std::sync::Arc;
use store::disk::RealDisk;
use store::{Blobs, Store};
use trust::{Caller, Origin, Running, Trust};

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
        let trust = Trust::open(config).await.map_err(|error| does_not_open(error, &settings))?;
        if let Some(local) = &local {
            // before the first checkpoint, which `run` makes
            local.watch(&trust.trust_keys(None)?.log)?;
        }
        let running = trust.run();
        Ok(Region { folder, settings, trust, running, store, witness: local, _lock: lock })
    }

    /// Returns once another process has taken over this region's rows, as the next start of a region does where a
    /// database is shared: nothing that this one does can become durable any more.
    pub async fn taken_over(&self) {
        self.store.taken_over().await;
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

/// A database may be another region's, which a folder of one's own can't be.
fn does_not_open(error: base::Error, settings: &Settings) -> anyhow::Error {
    if !matches!(Engine::parse(&settings.engine), Ok(Engine::Postgres(_))) {
        return error.into();
    }
    anyhow::Error::new(error).context(phrase!(
        "The region does not open in its database. If another region lives there, give this one a database of its own.",
        "La région ne s’ouvre pas dans sa base de données. Si une autre région y vit, donnez-lui une base propre."
    ))
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

/// The key that opens the region, and the rows that it opens.
async fn open_store(folder: &Folder, settings: &Settings, chance: &dyn Chance) -> Result<(Secret<32>, Arc<Store>)> {
    let path = folder.path("store");
    let open: fn(PathBuf) -> base::Result<Arc<Store>> = match Engine::parse(&settings.engine)? {
        Engine::Fjall => |path| store::open_fjall(path),
        Engine::Redb => |path| store::open_redb(path),
        Engine::Postgres(url) => {
            // the database first: only it knows whether a region is there already. Looking takes nothing over
            let store = store::open_postgres(&url).await?;
            let is_there = Trust::lives_in(&*store).await?;
            return Ok((folder.root_key(chance, is_there)?, store));
        }
    };
    // the key first: where there is a store and no key, the key was lost
    let root = folder.root_key(chance, path.exists())?;
    Ok((root, tokio::task::spawn_blocking(move || open(path)).await??))
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
