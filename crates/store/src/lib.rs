//! Sealed bytes at rest: ordered rows ([`Kv`]) and write-once chunks ([`Blobs`]).
//!
//! Nothing here sees plaintext. What it adds is order, versions, checksums and durability: what is acknowledged
//! survives a power cut, what is damaged is an error, and a crash leaves garbage rather than a dangling name.
//!
//! | look into | for |
//! |---|---|
//! | `kv` | the contract of rows: checks, ops, limits, errors |
//! | `committer` | how commits are judged, grouped, numbered and fenced; what a failure means |
//! | `row` | how rows lie in an engine |
//! | `engine/` | fjall (production), redb, PostgreSQL, memory (the model) behind one small trait |
//! | `chunk`, `segments`, `slab` | the contract of chunks, their files, and the rooms that large ones are made in |
//! | [`disk`] | the disk as a trait: the real one, and one that fails as a seed says |
//!
//! The order that keeps names from dangling is the caller's: first [`Blobs::put`], then the [`Kv::commit`] of the row
//! that holds the [`Placed`], then the answer.
//!
//! `cargo run --release -p store --example commit_rate` prints commits and chunks a second beside the disk's own rate.
//! On the two shared cores this was built on, 32 writers made 28,000 to 33,000 durable commits a second on fjall
//! (3.5 to 4.5 times the disk's flushes), about 10,000 on redb and 18,000 on PostgreSQL; a point read inline cost 2 µs
//! and a page of 1,000 rows 0.4 ms, less than what leaving the thread would be worth.

mod chunk;
mod committer;
pub mod disk;
mod engine;
mod kv;
mod live;
mod row;
mod segments;
mod slab;
mod store;

pub mod fuzz;

pub use chunk::{Blobs, CHUNK_BYTES_MAX, ChunkId, Mark, Placed, Swept};
pub use kv::{
    COMMIT_BYTES_MAX, COMMIT_OPS_MAX, Check, Commit, CommitError, Committed, Head, KEY_BYTES_MAX, Key, KeyRange, Kv, Op, PAGE_BYTES_MAX,
    PAGE_ROWS_MAX, Page, Row, VALUE_BYTES_MAX, Version, counter, key, queue_key,
};

pub use committer::Stopped;
pub use disk::{Fault, SimDisk};
pub use live::Live;
pub use segments::Segments;
pub use slab::Slab;
pub use store::{Store, check_postgres, open_fjall, open_memory, open_postgres, open_redb, open_redb_on};

/// A disk fills up in three steps. With less free than this no new chunk is taken, bytes…
pub const CONTENT_RESERVE_BYTES: u64 = 384 << 20;
/// …with less than this no commit that says it only adds ([`Check::Room`]): deletes, closings, the record and a start go on…
pub const ROWS_RESERVE_BYTES: u64 = 128 << 20;
/// …and with less than this nothing: the engine needs the rest to finish what is acknowledged.
pub const LAST_RESERVE_BYTES: u64 = 32 << 20;

/// Commits of a shard whose `idem` is remembered.
pub const IDEM_WINDOW: u64 = 16_384;
