//! What a permit reaches: rows and content under its target, unsealed as they are read.

use crate::content::{
    CHUNK_PLAIN_BYTES, Content, INDEX_PIECES_MAX, INLINE_BYTES_MAX, Layout, PIECES_MAX, Piece, PieceList, Staged, Staging, range_error,
};
use crate::intake::{Aside, Intake};
use crate::{Access, ByteStream, Permit, Table, Trust, Write, layout};
use base::{Error, Kind, Result, SpaceId, Stored};
use bytes::{Bytes, BytesMut};
use crypto::{FRAME_BYTES, FrameOpener, SealKey, Sha256, open_record, seal_chunk};
use futures::{StreamExt, stream};
use std::ops::Range;
use store::{ChunkId, KeyRange, Placed, Version};

/// Bytes opened at once while streaming: sixteen frames.
const WINDOW_BYTES: u64 = 16 * FRAME_BYTES as u64;
/// Windows read ahead of a slow client.
const AHEAD: usize = 2;

/// A value and the version to check it with.
#[derive(Clone, Debug, PartialEq)]
pub struct Found<T> {
    pub value: T,
    pub version: Version,
}

/// Which names of a table, in bytewise order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Span {
    prefix: Vec<u8>,
    from: Option<Vec<u8>>,
    reverse: bool,
}

impl Span {
    pub fn all() -> Span {
        Span::default()
    }
    pub fn prefix(prefix: impl AsRef<[u8]>) -> Span {
        Span { prefix: prefix.as_ref().to_vec(), ..Span::default() }
    }
    /// Begins at this name (inclusive); with [`Span::backwards`], ends there.
    pub fn from(mut self, name: impl AsRef<[u8]>) -> Span {
        self.from = Some(name.as_ref().to_vec());
        self
    }
    /// From the end to the beginning.
    pub fn backwards(mut self) -> Span {
        self.reverse = true;
        self
    }
}

/// A page of rows.
#[derive(Clone, Debug)]
pub struct Listing<T> {
    pub rows: Vec<(Vec<u8>, Found<T>)>,
    /// Where the next page begins: [`Span::from`] with it.
    pub next: Option<Vec<u8>>,
}

/// Rows and content of a permit's target.
pub struct Data<'p, A: Access> {
    pub(crate) permit: &'p Permit<A>,
}

/// What is sealed in a row: a long name travels with the value, because its key holds only its beginning.
pub(crate) fn envelope(name: &[u8], value: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(value.len() + 3);
    if name.len() > layout::NAME_BYTES_MAX {
        out.push(1);
        out.extend((name.len() as u16).to_be_bytes());
        out.extend_from_slice(name);
    } else {
        out.push(0);
    }
    out.extend_from_slice(value);
    out
}

fn unfold(plain: &[u8]) -> Result<(Option<&[u8]>, &[u8])> {
    let broken = || Error::internal("a row's envelope is damaged");
    let (flag, rest) = plain.split_first().ok_or_else(broken)?;
    if *flag == 0 {
        return Ok((None, rest));
    }
    let (length, rest) = rest.split_first_chunk::<2>().ok_or_else(broken)?;
    let (name, value) = rest.split_at_checked(usize::from(u16::from_be_bytes(*length))).ok_or_else(broken)?;
    Ok((Some(name), value))
}

impl<A: Access> Data<'_, A> {
    /// The row with this name.
    pub async fn get<T: Stored>(&self, table: Table, name: impl AsRef<[u8]>) -> Result<Option<Found<T>>> {
        let row = layout::row(self.permit.space.id, table, &self.permit.address, name.as_ref());
        let Some((version, sealed)) = self.permit.trust.inner().kv.get(&row).await? else { return Ok(None) };
        let plain = open_record(&self.permit.key, &row, &sealed)?;
        Ok(Some(Found { value: base::decode(unfold(&plain)?.1)?, version }))
    }

    /// A page of rows, at most `limit` (and at most 1,000).
    pub async fn scan<T: Stored>(&self, table: Table, span: Span, limit: usize) -> Result<Listing<T>> {
        let base = layout::row(self.permit.space.id, table, &self.permit.address, b"");
        let mut range = KeyRange::prefix(&layout::row(self.permit.space.id, table, &self.permit.address, &span.prefix));
        if let Some(from) = &span.from {
            let at = layout::row(self.permit.space.id, table, &self.permit.address, from);
            if span.reverse {
                range.end = Some([&at[..], &[0]].concat());
            } else if at > range.start {
                range.start = at;
            }
        }
        if range.is_empty() {
            return Ok(Listing { rows: Vec::new(), next: None });
        }
        let page = self.permit.trust.inner().kv.scan(range, limit, span.reverse).await?;
        let mut rows = Vec::with_capacity(page.rows.len());
        for row in page.rows {
            let plain = open_record(&self.permit.key, &row.key, &row.value)?;
            let (long, value) = unfold(&plain)?;
            let name = long.unwrap_or(&row.key[base.len()..]).to_vec();
            rows.push((name, Found { value: base::decode(value)?, version: row.version }));
        }
        Ok(Listing { rows, next: page.next.map(|key| key[base.len()..].to_vec()) })
    }

    /// The bytes of a content, unsealed and checked frame by frame; memory stays below a few MiB whatever its length.
    /// A range outside it is an error of kind RangeNotSatisfiable as the stream's first item.
    pub fn content(&self, content: &Content, range: Range<u64>) -> ByteStream {
        if range.end > content.length || range.start > range.end {
            return Box::pin(stream::iter([Err(range_error(content.length))]));
        }
        let reader = Reader { trust: self.permit.trust.clone(), key: self.permit.key.clone(), aad: *self.permit.space.id.0.as_bytes() };
        match &content.body {
            Layout::Pieces(pieces) => reader.stream(pieces.clone(), range),
            Layout::Index(index) => {
                let index = index.clone();
                let pieces = async move { Ok::<_, Error>((reader.index(&index).await?, reader)) };
                Box::pin(stream::once(pieces).flat_map(move |found| match found {
                    Ok((pieces, reader)) => reader.stream(pieces, range.clone()),
                    Err(error) => Box::pin(stream::iter([Err(error)])) as ByteStream,
                }))
            }
        }
    }
}

/// Opens chunks of one space.
#[derive(Clone)]
pub(crate) struct Reader {
    pub trust: Trust,
    pub key: SealKey,
    pub aad: [u8; 16],
}

impl Reader {
    fn stream(&self, pieces: Vec<Piece>, range: Range<u64>) -> ByteStream {
        let reader = self.clone();
        let windows = windows(pieces, range);
        Box::pin(stream::iter(windows).map(move |(piece, part)| reader.clone().window(piece, part)).buffered(AHEAD))
    }

    async fn window(self, piece: Piece, part: Range<u64>) -> Result<Bytes> {
        let (id, at, plain_bytes) = match piece {
            Piece::Inline(bytes) => return Ok(bytes.slice(part.start as usize..part.end as usize)),
            Piece::Chunk { id, at, plain_bytes } => (id, at, plain_bytes),
        };
        let opener = FrameOpener::new(&self.key, id.0, &self.aad, plain_bytes);
        let frames = opener.frames_of(part.clone());
        let stored = opener.stored_range(frames.start).start..opener.stored_range(frames.end - 1).end;
        let sealed = self.sealed(id, &at, stored.clone()).await?;
        // opened where it lies, and moved together: a window needs no second buffer
        let mut bytes = sealed.try_into_mut().unwrap_or_else(|shared| BytesMut::from(&shared[..]));
        let mut filled = 0;
        for number in frames {
            let place = opener.stored_range(number);
            let at = (place.start - stored.start) as usize;
            let open = opener.open_frame(number, &mut bytes[at..(place.end - stored.start) as usize])?.len();
            let begin = number * FRAME_BYTES as u64;
            let from = part.start.saturating_sub(begin).min(open as u64) as usize;
            let to = (part.end - begin).min(open as u64) as usize;
            bytes.copy_within(at + from..at + to, filled);
            filled += to - from;
        }
        bytes.truncate(filled);
        Ok(bytes.freeze())
    }

    /// Sealed bytes of a chunk, from where it was first put; where it is not, from the copies that the ledger knows.
    async fn sealed(&self, id: ChunkId, hint: &Placed, stored: Range<u64>) -> Result<Bytes> {
        let inner = self.trust.inner();
        let read = async |at: &Placed| inner.site(&at.site)?.read(id, at, stored.clone()).await;
        let failed = match read(hint).await {
            Ok(bytes) => return Ok(bytes),
            Err(error) => error,
        };
        for copy in inner.copies(SpaceId(uuid::Uuid::from_bytes(self.aad)), id).await?.iter().filter(|copy| *copy != hint) {
            if let Ok(bytes) = read(copy).await {
                return Ok(bytes);
            }
        }
        Err(failed)
    }

    /// All pieces that index chunks name.
    pub(crate) async fn index(&self, index: &[Piece]) -> Result<Vec<Piece>> {
        let mut pieces = Vec::new();
        for chunk in index {
            let mut bytes = BytesMut::new();
            let mut stream = self.stream(vec![chunk.clone()], 0..chunk.length());
            while let Some(part) = stream.next().await {
                bytes.extend_from_slice(&part?);
            }
            pieces.extend(base::decode::<PieceList>(&bytes)?.0);
        }
        Ok(pieces)
    }

    pub(crate) async fn pieces(&self, content: &Content) -> Result<Vec<Piece>> {
        match &content.body {
            Layout::Pieces(pieces) => Ok(pieces.clone()),
            Layout::Index(index) => self.index(index).await,
        }
    }
}

/// Cuts a range of a list of pieces into windows, each inside one piece.
fn windows(pieces: Vec<Piece>, range: Range<u64>) -> impl Iterator<Item = (Piece, Range<u64>)> + Send {
    let mut begin = 0;
    let placed: Vec<(Piece, u64)> = pieces
        .into_iter()
        .map(|p| {
            let at = begin;
            begin += p.length();
            (p, at)
        })
        .filter(|(p, at)| *at < range.end && at + p.length() > range.start)
        .collect();
    placed.into_iter().flat_map(move |(piece, at)| {
        let from = range.start.saturating_sub(at);
        let to = (range.end - at).min(piece.length());
        let first = from / WINDOW_BYTES;
        let last = to.div_ceil(WINDOW_BYTES);
        (first..last).map(move |w| (piece.clone(), (w * WINDOW_BYTES).max(from)..((w + 1) * WINDOW_BYTES).min(to)))
    })
}

impl Permit<Write> {
    /// Seals a body as it comes and makes it durable aside: nothing is visible until a batch adopts it. Memory stays
    /// below a few chunks whatever the length. Errors: `RequestBodyTooLarge`, what the body's stream says, a full disk.
    pub async fn stage(&self, mut body: ByteStream, staging: Staging) -> Result<Staged> {
        let mut intake = Intake::new(self, &staging);
        while let Some(part) = body.next().await {
            let part = part?;
            if intake.length + part.len() as u64 > staging.bytes_max {
                return Err(Error::new(
                    Kind::TooLarge,
                    "RequestBodyTooLarge",
                    format!("The body is larger than {} bytes.", staging.bytes_max),
                ));
            }
            intake.take(part).await?;
        }
        intake.finish().await
    }

    /// [`Permit::stage`] for bytes in memory.
    pub async fn stage_bytes(&self, bytes: Bytes) -> Result<Staged> {
        self.stage(Box::pin(stream::iter([Ok(bytes)])), Staging { bytes_max: u64::MAX, md5: false }).await
    }

    /// One content out of several, in their order, without copying their bytes. Its `sha256` is over the parts' ids and
    /// lengths, not their bytes: each part was digested when it was staged.
    pub async fn join(&self, parts: &[Content]) -> Result<Staged> {
        let reader = self.reader();
        let mut pieces = Vec::new();
        for part in parts {
            pieces.extend(reader.pieces(part).await?);
        }
        let mut digest = Sha256::new();
        for piece in &pieces {
            match piece {
                Piece::Inline(bytes) => digest.update(bytes),
                Piece::Chunk { id, .. } => digest.update(&id.0),
            }
            digest.update(&piece.length().to_be_bytes());
        }
        let length = pieces.iter().map(Piece::length).sum();
        let mut made = Vec::new();
        let body = self.layout(pieces, &mut made).await?;
        let aside = Aside::new(&self.trust, &made);
        Ok(Staged { content: Content { length, body }, sha256: digest.finish(), md5: None, crc64: 0, made, aside })
    }

    fn reader(&self) -> Reader {
        Reader { trust: self.trust.clone(), key: self.key.clone(), aad: *self.space.id.0.as_bytes() }
    }

    /// Few pieces stay in the row; many go into index chunks. Small inline pieces do not swell a row: their bytes count.
    pub(crate) async fn layout(&self, pieces: Vec<Piece>, made: &mut Vec<Piece>) -> Result<Layout> {
        let inline: usize = pieces.iter().map(|p| if let Piece::Inline(b) = p { b.len() } else { 0 }).sum();
        if pieces.len() <= PIECES_MAX && inline <= INLINE_BYTES_MAX {
            return Ok(Layout::Pieces(pieces));
        }
        let mut index = Vec::new();
        let mut lists: Vec<Vec<Piece>> = vec![Vec::new()];
        let mut bytes = 0;
        for piece in pieces {
            bytes += 96 + if let Piece::Inline(b) = &piece { b.len() } else { 0 };
            if bytes > CHUNK_PLAIN_BYTES - 65_536 || lists.last().is_some_and(|l| l.len() >= INDEX_PIECES_MAX) {
                lists.push(Vec::new());
                bytes = 0;
            }
            lists.last_mut().expect("there is a list").push(piece);
        }
        for list in lists {
            let chunk =
                seal_and_put(self.trust.clone(), self.key.clone(), self.space.id.0.into_bytes(), base::encode(&PieceList(list)).into())
                    .await?;
            made.push(chunk.clone());
            index.push(chunk);
        }
        Ok(Layout::Index(index))
    }
}

/// Below this, sealing takes less time than handing it to another thread.
const SEAL_INLINE_BYTES: usize = 256 << 10;

pub(crate) async fn seal_and_put(trust: Trust, key: SealKey, aad: [u8; 16], plain: Bytes) -> Result<Piece> {
    let id = ChunkId(crypto::random_array(&*trust.inner().chance));
    let plain_bytes = plain.len() as u64;
    let sealed = if plain.len() <= SEAL_INLINE_BYTES {
        seal_chunk(&key, id.0, &aad, &plain)?
    } else {
        tokio::task::spawn_blocking(move || seal_chunk(&key, id.0, &aad, &plain)).await.map_err(Error::internal)??
    };
    let at = trust.inner().place()?.put(id, sealed.into()).await?;
    Ok(Piece::Chunk { id, at, plain_bytes })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        /// Windows of a range cover exactly that range, in order, each inside its piece.
        #[test]
        fn windows_cover_the_range(lengths in prop::collection::vec(0u64..3_000_000, 0..6), a in 0u64..9_000_000, b in 0u64..9_000_000) {
            let pieces: Vec<Piece> = lengths.iter().map(|l| Piece::Inline(vec![0; *l as usize].into())).collect();
            let total: u64 = lengths.iter().sum();
            let (start, end) = (a.min(b).min(total), a.max(b).min(total));
            let mut sum = 0;
            for (piece, part) in windows(pieces, start..end) {
                prop_assert!(part.start < part.end && part.end <= piece.length() && part.end - part.start <= WINDOW_BYTES);
                sum += part.end - part.start;
            }
            prop_assert_eq!(sum, end - start);
        }

        #[test]
        fn envelopes_open(name in prop::collection::vec(any::<u8>(), 0..3000), value in prop::collection::vec(any::<u8>(), 0..200)) {
            let folded = envelope(&name, &value);
            let (long, got) = unfold(&folded).unwrap();
            prop_assert_eq!(got, &value[..]);
            prop_assert_eq!(long.is_some(), name.len() > layout::NAME_BYTES_MAX);
        }
    }
}
