//! The chunk contract: write-once blobs of sealed bytes, each at one site.

use crate::live::Live;
use crate::slab::Slab;
use base::{Fut, Result, SiteName};
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt;
use std::ops::Range;

/// The largest chunk: 4 MiB of content in sealed frames, with room for their tags and headers.
pub const CHUNK_BYTES_MAX: usize = 5 << 20;

/// Said of chunks and of rows.
pub(crate) const DISK_FULL: &str = "The region's disk is nearly full: it takes nothing more. Deleting still works, and makes room.";

/// A random id, never used twice: a retry takes a new one.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ChunkId(pub [u8; 16]);

impl fmt::Display for ChunkId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", u128::from_be_bytes(self.0))
    }
}
impl fmt::Debug for ChunkId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ChunkId({self})")
    }
}

/// Where a chunk lies. Kept in the metadata row that refers to it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Placed {
    pub site: SiteName,
    pub segment: u32,
    /// Of the chunk's header in its segment, bytes.
    pub offset: u64,
    /// Of the chunk without its header, bytes.
    pub length: u64,
}

/// How far each segment reached at some moment: what lies behind is younger, and no business of a sweep.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Mark(pub(crate) BTreeMap<u32, u64>);

/// What a sweep gave back.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Swept {
    pub segments_removed: u64,
    /// Given back to the file system, by removal and by holes (holes over holes count again).
    pub bytes_freed: u64,
}

/// The chunks of one site.
pub trait Blobs: Send + Sync + 'static {
    fn site(&self) -> &SiteName;

    /// Durable on `Ok`. Errors: `ChunkTooLarge` (kind TooLarge), `DiskFull` (kind Unavailable), Internal when the disk failed;
    /// after an error the bytes are garbage for the collector, never a chunk.
    fn put(&self, id: ChunkId, bytes: Bytes) -> Fut<'_, Result<Placed>>;

    /// Room to make a large chunk in, for [`Blobs::put_slab`]; `None` while too many are out: make smaller ones then.
    fn slab(&self) -> Option<Slab> {
        Some(Slab::fresh(CHUNK_BYTES_MAX))
    }

    /// As [`Blobs::put`], for the first `length` bytes of a slab's content.
    fn put_slab(&self, id: ChunkId, slab: Slab, length: usize) -> Fut<'_, Result<Placed>> {
        self.put(id, Bytes::copy_from_slice(&slab.content()[..length]))
    }

    /// `range` of the chunk's bytes. The header is always checked against `id` and `at`; the checksum of the content
    /// only when the whole chunk is asked for (frames carry their own tags). Error (kind Internal): it is not there, or damaged.
    fn read<'a>(&'a self, id: ChunkId, at: &'a Placed, range: Range<u64>) -> Fut<'a, Result<Bytes>>;

    /// Gives the space back. For chunks that no durable row refers to, and none will. Deleting twice is no error.
    fn delete<'a>(&'a self, at: &'a [Placed]) -> Fut<'a, Result<()>>;

    /// Room on the site's disk, bytes; `None`: not known.
    fn free_bytes(&self) -> Option<u64> {
        None
    }

    /// Where the site's segments end now.
    fn mark(&self) -> Mark;

    /// Frees everything before `mark` that is not in `live`. To be safe the caller takes the mark first, waits until every
    /// chunk put before it is either referred to by a durable row or given up, and then reads all live places. Error:
    /// Internal.
    fn sweep(&self, mark: Mark, live: Live) -> Fut<'_, Result<Swept>>;
}
