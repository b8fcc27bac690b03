//! Chunks in memory.

use base::{Error, Fut, Result, SiteName};
use bytes::Bytes;
use std::collections::HashMap;
use std::ops::Range;
use std::sync::Mutex;
use store::{Blobs, ChunkId, Live, Mark, Placed, Swept};
use tokio::sync::oneshot;

/// A chunk store that forgets everything with the process.
#[derive(Debug)]
pub struct MemoryBlobs {
    site: SiteName,
    chunks: Mutex<HashMap<u64, (ChunkId, Bytes)>>,
    held: Mutex<Option<Held>>,
}

/// Told when a put arrives; heard when it may go on.
type Held = (oneshot::Sender<()>, oneshot::Receiver<()>);

impl MemoryBlobs {
    pub fn new(site: SiteName) -> MemoryBlobs {
        MemoryBlobs { site, chunks: Mutex::default(), held: Mutex::default() }
    }
    /// The next put waits: the first half tells that it has come, the second lets it go on.
    pub fn hold_next(&self) -> (oneshot::Receiver<()>, oneshot::Sender<()>) {
        let (told, has_come) = oneshot::channel();
        let (go_on, heard) = oneshot::channel();
        *self.held.lock().expect("not poisoned") = Some((told, heard));
        (has_come, go_on)
    }
    /// Loses all of them.
    pub fn clear(&self) {
        self.chunks.lock().expect("not poisoned").clear();
    }
    /// Chunks held now.
    pub fn len(&self) -> usize {
        self.chunks.lock().expect("not poisoned").len()
    }
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl Blobs for MemoryBlobs {
    fn site(&self) -> &SiteName {
        &self.site
    }
    fn put(&self, id: ChunkId, bytes: Bytes) -> Fut<'_, Result<Placed>> {
        Box::pin(async move {
            let held = self.held.lock().expect("not poisoned").take();
            if let Some((told, heard)) = held {
                let _ = told.send(());
                let _ = heard.await;
            }
            let mut chunks = self.chunks.lock().expect("not poisoned");
            let offset = chunks.keys().max().map_or(0, |n| n + 1);
            let length = bytes.len() as u64;
            chunks.insert(offset, (id, bytes));
            Ok(Placed { site: self.site.clone(), segment: 0, offset, length })
        })
    }
    fn read<'a>(&'a self, id: ChunkId, at: &'a Placed, range: Range<u64>) -> Fut<'a, Result<Bytes>> {
        Box::pin(async move {
            let chunks = self.chunks.lock().expect("not poisoned");
            match chunks.get(&at.offset) {
                Some((held, bytes)) if *held == id => Ok(bytes.slice(range.start as usize..range.end as usize)),
                _ => Err(Error::internal("no such chunk")),
            }
        })
    }
    fn delete<'a>(&'a self, at: &'a [Placed]) -> Fut<'a, Result<()>> {
        Box::pin(async move {
            let mut chunks = self.chunks.lock().expect("not poisoned");
            for placed in at {
                chunks.remove(&placed.offset);
            }
            Ok(())
        })
    }
    fn mark(&self) -> Mark {
        Mark::default()
    }
    fn sweep(&self, _: Mark, _: Live) -> Fut<'_, Result<Swept>> {
        Box::pin(async { Ok(Swept::default()) })
    }
}
