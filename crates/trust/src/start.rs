//! A region's first start and every later one: keys, facts, the record's edge; and the background turns.

use crate::gathered::Gathered;
use crate::journal::{self, Scribe, own};
use crate::keys::Keys;
use crate::made::Made;
use crate::outbox::Effects;
use crate::sequencer::Sequencer;
use crate::witnesses::{Published, Rounds, Whom, Witness};
use crate::{Fact, Facts, Inner, Rules, SignedPlace, Space, Trust, layout};
use base::{Chance, Clock, Error, Location, Place, ResourceId, Result, SpaceId};
use crypto::{NoteKey, Secret, SecretBytes, SigningKey, open_record, seal_record};
use record::{Digest, Event, KeyKind, NoteSigner, Phase, SignedCheckpoint, VerifierKey, catalogue, sign_place};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, RwLock};
use std::time::Duration;
use store::{Blobs, Check, Commit, KeyRange, Kv, Op};
use tokio::sync::{Notify, watch};
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::MissedTickBehavior;

/// A turn of the scribe: gathered entries are written and the log moves at least this often when anything happened.
const TURN: Duration = Duration::from_secs(1);
/// Whoever waits for a log index waits this long for company, so that a burst shares one move.
const COMPANY: Duration = Duration::from_millis(2);
const COLLECT_EVERY: Duration = Duration::from_secs(600);

/// Everything the floor is given at start. It takes the store: nobody else holds it.
pub struct Config {
    pub kv: Arc<dyn Kv>,
    /// The sites of this region: place and chunk store.
    pub sites: Vec<(Place, Arc<dyn Blobs>)>,
    /// Opens the region's keys; made by whoever keeps it (a sealed file, an HSM).
    pub root: Secret<32>,
    pub rules: Box<dyn Rules>,
    /// What the region's own parts may do: [`crate::PARTS`].
    pub parts: Vec<crate::Part>,
    pub clock: Arc<dyn Clock>,
    pub chance: Arc<dyn Chance>,
    /// SHA-256 of the running binary.
    pub code: [u8; 32],
    pub version: String,
    pub location: Location,
    /// `bleu.localhost`.
    pub domain: String,
    pub witnesses: Vec<Arc<dyn Witness>>,
    /// The token key of a new region, as PKCS#8, when it was made elsewhere; else the first start makes one.
    pub token_key: Option<SecretBytes>,
}

/// The background turns. Stop it before the process ends: what is gathered is written then.
pub struct Running {
    trust: Trust,
    /// They may be cut off at any `await`.
    tasks: JoinSet<()>,
}

impl Running {
    /// Writes what waits, moves it into the log, says "stopped in good order". Acts that go on all the same, such as a
    /// download that was cut off, will not be in the record: then the next start says so, as after a crash.
    pub async fn stop(mut self) -> Result<()> {
        self.tasks.shutdown().await;
        let is_whole = self.trust.let_nothing_begin();
        self.trust.move_on().await?;
        self.trust.mark_stopped(is_whole).await?;
        self.trust.turn().await?;
        self.trust.inner().kv.close().await
    }
}

impl Running {
    /// Stops at once and writes nothing more, as a crash would. For tests.
    pub fn abandon(mut self) {
        self.tasks.abort_all();
    }
}

impl Trust {
    /// Whether a region was made in this store, whoever's. Only reads: a region that runs there is not disturbed.
    pub async fn lives_in(kv: &dyn Kv) -> Result<bool> {
        Ok(kv.get(&layout::key_row("region")).await?.is_some())
    }

    /// Opens the region in a store, or makes it there. Errors: `WrongRootKey` (kind Forbidden); `NotThisRegion` (kind
    /// Conflict), it was made with another domain, location or place: both before anything is written. Internal: damaged
    /// rows, a record whose tiles are not those of its head.
    pub async fn open(config: Config) -> Result<Trust> {
        let Config { kv, sites, root, rules, parts, clock, chance, code, version, location, domain, witnesses, token_key: given } = config;
        let keys = Keys::open(&*kv, &root, &*chance).await?;
        let asked = Made::new(&domain, &location, sites.iter().map(|(place, _)| place.clone()).collect());
        let made = Made::read(&*kv, &keys).await?;
        made.iter().try_for_each(|made| made.is_as(&asked))?;
        // the search for RSA primes is the slowest thing of a first start: begin it at once
        let token_search = begin_token_key(&*kv, &keys, given).await?;
        let log_key = note_key(&*kv, &keys, &*chance, "log").await?;
        let region_key = note_key(&*kv, &keys, &*chance, "place").await?;
        let origin = format!("{domain}/{location}");
        let log_signer = signer(&origin, log_key)?;
        let region_signer = signer(&format!("{origin}/region"), region_key)?;
        let facts = load_facts(&*kv, &keys).await?;
        for tenant in facts.tenants() {
            keys.load_tenant(&*kv, tenant.id).await?;
        }
        let sequencer = Sequencer::load(&*kv).await?;
        let token_key = end_token_key(token_search, &*kv, &keys, &*chance).await?;
        let checkpoint = match kv.get(&layout::head("checkpoint")).await? {
            Some((_, bytes)) => Some(SignedCheckpoint::parse(&bytes)?),
            None => None,
        };
        let indexed = watch::Sender::new(sequencer.head.number);
        let inner = Inner {
            sites: sites.iter().map(|(_, blobs)| blobs.clone()).collect(),
            marks: sites.iter().map(|(_, blobs)| blobs.mark()).collect(),
            kv,
            rules,
            parts,
            facts: RwLock::new(facts),
            tickets: keys.derive("tickets"),
            keys,
            scribe: Scribe { code: Digest(code) },
            gathered: Gathered::default(),
            foreign: Default::default(),
            backlog: Mutex::default(),
            flushing: tokio::sync::Mutex::default(),
            sequencer: tokio::sync::Mutex::new(sequencer),
            rounds: tokio::sync::Mutex::new(Rounds::of(checkpoint.clone())),
            published: Mutex::new(Published { checkpoint, cosigned: false }),
            indexed,
            wake: Notify::new(),
            gate: crate::guesses::Gate::new(),
            attempts: (0..crate::credentials::ATTEMPT_LOCKS).map(|_| tokio::sync::Mutex::default()).collect(),
            token_key,
            log_signer,
            region_signer,
            witnesses,
            mac_keys: Mutex::default(),
            clock,
            chance,
            started: AtomicU64::new(0),
            swept: AtomicBool::new(false),
            left_open: Mutex::default(),
            under_way: Default::default(),
            stopping: AtomicBool::new(false),
            location,
        };
        let trust = Trust(Arc::new(inner));
        trust.begin(&sites, &domain, &version, made.is_none().then_some(asked)).await?;
        Ok(trust)
    }

    /// The first entries of a region, and of each start. `made`: what the store has yet to learn of the region.
    async fn begin(&self, sites: &[(Place, Arc<dyn Blobs>)], domain: &str, version: &str, made: Option<Made>) -> Result<()> {
        let inner = self.inner();
        let mut events: Vec<Event> = Vec::new();
        let mut facts = Vec::new();
        let region = ResourceId::region();
        if self.facts(|f| f.space(&region).is_none()) {
            let id = SpaceId::random(&*inner.chance);
            let wrapped_key = inner.keys.new_space(id, &inner.keys.region_owner, &*inner.chance);
            facts.push(Fact::Space(Space { resource: region, id, tenant: None, location: inner.location.clone(), wrapped_key }));
            let (log, place) = (inner.log_signer.key().to_string(), inner.region_signer.key().to_string());
            events.push(own(
                &catalogue::REGION_CREATED,
                &[("region", inner.location.as_str()), ("origin", &format!("{domain}/{}", inner.location))],
            ));
            events.push(own(&catalogue::TRUST_KEYS, &[("log", &log), ("region", &place)]));
        }
        for (place, _) in sites {
            if self.facts(|f| f.sites().iter().any(|s| s.place == *place)) {
                continue;
            }
            let note = sign_place(&inner.location, place, &inner.region_signer)?;
            let note = String::from_utf8(note.to_bytes()).map_err(Error::internal)?;
            events.push(own(
                &catalogue::SITE_PLACED,
                &[("site", place.site.as_str()), ("country", &place.country), ("nuts", &place.nuts), ("address", &place.address)],
            ));
            facts.push(Fact::Site(SignedPlace { place: place.clone(), note }));
        }
        let mut known_witnesses = Vec::new();
        for witness in &inner.witnesses {
            let known = layout::head(&format!("witness/{}", witness.key()));
            if inner.kv.get(&known).await?.is_none() {
                events.push(own(&catalogue::WITNESS_ADDED, &[("witness", &witness.key().to_string())]));
                // in the commit of its entry: a crash in between would leave a witness that the record never named
                known_witnesses.push(Op::Put(known, bytes::Bytes::from_static(&[1])));
            }
        }
        let code = hex::encode(inner.scribe.code.0);
        events.push(own(&catalogue::PROCESS_STARTED, &[("code.sha256", &code), ("version", version)]));
        if let Some((_, since)) = inner.kv.get(&layout::head("running")).await? {
            let since = String::from_utf8_lossy(&since).into_owned();
            events.push(own(&catalogue::BATCH_LOST, &[("since", &since), ("until", &inner.clock.now().rfc3339())]));
        }
        let mut ops = vec![Op::Put(layout::head("running"), inner.clock.now().rfc3339().into_bytes().into())];
        ops.extend(known_witnesses);
        ops.extend(made.map(|made| made.op(&inner.keys, &*inner.chance)));
        for fact in &facts {
            let row = layout::fact(&fact.key());
            ops.push(Op::Put(row.clone(), seal_record(&inner.keys.facts, &*inner.chance, &row, &base::encode(fact)).into()));
        }
        for event in &events {
            let note = journal::Note { event, weight: record::Weight::System, phase: Phase::Whole, opens: None, at: inner.clock.now() };
            ops.push(inner.scribe.entry(note, &inner.keys.region_owner, &*inner.chance)?);
        }
        let done = inner
            .kv
            .commit(Commit {
                shard: layout::SHARD,
                idem: u128::from_be_bytes(crypto::random_array(&*inner.chance)),
                checks: Vec::new(),
                ops,
            })
            .await?;
        inner.started.store(done.appended.first().copied().unwrap_or(0), Ordering::Relaxed);
        let facts = facts.into_iter().map(Ok).collect();
        self.applied(Effects { facts, dropped: None, tenant: None, credentials: None, closing: None }, done.version);
        Ok(())
    }

    /// Starts the scribe, the collector, and the sweep of what a crash left open.
    pub fn run(&self) -> Running {
        let mut tasks = JoinSet::new();
        let trust = self.clone();
        tasks.spawn(async move { trust.take_turns().await });
        let trust = self.clone();
        tasks.spawn(async move { trust.sweep_until_done().await });
        let trust = self.clone();
        tasks.spawn(async move { trust.keep_collecting().await });
        Running { trust: self.clone(), tasks }
    }

    async fn take_turns(&self) {
        let mut turns = tokio::time::interval(TURN);
        turns.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut rounds = JoinSet::new();
        loop {
            let done = tokio::select! {
                // an index is all that is waited for: the checkpoint has its second
                () = self.inner().wake.notified() => {
                    tokio::time::sleep(COMPANY).await;
                    self.index().await
                }
                _ = turns.tick() => {
                    let moved = self.move_on().await;
                    while rounds.try_join_next().is_some() {}
                    if rounds.is_empty() {
                        let trust = self.clone();
                        rounds.spawn(async move {
                            if let Err(error) = trust.publish_if_idle().await {
                                tracing::error!(%error, "the checkpoint could not be published; it is tried again");
                            }
                        });
                    }
                    moved
                }
            };
            if let Err(error) = done {
                tracing::error!(%error, "the record could not be moved on; it is tried again");
                tokio::time::sleep(TURN).await;
            }
        }
    }

    async fn keep_collecting(&self) {
        let mut turns = tokio::time::interval_at(tokio::time::Instant::now() + COLLECT_EVERY, COLLECT_EVERY);
        turns.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            turns.tick().await;
            if let Err(error) = self.collect().await {
                tracing::error!(%error, "the collector failed; it is tried again");
            }
        }
    }

    /// One turn: gathered entries into the outbox, the outbox into the log, a checkpoint.
    pub async fn turn(&self) -> Result<()> {
        self.move_on().await?;
        self.publish(Whom::Due).await.map(drop)
    }

    /// Gathered entries into the outbox, the outbox into the log.
    pub(crate) async fn move_on(&self) -> Result<()> {
        self.inner().flush().await?;
        self.index().await
    }

    /// Moves the outbox into the log, for those who wait for an index.
    async fn index(&self) -> Result<()> {
        let inner = self.inner();
        let mut sequencer = inner.sequencer.lock().await;
        sequencer.drain(inner).await?;
        inner.indexed.send_replace(sequencer.head.number);
        Ok(())
    }

    /// No act begins from here on. True where none is under way.
    fn let_nothing_begin(&self) -> bool {
        let inner = self.inner();
        // `UnderWay::begin` counts first and looks then
        inner.stopping.store(true, Ordering::SeqCst);
        inner.under_way.load(Ordering::SeqCst) == 0
    }

    async fn mark_stopped(&self, is_whole: bool) -> Result<()> {
        self.append(&own(&catalogue::PROCESS_STOPPED, &[]), record::Weight::System, Phase::Whole, None).await?;
        if !is_whole {
            return Ok(());
        }
        let inner = self.inner();
        inner
            .kv
            .commit(Commit { shard: layout::SHARD, idem: 0, checks: Vec::new(), ops: vec![Op::Delete(layout::head("running"))] })
            .await?;
        Ok(())
    }

    /// A secret of the region under a name (`ca`): opened, or made by `make` and kept sealed. For `bleu`, which starts
    /// the listeners; `event` tells the record of its making.
    pub async fn region_secret(
        &self,
        name: &str,
        make: impl FnOnce() -> Result<(SecretBytes, Vec<(&'static str, String)>)>,
        verb: &catalogue::Verb,
    ) -> Result<SecretBytes> {
        let inner = self.inner();
        let row = layout::key_row(&format!("secret/{name}"));
        if let Some((_, wrapped)) = inner.kv.get(&row).await? {
            return inner.keys.open_region_secret(&row, &wrapped);
        }
        let (secret, facts) = make()?;
        let facts: Vec<(&str, &str)> = facts.iter().map(|(n, v)| (*n, v.as_str())).collect();
        let event = own(verb, &facts);
        let note = journal::Note { event: &event, weight: record::Weight::System, phase: Phase::Whole, opens: None, at: inner.clock.now() };
        let entry = inner.scribe.entry(note, &inner.keys.region_owner, &*inner.chance)?;
        let wrapped = inner.keys.seal_region_secret(&row, &secret, &*inner.chance);
        let commit = Commit {
            shard: layout::SHARD,
            idem: 0,
            checks: vec![Check::Absent(row.clone())],
            ops: vec![Op::Put(row, wrapped.into()), entry],
        };
        inner.kv.commit(commit).await?;
        Ok(secret)
    }
}

async fn load_facts(kv: &dyn Kv, keys: &Keys) -> Result<Facts> {
    let mut facts = Facts::default();
    let mut range = KeyRange::prefix(&layout::facts());
    loop {
        let page = kv.scan(range.clone(), store::PAGE_ROWS_MAX, false).await?;
        for row in page.rows {
            facts.load(base::decode(&open_record(&keys.facts, &row.key, &row.value)?)?, row.version);
        }
        match page.next {
            Some(next) => range = range.resume(next, false),
            None => return Ok(facts),
        }
    }
}

async fn stored_secret(kv: &dyn Kv, keys: &Keys, name: &str) -> Result<Option<SecretBytes>> {
    let row = layout::key_row(&format!("secret/{name}"));
    match kv.get(&row).await? {
        Some((_, wrapped)) => keys.open_region_secret(&row, &wrapped).map(Some),
        None => Ok(None),
    }
}

async fn keep_secret(kv: &dyn Kv, keys: &Keys, chance: &dyn Chance, name: &str, secret: &SecretBytes) -> Result<()> {
    let row = layout::key_row(&format!("secret/{name}"));
    let wrapped = keys.seal_region_secret(&row, secret, chance).into();
    kv.commit(Commit { shard: layout::SHARD, idem: 0, checks: vec![Check::Absent(row.clone())], ops: vec![Op::Put(row, wrapped)] }).await?;
    Ok(())
}

async fn note_key(kv: &dyn Kv, keys: &Keys, chance: &dyn Chance, name: &str) -> Result<NoteKey> {
    let seed = match stored_secret(kv, keys, name).await? {
        Some(seed) => Secret::from_slice(seed.expose())?,
        None => {
            let seed = Secret::<32>::random(chance);
            keep_secret(kv, keys, chance, name, &SecretBytes::new(seed.expose().to_vec())).await?;
            seed
        }
    };
    NoteKey::from_seed(seed)
}

/// The stored token key, or a search for one that goes on while the rest of the region opens.
enum TokenKey {
    Stored(SecretBytes),
    Given(SecretBytes),
    Searching(JoinHandle<Result<SigningKey>>),
}

async fn begin_token_key(kv: &dyn Kv, keys: &Keys, given: Option<SecretBytes>) -> Result<TokenKey> {
    Ok(match (stored_secret(kv, keys, "token").await?, given) {
        (Some(der), _) => TokenKey::Stored(der),
        (None, Some(der)) => TokenKey::Given(der),
        (None, None) => TokenKey::Searching(tokio::task::spawn_blocking(|| SigningKey::generate_rs256_racing(2))),
    })
}

async fn end_token_key(begun: TokenKey, kv: &dyn Kv, keys: &Keys, chance: &dyn Chance) -> Result<SigningKey> {
    match begun {
        TokenKey::Stored(der) => SigningKey::from_pkcs8(&der),
        TokenKey::Given(der) => {
            keep_secret(kv, keys, chance, "token", &der).await?;
            SigningKey::from_pkcs8(&der)
        }
        TokenKey::Searching(search) => {
            let key = search.await.map_err(Error::internal)??;
            keep_secret(kv, keys, chance, "token", &key.to_pkcs8()?).await?;
            Ok(key)
        }
    }
}

fn signer(name: &str, key: NoteKey) -> Result<NoteSigner> {
    let public = VerifierKey::new(name, KeyKind::Note, key.public())?;
    Ok(NoteSigner::new(public, move |message| Ok(key.sign(message))))
}
