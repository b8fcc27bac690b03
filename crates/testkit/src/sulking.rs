//! A store whose commits fail on demand.

use base::{Fut, Result, Shard};
use bytes::Bytes;
use std::sync::{Arc, Mutex};
use store::{Commit, CommitError, Committed, Head, KeyRange, Kv, Op, Page, Version};
use tokio::sync::oneshot;

/// How commits end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mood {
    Good,
    /// Nothing is done.
    Full,
    /// All is done, and no answer arrives, to questions neither.
    Lost,
}

/// Wraps a store; its reads always succeed.
pub struct Sulking {
    kv: Arc<dyn Kv>,
    /// The mood, after so many good commits, for so many.
    mood: Mutex<(Mood, usize, usize)>,
    held: Mutex<Option<Held>>,
}

/// Told when a commit arrives; heard when it may go on.
type Held = (oneshot::Sender<()>, oneshot::Receiver<()>);

impl Sulking {
    pub fn over(kv: Arc<dyn Kv>) -> Arc<Sulking> {
        Arc::new(Sulking { kv, mood: Mutex::new((Mood::Good, 0, 0)), held: Mutex::default() })
    }
    /// From now on, until told otherwise.
    pub fn feels(&self, mood: Mood) {
        self.will_feel(mood, 0, usize::MAX);
    }
    /// After `skip` more commits, for `count` of them.
    pub fn will_feel(&self, mood: Mood, skip: usize, count: usize) {
        *self.mood.lock().expect("not poisoned") = (mood, skip, count);
    }
    /// True once the bad mood that was ordered is over.
    pub fn is_over_it(&self) -> bool {
        let (mood, skip, count) = *self.mood.lock().expect("not poisoned");
        mood == Mood::Good || skip == 0 && count == 0
    }
    /// The next commit of an act (it checks something, and records) waits while others overtake it: the first half tells
    /// that it has come, the second lets it go on. The region's own go by.
    pub fn hold_next(&self) -> (oneshot::Receiver<()>, oneshot::Sender<()>) {
        let (told, has_come) = oneshot::channel();
        let (go_on, heard) = oneshot::channel();
        *self.held.lock().expect("not poisoned") = Some((told, heard));
        (has_come, go_on)
    }
    fn next(&self) -> Mood {
        let mut mood = self.mood.lock().expect("not poisoned");
        let (now, skip, count) = &mut *mood;
        if *skip > 0 {
            *skip -= 1;
            return Mood::Good;
        }
        if *count == 0 {
            return Mood::Good;
        }
        *count -= 1;
        *now
    }
}

impl Kv for Sulking {
    fn get<'a>(&'a self, key: &'a [u8]) -> Fut<'a, Result<Option<(Version, Bytes)>>> {
        self.kv.get(key)
    }
    fn scan<'a>(&'a self, range: KeyRange, limit: usize, reverse: bool) -> Fut<'a, Result<Page>> {
        self.kv.scan(range, limit, reverse)
    }
    fn commit(&self, commit: Commit) -> Fut<'_, Result<Committed, CommitError>> {
        let mood = self.next();
        let acts = !commit.checks.is_empty() && commit.ops.iter().any(|op| matches!(op, Op::Append { .. }));
        let held = acts.then(|| self.held.lock().expect("not poisoned").take()).flatten();
        Box::pin(async move {
            if let Some((told, heard)) = held {
                // a test that has ended wants to hear no more
                let _ = told.send(());
                let _ = heard.await;
            }
            match mood {
                Mood::Good => self.kv.commit(commit).await,
                Mood::Full => Err(CommitError::Full),
                Mood::Lost => self.kv.commit(commit).await.and(Err(CommitError::Unknown)),
            }
        })
    }
    fn resolve(&self, shard: Shard, idem: u128) -> Fut<'_, Result<Option<Committed>, CommitError>> {
        let mood = self.next();
        Box::pin(async move {
            match mood {
                Mood::Lost => Err(CommitError::Unavailable("the store is away".into())),
                Mood::Good | Mood::Full => self.kv.resolve(shard, idem).await,
            }
        })
    }
    fn head(&self, shard: Shard) -> Fut<'_, Result<Head, CommitError>> {
        self.kv.head(shard)
    }
    fn free_bytes(&self) -> Option<u64> {
        self.kv.free_bytes()
    }
    fn close(&self) -> Fut<'_, Result<()>> {
        self.kv.close()
    }
}
