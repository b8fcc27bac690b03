//! A body on its way in: gathered into chunks, digested, sealed and written, while the next bytes arrive.
//!
//! A small body is one buffer and is dealt with where it is. A large one fills [`store::Slab`]s, laid out as the sealed
//! chunk will be, so that a byte is copied once between the connection and the disk. Each frame is digested and sealed in
//! place as soon as it is full, while the processor's cache still holds it; a full slab is written while the next one fills.
//! MD5 takes a core 1.6 s a GiB, three times what all the rest takes, so it runs on a thread of its own ([`Md5Lane`]).

use crate::content::{CHUNK_PLAIN_BYTES, Content, INLINE_BYTES_MAX, Piece, Staged, Staging};
use crate::data::seal_and_put;
use crate::{Permit, Trust, Write};
use base::{Error, Fut, Result};
use bytes::{Bytes, BytesMut};
use crypto::{Crc64Nvme, FRAME_BYTES, FrameSealer, Md5, SEALED_FRAME_BYTES, Sha256};
use futures::{StreamExt, stream};
use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use store::{ChunkId, Placed, Slab};
use tokio::sync::Notify;

/// Up to here a body, or what of it is there, is one buffer; beyond, it gets a slab.
const BUFFER_BYTES_MAX: usize = 256 << 10;
/// Chunks of one body on their way to the disk, behind the one that fills.
const BEHIND_MAX: usize = 2;

/// A body on its way in.
pub(crate) struct Intake<'p> {
    permit: &'p Permit<Write>,
    room: Room,
    pub(crate) length: u64,
    sha256: Sha256,
    crc64: Crc64Nvme,
    md5: Option<Md5Lane>,
    writing: stream::FuturesOrdered<Fut<'static, Result<Piece>>>,
    pieces: Vec<Piece>,
    aside: Arc<Aside>,
}

/// Chunks that are durable and belong to nobody yet. Where no batch adopts them (the client left, a digest was wrong, a
/// condition failed), they are deleted when the last who could adopt them is gone. After a crash, the next start does it.
pub(crate) struct Aside {
    trust: Trust,
    chunks: Mutex<Vec<Placed>>,
    adopted: AtomicBool,
}

impl Aside {
    pub(crate) fn new(trust: &Trust, pieces: &[Piece]) -> Arc<Aside> {
        let aside = Aside { trust: trust.clone(), chunks: Mutex::default(), adopted: AtomicBool::new(false) };
        pieces.iter().for_each(|piece| aside.note(piece));
        Arc::new(aside)
    }
    fn note(&self, piece: &Piece) {
        if let Piece::Chunk { at, .. } = piece {
            self.chunks.lock().unwrap_or_else(PoisonError::into_inner).push(at.clone());
        }
    }
    /// True: a commit is under way that refers to them. False: it is known not to have happened.
    pub(crate) fn adopt(&self, adopted: bool) {
        self.adopted.store(adopted, Ordering::Release);
    }
}

impl std::fmt::Debug for Aside {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Aside(…)")
    }
}

impl Drop for Aside {
    fn drop(&mut self) {
        let chunks = std::mem::take(self.chunks.get_mut().unwrap_or_else(PoisonError::into_inner));
        if self.adopted.load(Ordering::Acquire) || chunks.is_empty() {
            return;
        }
        // without a runtime the process ends, and the next one frees them
        let Ok(runtime) = tokio::runtime::Handle::try_current() else { return };
        let trust = self.trust.clone();
        runtime.spawn(async move {
            for site in &trust.inner().sites {
                let here: Vec<Placed> = chunks.iter().filter(|at| at.site == *site.site()).cloned().collect();
                if let Err(error) = site.delete(&here).await {
                    tracing::warn!(%error, "chunks that nobody adopted could not be deleted; the next start frees them");
                }
            }
        });
    }
}

/// Where bytes are gathered.
enum Room {
    Buffer(BytesMut),
    Slab(Filling),
}

/// A chunk whose full frames are sealed already.
struct Filling {
    slab: Slab,
    id: ChunkId,
    sealer: FrameSealer,
    /// Content bytes, those of the open frame among them.
    plain_bytes: usize,
}

impl Filling {
    /// Where the open frame begins in the slab, and how many content bytes it has. A full frame stays open until
    /// the next byte comes: only then it is known not to be the last.
    fn open_frame(&self) -> (usize, usize) {
        let before = self.plain_bytes.saturating_sub(1) / FRAME_BYTES;
        (before * SEALED_FRAME_BYTES, self.plain_bytes - before * FRAME_BYTES)
    }
    fn is_full(&self) -> bool {
        self.plain_bytes == CHUNK_PLAIN_BYTES
    }
    fn stored_bytes(&self) -> usize {
        crypto::sealed_chunk_bytes(self.plain_bytes as u64) as usize
    }
}

impl<'p> Intake<'p> {
    pub(crate) fn new(permit: &'p Permit<Write>, staging: &Staging) -> Intake<'p> {
        Intake {
            permit,
            room: Room::Buffer(BytesMut::new()),
            length: 0,
            sha256: Sha256::new(),
            crc64: Crc64Nvme::new(),
            md5: staging.md5.then(Md5Lane::default),
            writing: stream::FuturesOrdered::new(),
            pieces: Vec::new(),
            aside: Aside::new(&permit.trust, &[]),
        }
    }

    pub(crate) async fn take(&mut self, mut part: Bytes) -> Result<()> {
        self.length += part.len() as u64;
        while !part.is_empty() {
            match &mut self.room {
                Room::Buffer(buffer) => {
                    buffer.extend_from_slice(&part.split_to(part.len().min(BUFFER_BYTES_MAX - buffer.len())));
                    if buffer.len() == BUFFER_BYTES_MAX {
                        self.empty_buffer().await?;
                    }
                }
                Room::Slab(filling) => {
                    let bytes = part.split_to(part.len().min(CHUNK_PLAIN_BYTES - filling.plain_bytes));
                    self.fill(&bytes)?;
                    if let Some(lane) = &mut self.md5 {
                        lane.feed(bytes).await?;
                    }
                    if matches!(&self.room, Room::Slab(filling) if filling.is_full()) {
                        self.write_slab().await?;
                    }
                }
            }
        }
        Ok(())
    }

    /// Moves a full buffer into a slab; where there is none, it becomes a chunk of its own.
    async fn empty_buffer(&mut self) -> Result<()> {
        let Room::Buffer(buffer) = &mut self.room else { return Ok(()) };
        let bytes = std::mem::take(buffer).freeze();
        if let Some(lane) = &mut self.md5 {
            lane.feed(bytes.clone()).await?;
        }
        self.open_slab()?;
        if matches!(self.room, Room::Slab(_)) {
            return self.fill(&bytes);
        }
        self.digest(&bytes);
        self.make_way().await?;
        let (trust, key, aad) = (self.permit.trust.clone(), self.permit.key.clone(), self.permit.space.id.0.into_bytes());
        self.write(seal_and_put(trust, key, aad, bytes));
        Ok(())
    }

    fn open_slab(&mut self) -> Result<()> {
        let inner = self.permit.trust.inner();
        let Some(slab) = inner.place()?.slab() else { return Ok(()) };
        let id = ChunkId(crypto::random_array(&*inner.chance));
        let sealer = FrameSealer::new(&self.permit.key, id.0, self.permit.space.id.0.as_bytes());
        self.room = Room::Slab(Filling { slab, id, sealer, plain_bytes: 0 });
        Ok(())
    }

    /// Puts bytes, as many as fit the slab, to where they will be sealed, and seals what frames they fill.
    fn fill(&mut self, mut bytes: &[u8]) -> Result<()> {
        let Room::Slab(filling) = &mut self.room else { return Err(Error::internal("there is no slab to fill")) };
        while !bytes.is_empty() {
            let (mut at, mut filled) = filling.open_frame();
            if filled == FRAME_BYTES {
                seal_open_frame(filling, &mut self.sha256, &mut self.crc64, false)?;
                (at, filled) = (at + SEALED_FRAME_BYTES, 0);
            }
            let (now, rest) = bytes.split_at(bytes.len().min(FRAME_BYTES - filled));
            filling.slab.content_mut()[at + filled..][..now.len()].copy_from_slice(now);
            filling.plain_bytes += now.len();
            bytes = rest;
        }
        Ok(())
    }

    /// Seals the last frame and sends the slab to the disk.
    async fn write_slab(&mut self) -> Result<()> {
        let Room::Slab(mut filling) = std::mem::replace(&mut self.room, Room::Buffer(BytesMut::new())) else { return Ok(()) };
        seal_open_frame(&mut filling, &mut self.sha256, &mut self.crc64, true)?;
        self.make_way().await?;
        let trust = self.permit.trust.clone();
        self.write(async move {
            let (stored_bytes, plain_bytes) = (filling.stored_bytes(), filling.plain_bytes as u64);
            let at = trust.inner().place()?.put_slab(filling.id, filling.slab, stored_bytes).await?;
            Ok(Piece::Chunk { id: filling.id, at, plain_bytes })
        });
        // a chunk after the first needs no buffer before its slab
        self.open_slab()
    }

    fn digest(&mut self, bytes: &[u8]) {
        self.sha256.update(bytes);
        self.crc64.update(bytes);
    }

    /// A task, so that it goes on while the next bytes arrive.
    fn write(&mut self, writing: impl Future<Output = Result<Piece>> + Send + 'static) {
        let aside = self.aside.clone();
        let task = tokio::spawn(async move {
            let piece = writing.await?;
            aside.note(&piece);
            Ok(piece)
        });
        self.writing.push_back(Box::pin(async move { task.await.map_err(Error::internal)? }));
    }

    async fn make_way(&mut self) -> Result<()> {
        while self.writing.len() >= BEHIND_MAX {
            self.wait_for_one().await?;
        }
        Ok(())
    }

    async fn wait_for_one(&mut self) -> Result<()> {
        if let Some(piece) = self.writing.next().await {
            self.pieces.push(piece?);
        }
        Ok(())
    }

    pub(crate) async fn finish(mut self) -> Result<Staged> {
        let mut md5 = None;
        match &mut self.room {
            Room::Slab(filling) if filling.plain_bytes > 0 => self.write_slab().await?,
            Room::Slab(_) => {}
            Room::Buffer(buffer) => {
                let bytes = std::mem::take(buffer).freeze();
                self.digest(&bytes);
                match &mut self.md5 {
                    // all of it: small enough to be dealt with here
                    Some(_) if bytes.len() as u64 == self.length => (md5, self.md5) = (Some(crypto::md5(&bytes)), None),
                    Some(lane) => lane.feed(bytes.clone()).await?,
                    None => {}
                }
                while !self.writing.is_empty() {
                    self.wait_for_one().await?;
                }
                if self.length <= INLINE_BYTES_MAX as u64 {
                    self.pieces.extend((!bytes.is_empty()).then_some(Piece::Inline(bytes)));
                } else if !bytes.is_empty() {
                    let (trust, key, aad) = (self.permit.trust.clone(), self.permit.key.clone(), self.permit.space.id.0.into_bytes());
                    let piece = seal_and_put(trust, key, aad, bytes).await?;
                    self.aside.note(&piece);
                    self.pieces.push(piece);
                }
            }
        }
        while !self.writing.is_empty() {
            self.wait_for_one().await?;
        }
        let mut made: Vec<Piece> = self.pieces.iter().filter(|p| matches!(p, Piece::Chunk { .. })).cloned().collect();
        let written = made.len();
        let body = self.permit.layout(self.pieces, &mut made).await?;
        made[written..].iter().for_each(|index| self.aside.note(index));
        if let Some(lane) = self.md5 {
            md5 = Some(lane.finish().await?);
        }
        let (sha256, crc64) = (self.sha256.finish(), self.crc64.finish());
        Ok(Staged { content: Content { length: self.length, body }, sha256, md5, crc64, made, aside: self.aside })
    }
}

/// Digests the open frame, then seals it where it lies.
fn seal_open_frame(filling: &mut Filling, sha256: &mut Sha256, crc64: &mut Crc64Nvme, last: bool) -> Result<()> {
    let (at, plain_bytes) = filling.open_frame();
    let (frame, behind) = filling.slab.content_mut()[at..].split_at_mut(plain_bytes);
    sha256.update(frame);
    crc64.update(frame);
    let tag = filling.sealer.seal_frame_detached(frame, last)?;
    behind[..tag.len()].copy_from_slice(&tag);
    Ok(())
}

/// Bytes that wait for their MD5; a body that comes faster waits.
const LANE_BYTES_MAX: usize = 4 << 20;

/// An MD5 on a thread of its own, which it has only while there is something to digest.
#[derive(Default)]
struct Md5Lane(Arc<Lane>);

#[derive(Default)]
struct Lane {
    state: Mutex<LaneState>,
    moved: Notify,
}

#[derive(Default)]
struct LaneState {
    waiting: VecDeque<Bytes>,
    waiting_bytes: usize,
    /// A thread is at it.
    runs: bool,
    /// Not there while a thread has it.
    digest: Option<Md5>,
}

impl Lane {
    fn lock(&self) -> MutexGuard<'_, LaneState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn run(&self) {
        let mut digest = self.lock().digest.take().unwrap_or_default();
        loop {
            let parts = {
                let mut state = self.lock();
                if state.waiting.is_empty() {
                    (state.runs, state.digest) = (false, Some(digest));
                    break;
                }
                std::mem::take(&mut state.waiting)
            };
            for part in parts {
                digest.update(&part);
                self.lock().waiting_bytes -= part.len();
                self.moved.notify_one();
            }
        }
        self.moved.notify_one();
    }
}

impl Md5Lane {
    async fn feed(&mut self, part: Bytes) -> Result<()> {
        loop {
            let moved = self.0.moved.notified();
            if self.0.lock().waiting_bytes < LANE_BYTES_MAX {
                break;
            }
            moved.await;
        }
        let mut state = self.0.lock();
        state.waiting_bytes += part.len();
        state.waiting.push_back(part);
        if !std::mem::replace(&mut state.runs, true) {
            let lane = self.0.clone();
            tokio::task::spawn_blocking(move || lane.run());
        }
        Ok(())
    }

    async fn finish(self) -> Result<[u8; 16]> {
        loop {
            let moved = self.0.moved.notified();
            {
                let mut state = self.0.lock();
                if !state.runs {
                    return Ok(state.digest.take().unwrap_or_default().finish());
                }
            }
            moved.await;
        }
    }
}
