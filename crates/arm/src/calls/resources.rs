//! Resources of every kind that services bring: one code path for GET, PUT, PATCH, DELETE and the lists.
//!
//! A PUT stores wish, plan and operation in one commit; the worker ([`crate::worker`]) does the steps. The answer waits
//! a moment for them, so that short work is seen as done.

use crate::Arm;
use crate::calls::groups::{self, may_read, tag_fits, tag_name};
use crate::change::{Change, Turns, close, refuse};
use crate::filter::Filter;
use crate::model::{
    CREATING, DELETING, GROUPS, Group, OPERATIONS, Operation, PENDING, Pending, Purpose, RESOURCES, Resource, SUCCEEDED, Status, row_name,
};
use crate::{names, paging, policies, target};
use base::{Error, Kind, OperationId, ResourceId, Result};
use http::StatusCode;
use serde_json::{Map, Value, json};
use service::{Call, Have, Kind as ResourceKind, Neighbours, Reply, Want};
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;
use trust::{Access, Batch, Outcome, Permit, Read, Span, Write};

/// An answer waits so long for the steps of a PUT.
const PATIENCE: Duration = Duration::from_millis(200);
/// And so long for a deletion whose clients know no long operation (those of kinds that answer 202 to a creation do
/// not poll a deletion: `az storage account delete` takes 200 or 204 only).
const PATIENCE_DELETE: Duration = Duration::from_secs(30);

pub(crate) fn not_found(id: &ResourceId) -> Error {
    let kind = id.resource_type().unwrap_or_default();
    let group = id.resource_group().unwrap_or_default();
    Error::new(
        Kind::NotFound,
        "ResourceNotFound",
        format!(
            "The Resource '{kind}/{}' under resource group '{group}' was not found. For more details please go to https://aka.ms/ARMResourceNotFoundFix",
            id.name()
        ),
    )
}

impl Arm {
    /// The kind of an id. Errors `InvalidResourceNamespace`, `InvalidResourceType`.
    pub(crate) fn kind_of(&self, id: &ResourceId) -> Result<&Arc<dyn ResourceKind>> {
        let full = id.resource_type().unwrap_or_default();
        let (namespace, name) = full.split_once('/').unwrap_or((&full, ""));
        let found = self.kinds.iter().find(|k| k.namespace().eq_ignore_ascii_case(namespace) && k.name().eq_ignore_ascii_case(name));
        found.ok_or_else(|| self.unknown_type(namespace, name))
    }

    pub(crate) fn unknown_type(&self, namespace: &str, name: &str) -> Error {
        if self.namespace_of(namespace).is_none() {
            return Error::new(Kind::NotFound, "InvalidResourceNamespace", format!("The resource namespace '{namespace}' is invalid."));
        }
        Error::new(
            Kind::NotFound,
            "InvalidResourceType",
            format!("The resource type '{name}' could not be found in the namespace '{namespace}'."),
        )
    }

    /// A resource as its clients see it.
    pub(crate) fn show(&self, kind: &dyn ResourceKind, have: &Have, near: &Neighbours) -> Value {
        let mut body = envelope(kind, have);
        let mut properties = kind.show(&have.id, have, near);
        if let Value::Object(map) = &mut properties {
            map.insert("provisioningState".into(), json!(have.provisioning));
        }
        body["properties"] = properties;
        body
    }
}

/// Everything but the properties.
fn envelope(kind: &dyn ResourceKind, have: &Have) -> Value {
    let mut body = json!({
        "id": have.id.as_str(),
        "name": have.id.name(),
        "type": format!("{}/{}", kind.namespace(), kind.name()),
    });
    let mut add = |name: &str, value: Option<Value>| {
        if let Some(value) = value {
            body[name] = value;
        }
    };
    add("location", have.location.as_ref().map(|l| json!(l.as_str())));
    add("tags", Some(Value::Object(have.tags.clone())));
    add("kind", have.kind.clone().map(Value::String));
    add("sku", have.sku.clone());
    add("identity", have.identity.clone());
    body
}

async fn load<A: Access>(permit: &Permit<A>, id: &ResourceId) -> Result<trust::Found<Resource>> {
    if let Some(found) = permit.data().get::<Resource>(RESOURCES, row_name(id)).await? {
        return Ok(found);
    }
    // say which of the two is missing
    if let Some(group) = crate::model::group_of(id) {
        groups::load(permit, &group).await?;
    }
    Err(not_found(id))
}

pub(crate) async fn get(arm: Arc<Arm>, call: Call, permit: Permit<Read>, near: Neighbours) -> Result<Reply> {
    let id = target::resource_id(&call.head)?;
    let kind = arm.kind_of(&id)?;
    let found = load(&permit, &id).await.map(|f| arm.show(&**kind, &f.value.have, &near));
    let (receipt, body) = close(permit, found).await?;
    Ok(Reply::json(receipt, StatusCode::OK, &body))
}

pub(crate) async fn exists(_: Arc<Arm>, call: Call, permit: Permit<Read>, _: Neighbours) -> Result<Reply> {
    let id = target::resource_id(&call.head)?;
    let found = load(&permit, &id).await;
    let (receipt, _) = close(permit, found).await?;
    Ok(Reply::new(receipt, StatusCode::NO_CONTENT, ""))
}

/// What a PUT or PATCH came to.
enum Decision {
    /// Nothing was left to do.
    Done { have: Have, created: bool },
    /// Steps remain.
    Began { have: Have, operation: Operation, created: bool },
    /// The same wish is already under way.
    Running { have: Have, operation: Operation },
}

pub(crate) async fn put(arm: Arc<Arm>, call: Call, permit: Permit<Write>, near: Neighbours) -> Result<Reply> {
    write(arm, call, permit, near, false).await
}
pub(crate) async fn patch(arm: Arc<Arm>, call: Call, permit: Permit<Write>, near: Neighbours) -> Result<Reply> {
    write(arm, call, permit, near, true).await
}

async fn write(arm: Arc<Arm>, call: Call, permit: Permit<Write>, near: Neighbours, merge: bool) -> Result<Reply> {
    let Call { head, body, .. } = call;
    let prepared = async {
        let id = target::resource_id(&head)?;
        Ok((arm.kind_of(&id)?.clone(), id, names::api_version(&head)?, names::json_body(body).await?))
    };
    let (kind, id, version, body) = match prepared.await {
        Ok(prepared) => prepared,
        Err(error) => return refuse(permit, error).await,
    };
    let mut turns = Turns::new(permit);
    let (receipt, decision) = loop {
        let decided = decide(&arm, &*kind, turns.permit()?, &id, &body, &version, merge, &near).await;
        if let Some(done) = arm.queue.watching(&id, turns.settle(decided)).await? {
            break done;
        }
    };
    let status = |created: bool| if created { StatusCode::CREATED } else { StatusCode::OK };
    let (have, operation, created) = match decision {
        Decision::Done { have, created } => return Ok(Reply::json(receipt, status(created), &arm.show(&*kind, &have, &near))),
        Decision::Began { have, operation, created } => (have, operation, created),
        Decision::Running { have, operation } => {
            // taken up already, unless it was stored and its first asker never heard of it
            let url = arm.submit(&head, operation, None);
            let created = have.provisioning == CREATING;
            return Ok(accepted(&arm, &*kind, &have, receipt, &url, created, &near));
        }
    };
    let (done, finished) = tokio::sync::oneshot::channel();
    let url = arm.submit(&head, operation, Some(done));
    let ended = tokio::time::timeout(PATIENCE, finished).await.ok().and_then(|r| r.ok()).map(|ended| *ended);
    match ended {
        // the client learns at once what it would have learnt at its first poll
        Some(Err(fault)) => Err(fault_error(&fault)),
        Some(Ok(Some(have))) if !(kind.answers_202() && created) => {
            Ok(Reply::json(receipt, status(created), &arm.show(&*kind, &have, &near)))
        }
        _ => Ok(accepted(&arm, &*kind, &have, receipt, &url, created, &near)),
    }
}

pub(crate) fn fault_error(fault: &crate::model::Fault) -> Error {
    Error::new(Kind::of_status(fault.status), fault.code.clone(), fault.message.clone())
}

fn accepted(
    arm: &Arm,
    kind: &dyn ResourceKind,
    have: &Have,
    receipt: trust::Receipt,
    url: &crate::OperationUrls,
    created: bool,
    near: &Neighbours,
) -> Reply {
    if kind.answers_202() {
        return Reply::new(receipt, StatusCode::ACCEPTED, "").with("location", &url.results).with("retry-after", "1");
    }
    let status = if created { StatusCode::CREATED } else { StatusCode::OK };
    Reply::json(receipt, status, &arm.show(kind, have, near)).with("azure-asyncoperation", &url.status).with("retry-after", "1")
}

#[allow(clippy::too_many_arguments)] // one decision, all it depends on in sight
async fn decide(
    arm: &Arm,
    kind: &dyn ResourceKind,
    permit: &Permit<Write>,
    id: &ResourceId,
    body: &Map<String, Value>,
    version: &str,
    merge: bool,
    near: &Neighbours,
) -> Result<Change<Decision>> {
    arm.must_be_registered(permit, kind.namespace()).await?;
    let group_id = crate::model::group_of(id).ok_or_else(|| not_found(id))?;
    let group = groups::load_live(permit, &group_id).await?;
    let name = row_name(id);
    let found = permit.data().get::<Resource>(RESOURCES, &name).await?;
    if merge && found.is_none() {
        return Err(not_found(id));
    }
    let have = found.as_ref().map(|f| &f.value.have);
    let want = want(body, have, version, merge, near)?;
    let want = policies::on_want(arm, permit, near, kind, id, &group.value, want, have).await?;
    let wish = serde_json::to_string(&want).map_err(Error::internal)?;
    if let Some(resource) = found.as_ref().map(|f| &f.value)
        && let Some(running) = resource.operation
    {
        let operation = permit.data().get::<Operation>(OPERATIONS, running.to_string()).await?.map(|o| o.value);
        return match operation {
            Some(operation) if operation.purpose == Purpose::Put && operation.wish == wish => {
                Ok(Change { batch: None, status: 202, answer: Decision::Running { have: resource.have.clone(), operation } })
            }
            _ => Err(busy(id)),
        };
    }
    let steps = kind.plan(id, &want, have)?;
    let now = near.clock.now();
    let created = have.is_none();
    let mut next = Have {
        id: have.map_or_else(|| id.clone(), |h| h.id.clone()),
        location: want.location.or_else(|| have.and_then(|h| h.location.clone())),
        tags: want.tags,
        kind: want.kind,
        sku: want.sku,
        identity: want.identity,
        properties: merged(have.map(|h| h.properties.clone()), want.properties),
        provisioning: SUCCEEDED.into(),
        created: have.map_or(now, |h| h.created),
        changed: now,
    };
    // `exists` would not notice a group that began to be deleted: its version does
    let batch = Batch::new().is(GROUPS, row_name(&group_id), group.version).unchanged(RESOURCES, &name, found.as_ref().map(|f| f.version));
    if steps.is_empty() {
        let batch = batch.put(RESOURCES, &name, &Resource { have: next.clone(), operation: None });
        let status = if created { 201 } else { 200 };
        return Ok(Change { batch: Some(batch), status, answer: Decision::Done { have: next, created } });
    }
    next.provisioning = if created { CREATING } else { "Updating" }.into();
    let operation = Operation {
        id: OperationId::random(&*near.chance),
        purpose: Purpose::Put,
        target: next.id.clone(),
        steps,
        done: 0,
        wish,
        asked_by: near.caller.principal().cloned(),
        status: Status::InProgress,
        error: None,
        began: now,
        ended: None,
    };
    let key = operation.id.to_string();
    let batch = batch
        .put(RESOURCES, &name, &Resource { have: next.clone(), operation: Some(operation.id) })
        .put(OPERATIONS, &key, &operation)
        .put(PENDING, &key, &Pending { began: now });
    Ok(Change { batch: Some(batch), status: 202, answer: Decision::Began { have: next, operation, created } })
}

/// What a PUT of this body would be refused for, as far as it can be told without doing it: policies, and the kind's own
/// checks. Nothing is told of a resource whose group is not there yet.
pub(crate) async fn preflight<A: Access>(
    arm: &Arm,
    permit: &Permit<A>,
    id: &ResourceId,
    body: &Map<String, Value>,
    version: &str,
    near: &Neighbours,
) -> Result<()> {
    let kind = arm.kind_of(id)?;
    arm.must_be_registered(permit, kind.namespace()).await?;
    let Some(group_id) = crate::model::group_of(id) else { return Ok(()) };
    let Some(group) = permit.data().get::<Group>(GROUPS, row_name(&group_id)).await? else { return Ok(()) };
    let found = permit.data().get::<Resource>(RESOURCES, row_name(id)).await?;
    let have = found.as_ref().map(|f| &f.value.have);
    let want = want(body, have, version, false, near)?;
    let want = policies::on_want(arm, permit, near, &**kind, id, &group.value, want, have).await?;
    kind.plan(id, &want, have).map(drop)
}

pub(crate) fn busy(id: &ResourceId) -> Error {
    Error::new(
        Kind::Conflict,
        "AnotherOperationInProgress",
        format!("Another operation on the resource '{id}' is in progress. Wait until it has ended, then try again."),
    )
}

/// The wish that a body expresses; a PATCH begins from what is there.
fn want(body: &Map<String, Value>, have: Option<&Have>, version: &str, merge: bool, near: &Neighbours) -> Result<Want> {
    let text = |name: &'static str| match body.get(name) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(s)) => Ok(Some(s.clone())),
        Some(_) => Err(Error::invalid("InvalidRequestContent", format!("'{name}' is not a string.")).at(name)),
    };
    let location = names::location(body.get("location"), &near.urls.location, "LocationNotAvailableForResourceType", "this resource type")?;
    if location.is_none() && have.is_none() {
        return Err(Error::invalid("LocationRequired", "The location property is required for this definition.").at("location"));
    }
    let tags = names::tags(body.get("tags"))?;
    let given = |name: &str| body.get(name).filter(|v| !v.is_null()).cloned();
    let properties = given("properties").unwrap_or_else(|| json!({}));
    if !properties.is_object() {
        return Err(Error::invalid("InvalidRequestContent", "The properties are not an object.").at("properties"));
    }
    let identity = given("identity");
    if identity.as_ref().is_some_and(|i| i.get("type").is_none_or(|t| t != "None")) {
        // kept and shown it would look like an identity that somebody could give a role to
        return Err(Error::not_implemented("A managed identity of a resource").at("identity"));
    }
    let kept = have.filter(|_| merge);
    Ok(Want {
        location: location.or_else(|| have.and_then(|h| h.location.clone())),
        tags: tags.or_else(|| kept.map(|h| h.tags.clone())).unwrap_or_default(),
        kind: text("kind")?.or_else(|| have.and_then(|h| h.kind.clone())),
        sku: given("sku").or_else(|| kept.and_then(|h| h.sku.clone())),
        identity: identity.or_else(|| kept.and_then(|h| h.identity.clone())),
        properties: if merge { merged(have.map(|h| h.properties.clone()), properties) } else { properties },
        api_version: version.to_owned(),
    })
}

/// `over` laid over `under`, top-level names only.
pub(crate) fn merged(under: Option<Value>, over: Value) -> Value {
    match (under, over) {
        (Some(Value::Object(mut under)), Value::Object(over)) => {
            under.extend(over);
            Value::Object(under)
        }
        (Some(under), Value::Null) => under,
        (_, over) => over,
    }
}

pub(crate) async fn delete(arm: Arc<Arm>, call: Call, permit: Permit<Write>, near: Neighbours) -> Result<Reply> {
    let prepared = target::resource_id(&call.head).and_then(|id| Ok((arm.kind_of(&id)?.clone(), id)));
    let (kind, id) = match prepared {
        Ok(prepared) => prepared,
        Err(error) => return refuse(permit, error).await,
    };
    if permit.data().get::<Resource>(RESOURCES, row_name(&id)).await?.is_none() {
        // deleting what is not there is done already
        return Ok(Reply::new(permit.close(Outcome::done(204)).await?, StatusCode::NO_CONTENT, ""));
    }
    let mut turns = Turns::new(permit);
    let (receipt, operation) = loop {
        let decided = decide_delete(&arm, &*kind, turns.permit()?, &id, &near).await;
        if let Some(done) = arm.queue.watching(&id, turns.settle(decided)).await? {
            break done;
        }
    };
    let (done, finished) = tokio::sync::oneshot::channel();
    let url = arm.submit(&call.head, operation, Some(done));
    let patience = if kind.answers_202() { PATIENCE_DELETE } else { PATIENCE };
    match tokio::time::timeout(patience, finished).await.map(|ended| ended.map(|e| *e)) {
        Ok(Ok(Ok(_))) => Ok(Reply::new(receipt, StatusCode::OK, "")),
        Ok(Ok(Err(fault))) => Err(fault_error(&fault)),
        _ => Ok(Reply::new(receipt, StatusCode::ACCEPTED, "")
            .with("azure-asyncoperation", &url.status)
            .with("location", &url.results)
            .with("retry-after", "1")),
    }
}

async fn decide_delete(
    arm: &Arm,
    kind: &dyn ResourceKind,
    permit: &Permit<Write>,
    id: &ResourceId,
    near: &Neighbours,
) -> Result<Change<Operation>> {
    let found = load(permit, id).await?;
    if found.value.operation.is_some() {
        return Err(busy(id));
    }
    policies::govern_delete(arm, permit, near, id, policies::of_resource(kind, &found.value.have)).await?;
    let now = near.clock.now();
    let operation = Operation {
        id: OperationId::random(&*near.chance),
        purpose: Purpose::Delete,
        target: found.value.have.id.clone(),
        steps: kind.plan_delete(id, &found.value.have)?,
        done: 0,
        wish: String::new(),
        asked_by: near.caller.principal().cloned(),
        status: Status::InProgress,
        error: None,
        began: now,
        ended: None,
    };
    let have = Have { provisioning: DELETING.into(), changed: now, ..found.value.have };
    let (name, key) = (row_name(id), operation.id.to_string());
    let batch = Batch::new()
        .is(RESOURCES, &name, found.version)
        .put(RESOURCES, &name, &Resource { have, operation: Some(operation.id) })
        .put(OPERATIONS, &key, &operation)
        .put(PENDING, &key, &Pending { began: now });
    Ok(Change { batch: Some(batch), status: 202, answer: operation })
}

/// `/resources` of a subscription.
pub(crate) async fn list(arm: Arc<Arm>, call: Call, permit: Permit<Read>, near: Neighbours) -> Result<Reply> {
    let found = page(&arm, &call, &permit, &near, "/resourcegroups/", None).await;
    let (receipt, body) = close(permit, found).await?;
    Ok(Reply::json(receipt, StatusCode::OK, &body))
}

/// `/resources` of a group.
pub(crate) async fn list_in_group(arm: Arc<Arm>, call: Call, permit: Permit<Read>, near: Neighbours) -> Result<Reply> {
    let found = async {
        let group = target::group_id(&call.head)?;
        groups::load(&permit, &group).await?;
        page(&arm, &call, &permit, &near, &format!("{}/", row_name(&group)), None).await
    };
    let found = found.await;
    let (receipt, body) = close(permit, found).await?;
    Ok(Reply::json(receipt, StatusCode::OK, &body))
}

/// The resources of one kind, whole, below a subscription or a group.
pub(crate) async fn list_kind(arm: Arc<Arm>, call: Call, permit: Permit<Read>, near: Neighbours) -> Result<Reply> {
    let found = async {
        let kind = listed_kind(&arm, &call.head.raw_path)?;
        let mut prefix = "/resourcegroups/".to_owned();
        if call.head.params.has("g") {
            let group = target::group_id(&call.head)?;
            groups::load(&permit, &group).await?;
            prefix = format!("{}/", row_name(&group));
        }
        page(&arm, &call, &permit, &near, &prefix, Some(kind)).await
    };
    let found = found.await;
    let (receipt, body) = close(permit, found).await?;
    Ok(Reply::json(receipt, StatusCode::OK, &body))
}

/// The kind that `…/providers/{namespace}/{type}` names.
fn listed_kind<'a>(arm: &'a Arm, path: &str) -> Result<&'a dyn ResourceKind> {
    let mut last = path.split('/').filter(|s| !s.is_empty()).rev();
    let (name, namespace) = (last.next().unwrap_or(""), last.next().unwrap_or(""));
    let found = arm.kinds.iter().find(|k| k.namespace().eq_ignore_ascii_case(namespace) && k.name().eq_ignore_ascii_case(name));
    found.map(|k| &**k).ok_or_else(|| arm.unknown_type(namespace, name))
}

async fn page(
    arm: &Arm,
    call: &Call,
    permit: &Permit<Read>,
    near: &Neighbours,
    prefix: &str,
    only: Option<&dyn ResourceKind>,
) -> Result<Value> {
    let fields = ["resourceType", "resourceGroup", "name", "tagName", "tagValue", "location"];
    let filter = Filter::of(&call.head)?.map(|f| f.only(&fields, false)).transpose()?;
    let expand: Vec<String> = call.head.query.get("$expand").unwrap_or("").split(',').map(|e| e.trim().to_ascii_lowercase()).collect();
    let top = paging::top(&call.head)?;
    let mut from = paging::start(&call.head, prefix)?;
    let scope = if call.head.params.has("g") { target::group_id(&call.head)? } else { permit.target().clone() };
    let mut whole_kind: HashMap<String, bool> = HashMap::new();
    let mut value = Vec::new();
    loop {
        let mut span = Span::prefix(prefix);
        if let Some(from) = &from {
            span = span.from(from);
        }
        let page = permit.data().scan::<Resource>(RESOURCES, span, top - value.len()).await?;
        for (_, row) in &page.rows {
            let have = &row.value.have;
            let Ok(kind) = arm.kind_of(&have.id) else { continue };
            if only.is_some_and(|o| o.name() != kind.name() || o.namespace() != kind.namespace())
                || filter.as_ref().is_some_and(|f| !fits(f, &**kind, have))
            {
                continue;
            }
            let action = format!("{}/{}/read", kind.namespace(), kind.name());
            let everywhere = *whole_kind.entry(action.clone()).or_insert_with(|| may_read(near, &action, &scope));
            if everywhere || may_read(near, &action, &have.id) {
                value.push(if only.is_some() { arm.show(&**kind, have, near) } else { brief(&**kind, have, &expand) });
            }
        }
        from = page.next;
        if from.is_none() || value.len() >= top {
            break;
        }
    }
    let mut body = json!({ "value": value });
    if let Some(next) = from {
        body["nextLink"] = json!(paging::next_link(&call.head, &next));
    }
    Ok(body)
}

fn brief(kind: &dyn ResourceKind, have: &Have, expand: &[String]) -> Value {
    let mut body = envelope(kind, have);
    let extras = [
        ("createdTime", json!(have.created.rfc3339())),
        ("changedTime", json!(have.changed.rfc3339())),
        ("provisioningState", json!(have.provisioning)),
    ];
    for (name, value) in extras {
        if expand.iter().any(|e| e.eq_ignore_ascii_case(name)) {
            body[name] = value;
        }
    }
    body
}

fn fits(filter: &Filter, kind: &dyn ResourceKind, have: &Have) -> bool {
    let tag = tag_name(filter);
    let full = format!("{}/{}", kind.namespace(), kind.name());
    filter.fits(&|one| match one.field().to_ascii_lowercase().as_str() {
        "resourcetype" => one.text_fits(Some(&full)),
        "resourcegroup" => one.text_fits(have.id.resource_group()),
        "name" => one.text_fits(Some(have.id.name())),
        "location" => one.text_fits(have.location.as_ref().map(|l| l.as_str())),
        _ => tag_fits(one, tag, &have.tags),
    })
}
