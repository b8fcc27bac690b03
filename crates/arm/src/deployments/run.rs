//! Takes deployments to their end: side by side what does not wait for anything, then what waited for it.
//!
//! A deployment is stored with its plan before it is queued, so a stop or a crash loses none: [`start`] takes up every
//! one whose work is still there. What became of each resource is stored when it is known; a resource whose end was not
//! stored is put again, which does no harm. A deployment holds no turn of the worker's: what it began needs those.

use super::calls::steps;
use super::inside::{self, Request};
use super::model::{DEPLOYMENTS, Deployment, Details, Needed, STEPS, State, Step, WORK, Work, read, stage, step_name};
use super::region::Region;
use crate::Arm;
use crate::model::{row_name, subscription_of};
use base::{Error, Kind, OperationId, RequestId, ResourceId, Result, Timestamp};
use http::Method;
use serde_json::{Value, json};
use service::{Neighbours, Urls};
use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;
use template::{Evaluated, Output, Plan, Question};
use tokio::sync::{Semaphore, mpsc, watch};
use tokio::task::JoinSet;
use trust::{Access, Batch, Caller, CommitFailed, Origin, Outcome, Permit, Read, Span, Trust, Weight, Write};

/// Resources that all deployments together have in hand at once; nested deployments are not counted, since they wait for
/// others.
const AT_ONCE: usize = 32;
/// Books that can't be written now are tried again so much later, twice as late each time.
const PAUSE: Duration = Duration::from_millis(100);
const PAUSE_MAX: Duration = Duration::from_secs(60);
/// Rounds of read, decide, commit when others change the same rows.
const ROUNDS: usize = 16;
/// Rounds in which one body may learn what it waits for: an answer can lead to further questions.
const QUESTIONS_ROUNDS: usize = 16;
/// A deployment that may have been stored unseen is looked for so much later.
const LOOK_PAUSE: Duration = Duration::from_secs(1);
/// Of a step's message.
const MESSAGE_BYTES_MAX: usize = 32 << 10;
/// A failed resource is tried again so often when the fault may pass.
const TRIES: u32 = 20;
const TRY_PAUSE: Duration = Duration::from_millis(250);

/// What waits for the runner, and who was asked to end.
pub(crate) struct Queue {
    sender: mpsc::UnboundedSender<(ResourceId, Duration)>,
    receiver: Mutex<Option<mpsc::UnboundedReceiver<(ResourceId, Duration)>>>,
    cancelled: Mutex<HashSet<OperationId>>,
}

impl Default for Queue {
    fn default() -> Queue {
        let (sender, receiver) = mpsc::unbounded_channel();
        Queue { sender, receiver: Mutex::new(Some(receiver)), cancelled: Mutex::default() }
    }
}

impl Queue {
    /// Unbounded because bounded elsewhere: one entry for each deployment that is stored.
    pub(super) fn push(&self, deployment: &ResourceId) {
        // without a runner it stays stored until one starts
        let _ = self.sender.send((deployment.clone(), Duration::ZERO));
    }
    /// It may have been stored although nobody could say so: it is looked for a little later.
    pub(super) fn look(&self, deployment: &ResourceId) {
        let _ = self.sender.send((deployment.clone(), LOOK_PAUSE));
    }
    pub(super) fn cancel(&self, operation: OperationId) {
        self.cancelled().insert(operation);
    }
    fn cancelled(&self) -> MutexGuard<'_, HashSet<OperationId>> {
        self.cancelled.lock().unwrap_or_else(|e| e.into_inner())
    }
}

/// The runner at work.
pub(crate) struct Running {
    stop: watch::Sender<bool>,
    task: tokio::task::JoinHandle<()>,
}

impl Running {
    /// What is under way is left where it is: it goes on at the next start.
    pub(crate) async fn stop(self) {
        self.stop.send_replace(true);
        if let Err(error) = self.task.await {
            tracing::error!(%error, "the runner of deployments did not stop in good order");
        }
    }
}

#[derive(Clone)]
struct Runner {
    arm: Arc<Arm>,
    trust: Trust,
    urls: Arc<Urls>,
    stop: watch::Receiver<bool>,
    turns: Arc<Semaphore>,
    /// Deployments that are taken up, and whether they were queued once more meanwhile: each runs once at a time.
    taken: Arc<Mutex<HashMap<ResourceId, bool>>>,
}

pub(crate) async fn start(arm: &Arc<Arm>, trust: Trust, urls: Arc<Urls>) -> Result<Running> {
    let receiver = arm.deployments.receiver.lock().unwrap_or_else(|e| e.into_inner()).take();
    let mut receiver = receiver.ok_or_else(|| Error::internal("the runner of deployments is started once"))?;
    let (stop, stopped) = watch::channel(false);
    let runner =
        Runner { arm: arm.clone(), trust, urls, stop: stopped.clone(), turns: Arc::new(Semaphore::new(AT_ONCE)), taken: Arc::default() };
    let task = tokio::spawn(async move {
        let mut running = JoinSet::new();
        for subscription in runner.subscriptions() {
            running.spawn(runner.clone().take_up(subscription));
        }
        let mut stopped = stopped;
        loop {
            tokio::select! {
                next = receiver.recv() => match next {
                    Some((id, pause)) => {
                        let runner = runner.clone();
                        running.spawn(async move {
                            if pause.is_zero() || !runner.pause(pause).await {
                                runner.run(id).await;
                            }
                        });
                    }
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

/// How one resource ended.
struct Ended {
    at: usize,
    began: Timestamp,
    /// `None`: the region stops.
    result: Result<Option<&'static str>>,
}

impl Runner {
    fn near(&self, caller: Caller) -> Neighbours {
        let origin = Origin { request: RequestId::random(&*self.trust.chance()), peer: None, client_request: None, user_agent: None };
        Neighbours::new(self.trust.clone(), caller, origin, self.urls.clone())
    }
    /// The runner's own bookkeeping in a subscription.
    async fn book<A: Access>(&self, subscription: &ResourceId, detail: &str) -> Result<Permit<A>> {
        let near = self.near(Caller::Region { part: "arm" });
        near.permit("Keep Operation", &["bleu.arm/operations/write"], false, subscription, Weight::With, detail).await
    }
    fn subscriptions(&self) -> Vec<ResourceId> {
        self.trust.facts(|f| f.tenants().flat_map(|t| f.subscriptions(t.id)).map(|s| ResourceId::subscription(s.id)).collect())
    }
    fn now(&self) -> Timestamp {
        self.trust.clock().now()
    }
    fn taken(&self) -> MutexGuard<'_, HashMap<ResourceId, bool>> {
        self.taken.lock().unwrap_or_else(|e| e.into_inner())
    }
    /// Waits; true: the region stops.
    async fn pause(&self, pause: Duration) -> bool {
        let mut stop = self.stop.clone();
        tokio::time::timeout(pause, stop.wait_for(|stop| *stop)).await.is_ok()
    }

    /// Everything of a subscription that has not ended.
    async fn take_up(self, subscription: ResourceId) {
        let mut pause = PAUSE;
        let found = loop {
            match self.unended(&subscription).await {
                Ok(found) => break found,
                Err(error) => tracing::warn!(%subscription, %error, "unfinished deployments could not be read; it is tried again"),
            }
            if self.pause(pause).await {
                return;
            }
            pause = (pause * 2).min(PAUSE_MAX);
        };
        let mut running: JoinSet<()> = found.into_iter().map(|id| self.clone().run(id)).collect();
        while running.join_next().await.is_some() {}
    }

    async fn unended(&self, subscription: &ResourceId) -> Result<Vec<ResourceId>> {
        let permit: Permit<Read> = self.book(subscription, "deployments").await?;
        let (mut found, mut span) = (Vec::new(), Span::all());
        loop {
            let page = permit.data().scan::<Work>(WORK, span, 16).await?;
            for (name, _) in page.rows {
                found.extend(permit.data().get::<Deployment>(DEPLOYMENTS, name).await?.map(|d| d.value.id));
            }
            match page.next {
                Some(next) => span = Span::all().from(next),
                None => break,
            }
        }
        permit.close(Outcome::done(200)).await?;
        Ok(found)
    }

    /// Steps of earlier deployments of this name go.
    async fn forget_steps(&self, deployment: &Deployment, subscription: &ResourceId, name: &str) -> Result<()> {
        let (prefix, own) = (format!("{name}|"), step_name(name, deployment.operation, ""));
        let mut from: Option<Vec<u8>> = None;
        loop {
            let permit: Permit<Write> = self.book(subscription, "deployment").await?;
            let mut span = Span::prefix(&prefix);
            if let Some(from) = &from {
                span = span.from(from);
            }
            let page = permit.data().scan::<Step>(STEPS, span, 900).await?;
            let old: Vec<Vec<u8>> = page.rows.into_iter().map(|(name, _)| name).filter(|n| !n.starts_with(own.as_bytes())).collect();
            if old.is_empty() {
                permit.close(Outcome::done(200)).await?;
            } else {
                let batch = old.into_iter().fold(Batch::new(), |batch, name| batch.delete(STEPS, name));
                permit.commit(batch, Outcome::done(200)).await?;
            }
            match page.next {
                Some(next) => from = Some(next),
                None => return Ok(()),
            }
        }
    }

    /// Takes a deployment to its end, whatever stands in the way of the books meanwhile.
    async fn run(self, id: ResourceId) {
        {
            let mut taken = self.taken();
            if let Some(again) = taken.get_mut(&id) {
                *again = true;
                return;
            }
            taken.insert(id.clone(), false);
        }
        loop {
            let mut pause = PAUSE;
            while let Err(error) = self.attempt(&id).await {
                tracing::warn!(deployment = %id, %error, "a deployment could not be moved on; it is tried again");
                if self.pause(pause).await {
                    break;
                }
                pause = (pause * 2).min(PAUSE_MAX);
            }
            // whoever put it anew as soon as it had ended found it still taken
            let mut taken = self.taken();
            match taken.get_mut(&id) {
                Some(again) if *again && !*self.stop.borrow() => *again = false,
                _ => {
                    taken.remove(&id);
                    return;
                }
            }
        }
    }

    /// Error: the books can't be read or written now.
    async fn attempt(&self, id: &ResourceId) -> Result<()> {
        let (subscription, name) = (subscription_of(id)?, row_name(id));
        let permit: Permit<Read> = self.book(&subscription, "deployment").await?;
        let deployment = permit.data().get::<Deployment>(DEPLOYMENTS, &name).await?.map(|d| d.value);
        let work = permit.data().get::<Work>(WORK, &name).await?.map(|w| w.value);
        let (Some(deployment), Some(work)) = (deployment, work) else { return permit.close(Outcome::done(200)).await.map(drop) };
        let before = steps(&permit, &name, deployment.operation).await?;
        let Needed { plan, facts: region } = read(&permit, &work.text).await?;
        let details: Details = read(&permit, &deployment.details).await?;
        permit.close(Outcome::done(200)).await?;
        self.forget_steps(&deployment, &subscription, &name).await?;
        let task = Task {
            runner: self.clone(),
            near: self.near(deployment.caller()),
            deployment,
            details,
            plan: Arc::new(plan),
            region,
            subscription,
            name,
        };
        task.run(before).await
    }
}

/// One deployment under way.
struct Task {
    runner: Runner,
    /// The reach of whoever asked for it.
    near: Neighbours,
    deployment: Deployment,
    details: Details,
    plan: Arc<Plan>,
    region: Region,
    subscription: ResourceId,
    name: String,
}

impl Task {
    fn cancelled(&self) -> bool {
        self.deployment.cancel || self.runner.arm.deployments.cancelled().contains(&self.deployment.operation)
    }

    async fn run(mut self, before: Vec<Step>) -> Result<()> {
        if self.deployment.state == State::Accepted {
            self.deployment.state = State::Running;
            self.keep(None, false).await?;
        }
        let Some(failures) = self.resources(before).await? else { return Ok(()) };
        let mut state = match (failures.is_empty(), self.cancelled()) {
            (_, true) => State::Canceled,
            (true, false) => State::Succeeded,
            (false, false) => State::Failed,
        };
        let mut errors = failures;
        if state == State::Succeeded {
            let finished = async {
                let Some(outputs) = self.outputs().await? else { return Ok(None) };
                if self.deployment.complete && !self.empty().await? {
                    return Ok(None);
                }
                Ok(Some(outputs))
            };
            match finished.await {
                Ok(Some(outputs)) => self.details.outputs = Some(shown(&outputs)),
                Ok(None) => return Ok(()),
                Err(error) => {
                    state = State::Failed;
                    errors.push(told(&error));
                }
            }
        }
        self.deployment.state = state;
        self.details.error = match state {
            State::Failed => Some(json!({
                "code": "DeploymentFailed",
                "message": "At least one resource deployment operation failed. Please list deployment operations for details. Please see https://aka.ms/arm-deployment-operations for usage details.",
                "details": errors,
            })),
            State::Canceled => Some(json!({"code": "DeploymentCanceled", "message": "The deployment was canceled."})),
            _ => None,
        };
        self.details.output_resources = self.plan.resources.iter().filter(|r| r.deployed).map(|r| r.id.clone()).collect();
        self.keep(None, true).await?;
        self.runner.arm.deployments.cancelled().remove(&self.deployment.operation);
        Ok(())
    }

    /// Every resource, in the order that the dependencies allow; gives the errors of those that failed. `None`: the
    /// region stops.
    async fn resources(&mut self, before: Vec<Step>) -> Result<Option<Vec<Value>>> {
        let plan = self.plan.clone();
        let count = plan.resources.len();
        let mut done: Vec<bool> =
            plan.resources.iter().map(|r| before.iter().any(|s| s.succeeded && s.target.eq_ignore_ascii_case(&r.id))).collect();
        let mut begun = done.clone();
        let mut errors: Vec<Value> = Vec::new();
        let mut running: JoinSet<Ended> = JoinSet::new();
        loop {
            for at in 0..count {
                let ready = !begun[at] && plan.resources[at].depends_on.iter().all(|d| done[*d]);
                if !ready || self.cancelled() {
                    continue;
                }
                begun[at] = true;
                if plan.resources[at].deployed {
                    running.spawn(one(self.runner.clone(), self.near.clone(), plan.clone(), self.region.clone(), at));
                } else {
                    done[at] = true;
                }
            }
            // what was not deployed may have been all that something waited for
            if (0..count).any(|at| !begun[at] && !self.cancelled() && plan.resources[at].depends_on.iter().all(|d| done[*d])) {
                continue;
            }
            let Some(ended) = running.join_next().await else { break };
            let Ended { at, began, result } = ended.map_err(Error::internal)?;
            let resource = &plan.resources[at];
            let mut step = self.step("Create", &resource.id, &resource.kind, began);
            match result {
                Ok(None) => {
                    running.shutdown().await;
                    return Ok(None);
                }
                Ok(Some(status)) => {
                    done[at] = true;
                    step.status = status.to_owned();
                }
                Err(error) => {
                    let error = told(&error);
                    step.succeeded = false;
                    step.message = Some(message(&error));
                    step.status = status_word(&error);
                    errors.push(error);
                }
            }
            self.keep(Some(&step), false).await?;
        }
        Ok(Some(errors))
    }

    fn step(&self, operation: &str, target: &str, kind: &str, began: Timestamp) -> Step {
        let mut bytes = [0; 8];
        self.near.chance.fill(&mut bytes);
        Step {
            id: bytes.iter().map(|b| format!("{b:02X}")).collect(),
            operation: operation.to_owned(),
            target: target.to_owned(),
            kind: kind.to_owned(),
            succeeded: true,
            status: "OK".to_owned(),
            message: None,
            began,
            ended: self.runner.now(),
        }
    }

    /// Writes how far the deployment is; `over`: its work is no longer needed, nor are its secrets.
    async fn keep(&mut self, step: Option<&Step>, over: bool) -> Result<()> {
        self.deployment.changed = self.runner.now();
        let mut permit: Permit<Write> = self.runner.book(&self.subscription, "deployment").await?;
        for _ in 0..ROUNDS {
            let Some(found) = permit.data().get::<Deployment>(DEPLOYMENTS, &self.name).await? else {
                // its group went, and it with it
                let batch = self.let_go(&permit, Batch::new().absent(DEPLOYMENTS, &self.name)).await?;
                permit.commit(batch, Outcome::done(200)).await?;
                return Ok(());
            };
            self.deployment.details = found.value.details.clone();
            self.deployment.cancel |= found.value.cancel;
            let mut batch = Batch::new().is(DEPLOYMENTS, &self.name, found.version);
            if let Some(step) = step {
                batch = batch.put(STEPS, step_name(&self.name, self.deployment.operation, &step.id), step);
            }
            if over {
                let details = stage(&permit, &self.details).await?;
                self.deployment.details = details.content.clone();
                batch = self.let_go(&permit, batch).await?.drop_content(found.value.details).adopt(&details);
            }
            batch = batch.put(DEPLOYMENTS, &self.name, &self.deployment);
            match permit.commit(batch, Outcome::done(200)).await {
                Ok(_) => return Ok(()),
                Err(CommitFailed { permit: Some(back), .. }) => permit = back,
                Err(CommitFailed { error, .. }) => return Err(error),
            }
        }
        Err(Error::new(Kind::Conflict, "Conflict", "Other requests keep changing this deployment."))
    }

    /// The work goes, secrets and all.
    async fn let_go(&self, permit: &Permit<Write>, batch: Batch) -> Result<Batch> {
        let batch = batch.delete(WORK, &self.name);
        Ok(match permit.data().get::<Work>(WORK, &self.name).await? {
            Some(work) => batch.drop_content(work.value.text),
            None => batch,
        })
    }

    /// `None`: the region stops.
    async fn outputs(&mut self) -> Result<Option<Vec<Output>>> {
        for _ in 0..QUESTIONS_ROUNDS {
            if *self.runner.stop.borrow() {
                return Ok(None);
            }
            match self.plan.outputs(&self.region)? {
                Evaluated::Ready(outputs) => return Ok(Some(outputs)),
                Evaluated::Waits(questions) => self.region.ask(&self.runner.arm, &self.near, questions).await?,
            }
        }
        Err(Error::invalid("DeploymentOutputEvaluationFailed", "The outputs of the template do not come to an end."))
    }

    /// Deletes what is in the group and not in the template: the mode `Complete`. False: the region stops.
    async fn empty(&self) -> Result<bool> {
        let Some(group) = crate::model::group_of(&self.deployment.id) else { return Ok(true) };
        let kept: HashSet<String> = self.plan.resources.iter().map(|r| r.id.to_lowercase()).collect();
        for resource in super::what_if::there(&self.runner.arm, &self.near, &group).await? {
            let id = resource["id"].as_str().unwrap_or_default();
            if kept.contains(&id.to_lowercase()) {
                continue;
            }
            let kind = self.runner.arm.kind_of(&ResourceId::parse(id)?)?.clone();
            let api_version = kind.versions().first().copied().unwrap_or("2024-11-01");
            let request = Request { method: Method::DELETE, path: id, api_version, body: None };
            if inside::to_the_end(&self.runner.arm, &self.near, request, &self.runner.stop).await?.is_none() {
                return Ok(false);
            }
        }
        Ok(true)
    }
}

/// One resource, from its body to its end.
async fn one(runner: Runner, near: Neighbours, plan: Arc<Plan>, mut region: Region, at: usize) -> Ended {
    let began = runner.now();
    let resource = &plan.resources[at];
    let nested = resource.kind.eq_ignore_ascii_case(super::KIND);
    // what waits for others must not keep their turn
    let turn = if nested { None } else { runner.turns.acquire().await.ok() };
    let mut tries = 0;
    let result = loop {
        let put = async {
            let body = ready(&runner, &near, &plan, &mut region, at).await?;
            let request = Request { method: Method::PUT, path: &resource.id, api_version: &resource.api_version, body: Some(&body) };
            inside::to_the_end(&runner.arm, &near, request, &runner.stop).await
        };
        match put.await {
            Ok(None) => break Ok(None),
            Ok(Some(answered)) => break Ok(Some(if answered.status == http::StatusCode::CREATED { "Created" } else { "OK" })),
            Err(error) if tries < TRIES && may_pass(&error) => {
                tries += 1;
                if runner.pause(TRY_PAUSE).await {
                    break Ok(None);
                }
            }
            Err(error) => break Err(error),
        }
    };
    drop(turn);
    Ended { at, began, result }
}

/// Another operation on the resource, or a store that is away.
fn may_pass(error: &Error) -> bool {
    matches!(
        &*error.code,
        "Conflict" | "AnotherOperationInProgress" | "StoreUnavailable" | "DiskFull" | "OutcomeUnknown" | "SiteUnavailable"
    )
}

async fn ready(runner: &Runner, near: &Neighbours, plan: &Plan, region: &mut Region, at: usize) -> Result<Value> {
    for _ in 0..QUESTIONS_ROUNDS {
        match plan.body(at, region)? {
            Evaluated::Ready(body) => return Ok(body),
            Evaluated::Waits(questions) => {
                let questions: Vec<Question> = questions;
                region.ask(&runner.arm, near, questions).await?;
            }
        }
    }
    Err(Error::invalid("InvalidTemplate", format!("The body of '{}' does not come to an end.", plan.resources[at].id)))
}

/// Outputs as a GET shows them: secrets without their values.
fn shown(outputs: &[Output]) -> Value {
    let one = |output: &Output| {
        let mut value = json!({"type": output.kind.as_str()});
        if !output.kind.is_secure() {
            value["value"] = output.value.clone();
        }
        (output.name.clone(), value)
    };
    Value::Object(outputs.iter().map(one).collect())
}

/// An error as the deployment shows it; what a nested deployment told of its own failures is in `details`.
fn told(error: &Error) -> Value {
    if error.kind == Kind::Internal {
        tracing::error!(%error, "a resource of a deployment failed");
    }
    let mut body = json!({"code": error.code, "message": error.message});
    if let Some(target) = &error.target {
        body["target"] = json!(target);
    }
    if let Some(details) = error.info.as_deref().and_then(|text| serde_json::from_str::<Value>(text).ok()) {
        body["details"] = details;
    }
    body
}

/// The message of a step, which is in a row: without the details of what failed inside, where they are long.
fn message(error: &Value) -> String {
    let whole = json!({"status": "Failed", "error": error}).to_string();
    if whole.len() <= MESSAGE_BYTES_MAX {
        return whole;
    }
    let text: String = error["message"].as_str().unwrap_or_default().chars().take(4_096).collect();
    json!({"status": "Failed", "error": {"code": error["code"], "message": text}}).to_string()
}

fn status_word(error: &Value) -> String {
    match error["code"].as_str() {
        Some("AuthorizationFailed") => "Forbidden",
        Some("ResourceNotFound" | "ResourceGroupNotFound") => "NotFound",
        Some("Conflict") => "Conflict",
        _ => "BadRequest",
    }
    .to_owned()
}
