//! A region whose rows are in PostgreSQL: everything that a region on fjall does, and what happens when region, database or
//! the way between them goes away.

use crate::cluster::Cluster;
use crate::process::{Http, Region, account, bleu, blob};
use bytes::Bytes;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

const PUTS: usize = 160;
const WRITERS: usize = 8;
/// Puts that succeed before and after each death of the database.
const ROUND: usize = 40;
/// A region without its database is back as soon as the database is, or a little later.
const BACK_SECONDS_MAX: u64 = 30;

fn bytes_of(number: usize) -> Bytes {
    let length = if number.is_multiple_of(5) { 20_000 } else { 4_096 };
    (0..length).map(|i| (i * 7 + number * 13) as u8).collect::<Vec<u8>>().into()
}

async fn put(http: &Http, base: &str, key: &[u8], number: usize) -> (u16, Bytes) {
    blob(http, base, "PUT", &format!("photos/blob-{number}"), key, bytes_of(number), "").await
}

async fn all_there(http: &Http, base: &str, key: &[u8], numbers: impl Iterator<Item = usize>) {
    let mut wrong = Vec::new();
    for number in numbers {
        let (status, body) = blob(http, base, "GET", &format!("photos/blob-{number}"), key, Bytes::new(), "").await;
        if status != 200 || body != bytes_of(number) {
            wrong.push((number, status));
        }
    }
    assert!(wrong.is_empty(), "acknowledged and not there: {wrong:?}");
}

fn verified(folder: &Path) -> String {
    for arguments in [
        &["record", "export", "--data", "data", "--out", "bundle"][..],
        &["record", "trust", "--data", "data", "--out", "trust"],
        &["verify", "bundle", "--trust", "trust"],
    ] {
        let (ok, said) = bleu(folder, arguments);
        assert!(ok, "{arguments:?}: {said}");
        if arguments[0] == "verify" {
            return said;
        }
    }
    unreachable!("the last one is verify")
}

/// Writers that go on whatever they are told, and remember what was acknowledged.
struct Load {
    acknowledged: Arc<std::sync::Mutex<Vec<usize>>>,
    refused: Arc<std::sync::Mutex<std::collections::BTreeMap<(u16, String), usize>>>,
    stop: Arc<AtomicBool>,
    tasks: Vec<tokio::task::JoinHandle<()>>,
}

impl Load {
    fn start(http: &Http, base: &str, key: &Arc<Vec<u8>>, next: &Arc<AtomicUsize>) -> Load {
        let mut load = Load { acknowledged: Arc::default(), refused: Arc::default(), stop: Arc::default(), tasks: Vec::new() };
        for _ in 0..WRITERS {
            let (http, base, key, next) = (http.clone(), base.to_owned(), key.clone(), next.clone());
            let (acknowledged, refused, stop) = (load.acknowledged.clone(), load.refused.clone(), load.stop.clone());
            load.tasks.push(tokio::spawn(async move {
                while !stop.load(Ordering::Relaxed) {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    match put(&http, &base, &key, number).await {
                        (201, _) => acknowledged.lock().unwrap().push(number),
                        (status, body) => {
                            let code = String::from_utf8_lossy(&body);
                            let code = code.split("<Code>").nth(1).and_then(|rest| rest.split('<').next()).unwrap_or_default().to_owned();
                            *refused.lock().unwrap().entry((status, code)).or_default() += 1;
                            tokio::time::sleep(Duration::from_millis(20)).await;
                        }
                    }
                }
            }));
        }
        load
    }
    fn done(&self) -> usize {
        self.acknowledged.lock().unwrap().len()
    }
    async fn until(&self, done: usize, what: &str) {
        let begun = Instant::now();
        while self.done() < done {
            assert!(begun.elapsed() < Duration::from_secs(BACK_SECONDS_MAX), "{what}: {:?}", self.refused.lock().unwrap());
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
    async fn until_refused(&self) {
        let begun = Instant::now();
        while self.refused.lock().unwrap().is_empty() {
            assert!(begun.elapsed() < Duration::from_secs(BACK_SECONDS_MAX), "nobody is refused without a database");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
    async fn stop(self) -> Vec<usize> {
        self.stop.store(true, Ordering::Relaxed);
        for task in self.tasks {
            task.await.unwrap();
        }
        let refused = self.refused.lock().unwrap();
        assert!(refused.iter().all(|((status, code), _)| *status == 503 && !code.is_empty()), "a clear refusal: {refused:?}");
        self.acknowledged.lock().unwrap().clone()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_region_lives_in_a_database() {
    let (cluster, folder) = (Cluster::make(), tempfile::tempdir().unwrap());
    let url = cluster.url("postgres");
    let region = Region::start_with(folder.path(), &["--engine", &url]);
    let (base, ca) = (region.url(), folder.path().join("data/ca.pem"));
    let http = Http::new(&ca);
    let key = Arc::new(account(&http, &base, folder.path(), &region.subscription()).await);
    let mut writers = Vec::new();
    for writer in 0..WRITERS {
        let (http, base, key) = (http.clone(), base.clone(), key.clone());
        writers.push(tokio::spawn(async move {
            for number in (writer..PUTS).step_by(WRITERS) {
                let (status, body) = put(&http, &base, &key, number).await;
                assert_eq!(status, 201, "{body:?}");
            }
        }));
    }
    for writer in writers {
        writer.await.unwrap();
    }
    region.kill();
    // rows are in the database, and nowhere else
    assert!(!folder.path().join("data/store").exists());
    assert!(cluster.psql("postgres", "SELECT count(*) FROM kv").parse::<usize>().unwrap() > PUTS);

    // the engine is remembered
    let region = Region::start(folder.path());
    let (base, http) = (region.url(), Http::new(&ca));
    all_there(&http, &base, &key, 0..PUTS).await;
    let said = verified(folder.path());
    assert!(said.contains(&format!("Put Blob, account key key1: done {PUTS}")), "{said}");
    assert!(said.starts_with("TRUE"), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_region_outlives_the_deaths_of_its_database() {
    let (cluster, folder) = (Arc::new(Cluster::make()), tempfile::tempdir().unwrap());
    let region = Region::start_with(folder.path(), &["--engine", &cluster.url("postgres")]);
    let (base, http) = (region.url(), Http::new(&folder.path().join("data/ca.pem")));
    let key = Arc::new(account(&http, &base, folder.path(), &region.subscription()).await);
    let next = Arc::new(AtomicUsize::new(0));
    let mut all = Vec::new();
    // told to stop, at once, and with no word at all
    for signal in ["INT", "QUIT", "KILL"] {
        let load = Load::start(&http, &base, &key, &next);
        load.until(ROUND, "before").await;
        let dying = cluster.clone();
        tokio::task::spawn_blocking(move || dying.signal(signal)).await.unwrap();
        load.until_refused().await;
        let rising = cluster.clone();
        tokio::task::spawn_blocking(move || rising.start()).await.unwrap();
        load.until(load.done() + ROUND, "after").await;
        all.extend(load.stop().await);
        all_there(&http, &base, &key, all.iter().copied()).await;
        assert!(verified(folder.path()).starts_with("TRUE"));
    }
    // the same once more for what only a start does: the sweep of what was left open
    region.kill();
    let region = Region::start(folder.path());
    let (base, http) = (region.url(), Http::new(&folder.path().join("data/ca.pem")));
    all_there(&http, &base, &key, all.iter().copied()).await;
    assert!(verified(folder.path()).starts_with("TRUE"));
}
