//! A whole store, rows and chunks, on a simulated disk that fails: nothing acknowledged is lost, nothing refused
//! appears, and every failure is an error with a name.

use crate::chunks::{content, id};
use crate::{SHARD, append, first_seed, k, random, site, soaked};
use base::SeededChance;
use bytes::Bytes;
use futures::executor::block_on;
use std::collections::BTreeMap;
use std::sync::Arc;
use store::{Blobs, Check, Commit, CommitError, Fault, KeyRange, Kv, Op, Placed, Segments, SimDisk, Store, Version};

/// What the store must hold. A commit whose outcome is not known may have happened or not.
#[derive(Default)]
struct Truth {
    rows: BTreeMap<u64, (u64, Placed)>,
    maybe: BTreeMap<u64, (u64, Placed)>,
    appended: u64,
    version: u64,
    next_chunk: u64,
}

struct Open {
    rows: Arc<Store>,
    chunks: Segments,
}

fn open(disk: &SimDisk) -> base::Result<Open> {
    let rows = store::open_redb_on(Arc::new(disk.clone()))?;
    let chunks = Segments::open(site(), Arc::new(disk.clone()))?;
    Ok(Open { rows, chunks })
}

fn row_key(name: u64) -> Vec<u8> {
    k(&format!("row/{name}"))
}

fn encode(chunk: u64, at: &Placed) -> Bytes {
    format!("{chunk} {} {} {}", at.segment, at.offset, at.length).into()
}

fn decode(bytes: &[u8]) -> (u64, Placed) {
    let text = std::str::from_utf8(bytes).unwrap();
    let n: Vec<u64> = text.split(' ').map(|part| part.parse().unwrap()).collect();
    (n[0], Placed { site: site(), segment: n[1] as u32, offset: n[2], length: n[3] })
}

/// One write as a service does it: the chunk durable first, then the row and the entry in one commit. False: it failed.
fn write(open: &Open, truth: &mut Truth, chance: &SeededChance) -> bool {
    let name = random(chance, 5);
    let chunk = truth.next_chunk;
    truth.next_chunk += 1;
    let bytes = if random(chance, 4) == 0 { 300_000 } else { 3_000 };
    let Ok(at) = block_on(open.chunks.put(id(chunk), content(chunk, bytes))) else { return false };
    let ops = vec![Op::Put(row_key(name), encode(chunk, &at)), append("outbox", "entry")];
    let outcome = block_on(open.rows.commit(Commit { shard: SHARD, idem: u128::from(chunk) + 1, checks: vec![], ops }));
    match outcome {
        Ok(done) => {
            truth.rows.insert(name, (chunk, at));
            truth.maybe.clear();
            truth.appended = done.appended[0];
            truth.version = done.version.0;
            true
        }
        Err(CommitError::Unknown) => {
            truth.maybe.insert(name, (chunk, at));
            false
        }
        Err(CommitError::Unavailable(_) | CommitError::Full) => false,
        Err(other) => panic!("{other:?}"),
    }
}

/// Compares the store with the truth, which afterwards is exact again.
fn compare(open: &Open, truth: &mut Truth, seed: u64) {
    let head = block_on(open.rows.head(SHARD)).unwrap();
    let mut happened = false;
    for (name, (chunk, at)) in std::mem::take(&mut truth.maybe) {
        let idem = u128::from(chunk) + 1;
        if let Some(done) = block_on(open.rows.resolve(SHARD, idem)).unwrap() {
            happened = true;
            truth.rows.insert(name, (chunk, at));
            truth.appended = done.appended[0];
            truth.version = done.version.0;
        }
    }
    assert_eq!(head.version, Version(truth.version), "seed {seed}, an unknown one happened: {happened}");
    for name in 0..5 {
        let stored = block_on(open.rows.get(&row_key(name))).unwrap().map(|(_, value)| decode(&value));
        assert_eq!(stored, truth.rows.get(&name).cloned(), "seed {seed}, row {name}");
        if let Some((chunk, at)) = stored {
            let bytes = block_on(open.chunks.read(id(chunk), &at, 0..at.length)).unwrap_or_else(|e| panic!("seed {seed}: {e}"));
            assert_eq!(bytes, content(chunk, at.length as usize), "seed {seed}");
        }
    }
    let entries = block_on(open.rows.scan(KeyRange::prefix(&k("outbox")), 1_000, false)).unwrap().rows.len() as u64;
    assert_eq!(entries, truth.appended, "seed {seed}: the outbox has a gap or a stranger");
}

/// Opens until it works: a fault may strike while opening, too.
fn open_after_crash(disk: &SimDisk, seed: u64) -> Open {
    disk.crash();
    open(disk).unwrap_or_else(|e| panic!("seed {seed}: a crashed store opens again: {e}"))
}

fn run(seed: u64, faults: &[(u64, Fault)]) -> u64 {
    let disk = SimDisk::new(seed);
    let chance = SeededChance::new(seed ^ 0xC0FFEE);
    let mut truth = Truth::default();
    for (step, fault) in faults {
        disk.fail_step(*step, *fault);
    }
    if let Ok(store) = open(&disk) {
        for _ in 0..12 {
            if !write(&store, &mut truth, &chance) && random(&chance, 2) == 0 {
                break;
            }
        }
        drop(store);
    }
    let steps = disk.steps();
    for _ in 0..2 {
        let store = open_after_crash(&disk, seed);
        compare(&store, &mut truth, seed);
        assert!(write(&store, &mut truth, &chance), "seed {seed}: a store that opened again works");
        compare(&store, &mut truth, seed);
    }
    steps
}

#[test]
fn the_power_goes_at_each_step() {
    for seed in 1..=soaked(1, 20) {
        let steps = run(seed, &[]);
        assert!(steps > 40, "{steps} steps are too few to be the whole story");
        for step in 1..=steps {
            run(seed, &[(step, Fault::Power)]);
        }
    }
}

#[test]
fn every_step_fails_once() {
    let steps = run(2, &[]);
    for step in 1..=steps {
        run(2, &[(step, Fault::Broken)]);
        run(2, &[(step, Fault::Full)]);
    }
}

#[test]
fn seeds_of_faults() {
    let first = first_seed(1_000);
    for seed in first..first + soaked(200, 5_000) {
        let chance = SeededChance::new(seed);
        let faults: Vec<(u64, Fault)> = (0..3)
            .map(|_| {
                let fault = [Fault::Power, Fault::Broken, Fault::Full][random(&chance, 3) as usize];
                (1 + random(&chance, 110), fault)
            })
            .collect();
        run(seed, &faults);
    }
}

#[test]
fn the_same_seed_gives_the_same_disk() {
    let image = |seed| {
        let disk = SimDisk::new(seed);
        let chance = SeededChance::new(seed);
        disk.fail_step(60, Fault::Power);
        let store = open(&disk).unwrap();
        let mut truth = Truth::default();
        for _ in 0..20 {
            write(&store, &mut truth, &chance);
        }
        drop(store);
        disk.crash();
        (disk.steps(), truth.version, disk.bytes("00000001.small"))
    };
    assert_eq!(image(11), image(11));
    assert_ne!(image(11), image(12));
}

#[test]
fn a_failed_flush_stops_the_committer() {
    let disk = SimDisk::new(21);
    let store = store::open_redb_on(Arc::new(disk.clone())).unwrap();
    let put = |value: &str| block_on(crate::commit(&*store, vec![], vec![crate::put("a", value)]));
    put("1").unwrap();
    let before = disk.steps();
    put("2").unwrap();
    let flush = disk.steps() - before; // the last step of a commit is its flush
    disk.fail_step(disk.steps() + flush, Fault::Broken);
    assert_eq!(put("3"), Err(CommitError::Unknown));
    assert!(matches!(put("4"), Err(CommitError::Unavailable(_))));
    assert!(matches!(put("5"), Err(CommitError::Unavailable(_))), "a flush is not tried again");
    drop(store);
    disk.crash();
    let store = store::open_redb_on(Arc::new(disk.clone())).unwrap();
    let value = block_on(crate::value(&*store, "a")).unwrap();
    assert!(value == "2" || value == "3", "{value}");
}

#[test]
fn a_full_disk_refuses_and_recovers() {
    let disk = SimDisk::new(22);
    let store = store::open_redb_on(Arc::new(disk.clone())).unwrap();
    let put = |name: &str| block_on(crate::commit(&*store, vec![Check::Absent(k(name))], vec![crate::put(name, "v")]));
    put("a").unwrap();
    disk.set_capacity_bytes(1 << 20);
    assert_eq!(put("b"), Err(CommitError::Full));
    assert_eq!(block_on(crate::value(&*store, "b")), None);
    disk.set_capacity_bytes(u64::MAX);
    put("b").unwrap();
    // before that, what only adds has to go: deletes and the record need the rest
    disk.set_capacity_bytes(store::ROWS_RESERVE_BYTES);
    let adds = |name: &str| block_on(crate::commit(&*store, vec![Check::Room, Check::Absent(k(name))], vec![crate::put(name, "v")]));
    assert_eq!(adds("c"), Err(CommitError::Full));
    put("d").unwrap();
    block_on(crate::commit(&*store, vec![], vec![Op::Delete(k("d"))])).unwrap();
    drop(store);
    let store = store::open_redb_on(Arc::new(disk.clone())).unwrap();
    block_on(crate::commit(&*store, vec![], vec![crate::put("e", "a start writes too")])).unwrap();
}

#[test]
fn a_flipped_bit_of_a_row_is_an_error() {
    let disk = SimDisk::new(23);
    let needle = b"a value that is easy to find";
    let store = store::open_redb_on(Arc::new(disk.clone())).unwrap();
    block_on(crate::commit(&*store, vec![], vec![Op::Put(k("a"), Bytes::from_static(needle)), crate::put("b", "whole")])).unwrap();
    block_on(store.close()).unwrap();
    drop(store);
    let image = disk.bytes("rows.redb").unwrap();
    let places: Vec<usize> = image.windows(needle.len()).enumerate().filter(|(_, window)| window == needle).map(|(at, _)| at).collect();
    assert!(!places.is_empty());
    for at in places {
        disk.flip_bit("rows.redb", at as u64 + 5, 2).unwrap();
    }
    let store = store::open_redb_on(Arc::new(disk.clone())).unwrap();
    let error = block_on(store.get(&k("a"))).unwrap_err();
    assert_eq!(error.kind, base::Kind::Internal);
    assert!(block_on(store.scan(KeyRange::prefix(&k("")), 10, false)).is_err());
    // a check on the damaged row decides nothing, and others go on
    let outcome = block_on(crate::commit(&*store, vec![Check::Exists(k("a"))], vec![crate::put("c", "v")]));
    assert!(matches!(outcome, Err(CommitError::Unavailable(_))), "{outcome:?}");
    assert_eq!(block_on(crate::value(&*store, "b")).as_deref(), Some("whole"));
    block_on(crate::commit(&*store, vec![], vec![crate::put("c", "v")])).unwrap();
}
