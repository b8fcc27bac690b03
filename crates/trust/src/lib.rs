//! Who may do what to whose data, and the record of it: the one floor that holds both the store and the keys.
//!
//! | part | what it holds |
//! |---|---|
//! | [`Trust::permit`] | rules, residency, tenancy; the opening entry; the [`Permit`] |
//! | [`Permit`], [`Data`], [`Batch`] | the one door to customer data |
//! | [`Credentials`] | checks secrets, keys, tokens, without giving them out |
//! | [`Facts`], [`Rules`] | what rules read; who supplies them |
//! | `journal`, `gathered`, `outbox` | acts into entries, entries into the outbox |
//! | `sequencer`, `witnesses` | the outbox into the log, checkpoints to witnesses |
//! | `keys`, `layout` | the key hierarchy; every row of the store |
//! | `export` | bundles and proofs for auditors |
//!
//! Rules that always hold: no act without an entry of its weight; no answer before the entry is durable (or gathered,
//! where that is its weight); no value is stored unsealed but the public log and the heads (`layout`); `store` sees no
//! plaintext value and no key, only the keys of rows, which hold names.

mod ask;
mod batch;
mod caller;
mod collector;
mod content;
mod credentials;
mod data;
mod export;
mod facts;
mod foreign;
mod gathered;
mod guesses;
mod intake;
mod journal;
mod keys;
mod layout;
mod made;
mod outbox;
mod outcome;
mod permit;
mod rules;
mod second_factor;
mod sequencer;
mod start;
mod sweep;
mod witnesses;

pub use ask::{Access, Ask, Read, Weight, Write};
pub use batch::{Batch, Keeper, Table};
pub use caller::{Caller, Limits, Origin, Principal, PrincipalKind};
pub use content::{ByteStream, CHUNK_PLAIN_BYTES, Content, INLINE_BYTES_MAX, Staged, Staging};
pub use credentials::{Credential, CredentialInfo, Credentials, Denied, Keys, SignIn};
pub use data::{Data, Found, Listing, Span};
pub use export::{LeftOpen, Proof, Status};
pub use facts::{Assignment, Directory, Fact, Facts, GlobalName, PARENT, Scoped, SignedPlace, Space, Subscription, Tenant};
pub use made::Made;
pub use outcome::{Ended, Outcome, Receipt};
pub use permit::{CommitFailed, Permit};
pub use rules::{PARTS, Part, Reach, Rules, Verdict};
pub use second_factor::{Factor, RECOVERY_CODES, SecondFactor};
pub use start::{Config, Running};
pub use store::Version;
pub use witnesses::Witness;

use base::{Chance, Clock, EntryId, Error, Kind, Location, Result, SiteName, SpaceId, TenantId};
use crypto::{HmacKey, SealKey, SigningKey};
use journal::Scribe;
use record::{Event, NoteSigner, Phase};
use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, RwLock};
use store::{Blobs, Kv};
use tokio::sync::{Notify, watch};

/// The floor. Cheap to clone; whoever holds it can ask for permits, nothing more.
#[derive(Clone)]
pub struct Trust(Arc<Inner>);

pub(crate) struct Inner {
    kv: Arc<dyn Kv>,
    sites: Vec<Arc<dyn Blobs>>,
    /// Where each site's segments ended when this process opened them: nothing of its own lies before.
    marks: Vec<store::Mark>,
    rules: Box<dyn Rules>,
    parts: Vec<rules::Part>,
    facts: RwLock<Facts>,
    keys: keys::Keys,
    scribe: Scribe,
    gathered: gathered::Gathered,
    foreign: foreign::Foreign,
    /// Entries that are not known to be durable: closings of dropped permits, and what a flush could not write.
    backlog: Mutex<outbox::Backlog>,
    flushing: tokio::sync::Mutex<()>,
    sequencer: tokio::sync::Mutex<sequencer::Sequencer>,
    /// Its holder is the round of witnesses in flight.
    rounds: tokio::sync::Mutex<witnesses::Rounds>,
    published: Mutex<witnesses::Published>,
    /// The outbox number up to which entries have their log index.
    indexed: watch::Sender<u64>,
    wake: Notify,
    gate: guesses::Gate,
    attempts: Vec<tokio::sync::Mutex<()>>,
    token_key: SigningKey,
    tickets: SealKey,
    log_signer: NoteSigner,
    region_signer: NoteSigner,
    witnesses: Vec<Arc<dyn Witness>>,
    mac_keys: Mutex<MacKeys>,
    clock: Arc<dyn Clock>,
    chance: Arc<dyn Chance>,
    location: Location,
    /// The number of this process's first entry: what was open before is nobody's any more.
    started: std::sync::atomic::AtomicU64,
    swept: std::sync::atomic::AtomicBool,
    /// What the sweep could not close.
    left_open: Mutex<Vec<LeftOpen>>,
    /// Acts that are not in the record yet, nor gathered for it.
    under_way: std::sync::atomic::AtomicUsize,
    /// No further act begins.
    stopping: std::sync::atomic::AtomicBool,
}

/// Prepared account keys, emptied whenever a credential changes.
#[derive(Default)]
struct MacKeys {
    generation: u64,
    by_space: HashMap<SpaceId, Arc<Vec<(String, HmacKey)>>>,
}

/// Given to handlers of `open` rows: public documents and sign-in pages, which reach no customer data; and the public
/// log, which shows nothing that identifies a customer.
pub struct Public(Trust);

impl std::fmt::Debug for Public {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Public")
    }
}

impl Public {
    /// The newest signed checkpoint of the record; `None` before the first.
    pub async fn checkpoint(&self) -> Option<Vec<u8>> {
        self.0.checkpoint().await
    }
    /// A tile or entry bundle of the record, by its C2SP path. Error `InvalidTilePath` (kind NotFound).
    pub async fn tile(&self, path: &str) -> Result<Option<Vec<u8>>> {
        self.0.tile(path).await
    }
    /// The receipt of an answer that has no entry, because nothing of a customer's was touched.
    pub fn receipt(self) -> Receipt {
        Receipt { entry: None }
    }
}

impl Trust {
    /// Rules, residency, tenancy; for weight *before* also the opening entry, durable; only then the permit.
    /// Errors: what the rules say (403, 404…), recorded before this returns; internal ones.
    pub async fn permit<A: Access>(&self, ask: Ask) -> Result<Permit<A>> {
        let under_way = permit::UnderWay::begin(self)?;
        let verdict = self.facts(|facts| rules::judge_first(&ask, facts, &self.0.parts).unwrap_or_else(|| self.0.rules.judge(&ask, facts)));
        match verdict {
            Verdict::Allow { because } => Permit::open(self, ask, because, under_way).await,
            Verdict::Refuse(error) => {
                self.refused(&ask, &error).await?;
                Err(error)
            }
        }
    }

    /// Checks a password, key, signature or token; never returns the secret. Needs no permit: there is no caller yet.
    pub fn credentials(&self) -> Credentials<'_> {
        Credentials { trust: self }
    }

    /// Reads the facts under their lock: keep the closure short.
    pub fn facts<T>(&self, read: impl FnOnce(&Facts) -> T) -> T {
        read(&self.0.facts.read().unwrap_or_else(|e| e.into_inner()))
    }

    /// Would the caller be allowed this management action there? Opens nothing, records nothing: for list filters.
    pub fn may(&self, caller: &Caller, action: &str, scope: &base::ResourceId) -> bool {
        let ask = Ask {
            caller: caller.clone(),
            verb: "May",
            actions: vec![action.to_owned()],
            data: false,
            target: scope.clone(),
            scope: scope.clone(),
            detail: String::new(),
            weight: Weight::Batched,
            origin: Origin { request: base::RequestId(uuid::Uuid::nil()), peer: None, client_request: None, user_agent: None },
        };
        let verdict = self.facts(|facts| rules::judge_first(&ask, facts, &self.0.parts).unwrap_or_else(|| self.0.rules.judge(&ask, facts)));
        matches!(verdict, Verdict::Allow { .. })
    }

    /// A public row is answered. Only the gateway calls it.
    pub fn public(&self) -> Public {
        Public(self.clone())
    }

    /// A request without a valid caller, for the tally of its second.
    pub fn stranger(&self, door: &'static str, reason: &str, peer: Option<IpAddr>) {
        self.0.gathered.stranger(door, reason, source_prefix(peer));
    }

    pub fn clock(&self) -> Arc<dyn Clock> {
        self.0.clock.clone()
    }
    pub fn chance(&self) -> Arc<dyn Chance> {
        self.0.chance.clone()
    }
    pub fn location(&self) -> &Location {
        &self.0.location
    }

    pub(crate) fn inner(&self) -> &Inner {
        &self.0
    }

    /// Waits until the entry has its index in the log.
    pub(crate) async fn wait_indexed(&self, id: EntryId) -> Result<()> {
        let mut indexed = self.0.indexed.subscribe();
        self.0.wake.notify_one();
        indexed.wait_for(|number| *number >= id.number).await.map_err(|_| shutting_down())?;
        Ok(())
    }

    async fn refused(&self, ask: &Ask, error: &Error) -> Result<()> {
        if ask.caller.is_anonymous() {
            self.stranger("permit", &error.code, ask.origin.peer);
            return Ok(());
        }
        // whose data was tried, where it exists; else the caller's own record
        let owner = self.facts(|f| f.tenant_of(&ask.target)).or(ask.caller.tenant());
        let owner = owner.filter(|t| self.0.keys.owner(Some(*t)).is_ok());
        let outcome = Outcome { result: Ended::Refused, ..Outcome::failed(error) };
        if let (Some(owner), Some(stranger)) = (owner, ask.caller.tenant())
            && stranger != owner
            && !self.0.foreign.is_recorded(stranger, owner, self.0.clock.now())
        {
            let whole = base::ResourceId::tenant(owner);
            let ask = Ask { target: whole.clone(), scope: whole, detail: String::new(), ..ask.clone() };
            return self.gather_refusal(&ask, Some(owner), &outcome).await;
        }
        if matches!(ask.weight, Weight::Before | Weight::Indexed) {
            let mut event = journal::event(ask, owner, "");
            journal::ended(&mut event, &outcome);
            self.append(&event, record::Weight::Before, Phase::Whole, None).await?;
            return Ok(());
        }
        self.gather_refusal(ask, owner, &outcome).await
    }

    /// The line first: whoever does not wait for the answer leaves it behind all the same.
    async fn gather_refusal(&self, ask: &Ask, owner: Option<TenantId>, outcome: &Outcome) -> Result<()> {
        self.gather_now(ask, owner, "", outcome);
        if self.0.is_behind() { self.0.flush().await } else { Ok(()) }
    }

    /// Adds a line to the next batched entry; waits for a flush when too many wait.
    pub(crate) async fn gather(&self, ask: &Ask, owner: Option<TenantId>, because: &str, outcome: &Outcome) -> Result<()> {
        // nothing more is answered while what was answered can't be written
        if self.0.is_behind() {
            self.0.flush().await?;
        }
        self.gather_now(ask, owner, because, outcome);
        Ok(())
    }
    pub(crate) fn gather_now(&self, ask: &Ask, owner: Option<TenantId>, because: &str, outcome: &Outcome) {
        self.0.gathered.add(ask, owner, because, outcome);
    }
    pub(crate) fn close_later(&self, event: Event, opened: EntryId) {
        lock(&self.0.backlog).push((event, record::Weight::Before, Phase::Close, Some(opened)));
    }

    /// After a durable commit: facts, keys and caches follow.
    pub(crate) fn applied(&self, effects: outbox::Effects, version: Version) {
        let outbox::Effects { facts, dropped, tenant, credentials, closing: _ } = effects;
        if let Some((id, keys)) = tenant {
            self.0.keys.add_tenant(id, keys);
        }
        if !facts.is_empty() {
            let mut all = self.0.facts.write().unwrap_or_else(|e| e.into_inner());
            for change in facts {
                all.apply(change, version.0);
            }
        }
        if let Some(space) = dropped.or(credentials) {
            let mut macs = self.0.mac_keys.lock().unwrap_or_else(|e| e.into_inner());
            macs.generation += 1;
            macs.by_space.remove(&space);
        }
        if let Some(space) = dropped {
            self.0.keys.forget_space(space);
        }
    }
}

impl Inner {
    /// So much waits to be written that whoever reads waits too.
    fn is_behind(&self) -> bool {
        self.gathered.is_full() || lock(&self.backlog).is_full()
    }
    /// Where new bytes go: a site of this region whose place is signed. Every site of a region is in its location, and a
    /// space of another location can't be created, so there is no other choice to make.
    fn place(&self) -> Result<&Arc<dyn Blobs>> {
        let facts = self.facts.read().unwrap_or_else(|e| e.into_inner());
        let signed = |site: &SiteName| facts.sites().iter().any(|s| s.place.site == *site);
        self.sites
            .iter()
            .find(|s| signed(s.site()))
            .ok_or_else(|| Error::new(Kind::Unavailable, "NoSite", "No site of the region has a signed place for these bytes."))
    }
    fn site(&self, name: &SiteName) -> Result<&Arc<dyn Blobs>> {
        self.sites
            .iter()
            .find(|s| s.site() == name)
            .ok_or_else(|| Error::new(Kind::Unavailable, "SiteUnavailable", format!("The site '{name}' is not reachable now.")))
    }
    fn mac_keys(&self, space: SpaceId) -> Option<Arc<Vec<(String, HmacKey)>>> {
        self.mac_keys.lock().unwrap_or_else(|e| e.into_inner()).by_space.get(&space).cloned()
    }
    fn mac_generation(&self) -> u64 {
        self.mac_keys.lock().unwrap_or_else(|e| e.into_inner()).generation
    }
    /// Keeps keys read at `generation`; if a credential changed meanwhile they are used once and not kept.
    fn keep_mac_keys(&self, space: SpaceId, generation: u64, keys: Arc<Vec<(String, HmacKey)>>) -> Arc<Vec<(String, HmacKey)>> {
        let mut macs = self.mac_keys.lock().unwrap_or_else(|e| e.into_inner());
        if macs.generation == generation {
            macs.by_space.insert(space, keys.clone());
        }
        keys
    }
}

fn shutting_down() -> Error {
    Error::new(Kind::Unavailable, "ShuttingDown", "The region is stopping. Try again.")
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(|e| e.into_inner())
}

/// The /24 or /48 a request came from: enough to see an attack, too little to follow a person.
fn source_prefix(peer: Option<IpAddr>) -> String {
    match peer {
        None => "unknown".into(),
        Some(IpAddr::V4(ip)) => {
            let [a, b, c, _] = ip.octets();
            format!("{a}.{b}.{c}.0/24")
        }
        Some(IpAddr::V6(ip)) => {
            let [a, b, c, ..] = ip.segments();
            format!("{a:x}:{b:x}:{c:x}::/48")
        }
    }
}
