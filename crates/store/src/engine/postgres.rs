//! PostgreSQL over its wire: one table, one statement a transaction.
//!
//! The statement locks the fence row first, so that a committer of a later epoch makes it change nothing, and inserts
//! fresh rows plainly, so that a row of a writer unknown to us is a unique violation. Nothing here is beyond what other
//! databases of this wire offer. Connections live on a runtime of their own: the committer is no async code, and
//! callers come and go with their runtimes.

use super::postgres_way::Way;
use super::{ApplyError, Batch, Engine, Rows, Span, collect};
use base::{Error, Fut, Kind, Result};
use bytes::Bytes;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use tokio::runtime::Runtime;
use tokio_postgres::error::SqlState;
use tokio_postgres::{Client, Statement};

const SCHEMA: &str = "CREATE TABLE IF NOT EXISTS kv (k bytea PRIMARY KEY, v bytea NOT NULL)";
/// An acknowledged commit is on the disk of the primary, and of its synchronous standbys where there are any.
const SESSION: &str = "SET synchronous_commit = on; SET statement_timeout = '30s'";
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
    next_reader: AtomicUsize,
}

/// One connection and its prepared statements.
struct Link {
    client: Client,
    get: Statement,
    get_many: Statement,
    scan: Statement,
    scan_reverse: Statement,
    insert: Statement,
    apply: Statement,
}

impl Link {
    async fn open(way: Way) -> Result<Link, tokio_postgres::Error> {
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
        })
    }
}

impl Postgres {
    pub(crate) async fn open(connect: &str) -> Result<Postgres> {
        let way = Way::parse(connect)?;
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .thread_name("postgres")
            .enable_all()
            .build()
            .map_err(Error::internal)?;
        let made = way.clone();
        let schema = runtime.spawn(async move {
            let client = made.connect().await?;
            match client.batch_execute(SCHEMA).await {
                // two processes may make the table at once; the one that lost finds it there
                Err(e) if e.code() == Some(&SqlState::UNIQUE_VIOLATION) => client.batch_execute(SCHEMA).await,
                outcome => outcome,
            }
        });
        let postgres = Postgres { way, runtime: Some(runtime), links: Default::default(), next_reader: AtomicUsize::new(0) };
        schema.await.map_err(Error::internal)?.map_err(unavailable)?;
        Ok(postgres)
    }

    /// Link number `at`, connected anew when its connection ended.
    async fn link(&self, at: usize) -> Result<Arc<Link>> {
        let current = self.links[at].lock().unwrap_or_else(PoisonError::into_inner).clone();
        if let Some(link) = current.filter(|link| !link.client.is_closed()) {
            return Ok(link);
        }
        let runtime = self.runtime.as_ref().ok_or_else(|| Error::internal("the store is closed"))?;
        let link = runtime.spawn(Link::open(self.way.clone())).await.map_err(Error::internal)?.map_err(unavailable)?;
        let link = Arc::new(link);
        *self.links[at].lock().unwrap_or_else(PoisonError::into_inner) = Some(link.clone());
        Ok(link)
    }

    async fn reader(&self) -> Result<Arc<Link>> {
        let turn = self.next_reader.fetch_add(1, Ordering::Relaxed);
        self.link(1 + turn % (LINKS - 1)).await
    }

    async fn write(&self, batch: &Batch) -> Result<(), ApplyError> {
        let link = self.link(0).await.map_err(|e| ApplyError::Lost(e.to_string()))?;
        let (fence_key, fence) = &batch.fence;
        let (fresh_keys, fresh_values) = columns(&batch.fresh);
        let written = match fence {
            None => link.client.execute(&link.insert, &[&fresh_keys, &fresh_values]).await.map(|_| true),
            Some(fence) => {
                let (put_keys, put_values) = columns(&batch.puts);
                let deletes: Vec<&[u8]> = batch.deletes.iter().map(Vec::as_slice).collect();
                let row = link
                    .client
                    .query_one(&link.apply, &[fence_key, &&fence[..], &deletes, &fresh_keys, &fresh_values, &put_keys, &put_values])
                    .await;
                row.map(|row| row.get::<_, i64>(0) == 1)
            }
        };
        match written {
            Ok(true) => Ok(()),
            Ok(false) => Err(ApplyError::Fenced),
            Err(error) => {
                let code = error.code().cloned();
                if code == Some(SqlState::UNIQUE_VIOLATION) {
                    return Err(ApplyError::Exists);
                }
                if code == Some(SqlState::DISK_FULL) {
                    return Err(ApplyError::Full);
                }
                // another connection may lead to another primary
                self.links[0].lock().unwrap_or_else(PoisonError::into_inner).take();
                Err(ApplyError::Lost(error.to_string()))
            }
        }
    }
}

fn columns(rows: &[(Vec<u8>, Bytes)]) -> (Vec<&[u8]>, Vec<&[u8]>) {
    rows.iter().map(|(key, value)| (&key[..], &value[..])).unzip()
}

fn unavailable(error: tokio_postgres::Error) -> Error {
    Error::new(Kind::Unavailable, "StoreUnavailable", "The region's database is not available now. Try again.").because(error)
}

impl Engine for Postgres {
    fn get<'a>(&'a self, key: &'a [u8]) -> Fut<'a, Result<Option<Bytes>>> {
        Box::pin(async move {
            let link = self.reader().await?;
            let row = link.client.query_opt(&link.get, &[&key]).await.map_err(unavailable)?;
            Ok(row.map(|row| Bytes::copy_from_slice(row.get(0))))
        })
    }

    fn get_many<'a>(&'a self, keys: &'a [Vec<u8>]) -> Fut<'a, Result<Vec<Option<Bytes>>>> {
        Box::pin(async move {
            let link = self.link(0).await?;
            let rows = link.client.query(&link.get_many, &[&keys]).await.map_err(unavailable)?;
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
            let rows = link.client.query(statement, &[&span.start, &end, &limit]).await.map_err(unavailable)?;
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
