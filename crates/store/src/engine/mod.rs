//! The small waist under the committer: ordered snapshot reads and one fenced, atomic, durable batch.

mod fjall;
mod memory;
mod postgres;
mod postgres_way;
mod redb;

pub(crate) use fjall::Fjall;
pub(crate) use memory::Memory;
pub(crate) use postgres::Postgres;
pub(crate) use postgres_way::check as check_postgres;
pub(crate) use redb::Redb;

use base::{Fut, Result};
use bytes::Bytes;

/// Raw rows of one snapshot, and the key of the row that would have been the next.
pub(crate) type Rows = (Vec<(Vec<u8>, Bytes)>, Option<Vec<u8>>);

/// What a scan asks: keys from `start` to `end` (exclusive), not more than `rows` rows, ending after `bytes` bytes.
#[derive(Clone, Debug)]
pub(crate) struct Span {
    pub(crate) start: Vec<u8>,
    pub(crate) end: Option<Vec<u8>>,
    pub(crate) rows: usize,
    pub(crate) bytes: usize,
    pub(crate) reverse: bool,
}

/// What one durable transaction does. No key occurs twice.
#[derive(Debug)]
pub(crate) struct Batch {
    /// A row that must be exactly so (`None`: absent) for anything to happen: the committer's epoch.
    pub(crate) fence: (Vec<u8>, Option<Bytes>),
    /// Rows that are not there: an engine with outside writers refuses with [`ApplyError::Exists`] when one is.
    pub(crate) fresh: Vec<(Vec<u8>, Bytes)>,
    pub(crate) puts: Vec<(Vec<u8>, Bytes)>,
    pub(crate) deletes: Vec<Vec<u8>>,
}

#[derive(Debug)]
pub(crate) enum ApplyError {
    /// Nothing changed: the fence is not as expected.
    Fenced,
    /// Nothing changed: a fresh row exists.
    Exists,
    /// Nothing changed: no room. The engine works on.
    Full,
    /// The connection is gone and with it the answer; the engine may be asked again.
    Lost(String),
    /// The engine is broken, the outcome unknown. Nothing may be tried again before a restart.
    Broken(String),
}

pub(crate) trait Engine: Send + Sync + 'static {
    fn get<'a>(&'a self, key: &'a [u8]) -> Fut<'a, Result<Option<Bytes>>>;
    /// As many answers as keys, in their order.
    fn get_many<'a>(&'a self, keys: &'a [Vec<u8>]) -> Fut<'a, Result<Vec<Option<Bytes>>>>;
    fn scan(&self, span: Span) -> Fut<'_, Result<Rows>>;
    /// Room on its disk, bytes; `None`: not known.
    fn free_bytes(&self) -> Option<u64> {
        None
    }
    /// Durable, then visible, on `Ok`. [`ApplyError::Full`] below [`crate::LAST_RESERVE_BYTES`].
    fn apply(&self, batch: Batch) -> Fut<'_, Result<(), ApplyError>>;
    fn close(&self) -> Fut<'_, Result<()>>;
}

/// Collects rows until a scan's limits are reached.
pub(crate) fn collect(span: &Span, rows: impl Iterator<Item = Result<(Vec<u8>, Bytes)>>) -> Result<Rows> {
    let mut out = Vec::new();
    let mut bytes = 0;
    for row in rows {
        let row = row?;
        if out.len() == span.rows || bytes >= span.bytes {
            return Ok((out, Some(row.0)));
        }
        bytes += row.0.len() + row.1.len();
        out.push(row);
    }
    Ok((out, None))
}
