//! Rooms for large chunks: a chunk is gathered, sealed and written where it lies, without a copy in between.
//!
//! A slab is aligned to pages and has room for a header before the content, so that it goes to the disk as it is. Slabs
//! are used again, because fresh memory costs a fault per page; what an earlier chunk left in one is overwritten
//! or stays behind its end. How many are out at once is bounded: memory for bodies does not grow with their number.

use crate::disk::DIRECT_BYTES;
use std::sync::{Arc, Mutex, PoisonError};

/// Slabs out at once, in one store: 200 MiB.
const SLABS_MAX: usize = 40;
/// Kept for the next while nobody needs them: 40 MiB.
const KEPT_MAX: usize = 8;

/// The slabs of one store.
#[derive(Debug, Default)]
pub(crate) struct Slabs {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    kept: Vec<Vec<u8>>,
    out: usize,
}

/// Room for one chunk of up to [`crate::CHUNK_BYTES_MAX`] bytes.
#[derive(Debug)]
pub struct Slab {
    buffer: Vec<u8>,
    /// Where the header lies: on a page.
    begin: usize,
    room: usize,
    head: usize,
    home: Option<Arc<Slabs>>,
}

impl Slabs {
    /// A slab, unless too many are out. `head` bytes before `room` bytes of content.
    pub(crate) fn take(self: &Arc<Slabs>, head: usize, room: usize) -> Option<Slab> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if state.out >= SLABS_MAX {
            return None;
        }
        state.out += 1;
        let kept = state.kept.pop();
        drop(state);
        Some(Slab::new(kept, head, room, Some(self.clone())))
    }
}

impl Slab {
    /// One that is used once. `room`: bytes of content.
    pub fn fresh(room: usize) -> Slab {
        Slab::new(None, 0, room, None)
    }

    fn new(kept: Option<Vec<u8>>, head: usize, room: usize, home: Option<Arc<Slabs>>) -> Slab {
        // zeroed memory is given by the kernel page by page as it is touched: an unused part costs nothing
        let bytes = (head + room).next_multiple_of(DIRECT_BYTES) + DIRECT_BYTES;
        let buffer = kept.filter(|b| b.len() == bytes).unwrap_or_else(|| vec![0; bytes]);
        let begin = buffer.as_ptr().align_offset(DIRECT_BYTES).min(DIRECT_BYTES);
        Slab { buffer, begin, room, head, home }
    }

    /// The content's room. It may hold what an earlier chunk left.
    pub fn content(&self) -> &[u8] {
        &self.buffer[self.begin + self.head..][..self.room]
    }
    pub fn content_mut(&mut self) -> &mut [u8] {
        &mut self.buffer[self.begin + self.head..][..self.room]
    }

    pub(crate) fn is_of(&self, slabs: &Arc<Slabs>) -> bool {
        self.home.as_ref().is_some_and(|home| Arc::ptr_eq(home, slabs))
    }

    /// `header ‖ content` of `length` bytes, and zeros up to a whole page: what is written.
    pub(crate) fn finish(&mut self, header: &[u8], length: usize) -> &[u8] {
        let end = self.head + length;
        let padded = end.next_multiple_of(DIRECT_BYTES);
        let all = &mut self.buffer[self.begin..][..padded];
        all[..self.head].copy_from_slice(header);
        all[end..].fill(0);
        all
    }
}

impl Drop for Slab {
    fn drop(&mut self) {
        let Some(home) = &self.home else { return };
        let mut state = home.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.out -= 1;
        if state.kept.len() < KEPT_MAX {
            state.kept.push(std::mem::take(&mut self.buffer));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slabs_are_bounded_and_used_again() {
        let slabs = Arc::new(Slabs::default());
        let mut out: Vec<Slab> = (0..SLABS_MAX).map(|_| slabs.take(48, 100_000).expect("there is one")).collect();
        assert!(slabs.take(48, 100_000).is_none());
        let mut one = out.pop().expect("there are some");
        one.content_mut().fill(7);
        let at = one.buffer.as_ptr();
        drop(one);
        let mut again = slabs.take(48, 100_000).expect("one came back");
        assert_eq!(again.buffer.as_ptr(), at);
        assert!(again.content().iter().all(|b| *b == 7), "this test sees what was left");
        let written = again.finish(&[1; 48], 10);
        assert_eq!((written.len(), written.as_ptr().addr() % DIRECT_BYTES), (DIRECT_BYTES, 0));
        assert_eq!((&written[..48], &written[48..58]), (&[1; 48][..], &[7; 10][..]));
        assert!(written[58..].iter().all(|b| *b == 0), "nothing of an earlier chunk reaches the disk");
        out.clear();
        drop(again);
        assert_eq!(slabs.state.lock().unwrap().kept.len(), KEPT_MAX);
    }
}
