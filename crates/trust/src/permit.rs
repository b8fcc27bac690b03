//! The one door to customer data. Only this crate makes a [`Permit`]; it can't be built, cloned, serialised or closed
//! twice, a read permit can't commit, and what it reaches is the resource it was asked for: the permit is the address.

use crate::batch::{Batch, CredentialOp, FactOp, RowCheck, RowOp, SpaceOp};
use crate::content::{LedgerRow, Piece};
use crate::credentials::Keys;
use crate::data::Data;
use crate::facts::{Fact, Space};
use crate::journal::{self, Note};
use crate::keys::OwnerKeys;
use crate::outbox::{Effects, Flight};
use crate::{Access, Ask, Ended, Outcome, Read, Receipt, Trust, Weight, Write, layout};
use base::{EntryId, Error, ResourceId, Result, SpaceId, TenantId};
use bytes::Bytes;
use crypto::{SealKey, seal_record};
use record::{Phase, Placed};
use std::collections::BTreeMap;
use std::marker::PhantomData;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use store::{Check, Commit, CommitError, Op};

/// A dropped content's chunks live on for so long, so that no reader is left in the middle.
const GARBAGE_DELAY_S: i64 = 3_600;

/// The right to one act on one resource. Made by [`Trust::permit`] after rules and record.
#[must_use = "close the permit: the customer's record says how the access ended"]
pub struct Permit<A: Access> {
    /// The opening entry, for acts recorded *before*.
    opened: Option<EntryId>,
    pub(crate) ask: Ask,
    because: String,
    pub(crate) owner: Option<TenantId>,
    pub(crate) space: Arc<Space>,
    pub(crate) key: SealKey,
    /// The target's id below its space's resource, folded.
    pub(crate) address: String,
    pub(crate) trust: Trust,
    open: bool,
    access: PhantomData<A>,
    /// Until the act is in the record.
    _under_way: UnderWay,
}

/// An act that began: counted until it is in the record, or gathered for it.
pub(crate) struct UnderWay(Trust);

impl UnderWay {
    /// Error `ShuttingDown` (kind Unavailable): the region stops.
    pub(crate) fn begin(trust: &Trust) -> Result<UnderWay> {
        let under_way = UnderWay(trust.clone());
        trust.inner().under_way.fetch_add(1, Ordering::SeqCst);
        match trust.inner().stopping.load(Ordering::SeqCst) {
            true => Err(crate::shutting_down()),
            false => Ok(under_way),
        }
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        self.0.inner().under_way.fetch_sub(1, Ordering::SeqCst);
    }
}

/// Why a commit did not happen. `?` makes an [`Error`] of it.
#[derive(Debug)]
pub struct CommitFailed {
    pub error: Error,
    /// After a conflict the permit comes back: read again, decide again, commit again.
    pub permit: Option<Permit<Write>>,
}

impl From<CommitFailed> for Error {
    fn from(failed: CommitFailed) -> Error {
        failed.error
    }
}

impl<A: Access> std::fmt::Debug for Permit<A> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Permit({} on {})", self.ask.verb, self.ask.target)
    }
}

impl<A: Access> Permit<A> {
    /// The event that closes an act nobody goes on with.
    fn unfinished(&self) -> record::Event {
        let mut event = journal::event(&self.ask, self.owner, &self.because);
        journal::ended(&mut event, &Outcome { result: Ended::Unfinished, ..Outcome::done(0) });
        event
    }

    /// After the rules said yes. For weight *before* the opening entry is durable when this returns.
    pub(crate) async fn open(trust: &Trust, ask: Ask, because: String, under_way: UnderWay) -> Result<Permit<A>> {
        let found = trust.facts(|f| f.space_for(&ask.target).map(|s| (s.clone(), f.tenant_of(&ask.target))));
        let (space, owner) = found.ok_or_else(|| Error::internal("the region has no space of its own"))?;
        let key = trust.inner().keys.space(&space)?;
        let base = if space.resource == ResourceId::region() { "" } else { space.resource.folded() };
        let address = ask.target.folded().strip_prefix(base).unwrap_or("").trim_end_matches('/').to_owned();
        let opened = match ask.weight {
            Weight::Before | Weight::Indexed => {
                let mut event = journal::event(&ask, owner, &because);
                event.outcome = record::Outcome::begun();
                let checks = ask.only_adds().then_some(Check::Room);
                Some(trust.append_if(&event, record::Weight::Before, Phase::Open, None, checks.into_iter().collect()).await?)
            }
            Weight::With | Weight::Batched => None,
        };
        let indexed = ask.weight == Weight::Indexed;
        let (trust, access) = (trust.clone(), PhantomData);
        let permit = Permit { opened, ask, because, owner, space, key, address, trust, open: true, access, _under_way: under_way };
        // only now, so that whoever does not wait to the end leaves a permit that closes the act
        if let (true, Some(id)) = (indexed, opened) {
            permit.trust.wait_indexed(id).await?;
        }
        Ok(permit)
    }

    pub fn target(&self) -> &ResourceId {
        &self.ask.target
    }
    pub fn caller(&self) -> &crate::Caller {
        &self.ask.caller
    }
    pub fn origin(&self) -> &crate::Origin {
        &self.ask.origin
    }
    /// The tenant that owns the target; `None` for the region.
    pub fn tenant(&self) -> Option<TenantId> {
        self.owner
    }
    /// Records and content under this resource, unsealed.
    pub fn data(&self) -> Data<'_, A> {
        Data { permit: self }
    }
    /// The resource's keys and the tenant's credentials.
    pub fn secret(&self) -> Keys<'_, A> {
        Keys { permit: self }
    }

    /// Ends an act that changed nothing. Error: the record can't take the entry, so there is no answer.
    pub async fn close(mut self, outcome: Outcome) -> Result<Receipt> {
        match self.opened {
            Some(opened) => {
                self.open = false;
                let mut event = journal::event(&self.ask, self.owner, &self.because);
                journal::ended(&mut event, &outcome);
                match self.trust.append(&event, record::Weight::Before, Phase::Close, Some(opened)).await {
                    Ok(id) => Ok(Receipt { entry: Some(id) }),
                    // this closing is sent again until it is durable
                    Err(error) if error.code == "OutcomeUnknown" => Err(error),
                    Err(error) => {
                        self.open = true;
                        Err(error)
                    }
                }
            }
            // a write permit that ends without an effect is gathered like a read
            None => {
                // where that waits and its caller leaves, or nothing can be written, the act is one that was not finished
                self.trust.gather(&self.ask, self.owner, &self.because, &outcome).await?;
                self.open = false;
                Ok(Receipt { entry: None })
            }
        }
    }
}

impl Permit<Read> {
    /// Hands `stream` on and closes the permit when it ends: with `outcome` and the bytes sent before the last part is
    /// given away, as failed after an error, as unfinished where the reader leaves. For `Reply::streaming`.
    ///
    /// One part is held back: a server that has sent as many bytes as it announced does not ask for the end of a body.
    pub fn close_at_end(self, stream: crate::ByteStream, outcome: Outcome) -> crate::ByteStream {
        use futures::StreamExt;
        struct State {
            stream: crate::ByteStream,
            permit: Option<Permit<Read>>,
            outcome: Outcome,
            held: Option<bytes::Bytes>,
            sent: u64,
        }
        let state = State { stream, permit: Some(self), outcome, held: None, sent: 0 };
        Box::pin(futures::stream::unfold(state, |mut s| async move {
            let permit = s.permit.take()?;
            loop {
                match s.stream.next().await {
                    Some(Ok(bytes)) => {
                        s.sent += bytes.len() as u64;
                        let Some(part) = s.held.replace(bytes) else { continue };
                        s.permit = Some(permit);
                        return Some((Ok(part), s));
                    }
                    Some(Err(error)) => {
                        let failed = Outcome { bytes_out: s.sent, ..Outcome::failed(&error) };
                        let closed = permit.close(failed).await;
                        return Some((Err(closed.err().unwrap_or(error)), s));
                    }
                    None => {
                        return match permit.close(s.outcome.clone().bytes_out(s.sent)).await {
                            Ok(_) => s.held.take().map(|part| (Ok(part), s)),
                            Err(error) => Some((Err(error), s)),
                        };
                    }
                }
            }
        }))
    }
}

impl Permit<Write> {
    /// One atomic commit: checks, rows, facts, credentials, and the entry that says so. Durable on `Ok`.
    pub async fn commit(mut self, batch: Batch, outcome: Outcome) -> Result<Receipt, CommitFailed> {
        let plan = match self.plan(&batch, &outcome) {
            Ok(plan) => plan,
            Err(error) => return Err(CommitFailed { error, permit: None }),
        };
        let Plan { commit, facts, space, tenant, credentials } = plan;
        let closing = self.opened.map(|opened| (self.unfinished(), opened));
        let effects = Effects { facts, dropped: space, tenant, credentials: credentials.then_some(self.space.id), closing };
        let flight = Flight::new(&self.trust, commit.idem, effects);
        // from here on the closing entry is in the commit: a permit dropped while it is under way must not close again
        self.open = false;
        // nor is deleted what the commit may refer to, whatever becomes known of it
        batch.adopted.iter().for_each(|staged| staged.aside.adopt(true));
        match self.trust.inner().commit(commit).await {
            Ok(done) => {
                if let Some(effects) = flight.land() {
                    self.trust.applied(effects, done.version);
                }
                let number = done.appended.last().copied();
                Ok(Receipt { entry: number.map(|number| EntryId { shard: layout::SHARD, number }) })
            }
            // not known: whoever is in flight finds out
            Err(error @ CommitError::Unknown) => Err(CommitFailed { error: error.into(), permit: None }),
            Err(error) => {
                flight.land();
                self.open = true;
                // nothing refers to them, and nothing will
                batch.adopted.iter().for_each(|staged| staged.aside.adopt(false));
                let permit = matches!(error, CommitError::Conflict { .. }).then_some(self);
                Err(CommitFailed { error: error.into(), permit })
            }
        }
    }

    fn plan(&self, batch: &Batch, outcome: &Outcome) -> Result<Plan> {
        if batch.changes_power() && self.ask.weight != Weight::Indexed {
            return Err(Error::internal(format!("'{}' grants or erases, and is not in the log before it does", self.ask.verb)));
        }
        let inner = self.trust.inner();
        let chance = &*inner.chance;
        let mut plan = Plan::default();
        plan.commit.shard = layout::SHARD;
        plan.commit.idem = inner.number();
        plan.commit.checks.extend(self.ask.only_adds().then_some(Check::Room));
        // a tenant made in this batch needs its keys before its space and its entry do
        let mut owner = self.owner.or_else(|| batch.facts.iter().find_map(|op| new_subscription(op, &self.ask.target)));
        let mut owner_keys = match batch.facts.iter().find_map(new_tenant) {
            Some(tenant) if inner.keys.owner(Some(tenant)).is_err() => {
                let (keys, ops) = inner.keys.new_tenant(tenant, chance);
                plan.commit.ops.extend(ops);
                plan.tenant = Some((tenant, keys.clone()));
                owner = Some(tenant);
                Some(keys)
            }
            _ => None,
        };
        let owner_keys = match owner_keys.take() {
            Some(keys) => keys,
            None => inner.keys.owner(owner)?,
        };
        let (space, key, address) = self.space_for(batch, owner, &owner_keys, &mut plan)?;
        plan.commit.checks.push(self.still_there()?);
        self.rows(batch, space, &key, &address, &mut plan)?;
        self.facts(batch, owner, &mut plan)?;
        self.credentials(batch, space, &key, &mut plan);
        let places = self.contents(batch, &mut plan);
        if let Some((tenant, _)) = &plan.tenant {
            plan.commit.ops.push(self.tenant_created(*tenant, &owner_keys)?);
        }
        self.entries(outcome, owner, &owner_keys, places, &mut plan)?;
        Ok(plan)
    }

    /// The space that the permit was given for: what is written after its end would be sealed for nobody. Error
    /// `ResourceNotFound`: it has ended meanwhile, also where another was made under its name.
    fn still_there(&self) -> Result<Check> {
        let key = Fact::space_key(&self.space.resource);
        let version = self.trust.facts(|f| f.space(&self.space.resource).filter(|s| s.id == self.space.id).and_then(|_| f.version(&key)));
        let gone = || Error::new(base::Kind::NotFound, "ResourceNotFound", format!("'{}' was deleted meanwhile.", self.space.resource));
        Ok(Check::Is(layout::fact(&key), version.ok_or_else(gone)?))
    }

    /// Where this batch's rows go: the permit's space, or the one this batch makes for its target.
    fn space_for(
        &self,
        batch: &Batch,
        owner: Option<TenantId>,
        owner_keys: &OwnerKeys,
        plan: &mut Plan,
    ) -> Result<(SpaceId, SealKey, String)> {
        let inner = self.trust.inner();
        let here = (self.space.id, self.key.clone(), self.address.clone());
        let own = self.space.resource == self.ask.target;
        match &batch.space {
            Some(SpaceOp::Create(location)) if !own => {
                if *location != inner.location {
                    return Err(Error::new(
                        base::Kind::Forbidden,
                        "LocationNotAvailable",
                        format!("'{location}' is not a place of this region: its data stays in '{}'.", inner.location),
                    )
                    .at("location"));
                }
                let id = SpaceId::random(&*inner.chance);
                let wrapped_key = inner.keys.new_space(id, owner_keys, &*inner.chance);
                let space = Space { resource: self.ask.target.clone(), id, tenant: owner, location: location.clone(), wrapped_key };
                let key = inner.keys.space(&space)?;
                plan.claim(Fact::Space(space), inner)?;
                Ok((id, key, String::new()))
            }
            Some(SpaceOp::Drop) if own => {
                plan.remove(Fact::space_key(&self.ask.target));
                plan.space = Some(self.space.id);
                // what is left to purge is found by this mark, also after a crash
                plan.commit.ops.push(Op::Put(layout::head(&format!("purge/{}", self.space.id)), Bytes::from_static(&[1])));
                Ok(here)
            }
            Some(SpaceOp::Drop) => Err(Error::internal("a space is dropped by a permit for its own resource")),
            Some(SpaceOp::Create(_)) | None => Ok(here),
        }
    }

    fn rows(&self, batch: &Batch, space: SpaceId, key: &SealKey, address: &str, plan: &mut Plan) -> Result<()> {
        let inner = self.trust.inner();
        for check in &batch.checks {
            plan.commit.checks.push(match check {
                RowCheck::Absent(table, name) => Check::Absent(layout::row(space, *table, address, name)),
                RowCheck::Is(table, name, version) => Check::Is(layout::row(space, *table, address, name), *version),
                RowCheck::Exists(table, name) => Check::Exists(layout::row(space, *table, address, name)),
            });
        }
        for row in &batch.rows {
            plan.commit.ops.push(match row {
                RowOp::Put(table, name, value) => {
                    let row = layout::row(space, *table, address, name);
                    let sealed = seal_record(key, &*inner.chance, &row, &crate::data::envelope(name, value));
                    Op::Put(row, sealed.into())
                }
                RowOp::Delete(table, name) => Op::Delete(layout::row(space, *table, address, name)),
            });
        }
        Ok(())
    }

    fn facts(&self, batch: &Batch, owner: Option<TenantId>, plan: &mut Plan) -> Result<()> {
        let inner = self.trust.inner();
        for (key, read) in &batch.fact_checks {
            let row = layout::fact(key);
            plan.commit.checks.push(read.map_or_else(|| Check::Absent(row.clone()), |version| Check::Is(row.clone(), version)));
        }
        for op in &batch.facts {
            match op {
                FactOp::Claim(fact) => {
                    own_fact(fact, owner, self)?;
                    plan.claim(fact.clone(), inner)?;
                }
                FactOp::Put(fact) => {
                    own_fact(fact, owner, self)?;
                    plan.put(fact.clone(), inner)?;
                }
                FactOp::Remove(key) => {
                    if let Some(fact) = self.trust.facts(|f| f.get(key).cloned()) {
                        own_fact(&fact, owner, self)?;
                    }
                    plan.remove(key.clone());
                }
            }
        }
        Ok(())
    }

    fn credentials(&self, batch: &Batch, space: SpaceId, key: &SealKey, plan: &mut Plan) {
        for op in &batch.credentials {
            plan.credentials = true;
            plan.commit.ops.push(match op {
                CredentialOp::Set { holder, id, credential } => {
                    let row = layout::credential(space, holder, id);
                    let sealed = seal_record(key, &*self.trust.inner().chance, &row, &base::encode(credential));
                    Op::Put(row, sealed.into())
                }
                CredentialOp::Delete { holder, id } => Op::Delete(layout::credential(space, holder, id)),
            });
        }
    }

    /// Ledger rows for adopted chunks, garbage rows for dropped ones; returns where the new bytes are, for the entry.
    fn contents(&self, batch: &Batch, plan: &mut Plan) -> Vec<Placed> {
        let inner = self.trust.inner();
        let mut places: BTreeMap<base::SiteName, (u64, u64)> = BTreeMap::new();
        for piece in batch.adopted.iter().flat_map(|s| &s.made) {
            let Piece::Chunk { id, at, .. } = piece else { continue };
            let count = places.entry(at.site.clone()).or_default();
            *count = (count.0 + 1, count.1 + at.length);
            let row = layout::ledger(self.space.id, *id);
            let value = base::encode(&LedgerRow { copies: vec![at.clone()] });
            plan.commit.ops.push(Op::Put(row.clone(), seal_record(&inner.keys.facts, &*inner.chance, &row, &value).into()));
        }
        let due = inner.clock.now().plus_seconds(GARBAGE_DELAY_S);
        for dropped in &batch.dropped {
            plan.commit.ops.push(inner.garbage(self.space.id, dropped, due));
        }
        places.into_iter().map(|(site, (chunks, bytes))| Placed { site, chunks, bytes }).collect()
    }

    /// The first entry of a tenant's record: the countries in which its data may be, from the first byte on.
    fn tenant_created(&self, tenant: TenantId, keys: &OwnerKeys) -> Result<Op> {
        let inner = self.trust.inner();
        let residency = self.trust.residency().join(",");
        let mut event = journal::own(&record::catalogue::TENANT_CREATED, &[("tenant", &tenant.to_string()), ("residency", &residency)]);
        event.owner = journal::owner_of(Some(tenant));
        let note = Note { event: &event, weight: record::Weight::System, phase: Phase::Whole, opens: None, at: inner.clock.now() };
        inner.scribe.entry(note, keys, &*inner.chance)
    }

    /// The entry of the commit. An opening that the operator owns is closed by an entry that the operator owns: of an act
    /// that makes an owner, the new owner's record has a whole entry too.
    fn entries(&self, outcome: &Outcome, owner: Option<TenantId>, keys: &OwnerKeys, places: Vec<Placed>, plan: &mut Plan) -> Result<()> {
        let inner = self.trust.inner();
        let mut event = journal::event(&self.ask, owner, &self.because);
        journal::ended(&mut event, outcome);
        event.places = places;
        event.key = Some(format!("space/{}", self.space.id));
        let weight = if self.opened.is_some() { record::Weight::Before } else { record::Weight::With };
        let mut opens = self.opened;
        if opens.is_some() && self.owner != owner {
            let event = record::Event { owner: journal::owner_of(self.owner), ..event.clone() };
            let note = Note { event: &event, weight, phase: Phase::Close, opens: opens.take(), at: inner.clock.now() };
            plan.commit.ops.push(inner.scribe.entry(note, &*inner.keys.owner(self.owner)?, &*inner.chance)?);
        }
        let phase = if opens.is_some() { Phase::Close } else { Phase::Whole };
        let note = Note { event: &event, weight, phase, opens, at: inner.clock.now() };
        plan.commit.ops.push(inner.scribe.entry(note, keys, &*inner.chance)?);
        Ok(())
    }
}

fn new_tenant(op: &FactOp) -> Option<TenantId> {
    match op {
        FactOp::Claim(Fact::Tenant(t)) | FactOp::Put(Fact::Tenant(t)) => Some(t.id),
        _ => None,
    }
}

/// The tenant of a subscription that this batch makes: nothing belongs to the region that belongs to a tenant.
fn new_subscription(op: &FactOp, target: &ResourceId) -> Option<TenantId> {
    match op {
        FactOp::Claim(Fact::Subscription(s)) | FactOp::Put(Fact::Subscription(s)) => {
            (target.subscription_id() == Some(s.id)).then_some(s.tenant)
        }
        _ => None,
    }
}

/// A permit writes facts of its own tenant only. Names are of the resource the permit is for.
fn own_fact(fact: &Fact, owner: Option<TenantId>, permit: &Permit<Write>) -> Result<()> {
    let ok = match fact {
        Fact::Tenant(t) => owner == Some(t.id),
        Fact::Subscription(s) => owner.is_none() || owner == Some(s.tenant),
        Fact::Principal(p) => owner == Some(p.tenant),
        Fact::Member { tenant, .. } => owner == Some(*tenant),
        Fact::Assignment(a) => owner == Some(a.tenant) && a.scope.is_within(&permit.ask.target) || owner.is_none(),
        Fact::Name(n) => n.resource == permit.ask.target,
        Fact::Scoped(s) => owner == Some(s.tenant) && (s.scope.is_within(&permit.ask.target) || s.id.is_within(&permit.ask.target)),
        Fact::Space(_) | Fact::Site(_) => owner.is_none(),
    };
    if ok { Ok(()) } else { Err(Error::internal(format!("a permit for {} can't write the fact {}", permit.ask.target, fact.key()))) }
}

/// Everything a commit does, worked out before it is sent.
struct Plan {
    commit: Commit,
    facts: Vec<Result<Fact, String>>,
    space: Option<SpaceId>,
    tenant: Option<(TenantId, Arc<OwnerKeys>)>,
    credentials: bool,
}

impl Default for Plan {
    fn default() -> Plan {
        let commit = Commit { shard: layout::SHARD, idem: 0, checks: Vec::new(), ops: Vec::new() };
        Plan { commit, facts: Vec::new(), space: None, tenant: None, credentials: false }
    }
}

impl Plan {
    fn put(&mut self, fact: Fact, inner: &crate::Inner) -> Result<()> {
        let row = layout::fact(&fact.key());
        let sealed = seal_record(&inner.keys.facts, &*inner.chance, &row, &base::encode(&fact));
        self.commit.ops.push(Op::Put(row, sealed.into()));
        self.facts.push(Ok(fact));
        Ok(())
    }
    fn claim(&mut self, fact: Fact, inner: &crate::Inner) -> Result<()> {
        self.commit.checks.push(Check::Absent(layout::fact(&fact.key())));
        self.put(fact, inner)
    }
    fn remove(&mut self, key: String) {
        self.commit.ops.push(Op::Delete(layout::fact(&key)));
        self.facts.push(Err(key));
    }
}

impl<A: Access> Drop for Permit<A> {
    /// A permit dropped by an error or a lost client is recorded as unfinished. With weight *with* nothing became
    /// durable, so there is nothing to close, but the attempt is gathered all the same.
    fn drop(&mut self) {
        if !self.open {
            return;
        }
        let outcome = Outcome { result: Ended::Unfinished, ..Outcome::done(0) };
        match self.opened {
            None => self.trust.gather_now(&self.ask, self.owner, &self.because, &outcome),
            Some(opened) => self.trust.close_later(self.unfinished(), opened),
        }
    }
}
