//! redb 4, a copy-on-write tree in one file: the second embedded engine, and the one that a simulated disk can carry.

use super::{ApplyError, Batch, Engine, Rows, Span, collect};
use crate::disk::{Disk, DiskFile, RealDisk};
use base::{Error, Fut, Kind, Result};
use bytes::Bytes;
use redb::{Database, ReadableDatabase, ReadableTable, StorageBackend, TableDefinition};
use std::future::ready;
use std::io;
use std::ops::Bound;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

const ROWS: TableDefinition<&[u8], &[u8]> = TableDefinition::new("rows");
const CACHE_BYTES: usize = 16 << 20;
const FILE: &str = "rows.redb";
const UNFINISHED: &str = "rows.redb.new";

pub(crate) struct Redb {
    database: Mutex<Option<Arc<Database>>>,
    disk: Arc<dyn Disk>,
    writer: Mutex<()>,
}

impl Redb {
    /// Opens or creates `folder/rows.redb`. Errors: `StoreInUse` (kind Unavailable); Internal.
    pub(crate) fn open(folder: &Path) -> Result<Redb> {
        let disk = RealDisk::new(folder).map_err(Error::internal)?;
        let create = |name: &str| {
            builder().create(folder.join(name)).map_err(|error| match error {
                redb::DatabaseError::DatabaseAlreadyOpen => {
                    Error::new(Kind::Unavailable, "StoreInUse", format!("Another process has the store in {} open.", folder.display()))
                }
                error => Error::internal(error),
            })
        };
        Redb::open_or_create(Arc::new(disk), create)
    }

    /// The same on a [`Disk`].
    pub(crate) fn open_on(disk: Arc<dyn Disk>) -> Result<Redb> {
        let on = disk.clone();
        let create = move |name: &str| {
            let file = on.open(name, true).map_err(Error::internal)?;
            builder().create_with_backend(OnDisk(file)).map_err(Error::internal)
        };
        Redb::open_or_create(disk, create)
    }

    /// A file that is being made has another name until it is whole: redb does not open what a crash left of one.
    fn open_or_create(disk: Arc<dyn Disk>, create: impl Fn(&str) -> Result<Database>) -> Result<Redb> {
        let names = disk.list().map_err(Error::internal)?;
        let has = |name: &str| names.iter().any(|have| have == name);
        if !has(FILE) {
            if has(UNFINISHED) {
                disk.remove(UNFINISHED).map_err(Error::internal)?;
            }
            let made = create(UNFINISHED)?;
            let first = made.begin_write().map_err(Error::internal)?;
            first.open_table(ROWS).map_err(Error::internal)?;
            first.commit().map_err(Error::internal)?;
            made.close().map_err(Error::internal)?;
            disk.rename(UNFINISHED, FILE).and_then(|()| disk.sync_folder()).map_err(Error::internal)?;
        }
        let database = Mutex::new(Some(Arc::new(create(FILE)?)));
        Ok(Redb { database, disk, writer: Mutex::new(()) })
    }

    fn database(&self) -> Result<Arc<Database>> {
        let database = self.database.lock().unwrap_or_else(PoisonError::into_inner).clone();
        database.ok_or_else(|| Error::internal("the store is closed"))
    }

    fn table(&self) -> Result<redb::ReadOnlyTable<&'static [u8], &'static [u8]>> {
        let read = self.database()?.begin_read().map_err(Error::internal)?;
        read.open_table(ROWS).map_err(Error::internal)
    }

    fn read_many(&self, keys: &[Vec<u8>]) -> Result<Vec<Option<Bytes>>> {
        let table = self.table()?;
        keys.iter().map(|key| value(table.get(&key[..]))).collect()
    }

    fn write(&self, batch: Batch) -> Result<(), ApplyError> {
        let _writer = self.writer.lock().unwrap_or_else(PoisonError::into_inner);
        if self.disk.free_bytes().is_ok_and(|free| free < crate::LAST_RESERVE_BYTES) {
            return Err(ApplyError::Full);
        }
        self.write_all(batch).map_err(|error| ApplyError::Broken(error.to_string()))?.then_some(()).ok_or(ApplyError::Fenced)
    }

    /// False: fenced.
    fn write_all(&self, batch: Batch) -> Result<bool> {
        let write = self.database()?.begin_write().map_err(Error::internal)?;
        {
            let mut table = write.open_table(ROWS).map_err(Error::internal)?;
            if value(table.get(&batch.fence.0[..]))? != batch.fence.1 {
                return Ok(false);
            }
            for key in &batch.deletes {
                table.remove(&key[..]).map_err(Error::internal)?;
            }
            for (key, value) in batch.fresh.iter().chain(&batch.puts) {
                table.insert(&key[..], &value[..]).map_err(Error::internal)?;
            }
        }
        write.commit().map_err(Error::internal)?;
        Ok(true)
    }
}

fn value(found: Result<Option<redb::AccessGuard<'_, &'static [u8]>>, redb::StorageError>) -> Result<Option<Bytes>> {
    Ok(found.map_err(Error::internal)?.map(|guard| Bytes::copy_from_slice(guard.value())))
}

impl Engine for Redb {
    fn get<'a>(&'a self, key: &'a [u8]) -> Fut<'a, Result<Option<Bytes>>> {
        Box::pin(ready(self.table().and_then(|table| value(table.get(key)))))
    }

    fn get_many<'a>(&'a self, keys: &'a [Vec<u8>]) -> Fut<'a, Result<Vec<Option<Bytes>>>> {
        Box::pin(ready(self.read_many(keys)))
    }

    fn scan(&self, span: Span) -> Fut<'_, Result<Rows>> {
        let read = || {
            let table = self.table()?;
            let end = span.end.as_deref().map_or(Bound::Unbounded, Bound::Excluded);
            let range = table.range::<&[u8]>((Bound::Included(&span.start[..]), end)).map_err(Error::internal)?;
            let rows = range.map(|row| {
                let (key, value) = row.map_err(Error::internal)?;
                Ok((key.value().to_vec(), Bytes::copy_from_slice(value.value())))
            });
            if span.reverse { collect(&span, rows.rev()) } else { collect(&span, rows) }
        };
        Box::pin(ready(read()))
    }

    fn free_bytes(&self) -> Option<u64> {
        self.disk.free_bytes().ok()
    }

    fn apply(&self, batch: Batch) -> Fut<'_, Result<(), ApplyError>> {
        Box::pin(ready(self.write(batch)))
    }

    /// Writes the allocator's state, so that the next open need not walk the tree, and frees the file.
    fn close(&self) -> Fut<'_, Result<()>> {
        drop(self.database.lock().unwrap_or_else(PoisonError::into_inner).take());
        Box::pin(ready(Ok(())))
    }
}

fn builder() -> redb::Builder {
    let mut builder = Database::builder();
    builder.set_cache_size(CACHE_BYTES);
    builder
}

#[derive(Debug)]
struct OnDisk(Arc<dyn DiskFile>);

impl StorageBackend for OnDisk {
    fn len(&self) -> io::Result<u64> {
        self.0.len()
    }
    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.0.read_at(offset, out)
    }
    fn set_len(&self, len: u64) -> io::Result<()> {
        self.0.set_len(len)
    }
    fn sync_data(&self) -> io::Result<()> {
        self.0.sync()
    }
    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.0.write_at(offset, data)
    }
}
