//! The collector: deletes the chunks of dropped contents when their time has come, purges dropped spaces, and frees what
//! earlier processes staged and never committed.

use crate::batch::Dropped;
use crate::content::{Content, LedgerRow, Piece};
use crate::data::Reader;
use crate::{Inner, Trust, layout};
use base::{Result, SpaceId, Timestamp};
use crypto::{open_record, seal_record};
use serde::{Deserialize, Serialize};
use std::collections::HashSet;
use store::{ChunkId, Commit, KeyRange, Live, Op, Placed, Row};

/// Rows purged in one commit.
const PURGE_RUN: usize = 500;
/// Dropped contents read at once.
const GARBAGE_RUN: usize = 200;

#[derive(Serialize, Deserialize)]
struct Garbage {
    space: SpaceId,
    content: Content,
    keep: Option<Content>,
}

base::first_version! { Garbage "trust.garbage"; }

/// What is left of a dropped content.
#[derive(Default)]
struct Chunks {
    content: Vec<(ChunkId, Placed)>,
    /// Those that name the others.
    index: Vec<(ChunkId, Placed)>,
}

impl Inner {
    /// The row that remembers a dropped content until `due`.
    pub(crate) fn garbage(&self, space: SpaceId, dropped: &Dropped, due: Timestamp) -> Op {
        let row = layout::garbage(due, crypto::random_array(&*self.chance));
        let value = base::encode(&Garbage { space, content: dropped.content.clone(), keep: dropped.keep.clone() });
        let sealed = seal_record(&self.keys.facts, &*self.chance, &row, &value);
        Op::Put(row, sealed.into())
    }

    /// Where a chunk is, by the ledger; nowhere when it has no row.
    pub(crate) async fn copies(&self, space: SpaceId, chunk: ChunkId) -> Result<Vec<Placed>> {
        let row = layout::ledger(space, chunk);
        let Some((_, sealed)) = self.kv.get(&row).await? else { return Ok(Vec::new()) };
        Ok(base::decode::<LedgerRow>(&open_record(&self.keys.facts, &row, &sealed)?)?.copies)
    }
}

impl Trust {
    /// One turn of the collector: all that is due; gives the number of chunks it deleted.
    pub async fn collect(&self) -> Result<u64> {
        let inner = self.inner();
        let mut deleted = 0;
        let mut due = KeyRange { start: layout::all_garbage(), end: Some(layout::garbage(inner.clock.now(), [0; 16])) };
        loop {
            let page = inner.kv.scan(due.clone(), GARBAGE_RUN, false).await?;
            for row in page.rows {
                match self.chunks(&row).await {
                    Ok((space, chunks)) => deleted += self.delete_garbage(space, chunks, row.key).await?,
                    // damaged: its chunks stay, and what was dropped after it goes all the same
                    Err(error) => tracing::error!(%error, "a dropped content can't be read; its chunks stay"),
                }
            }
            match page.next {
                Some(next) => due = due.resume(next, false),
                None => break,
            }
        }
        let purges = inner.kv.scan(KeyRange::prefix(&layout::head("purge/")), 100, false).await?;
        for row in purges.rows {
            let name = String::from_utf8_lossy(&row.key[layout::head("purge/").len()..]).into_owned();
            deleted += self.purge(name.parse()?).await?;
        }
        Ok(deleted)
    }

    /// Frees chunks of earlier processes that no ledger row names. What they staged and did not commit, nobody can adopt
    /// any more; what this process stages lies behind the marks. Runs beside the region's work; reads the ledger page by
    /// page and keeps a map of pages in use, whose size does not depend on the number of chunks.
    pub async fn free_orphans(&self) -> Result<()> {
        let inner = self.inner();
        let mut live: Vec<Live> = inner.sites.iter().map(|_| Live::default()).collect();
        let mut range = KeyRange::prefix(&layout::whole_ledger());
        loop {
            let page = inner.kv.scan(range.clone(), store::PAGE_ROWS_MAX, false).await?;
            for row in page.rows {
                let ledger: LedgerRow = base::decode(&open_record(&inner.keys.facts, &row.key, &row.value)?)?;
                for copy in &ledger.copies {
                    if let Some(at) = inner.sites.iter().position(|site| *site.site() == copy.site) {
                        live[at].add(copy);
                    }
                }
            }
            match page.next {
                Some(next) => range = range.resume(next, false),
                None => break,
            }
            // millions of rows: whoever waits for this thread comes first
            tokio::task::yield_now().await;
        }
        for ((site, mark), live) in inner.sites.iter().zip(&inner.marks).zip(live) {
            let swept = site.sweep(mark.clone(), live).await?;
            if swept.bytes_freed > 0 {
                tracing::info!(site = %site.site(), bytes = swept.bytes_freed, "orphaned chunks were freed");
            }
        }
        Ok(())
    }

    /// The chunks of a dropped content that nothing keeps. Empty when its space is gone: the purge takes them.
    async fn chunks(&self, row: &Row) -> Result<(SpaceId, Chunks)> {
        let garbage: Garbage = base::decode(&open_record(&self.inner().keys.facts, &row.key, &row.value)?)?;
        let Some(space) = self.facts(|f| f.spaces().find(|s| s.id == garbage.space).cloned()) else {
            return Ok((garbage.space, Chunks::default()));
        };
        let reader = Reader { trust: self.clone(), key: self.inner().keys.space(&space)?, aad: *garbage.space.0.as_bytes() };
        let kept: HashSet<ChunkId> = match &garbage.keep {
            Some(content) => reader.pieces(content).await?.into_iter().filter_map(|p| chunk(&p).map(|(id, _)| id)).collect(),
            None => HashSet::new(),
        };
        let unkept = |pieces: &[Piece]| pieces.iter().filter_map(chunk).filter(|(id, _)| !kept.contains(id)).collect();
        let index = match &garbage.content.body {
            crate::content::Layout::Index(index) => unkept(index),
            crate::content::Layout::Pieces(_) => Vec::new(),
        };
        Ok((garbage.space, Chunks { content: unkept(&reader.pieces(&garbage.content).await?), index }))
    }

    /// Deletes the chunks of a dropped content, and the row that remembers it.
    async fn delete_garbage(&self, space: SpaceId, chunks: Chunks, row: store::Key) -> Result<u64> {
        let inner = self.inner();
        self.delete_chunks(space, &chunks.content).await?;
        let index = self.all_copies(space, &chunks.index).await?;
        // the row goes last, so that a turn that broke off is done again: deleting twice is no error. It goes before the
        // index, without which it could not be done again; an index that no ledger names goes at the next start
        let ledger = chunks.index.iter().map(|(id, _)| Op::Delete(layout::ledger(space, *id)));
        let ops = ledger.chain([Op::Delete(row)]).collect();
        inner.kv.commit(Commit { shard: layout::SHARD, idem: 0, checks: Vec::new(), ops }).await?;
        self.delete_at_sites(&index).await?;
        Ok((chunks.content.len() + chunks.index.len()) as u64)
    }

    async fn delete_chunks(&self, space: SpaceId, chunks: &[(ChunkId, Placed)]) -> Result<()> {
        for run in chunks.chunks(PURGE_RUN) {
            self.delete_at_sites(&self.all_copies(space, run).await?).await?;
            let ops = run.iter().map(|(id, _)| Op::Delete(layout::ledger(space, *id))).collect();
            self.inner().kv.commit(Commit { shard: layout::SHARD, idem: 0, checks: Vec::new(), ops }).await?;
        }
        Ok(())
    }

    /// Every place of these chunks: where they were first put, and what the ledger knows beside.
    async fn all_copies(&self, space: SpaceId, chunks: &[(ChunkId, Placed)]) -> Result<Vec<(ChunkId, Placed)>> {
        let mut all = chunks.to_vec();
        for (id, hint) in chunks {
            let copies = self.inner().copies(space, *id).await?;
            all.extend(copies.into_iter().filter(|copy| copy != hint).map(|copy| (*id, copy)));
        }
        Ok(all)
    }

    async fn delete_at_sites(&self, chunks: &[(ChunkId, Placed)]) -> Result<()> {
        for site in &self.inner().sites {
            let here: Vec<Placed> = chunks.iter().filter(|(_, at)| at.site == *site.site()).map(|(_, at)| at.clone()).collect();
            site.delete(&here).await?;
        }
        Ok(())
    }

    /// Deletes every row and chunk of a dropped space.
    async fn purge(&self, space: SpaceId) -> Result<u64> {
        let inner = self.inner();
        let mut deleted = 0;
        loop {
            let page = inner.kv.scan(KeyRange::prefix(&layout::space_ledger(space)), PURGE_RUN, false).await?;
            if page.rows.is_empty() {
                break;
            }
            let mut chunks = Vec::new();
            for row in &page.rows {
                let ledger: LedgerRow = base::decode(&open_record(&inner.keys.facts, &row.key, &row.value)?)?;
                let id = row.key[row.key.len() - 16..].try_into().map(ChunkId).map_err(base::Error::internal)?;
                chunks.extend(ledger.copies.into_iter().map(|copy| (id, copy)));
            }
            deleted += page.rows.len() as u64;
            self.delete_chunks(space, &chunks).await?;
        }
        for prefix in [layout::space_rows(space), layout::space_credentials(space)] {
            loop {
                let page = inner.kv.scan(KeyRange::prefix(&prefix), PURGE_RUN, false).await?;
                if page.rows.is_empty() {
                    break;
                }
                let ops = page.rows.into_iter().map(|r| Op::Delete(r.key)).collect();
                inner.kv.commit(Commit { shard: layout::SHARD, idem: 0, checks: Vec::new(), ops }).await?;
            }
        }
        let done = Op::Delete(layout::head(&format!("purge/{space}")));
        inner.kv.commit(Commit { shard: layout::SHARD, idem: 0, checks: Vec::new(), ops: vec![done] }).await?;
        Ok(deleted)
    }
}

fn chunk(piece: &Piece) -> Option<(ChunkId, Placed)> {
    match piece {
        Piece::Chunk { id, at, .. } => Some((*id, at.clone())),
        Piece::Inline(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Ask, Batch, Caller, Origin, Outcome, Permit, Reach, Verdict, Weight, Write};
    use base::{Location, ManualClock, Place, ResourceId, SeededChance, SiteName};
    use bytes::Bytes;
    use futures::TryStreamExt;
    use std::sync::Arc;
    use store::Blobs;

    struct Nobody;
    impl crate::Rules for Nobody {
        fn judge(&self, _: &Ask, _: &crate::Facts) -> Verdict {
            Verdict::Refuse(base::Error::internal("only the region's own parts"))
        }
    }

    fn site(name: &str) -> (Place, Arc<dyn Blobs>) {
        let site = SiteName::new(name).unwrap();
        let place = Place { site: site.clone(), country: "FR".into(), nuts: "FR10".into(), address: name.into() };
        (place, Arc::new(store::Segments::open(site, Arc::new(store::SimDisk::new(1))).unwrap()))
    }

    async fn region(sites: Vec<(Place, Arc<dyn Blobs>)>, clock: Arc<ManualClock>) -> Trust {
        let open = crate::Part { name: "test", action: "bleu.test/", reach: Reach::Anything };
        let config = crate::Config {
            kv: store::open_memory().unwrap(),
            sites,
            root: crypto::Secret::new([7; 32]),
            rules: Box::new(Nobody),
            parts: vec![open],
            clock,
            chance: Arc::new(SeededChance::new(1)),
            code: [1; 32],
            version: "test".into(),
            location: Location::new("francecentral").unwrap(),
            domain: "bleu.localhost".into(),
            witnesses: Vec::new(),
            token_key: None,
        };
        Trust::open(config).await.unwrap()
    }

    async fn write(trust: &Trust) -> Permit<Write> {
        let origin = Origin { request: base::RequestId::random(&*trust.chance()), peer: None, client_request: None, user_agent: None };
        let region = ResourceId::region();
        let ask = Ask {
            caller: Caller::Region { part: "test" },
            verb: "Test",
            actions: vec!["bleu.test/write".into()],
            data: false,
            target: region.clone(),
            scope: region,
            detail: String::new(),
            weight: Weight::With,
            origin,
        };
        trust.permit(ask).await.unwrap()
    }

    /// A row names where its chunk was first put. It may have been copied, and lost there: the ledger knows.
    #[tokio::test]
    async fn a_chunk_is_read_and_deleted_by_the_ledger() {
        let clock = Arc::new(ManualClock::new(Timestamp::from_seconds(1_700_000_000)));
        let (here, there) = (site("paris-1"), site("lyon-1"));
        let trust = region(vec![here.clone(), there.clone()], clock.clone()).await;
        let bytes = Bytes::from(vec![7; 300_000]);
        let permit = write(&trust).await;
        let staged = permit.stage_bytes(bytes.clone()).await.unwrap();
        let content = staged.content.clone();
        permit.commit(Batch::new().adopt(&staged), Outcome::done(201)).await.unwrap();

        let (id, hint) = chunk(&staged.made[0]).unwrap();
        let space = trust.facts(|f| f.space(&ResourceId::region()).unwrap().id);
        let inner = trust.inner();
        assert_eq!(inner.copies(space, id).await.unwrap(), std::slice::from_ref(&hint));
        let sealed = here.1.read(id, &hint, 0..hint.length).await.unwrap();
        let copy = there.1.put(id, sealed).await.unwrap();
        let row = layout::ledger(space, id);
        let value = base::encode(&LedgerRow { copies: vec![hint.clone(), copy.clone()] });
        let sealed = seal_record(&inner.keys.facts, &*inner.chance, &row, &value);
        let ops = vec![Op::Put(row, sealed.into())];
        inner.kv.commit(Commit { shard: layout::SHARD, idem: 0, checks: Vec::new(), ops }).await.unwrap();
        here.1.delete(&[hint]).await.unwrap();

        let permit = write(&trust).await;
        let read: Vec<Bytes> = permit.data().content(&content, 0..bytes.len() as u64).try_collect().await.unwrap();
        assert_eq!(read.concat(), bytes);
        permit.commit(Batch::new().drop_content(content), Outcome::done(200)).await.unwrap();
        clock.advance_seconds(2 * 3_600);
        trust.collect().await.unwrap();
        assert!(there.1.read(id, &copy, 0..copy.length).await.is_err(), "the copy outlives what it is of");
        assert!(inner.copies(space, id).await.unwrap().is_empty());
    }
}
