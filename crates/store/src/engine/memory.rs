//! The model: an ordered map behind a lock. For tests of the floors above; nothing survives it.

use super::{ApplyError, Batch, Engine, Rows, Span, collect};
use base::{Fut, Result};
use bytes::Bytes;
use std::collections::BTreeMap;
use std::future::ready;
use std::ops::Bound;
use std::sync::{PoisonError, RwLock, RwLockReadGuard};

#[derive(Default)]
pub(crate) struct Memory(RwLock<BTreeMap<Vec<u8>, Bytes>>);

impl Memory {
    fn read(&self) -> RwLockReadGuard<'_, BTreeMap<Vec<u8>, Bytes>> {
        self.0.read().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Engine for Memory {
    fn get<'a>(&'a self, key: &'a [u8]) -> Fut<'a, Result<Option<Bytes>>> {
        Box::pin(ready(Ok(self.read().get(key).cloned())))
    }

    fn get_many<'a>(&'a self, keys: &'a [Vec<u8>]) -> Fut<'a, Result<Vec<Option<Bytes>>>> {
        let rows = self.read();
        Box::pin(ready(Ok(keys.iter().map(|key| rows.get(key).cloned()).collect())))
    }

    fn scan(&self, span: Span) -> Fut<'_, Result<Rows>> {
        let rows = self.read();
        let end = span.end.clone().map_or(Bound::Unbounded, Bound::Excluded);
        let range = rows.range((Bound::Included(span.start.clone()), end)).map(|(k, v)| Ok((k.clone(), v.clone())));
        let page = if span.reverse { collect(&span, range.rev()) } else { collect(&span, range) };
        Box::pin(ready(page))
    }

    fn apply(&self, batch: Batch) -> Fut<'_, Result<(), ApplyError>> {
        let mut rows = self.0.write().unwrap_or_else(PoisonError::into_inner);
        if rows.get(&batch.fence.0) != batch.fence.1.as_ref() {
            return Box::pin(ready(Err(ApplyError::Fenced)));
        }
        if batch.fresh.iter().any(|(key, _)| rows.contains_key(key)) {
            return Box::pin(ready(Err(ApplyError::Exists)));
        }
        for key in &batch.deletes {
            rows.remove(key);
        }
        rows.extend(batch.fresh.into_iter().chain(batch.puts));
        Box::pin(ready(Ok(())))
    }

    fn close(&self) -> Fut<'_, Result<()>> {
        Box::pin(ready(Ok(())))
    }
}
