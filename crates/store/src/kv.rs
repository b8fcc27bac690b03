//! The key-value contract: snapshot reads and a conditional atomic batch.
//!
//! Rows are ordered by key, bytewise. A reader sees only what is durable. A [`Commit`] names what must hold
//! ([`Check`]) and what changes ([`Op`]); either all of it happens or none. There is no interactive transaction: this
//! waist fits an embedded engine with one committer thread as well as one SQL statement.
//!
//! | word | meaning |
//! |---|---|
//! | shard | who commits: each shard has one committer. A key begins with its shard ([`key`]), so two committers never meet on a row |
//! | version | number of a commit within its shard; a row carries the version of the commit that wrote it |
//! | epoch | number of a committer's term; a later one fences the earlier ones |
//! | queue | rows `queue ‖ number`, numbered by the committer from 1 without gaps |

use base::{Error, Fut, Kind, Result, Shard};
use bytes::Bytes;
use std::fmt;

/// At most [`KEY_BYTES_MAX`]; begins with the two bytes of its shard, as [`key`] makes it.
pub type Key = Vec<u8>;

/// PostgreSQL's index stops at 2,704 bytes. A longer name is stored as its first bytes and a digest, the whole in the value.
pub const KEY_BYTES_MAX: usize = 2_000;
pub const VALUE_BYTES_MAX: usize = 64 << 10;
/// Keys and values of all checks and ops of a commit.
pub const COMMIT_BYTES_MAX: usize = 1 << 20;
/// Checks and ops of a commit, each.
pub const COMMIT_OPS_MAX: usize = 1_000;
/// A page ends at this many rows, whatever the caller asks: it is read without leaving the caller's thread.
pub const PAGE_ROWS_MAX: usize = 1_000;
/// A page also ends once it holds this many bytes of keys and values.
pub const PAGE_BYTES_MAX: usize = 4 << 20;

/// `shard (u16, big-endian) ‖ parts`.
pub fn key(shard: Shard, parts: &[&[u8]]) -> Key {
    let mut out = Vec::with_capacity(2 + parts.iter().map(|p| p.len()).sum::<usize>());
    out.extend(shard.0.to_be_bytes());
    for part in parts {
        out.extend_from_slice(part);
    }
    out
}

/// The number of a commit in its shard, from 1. Never goes back.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
#[serde(transparent)]
pub struct Version(pub u64);

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    pub key: Key,
    pub version: Version,
    pub value: Bytes,
}

/// Rows of one snapshot, in the order asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Page {
    pub rows: Vec<Row>,
    /// Where the next page begins: [`KeyRange::resume`] with it. `None`: this was the last page.
    pub next: Option<Key>,
}

/// Keys from `start` (inclusive) to `end` (exclusive; `None`: no upper bound).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyRange {
    pub start: Key,
    pub end: Option<Key>,
}

impl KeyRange {
    /// All keys that begin with `prefix`.
    pub fn prefix(prefix: &[u8]) -> KeyRange {
        KeyRange { start: prefix.to_vec(), end: after_prefix(prefix) }
    }

    /// What is left of this range after a page that said `next`.
    pub fn resume(&self, next: Key, reverse: bool) -> KeyRange {
        if !reverse {
            return KeyRange { start: next, end: self.end.clone() };
        }
        let mut end = next;
        end.push(0); // the first key after `next`: `next` itself stays inside
        KeyRange { start: self.start.clone(), end: Some(end) }
    }

    pub fn is_empty(&self) -> bool {
        self.end.as_ref().is_some_and(|end| *end <= self.start)
    }
}

/// The first key that is greater than every key beginning with `prefix`; `None` when there is none.
pub(crate) fn after_prefix(prefix: &[u8]) -> Option<Key> {
    let keep = prefix.iter().rposition(|b| *b != 0xFF)?;
    let mut end = prefix[..=keep].to_vec();
    end[keep] += 1;
    Some(end)
}

/// What must hold for a commit to happen, as its committer sees it at that moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Check {
    Absent(Key),
    /// There, and last written by the commit with this version.
    Is(Key, Version),
    Exists(Key),
    /// The disk has room for what only adds ([`crate::ROWS_RESERVE_BYTES`]); where it has not, [`CommitError::Full`].
    Room,
}

impl Check {
    pub fn key(&self) -> Option<&Key> {
        match self {
            Check::Absent(key) | Check::Is(key, _) | Check::Exists(key) => Some(key),
            Check::Room => None,
        }
    }
}

/// What a commit changes. Ops apply in order; a later op on the same key wins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Op {
    Put(Key, Bytes),
    /// Deleting what is not there is no error.
    Delete(Key),
    /// Adds to a counter: a row of 8 bytes (i64, big-endian), [`counter`] reads it. Absent counts as 0.
    /// A row that is no counter, or an overflow, is [`CommitError::Limit`].
    Add(Key, i64),
    /// Writes the row `queue ‖ number (u64, big-endian)`. Numbers of a queue start at 1 and have no gaps: they are
    /// given inside the committer, so that a refused commit takes none.
    Append {
        queue: Key,
        value: Bytes,
    },
}

impl Op {
    /// The key, or the queue of an append.
    pub fn key(&self) -> &Key {
        match self {
            Op::Put(key, _) | Op::Delete(key) | Op::Add(key, _) | Op::Append { queue: key, .. } => key,
        }
    }
    pub(crate) fn value_bytes(&self) -> usize {
        match self {
            Op::Put(_, value) | Op::Append { value, .. } => value.len(),
            Op::Add(..) => 8,
            Op::Delete(_) => 0,
        }
    }
}

/// The key of one row of a queue.
pub fn queue_key(queue: &[u8], number: u64) -> Key {
    let mut out = Vec::with_capacity(queue.len() + 8);
    out.extend_from_slice(queue);
    out.extend(number.to_be_bytes());
    out
}

/// The value of a counter row written by [`Op::Add`]; `None` when it is none.
pub fn counter(value: &[u8]) -> Option<i64> {
    value.try_into().ok().map(i64::from_be_bytes)
}

/// One conditional atomic batch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Commit {
    pub shard: Shard,
    /// A random number that names this commit, so that it can be sent again: a commit whose `idem` is remembered is
    /// not done twice but answered as the first time. Remembered for the last [`crate::IDEM_WINDOW`] commits of the
    /// shard. 0: not remembered.
    pub idem: u128,
    pub checks: Vec<Check>,
    pub ops: Vec<Op>,
}

/// Where a shard stands: the pair that never goes back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Head {
    pub epoch: u64,
    pub version: Version,
}

/// A commit that is durable.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Committed {
    pub epoch: u64,
    pub version: Version,
    /// One number per [`Op::Append`], in their order.
    pub appended: Vec<u64>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CommitError {
    /// The check on this key did not hold. Nothing was changed: read again and decide.
    Conflict { key: Key },
    /// It may or may not have happened. Send it again with the same `idem`, or ask [`Kv::resolve`].
    Unknown,
    /// The disk is full. Nothing was changed.
    Full,
    /// The committer can't now: fenced by a later one, its engine failed, or it is closed. Nothing was changed.
    Unavailable(String),
    /// The commit breaks a limit of the contract. Nothing was changed.
    Limit(String),
}

impl fmt::Display for CommitError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            CommitError::Conflict { .. } => f.write_str("a row changed since it was read"),
            CommitError::Unknown => f.write_str("the outcome of the commit is not known"),
            CommitError::Full => f.write_str("the disk is full"),
            CommitError::Unavailable(why) => write!(f, "the committer is unavailable: {why}"),
            CommitError::Limit(why) => write!(f, "the commit breaks a limit: {why}"),
        }
    }
}
impl std::error::Error for CommitError {}

impl From<CommitError> for Error {
    fn from(error: CommitError) -> Error {
        let (kind, code, message) = match &error {
            CommitError::Conflict { .. } => {
                (Kind::Conflict, "Conflict", "Another request changed the resource at the same time. Read it again and retry.")
            }
            CommitError::Unknown => (
                Kind::Unavailable,
                "OutcomeUnknown",
                "The region lost sight of the request: it may have been done. Read the resource before trying again.",
            ),
            CommitError::Full => (Kind::Unavailable, "DiskFull", crate::chunk::DISK_FULL),
            CommitError::Unavailable(_) => (Kind::Unavailable, "StoreUnavailable", "The region's store is not available now. Try again."),
            CommitError::Limit(_) => (Kind::TooLarge, "RequestTooLarge", "The request changes more than the region stores at once."),
        };
        Error::new(kind, code, message).because(error)
    }
}

/// An ordered transactional key-value store.
pub trait Kv: Send + Sync + 'static {
    /// Error (kind Internal): the row fails its checksum, or the engine failed.
    fn get<'a>(&'a self, key: &'a [u8]) -> Fut<'a, Result<Option<(Version, Bytes)>>>;

    /// Up to `limit` rows (and at most [`PAGE_ROWS_MAX`], [`PAGE_BYTES_MAX`]) of one snapshot; `reverse`: from the end.
    /// Error as [`Kv::get`].
    fn scan<'a>(&'a self, range: KeyRange, limit: usize, reverse: bool) -> Fut<'a, Result<Page>>;

    /// Durable, and visible to readers, on `Ok`. Waits while the committer's queue is full. When the future is dropped
    /// the commit may still happen.
    fn commit(&self, commit: Commit) -> Fut<'_, Result<Committed, CommitError>>;

    /// What became of the commit with this `idem`; `None`: it did not happen, and will not, or is no longer
    /// remembered. Waits for what the committer is doing now.
    fn resolve(&self, shard: Shard, idem: u128) -> Fut<'_, Result<Option<Committed>, CommitError>>;

    /// The newest durable commit of a shard and the term of its committer, which is started when it was not running.
    fn head(&self, shard: Shard) -> Fut<'_, Result<Head, CommitError>>;

    /// Room on the disk of the rows, bytes; `None` where only somebody else knows, as with a database.
    fn free_bytes(&self) -> Option<u64> {
        None
    }

    /// Finishes the commits that wait, flushes and stops the committers. Later commits are [`CommitError::Unavailable`].
    fn close(&self) -> Fut<'_, Result<()>>;
}
