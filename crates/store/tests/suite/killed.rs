//! A process that is killed while it commits. The test runs itself as the process that dies.

use crate::chunks::{content, id};
use crate::{SHARD, append, k, runtime, site, soaked};
use base::Shard;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use store::disk::RealDisk;
use store::{Blobs, Commit, KeyRange, Kv, Op, Placed, Segments, queue_key};

const FOLDER: &str = "STORE_TEST_KILLED_FOLDER";
const WRITERS: u64 = 8;

/// Does nothing unless it is the child: then it commits until it is killed, and prints what is acknowledged.
#[test]
fn child() {
    let Some(folder) = std::env::var_os(FOLDER) else { return };
    let folder = Path::new(&folder);
    let rows = store::open_fjall(folder.join("rows")).unwrap();
    let chunks = Arc::new(Segments::open(site(), Arc::new(RealDisk::new(folder.join("chunks")).unwrap())).unwrap());
    runtime().block_on(async {
        let mut writers = tokio::task::JoinSet::new();
        for writer in 0..WRITERS {
            let (rows, chunks) = (rows.clone(), chunks.clone());
            writers.spawn(async move {
                let mut n = 0u64;
                loop {
                    let chunk = fresh(&*rows).await;
                    let at = chunks.put(id(chunk), content(chunk, 5_000)).await.unwrap();
                    let name = format!("row/{writer}/{chunk}");
                    let value = format!("{chunk} {} {}", at.segment, at.offset);
                    let ops = vec![crate::put(&name, &value), append("outbox", &name)];
                    let done = rows.commit(Commit { shard: SHARD, idem: u128::from(chunk) << 8 | 1, checks: vec![], ops }).await.unwrap();
                    let mut out = std::io::stdout().lock();
                    writeln!(out, "done {name} {}", done.appended[0]).unwrap();
                    out.flush().unwrap();
                    n += 1;
                    assert!(n < 1_000_000);
                }
            });
        }
        writers.join_all().await;
    });
}

/// A number never used before, also not by a child that died.
async fn fresh(kv: &dyn Kv) -> u64 {
    let shard = Shard(8);
    let queue = store::key(shard, &[b"ids"]);
    let ops = vec![Op::Append { queue, value: bytes::Bytes::new() }];
    kv.commit(Commit { shard, idem: 0, checks: vec![], ops }).await.unwrap().appended[0]
}

#[test]
fn nothing_acknowledged_is_lost_when_the_process_is_killed() {
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let mut acknowledged: Vec<(String, u64)> = Vec::new();
    for round in 0..soaked(3, 40) {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "killed::child", "--nocapture"])
            .env(FOLDER, folder.path())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut seen = 0;
        for line in lines.by_ref() {
            let line = line.unwrap();
            // the harness prints its own words around
            if let Some(at) = line.find("done ") {
                let mut words = line[at..].split(' ').skip(1);
                acknowledged.push((words.next().unwrap().to_owned(), words.next().unwrap().parse().unwrap()));
                seen += 1;
            }
            if seen == 300 + round % 3 * 50 {
                child.kill().unwrap();
                break;
            }
        }
        for line in lines.map_while(Result::ok) {
            let words: Vec<&str> = line.split(' ').collect();
            if let ["done", name, number] = words[..] {
                acknowledged.push((name.to_owned(), number.parse().unwrap()));
            }
        }
        child.wait().unwrap();
        assert!(seen >= 300, "the child died by itself after {seen} commits");
        check(folder.path(), &acknowledged);
    }
}

fn check(folder: &Path, acknowledged: &[(String, u64)]) {
    let rows = store::open_fjall(folder.join("rows")).unwrap();
    let chunks = Segments::open(site(), Arc::new(RealDisk::new(folder.join("chunks")).unwrap())).unwrap();
    runtime().block_on(async {
        for (name, number) in acknowledged {
            let entry = rows.get(&queue_key(&k("outbox"), *number)).await.unwrap().unwrap_or_else(|| panic!("entry {number} is lost")).1;
            assert_eq!(&entry[..], name.as_bytes());
            assert!(rows.get(&k(name)).await.unwrap().is_some(), "{name} is lost");
        }
        // every row there is, acknowledged or not, has its entry and its chunk, and the outbox has no gap
        let mut range = KeyRange::prefix(&k("outbox"));
        let mut next_number = 1;
        loop {
            let page = rows.scan(range.clone(), 1_000, false).await.unwrap();
            for row in page.rows {
                assert_eq!(row.key, queue_key(&k("outbox"), next_number));
                next_number += 1;
                let name = String::from_utf8(row.value.to_vec()).unwrap();
                let (version, value) = rows.get(&k(&name)).await.unwrap().unwrap_or_else(|| panic!("{name} is torn"));
                assert_eq!(version, row.version, "row and entry are one commit");
                let n: Vec<u64> = std::str::from_utf8(&value).unwrap().split(' ').map(|part| part.parse().unwrap()).collect();
                let at = Placed { site: site(), segment: n[1] as u32, offset: n[2], length: 5_000 };
                assert_eq!(chunks.read(id(n[0]), &at, 0..5_000).await.unwrap(), content(n[0], 5_000));
            }
            match page.next {
                Some(next) => range = range.resume(next, false),
                None => break,
            }
        }
        rows.close().await.unwrap();
    });
}
