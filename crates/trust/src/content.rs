//! Content: the bytes of a blob, an image, a backup. Sealed in chunks under the key of the space that owns them.
//!
//! A [`Content`] is a small value that a service keeps in its own rows. Up to 4 KiB travels inside it; beyond, it names
//! chunks; beyond [`PIECES_MAX`] chunks, it names index chunks that name them, so that its size in a row is bounded
//! whatever the length (the layout follows docs/decisions/0004-content.md).

use base::{Error, Result};
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use store::{ChunkId, Placed};

/// Bytes as they come; an error ends the stream.
pub type ByteStream = std::pin::Pin<Box<dyn futures::Stream<Item = Result<Bytes>> + Send>>;

/// At most this many bytes are sealed inline, in the row.
pub const INLINE_BYTES_MAX: usize = 4 << 10;
/// Plaintext bytes of a full chunk.
pub const CHUNK_PLAIN_BYTES: usize = 4 << 20;
/// Pieces kept in the row itself.
pub const PIECES_MAX: usize = 16;
/// Pieces in one index chunk.
pub(crate) const INDEX_PIECES_MAX: usize = 32_768;

/// A handle on bytes that are durable and sealed. Cheap to clone.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(from = "Versions", into = "Versions")]
pub struct Content {
    /// Plaintext bytes.
    pub length: u64,
    pub(crate) body: Layout,
}

/// A content as it is stored inside the rows of services, which do not know its form: it says its version by itself. A
/// case is added when the form changes; none is taken away.
#[derive(Clone, Serialize, Deserialize)]
enum Versions {
    #[serde(rename = "1")]
    One { length: u64, body: Layout },
}

impl From<Versions> for Content {
    fn from(stored: Versions) -> Content {
        let Versions::One { length, body } = stored;
        Content { length, body }
    }
}
impl From<Content> for Versions {
    fn from(Content { length, body }: Content) -> Versions {
        Versions::One { length, body }
    }
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) enum Layout {
    Pieces(Vec<Piece>),
    /// Chunks whose plaintext is a stored [`PieceList`].
    Index(Vec<Piece>),
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) enum Piece {
    Inline(Bytes),
    /// `at` is where the chunk was first put: a hint that saves a look into the ledger, which knows.
    Chunk {
        id: ChunkId,
        at: Placed,
        plain_bytes: u64,
    },
}

impl Piece {
    pub(crate) fn length(&self) -> u64 {
        match self {
            Piece::Inline(bytes) => bytes.len() as u64,
            Piece::Chunk { plain_bytes, .. } => *plain_bytes,
        }
    }
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct PieceList(pub Vec<Piece>);

base::first_version! { PieceList "trust.pieces"; }

impl Content {
    /// No bytes at all.
    pub fn empty() -> Content {
        Content { length: 0, body: Layout::Pieces(Vec::new()) }
    }
}

/// Content staged by a write permit: durable, visible to nobody until a batch adopts it.
#[derive(Clone, Debug)]
pub struct Staged {
    pub content: Content,
    /// SHA-256 of the plaintext.
    pub sha256: [u8; 32],
    /// When asked for.
    pub md5: Option<[u8; 16]>,
    /// CRC64-NVME, as `x-ms-content-crc64` (before its little-endian base64).
    pub crc64: u64,
    /// Chunks made for it: each gets a ledger row in the commit that adopts it.
    pub(crate) made: Vec<Piece>,
    /// Deletes them where no batch did adopt them.
    pub(crate) aside: std::sync::Arc<crate::intake::Aside>,
}

/// What to do while staging.
#[derive(Clone, Copy, Debug)]
pub struct Staging {
    /// More is refused with kind TooLarge, code `RequestBodyTooLarge`.
    pub bytes_max: u64,
    /// MD5 costs a core 1.75 s a GB: only where Azure's answer needs it.
    pub md5: bool,
}

/// One line of "where the bytes are": every copy of a chunk, all of them good.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct LedgerRow {
    pub copies: Vec<Placed>,
}

base::first_version! { LedgerRow "trust.chunk"; }

pub(crate) fn range_error(length: u64) -> Error {
    Error::new(base::Kind::RangeNotSatisfiable, "InvalidRange", format!("The range is outside the {length} bytes."))
}
