//! PostgreSQL over its wire: one table, one statement a transaction.
//!
//! The statement locks the fence row first, so that a committer of a later epoch makes it change nothing, and inserts
//! fresh rows plainly, so that a row of a writer unknown to us is a unique violation. Nothing here is beyond what other
//! databases of this wire offer. Connections live on a runtime of their own: the committer is no async code, and
//! callers come and go with their runtimes.
//!
//! The server ends a statement that takes too long. A server that is frozen ends nothing, and its kernel goes on saying
//! that the line is good: so we wait a little longer than it would, and then the connection counts as lost.

use super::postgres_way::Way;
use super::{ApplyError, Batch, Engine, Rows, Span, collect};
use base::{Error, Fut, Kind, Result};
use bytes::Bytes;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::runtime::Runtime;
use tokio_postgres::error::SqlState;
use tokio_postgres::types::ToSql;
use tokio_postgres::{Client, Statement};

const SCHEMA: &str = "CREATE TABLE IF NOT EXISTS kv (k bytea PRIMARY KEY, v bytea NOT NULL)";
/// An acknowledged commit is on the disk of the primary, and of its synchronous standbys where there are any.
const SESSION: &str = "SET synchronous_commit = on; SET statement_timeout = '30s'";
/// For one statement: the server's own limit, and a moment more for its answer.
const STATEMENT_MAX: Duration = Duration::from_secs(35);
/// Every statement here finds its rows by key, yet a plan made while the table was small may walk it, and stays. A
/// database without these settings plans as it likes.
const HINTS: [&str; 2] = ["SET enable_seqscan = off", "SET jit = off"];
const GET: &str = "SELECT v FROM kv WHERE k = $1";
const GET_MANY: &str = "SELECT k, v FROM kv WHERE k = ANY($1::bytea[])";
const SCAN: &str = "SELECT k, v FROM kv WHERE k >= $1 AND k < $2 ORDER BY k LIMIT $3";
const SCAN_REVERSE: &str = "SELECT k, v FROM kv WHERE k >= $1 AND k < $2 ORDER BY k DESC LIMIT $3";
const INSERT: &str = "INSERT INTO kv (k, v) SELECT * FROM unnest($1::bytea[], $2::bytea[])";
const APPLY: &str = "\
WITH fence AS MATERIALIZED (SELECT 1 FROM kv WHERE k = $1 AND v = $2 FOR UPDATE),
gone AS (DELETE FROM kv WHERE k = ANY($3::bytea[]) AND EXISTS (SELECT 1 FROM fence)),
fresh AS (INSERT INTO kv (k, v) SELECT f.k, f.v FROM unnest($4::bytea[], $5::bytea[]) AS f (k, v) WHERE EXISTS (SELECT 1 FROM fence)),
put AS (INSERT INTO kv (k, v) SELECT p.k, p.v FROM unnest($6::bytea[], $7::bytea[]) AS p (k, v) WHERE EXISTS (SELECT 1 FROM fence)
        ON CONFLICT (k) DO UPDATE SET v = excluded.v)
SELECT count(*) FROM fence";

/// The first connection writes, the others read.
const LINKS: usize = 4;

pub(crate) struct Postgres {
    way: Way,
    /// Taken at drop: a runtime may not be dropped by a task of another.
    runtime: Option<Runtime>,
    links: [Mutex<Option<Arc<Link>>>; LINKS],
    /// Of the links that may be used: one more after each that was lost while writing.
    term: AtomicUsize,
    next_reader: AtomicUsize,
    /// [`STATEMENT_MAX`]; less in a test.
    statement_max: Duration,
}

/// One connection and its prepared statements.
struct Link {
    client: Client,
    term: usize,
    get: Statement,
    get_many: Statement,
    scan: Statement,
    scan_reverse: Statement,
    insert: Statement,
    apply: Statement,
}

impl Link {
    async fn open(way: Way, term: usize) -> Result<Link, tokio_postgres::Error> {
        let client = way.connect().await?;
        client.batch_execute(SESSION).await?;
        for hint in HINTS {
            match client.batch_execute(hint).await {
                Err(error) if client.is_closed() => return Err(error),
                _ => {}
            }
        }
        Ok(Link {
            get: client.prepare(GET).await?,
            get_many: client.prepare(GET_MANY).await?,
            scan: client.prepare(SCAN).await?,
            scan_reverse: client.prepare(SCAN_REVERSE).await?,
            insert: client.prepare(INSERT).await?,
            apply: client.prepare(APPLY).await?,
            client,
            term,
        })
    }
}

/// Why a statement has no result.
enum Failed {
    Database(tokio_postgres::Error),
    /// No answer, for longer than the server itself lets a statement take.
    Silent,
}

impl std::fmt::Display for Failed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Failed::Database(error) => error.fmt(f),
            Failed::Silent => f.write_str("the database does not answer"),
        }
    }
}

impl Postgres {
    pub(crate) async fn open(connect: &str) -> Result<Postgres> {
        Postgres::open_patient(connect, STATEMENT_MAX).await
    }

    async fn open_patient(connect: &str, statement_max: Duration) -> Result<Postgres> {
        let way = Way::parse(connect)?;
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .thread_name("postgres")
            .enable_all()
            .build()
            .map_err(Error::internal)?;
        let made = way.clone();
        let schema = async move {
            let client = made.connect().await?;
            match client.batch_execute(SCHEMA).await {
                // two processes may make the table at once; the one that lost finds it there
                Err(e) if e.code() == Some(&SqlState::UNIQUE_VIOLATION) => client.batch_execute(SCHEMA).await,
                outcome => outcome,
            }
        };
        let postgres = Postgres {
            way,
            runtime: Some(runtime),
            links: Default::default(),
            term: AtomicUsize::new(0),
            next_reader: AtomicUsize::new(0),
            statement_max,
        };
        postgres.there(schema).await?;
        Ok(postgres)
    }

    /// What connects, on our runtime and not for ever.
    async fn there<T, F>(&self, connecting: F) -> Result<T>
    where
        T: Send + 'static,
        F: Future<Output = Result<T, tokio_postgres::Error>> + Send + 'static,
    {
        let runtime = self.runtime.as_ref().ok_or_else(|| Error::internal("the store is closed"))?;
        let statement_max = self.statement_max;
        let connected = runtime.spawn(async move { tokio::time::timeout(statement_max, connecting).await });
        match connected.await.map_err(Error::internal)? {
            Ok(Ok(there)) => Ok(there),
            Ok(Err(error)) => Err(unavailable(Failed::Database(error))),
            Err(_) => Err(unavailable(Failed::Silent)),
        }
    }

    /// The result of a statement on a link, waited for a little longer than the server lets it take. The clock is our
    /// runtime's: whoever waits may have none.
    async fn answer<T>(&self, at: &Link, asked: impl Future<Output = Result<T, tokio_postgres::Error>>) -> Result<T, Failed> {
        let timed = {
            let _clock = self.runtime.as_ref().map(Runtime::enter);
            tokio::time::timeout(self.statement_max, asked)
        };
        match timed.await {
            Ok(answer) => answer.map_err(Failed::Database),
            Err(_) => {
                self.drop_link(at);
                Err(Failed::Silent)
            }
        }
    }

    /// No statement begins on this link any more.
    fn drop_link(&self, gone: &Link) {
        for link in &self.links {
            let mut link = link.lock().unwrap_or_else(PoisonError::into_inner);
            if link.as_deref().is_some_and(|link| std::ptr::eq(link, gone)) {
                link.take();
            }
        }
    }

    /// Another connection may lead to another primary, and what happened is for that one to say: a reader that is still
    /// on the old one may show a commit that the new one lacks.
    fn drop_links(&self) {
        self.term.fetch_add(1, Ordering::SeqCst);
        for link in &self.links {
            link.lock().unwrap_or_else(PoisonError::into_inner).take();
        }
    }

    /// Link number `at`, connected anew when its connection ended.
    async fn link(&self, at: usize) -> Result<Arc<Link>> {
        let term = self.term.load(Ordering::SeqCst);
        let current = self.links[at].lock().unwrap_or_else(PoisonError::into_inner).clone();
        // one that was being opened when others were lost is of a term before
        if let Some(link) = current.filter(|link| link.term >= term && !link.client.is_closed()) {
            return Ok(link);
        }
        let link = Arc::new(self.there(Link::open(self.way.clone(), term)).await?);
        *self.links[at].lock().unwrap_or_else(PoisonError::into_inner) = Some(link.clone());
        Ok(link)
    }

    async fn reader(&self) -> Result<Arc<Link>> {
        let turn = self.next_reader.fetch_add(1, Ordering::Relaxed);
        self.link(1 + turn % (LINKS - 1)).await
    }

    async fn write(&self, batch: &Batch) -> Result<(), ApplyError> {
        let lost = |why: String| {
            self.drop_links();
            ApplyError::Lost(why)
        };
        let link = self.link(0).await.map_err(|e| lost(e.to_string()))?;
        let (fence_key, fence) = &batch.fence;
        let (fresh_keys, fresh_values) = columns(&batch.fresh);
        let written = match fence {
            None => {
                let inserted: &[&(dyn ToSql + Sync)] = &[&fresh_keys, &fresh_values];
                self.answer(&link, link.client.execute(&link.insert, inserted)).await.map(|_| true)
            }
            Some(fence) => {
                let (put_keys, put_values) = columns(&batch.puts);
                let deletes: Vec<&[u8]> = batch.deletes.iter().map(Vec::as_slice).collect();
                let fence = &fence[..];
                let applied: &[&(dyn ToSql + Sync)] = &[fence_key, &fence, &deletes, &fresh_keys, &fresh_values, &put_keys, &put_values];
                self.answer(&link, link.client.query_one(&link.apply, applied)).await.map(|row| row.get::<_, i64>(0) == 1)
            }
        };
        match written {
            Ok(true) => Ok(()),
            Ok(false) => Err(ApplyError::Fenced),
            Err(Failed::Database(error)) if error.code() == Some(&SqlState::UNIQUE_VIOLATION) => Err(ApplyError::Exists),
            Err(Failed::Database(error)) if error.code() == Some(&SqlState::DISK_FULL) => Err(ApplyError::Full),
            Err(failed) => Err(lost(failed.to_string())),
        }
    }
}

fn columns(rows: &[(Vec<u8>, Bytes)]) -> (Vec<&[u8]>, Vec<&[u8]>) {
    rows.iter().map(|(key, value)| (&key[..], &value[..])).unzip()
}

fn unavailable(failed: Failed) -> Error {
    let error = Error::new(Kind::Unavailable, "StoreUnavailable", "The region's database is not available now. Try again.");
    match failed {
        Failed::Database(cause) => error.because(cause),
        Failed::Silent => error.because(failed.to_string()),
    }
}

impl Engine for Postgres {
    fn get<'a>(&'a self, key: &'a [u8]) -> Fut<'a, Result<Option<Bytes>>> {
        Box::pin(async move {
            let link = self.reader().await?;
            let wanted: &[&(dyn ToSql + Sync)] = &[&key];
            let row = self.answer(&link, link.client.query_opt(&link.get, wanted)).await.map_err(unavailable)?;
            Ok(row.map(|row| Bytes::copy_from_slice(row.get(0))))
        })
    }

    fn get_many<'a>(&'a self, keys: &'a [Vec<u8>]) -> Fut<'a, Result<Vec<Option<Bytes>>>> {
        Box::pin(async move {
            let link = self.link(0).await?;
            let wanted: &[&(dyn ToSql + Sync)] = &[&keys];
            let rows = self.answer(&link, link.client.query(&link.get_many, wanted)).await.map_err(unavailable)?;
            let found: std::collections::HashMap<&[u8], &[u8]> = rows.iter().map(|row| (row.get(0), row.get(1))).collect();
            Ok(keys.iter().map(|key| found.get(&key[..]).map(|value| Bytes::copy_from_slice(value))).collect())
        })
    }

    fn scan(&self, span: Span) -> Fut<'_, Result<Rows>> {
        Box::pin(async move {
            let link = self.reader().await?;
            let end = span.end.clone().unwrap_or_else(|| vec![0xFF]);
            let statement = if span.reverse { &link.scan_reverse } else { &link.scan };
            // one more than asked for, to know whether there is a next one
            let limit = span.rows as i64 + 1;
            let wanted: &[&(dyn ToSql + Sync)] = &[&span.start, &end, &limit];
            let rows = self.answer(&link, link.client.query(statement, wanted)).await.map_err(unavailable)?;
            collect(&span, rows.iter().map(|row| Ok((row.get(0), Bytes::copy_from_slice(row.get(1))))))
        })
    }

    fn apply(&self, batch: Batch) -> Fut<'_, Result<(), ApplyError>> {
        Box::pin(async move { self.write(&batch).await })
    }

    fn close(&self) -> Fut<'_, Result<()>> {
        for link in &self.links {
            link.lock().unwrap_or_else(PoisonError::into_inner).take();
        }
        Box::pin(std::future::ready(Ok(())))
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

#[cfg(test)]
#[path = "../../tests/suite/cluster.rs"]
mod cluster;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kv::{Commit, Kv, Op, key};
    use crate::store::Store;
    use base::Shard;
    use futures::executor::block_on;

    const STATEMENT_MAX: Duration = Duration::from_secs(2);
    /// The server processes of our links. Frozen, they keep their lines, and new connections are taken all the same.
    const OURS: &str = "SELECT string_agg(pid::text, ' ') FROM pg_stat_activity WHERE application_name = 'bleu'";

    fn signal(name: &str, processes: &str) {
        let sent = std::process::Command::new("kill").arg(format!("-{name}")).args(processes.split(' ')).status();
        assert!(sent.unwrap().success());
    }

    fn put(idem: u128) -> Commit {
        let ops = vec![Op::Put(key(Shard(0), &[b"x"]), Bytes::copy_from_slice(&idem.to_be_bytes()))];
        Commit { shard: Shard(0), idem, checks: Vec::new(), ops }
    }

    #[test]
    fn a_frozen_database_is_lost_not_waited_for() {
        let cluster = cluster::Cluster::make();
        let engine = Arc::new(block_on(Postgres::open_patient(&cluster.connect("postgres"), STATEMENT_MAX)).unwrap());
        let kv = Store::new(engine.clone());
        block_on(kv.commit(put(1))).unwrap();
        // all readers are there
        for _ in 0..LINKS {
            block_on(kv.get(&key(Shard(0), &[b"x"]))).unwrap();
        }
        let frozen = cluster.psql("postgres", OURS);
        assert_eq!(frozen.split(' ').count(), LINKS, "{frozen}");
        signal("STOP", &frozen);
        let committed = block_on(kv.commit(put(2)));
        let after = cluster.psql("postgres", OURS);
        signal("CONT", &frozen);
        assert!(committed.is_ok(), "{committed:?}");
        assert_ne!(after, frozen, "it is asked on other connections");
        assert_eq!(block_on(kv.get(&key(Shard(0), &[b"x"]))).unwrap().unwrap().1[..], 2u128.to_be_bytes());
    }

    #[test]
    fn no_link_outlives_the_one_that_was_lost_while_writing() {
        let cluster = cluster::Cluster::make();
        let engine = Arc::new(block_on(Postgres::open_patient(&cluster.connect("postgres"), STATEMENT_MAX)).unwrap());
        for at in 0..LINKS {
            block_on(engine.link(at)).unwrap();
        }
        let opened_before = engine.links[0].lock().unwrap().clone();
        let writer = block_on(engine.link(0)).unwrap();
        let pid: i32 = block_on(writer.client.query_one("SELECT pg_backend_pid()", &[])).unwrap().get(0);
        signal("STOP", &pid.to_string());
        let batch = Batch { fence: (vec![1], None), fresh: vec![(vec![1], Bytes::new())], puts: vec![], deletes: vec![] };
        let lost = block_on(engine.apply(batch));
        signal("CONT", &pid.to_string());
        assert!(matches!(lost, Err(ApplyError::Lost(_))), "{lost:?}");
        assert!(engine.links.iter().all(|link| link.lock().unwrap().is_none()));
        // nor one that was being opened at that moment
        *engine.links[1].lock().unwrap() = opened_before.clone();
        assert!(!Arc::ptr_eq(&block_on(engine.link(1)).unwrap(), &opened_before.unwrap()));
    }

    #[test]
    fn a_database_that_never_says_a_word_is_not_waited_for() {
        let folder = tempfile::Builder::new().prefix("store-silent-").tempdir_in("/tmp").unwrap();
        let _silent = std::os::unix::net::UnixListener::bind(folder.path().join(".s.PGSQL.5432")).unwrap();
        let connect = format!("host={} user=bleu", folder.path().display());
        let opened = block_on(Postgres::open_patient(&connect, Duration::from_millis(200)));
        assert_eq!(opened.err().map(|e| e.code), Some("StoreUnavailable".into()));
    }
}
