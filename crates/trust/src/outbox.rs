//! Entries on their way into the outbox, and none of them twice.
//!
//! What was gathered and the closings of dropped permits wait in the [`Backlog`]. A flush makes a [`Run`] of the first of
//! them: one commit, its bytes and its number fixed. The run stays in the backlog until the store has said that it is
//! done; sent again it is the same commit, which the store does once. The same holds for a single entry whose answer was
//! lost, or whose sender went away in the middle: it is left here, so that its outcome becomes known.

use crate::journal::{self, Note};
use crate::keys::OwnerKeys;
use crate::{Fact, Inner, Trust, layout, lock};
use base::{EntryId, Error, Result, SpaceId, TenantId};
use record::{Event, Phase, Weight, catalogue};
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;
use store::{Check, Commit, CommitError, Committed, Op};

/// An entry on its way to the outbox.
pub(crate) type Waiting = (Event, Weight, Phase, Option<EntryId>);

/// Entries left behind by a store that can't; beyond, whoever reads waits for a flush that succeeds.
const BACKLOG_MAX: usize = 1_000;
/// Entries of one commit; the other limit is half of the store's bytes.
const RUN_MAX: usize = 500;

/// A commit whose answer was lost is asked after so much later, twice as late each time.
const SEARCH_PAUSE: Duration = Duration::from_millis(20);
const SEARCH_PAUSE_MAX: Duration = Duration::from_secs(5);

/// One commit of entries: the same bytes under the same number, however often it is sent.
struct Run {
    commit: Commit,
    entries: usize,
    /// The act that its only entry opens and nobody goes on with: closed as unfinished once the opening has its number.
    opening: Option<Event>,
}

#[derive(Default)]
pub(crate) struct Backlog {
    /// Sent, and not known to be done. In this order they are sent again.
    sent: VecDeque<Run>,
    /// Not sent yet.
    waiting: VecDeque<Waiting>,
}

impl Backlog {
    pub fn push(&mut self, waiting: Waiting) {
        self.waiting.push_back(waiting);
    }
    pub fn extend(&mut self, waiting: impl IntoIterator<Item = Waiting>) {
        self.waiting.extend(waiting);
    }
    pub fn is_full(&self) -> bool {
        self.waiting.len() + self.sent.iter().map(|run| run.entries).sum::<usize>() >= BACKLOG_MAX
    }
}

/// A single entry under way. Dropped before its outcome is known, it goes to the backlog.
struct Sending<'a> {
    inner: &'a Inner,
    run: Option<Run>,
}

impl Drop for Sending<'_> {
    fn drop(&mut self) {
        if let Some(run) = self.run.take() {
            lock(&self.inner.backlog).sent.push_back(run);
        }
    }
}

/// What memory has to learn from a commit once it is known to be done.
pub(crate) struct Effects {
    pub facts: Vec<Result<Fact, String>>,
    pub dropped: Option<SpaceId>,
    pub tenant: Option<(TenantId, Arc<OwnerKeys>)>,
    pub credentials: Option<SpaceId>,
    /// The closing of its act, for when it turns out not to be done.
    pub closing: Option<(Event, EntryId)>,
}

/// A permit's commit under way. Dropped before it has landed (its answer was lost, or whoever waited for it went away),
/// it asks in the background what became of it: memory must not stay behind the store.
pub(crate) struct Flight {
    trust: Trust,
    idem: u128,
    effects: Option<Effects>,
}

impl Flight {
    pub fn new(trust: &Trust, idem: u128, effects: Effects) -> Flight {
        Flight { trust: trust.clone(), idem, effects: Some(effects) }
    }
    /// Its outcome is known.
    pub fn land(mut self) -> Option<Effects> {
        self.effects.take()
    }
}

impl Drop for Flight {
    fn drop(&mut self) {
        let Some(effects) = self.effects.take() else { return };
        let (trust, idem) = (self.trust.clone(), self.idem);
        // without a runtime the region has stopped: its next start reads everything anew
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            runtime.spawn(async move { trust.search(idem, effects).await });
        }
    }
}

impl Trust {
    /// Asks until the store says what became of a commit.
    async fn search(&self, idem: u128, effects: Effects) {
        let mut pause = SEARCH_PAUSE;
        loop {
            match self.inner().kv.resolve(layout::SHARD, idem).await {
                Ok(Some(done)) => return self.applied(effects, done.version),
                Ok(None) => {
                    if let Some((event, opened)) = effects.closing {
                        self.close_later(event, opened);
                    }
                    return;
                }
                Err(_) => tokio::time::sleep(pause).await,
            }
            pause = (pause * 2).min(SEARCH_PAUSE_MAX);
        }
    }

    /// Puts one entry into the outbox; durable when it returns. After `OutcomeUnknown` the entry is not lost: later
    /// flushes send it until it is durable, and an opening is then closed as unfinished.
    pub(crate) async fn append(&self, event: &Event, weight: Weight, phase: Phase, opens: Option<EntryId>) -> Result<EntryId> {
        self.append_if(event, weight, phase, opens, Vec::new()).await
    }

    /// As [`Trust::append`], where `checks` hold.
    pub(crate) async fn append_if(
        &self,
        event: &Event,
        weight: Weight,
        phase: Phase,
        opens: Option<EntryId>,
        checks: Vec<Check>,
    ) -> Result<EntryId> {
        let inner = self.inner();
        let commit = inner.entries_commit(vec![inner.entry(&(event.clone(), weight, phase, opens))?]);
        let opening = (phase == Phase::Open).then(|| Event { outcome: record::Outcome::unfinished(), ..event.clone() });
        // what may have happened is not refused the second time
        let mut sending = Sending { inner, run: Some(Run { commit: commit.clone(), entries: 1, opening }) };
        let done = inner.commit(Commit { checks, ..commit }).await;
        if !matches!(done, Err(CommitError::Unknown)) {
            sending.run = None;
        }
        let number = done?.appended.first().copied();
        number.map(|number| EntryId { shard: layout::SHARD, number }).ok_or_else(|| Error::internal("an entry got no number"))
    }
}

impl Inner {
    /// Sends a commit, and after a lost answer asks what became of it. The commit needs a number (`idem`) of its own.
    /// `Unknown`: it may have happened, and may yet.
    pub(crate) async fn commit(&self, commit: Commit) -> Result<Committed, CommitError> {
        match self.kv.commit(commit.clone()).await {
            Err(CommitError::Unknown) => match self.kv.resolve(commit.shard, commit.idem).await {
                Ok(Some(done)) => Ok(done),
                // it did not happen, and will not
                Ok(None) => self.kv.commit(commit).await,
                Err(_) => Err(CommitError::Unknown),
            },
            other => other,
        }
    }

    /// Writes what was gathered and the closings of dropped permits. What can't be written now is kept for the next
    /// time: the acts are done and answered, and a full disk must not take them out of the record.
    pub(crate) async fn flush(&self) -> Result<()> {
        let _one_at_a_time = self.flushing.lock().await;
        self.settle().await?;
        let gathered = self.gathered.take().into_iter().map(|event| {
            let weight = if event.verb == catalogue::STRANGERS.name { Weight::Tally } else { Weight::Batched };
            (event, weight, Phase::Whole, None)
        });
        lock(&self.backlog).waiting.extend(gathered);
        while self.begin_run()? {
            self.settle().await?;
        }
        Ok(())
    }

    /// Sends what is not known to be done, in order, until all of it is. Every step leaves the backlog whole: the caller
    /// may go away at any `await`.
    async fn settle(&self) -> Result<()> {
        loop {
            let Some(commit) = lock(&self.backlog).sent.front().map(|run| run.commit.clone()) else { return Ok(()) };
            // whatever the error is, an earlier try may have happened
            let done = self.kv.commit(commit).await?;
            let mut backlog = lock(&self.backlog);
            let opening = backlog.sent.pop_front().and_then(|run| run.opening);
            if let (Some(event), Some(number)) = (opening, done.appended.first()) {
                backlog.push((event, Weight::Before, Phase::Close, Some(EntryId { shard: layout::SHARD, number: *number })));
            }
        }
    }

    /// Makes a run of the first entries that wait. False: none does.
    fn begin_run(&self) -> Result<bool> {
        let mut backlog = lock(&self.backlog);
        let (mut ops, mut bytes): (Vec<Op>, usize) = (Vec::new(), 0);
        for waiting in backlog.waiting.iter().take(RUN_MAX) {
            let op = match self.entry(waiting) {
                // those before it go first
                Err(_) if !ops.is_empty() => break,
                made => made?,
            };
            bytes += if let Op::Append { value, .. } = &op { value.len() + 64 } else { 64 };
            if !ops.is_empty() && bytes > store::COMMIT_BYTES_MAX / 2 {
                break;
            }
            ops.push(op);
        }
        let entries = ops.len();
        if entries == 0 {
            return Ok(false);
        }
        backlog.waiting.drain(..entries);
        let commit = self.entries_commit(ops);
        backlog.sent.push_back(Run { commit, entries, opening: None });
        Ok(true)
    }

    pub(crate) fn entry(&self, (event, weight, phase, opens): &Waiting) -> Result<Op> {
        let keys = journal::keys_of(&self.keys, event)?;
        self.scribe.entry(Note { event, weight: *weight, phase: *phase, opens: *opens, at: self.clock.now() }, &keys, &*self.chance)
    }

    pub(crate) fn entries_commit(&self, ops: Vec<Op>) -> Commit {
        Commit { shard: layout::SHARD, idem: self.number(), checks: Vec::new(), ops }
    }

    /// A number that names one commit.
    pub(crate) fn number(&self) -> u128 {
        u128::from_be_bytes(crypto::random_array(&*self.chance))
    }
}
