//! fjall 3, a log-structured tree: the embedded engine of production.
//!
//! A batch is written to the journal and synced before its rows reach the memtable, so a reader never sees what a
//! crash could take away. After a failed write or sync fjall refuses all later ones until it is opened again.

use super::{ApplyError, Batch, Engine, Rows, Span, collect};
use base::{Error, Fut, Kind, Result};
use bytes::Bytes;
use fjall::config::CompressionPolicy;
use fjall::{CompressionType, Database, Keyspace, KeyspaceCreateOptions, PersistMode, Readable};
use std::future::ready;
use std::ops::Bound;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

/// Blocks of the tree kept in memory. The kernel's cache holds the rest.
const CACHE_BYTES: u64 = 16 << 20;
/// Up to five of them wait while a compaction keeps the worker busy; then writes do.
const MEMTABLE_BYTES: u64 = 16 << 20;
/// With two, one would hand the other's waiting compactions round and round at a core's full speed (fjall 3.1).
const WORKERS: usize = 1;
/// Read again at each open: the bound of the start-up time.
const JOURNAL_BYTES_MAX: u64 = 128 << 20;

pub(crate) struct Fjall {
    folder: PathBuf,
    database: Database,
    rows: Keyspace,
    /// Makes "compare the fence, then write" one step for rivals in this process; the folder's lock keeps others out.
    writer: Mutex<()>,
}

impl Fjall {
    /// Errors: `StoreInUse` (kind Unavailable) when another process has the folder open; Internal.
    pub(crate) fn open(folder: &Path) -> Result<Fjall> {
        std::fs::create_dir_all(folder).map_err(Error::internal)?;
        let database = Database::builder(folder)
            .cache_size(CACHE_BYTES)
            .max_journaling_size(JOURNAL_BYTES_MAX)
            .journal_compression(CompressionType::None)
            .worker_threads(WORKERS)
            .open()
            .map_err(|error| match error {
                fjall::Error::Locked => {
                    Error::new(Kind::Unavailable, "StoreInUse", format!("Another process has the store in {} open.", folder.display()))
                }
                error => failed(error),
            })?;
        let options = || {
            KeyspaceCreateOptions::default()
                .max_memtable_size(MEMTABLE_BYTES)
                .data_block_compression_policy(CompressionPolicy::all(CompressionType::None))
        };
        let rows = database.keyspace("rows", options).map_err(failed)?;
        Ok(Fjall { folder: folder.to_owned(), database, rows, writer: Mutex::new(()) })
    }

    fn read(&self, key: &[u8]) -> Result<Option<Bytes>> {
        Ok(self.rows.get(key).map_err(failed)?.map(Bytes::from))
    }

    fn room(&self) -> Option<u64> {
        rustix::fs::statvfs(&self.folder).ok().map(|s| s.f_bavail.saturating_mul(s.f_frsize))
    }

    fn write(&self, batch: Batch) -> Result<(), ApplyError> {
        let broken = |error: &dyn std::fmt::Display| ApplyError::Broken(error.to_string());
        let _writer = self.writer.lock().unwrap_or_else(PoisonError::into_inner);
        if self.room().is_some_and(|free| free < crate::LAST_RESERVE_BYTES) {
            return Err(ApplyError::Full);
        }
        if self.read(&batch.fence.0).map_err(|e| broken(&e))? != batch.fence.1 {
            return Err(ApplyError::Fenced);
        }
        let mut out = self.database.batch().durability(Some(PersistMode::SyncData));
        for key in batch.deletes {
            out.remove(&self.rows, key);
        }
        for (key, value) in batch.fresh.into_iter().chain(batch.puts) {
            out.insert(&self.rows, key, value);
        }
        out.commit().map_err(|e| broken(&e))
    }
}

fn failed(error: fjall::Error) -> Error {
    Error::internal(error)
}

impl Engine for Fjall {
    fn get<'a>(&'a self, key: &'a [u8]) -> Fut<'a, Result<Option<Bytes>>> {
        Box::pin(ready(self.read(key)))
    }

    fn get_many<'a>(&'a self, keys: &'a [Vec<u8>]) -> Fut<'a, Result<Vec<Option<Bytes>>>> {
        Box::pin(ready(keys.iter().map(|key| self.read(key)).collect()))
    }

    fn scan(&self, span: Span) -> Fut<'_, Result<Rows>> {
        let end = span.end.clone().map_or(Bound::Unbounded, Bound::Excluded);
        let rows = self.database.snapshot().range(&self.rows, (Bound::Included(span.start.clone()), end)).map(Row);
        let page = if span.reverse { collect(&span, rows.rev().map(Row::read)) } else { collect(&span, rows.map(Row::read)) };
        Box::pin(ready(page))
    }

    fn free_bytes(&self) -> Option<u64> {
        self.room()
    }

    fn apply(&self, batch: Batch) -> Fut<'_, Result<(), ApplyError>> {
        Box::pin(ready(self.write(batch)))
    }

    fn close(&self) -> Fut<'_, Result<()>> {
        Box::pin(ready(self.database.persist(PersistMode::SyncAll).map_err(failed)))
    }
}

struct Row(fjall::Guard);

impl Row {
    fn read(self) -> Result<(Vec<u8>, Bytes)> {
        let (key, value) = self.0.into_inner().map_err(failed)?;
        Ok((key.to_vec(), value.into()))
    }
}
