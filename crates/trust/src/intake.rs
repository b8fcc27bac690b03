//! A body on its way in: gathered into chunks, digested, sealed and written, each step while the next bytes arrive.
//!
//! A small body is one buffer and is dealt with where it is. A large one fills [`store::Slab`]s, laid out as the sealed
//! chunk will be, so that a byte is copied once between the connection and the disk. A full slab is digested, then sealed in
//! place, then written; SHA-256 and MD5 go from chunk to chunk on threads of their own ([`Lane`]), because MD5 alone takes
//! a core 1.6 s a GiB.

use crate::content::{CHUNK_PLAIN_BYTES, Content, INLINE_BYTES_MAX, Piece, Staged, Staging};
use crate::data::seal_and_put;
use crate::{Permit, Trust, Write};
use base::{Error, Fut, Result};
use bytes::{Bytes, BytesMut};
use crypto::{Crc64Nvme, FRAME_BYTES, Md5, SEALED_FRAME_BYTES, SealKey, Sha256};
use futures::{StreamExt, stream};
use std::sync::Arc;
use store::{ChunkId, Slab};
use tokio::sync::oneshot;

/// Up to here a body, or what of it is there, is one buffer; beyond, it gets a slab.
const BUFFER_BYTES_MAX: usize = 256 << 10;
/// Chunks of one body behind the one that fills: one at its digests, one at the disk.
const BEHIND_MAX: usize = 2;

/// A body on its way in.
pub(crate) struct Intake<'p> {
    permit: &'p Permit<Write>,
    room: Room,
    pub(crate) length: u64,
    sums: Lane<Sums>,
    md5: Option<Lane<Md5>>,
    writing: stream::FuturesOrdered<Fut<'static, Result<Piece>>>,
    pieces: Vec<Piece>,
}

/// Where bytes are gathered.
enum Room {
    Buffer(BytesMut),
    /// As many bytes of content, in their places.
    Slab(Slab, usize),
}

impl Room {
    fn is_empty(&self) -> bool {
        match self {
            Room::Buffer(buffer) => buffer.is_empty(),
            Room::Slab(_, filled) => *filled == 0,
        }
    }
}

/// A chunk's content before it is sealed.
enum Plain {
    Bytes(Bytes),
    Slab(Slab, usize),
}

impl Plain {
    fn parts(&self) -> Box<dyn Iterator<Item = &[u8]> + '_> {
        match self {
            Plain::Bytes(bytes) => Box::new(std::iter::once(&bytes[..])),
            Plain::Slab(slab, filled) => {
                let filled = *filled;
                let frames = (0..filled.div_ceil(FRAME_BYTES))
                    .map(move |n| &slab.content()[n * SEALED_FRAME_BYTES..][..FRAME_BYTES.min(filled - n * FRAME_BYTES)]);
                Box::new(frames)
            }
        }
    }
}

/// Something that goes over all bytes of a body, in their order.
trait Running: Send + 'static {
    fn update(&mut self, bytes: &[u8]);
}

struct Sums {
    sha256: Sha256,
    crc64: Crc64Nvme,
}
impl Running for Sums {
    fn update(&mut self, bytes: &[u8]) {
        self.sha256.update(bytes);
        self.crc64.update(bytes);
    }
}
impl Running for Md5 {
    fn update(&mut self, bytes: &[u8]) {
        Md5::update(self, bytes);
    }
}

/// A digest that goes from chunk to chunk, on other threads, while the body arrives.
enum Lane<D> {
    Here(D),
    Away(tokio::task::JoinHandle<Result<D>>),
    Lost,
}

impl<D: Running> Lane<D> {
    /// Digests this chunk after those before it. The answer comes when this lane needs the chunk no more.
    fn feed(&mut self, chunk: Arc<Plain>) -> oneshot::Receiver<()> {
        let before = std::mem::replace(self, Lane::Lost);
        let (done, is_done) = oneshot::channel();
        *self = Lane::Away(tokio::spawn(async move {
            let mut digest = before.end().await?;
            let digesting = tokio::task::spawn_blocking(move || {
                chunk.parts().for_each(|part| digest.update(part));
                drop(chunk);
                // the chunk's task may be gone with its body
                let _ = done.send(());
                digest
            });
            digesting.await.map_err(Error::internal)
        }));
        is_done
    }

    fn end(self) -> Fut<'static, Result<D>> {
        Box::pin(async move {
            match self {
                Lane::Here(digest) => Ok(digest),
                Lane::Away(running) => running.await.map_err(Error::internal)?,
                Lane::Lost => Err(Error::internal("a digest was lost on its way")),
            }
        })
    }

    /// For a body that is one buffer.
    fn feed_here(&mut self, bytes: &[u8]) {
        if let Lane::Here(digest) = self {
            digest.update(bytes);
        }
    }
}

impl<'p> Intake<'p> {
    pub(crate) fn new(permit: &'p Permit<Write>, staging: &Staging) -> Intake<'p> {
        Intake {
            permit,
            room: Room::Buffer(BytesMut::new()),
            length: 0,
            sums: Lane::Here(Sums { sha256: Sha256::new(), crc64: Crc64Nvme::new() }),
            md5: staging.md5.then(|| Lane::Here(Md5::new())),
            writing: stream::FuturesOrdered::new(),
            pieces: Vec::new(),
        }
    }

    pub(crate) async fn take(&mut self, mut part: Bytes) -> Result<()> {
        self.length += part.len() as u64;
        while !part.is_empty() {
            let full = match &mut self.room {
                Room::Buffer(buffer) => {
                    buffer.extend_from_slice(&part.split_to(part.len().min(BUFFER_BYTES_MAX - buffer.len())));
                    buffer.len() == BUFFER_BYTES_MAX
                }
                Room::Slab(slab, filled) => {
                    fill(slab, filled, &mut part);
                    *filled == CHUNK_PLAIN_BYTES
                }
            };
            if full {
                self.make_room().await?;
            }
        }
        Ok(())
    }

    /// A full buffer moves into a slab, if there is one; a full slab goes its way.
    async fn make_room(&mut self) -> Result<()> {
        if let Room::Buffer(buffer) = &mut self.room
            && let Some(mut slab) = self.permit.trust.inner().place()?.slab()
        {
            let (mut filled, mut bytes) = (0, std::mem::take(buffer).freeze());
            fill(&mut slab, &mut filled, &mut bytes);
            self.room = Room::Slab(slab, filled);
            return Ok(());
        }
        self.write_chunk().await?;
        if let Some(slab) = self.permit.trust.inner().place()?.slab() {
            self.room = Room::Slab(slab, 0);
        }
        Ok(())
    }

    async fn write_chunk(&mut self) -> Result<()> {
        if self.writing.len() >= BEHIND_MAX {
            self.wait_for_one().await?;
        }
        let chunk = Arc::new(match std::mem::replace(&mut self.room, Room::Buffer(BytesMut::new())) {
            Room::Buffer(buffer) => Plain::Bytes(buffer.freeze()),
            Room::Slab(slab, filled) => Plain::Slab(slab, filled),
        });
        let mut digested = vec![self.sums.feed(chunk.clone())];
        digested.extend(self.md5.as_mut().map(|lane| lane.feed(chunk.clone())));
        let (trust, key, aad) = (self.permit.trust.clone(), self.permit.key.clone(), self.permit.space.id.0.into_bytes());
        // a task, so that all this goes on while the next bytes arrive
        let task = tokio::spawn(async move {
            for digest in digested {
                digest.await.map_err(|_| Error::internal("a digest was lost on its way"))?;
            }
            let chunk = Arc::into_inner(chunk).ok_or_else(|| Error::internal("a chunk is still being digested"))?;
            match chunk {
                Plain::Bytes(bytes) => seal_and_put(trust, key, aad, bytes).await,
                Plain::Slab(slab, filled) => seal_slab_and_put(trust, key, aad, slab, filled).await,
            }
        });
        self.writing.push_back(Box::pin(async move { task.await.map_err(Error::internal)? }));
        Ok(())
    }

    async fn wait_for_one(&mut self) -> Result<()> {
        if let Some(piece) = self.writing.next().await {
            self.pieces.push(piece?);
        }
        Ok(())
    }

    pub(crate) async fn finish(mut self) -> Result<Staged> {
        match &mut self.room {
            // all of it: small enough to be dealt with here
            Room::Buffer(buffer) if buffer.len() as u64 == self.length => {
                let bytes = std::mem::take(buffer).freeze();
                self.sums.feed_here(&bytes);
                if let Some(lane) = &mut self.md5 {
                    lane.feed_here(&bytes);
                }
                if !bytes.is_empty() {
                    self.pieces.push(match bytes.len() <= INLINE_BYTES_MAX {
                        true => Piece::Inline(bytes),
                        false => {
                            let (trust, key) = (self.permit.trust.clone(), self.permit.key.clone());
                            seal_and_put(trust, key, self.permit.space.id.0.into_bytes(), bytes).await?
                        }
                    });
                }
            }
            room if !room.is_empty() => self.write_chunk().await?,
            _ => {}
        }
        while !self.writing.is_empty() {
            self.wait_for_one().await?;
        }
        let mut made: Vec<Piece> = self.pieces.iter().filter(|p| matches!(p, Piece::Chunk { .. })).cloned().collect();
        let body = self.permit.layout(self.pieces, &mut made).await?;
        let Sums { sha256, crc64 } = self.sums.end().await?;
        let md5 = match self.md5 {
            Some(lane) => Some(lane.end().await?.finish()),
            None => None,
        };
        Ok(Staged { content: Content { length: self.length, body }, sha256: sha256.finish(), md5, crc64: crc64.finish(), made })
    }
}

/// Copies from `part` into the slab, each byte to where it will be sealed, until one of them is at its end.
fn fill(slab: &mut Slab, filled: &mut usize, part: &mut Bytes) {
    while !part.is_empty() && *filled < CHUNK_PLAIN_BYTES {
        let in_frame = FRAME_BYTES - *filled % FRAME_BYTES;
        let bytes = part.split_to(part.len().min(in_frame));
        let at = crypto::stored_at(*filled as u64) as usize;
        slab.content_mut()[at..at + bytes.len()].copy_from_slice(&bytes);
        *filled += bytes.len();
    }
}

async fn seal_slab_and_put(trust: Trust, key: SealKey, aad: [u8; 16], mut slab: Slab, plain_bytes: usize) -> Result<Piece> {
    let id = ChunkId(crypto::random_array(&*trust.inner().chance));
    let stored_bytes = crypto::sealed_chunk_bytes(plain_bytes as u64) as usize;
    let sealing = tokio::task::spawn_blocking(move || {
        crypto::seal_chunk_in_place(&key, id.0, &aad, &mut slab.content_mut()[..stored_bytes])?;
        Ok::<_, Error>(slab)
    });
    let slab = sealing.await.map_err(Error::internal)??;
    let at = trust.inner().place()?.put_slab(id, slab, stored_bytes).await?;
    Ok(Piece::Chunk { id, at, plain_bytes: plain_bytes as u64 })
}
