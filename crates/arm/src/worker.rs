//! The worker: does the steps of long operations, each under a permit of its own, recorded under whoever asked.
//!
//! An operation is stored before it is queued, so a stop or a crash loses none: [`start`] takes up what is pending at the
//! first step that is not done. Steps may run twice and do no harm (`service::Kind::apply`).

use crate::Arm;
use crate::calls::resources::merged;
use crate::model::{
    DELETING, Fault, GROUPS, OPERATIONS, Operation, PENDING, Pending, Purpose, RESOURCES, Resource, SUCCEEDED, Status, row_name,
    subscription_of,
};
use base::{Error, Kind, RequestId, ResourceId, Result};
use serde_json::Value;
use service::{Have, Neighbours, Progress, Step, Urls};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::sync::{Semaphore, mpsc, oneshot, watch};
use tokio::task::JoinSet;
use trust::{Batch, Caller, CommitFailed, Fact, Origin, Outcome, Permit, Read, Span, Trust, Weight, Write};

/// Operations at work at once.
const AT_ONCE: usize = 32;
/// A step that can't be done now (a full disk, a store that is away) is tried so often, so far apart.
const TRIES: u32 = 20;
const PAUSE: Duration = Duration::from_millis(250);
/// Rounds of read, decide, commit when others change the same rows.
const ROUNDS: usize = 16;
/// Role assignments removed in one commit.
const ASSIGNMENTS_RUN: usize = 400;

/// How an operation ended: what is there now, or why it failed. Boxed, since it travels.
pub(crate) type Ended = Box<Result<Option<Have>, Fault>>;
type Done = oneshot::Sender<Ended>;
type Waiting = (Operation, Option<Done>);

/// What waits for the worker. Everything in it is stored too, so it may be dropped.
pub(crate) struct Queue {
    sender: mpsc::UnboundedSender<Waiting>,
    receiver: Mutex<Option<mpsc::UnboundedReceiver<Waiting>>>,
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
        let _ = self.sender.send((operation, done));
    }
}

/// The worker at work.
pub struct Running {
    stop: watch::Sender<bool>,
    task: tokio::task::JoinHandle<()>,
}

impl Running {
    /// Finishes the steps under way; what is left goes on at the next start.
    pub async fn stop(self) {
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
}

pub(crate) async fn start(arm: Arc<Arm>, trust: Trust, urls: Arc<Urls>) -> Result<Running> {
    let mut receiver =
        arm.queue.receiver.lock().unwrap_or_else(|e| e.into_inner()).take().ok_or_else(|| Error::internal("the worker is started once"))?;
    let (stop, stopped) = watch::channel(false);
    let work = Work { arm, trust, urls, stop: stopped.clone() };
    let waiting = work.pending().await?;
    let task = tokio::spawn(async move {
        let turns = Arc::new(Semaphore::new(AT_ONCE));
        let mut running = JoinSet::new();
        let begin = |running: &mut JoinSet<()>, operation: Operation, done: Option<Done>| {
            let (work, turns) = (work.clone(), turns.clone());
            running.spawn(async move {
                let Ok(_turn) = turns.acquire_owned().await else { return };
                work.run(operation, done).await;
            });
        };
        for operation in waiting {
            begin(&mut running, operation, None);
        }
        let mut stopped = stopped;
        loop {
            tokio::select! {
                next = receiver.recv() => match next {
                    Some((operation, done)) => begin(&mut running, operation, done),
                    None => break,
                },
                _ = stopped.wait_for(|s| *s) => break,
                Some(_) = running.join_next() => {}
            }
        }
        while running.join_next().await.is_some() {}
    });
    Ok(Running { stop, task })
}

/// How an operation left the worker.
enum Left {
    Ended(Ended),
    /// The region stops: it goes on at the next start.
    Stopped,
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
        self.books().permit("Keep Operation", &["bleu.arm/operations/write"], false, subscription, Weight::With, detail).await
    }

    /// Every operation that is not ended, of every subscription.
    async fn pending(&self) -> Result<Vec<Operation>> {
        let subscriptions: Vec<ResourceId> =
            self.trust.facts(|f| f.tenants().flat_map(|t| f.subscriptions(t.id)).map(|s| ResourceId::subscription(s.id)).collect());
        let mut found = Vec::new();
        for subscription in subscriptions {
            let permit: Permit<Read> = self.book(&subscription, "pending").await?;
            let mut span = Span::all();
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
        }
        found.sort_by_key(|o| o.began);
        Ok(found)
    }

    async fn run(self, operation: Operation, done: Option<Done>) {
        let id = operation.id;
        match self.perform(operation).await {
            Ok(Left::Ended(ended)) => {
                // nobody may wait any more
                let _ = done.map(|d| d.send(ended));
            }
            Ok(Left::Stopped) => {}
            Err(error) => tracing::error!(operation = %id, %error, "an operation could not be moved on; it goes on at the next start"),
        }
    }

    async fn perform(&self, mut operation: Operation) -> Result<Left> {
        let result = match operation.purpose {
            Purpose::Put | Purpose::Delete => self.steps(&mut operation).await,
            Purpose::DeleteGroup => self.empty_group(&operation).await,
        };
        match result {
            Ok(None) => Ok(Left::Stopped),
            Ok(Some(properties)) => Ok(Left::Ended(Box::new(self.end(&operation, Ok(properties)).await?))),
            Err(error) => {
                if error.kind == Kind::Internal {
                    tracing::error!(operation = %operation.id, %error, "an operation failed");
                }
                let fault = Fault { code: error.code.to_string(), message: error.message, status: error.kind.status() };
                Ok(Left::Ended(Box::new(self.end(&operation, Err(fault)).await?)))
            }
        }
    }

    fn stopping(&self) -> bool {
        *self.stop.borrow()
    }

    /// The steps that are not done. `None`: the region stops.
    async fn steps(&self, operation: &mut Operation) -> Result<Option<Value>> {
        let what = if operation.purpose == Purpose::Put { "write" } else { "delete" };
        let mut properties = Value::Null;
        while let Some(step) = operation.steps.get(operation.done as usize).cloned() {
            let Some(found) = self.step(&operation.caller(), &operation.target, &step, what).await? else { return Ok(None) };
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
                let permit: Permit<Write> = near.permit("Apply Step", &[action.as_str()], false, id, Weight::Before, &step.name).await?;
                kind.apply(id, step, permit, &near).await
            };
            match progress.await {
                Ok((_, Progress::Done(properties))) => return Ok(Some(properties)),
                Ok((_, Progress::Again { after_ms })) => tokio::time::sleep(Duration::from_millis(after_ms)).await,
                Err(error) if tries < TRIES && retriable(&error) => {
                    tries += 1;
                    tokio::time::sleep(PAUSE).await;
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

    /// Ends the operation in one commit: its row, its pending mark, and what became of the resource.
    async fn end(&self, operation: &Operation, result: Result<Value, Fault>) -> Result<Result<Option<Have>, Fault>> {
        let mut operation = operation.clone();
        operation.ended = Some(self.trust.clock().now());
        operation.status = if result.is_ok() { Status::Succeeded } else { Status::Failed };
        operation.error = result.as_ref().err().cloned();
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
                    // what was never there is not kept as a ruin: its name is free again
                    (Err(_), Purpose::Put) if resource.have.provisioning == "Creating" => return None,
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
    async fn empty_group(&self, operation: &Operation) -> Result<Option<Value>> {
        let (subscription, prefix) = (subscription_of(&operation.target)?, format!("{}/", row_name(&operation.target)));
        loop {
            let permit: Permit<Read> = self.book(&subscription, "group").await?;
            let page = permit.data().scan::<Resource>(RESOURCES, Span::prefix(&prefix).backwards(), 100).await?;
            permit.close(Outcome::done(200)).await?;
            if page.rows.is_empty() {
                return Ok(Some(Value::Null));
            }
            for (_, row) in page.rows {
                if self.stopping() {
                    return Ok(None);
                }
                if row.value.operation.is_some() {
                    // it ends by itself, since the group takes nothing new
                    tokio::time::sleep(PAUSE).await;
                    continue;
                }
                if !self.delete_one(operation, &row.value.have, row.version).await? {
                    return Ok(None);
                }
            }
        }
    }

    /// False: the region stops.
    async fn delete_one(&self, operation: &Operation, have: &Have, version: trust::Version) -> Result<bool> {
        let kind = self.arm.kind_of(&have.id)?.clone();
        for step in kind.plan_delete(&have.id, have)? {
            if self.step(&operation.caller(), &have.id, &step, "delete").await?.is_none() {
                return Ok(false);
            }
        }
        self.remove_assignments(&have.id).await?;
        let permit: Permit<Write> = self.book(&subscription_of(&have.id)?, "group").await?;
        let name = row_name(&have.id);
        match permit.commit(Batch::new().is(RESOURCES, &name, version).delete(RESOURCES, &name), Outcome::done(200)).await {
            // changed meanwhile: the next round of the group sees it again
            Ok(_) | Err(CommitFailed { permit: Some(_), .. }) => Ok(true),
            Err(CommitFailed { error, .. }) => Err(error),
        }
    }

    async fn end_group(&self, operation: &Operation) -> Result<()> {
        let group = &operation.target;
        if operation.status == Status::Succeeded {
            self.remove_assignments(group).await?;
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

    /// Roles at a deleted scope go with it: something made anew under its name must not inherit them.
    async fn remove_assignments(&self, scope: &ResourceId) -> Result<()> {
        let here: Vec<String> = self.trust.facts(|f| {
            let tenant = f.tenant_of(scope);
            let all = tenant.map(|t| f.assignments(t)).unwrap_or_default();
            all.into_iter().filter(|a| a.scope.is_within(scope)).map(|a| Fact::assignment_key(&a.id)).collect()
        });
        for run in here.chunks(ASSIGNMENTS_RUN) {
            let permit: Permit<Write> = self.book(&subscription_of(scope)?, "assignments").await?;
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
