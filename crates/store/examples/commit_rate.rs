//! Durable commits a second, against what the disk itself can do in the same run.
//!
//! `cargo run --release -p store --example commit_rate -- [FOLDER] [SECONDS] [POSTGRES CONNECTION STRING]`
#![allow(clippy::print_stdout, reason = "a program that prints figures")]

use base::{Shard, SiteName};
use bytes::Bytes;
use std::io::Write;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};
use store::disk::RealDisk;
use store::{Blobs, Check, ChunkId, Commit, KeyRange, Kv, Op, Segments, Store, key};

const SHARD: Shard = Shard(1);

#[tokio::main]
async fn main() {
    let mut args = std::env::args().skip(1);
    let parent = args.next().map_or_else(std::env::temp_dir, Into::into);
    let time = Duration::from_secs_f64(args.next().and_then(|s| s.parse().ok()).unwrap_or(2.0));
    let folder = parent.join(format!("commit-rate-{}", std::process::id()));
    std::fs::create_dir_all(&folder).expect("the folder can be made");

    let disk = append_rate(&folder, time);
    println!("disk: {disk:.0} appends of 1 KiB with fdatasync a second");
    println!("a commit: one check, three rows and one append; x = ratio to the disk");
    for engine in ["fjall", "redb"] {
        let start = Instant::now();
        let at = folder.join(engine);
        let kv = if engine == "fjall" { store::open_fjall(&at) } else { store::open_redb(&at) }.expect("the store opens");
        println!("{engine}: opens empty in {:.1} ms, {:.1} MiB resident", start.elapsed().as_secs_f64() * 1e3, resident_mib());
        measure(engine, &kv, time, disk).await;
        kv.close().await.expect("the store closes");
        drop(kv);
        let start = Instant::now();
        let kv = if engine == "fjall" { store::open_fjall(&at) } else { store::open_redb(&at) }.expect("the store opens");
        kv.head(SHARD).await.expect("the committer starts");
        println!(
            "{engine}: opens again, committer ready, in {:.1} ms, {:.1} MiB resident",
            start.elapsed().as_secs_f64() * 1e3,
            resident_mib()
        );
    }
    if let Some(connect) = args.next() {
        let kv = store::open_postgres(&connect).await.expect("the database answers");
        measure("postgres", &kv, time, disk).await;
    }
    chunks(&folder, time, disk).await;
    std::fs::remove_dir_all(&folder).expect("the folder can be removed");
}

fn append_rate(folder: &Path, time: Duration) -> f64 {
    let mut file = std::fs::File::create(folder.join("probe")).expect("a file can be made");
    let start = Instant::now();
    let mut count = 0;
    while start.elapsed() < time {
        file.write_all(&[7; 1024]).and_then(|()| file.sync_data()).expect("the disk works");
        count += 1;
    }
    f64::from(count) / start.elapsed().as_secs_f64()
}

async fn measure(name: &str, kv: &Arc<Store>, time: Duration, disk: f64) {
    for writers in [1u64, 32] {
        let next = Arc::new(AtomicU64::new(writers << 40));
        let start = Instant::now();
        let mut tasks = tokio::task::JoinSet::new();
        for _ in 0..writers {
            let (kv, next) = (kv.clone(), next.clone());
            tasks.spawn(async move {
                let mut slowest = Duration::ZERO;
                let mut count = 0u64;
                while start.elapsed() < time {
                    let n = next.fetch_add(1, Ordering::Relaxed);
                    let before = Instant::now();
                    kv.commit(change(n)).await.expect("the commit is done");
                    slowest = slowest.max(before.elapsed());
                    count += 1;
                }
                (count, slowest)
            });
        }
        let done = tasks.join_all().await;
        let count: u64 = done.iter().map(|d| d.0).sum();
        let slowest = done.iter().map(|d| d.1).max().unwrap_or_default();
        let rate = count as f64 / start.elapsed().as_secs_f64();
        println!("{name}: {writers:2} writers: {rate:7.0} commits/s (x {:.2}), slowest {:.1} ms", rate / disk, slowest.as_secs_f64() * 1e3);
    }
    let start = Instant::now();
    let mut reads = 0u64;
    while start.elapsed() < time / 2 {
        for n in 0..100 {
            kv.get(&row((32 << 40) + (reads * 7 + n) % 1000, "blob")).await.expect("the row is read");
        }
        reads += 100;
    }
    println!("{name}: {:.0} point reads/s", reads as f64 / start.elapsed().as_secs_f64());
    let start = Instant::now();
    let mut pages = 0u64;
    while start.elapsed() < time / 2 {
        kv.scan(KeyRange::prefix(&key(SHARD, &[b"row/"])), 1000, false).await.expect("the page is read");
        pages += 1;
    }
    println!("{name}: {:.0} pages of 1,000 rows/s", pages as f64 / start.elapsed().as_secs_f64());
}

fn row(n: u64, table: &str) -> Vec<u8> {
    key(SHARD, &[b"row/", table.as_bytes(), b"/account/container/some/longer/name/", &n.wrapping_mul(0x9E37_79B9_7F4A_7C15).to_be_bytes()])
}

fn change(n: u64) -> Commit {
    let value = Bytes::from(vec![n as u8; 180]);
    let put = |table| Op::Put(row(n, table), value.clone());
    let ops = vec![put("blob"), put("version"), put("feed"), Op::Append { queue: key(SHARD, &[b"outbox"]), value: value.clone() }];
    Commit { shard: SHARD, idem: u128::from(n) << 64 | 1, checks: vec![Check::Absent(row(n, "blob"))], ops }
}

async fn chunks(folder: &Path, time: Duration, disk: f64) {
    let site = SiteName::new("here").expect("a good name");
    let real = RealDisk::new(folder.join("chunks")).expect("the folder can be made");
    let segments = Arc::new(Segments::open(site, Arc::new(real)).expect("the segments open"));
    let next = Arc::new(AtomicU64::new(1));
    for (bytes, writers) in [(4 << 10, 32), (64 << 10, 32), (4 << 20, 4)] {
        let start = Instant::now();
        let mut tasks = tokio::task::JoinSet::new();
        for _ in 0..writers {
            let (segments, next) = (segments.clone(), next.clone());
            tasks.spawn(async move {
                let content = Bytes::from(vec![9; bytes]);
                let mut placed = Vec::new();
                while start.elapsed() < time {
                    let id = ChunkId(u128::from(next.fetch_add(1, Ordering::Relaxed)).to_be_bytes());
                    placed.push((id, segments.put(id, content.clone()).await.expect("the chunk is put")));
                }
                placed
            });
        }
        let placed: Vec<_> = tasks.join_all().await.into_iter().flatten().collect();
        let rate = placed.len() as f64 / start.elapsed().as_secs_f64();
        println!(
            "chunks of {:4} KiB, {writers:2} writers: {rate:6.0}/s (x {:.2}), {:.0} MB/s",
            bytes >> 10,
            rate / disk,
            rate * bytes as f64 / 1e6
        );
        let start = Instant::now();
        let mut reads = 0;
        'time: loop {
            for (id, at) in &placed {
                segments.read(*id, at, 0..bytes.min(64 << 10) as u64).await.expect("the chunk is read");
                reads += 1;
                if start.elapsed() > time / 2 {
                    break 'time;
                }
            }
        }
        println!(
            "  reads of {:2} KiB on the caller's thread: {:.0}/s",
            bytes.min(64 << 10) >> 10,
            f64::from(reads) / start.elapsed().as_secs_f64()
        );
    }
}

fn resident_mib() -> f64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    line.and_then(|line| line.trim().trim_end_matches(" kB").parse::<f64>().ok()).unwrap_or(0.0) / 1024.0
}
