//! The sweep: closes, as unfinished, what an earlier process opened and did not close.
//!
//! An act whose opening can't be read any more is closed all the same when the tag of its entry tells its owner. Where
//! even that fails, the record and the status say so, and a mark keeps the act in sight: each start tries it again.

use crate::export::LeftOpen;
use crate::journal::{self, own};
use crate::sequencer::SealedOpening;
use crate::{Inner, Trust, layout, lock};
use base::{EntryId, Result, TenantId};
use record::tiles::TILE_WIDTH;
use record::{Entry, Event, Owner, Phase, Tag, Weight, catalogue};
use std::collections::BTreeMap;
use std::sync::atomic::Ordering;
use std::time::Duration;
use store::{Commit, KeyRange, Op};

/// A sweep that fails is tried again so much later, twice as late each time.
const AGAIN: Duration = Duration::from_secs(1);
const AGAIN_MAX: Duration = Duration::from_secs(300);
/// Acts that can't be closed, told in one commit.
const TOLD_RUN: usize = 200;

/// An act without a closing entry: its opening, or why that can't be read.
type Open = Result<Entry, String>;

impl Trust {
    /// True once what an earlier process left open is closed: the record is whole again.
    pub fn is_swept(&self) -> bool {
        self.inner().swept.load(Ordering::Acquire)
    }

    /// Sweeps acts, then chunks, each until it succeeded.
    pub(crate) async fn sweep_until_done(&self) {
        let mut again = AGAIN;
        while let Err(error) = self.sweep().await {
            tracing::error!(%error, "the sweep of unfinished acts failed; it is tried again");
            tokio::time::sleep(again).await;
            again = (again * 2).min(AGAIN_MAX);
        }
        self.inner().swept.store(true, Ordering::Release);
        let mut again = AGAIN;
        while let Err(error) = self.free_orphans().await {
            tracing::error!(%error, "the sweep of orphaned chunks failed; it is tried again");
            tokio::time::sleep(again).await;
            again = (again * 2).min(AGAIN_MAX);
        }
    }

    /// Closes what can be closed, and keeps the rest in sight.
    pub(crate) async fn sweep(&self) -> Result<()> {
        let inner = self.inner();
        // entries up to the floor were swept before
        let floor = match inner.kv.get(&layout::head("swept")).await? {
            Some((_, bytes)) => store::counter(&bytes).unwrap_or(0).max(0) as u64,
            None => 0,
        };
        self.move_on().await?;
        let started = inner.started.load(Ordering::Relaxed);
        let size = inner.sequencer.lock().await.head.size;
        let known = inner.known_left_open().await?;
        let open = inner.still_open(floor, size, started, &known).await?;
        let (mut closings, mut left) = (Vec::new(), Vec::new());
        for (number, opening) in open {
            let id = EntryId { shard: layout::SHARD, number };
            match inner.closing(id, opening).await? {
                Ok(event) => closings.push((event, Weight::Before, Phase::Close, Some(id))),
                Err(why) => left.push(LeftOpen { opening: id, why }),
            }
        }
        lock(&inner.backlog).extend(closings);
        inner.flush().await?;
        inner.tell(&known, &left).await?;
        // what this process opened meanwhile is the next start's to sweep; an entry's index is its number less one
        let floor = size.min(started.saturating_sub(1));
        let swept = Op::Put(layout::head("swept"), (floor as i64).to_be_bytes().to_vec().into());
        inner.kv.commit(Commit { shard: layout::SHARD, idem: 0, checks: Vec::new(), ops: vec![swept] }).await?;
        for act in &left {
            tracing::error!(opening = %act.opening, why = act.why, "an act that a crash left open can't be closed");
        }
        *lock(&inner.left_open) = left;
        self.move_on().await
    }
}

impl Inner {
    /// Acts that earlier sweeps could not close, by the numbers of their openings.
    async fn known_left_open(&self) -> Result<Vec<u64>> {
        let mut range = KeyRange::prefix(&layout::head("unswept/"));
        let mut known = Vec::new();
        loop {
            let page = self.kv.scan(range.clone(), store::PAGE_ROWS_MAX, false).await?;
            known.extend(page.rows.iter().filter_map(|row| row.key.last_chunk::<8>()).map(|number| u64::from_be_bytes(*number)));
            match page.next {
                Some(next) => range = range.resume(next, false),
                None => return Ok(known),
            }
        }
    }

    /// What is open among the entries from `floor` to `size` that are older than this process, and among the `known`.
    async fn still_open(&self, floor: u64, size: u64, started: u64, known: &[u64]) -> Result<BTreeMap<u64, Open>> {
        let mut open = BTreeMap::new();
        for number in known {
            let index = number.saturating_sub(1);
            let bundle = self.entries(index / TILE_WIDTH, size).await?;
            if let Some(bytes) = bundle.get((index % TILE_WIDTH) as usize) {
                open.insert(*number, Entry::decode(bytes).map_err(|e| e.to_string()));
            }
        }
        for bundle in (floor / TILE_WIDTH)..size.div_ceil(TILE_WIDTH) {
            for (at, bytes) in self.entries(bundle, size).await?.into_iter().enumerate() {
                let number = bundle * TILE_WIDTH + at as u64 + 1;
                match Entry::decode(&bytes) {
                    Ok(entry) => match (entry.draft.phase, entry.draft.opens) {
                        (Phase::Open, _) if number < started => drop(open.insert(number, Ok(entry))),
                        (Phase::Close, Some(opened)) => drop(open.remove(&opened.number)),
                        _ => {}
                    },
                    // it may be an opening
                    Err(error) if number < started => drop(open.insert(number, Err(error.to_string()))),
                    Err(_) => {}
                }
            }
        }
        Ok(open)
    }

    /// The event that closes an act; or why nobody can write it. The outer error: the store can't be read now.
    async fn closing(&self, id: EntryId, opening: Open) -> Result<Result<Event, String>> {
        let entry = match opening {
            Ok(entry) => entry,
            Err(why) => return Ok(Err(format!("its entry can't be read: {why}"))),
        };
        let stored = self.kv.get(&layout::opening(id.number - 1)).await?;
        let opened = stored.ok_or_else(|| "its opening is not there".to_owned()).and_then(|(_, bytes)| {
            let sealed: SealedOpening = base::decode(&bytes).map_err(|e| e.to_string())?;
            let keys = self.keys.of(sealed.owner).map_err(|e| e.to_string())?;
            let opening = journal::open(&keys.record, &entry.draft.commitment, &sealed.sealed).map_err(|e| e.to_string())?;
            Event::decode(&opening.event).map_err(|e| e.to_string())
        });
        let why = match opened {
            Ok(mut event) => {
                event.outcome = record::Outcome::unfinished();
                event.facts.push(record::Fact::new("swept", "after a crash"));
                return Ok(Ok(event));
            }
            Err(why) => why,
        };
        // whose act it was can still be told: an owner's tag is on it
        let Some(owner) = self.owner_of(&entry) else { return Ok(Err(why)) };
        let mut event = own(&catalogue::ACT_SWEPT, &[("opens", &id.to_string()), ("why", &why)]);
        event.owner = owner;
        event.outcome = record::Outcome::unfinished();
        Ok(Ok(event))
    }

    /// The owner whose tag an entry carries; `None`: nobody's whose keys are here.
    fn owner_of(&self, entry: &Entry) -> Option<Owner> {
        let tenants: Vec<TenantId> = self.facts.read().unwrap_or_else(|e| e.into_inner()).tenants().map(|t| t.id).collect();
        let commitment = &entry.draft.commitment.0;
        [Owner::Region, Owner::Operator].into_iter().chain(tenants.into_iter().map(Owner::Tenant)).find(|owner| {
            let keys = self.keys.of(*owner);
            keys.is_ok_and(|keys| Tag::from_mac(keys.tag.sign(commitment)) == entry.draft.tag)
        })
    }

    /// Keeps the acts left open in sight, each told once in the record; those that could be closed are forgotten.
    async fn tell(&self, known: &[u64], left: &[LeftOpen]) -> Result<()> {
        let row = |number: u64| layout::head_number("unswept/", number);
        let mut ops: Vec<Op> = Vec::new();
        for number in known.iter().filter(|number| !left.iter().any(|act| act.opening.number == **number)) {
            ops.push(Op::Delete(row(*number)));
        }
        for act in left.iter().filter(|act| !known.contains(&act.opening.number)) {
            let event = own(&catalogue::ACT_LEFT_OPEN, &[("opens", &act.opening.to_string()), ("why", &act.why)]);
            ops.push(Op::Put(row(act.opening.number), bytes::Bytes::from_static(&[1])));
            ops.push(self.entry(&(event, Weight::System, Phase::Whole, None))?);
        }
        for run in ops.chunks(2 * TOLD_RUN) {
            self.commit(self.entries_commit(run.to_vec())).await?;
        }
        Ok(())
    }
}
