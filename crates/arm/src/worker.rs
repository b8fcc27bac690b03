//! The worker: does the steps of long operations, each under a permit of its own, recorded under whoever asked.
//!
//! An operation is stored before it is queued, so a stop or a crash loses none: [`start`] takes up what is pending at the
//! first step that is not done. Steps may run twice and do no harm (`service::Kind::apply`).

use crate::Arm;
use crate::calls::resources::merged;
use crate::model::{
    CREATING, DELETING, Fault, GROUPS, OPERATIONS, Operation, PENDING, Pending, Purpose, RESOURCES, Resource, SUCCEEDED, Status, row_name,
    subscription_of,
};
use base::{Error, Kind, OperationId, RequestId, ResourceId, Result, Timestamp};
use serde_json::Value;
use service::{Have, Neighbours, Progress, Step, Urls};
use std::collections::{BTreeMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;
use tokio::sync::{Semaphore, mpsc, oneshot, watch};
use tokio::task::JoinSet;
use trust::{Batch, Caller, CommitFailed, Fact, Origin, Outcome, Permit, Read, Span, Trust, Weight, Write};

/// Operations at work at once.
const AT_ONCE: usize = 32;
/// A step that can't be done now (a full disk, a store that is away) is tried so often, so far apart.
const TRIES: u32 = 20;
const PAUSE: Duration = Duration::from_millis(250);
/// What the worker can't write into its own books now is tried again so much later, twice as late each time.
const BOOKS_PAUSE: Duration = Duration::from_millis(100);
const BOOKS_PAUSE_MAX: Duration = Duration::from_secs(60);
/// An operation that may have been stored unseen is looked for so much later.
const LOOK_PAUSE: Duration = Duration::from_secs(1);
/// Rounds of read, decide, commit when others change the same rows.
const ROUNDS: usize = 16;
/// An ended operation can be polled for so long, seconds.
const KEPT_S: i64 = 24 * 3_600;
const FORGET_EVERY: Duration = Duration::from_secs(3_600);
/// Rows looked at, and forgotten, in one commit.
const FORGET_RUN: usize = 400;
/// Role assignments removed in one commit.
const ASSIGNMENTS_RUN: usize = 400;

/// How an operation ended: what is there now, or why it failed. Boxed, since it travels.
pub(crate) type Ended = Box<Result<Option<Have>, Fault>>;
type Done = oneshot::Sender<Ended>;
/// A word to the worker.
enum Word {
    /// To be done; who waits learns how it ended.
    Do(Box<Operation>, Option<Done>),
    /// An operation of this subscription may have been stored although nobody could say so.
    Look(ResourceId),
}

/// What waits for the worker. Everything in it is stored too, so it may be dropped.
pub(crate) struct Queue {
    sender: mpsc::UnboundedSender<Word>,
    receiver: Mutex<Option<mpsc::UnboundedReceiver<Word>>>,
}

impl Default for Queue {
    fn default() -> Queue {
        let (sender, receiver) = mpsc::unbounded_channel();
        Queue { sender, receiver: Mutex::new(Some(receiver)) }
    }
}

impl Queue {
    /// Unbounded because bounded elsewhere: one entry for each answered request that has stored its operation.
    pub(crate) fn push(&self, operation: Operation, done: Option<Done>) {
        // without a worker it stays pending until one starts
        let _ = self.sender.send(Word::Do(Box::new(operation), done));
    }

    /// Waits for the commit of an operation. Where its answer is lost, or whoever waits goes away, the worker looks for
    /// the operation itself: stored, it must not wait for the next start.
    pub(crate) async fn watching<T>(&self, id: &ResourceId, settling: impl Future<Output = Result<T>>) -> Result<T> {
        let mut watch = Watch { queue: self, subscription: subscription_of(id).ok() };
        let settled = settling.await;
        if !settled.as_ref().is_err_and(|error| error.code == "OutcomeUnknown") {
            watch.subscription = None;
        }
        settled
    }
}

struct Watch<'a> {
    queue: &'a Queue,
    subscription: Option<ResourceId>,
}

impl Drop for Watch<'_> {
    fn drop(&mut self) {
        if let Some(subscription) = self.subscription.take() {
            let _ = self.queue.sender.send(Word::Look(subscription));
        }
    }
}

/// The worker at work.
pub struct Running {
    stop: watch::Sender<bool>,
    task: tokio::task::JoinHandle<()>,
    work: Work,
    deployments: Option<crate::deployments::Running>,
}

impl Running {
    /// Removes the rows of operations that ended a day ago, as happens each hour; gives their number.
    pub async fn forget_ended(&self) -> Result<u64> {
        self.work.forget_ended().await
    }
    pub(crate) fn beside(self, deployments: crate::deployments::Running) -> Running {
        Running { deployments: Some(deployments), ..self }
    }
    /// Finishes the steps under way; what is left goes on at the next start.
    pub async fn stop(self) {
        if let Some(deployments) = self.deployments {
            deployments.stop().await;
        }
        self.stop.send_replace(true);
        if let Err(error) = self.task.await {
            tracing::error!(%error, "the worker did not stop in good order");
        }
    }
}

/// One operation's surroundings.
#[derive(Clone)]
struct Work {
    arm: Arc<Arm>,
    trust: Trust,
    urls: Arc<Urls>,
    stop: watch::Receiver<bool>,
    turns: Arc<Semaphore>,
    /// Operations that are taken up: each is done once at a time.
    taken: Arc<Mutex<HashSet<OperationId>>>,
    /// Subscriptions in which somebody is about to look for operations that are not taken up.
    looking: Arc<Mutex<HashSet<ResourceId>>>,
    /// When the earliest ended operation of a subscription may be forgotten; none: nothing to look for.
    ripe: Arc<Mutex<BTreeMap<ResourceId, Timestamp>>>,
}

pub(crate) async fn start(arm: Arc<Arm>, trust: Trust, urls: Arc<Urls>) -> Result<Running> {
    let mut receiver =
        arm.queue.receiver.lock().unwrap_or_else(|e| e.into_inner()).take().ok_or_else(|| Error::internal("the worker is started once"))?;
    let (stop, stopped) = watch::channel(false);
    let work = Work {
        arm,
        trust,
        urls,
        stop: stopped.clone(),
        turns: Arc::new(Semaphore::new(AT_ONCE)),
        taken: Arc::default(),
        looking: Arc::default(),
        ripe: Arc::default(),
    };
    let (mut waiting, mut unread): (Vec<Operation>, _) = (Vec::new(), Vec::new());
    for subscription in work.subscriptions() {
        // what an earlier process ended is looked for once, when the start is over
        work.ripe().insert(subscription.clone(), work.trust.clock().now().plus_seconds(FORGET_EVERY.as_secs() as i64));
        match work.pending(&subscription).await {
            Ok(found) => waiting.extend(found),
            // one tenant's rows must not keep the region from starting
            Err(error) => {
                tracing::error!(%subscription, %error, "unfinished operations could not be read; it is tried again");
                unread.push(subscription);
            }
        }
    }
    waiting.sort_by_key(|operation| operation.began);
    let sweeper = work.clone();
    let task = tokio::spawn(async move {
        let mut sweeps = tokio::time::interval_at(tokio::time::Instant::now() + FORGET_EVERY, FORGET_EVERY);
        let mut running = JoinSet::new();
        for operation in waiting {
            running.spawn(work.clone().run(operation, None));
        }
        for subscription in unread {
            running.spawn(work.clone().take_up(subscription, BOOKS_PAUSE));
        }
        let mut stopped = stopped;
        loop {
            tokio::select! {
                next = receiver.recv() => match next {
                    Some(Word::Do(operation, done)) => drop(running.spawn(work.clone().run(*operation, done))),
                    Some(Word::Look(subscription)) => drop(running.spawn(work.clone().take_up(subscription, LOOK_PAUSE))),
                    None => break,
                },
                _ = stopped.wait_for(|s| *s) => break,
                Some(_) = running.join_next() => {}
                _ = sweeps.tick() => {
                    let work = work.clone();
                    running.spawn(async move {
                        if let Err(error) = work.forget_ended().await {
                            tracing::warn!(%error, "ended operations could not be forgotten; it is tried again");
                        }
                    });
                }
            }
        }
        while running.join_next().await.is_some() {}
    });
    Ok(Running { stop, task, work: sweeper, deployments: None })
}

/// How an operation left the worker.
enum Left {
    Ended(Ended),
    /// The region stops: it goes on at the next start.
    Stopped,
    /// It goes on when another operation has ended.
    Waits,
}

/// What became of what a failed creation had made.
enum Undone {
    /// There was nothing to undo: the resource was there before.
    Kept,
    Gone,
    /// It is still there, and why: its row stays, so that it can be deleted.
    Left(String),
    /// The region stops.
    Stopped,
}

/// Why an operation does not go on.
enum Trouble {
    /// The work itself failed: so ends the operation.
    Work(Error),
    /// The worker's own books can't be read or written now. That is no fault of the operation's: it goes on later.
    Books(Error),
    /// Another operation has to end first, and may need this one's turn.
    Busy,
}

impl From<Error> for Trouble {
    fn from(error: Error) -> Trouble {
        Trouble::Books(error)
    }
}

impl Work {
    fn near(&self, caller: Caller) -> Neighbours {
        let origin = Origin { request: RequestId::random(&*self.trust.chance()), peer: None, client_request: None, user_agent: None };
        Neighbours::new(self.trust.clone(), caller, origin, self.urls.clone())
    }
    /// The worker's own bookkeeping in a subscription.
    fn books(&self) -> Neighbours {
        self.near(Caller::Region { part: "arm" })
    }
    async fn book<A: trust::Access>(&self, subscription: &ResourceId, detail: &str) -> Result<Permit<A>> {
        self.weighing(Weight::With, subscription, detail).await
    }
    async fn weighing<A: trust::Access>(&self, weight: Weight, subscription: &ResourceId, detail: &str) -> Result<Permit<A>> {
        self.books().permit("Keep Operation", &["bleu.arm/operations/write"], false, subscription, weight, detail).await
    }

    fn subscriptions(&self) -> Vec<ResourceId> {
        self.trust.facts(|f| f.tenants().flat_map(|t| f.subscriptions(t.id)).map(|s| ResourceId::subscription(s.id)).collect())
    }

    /// Every operation of a subscription that is not ended.
    async fn pending(&self, subscription: &ResourceId) -> Result<Vec<Operation>> {
        let permit: Permit<Read> = self.book(subscription, "pending").await?;
        let (mut found, mut span) = (Vec::new(), Span::all());
        loop {
            let page = permit.data().scan::<Pending>(PENDING, span, 1_000).await?;
            for (name, _) in page.rows {
                found.extend(permit.data().get::<Operation>(OPERATIONS, name).await?.map(|o| o.value));
            }
            match page.next {
                Some(next) => span = Span::all().from(next),
                None => break,
            }
        }
        permit.close(Outcome::done(200)).await?;
        Ok(found)
    }

    /// As at the start, once the operations of a subscription can be read.
    async fn take_up(self, subscription: ResourceId, pause: Duration) {
        if !self.looking().insert(subscription.clone()) {
            // whoever is there has not looked yet
            return;
        }
        // before the look: what is stored after it has a look of its own
        let found = async {
            if self.pause(pause).await {
                return Vec::new();
            }
            self.looking().remove(&subscription);
            self.unended(&subscription, Duration::ZERO).await
        };
        // side by side: a group that is emptied waits for others of them
        let mut running: JoinSet<()> = found.await.into_iter().map(|operation| self.clone().run(operation, None)).collect();
        while running.join_next().await.is_some() {}
    }
    fn looking(&self) -> MutexGuard<'_, HashSet<ResourceId>> {
        self.looking.lock().unwrap_or_else(|e| e.into_inner())
    }
    async fn unended(&self, subscription: &ResourceId, mut pause: Duration) -> Vec<Operation> {
        loop {
            if self.pause(pause).await {
                return Vec::new();
            }
            match self.pending(subscription).await {
                Ok(found) => return found,
                Err(error) => tracing::warn!(%subscription, %error, "unfinished operations could not be read; it is tried again"),
            }
            pause = (pause * 2).clamp(BOOKS_PAUSE, BOOKS_PAUSE_MAX);
        }
    }

    /// Takes an operation to its end, whatever stands in the way of the worker's books meanwhile.
    async fn run(self, mut operation: Operation, done: Option<Done>) {
        let id = operation.id;
        if !self.taken().insert(id) {
            return;
        }
        if let Some(ended) = self.attempts(&mut operation).await {
            // nobody may wait any more
            let _ = done.map(|d| d.send(ended));
        }
        self.taken().remove(&id);
    }
    fn taken(&self) -> MutexGuard<'_, HashSet<OperationId>> {
        self.taken.lock().unwrap_or_else(|e| e.into_inner())
    }

    /// `None`: the region stops.
    async fn attempts(&self, operation: &mut Operation) -> Option<Ended> {
        let mut pause = BOOKS_PAUSE;
        let mut again = false;
        loop {
            let wait = match self.attempt(operation, again).await {
                Ok(Left::Ended(ended)) => return Some(ended),
                Ok(Left::Stopped) => return None,
                Ok(Left::Waits) => PAUSE,
                Err(error) => {
                    tracing::warn!(operation = %operation.id, %error, "an operation could not be moved on; it is tried again");
                    pause = (pause * 2).min(BOOKS_PAUSE_MAX);
                    pause / 2
                }
            };
            if self.pause(wait).await {
                return None;
            }
            again = true;
        }
    }

    /// One attempt; `again`: from where the books say the operation is. Error: they can't be read or written now.
    async fn attempt(&self, operation: &mut Operation, again: bool) -> Result<Left> {
        let Ok(_turn) = self.turns.acquire().await else { return Ok(Left::Stopped) };
        if again && let Some(ended) = self.reread(operation).await? {
            return Ok(Left::Ended(ended));
        }
        self.perform(operation).await
    }

    /// Takes up what the books say; `Some`: the operation has ended, an earlier attempt did not learn that it was written.
    async fn reread(&self, operation: &mut Operation) -> Result<Option<Ended>> {
        let permit: Permit<Read> = self.book(&subscription_of(&operation.target)?, "operation").await?;
        let found = permit.data().get::<Operation>(OPERATIONS, operation.id.to_string()).await?;
        let have = permit.data().get::<Resource>(RESOURCES, row_name(&operation.target)).await?.map(|r| r.value.have);
        permit.close(Outcome::done(200)).await?;
        if let Some(found) = found {
            *operation = found.value;
        }
        let ended = match (operation.status, &operation.error) {
            (Status::InProgress, _) => return Ok(None),
            (_, Some(fault)) => Err(fault.clone()),
            (_, None) => Ok(have.filter(|_| operation.purpose == Purpose::Put)),
        };
        Ok(Some(Box::new(ended)))
    }

    async fn perform(&self, operation: &mut Operation) -> Result<Left> {
        let result = match operation.purpose {
            Purpose::Put | Purpose::Delete => self.steps(operation).await,
            Purpose::DeleteGroup => self.empty_group(operation).await,
        };
        match result {
            Ok(None) => Ok(Left::Stopped),
            Ok(Some(properties)) => Ok(Left::Ended(Box::new(self.end(operation, Ok(properties), false).await?))),
            Err(Trouble::Busy) => Ok(Left::Waits),
            Err(Trouble::Books(error)) => Err(error),
            Err(Trouble::Work(error)) => {
                if error.kind == Kind::Internal {
                    tracing::error!(operation = %operation.id, %error, "an operation failed");
                }
                let mut fault = Fault { code: error.code.to_string(), message: error.message, status: error.kind.status() };
                let gone = match self.undo(operation).await? {
                    Undone::Stopped => return Ok(Left::Stopped),
                    Undone::Kept => false,
                    Undone::Gone => true,
                    Undone::Left(why) => {
                        fault.message.push_str(&format!(" What was made of it so far could not be removed ({why}): delete the resource."));
                        false
                    }
                };
                Ok(Left::Ended(Box::new(self.end(operation, Err(fault), gone).await?)))
            }
        }
    }

    /// Gives back what a failed creation has claimed, by the steps of a deletion: its name is free again.
    async fn undo(&self, operation: &Operation) -> Result<Undone> {
        if operation.purpose != Purpose::Put {
            return Ok(Undone::Kept);
        }
        let permit: Permit<Read> = self.book(&subscription_of(&operation.target)?, "undo").await?;
        let found = permit.data().get::<Resource>(RESOURCES, row_name(&operation.target)).await?;
        permit.close(Outcome::done(200)).await?;
        let Some(have) = found.map(|f| f.value.have).filter(|have| have.provisioning == CREATING) else { return Ok(Undone::Kept) };
        let removed = async {
            for step in self.arm.kind_of(&have.id)?.plan_delete(&have.id, &have)? {
                // under the action that the creation had: whoever may create may take back
                if self.step(&operation.caller(), &have.id, &step, "write").await?.is_none() {
                    return Ok(Undone::Stopped);
                }
            }
            Ok(Undone::Gone)
        };
        Ok(removed.await.unwrap_or_else(|error: Error| {
            tracing::error!(operation = %operation.id, %error, "a failed creation could not be undone");
            Undone::Left(error.code.to_string())
        }))
    }

    /// Waits; true: the region stops.
    async fn pause(&self, pause: Duration) -> bool {
        let mut stop = self.stop.clone();
        tokio::time::timeout(pause, stop.wait_for(|stop| *stop)).await.is_ok()
    }

    fn stopping(&self) -> bool {
        *self.stop.borrow()
    }

    /// The steps that are not done. `None`: the region stops.
    async fn steps(&self, operation: &mut Operation) -> Result<Option<Value>, Trouble> {
        let what = if operation.purpose == Purpose::Put { "write" } else { "delete" };
        let mut properties = Value::Null;
        while let Some(step) = operation.steps.get(operation.done as usize).cloned() {
            let found = self.step(&operation.caller(), &operation.target, &step, what).await.map_err(Trouble::Work)?;
            let Some(found) = found else { return Ok(None) };
            properties = merged((!properties.is_null()).then_some(properties), found);
            operation.done += 1;
            if (operation.done as usize) < operation.steps.len() {
                self.step_done(operation, &properties).await?;
            }
        }
        Ok(Some(properties))
    }

    /// One step, again and again while it says so. `None`: the region stops.
    async fn step(&self, caller: &Caller, id: &ResourceId, step: &Step, what: &str) -> Result<Option<Value>> {
        let kind = self.arm.kind_of(id)?.clone();
        let near = self.near(caller.clone());
        let action = format!("{}/{}/{what}", kind.namespace(), kind.name());
        let mut tries = 0;
        loop {
            if self.stopping() {
                return Ok(None);
            }
            let progress = async {
                let permit: Permit<Write> = near.permit("Apply Step", &[action.as_str()], false, id, Weight::Indexed, &step.name).await?;
                kind.apply(id, step, permit, &near).await
            };
            match progress.await {
                Ok((_, Progress::Done(properties))) => return Ok(Some(properties)),
                Ok((_, Progress::Again { after_ms })) => drop(self.pause(Duration::from_millis(after_ms)).await),
                Err(error) if tries < TRIES && retriable(&error) => {
                    tries += 1;
                    self.pause(PAUSE).await;
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// Keeps how far the operation is, and what its steps found out.
    async fn step_done(&self, operation: &Operation, properties: &Value) -> Result<()> {
        self.change(operation, "step", |resource| {
            let mut resource = resource?;
            resource.have.properties = merged(Some(resource.have.properties), properties.clone());
            Some(resource)
        })
        .await
        .map(drop)
    }

    /// Ends the operation in one commit: its row, its pending mark, and what became of the resource. `gone`: nothing is
    /// left of it, so its row goes too.
    async fn end(&self, operation: &Operation, result: Result<Value, Fault>, gone: bool) -> Result<Result<Option<Have>, Fault>> {
        let mut operation = operation.clone();
        operation.ended = Some(self.trust.clock().now());
        operation.status = if result.is_ok() { Status::Succeeded } else { Status::Failed };
        operation.error = result.as_ref().err().cloned();
        self.forget_later(&operation)?;
        if operation.purpose == Purpose::DeleteGroup {
            self.end_group(&operation).await?;
            return Ok(result.map(|_| None));
        }
        if result.is_ok() && operation.purpose == Purpose::Delete {
            self.remove_assignments(&operation.target).await?;
        }
        let kept = self
            .change(&operation, "end", |resource| {
                let mut resource = resource?;
                resource.operation = None;
                match (&result, operation.purpose) {
                    (Ok(_), Purpose::Delete) => return None,
                    // what was never there is not kept as a ruin
                    (Err(_), Purpose::Put) if gone => return None,
                    (Err(_), _) => resource.have.provisioning = "Failed".into(),
                    (Ok(properties), _) => {
                        resource.have.properties = merged(Some(resource.have.properties), properties.clone());
                        resource.have.provisioning = SUCCEEDED.into();
                    }
                }
                Some(resource)
            })
            .await?;
        Ok(result.map(|_| kept.map(|r| r.have)))
    }

    /// Its row is swept in its time.
    fn forget_later(&self, operation: &Operation) -> Result<()> {
        let due = operation.ended.unwrap_or_else(|| self.trust.clock().now()).plus_seconds(KEPT_S);
        self.ripe().entry(subscription_of(&operation.target)?).or_insert(due);
        Ok(())
    }
    fn ripe(&self) -> MutexGuard<'_, BTreeMap<ResourceId, Timestamp>> {
        self.ripe.lock().unwrap_or_else(|e| e.into_inner())
    }

    /// Removes the rows of operations that ended long ago, where there may be some; gives their number.
    async fn forget_ended(&self) -> Result<u64> {
        let now = self.trust.clock().now();
        let due: Vec<ResourceId> = self.ripe().iter().filter(|(_, due)| **due <= now).map(|(id, _)| id.clone()).collect();
        let mut forgotten = 0;
        for subscription in due {
            // before the look, so that what ends meanwhile is noted anew
            self.ripe().remove(&subscription);
            let looked = self.forget_ended_of(&subscription, now).await;
            let next = looked.as_ref().map_or(Some(now), |(_, next)| *next);
            if let Some(next) = next {
                let mut ripe = self.ripe();
                let due = ripe.entry(subscription).or_insert(next);
                *due = next.min(*due);
            }
            forgotten += looked?.0;
        }
        Ok(forgotten)
    }

    /// The number of rows removed, and when the next one will be due.
    async fn forget_ended_of(&self, subscription: &ResourceId, now: Timestamp) -> Result<(u64, Option<Timestamp>)> {
        let (mut forgotten, mut next): (u64, Option<Timestamp>) = (0, None);
        let mut span = Span::all();
        loop {
            let permit: Permit<Write> = self.book(subscription, "forget").await?;
            let page = permit.data().scan::<Operation>(OPERATIONS, span, FORGET_RUN).await?;
            let mut batch = Batch::new();
            let before = forgotten;
            for (name, row) in page.rows {
                // one that is not ended comes back when it is
                let Some(due) = row.value.ended.map(|ended| ended.plus_seconds(KEPT_S)) else { continue };
                if due <= now {
                    batch = batch.delete(OPERATIONS, name);
                    forgotten += 1;
                } else {
                    next = Some(next.map_or(due, |next| next.min(due)));
                }
            }
            if forgotten > before {
                permit.commit(batch, Outcome::done(200)).await?;
            } else {
                permit.close(Outcome::done(200)).await?;
            }
            match page.next {
                Some(from) => span = Span::all().from(from),
                None => return Ok((forgotten, next)),
            }
        }
    }

    /// Writes the operation's row and what `decide` makes of the resource's (`None`: it goes).
    async fn change(
        &self,
        operation: &Operation,
        detail: &str,
        decide: impl Fn(Option<Resource>) -> Option<Resource>,
    ) -> Result<Option<Resource>> {
        let (name, key) = (row_name(&operation.target), operation.id.to_string());
        let mut permit: Permit<Write> = self.book(&subscription_of(&operation.target)?, detail).await?;
        for _ in 0..ROUNDS {
            let found = permit.data().get::<Resource>(RESOURCES, &name).await?;
            let version = found.as_ref().map(|f| f.version);
            let next = decide(found.map(|f| f.value));
            let mut batch = Batch::new().unchanged(RESOURCES, &name, version).put(OPERATIONS, &key, operation);
            batch = match &next {
                Some(resource) => batch.put(RESOURCES, &name, resource),
                None => batch.delete(RESOURCES, &name),
            };
            if operation.ended.is_some() {
                batch = batch.delete(PENDING, &key);
            }
            match permit.commit(batch, Outcome::done(200)).await {
                Ok(_) => return Ok(next),
                Err(CommitFailed { permit: Some(back), .. }) => permit = back,
                Err(CommitFailed { error, .. }) => return Err(error),
            }
        }
        Err(Error::new(Kind::Conflict, "Conflict", "Other requests keep changing this resource."))
    }

    /// Deletes what is in a group, inner resources first. `None`: the region stops.
    async fn empty_group(&self, operation: &Operation) -> Result<Option<Value>, Trouble> {
        let (subscription, prefix) = (subscription_of(&operation.target)?, format!("{}/", row_name(&operation.target)));
        loop {
            let permit: Permit<Read> = self.book(&subscription, "group").await?;
            let page = permit.data().scan::<Resource>(RESOURCES, Span::prefix(&prefix).backwards(), 100).await?;
            permit.close(Outcome::done(200)).await?;
            if page.rows.is_empty() {
                return Ok(Some(Value::Null));
            }
            let mut deleted = 0;
            for (_, row) in page.rows.into_iter().filter(|(_, row)| row.value.operation.is_none()) {
                if self.stopping() || !self.delete_one(operation, &row.value.have, row.version).await? {
                    return Ok(None);
                }
                deleted += 1;
            }
            if deleted == 0 {
                // the others end by themselves, since the group takes nothing new
                return Err(Trouble::Busy);
            }
        }
    }

    /// False: the region stops.
    async fn delete_one(&self, operation: &Operation, have: &Have, version: trust::Version) -> Result<bool, Trouble> {
        let kind = self.arm.kind_of(&have.id).map_err(Trouble::Work)?.clone();
        for step in kind.plan_delete(&have.id, have).map_err(Trouble::Work)? {
            if self.step(&operation.caller(), &have.id, &step, "delete").await.map_err(Trouble::Work)?.is_none() {
                return Ok(false);
            }
        }
        self.remove_assignments(&have.id).await?;
        let permit: Permit<Write> = self.book(&subscription_of(&have.id)?, "group").await?;
        let name = row_name(&have.id);
        match permit.commit(Batch::new().is(RESOURCES, &name, version).delete(RESOURCES, &name), Outcome::done(200)).await {
            // changed meanwhile: the next round of the group sees it again
            Ok(_) | Err(CommitFailed { permit: Some(_), .. }) => Ok(true),
            Err(CommitFailed { error, .. }) => Err(error.into()),
        }
    }

    async fn end_group(&self, operation: &Operation) -> Result<()> {
        let group = &operation.target;
        if operation.status == Status::Succeeded {
            self.remove_assignments(group).await?;
            self.remove_deployments(group).await?;
        }
        let (name, key) = (row_name(group), operation.id.to_string());
        let mut permit: Permit<Write> = self.book(&subscription_of(group)?, "group").await?;
        for _ in 0..ROUNDS {
            let found = permit.data().get::<crate::model::Group>(GROUPS, &name).await?;
            let mut batch = Batch::new()
                .unchanged(GROUPS, &name, found.as_ref().map(|f| f.version))
                .put(OPERATIONS, &key, operation)
                .delete(PENDING, &key);
            batch = match found.map(|f| f.value) {
                Some(mut left) if operation.status == Status::Failed => {
                    // what could not be deleted is there to be looked at, and deleted again
                    if left.provisioning == DELETING {
                        left.provisioning = SUCCEEDED.into();
                    }
                    batch.put(GROUPS, &name, &left)
                }
                _ => batch.delete(GROUPS, &name),
            };
            match permit.commit(batch, Outcome::done(200)).await {
                Ok(_) => return Ok(()),
                Err(CommitFailed { permit: Some(back), .. }) => permit = back,
                Err(CommitFailed { error, .. }) => return Err(error),
            }
        }
        Err(Error::new(Kind::Conflict, "Conflict", "Other requests keep changing this group."))
    }

    /// Deployments of a group go with it.
    async fn remove_deployments(&self, group: &ResourceId) -> Result<()> {
        loop {
            let permit: Permit<Write> = self.book(&subscription_of(group)?, "deployments").await?;
            let Some(batch) = crate::deployments::leftovers(&permit, group).await? else {
                return permit.close(Outcome::done(200)).await.map(drop);
            };
            permit.commit(batch, Outcome::done(200)).await?;
        }
    }

    /// Roles, and what else rules a deleted scope, go with it: something made anew under its name must not inherit them.
    async fn remove_assignments(&self, scope: &ResourceId) -> Result<()> {
        let here: Vec<String> = self.trust.facts(|f| {
            let tenant = f.tenant_of(scope);
            let all = tenant.map(|t| f.assignments(t)).unwrap_or_default();
            let mut keys: Vec<String> = all.into_iter().filter(|a| a.scope.is_within(scope)).map(|a| Fact::assignment_key(&a.id)).collect();
            for family in crate::rulings::FAMILIES {
                let found = f.scoped_at(family, scope).chain(f.scoped_below(family, scope));
                keys.extend(found.map(|fact| Fact::scoped_key(family, &fact.id)));
            }
            keys
        });
        for run in here.chunks(ASSIGNMENTS_RUN) {
            let permit: Permit<Write> = self.weighing(Weight::Indexed, &subscription_of(scope)?, "assignments").await?;
            let batch = run.iter().cloned().fold(Batch::new(), Batch::remove_fact);
            permit.commit(batch, Outcome::done(200)).await?;
        }
        Ok(())
    }
}

/// Conflicts of the store pass; a service's own words do not.
fn retriable(error: &Error) -> bool {
    matches!(&*error.code, "Conflict" | "StoreUnavailable" | "DiskFull" | "OutcomeUnknown" | "SiteUnavailable")
}
