//! Sealed bytes at rest: ordered rows ([`Kv`]) and write-once chunks ([`Blobs`]).
//!
//! Nothing here sees plaintext. What it adds is order, versions, checksums and durability: what is acknowledged
//! survives a power cut, what is damaged is an error, and a crash leaves garbage rather than a dangling name.

mod chunk;
mod committer;
pub mod disk;
mod engine;
mod kv;
mod row;
mod segments;
mod store;

pub mod fuzz;

pub use chunk::{Blobs, CHUNK_BYTES_MAX, ChunkId, Placed};
pub use kv::{
    COMMIT_BYTES_MAX, COMMIT_OPS_MAX, Check, Commit, CommitError, Committed, Head, KEY_BYTES_MAX, Key, KeyRange, Kv, Op, PAGE_BYTES_MAX,
    PAGE_ROWS_MAX, Page, Row, VALUE_BYTES_MAX, Version, counter, key, queue_key,
};

pub use disk::{Fault, SimDisk};
pub use segments::{Mark, Segments, Swept};
pub use store::{Store, open_fjall, open_memory, open_postgres, open_redb, open_redb_on};

/// Commits of a shard whose `idem` is remembered.
pub const IDEM_WINDOW: u64 = 16_384;
