//! Which pages of a site's segments hold chunks in use: what a sweep must leave.
//!
//! Kept by pages and not by chunks, so that memory is bounded by the segments (32 KiB for each GiB at most), however
//! many and small the chunks are, and in whatever order they are named.

use crate::chunk::Placed;
use crate::disk::DIRECT_BYTES;
use std::collections::HashMap;
use std::ops::Range;

const PAGE: u64 = DIRECT_BYTES as u64;
/// A list of runs grows to the size of a map of all pages of a segment, and becomes one.
const RUNS_MAX: usize = 4_096;

/// The chunks in use at one site. Made by [`Live::add`], chunk by chunk.
#[derive(Debug, Default)]
pub struct Live(HashMap<u32, Pages>);

/// The pages of one segment.
#[derive(Debug)]
pub(crate) struct Pages {
    /// Of all chunks together.
    pub bytes: u64,
    held: Held,
}

#[derive(Debug)]
enum Held {
    /// Runs of pages, in no order; they may overlap.
    Runs(Vec<Range<u32>>),
    /// A bit a page.
    Map(Vec<u64>),
}

impl Live {
    pub fn add(&mut self, at: &Placed) {
        let pages = self.0.entry(at.segment).or_insert_with(|| Pages { bytes: 0, held: Held::Runs(Vec::new()) });
        let end = at.offset.saturating_add(crate::segments::HEADER_BYTES as u64).saturating_add(at.length);
        pages.bytes += end - at.offset;
        // a place comes from a sealed row: segments end long before 2^32 pages
        pages.add((at.offset / PAGE) as u32..end.div_ceil(PAGE) as u32);
    }
    pub(crate) fn of(&self, segment: u32) -> Option<&Pages> {
        self.0.get(&segment)
    }
}

impl Pages {
    fn add(&mut self, run: Range<u32>) {
        if let Held::Runs(runs) = &mut self.held {
            if let Some(last) = runs.last_mut().filter(|last| last.start <= run.start && run.start <= last.end) {
                last.end = last.end.max(run.end);
                return;
            }
            if runs.len() < RUNS_MAX {
                return runs.push(run);
            }
            let runs = std::mem::take(runs);
            self.held = Held::Map(Vec::new());
            runs.into_iter().for_each(|run| self.add(run));
        }
        if let Held::Map(map) = &mut self.held {
            let words = (run.end as usize).div_ceil(64);
            if map.len() < words {
                map.resize(words, 0);
            }
            run.for_each(|page| map[page as usize / 64] |= 1 << (page % 64));
        }
    }

    /// The runs of bytes before `end` in which no page holds a chunk, in order.
    pub(crate) fn gaps(&self, end: u64) -> Vec<Range<u64>> {
        let mut held: Vec<Range<u32>> = match &self.held {
            Held::Runs(runs) => runs.clone(),
            Held::Map(map) => {
                let bit = |page: u32| map[page as usize / 64] >> (page % 64) & 1 == 1;
                (0..map.len() as u32 * 64).filter(|page| bit(*page)).map(|page| page..page + 1).collect()
            }
        };
        held.sort_by_key(|run| run.start);
        let (mut gaps, mut from) = (Vec::new(), 0);
        for run in held {
            let start = u64::from(run.start) * PAGE;
            if start > from {
                gaps.push(from..start.min(end));
            }
            from = from.max(u64::from(run.end) * PAGE);
        }
        if from < end {
            gaps.push(from..end);
        }
        gaps
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(offset: u64, length: u64) -> Placed {
        Placed { site: base::SiteName::new("paris-1").unwrap(), segment: 3, offset, length }
    }

    #[test]
    fn gaps_are_what_no_chunk_touches() {
        let mut live = Live::default();
        for (offset, length) in [(40_960, 4_048), (8_192, 1), (12_280, 10)] {
            live.add(&place(offset, length));
        }
        let pages = live.of(3).unwrap();
        assert_eq!(pages.gaps(100_000), [0..8_192, 16_384..40_960, 45_056..100_000]);
        assert_eq!(pages.bytes, 4_048 + 1 + 10 + 3 * 48);
        assert!(live.of(4).is_none());
    }

    /// A segment full of small chunks, named in an order without order: as exact as a list, in a bounded room.
    #[test]
    fn many_small_chunks_take_a_bounded_room() {
        let mut live = Live::default();
        let chunks = 131_072u64;
        for n in 0..chunks {
            // an odd factor visits every place once
            let n = n * 77_773 % chunks;
            if !n.is_multiple_of(1_000) {
                live.add(&place(n * 8_192, 5_000));
            }
        }
        let pages = live.of(3).unwrap();
        let Held::Map(map) = &pages.held else { panic!("{} runs are kept", RUNS_MAX) };
        assert!(map.len() * 8 <= 32 << 10);
        let gaps = pages.gaps(chunks * 8_192);
        assert_eq!(gaps.len() as u64, chunks.div_ceil(1_000));
        assert!(gaps.iter().all(|gap| gap.end - gap.start == 8_192 && gap.start % (8_192 * 1_000) == 0));
    }
}
