//! Content in frames: a chunk is sealed 64 KiB at a time, so a range is read without opening the rest.
//!
//! ```text
//! chunk key  = HKDF(resource key, "frame" ‖ chunk id)          the chunk id is 128 random bits, used once
//! frame i    = AES-256-GCM(chunk key, nonce = i (12 bytes, big endian), aad, 65,536 bytes of content)
//! aad        = caller's aad, length-prefixed ‖ chunk id ‖ i ‖ 0 (more follow) or 1 + content's length (the last)
//! ```
//!
//! Each frame but the last is full, and only an empty chunk has an empty frame: a length has exactly one layout. The
//! number and the end are authenticated, so frames that are swapped, dropped, repeated or moved to another chunk do not
//! open, and a shortened chunk does not open at its new end. A retry of a write takes a new chunk id; under one id
//! no nonce comes twice, because [`FrameSealer`] counts by itself and cannot be wound back or cloned.

use crate::SealKey;
use aws_lc_rs::aead::{Aad, LessSafeKey, Nonce};
use base::{Error, Result};
use std::ops::Range;

/// Content bytes of each frame but the last.
pub const FRAME_BYTES: usize = 64 * 1024;
pub const TAG_BYTES: usize = 16;
/// Stored bytes of each frame but the last.
pub const SEALED_FRAME_BYTES: usize = FRAME_BYTES + TAG_BYTES;
pub const CHUNK_ID_BYTES: usize = 16;

/// The stored length of a chunk with `plain_bytes` of content.
pub fn sealed_chunk_bytes(plain_bytes: u64) -> u64 {
    plain_bytes + frames(plain_bytes) * TAG_BYTES as u64
}

fn frames(plain_bytes: u64) -> u64 {
    plain_bytes.div_ceil(FRAME_BYTES as u64).max(1)
}

/// What both directions share.
struct Frames {
    key: LessSafeKey,
    /// `bind(caller's aad) ‖ chunk id`, the same for each frame
    prefix: Vec<u8>,
}

impl Frames {
    fn new(key: &SealKey, chunk_id: [u8; CHUNK_ID_BYTES], aad: &[u8]) -> Frames {
        let mut prefix = SealKey::bind(&[aad]);
        prefix.extend_from_slice(&chunk_id);
        Frames { key: key.cipher(b"frame", &chunk_id), prefix }
    }
    fn nonce(number: u64) -> Nonce {
        let mut bytes = [0; 12];
        bytes[4..].copy_from_slice(&number.to_be_bytes());
        Nonce::assume_unique_for_key(bytes)
    }
    /// `total`: the content's length in bytes, for the last frame.
    fn aad(&self, number: u64, total: Option<u64>) -> Aad<Vec<u8>> {
        let mut aad = Vec::with_capacity(self.prefix.len() + 17);
        aad.extend_from_slice(&self.prefix);
        aad.extend_from_slice(&number.to_be_bytes());
        aad.push(u8::from(total.is_some()));
        aad.extend_from_slice(&total.unwrap_or(0).to_be_bytes());
        Aad::from(aad)
    }
}

/// Seals one chunk, frame after frame. Make it with a fresh random chunk id; a failed write starts again with another.
pub struct FrameSealer {
    frames: Frames,
    next: u64,
    total: u64,
    ended: bool,
}

impl FrameSealer {
    /// `aad` is what the reader knows by itself: the address of the chunk.
    pub fn new(key: &SealKey, chunk_id: [u8; CHUNK_ID_BYTES], aad: &[u8]) -> FrameSealer {
        FrameSealer { frames: Frames::new(key, chunk_id, aad), next: 0, total: 0, ended: false }
    }

    /// Seals the next frame where it lies and appends its tag. Error `Internal` for a frame of a wrong length (all but
    /// the last have [`FRAME_BYTES`]; the last has 1 to `FRAME_BYTES`, or 0 if it is the only one) or after the last.
    pub fn seal_frame_in_place<B>(&mut self, frame: &mut B, last: bool) -> Result<()>
    where
        B: AsMut<[u8]> + for<'a> Extend<&'a u8>,
    {
        let tag = self.seal_frame_detached(frame.as_mut(), last)?;
        frame.extend(&tag);
        Ok(())
    }

    /// As [`FrameSealer::seal_frame_in_place`], for a buffer that can't grow: the tag belongs right after the frame.
    pub fn seal_frame_detached(&mut self, frame: &mut [u8], last: bool) -> Result<[u8; TAG_BYTES]> {
        let fits = match last {
            false => frame.len() == FRAME_BYTES,
            true => frame.len() <= FRAME_BYTES && (!frame.is_empty() || self.next == 0),
        };
        if self.ended || !fits {
            return Err(Error::internal(format!("frame {} of {} bytes (last: {last}) has no place in its chunk", self.next, frame.len())));
        }
        self.total += frame.len() as u64;
        self.ended = last;
        let number = self.next;
        self.next += 1;
        let aad = self.frames.aad(number, last.then_some(self.total));
        let tag = self
            .frames
            .key
            .seal_in_place_separate_tag(Frames::nonce(number), aad, frame)
            .map_err(|_| Error::internal("AES-GCM refused to seal a frame"))?;
        tag.as_ref().try_into().map_err(|_| Error::internal("AES-GCM gave a tag of another length"))
    }
}

/// Opens frames of one chunk in any order. Cheap to keep for as long as the chunk is read; shared between threads.
pub struct FrameOpener {
    frames: Frames,
    plain_bytes: u64,
}

impl FrameOpener {
    /// `plain_bytes` is the content's length as the metadata (which is sealed itself) says it.
    pub fn new(key: &SealKey, chunk_id: [u8; CHUNK_ID_BYTES], aad: &[u8], plain_bytes: u64) -> FrameOpener {
        FrameOpener { frames: Frames::new(key, chunk_id, aad), plain_bytes }
    }
    /// How many frames the chunk has; at least one.
    pub fn frames(&self) -> u64 {
        frames(self.plain_bytes)
    }
    /// The numbers of the frames that hold these content bytes.
    pub fn frames_of(&self, content: Range<u64>) -> Range<u64> {
        let end = content.end.min(self.plain_bytes);
        if content.start >= end {
            return 0..0;
        }
        content.start / FRAME_BYTES as u64..end.div_ceil(FRAME_BYTES as u64)
    }
    /// Where frame `number` lies in the stored chunk, in bytes from its beginning. Empty past the end.
    pub fn stored_range(&self, number: u64) -> Range<u64> {
        if number >= self.frames() {
            return 0..0;
        }
        let start = number * SEALED_FRAME_BYTES as u64;
        start..(start + SEALED_FRAME_BYTES as u64).min(sealed_chunk_bytes(self.plain_bytes))
    }
    /// Opens frame `number` where it lies; the content is the returned front part of `sealed`. Error `Internal`: changed,
    /// cut, moved or sealed with another key. `sealed` then holds nothing of use.
    pub fn open_frame<'b>(&self, number: u64, sealed: &'b mut [u8]) -> Result<&'b mut [u8]> {
        let broken = || Error::internal(format!("frame {number} of a chunk does not open"));
        let place = self.stored_range(number);
        if place.is_empty() || sealed.len() as u64 != place.end - place.start {
            return Err(broken());
        }
        let last = number + 1 == self.frames();
        let aad = self.frames.aad(number, last.then_some(self.plain_bytes));
        self.frames.key.open_in_place(Frames::nonce(number), aad, sealed).map_err(|_| broken())
    }
}

/// Seals a whole chunk that lies in memory: [`sealed_chunk_bytes`] long.
pub fn seal_chunk(key: &SealKey, chunk_id: [u8; CHUNK_ID_BYTES], aad: &[u8], plain: &[u8]) -> Result<Vec<u8>> {
    let mut sealer = FrameSealer::new(key, chunk_id, aad);
    let count = frames(plain.len() as u64) as usize;
    let mut out = Vec::with_capacity(plain.len() + count * TAG_BYTES);
    for number in 0..count {
        let start = out.len();
        out.extend_from_slice(&plain[number * FRAME_BYTES..plain.len().min((number + 1) * FRAME_BYTES)]);
        let tag = sealer.seal_frame_detached(&mut out[start..], number + 1 == count)?;
        out.extend_from_slice(&tag);
    }
    Ok(out)
}

/// Where content byte `at` of a chunk lies in its stored form.
pub fn stored_at(at: u64) -> u64 {
    at + at / FRAME_BYTES as u64 * TAG_BYTES as u64
}

/// Seals a chunk whose content lies where its frames will ([`stored_at`]), with room for a tag behind each. `stored` is
/// [`sealed_chunk_bytes`] of the content long. Error `Internal`: no content has that stored length.
pub fn seal_chunk_in_place(key: &SealKey, chunk_id: [u8; CHUNK_ID_BYTES], aad: &[u8], stored: &mut [u8]) -> Result<()> {
    let mut sealer = FrameSealer::new(key, chunk_id, aad);
    let count = stored.len().div_ceil(SEALED_FRAME_BYTES);
    if count == 0 {
        return Err(Error::internal("a chunk of no stored bytes has no room for its tag"));
    }
    for (number, room) in stored.chunks_mut(SEALED_FRAME_BYTES).enumerate() {
        let Some(plain_bytes) = room.len().checked_sub(TAG_BYTES) else {
            return Err(Error::internal(format!("a last frame of {} stored bytes has no room for its tag", room.len())));
        };
        let (frame, tag) = room.split_at_mut(plain_bytes);
        tag.copy_from_slice(&sealer.seal_frame_detached(frame, number + 1 == count)?);
    }
    Ok(())
}

/// Opens a whole chunk that lies in memory. Error as [`FrameOpener::open_frame`], also for a wrong length.
pub fn open_chunk(key: &SealKey, chunk_id: [u8; CHUNK_ID_BYTES], aad: &[u8], plain_bytes: u64, mut sealed: Vec<u8>) -> Result<Vec<u8>> {
    let opener = FrameOpener::new(key, chunk_id, aad, plain_bytes);
    if sealed.len() as u64 != sealed_chunk_bytes(plain_bytes) {
        return Err(Error::internal(format!("a chunk of {plain_bytes} bytes has {} stored bytes", sealed.len())));
    }
    let mut out = Vec::with_capacity(plain_bytes as usize);
    for (number, frame) in sealed.chunks_mut(SEALED_FRAME_BYTES).enumerate() {
        out.extend_from_slice(opener.open_frame(number as u64, frame)?);
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Secret;
    use base::{Chance, SeededChance};
    use proptest::prelude::*;

    const ID: [u8; 16] = [9; 16];

    fn key() -> SealKey {
        SealKey::new(&Secret::random(&SeededChance::new(1)))
    }
    fn content(bytes: usize) -> Vec<u8> {
        let mut out = vec![0; bytes];
        SeededChance::new(bytes as u64).fill(&mut out);
        out
    }

    #[test]
    fn chunks_of_all_shapes_open() {
        for bytes in [0, 1, FRAME_BYTES - 1, FRAME_BYTES, FRAME_BYTES + 1, 2 * FRAME_BYTES, 3 * FRAME_BYTES + 5] {
            let plain = content(bytes);
            let sealed = seal_chunk(&key(), ID, b"aad", &plain).unwrap();
            assert_eq!(sealed.len() as u64, sealed_chunk_bytes(bytes as u64));
            let mut lying = vec![0xEE; sealed.len()];
            for (at, byte) in plain.iter().enumerate() {
                lying[stored_at(at as u64) as usize] = *byte;
            }
            seal_chunk_in_place(&key(), ID, b"aad", &mut lying).unwrap();
            assert_eq!(lying, sealed, "{bytes}");
            assert_eq!(open_chunk(&key(), ID, b"aad", bytes as u64, sealed).unwrap(), plain);
        }
        for bytes in [0, 1, TAG_BYTES - 1, SEALED_FRAME_BYTES + 1, SEALED_FRAME_BYTES + TAG_BYTES] {
            assert!(seal_chunk_in_place(&key(), ID, b"aad", &mut vec![0; bytes]).is_err(), "{bytes} stored bytes are no chunk");
        }
    }

    #[test]
    fn a_chunk_sealed_by_the_first_release_opens_for_ever() {
        let sealed = hex::decode(include_str!("../tests/samples/chunk-1.hex").trim()).unwrap();
        assert_eq!(open_chunk(&key(), ID, b"aad", 17, sealed).unwrap(), b"content of a blob");
    }

    #[test]
    fn streamed_frames_equal_the_whole_chunk() {
        let plain = content(2 * FRAME_BYTES + 100);
        let mut sealer = FrameSealer::new(&key(), ID, b"aad");
        let mut stored = Vec::new();
        for (i, part) in plain.chunks(FRAME_BYTES).enumerate() {
            let mut frame = part.to_vec();
            sealer.seal_frame_in_place(&mut frame, i == 2).unwrap();
            stored.extend(frame);
        }
        assert_eq!(stored, seal_chunk(&key(), ID, b"aad", &plain).unwrap());
        assert!(sealer.seal_frame_in_place(&mut vec![1], true).is_err(), "nothing follows the last");
    }

    #[test]
    fn ranges_are_read_alone() {
        let plain = content(3 * FRAME_BYTES + 5);
        let mut sealed = seal_chunk(&key(), ID, b"", &plain).unwrap();
        let opener = FrameOpener::new(&key(), ID, b"", plain.len() as u64);
        let edge = FRAME_BYTES as u64;
        assert_eq!(opener.frames_of(edge - 1..edge + 1), 0..2);
        assert_eq!(opener.frames_of(edge..edge + 1), 1..2);
        assert_eq!(opener.frames_of(0..u64::MAX), 0..4);
        assert_eq!(opener.frames_of(u64::MAX - 1..u64::MAX), 0..0);
        assert_eq!(opener.frames_of(5..5), 0..0);
        for number in [3, 0, 2, 1] {
            let place = opener.stored_range(number);
            let got = opener.open_frame(number, &mut sealed[place.start as usize..place.end as usize]).unwrap();
            assert_eq!(got, &plain[number as usize * FRAME_BYTES..plain.len().min((number as usize + 1) * FRAME_BYTES)]);
        }
        assert!(opener.open_frame(4, &mut []).is_err());
        assert!(opener.open_frame(u64::MAX, &mut []).is_err());
    }

    #[test]
    fn frames_of_wrong_lengths_are_refused() {
        let mut sealer = FrameSealer::new(&key(), ID, b"");
        assert!(sealer.seal_frame_detached(&mut [0; 10], false).is_err(), "a short frame is the last");
        assert!(sealer.seal_frame_detached(&mut vec![0; FRAME_BYTES + 1], true).is_err());
        sealer.seal_frame_detached(&mut vec![0; FRAME_BYTES], false).unwrap();
        assert!(sealer.seal_frame_detached(&mut [], true).is_err(), "an empty frame is the only one");
        sealer.seal_frame_detached(&mut [1], true).unwrap();
    }

    #[test]
    fn swapped_cut_extended_and_moved_chunks_are_refused() {
        let plain = content(3 * FRAME_BYTES);
        let bytes = plain.len() as u64;
        let sealed = seal_chunk(&key(), ID, b"here", &plain).unwrap();
        let frame = SEALED_FRAME_BYTES;
        let opens = |sealed: &[u8], bytes: u64| open_chunk(&key(), ID, b"here", bytes, sealed.to_vec()).is_ok();
        assert!(opens(&sealed, bytes));

        let mut swapped = sealed.clone();
        let (a, b) = swapped.split_at_mut(frame);
        a.swap_with_slice(&mut b[..frame]);
        assert!(!opens(&swapped, bytes), "swapped");

        // the liar also lies about the length, as a changed directory would
        assert!(!opens(&sealed[..2 * frame], 2 * FRAME_BYTES as u64), "cut at a frame");
        assert!(!opens(&sealed[frame..], 2 * FRAME_BYTES as u64), "cut at the front");
        assert!(!opens(&sealed[..sealed.len() - 1], bytes - 1), "cut within a frame");
        let mut longer = sealed.clone();
        longer.extend_from_slice(&sealed[..frame]);
        assert!(!opens(&longer, bytes + FRAME_BYTES as u64), "extended");

        assert!(open_chunk(&key(), ID, b"there", bytes, sealed.clone()).is_err(), "another address");
        assert!(open_chunk(&key(), [8; 16], b"here", bytes, sealed.clone()).is_err(), "another chunk");
        assert!(open_chunk(&key().derive(&[b"x"]), ID, b"here", bytes, sealed).is_err(), "another key");
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn any_changed_bit_is_refused(bytes in 0usize..2000, at: prop::sample::Index, bit in 0u8..8) {
            let mut sealed = seal_chunk(&key(), ID, b"", &content(bytes)).unwrap();
            let at = at.index(sealed.len());
            sealed[at] ^= 1 << bit;
            prop_assert!(open_chunk(&key(), ID, b"", bytes as u64, sealed).is_err());
        }
    }
}
