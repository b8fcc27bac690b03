//! What is acknowledged is on the disk, not only in the kernel's cache: a killed process can't tell the two apart, and
//! the embedded engine's files are not behind our `Disk`. So the kernel is asked: between two answers there is a flush.

use crate::{append, commit, put, runtime, site};
use bytes::Bytes;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use store::disk::RealDisk;
use store::{Blobs, ChunkId, Kv, Segments};

const FOLDER: &str = "STORE_TEST_FLUSHED_FOLDER";
const ANSWERS: usize = 8;

fn say(what: &str, number: usize) {
    let mut out = std::io::stdout().lock();
    writeln!(out, "done {what} {number}").unwrap();
    out.flush().unwrap();
}

/// Does nothing unless it is the child: then it writes, one thing after another, and says each time that it is done.
#[test]
fn child() {
    let Some(folder) = std::env::var_os(FOLDER) else { return };
    let folder = Path::new(&folder);
    let engines: [(&str, Arc<dyn Kv>); 2] =
        [("fjall", store::open_fjall(folder.join("fjall")).unwrap()), ("redb", store::open_redb(folder.join("redb")).unwrap())];
    let chunks = Segments::open(site(), Arc::new(RealDisk::new(folder.join("chunks")).unwrap())).unwrap();
    runtime().block_on(async {
        for (engine, kv) in engines {
            for number in 0..=ANSWERS {
                commit(&*kv, vec![], vec![put("row", "value"), append("outbox", "entry")]).await.unwrap();
                say(engine, number);
            }
        }
        for (size, length) in [("small", 5_000), ("large", 1 << 20)] {
            for number in 0..=ANSWERS {
                let id = ChunkId([number as u8; 16]);
                chunks.put(id, Bytes::from(vec![7; length])).await.unwrap();
                say(size, number);
            }
        }
    });
}

#[test]
fn every_answer_comes_after_a_flush() {
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let traced = folder.path().join("calls");
    let status = Command::new("strace")
        .args(["-f", "-qq", "-e", "trace=write,fsync,fdatasync", "-e", "signal=none", "-o"])
        .arg(&traced)
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", "flushed::child", "--nocapture"])
        .env(FOLDER, folder.path())
        .stdout(Stdio::null())
        .status()
        .expect("strace: apt-get install strace, or cargo xtask test");
    assert!(status.success());
    let calls = std::fs::read_to_string(&traced).unwrap();
    let (mut flushes, mut answers) = (0, 0);
    for call in calls.lines() {
        // "fdatasync(7) = 0", or its second half after another thread's call
        let ended = call.ends_with("= 0") && (call.contains("fsync") || call.contains("fdatasync"));
        flushes += usize::from(ended);
        let Some(at) = call.find("\"done ") else { continue };
        // the first of each kind may owe its flush to what was made for it
        let is_first = call[at..].contains(" 0\\n");
        assert!(flushes > 0 || is_first, "acknowledged without a flush: {}", &call[at..]);
        (flushes, answers) = (0, answers + 1);
    }
    assert_eq!(answers, 4 * (ANSWERS + 1), "{calls}");
}
