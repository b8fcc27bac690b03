//! A store: an engine, and the committers of the shards that are written through it.

use crate::committer::{self, Answer, QUEUE_MAX, Request, Stopped};
use crate::disk::Disk;
use crate::engine::{Engine, Fjall, Memory, Postgres, Redb, Span};
use crate::kv::{
    COMMIT_BYTES_MAX, COMMIT_OPS_MAX, Commit, CommitError, Committed, Head, KEY_BYTES_MAX, KeyRange, Kv, Op, PAGE_BYTES_MAX, PAGE_ROWS_MAX,
    Page, Row, VALUE_BYTES_MAX, Version,
};
use crate::row;
use base::{Error, Fut, Result, Shard};
use bytes::Bytes;
use std::collections::HashMap;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use tokio::sync::{mpsc, oneshot, watch};

/// Opens the store of production in a folder of its own, creating it if absent. Errors: `StoreInUse` (kind
/// Unavailable) while another process has it open; Internal.
pub fn open_fjall(folder: impl AsRef<Path>) -> Result<Arc<Store>> {
    Ok(Store::new(Arc::new(Fjall::open(folder.as_ref())?)))
}

/// Opens the second embedded engine: one file in a folder. Errors as [`open_fjall`].
pub fn open_redb(folder: impl AsRef<Path>) -> Result<Arc<Store>> {
    Ok(Store::new(Arc::new(Redb::open(folder.as_ref())?)))
}

/// The second embedded engine on a [`Disk`], which may be a simulated one.
pub fn open_redb_on(disk: Arc<dyn Disk>) -> Result<Arc<Store>> {
    Ok(Store::new(Arc::new(Redb::open_on(disk)?)))
}

/// A store that forgets everything: the model the others are tested against.
pub fn open_memory() -> Result<Arc<Store>> {
    Ok(Store::new(Arc::new(Memory::default())))
}

/// Rows in the table `kv` of a PostgreSQL database, made if absent. `connect` is a libpq URL or connection string; what
/// leaves this machine is encrypted (`sslmode=verify-full&sslrootcert=FILE`) or said not to be (`sslmode=disable`).
/// Errors: `InvalidConnectionString` or `ConnectionNotProtected` (kind Invalid); `StoreUnavailable` (kind
/// Unavailable), no database there.
pub async fn open_postgres(connect: &str) -> Result<Arc<Store>> {
    Ok(Store::new(Arc::new(Postgres::open(connect).await?)))
}

/// Whether a URL of a database can be used at all: what [`open_postgres`] finds before it connects. Errors as there.
pub fn check_postgres(connect: &str) -> Result<()> {
    crate::engine::check_postgres(connect)
}

/// Every engine behind [`Kv`]. Dropping it finishes the commits that wait; [`Kv::close`] does so and says how it went.
pub struct Store {
    engine: Arc<dyn Engine>,
    committers: Mutex<Committers>,
    /// Why a committer of this store stopped for good.
    stopped: watch::Sender<Option<Stopped>>,
}

#[derive(Default)]
struct Committers {
    closed: bool,
    running: HashMap<Shard, (mpsc::Sender<Request>, JoinHandle<()>)>,
}

impl Store {
    pub(crate) fn new(engine: Arc<dyn Engine>) -> Arc<Store> {
        Arc::new(Store { engine, committers: Mutex::default(), stopped: watch::Sender::new(None) })
    }

    /// Another store over the same engine. Its committers fence this one's, shard by shard, as they start: this is how
    /// a new process takes over from one that may still be alive.
    pub fn rival(&self) -> Arc<Store> {
        Store::new(self.engine.clone())
    }

    /// Returns once a committer has stopped for good: another process has taken over its shard, or its engine is broken.
    /// Nothing that this process does there can become durable any more, so it should end, and start anew if it was alone.
    pub async fn stopped(&self) -> Stopped {
        let mut stopped = self.stopped.subscribe();
        match stopped.wait_for(Option::is_some).await.map(|how| how.clone()) {
            Ok(Some(how)) => how,
            // the sender is our own field: it can't be gone while we are here
            _ => std::future::pending().await,
        }
    }

    /// The committer of a shard, started at its first use.
    fn committer(&self, shard: Shard) -> Result<mpsc::Sender<Request>, CommitError> {
        let mut committers = self.committers.lock().unwrap_or_else(PoisonError::into_inner);
        if committers.closed {
            return Err(CommitError::Unavailable("the store is closed".to_owned()));
        }
        if let Some((sender, _)) = committers.running.get(&shard) {
            return Ok(sender.clone());
        }
        let (sender, requests) = mpsc::channel(QUEUE_MAX);
        let (engine, stopped) = (self.engine.clone(), self.stopped.clone());
        let thread = std::thread::Builder::new()
            .name(format!("commit-{}", shard.0))
            .spawn(move || {
                let running = AssertUnwindSafe(|| committer::run(engine, shard, requests, &stopped));
                if let Err(panic) = catch_unwind(running) {
                    stopped.send_replace(Some(Stopped::Broken("the committer panicked".to_owned())));
                    // whoever joins it hears of it, too
                    resume_unwind(panic);
                }
            })
            .map_err(|e| CommitError::Unavailable(e.to_string()))?;
        committers.running.insert(shard, (sender.clone(), thread));
        Ok(sender)
    }

    /// Sends a request and waits for its answer. `lost`: what it means when the committer dies in between.
    async fn ask<T>(
        &self,
        shard: Shard,
        request: impl FnOnce(oneshot::Sender<Result<T, CommitError>>) -> Request,
        lost: CommitError,
    ) -> Result<T, CommitError> {
        let (reply, answer) = oneshot::channel();
        let committer = self.committer(shard)?;
        if committer.send(request(reply)).await.is_err() {
            return Err(CommitError::Unavailable("the committer is gone".to_owned()));
        }
        answer.await.unwrap_or(Err(lost))
    }

    async fn read(&self, key: &[u8]) -> Result<Option<(Version, Bytes)>> {
        let engine_key = row::user_key(key);
        match self.engine.get(&engine_key).await? {
            Some(stored) => row::decode(&engine_key, &stored).map(Some),
            None => Ok(None),
        }
    }

    async fn read_page(&self, range: KeyRange, limit: usize, reverse: bool) -> Result<Page> {
        let rows = limit.min(PAGE_ROWS_MAX);
        if range.is_empty() || rows == 0 {
            return Ok(Page::default());
        }
        let start = row::user_key(&range.start);
        let end = match &range.end {
            Some(end) => Some(row::user_key(end)),
            None => Some(vec![2]),
        };
        let (found, next) = self.engine.scan(Span { start, end, rows, bytes: PAGE_BYTES_MAX, reverse }).await?;
        let mut page = Page { rows: Vec::with_capacity(found.len()), next: next.map(|key| key[1..].to_vec()) };
        for (engine_key, stored) in found {
            let (version, value) = row::decode(&engine_key, &stored)?;
            page.rows.push(Row { key: engine_key[1..].to_vec(), version, value });
        }
        Ok(page)
    }

    fn stop(&self) -> Vec<JoinHandle<()>> {
        let mut committers = self.committers.lock().unwrap_or_else(PoisonError::into_inner);
        committers.closed = true;
        committers.running.drain().map(|(_, (_, thread))| thread).collect()
    }
}

/// Error: what the caller must change. Checked before the committer is asked.
fn within_limits(commit: &Commit) -> Result<(), CommitError> {
    let refuse = |why: String| Err(CommitError::Limit(why));
    if commit.checks.len() > COMMIT_OPS_MAX || commit.ops.len() > COMMIT_OPS_MAX {
        return refuse(format!("more than {COMMIT_OPS_MAX} checks or ops"));
    }
    let mut bytes = 0;
    let prefix = commit.shard.0.to_be_bytes();
    let keys = commit.checks.iter().filter_map(|check| Some((check.key()?, 0))).chain(commit.ops.iter().map(|op| {
        let number_bytes = if matches!(op, Op::Append { .. }) { 8 } else { 0 };
        (op.key(), number_bytes)
    }));
    for (key, number_bytes) in keys {
        if key.len() + number_bytes > KEY_BYTES_MAX {
            return refuse(format!("a key is longer than {KEY_BYTES_MAX} bytes"));
        }
        if !key.starts_with(&prefix) {
            return refuse(format!("a key does not begin with its shard, {}", commit.shard.0));
        }
        bytes += key.len();
    }
    for op in &commit.ops {
        if op.value_bytes() > VALUE_BYTES_MAX {
            return refuse(format!("a value is longer than {VALUE_BYTES_MAX} bytes"));
        }
        bytes += op.value_bytes();
    }
    if bytes > COMMIT_BYTES_MAX {
        return refuse(format!("more than {COMMIT_BYTES_MAX} bytes"));
    }
    Ok(())
}

impl Kv for Store {
    fn get<'a>(&'a self, key: &'a [u8]) -> Fut<'a, Result<Option<(Version, Bytes)>>> {
        Box::pin(self.read(key))
    }

    fn scan<'a>(&'a self, range: KeyRange, limit: usize, reverse: bool) -> Fut<'a, Result<Page>> {
        Box::pin(self.read_page(range, limit, reverse))
    }

    fn commit(&self, commit: Commit) -> Fut<'_, Answer> {
        Box::pin(async move {
            within_limits(&commit)?;
            self.ask(commit.shard, |reply| Request::Commit(commit, reply), CommitError::Unknown).await
        })
    }

    fn resolve(&self, shard: Shard, idem: u128) -> Fut<'_, Result<Option<Committed>, CommitError>> {
        Box::pin(self.ask(shard, move |reply| Request::Resolve(idem, reply), gone()))
    }

    fn head(&self, shard: Shard) -> Fut<'_, Result<Head, CommitError>> {
        Box::pin(self.ask(shard, Request::Head, gone()))
    }

    fn free_bytes(&self) -> Option<u64> {
        self.engine.free_bytes()
    }

    fn close(&self) -> Fut<'_, Result<()>> {
        Box::pin(async move {
            let threads = self.stop();
            let (done, joined) = oneshot::channel();
            // joining blocks, and the caller may be the runtime's only thread
            std::thread::spawn(move || {
                let clean = threads.into_iter().all(|thread| thread.join().is_ok());
                let _ = done.send(clean);
            });
            if !joined.await.unwrap_or(false) {
                return Err(Error::internal("a committer panicked"));
            }
            self.engine.close().await
        })
    }
}

fn gone() -> CommitError {
    CommitError::Unavailable("the committer is gone".to_owned())
}

impl Drop for Store {
    fn drop(&mut self) {
        for thread in self.stop() {
            // a committer that panicked has answered nobody: its callers know
            let _ = thread.join();
        }
    }
}
