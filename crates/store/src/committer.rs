//! The committer: one thread a shard, the only writer of its rows.
//!
//! It takes all commits that wait, checks and numbers them one after another as if each had already happened, writes
//! what they change as one engine transaction with one flush, and then answers them all. So concurrent commits share a
//! flush without any delay added, checks cannot race, and a refused commit takes neither a version nor a queue number.
//!
//! The state of its life:
//! ```text
//! start ── takes the next epoch, reads what recent commits did ──► working ──┬─ a later epoch is seen ──► stopped
//!                                                                            └─ the engine is broken ───► stopped
//! ```
//! Stopped is for good: the outcome of the group at that moment is `Unknown`, every later commit is `Unavailable`.
//! After a lost connection (PostgreSQL) the committer takes a new epoch, which shuts out what is still under way of the
//! old connection, and then reads whether the group happened: so `Unknown` is left for a region that stays cut off.

use crate::IDEM_WINDOW;
use crate::engine::{ApplyError, Batch, Engine, Span};
use crate::kv::{Check, Commit, CommitError, Committed, Head, Key, Op, Version, counter, queue_key};
use crate::row::{self, Group};
use base::{Chance, OsChance, Result, Shard};
use bytes::Bytes;
use futures::executor::block_on;
use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::Arc;
use tokio::sync::{mpsc, oneshot, watch};

/// Commits waiting for a shard; more wait in their callers.
pub(crate) const QUEUE_MAX: usize = 1_024;
const GROUP_COMMITS_MAX: usize = 512;
const GROUP_OPS_MAX: usize = 4_000;
const GROUP_BYTES_MAX: usize = 4 << 20;
/// Queue counters kept in memory.
const QUEUES_MAX: usize = 10_000;
/// Forgotten groups deleted with one group.
const SWEEP_MAX: usize = 64;
/// A group that met rows of an outside writer, or a lost connection, is judged anew this often.
const JUDGE_MAX: usize = 3;
const TAKEN_OVER: &str = "a later committer took over this shard";

pub(crate) type Answer = Result<Committed, CommitError>;

pub(crate) enum Request {
    Commit(Commit, oneshot::Sender<Answer>),
    Resolve(u128, oneshot::Sender<Result<Option<Committed>, CommitError>>),
    Head(oneshot::Sender<Result<Head, CommitError>>),
}

/// Why a committer stopped for good: nothing that its process does can become durable any more.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Stopped {
    /// Another process writes this shard now.
    TakenOver,
    /// The engine is broken, or the rows are not what they must be: only a new start can say more.
    Broken(String),
}

/// Serves requests until all senders are gone. Says in `stopped` that it can't any more.
pub(crate) fn run(engine: Arc<dyn Engine>, shard: Shard, mut requests: mpsc::Receiver<Request>, stopped: &watch::Sender<Option<Stopped>>) {
    let mut started = None;
    while let Some(first) = requests.blocking_recv() {
        let committer = match &mut started {
            Some(committer) => committer,
            // an engine that can't be read now may answer the next request
            None => match Committer::start(engine.clone(), shard) {
                Ok(committer) => started.insert(committer),
                Err(why) => {
                    refuse(first, &why);
                    continue;
                }
            },
        };
        let (group, others) = gather(first, &mut requests);
        committer.commit_group(group);
        for other in others {
            committer.answer(other);
        }
        if let Some(why) = committer.stopped.take() {
            tracing::error!(shard = shard.0, why, "the committer stopped");
            let how = if why == TAKEN_OVER { Stopped::TakenOver } else { Stopped::Broken(why.clone()) };
            stopped.send_replace(Some(how));
            while let Some(request) = requests.blocking_recv() {
                refuse(request, &why);
            }
        }
    }
}

type Waiting = (Commit, oneshot::Sender<Answer>);

/// All requests that wait, up to the size of a group: commits, and the others.
fn gather(first: Request, requests: &mut mpsc::Receiver<Request>) -> (Vec<Waiting>, Vec<Request>) {
    let (mut group, mut others) = (Vec::new(), Vec::new());
    let (mut ops, mut bytes) = (0, 0);
    let mut next = Some(first);
    while let Some(request) = next {
        match request {
            Request::Commit(commit, reply) => {
                ops += commit.ops.len();
                bytes += commit.ops.iter().map(|op| op.key().len() + op.value_bytes()).sum::<usize>();
                group.push((commit, reply));
            }
            other => others.push(other),
        }
        let full =
            group.len() >= GROUP_COMMITS_MAX || others.len() >= GROUP_COMMITS_MAX || ops >= GROUP_OPS_MAX || bytes >= GROUP_BYTES_MAX;
        next = if full { None } else { requests.try_recv().ok() };
    }
    (group, others)
}

fn refuse(request: Request, why: &str) {
    let error = CommitError::Unavailable(why.to_owned());
    // a caller that went away needs no answer
    match request {
        Request::Commit(_, reply) => drop(reply.send(Err(error))),
        Request::Resolve(_, reply) => drop(reply.send(Err(error))),
        Request::Head(reply) => drop(reply.send(Err(error))),
    }
}

struct Committer {
    engine: Arc<dyn Engine>,
    shard: Shard,
    head: Head,
    /// Random; in the epoch row it says that a term is ours, even when the answer to taking it was lost.
    owner: [u8; 16],
    /// The epoch row as stored: what every batch expects to find.
    fence: Bytes,
    /// Outcomes of the last commits, oldest group first.
    groups: VecDeque<(Version, Vec<u128>)>,
    remembered: HashMap<u128, Committed>,
    remembered_commits: u64,
    queues: HashMap<Key, u64>,
    /// Cut off from the engine: before anything else, [`Committer::rejoin`].
    lost: bool,
    stopped: Option<String>,
}

/// Rows as they will be after the commits judged so far. `None`: not there.
type Rows = HashMap<Key, Option<(Version, Bytes)>>;

/// Rows as the engine has them; an error: damaged.
type Found = HashMap<Key, Result<Option<(Version, Bytes)>>>;

/// A group after judging: what to write, and what to answer once it is written.
struct Judged {
    answers: Vec<Answer>,
    group: Group,
    /// The head without this group: what has a later version is done by it.
    before: Version,
    head: Version,
    changed: Rows,
    /// Keys known to be absent in the engine before this group.
    absent: HashSet<Key>,
    queues: HashMap<Key, u64>,
    /// For [`Check::Room`].
    has_room: bool,
}

impl Committer {
    fn start(engine: Arc<dyn Engine>, shard: Shard) -> Result<Committer, String> {
        let mut owner = [0; 16];
        OsChance.fill(&mut owner);
        let mut committer = Committer {
            engine,
            shard,
            head: Head { epoch: 0, version: Version(0) },
            owner,
            fence: Bytes::new(),
            groups: VecDeque::new(),
            remembered: HashMap::new(),
            remembered_commits: 0,
            queues: HashMap::new(),
            lost: false,
            stopped: None,
        };
        let found = committer.read(&row::epoch_key(shard))?;
        committer.take_epoch(found)?;
        committer.read_groups()?;
        Ok(committer)
    }

    fn read(&self, engine_key: &[u8]) -> Result<Option<Bytes>, String> {
        block_on(self.engine.get(engine_key)).map_err(|e| e.to_string())
    }

    /// Moves the shard from the epoch row `found` to the next epoch; from then on all committers before are fenced.
    fn take_epoch(&mut self, found: Option<Bytes>) -> Result<(), String> {
        let key = row::epoch_key(self.shard);
        let before = match &found {
            Some(stored) => row::decode(&key, stored).map_err(|e| e.to_string())?.0.0,
            None => 0,
        };
        let mine = row::encode(&key, Version(before + 1), &self.owner);
        let written = vec![(key.clone(), mine.clone())];
        let (fresh, puts) = if found.is_none() { (written, vec![]) } else { (vec![], written) };
        match block_on(self.engine.apply(Batch { fence: (key, found), fresh, puts, deletes: vec![] })) {
            Ok(()) => {
                self.fence = mine;
                self.head.epoch = before + 1;
                Ok(())
            }
            Err(ApplyError::Fenced | ApplyError::Exists) => Err("another committer took over at the same time".to_owned()),
            Err(ApplyError::Full) => Err("the disk is full".to_owned()),
            Err(ApplyError::Lost(why) | ApplyError::Broken(why)) => Err(why),
        }
    }

    /// Reads the groups after the newest one known: the head, and what the last commits did.
    fn read_groups(&mut self) -> Result<(), String> {
        let end = crate::kv::after_prefix(&row::group_prefix(self.shard));
        let mut start = row::group_key(self.shard, Version(self.head.version.0 + 1));
        loop {
            let span = Span { start, end: end.clone(), rows: 1_000, bytes: 8 << 20, reverse: false };
            let (rows, next) = block_on(self.engine.scan(span)).map_err(|e| e.to_string())?;
            for (key, stored) in &rows {
                let (version, value) = row::decode(key, stored).map_err(|e| e.to_string())?;
                let group = Group::decode(&value).ok_or("a group row is not readable")?;
                self.remember(version, &group);
            }
            match next {
                Some(next) => start = next,
                None => return Ok(()),
            }
        }
    }

    fn remember(&mut self, last: Version, group: &Group) {
        self.head.version = last;
        self.groups.push_back((last, group.entries.iter().map(|(idem, ..)| *idem).collect()));
        self.remembered_commits += group.entries.len() as u64;
        self.remembered.extend(group.committed().filter(|(idem, _)| *idem != 0));
    }

    /// After a lost connection: a new term, which shuts out what may still be under way, and what happened meanwhile.
    fn rejoin(&mut self) -> Result<(), String> {
        let key = row::epoch_key(self.shard);
        let found = self.read(&key)?.ok_or("the epoch row is gone")?;
        let (_, owner) = row::decode(&key, &found).map_err(|e| e.to_string())?;
        if owner[..] != self.owner {
            self.stopped = Some(TAKEN_OVER.to_owned());
            return Err(TAKEN_OVER.to_owned());
        }
        self.take_epoch(Some(found))?;
        self.queues.clear();
        self.read_groups()?;
        self.lost = false;
        Ok(())
    }

    fn answer(&mut self, request: Request) {
        if self.lost
            && self.stopped.is_none()
            && let Err(why) = self.rejoin()
        {
            return refuse(request, &why);
        }
        // a caller that went away needs no answer
        match (request, &self.stopped) {
            (Request::Head(reply), None) => drop(reply.send(Ok(self.head))),
            (Request::Head(reply), Some(why)) => drop(reply.send(Err(CommitError::Unavailable(why.clone())))),
            (Request::Resolve(idem, reply), None) => drop(reply.send(Ok(self.remembered.get(&idem).cloned()))),
            (Request::Resolve(_, reply), Some(why)) => drop(reply.send(Err(CommitError::Unavailable(why.clone())))),
            (Request::Commit(..), _) => {}
        }
    }

    fn commit_group(&mut self, group: Vec<Waiting>) {
        if group.is_empty() {
            return;
        }
        let (commits, replies): (Vec<Commit>, Vec<_>) = group.into_iter().unzip();
        let answers = self.decide_and_write(&commits);
        for (reply, answer) in replies.into_iter().zip(answers) {
            // a caller that went away needs no answer
            let _ = reply.send(answer);
        }
    }

    fn decide_and_write(&mut self, commits: &[Commit]) -> Vec<Answer> {
        if self.lost
            && let Err(why) = self.rejoin()
        {
            return self.none_now(commits, &CommitError::Unavailable(why));
        }
        let mut cut_off = None;
        for _ in 0..JUDGE_MAX {
            let judged = match self.judge(commits) {
                Ok(judged) => judged,
                Err(why) => return self.none_now(commits, &CommitError::Unavailable(why)),
            };
            if judged.group.entries.is_empty() {
                return judged.answers;
            }
            match block_on(self.engine.apply(self.batch(&judged))) {
                Ok(()) => {
                    self.keep(&judged);
                    return judged.answers;
                }
                Err(ApplyError::Exists) => {
                    cut_off = None;
                    self.queues.clear();
                }
                Err(ApplyError::Full) => return judged.not_done(&CommitError::Full),
                Err(ApplyError::Fenced) => {
                    self.stopped = Some(TAKEN_OVER.to_owned());
                    return judged.not_done(&CommitError::Unavailable(TAKEN_OVER.to_owned()));
                }
                Err(ApplyError::Broken(why)) => {
                    self.stopped = Some(why);
                    return judged.not_done(&CommitError::Unknown);
                }
                Err(ApplyError::Lost(why)) => {
                    tracing::warn!(shard = self.shard.0, %why, "lost the engine while committing; asking it what happened");
                    self.lost = true;
                    if self.rejoin().is_err() {
                        return judged.not_done(&CommitError::Unknown);
                    }
                    if self.head.version >= judged.head {
                        return judged.answers;
                    }
                    cut_off = Some(why);
                }
            }
        }
        // it did not happen, as `rejoin` found: a statement that the engine can't do now must not end all others
        if let Some(why) = cut_off {
            return self.none_now(commits, &CommitError::Unavailable(why));
        }
        let why = "rows of this shard change under its committer".to_owned();
        self.stopped = Some(why.clone());
        self.none_now(commits, &CommitError::Unavailable(why))
    }

    /// What these commits are told when none can be done now: one that was done before stays done.
    fn none_now(&self, commits: &[Commit], error: &CommitError) -> Vec<Answer> {
        commits.iter().map(|commit| self.remembered.get(&commit.idem).cloned().ok_or_else(|| error.clone())).collect()
    }

    /// Checks and numbers the commits one after another. Error: the engine cannot be read now; nothing is changed.
    fn judge(&mut self, commits: &[Commit]) -> Result<Judged, String> {
        let rows = self.read_rows(commits)?;
        let absent = rows.iter().filter(|(_, found)| matches!(found, Ok(None))).map(|(key, _)| key.clone()).collect();
        let mut judged = Judged {
            answers: Vec::with_capacity(commits.len()),
            group: Group { epoch: self.head.epoch, entries: Vec::new() },
            before: self.head.version,
            head: self.head.version,
            changed: Rows::new(),
            absent,
            queues: HashMap::new(),
            has_room: self.engine.free_bytes().is_none_or(|free| free >= crate::ROWS_RESERVE_BYTES),
        };
        let mut in_group: HashMap<u128, usize> = HashMap::new();
        for (number, commit) in commits.iter().enumerate() {
            if let Some(done) = self.remembered.get(&commit.idem) {
                judged.answers.push(Ok(done.clone()));
                continue;
            }
            if commit.idem != 0
                && let Some(first) = in_group.insert(commit.idem, number)
            {
                let same = judged.answers[first].clone();
                judged.answers.push(same);
                continue;
            }
            let answer = self.judge_one(commit, &rows, &mut judged);
            judged.answers.push(answer);
        }
        Ok(judged)
    }

    /// The rows that the checks and counters of the group need, and the queue counters not in memory.
    fn read_rows(&mut self, commits: &[Commit]) -> Result<Found, String> {
        let mut keys: HashSet<&Key> = HashSet::new();
        let mut queues: HashSet<&Key> = HashSet::new();
        for commit in commits {
            keys.extend(commit.checks.iter().filter_map(Check::key));
            for op in &commit.ops {
                match op {
                    Op::Add(key, _) => drop(keys.insert(key)),
                    Op::Append { queue, .. } if !self.queues.contains_key(queue) => drop(queues.insert(queue)),
                    _ => {}
                }
            }
        }
        let keys: Vec<&Key> = keys.into_iter().collect();
        let queues: Vec<Key> = queues.into_iter().cloned().collect();
        let mut wanted: Vec<Vec<u8>> = keys.iter().map(|key| row::user_key(key)).collect();
        wanted.extend(queues.iter().map(|queue| row::queue_counter_key(queue)));
        if wanted.is_empty() {
            return Ok(HashMap::new());
        }
        let mut found = block_on(self.engine.get_many(&wanted)).map_err(|e| e.to_string())?;
        if self.queues.len() > QUEUES_MAX {
            self.queues.clear();
            return self.read_rows(commits);
        }
        for (queue, stored) in queues.into_iter().zip(found.split_off(keys.len())) {
            let key = row::queue_counter_key(&queue);
            let last = match stored {
                Some(stored) => {
                    let (_, value) = row::decode(&key, &stored).map_err(|e| e.to_string())?;
                    u64::from_be_bytes(value[..].try_into().map_err(|_| "a queue's counter is not readable")?)
                }
                None => 0,
            };
            self.queues.insert(queue, last);
        }
        let read = |(key, stored): (&&Key, Option<Bytes>)| {
            let row = stored.map(|stored| row::decode(&row::user_key(key), &stored)).transpose();
            ((*key).clone(), row)
        };
        Ok(keys.iter().zip(found).map(read).collect())
    }

    fn judge_one(&self, commit: &Commit, rows: &Found, judged: &mut Judged) -> Answer {
        // what this commit changes, kept apart until nothing can refuse it any more
        let mut changed = Rows::new();
        let mut queues: HashMap<&Key, u64> = HashMap::new();
        let mut appended = Vec::new();
        let version = Version(judged.head.0 + 1);
        let damaged = |e: &base::Error| CommitError::Unavailable(e.to_string());
        let before = |key: &Key, changed: &Rows| match changed.get(key).or_else(|| judged.changed.get(key)) {
            Some(row) => Ok(row.clone()),
            None => match rows.get(key) {
                Some(Ok(row)) => Ok(row.clone()),
                Some(Err(e)) => Err(damaged(e)),
                None => Ok(None),
            },
        };
        for check in &commit.checks {
            let Some(key) = check.key() else {
                if judged.has_room {
                    continue;
                }
                return Err(CommitError::Full);
            };
            let found = before(key, &changed)?.map(|(version, _)| version);
            let holds = match check {
                Check::Absent(_) => found.is_none(),
                Check::Exists(_) => found.is_some(),
                Check::Is(_, version) => found == Some(*version),
                Check::Room => true,
            };
            if !holds {
                return Err(CommitError::Conflict { key: key.clone() });
            }
        }
        for op in &commit.ops {
            match op {
                Op::Put(key, value) => drop(changed.insert(key.clone(), Some((version, value.clone())))),
                Op::Delete(key) => drop(changed.insert(key.clone(), None)),
                Op::Add(key, plus) => {
                    let have = match before(key, &changed)? {
                        Some((_, value)) => counter(&value).ok_or_else(|| CommitError::Limit("an added row is no counter".to_owned()))?,
                        None => 0,
                    };
                    let sum = have.checked_add(*plus).ok_or_else(|| CommitError::Limit("a counter overflows".to_owned()))?;
                    changed.insert(key.clone(), Some((version, Bytes::copy_from_slice(&sum.to_be_bytes()))));
                }
                Op::Append { queue, value } => {
                    let last = queues.get(queue).or_else(|| judged.queues.get(queue)).or_else(|| self.queues.get(queue));
                    let number = last.copied().unwrap_or(0) + 1;
                    queues.insert(queue, number);
                    changed.insert(queue_key(queue, number), Some((version, value.clone())));
                    appended.push(number);
                }
            }
        }
        judged.head = version;
        judged.changed.extend(changed);
        judged.queues.extend(queues.into_iter().map(|(queue, number)| (queue.clone(), number)));
        judged.group.entries.push((commit.idem, version, appended.clone()));
        Ok(Committed { epoch: self.head.epoch, version, appended })
    }

    fn batch(&self, judged: &Judged) -> Batch {
        let mut batch =
            Batch { fence: (row::epoch_key(self.shard), Some(self.fence.clone())), fresh: vec![], puts: vec![], deletes: vec![] };
        for (key, changed) in &judged.changed {
            let engine_key = row::user_key(key);
            match changed {
                None => batch.deletes.push(engine_key),
                Some((version, value)) => {
                    let stored = row::encode(&engine_key, *version, value);
                    let to = if judged.absent.contains(key) { &mut batch.fresh } else { &mut batch.puts };
                    to.push((engine_key, stored));
                }
            }
        }
        for (queue, number) in &judged.queues {
            let key = row::queue_counter_key(queue);
            let stored = row::encode(&key, judged.head, &number.to_be_bytes());
            batch.puts.push((key, stored));
        }
        let key = row::group_key(self.shard, judged.head);
        let stored = row::encode(&key, judged.head, &judged.group.encode());
        batch.fresh.push((key, stored));
        batch.deletes.extend(self.forgotten().map(|(last, _)| row::group_key(self.shard, *last)));
        batch
    }

    /// The oldest groups, as far as the window holds without them. The newest group always stays: it is the head.
    fn forgotten(&self) -> impl Iterator<Item = &(Version, Vec<u128>)> {
        let mut left = self.remembered_commits;
        self.groups.iter().take(SWEEP_MAX).take_while(move |(_, idems)| {
            left = left.saturating_sub(idems.len() as u64);
            left >= IDEM_WINDOW
        })
    }

    fn keep(&mut self, judged: &Judged) {
        for _ in 0..self.forgotten().count() {
            let Some((_, idems)) = self.groups.pop_front() else { break };
            self.remembered_commits -= idems.len() as u64;
            for idem in idems {
                self.remembered.remove(&idem);
            }
        }
        self.queues.extend(judged.queues.iter().map(|(queue, number)| (queue.clone(), *number)));
        self.remember(judged.head, &judged.group);
    }
}

impl Judged {
    /// The answers when the group was not written (or nobody knows): refused commits stay refused, and those that an
    /// earlier group did stay done.
    fn not_done(self, error: &CommitError) -> Vec<Answer> {
        let before = self.before;
        let told = |answer: Answer| answer.and_then(|done| if done.version <= before { Ok(done) } else { Err(error.clone()) });
        self.answers.into_iter().map(told).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::{Memory, Rows};
    use crate::kv::Kv;
    use base::Fut;
    use std::sync::atomic::{AtomicUsize, Ordering};

    /// So many batches fail and do not happen; taking an epoch succeeds.
    struct CutOff {
        rows: Memory,
        times: AtomicUsize,
        how: fn() -> ApplyError,
    }

    impl CutOff {
        fn new(how: fn() -> ApplyError) -> Arc<CutOff> {
            Arc::new(CutOff { rows: Memory::default(), times: AtomicUsize::new(0), how })
        }
    }

    impl Engine for CutOff {
        fn get<'a>(&'a self, key: &'a [u8]) -> Fut<'a, Result<Option<Bytes>>> {
            self.rows.get(key)
        }
        fn get_many<'a>(&'a self, keys: &'a [Vec<u8>]) -> Fut<'a, Result<Vec<Option<Bytes>>>> {
            self.rows.get_many(keys)
        }
        fn scan(&self, span: Span) -> Fut<'_, Result<Rows>> {
            self.rows.scan(span)
        }
        fn apply(&self, batch: Batch) -> Fut<'_, Result<(), ApplyError>> {
            let takes_epoch = batch.fresh.iter().chain(&batch.puts).any(|(key, _)| *key == batch.fence.0);
            let left = |times: usize| times.checked_sub(1);
            if !takes_epoch && self.times.fetch_update(Ordering::Relaxed, Ordering::Relaxed, left).is_ok() {
                return Box::pin(std::future::ready(Err((self.how)())));
            }
            self.rows.apply(batch)
        }
        fn close(&self) -> Fut<'_, Result<()>> {
            self.rows.close()
        }
    }

    fn put(idem: u128) -> Commit {
        let ops = vec![Op::Put(crate::kv::key(Shard(0), &[b"x"]), Bytes::new())];
        Commit { shard: Shard(0), idem, checks: Vec::new(), ops }
    }

    /// A statement that a database gives up each time costs its own commits, not those that come later.
    #[test]
    fn a_group_that_is_cut_off_again_and_again_did_not_happen_and_the_next_one_does() {
        let engine = CutOff::new(|| ApplyError::Lost("cut off".to_owned()));
        let mut committer = Committer::start(engine.clone(), Shard(0)).unwrap();
        for (times, outcome) in [(JUDGE_MAX - 1, true), (JUDGE_MAX, false), (0, true)] {
            engine.times.store(times, Ordering::Relaxed);
            let answers = committer.decide_and_write(&[put(times as u128 + 1)]);
            assert_eq!(answers[0].is_ok(), outcome, "{times}: {answers:?}");
            assert!(outcome || matches!(answers[0], Err(CommitError::Unavailable(_))), "{answers:?}");
            assert_eq!(committer.stopped, None, "{times}");
        }
    }

    /// It asks again because it never heard: told that nothing was done, it would do the act a second time.
    #[test]
    fn a_commit_that_was_done_stays_done_whatever_happens_to_the_group_it_is_repeated_in() {
        for how in [|| ApplyError::Full, || ApplyError::Broken("broken".to_owned()), || ApplyError::Lost("cut off".to_owned())] {
            let engine = CutOff::new(how);
            let mut committer = Committer::start(engine.clone(), Shard(0)).unwrap();
            let done = committer.decide_and_write(&[put(1)]);
            engine.times.store(JUDGE_MAX, Ordering::Relaxed);
            let answers = committer.decide_and_write(&[put(1), put(2), put(2)]);
            assert_eq!(answers[0].as_ref().ok(), done[0].as_ref().ok(), "{:?}", how());
            assert!(answers[0].is_ok() && answers[1].is_err() && answers[2].is_err(), "{answers:?}");
        }
    }

    #[test]
    fn a_broken_engine_is_said_to_whoever_can_start_anew() {
        let engine = CutOff::new(|| ApplyError::Broken("the disk is gone".to_owned()));
        let store = crate::store::Store::new(engine.clone());
        block_on(store.commit(put(1))).unwrap();
        assert!(futures::FutureExt::now_or_never(store.stopped()).is_none());
        engine.times.store(1, Ordering::Relaxed);
        assert_eq!(block_on(store.commit(put(2))), Err(CommitError::Unknown));
        assert_eq!(block_on(store.stopped()), Stopped::Broken("the disk is gone".to_owned()));
    }

    #[test]
    fn a_committer_that_panics_is_said_too() {
        let engine = CutOff::new(|| panic!("on purpose"));
        let store = crate::store::Store::new(engine.clone());
        engine.times.store(1, Ordering::Relaxed);
        assert_eq!(block_on(store.commit(put(1))), Err(CommitError::Unknown));
        assert!(matches!(block_on(store.stopped()), Stopped::Broken(_)));
    }
}
