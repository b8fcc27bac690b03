//! Chunks: put, read, damage, deletion, sweeps; on a simulated disk and on the real one.

use crate::site;
use bytes::Bytes;
use futures::executor::block_on;
use proptest::prelude::*;
use std::sync::Arc;
use store::disk::{Disk, RealDisk};
use store::{Blobs, CHUNK_BYTES_MAX, ChunkId, Fault, Live, Placed, Segments, SimDisk};

fn open(disk: &Arc<dyn Disk>) -> Segments {
    Segments::open(site(), disk.clone()).unwrap()
}

fn disks() -> (tempfile::TempDir, Vec<Arc<dyn Disk>>) {
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let real = RealDisk::new(folder.path().join("chunks")).unwrap();
    (folder, vec![Arc::new(real), Arc::new(SimDisk::new(3))])
}

pub fn id(n: u64) -> ChunkId {
    ChunkId((u128::from(n) << 64 | 7).to_be_bytes())
}

pub fn content(n: u64, bytes: usize) -> Bytes {
    (0..bytes).map(|at| (at as u64 * 31 + n * 7 + at as u64 / 251) as u8).collect()
}

const SIZES: [usize; 9] = [0, 1, 100, 4_096, 65_552, 262_143, 262_144, 1_000_001, CHUNK_BYTES_MAX];

#[test]
fn what_is_put_is_read_and_survives_reopening() {
    let (_folder, disks) = disks();
    for disk in disks {
        let mut places = Vec::new();
        for round in 0..2 {
            let segments = open(&disk);
            for (n, bytes) in SIZES.into_iter().enumerate() {
                let n = (round * 100 + n) as u64;
                let at = block_on(segments.put(id(n), content(n, bytes))).unwrap();
                assert_eq!((at.length, &at.site), (bytes as u64, &site()));
                places.push((n, at));
            }
            for (n, at) in &places {
                let whole = block_on(segments.read(id(*n), at, 0..at.length)).unwrap();
                assert_eq!(whole, content(*n, at.length as usize));
                let (a, b) = (at.length / 3, at.length / 2);
                assert_eq!(block_on(segments.read(id(*n), at, a..b)).unwrap(), whole.slice(a as usize..b as usize));
            }
        }
        assert!(disk.list().unwrap().len() <= 3, "a reopened store goes on with its files: {:?}", disk.list());
    }
}

#[test]
fn many_writers_share_files() {
    let (_folder, disks) = disks();
    for disk in disks {
        let segments = Arc::new(open(&disk));
        let runtime = crate::runtime();
        runtime.block_on(async {
            let mut writers = tokio::task::JoinSet::new();
            for writer in 0..32u64 {
                let segments = segments.clone();
                writers.spawn(async move {
                    for n in 0..8 {
                        let n = writer * 100 + n;
                        let bytes = if n % 5 == 0 { 300_000 } else { 5_000 };
                        let at = segments.put(id(n), content(n, bytes)).await.unwrap();
                        assert_eq!(segments.read(id(n), &at, 0..at.length).await.unwrap(), content(n, bytes));
                    }
                });
            }
            writers.join_all().await;
        });
    }
}

#[test]
fn a_chunk_made_in_a_slab_is_a_chunk_like_any_other() {
    let (_folder, disks) = disks();
    for disk in disks {
        let segments = open(&disk);
        let runtime = crate::runtime();
        let all: Vec<(u64, usize)> = SIZES.into_iter().enumerate().map(|(n, bytes)| (n as u64, bytes)).collect();
        for round in 0..3 {
            // slabs beside plain bytes, so that both end up in one group
            let placed = runtime.block_on(futures::future::join_all(all.iter().map(async |(n, bytes)| {
                let (id, content) = (id(round * 100 + n), content(*n, *bytes));
                if (n + round) % 3 == 0 {
                    return segments.put(id, content).await.unwrap();
                }
                let mut slab = segments.slab().unwrap();
                slab.content_mut().fill(0xEE);
                slab.content_mut()[..*bytes].copy_from_slice(&content);
                segments.put_slab(id, slab, *bytes).await.unwrap()
            })));
            for ((n, bytes), at) in all.iter().zip(&placed) {
                let read = block_on(segments.read(id(round * 100 + n), at, 0..at.length)).unwrap();
                assert_eq!((at.length, read), (*bytes as u64, content(*n, *bytes)));
            }
        }
        let again = open(&disk);
        let slab = segments.slab().unwrap();
        assert!(block_on(again.put_slab(id(900), slab, 1_000)).is_ok(), "a slab of another store is copied");
        let slab = segments.slab().unwrap();
        assert_eq!(block_on(segments.put_slab(id(901), slab, CHUNK_BYTES_MAX + 1)).unwrap_err().code, "ChunkTooLarge");
    }
}

/// What an earlier chunk left in a slab is not in the file behind a later, shorter one.
#[test]
fn a_slab_leaks_nothing_to_the_disk() {
    let sim = SimDisk::new(11);
    let disk: Arc<dyn Disk> = Arc::new(sim.clone());
    let segments = open(&disk);
    let mut slab = segments.slab().unwrap();
    slab.content_mut().fill(0xEE);
    drop(slab);
    for bytes in [1, 5_000, 300_001] {
        let mut slab = segments.slab().unwrap();
        slab.content_mut()[..bytes].fill(0);
        block_on(segments.put_slab(id(bytes as u64), slab, bytes)).unwrap();
    }
    for name in disk.list().unwrap() {
        let left = sim.bytes(&name).unwrap().windows(4).filter(|w| *w == [0xEE; 4]).count();
        assert_eq!(left, 0, "{name}");
    }
}

#[test]
fn what_is_not_there_is_an_error() {
    let disk: Arc<dyn Disk> = Arc::new(SimDisk::new(4));
    let segments = open(&disk);
    let at = block_on(segments.put(id(1), content(1, 10_000))).unwrap();
    let read = |id, at: &Placed, range| block_on(segments.read(id, at, range)).is_err();
    assert!(read(id(2), &at, 0..10), "another id");
    assert!(read(id(1), &Placed { length: 9_999, ..at.clone() }, 0..10), "another length");
    assert!(read(id(1), &Placed { offset: at.offset + 8, ..at.clone() }, 0..10), "no header there");
    assert!(read(id(1), &Placed { offset: 1 << 40, ..at.clone() }, 0..10), "behind the end");
    assert!(read(id(1), &Placed { segment: 99, ..at.clone() }, 0..10), "no such segment");
    assert!(read(id(1), &at, 0..10_001), "more than there is");
    let other = base::SiteName::new("lyon-1").unwrap();
    assert!(read(id(1), &Placed { site: other, ..at.clone() }, 0..10), "another site");
    let refused = block_on(segments.put(id(3), vec![0; CHUNK_BYTES_MAX + 1].into())).unwrap_err();
    assert_eq!(refused.code, "ChunkTooLarge");
}

#[test]
fn a_flipped_bit_of_a_chunk_is_an_error() {
    for bit in 0..8 {
        let sim = SimDisk::new(5);
        let disk: Arc<dyn Disk> = Arc::new(sim.clone());
        let segments = open(&disk);
        let at = block_on(segments.put(id(1), content(1, 999))).unwrap();
        for offset in (0..48 + 999).step_by(13) {
            sim.flip_bit("00000001.small", at.offset + offset, bit).unwrap();
            assert!(block_on(segments.read(id(1), &at, 0..999)).is_err(), "byte {offset}, bit {bit}");
            sim.flip_bit("00000001.small", at.offset + offset, bit).unwrap();
        }
        block_on(segments.read(id(1), &at, 0..999)).unwrap();
    }
}

#[test]
fn a_deleted_chunk_is_gone_and_its_neighbours_stay() {
    let (_folder, disks) = disks();
    for disk in disks {
        let segments = open(&disk);
        let put = |n, bytes| block_on(segments.put(id(n), content(n, bytes))).unwrap();
        let places: Vec<Placed> = (0..9).map(|n| put(n, if n % 2 == 0 { 20_000 } else { 400_000 })).collect();
        let gone = [places[2].clone(), places[3].clone()];
        block_on(segments.delete(&gone)).unwrap();
        block_on(segments.delete(&gone)).unwrap();
        for (n, at) in places.iter().enumerate() {
            let read = block_on(segments.read(id(n as u64), at, 0..at.length));
            match n {
                2 | 3 => assert!(read.is_err()),
                _ => assert_eq!(read.unwrap(), content(n as u64, at.length as usize)),
            }
        }
    }
}

#[test]
fn a_sweep_frees_what_nobody_names_and_nothing_younger() {
    let (_folder, disks) = disks();
    for disk in disks {
        let segments = open(&disk);
        let put = |n, bytes| (n, block_on(segments.put(id(n), content(n, bytes))).unwrap());
        let mut live = Vec::new();
        for n in 0..40 {
            let placed = put(n, if n % 2 == 0 { 9_000 } else { 300_000 });
            if n % 4 < 2 && n % 3 == 0 {
                live.push(placed);
            }
        }
        let mark = segments.mark();
        let young = [put(100, 9_000), put(101, 300_000), put(102, 300_000)];
        let mut named = Live::default();
        live.iter().for_each(|(_, at)| named.add(at));
        let swept = block_on(segments.sweep(mark, named)).unwrap();
        assert!(swept.bytes_freed > 4_000_000, "{swept:?}");
        for (n, at) in live.iter().chain(&young) {
            assert_eq!(block_on(segments.read(id(*n), at, 0..at.length)).unwrap(), content(*n, at.length as usize));
        }
        drop(segments);
        // no chunk is named any more: the files go, but for the one with the highest number
        let segments = open(&disk);
        let files = disk.list().unwrap().len();
        let swept = block_on(segments.sweep(segments.mark(), Live::default())).unwrap();
        assert_eq!((swept.segments_removed, disk.list().unwrap().len()), (files as u64 - 1, 1));
        assert!(block_on(segments.read(id(100), &young[0].1, 0..10)).is_err());
        let (n, at) = put_in(&segments, 200);
        assert_eq!(block_on(segments.read(id(n), &at, 0..at.length)).unwrap(), content(n, 5_000));
    }
}

fn put_in(segments: &Segments, n: u64) -> (u64, Placed) {
    (n, block_on(segments.put(id(n), content(n, 5_000))).unwrap())
}

#[test]
fn a_full_disk_is_said_and_passes() {
    let sim = SimDisk::new(6);
    let disk: Arc<dyn Disk> = Arc::new(sim.clone());
    let segments = open(&disk);
    put_in(&segments, 1);
    sim.set_capacity_bytes(store::CONTENT_RESERVE_BYTES);
    let refused = block_on(segments.put(id(2), content(2, 5_000))).unwrap_err();
    assert_eq!(refused.code, "DiskFull");
    sim.set_capacity_bytes(u64::MAX);
    // a disk that fills up in the middle of a write
    sim.fail_step(sim.steps() + 1, Fault::Full);
    assert_eq!(block_on(segments.put(id(3), content(3, 5_000))).unwrap_err().code, "DiskFull");
    put_in(&segments, 4);
}

#[test]
fn after_a_failed_flush_the_file_is_left() {
    let sim = SimDisk::new(7);
    let disk: Arc<dyn Disk> = Arc::new(sim.clone());
    let segments = open(&disk);
    let (n, before) = put_in(&segments, 1);
    sim.fail_step(sim.steps() + 2, Fault::Broken);
    assert!(block_on(segments.put(id(2), content(2, 5_000))).is_err());
    let (m, after) = put_in(&segments, 3);
    assert_ne!(after.segment, before.segment, "what a failed flush left in a file is not known");
    sim.crash();
    let segments = open(&disk);
    for (n, at) in [(n, before), (m, after)] {
        assert_eq!(block_on(segments.read(id(n), &at, 0..at.length)).unwrap(), content(n, 5_000));
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: crate::soaked(2_000, 200_000), failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn stored_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..120)) {
        store::fuzz::fuzz_row(&bytes);
        store::fuzz::fuzz_group(&bytes);
        store::fuzz::fuzz_chunk_header(&bytes);
    }

    #[test]
    fn groups_with_plausible_heads_never_panic(count in 0u32..4, tail in proptest::collection::vec(any::<u8>(), 0..120)) {
        let mut bytes = vec![1, 0, 0, 0, 0, 0, 0, 0, 1];
        bytes.extend(count.to_be_bytes());
        bytes.extend(tail);
        store::fuzz::fuzz_group(&bytes);
    }
}
