//! Writers that go on whatever happens to the region, and what they were told.

use crate::process::{Http, Region, account, bleu, try_blob};
use bytes::Bytes;
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

pub const WRITERS: usize = 8;
/// Whatever went away is back within this time after its return.
pub const BACK_SECONDS_MAX: u64 = 30;
/// Acknowledged before a kill.
const BEFORE_KILL: usize = 60;

pub fn bytes_of(number: usize) -> Bytes {
    // some travel inline, some in chunks
    let length = if number.is_multiple_of(5) { 20_000 } else { 4_096 };
    (0..length).map(|i| (i * 7 + number * 13) as u8).collect::<Vec<u8>>().into()
}

/// Error: the connection ended instead of an answer.
pub async fn put(http: &Http, base: &str, key: &[u8], number: usize) -> Result<(u16, Bytes), String> {
    try_blob(http, base, "PUT", &format!("photos/blob-{number}"), key, bytes_of(number), "").await
}

pub async fn all_there(http: &Http, base: &str, key: &[u8], numbers: impl IntoIterator<Item = usize>) {
    let mut wrong = Vec::new();
    for number in numbers {
        let (status, body) = try_blob(http, base, "GET", &format!("photos/blob-{number}"), key, Bytes::new(), "").await.unwrap();
        if status != 200 || body != bytes_of(number) {
            wrong.push((number, status));
        }
    }
    assert!(wrong.is_empty(), "acknowledged and not there: {wrong:?}");
}

/// Exports the record, verifies it, and gives what was said about it.
pub fn verified(folder: &Path) -> String {
    for arguments in
        [&["record", "export", "--data", "data", "--out", "bundle"][..], &["record", "trust", "--data", "data", "--out", "trust"]]
    {
        let (ok, said) = bleu(folder, arguments);
        assert!(ok, "{arguments:?}: {said}");
    }
    let (ok, said) = bleu(folder, &["verify", "bundle", "--trust", "trust"]);
    assert!(ok && said.starts_with("TRUE"), "{said}");
    said
}

pub struct Load {
    acknowledged: Arc<Mutex<Vec<usize>>>,
    /// By status and code; status 0: no answer.
    refused: Arc<Mutex<BTreeMap<(u16, String), usize>>>,
    stop: Arc<AtomicBool>,
    tasks: Vec<tokio::task::JoinHandle<()>>,
}

impl Load {
    pub fn start(http: &Http, base: &str, key: &Arc<Vec<u8>>, next: &Arc<AtomicUsize>) -> Load {
        let mut load = Load { acknowledged: Arc::default(), refused: Arc::default(), stop: Arc::default(), tasks: Vec::new() };
        for _ in 0..WRITERS {
            let (http, base, key, next) = (http.clone(), base.to_owned(), key.clone(), next.clone());
            let (acknowledged, refused, stop) = (load.acknowledged.clone(), load.refused.clone(), load.stop.clone());
            load.tasks.push(tokio::spawn(async move {
                while !stop.load(Ordering::Relaxed) {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    let told = match put(&http, &base, &key, number).await {
                        Ok((201, _)) => {
                            acknowledged.lock().unwrap().push(number);
                            continue;
                        }
                        Ok((status, body)) => (status, code_of(&body)),
                        Err(_) => (0, String::new()),
                    };
                    *refused.lock().unwrap().entry(told).or_default() += 1;
                    tokio::time::sleep(Duration::from_millis(20)).await;
                }
            }));
        }
        load
    }
    pub fn done(&self) -> usize {
        self.acknowledged.lock().unwrap().len()
    }
    pub async fn until(&self, done: usize, what: &str) {
        let begun = Instant::now();
        while self.done() < done {
            assert!(begun.elapsed() < Duration::from_secs(BACK_SECONDS_MAX), "{what}: {:?}", self.refused.lock().unwrap());
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
    pub async fn until_refused(&self) {
        let begun = Instant::now();
        while self.refused.lock().unwrap().is_empty() {
            assert!(begun.elapsed() < Duration::from_secs(BACK_SECONDS_MAX), "nobody is refused");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
    /// What was acknowledged, and what was said instead.
    pub async fn stop(self) -> (Vec<usize>, BTreeMap<(u16, String), usize>) {
        self.stop.store(true, Ordering::Relaxed);
        for task in self.tasks {
            task.await.unwrap();
        }
        (std::mem::take(&mut self.acknowledged.lock().unwrap()), std::mem::take(&mut self.refused.lock().unwrap()))
    }
}

/// The code of an error in storage's dialect.
fn code_of(body: &[u8]) -> String {
    let text = String::from_utf8_lossy(body);
    text.split("<Code>").nth(1).and_then(|rest| rest.split('<').next()).unwrap_or_default().to_owned()
}

/// SIGKILL in the middle of writes, as often as asked: what was acknowledged is there and right after each restart, and the
/// record is true.
pub async fn killed_under_load(options: &[&str], rounds: usize) {
    let folder = tempfile::tempdir().unwrap();
    let mut region = Region::start_with(folder.path(), options);
    let ca = folder.path().join("data/ca.pem");
    let key = account(&Http::new(&ca), &region.url(), folder.path(), &region.subscription()).await;
    let (key, next, mut all) = (Arc::new(key), Arc::new(AtomicUsize::new(0)), Vec::new());
    for round in 1..=rounds {
        let load = Load::start(&Http::new(&ca), &region.url(), &key, &next);
        load.until(BEFORE_KILL + round * 7, "before the kill").await;
        region.kill();
        let (acknowledged, refused) = load.stop().await;
        assert!(refused.keys().all(|(status, _)| *status == 0), "round {round}: refused before the kill: {refused:?}");
        all.extend(acknowledged);
        region = Region::start_with(folder.path(), options);
        all_there(&Http::new(&ca), &region.url(), &key, all.iter().copied()).await;
        verified(folder.path());
    }
}
