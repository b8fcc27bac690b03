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
use store::{ChunkId, Commit, KeyRange, Live, Op, Placed};

/// Rows purged in one commit.
const PURGE_RUN: usize = 500;

#[derive(Serialize, Deserialize)]
struct Garbage {
    space: SpaceId,
    content: Content,
    keep: Option<Content>,
}

base::first_version! { Garbage "trust.garbage"; }

impl Inner {
    /// The row that remembers a dropped content until `due`.
    pub(crate) fn garbage(&self, space: SpaceId, dropped: &Dropped, due: Timestamp) -> Op {
        let row = layout::garbage(due, crypto::random_array(&*self.chance));
        let value = base::encode(&Garbage { space, content: dropped.content.clone(), keep: dropped.keep.clone() });
        let sealed = seal_record(&self.keys.facts, &*self.chance, &row, &value);
        Op::Put(row, sealed.into())
    }
}

impl Trust {
    /// One turn of the collector; gives the number of chunks it deleted.
    pub async fn collect(&self) -> Result<u64> {
        let inner = self.inner();
        let now = inner.clock.now();
        let mut deleted = 0;
        let due = KeyRange { start: layout::all_garbage(), end: Some(layout::garbage(now, [0; 16])) };
        let page = inner.kv.scan(due, 200, false).await?;
        for row in page.rows {
            let garbage: Garbage = base::decode(&open_record(&inner.keys.facts, &row.key, &row.value)?)?;
            let chunks = self.chunks(&garbage).await?;
            self.delete_chunks(garbage.space, &chunks, vec![Op::Delete(row.key)]).await?;
            deleted += chunks.len() as u64;
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
                if let Some(at) = inner.sites.iter().position(|site| *site.site() == ledger.at.site) {
                    live[at].add(&ledger.at);
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
    async fn chunks(&self, garbage: &Garbage) -> Result<Vec<(ChunkId, Placed)>> {
        let Some(space) = self.facts(|f| f.spaces().find(|s| s.id == garbage.space).cloned()) else { return Ok(Vec::new()) };
        let reader = Reader { trust: self.clone(), key: self.inner().keys.space(&space)?, aad: *garbage.space.0.as_bytes() };
        let kept: HashSet<ChunkId> = match &garbage.keep {
            Some(content) => reader.pieces(content).await?.into_iter().filter_map(|p| chunk(&p).map(|(id, _)| id)).collect(),
            None => HashSet::new(),
        };
        let mut pieces = reader.pieces(&garbage.content).await?;
        if let crate::content::Layout::Index(index) = &garbage.content.body {
            pieces.extend(index.iter().cloned());
        }
        Ok(pieces.iter().filter_map(chunk).filter(|(id, _)| !kept.contains(id)).collect())
    }

    async fn delete_chunks(&self, space: SpaceId, chunks: &[(ChunkId, Placed)], more: Vec<Op>) -> Result<()> {
        let inner = self.inner();
        for run in chunks.chunks(PURGE_RUN) {
            for site in &inner.sites {
                let here: Vec<Placed> = run.iter().filter(|(_, at)| at.site == *site.site()).map(|(_, at)| at.clone()).collect();
                site.delete(&here).await?;
            }
            let ops = run.iter().map(|(id, _)| Op::Delete(layout::ledger(space, *id))).collect();
            inner.kv.commit(Commit { shard: layout::SHARD, idem: 0, checks: Vec::new(), ops }).await?;
        }
        // last, so that a crash in between does it again: deleting twice is no error
        inner.kv.commit(Commit { shard: layout::SHARD, idem: 0, checks: Vec::new(), ops: more }).await?;
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
                chunks.push((id, ledger.at));
            }
            deleted += chunks.len() as u64;
            self.delete_chunks(space, &chunks, Vec::new()).await?;
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
