//! From outbox to log: drains the outbox in order and appends to the tree.
//!
//! One commit moves a run of entries: outbox rows go, tiles, openings and the head come, all or nothing. A checkpoint is
//! signed only after that commit (`witnesses`), so a signed size never exceeds what is stored.

use crate::journal::OutboxRow;
use crate::{Inner, layout};
use base::{EntryId, Error, Result};
use bytes::Bytes;
use record::tiles::{Appender, TILE_WIDTH, TilePath, push_entry, split_entries};
use record::{Draft, Owner};
use serde::{Deserialize, Serialize};
use std::collections::HashMap;
use store::{Check, Commit, KeyRange, Kv, Op, Version, queue_key};

/// Entries moved in one commit: their rows fit the store's limits of 1,000 operations and 1 MiB.
const RUN_MAX: usize = 400;
const RUN_BYTES_MAX: usize = 600 << 10;

/// Where the log stands. Stored, public.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct LogHead {
    pub size: u64,
    pub root: [u8; 32],
    /// The outbox is in the log up to this number (one shard).
    pub number: u64,
}

base::first_version! { LogHead "trust.log-head"; }

/// The opening of a logged entry, sealed, with its owner.
#[derive(Serialize, Deserialize)]
pub(crate) struct SealedOpening {
    pub owner: Owner,
    pub sealed: Bytes,
}

base::first_version! { SealedOpening "trust.opening"; }

pub(crate) struct Sequencer {
    appender: Appender,
    pub head: LogHead,
    /// Of the head's row; `None` before the first entry.
    version: Option<Version>,
    /// The edge may have moved on without the store, or the store without the edge: read it again first.
    stale: bool,
}

impl Sequencer {
    /// Takes up the log where the store says it stands. Error: tiles are missing or are not of this root.
    pub async fn load(kv: &dyn Kv) -> Result<Sequencer> {
        let (head, version) = read_head(kv).await?;
        let tiles = read_tiles(kv, Appender::edge_paths(head.size)).await?;
        let appender = Appender::load(head.size, |path| Ok(tiles.get(path).cloned()))?;
        if head.size > 0 && appender.root().0 != head.root {
            return Err(Error::internal("the stored tiles of the record are not those of its head"));
        }
        Ok(Sequencer { appender, head, version, stale: false })
    }

    /// Moves what waits in the outbox into the log.
    pub async fn drain(&mut self, inner: &Inner) -> Result<()> {
        loop {
            match self.run(inner).await {
                Ok(0) => return Ok(()),
                Ok(_) => {}
                Err(error) => {
                    self.stale = true;
                    return Err(error);
                }
            }
        }
    }

    async fn run(&mut self, inner: &Inner) -> Result<usize> {
        if self.stale {
            // a commit that was given up may still be in the queue: this one waits behind it
            inner.kv.head(layout::SHARD).await?;
            *self = Sequencer::load(&*inner.kv).await?;
        }
        // from the next number on: an engine that keeps the marks of deleted rows for a while would walk them all again
        let mut waiting = KeyRange::prefix(&layout::outbox());
        waiting.start = queue_key(&layout::outbox(), self.head.number + 1);
        let page = inner.kv.scan(waiting, RUN_MAX, false).await?;
        let (mut entries, mut ops, mut bytes) = (Vec::new(), Vec::new(), 0);
        let mut head = self.head;
        for row in page.rows {
            if bytes > RUN_BYTES_MAX {
                break;
            }
            let expected = queue_key(&layout::outbox(), head.number + 1);
            if row.key != expected {
                return Err(Error::internal(format!("the outbox has a gap after {}", head.number)));
            }
            let waiting: OutboxRow = base::decode(&row.value)?;
            let id = EntryId { shard: layout::SHARD, number: head.number + 1 };
            let entry = Draft::decode(&waiting.draft)?.numbered(id).encode()?;
            let opening = base::encode(&SealedOpening { owner: waiting.owner, sealed: waiting.sealed });
            bytes += entry.len() * 2 + opening.len() + 200;
            ops.push(Op::Delete(row.key));
            ops.push(Op::Put(layout::opening(head.size), opening.into()));
            entries.push(entry);
            head.size += 1;
            head.number += 1;
        }
        if entries.is_empty() {
            return Ok(0);
        }
        let old_edge = Appender::edge_paths(self.head.size);
        // until the commit is known to be done: the caller may go away while it is under way
        self.stale = true;
        let appended = self.appender.append(&entries)?;
        // partial files of the old edge are replaced by longer ones; a level that did not grow keeps its own
        let new_edge = Appender::edge_paths(head.size);
        ops.extend(old_edge.into_iter().filter(|path| !new_edge.contains(path)).map(|path| Op::Delete(layout::tile(&path))));
        ops.extend(appended.files.into_iter().map(|(path, content)| Op::Put(layout::tile(&path), content.into())));
        head.root = appended.root.0;
        ops.push(Op::Put(layout::head("log"), base::encode(&head).into()));
        // a commit that was given up, and happens after all, must not be overtaken
        let row = layout::head("log");
        let checks = vec![self.version.map_or_else(|| Check::Absent(row.clone()), |version| Check::Is(row.clone(), version))];
        let done = inner.commit(Commit { shard: layout::SHARD, idem: inner.number(), checks, ops }).await?;
        (self.head, self.version, self.stale) = (head, Some(done.version), false);
        Ok(entries.len())
    }
}

async fn read_head(kv: &dyn Kv) -> Result<(LogHead, Option<Version>)> {
    match kv.get(&layout::head("log")).await? {
        Some((version, bytes)) => Ok((base::decode(&bytes)?, Some(version))),
        None => Ok((LogHead::default(), None)),
    }
}

async fn read_tiles(kv: &dyn Kv, paths: Vec<String>) -> Result<HashMap<String, Vec<u8>>> {
    let mut found = HashMap::new();
    for path in paths {
        if let Some((_, bytes)) = kv.get(&layout::tile(&path)).await? {
            found.insert(path, bytes.to_vec());
        }
    }
    Ok(found)
}

/// Wider tiles that replace the one asked for, while it is looked for.
const REPLACED_MAX: usize = 16;

impl Inner {
    /// A tile or bundle as it was when it had this width: the log may have grown since, and the wider one begins with it.
    pub(crate) async fn tile(&self, path: TilePath) -> Result<Option<Vec<u8>>> {
        for _ in 0..REPLACED_MAX {
            if let Some((_, bytes)) = self.kv.get(&layout::tile(&path.to_string())).await? {
                return Ok(Some(bytes.to_vec()));
            }
            let hashes = read_head(&*self.kv).await?.0.size.checked_shr(u32::from(path.level.unwrap_or(0)) * 8).unwrap_or(0);
            let width = hashes.saturating_sub(path.index.saturating_mul(TILE_WIDTH)).min(TILE_WIDTH) as u16;
            if width <= path.width {
                return Ok(None);
            }
            if let Some((_, bytes)) = self.kv.get(&layout::tile(&TilePath { width, ..path }.to_string())).await? {
                return cut(path, &bytes).map(Some);
            }
        }
        Err(Error::internal(format!("{path} is replaced faster than it can be read")))
    }

    pub(crate) async fn tiles(&self, paths: Vec<String>) -> Result<HashMap<String, Vec<u8>>> {
        let mut found = HashMap::new();
        for path in paths {
            if let Some(bytes) = self.tile(TilePath::parse(&path)?).await? {
                found.insert(path, bytes);
            }
        }
        Ok(found)
    }
}

/// The first `path.width` hashes or entries of a wider tile.
fn cut(path: TilePath, wider: &[u8]) -> Result<Vec<u8>> {
    let width = usize::from(path.width);
    if path.level.is_some() {
        return wider.get(..width * 32).map(<[u8]>::to_vec).ok_or_else(|| Error::internal(format!("{path} is too short")));
    }
    let mut bundle = Vec::new();
    for entry in split_entries(wider).take(width) {
        push_entry(&mut bundle, entry?)?;
    }
    Ok(bundle)
}
