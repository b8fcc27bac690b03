//! Resource groups.

use crate::Arm;
use crate::change::{Change, Turns, close};
use crate::filter::Filter;
use crate::model::{DELETING, GROUPS, Group, OPERATIONS, Operation, PENDING, Pending, Purpose, SUCCEEDED, Status, row_name};
use crate::roles::granted;
use crate::{names, paging, policies, target};
use base::{Error, Kind, OperationId, ResourceId, Result};
use http::StatusCode;
use serde_json::{Map, Value, json};
use service::{Call, Neighbours, Reply};
use std::sync::Arc;
use trust::{Access, Batch, Found, Permit, Read, Span, Write};

const READ: &str = "Microsoft.Resources/subscriptions/resourceGroups/read";

pub(crate) fn show(group: &Group) -> Value {
    let mut body = json!({
        "id": group.id.as_str(),
        "name": group.id.name(),
        "type": "Microsoft.Resources/resourceGroups",
        "location": group.location.as_str(),
        "tags": group.tags,
        "properties": {"provisioningState": group.provisioning},
    });
    if let Some(manager) = &group.managed_by {
        body["managedBy"] = json!(manager);
    }
    body
}

pub(crate) fn not_found(id: &ResourceId) -> Error {
    Error::new(Kind::NotFound, "ResourceGroupNotFound", format!("Resource group '{}' could not be found.", id.name()))
}

pub(crate) fn being_deleted(id: &ResourceId) -> Error {
    Error::new(
        Kind::Conflict,
        "ResourceGroupBeingDeleted",
        format!("The resource group '{}' is in deprovisioning state and cannot perform this operation.", id.name()),
    )
}

/// The group's row, or `ResourceGroupNotFound`.
pub(crate) async fn load<A: Access>(permit: &Permit<A>, id: &ResourceId) -> Result<Found<Group>> {
    permit.data().get::<Group>(GROUPS, row_name(id)).await?.ok_or_else(|| not_found(id))
}

/// As [`load`], for writers: a group that is being deleted takes nothing new.
pub(crate) async fn load_live<A: Access>(permit: &Permit<A>, id: &ResourceId) -> Result<Found<Group>> {
    let found = load(permit, id).await?;
    if found.value.provisioning == DELETING { Err(being_deleted(id)) } else { Ok(found) }
}

pub(crate) async fn get(_: Arc<Arm>, call: Call, permit: Permit<Read>, _: Neighbours) -> Result<Reply> {
    let id = target::group_id(&call.head)?;
    let found = load(&permit, &id).await.map(|f| show(&f.value));
    let (receipt, body) = close(permit, found).await?;
    Ok(Reply::json(receipt, StatusCode::OK, &body))
}

pub(crate) async fn exists(_: Arc<Arm>, call: Call, permit: Permit<Read>, _: Neighbours) -> Result<Reply> {
    let id = target::group_id(&call.head)?;
    let found = load(&permit, &id).await;
    let (receipt, _) = close(permit, found).await?;
    Ok(Reply::new(receipt, StatusCode::NO_CONTENT, ""))
}

pub(crate) async fn put(arm: Arc<Arm>, call: Call, permit: Permit<Write>, near: Neighbours) -> Result<Reply> {
    let id = target::group_id(&call.head)?;
    let body = names::json_body(call.body).await;
    let mut turns = Turns::new(permit);
    loop {
        let decided = match &body {
            Ok(body) => decide_put(&arm, turns.permit()?, &id, body, &near).await,
            Err(e) => Err(copy(e)),
        };
        if let Some((receipt, (status, group))) = turns.settle(decided).await? {
            return Ok(Reply::json(receipt, status, &show(&group)));
        }
    }
}

/// The client's part of an error that is needed once more.
fn copy(error: &Error) -> Error {
    Error::new(error.kind, error.code.clone(), error.message.clone())
}

async fn decide_put(
    arm: &Arm,
    permit: &Permit<Write>,
    id: &ResourceId,
    body: &Map<String, Value>,
    near: &Neighbours,
) -> Result<Change<(StatusCode, Group)>> {
    let location = names::location(body.get("location"), &near.urls.location, "LocationNotAvailableForResourceGroup", "resource group")?
        .ok_or_else(|| Error::invalid("LocationRequired", "The location property is required for this definition.").at("location"))?;
    let tags = names::tags(body.get("tags"))?.unwrap_or_default();
    let managed_by = managed_by(body)?;
    let now = near.clock.now();
    let name = row_name(id);
    let have = permit.data().get::<Group>(GROUPS, &name).await?;
    if have.as_ref().is_some_and(|h| h.value.provisioning == DELETING) {
        return Err(being_deleted(id));
    }
    let status = if have.is_some() { StatusCode::OK } else { StatusCode::CREATED };
    let group = match &have {
        // the first spelling of the name stays
        Some(h) => Group { tags, changed: now, managed_by: managed_by.or(h.value.managed_by.clone()), ..h.value.clone() },
        None => Group { id: id.clone(), location, tags, managed_by, provisioning: SUCCEEDED.into(), created: now, changed: now },
    };
    let group = governed(arm, permit, near, group).await?;
    let batch = Batch::new().unchanged(GROUPS, &name, have.map(|h| h.version)).put(GROUPS, &name, &group);
    Ok(Change { batch: Some(batch), status: status.as_u16(), answer: (status, group) })
}

/// The group as policies leave it.
pub(crate) async fn governed(arm: &Arm, permit: &Permit<Write>, near: &Neighbours, group: Group) -> Result<Group> {
    let found = policies::govern(arm, permit, near, &group.id, None, "", policies::of_group(&group)).await?;
    match found {
        None => Ok(group),
        Some(subject) => Ok(Group { tags: names::tags(subject.body.get("tags"))?.unwrap_or_default(), ..group }),
    }
}

fn managed_by(body: &Map<String, Value>) -> Result<Option<String>> {
    match body.get("managedBy") {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(id)) => ResourceId::parse(id).map(|_| Some(id.clone())).map_err(|e| e.at("managedBy")),
        Some(_) => Err(Error::invalid("InvalidRequestContent", "managedBy is not a resource id.").at("managedBy")),
    }
}

pub(crate) async fn patch(arm: Arc<Arm>, call: Call, permit: Permit<Write>, near: Neighbours) -> Result<Reply> {
    let id = target::group_id(&call.head)?;
    let body = names::json_body(call.body).await;
    let mut turns = Turns::new(permit);
    loop {
        let decided = match &body {
            Ok(body) => decide_patch(&arm, turns.permit()?, &id, body, &near).await,
            Err(e) => Err(copy(e)),
        };
        if let Some((receipt, group)) = turns.settle(decided).await? {
            return Ok(Reply::json(receipt, StatusCode::OK, &show(&group)));
        }
    }
}

async fn decide_patch(
    arm: &Arm,
    permit: &Permit<Write>,
    id: &ResourceId,
    body: &Map<String, Value>,
    near: &Neighbours,
) -> Result<Change<Group>> {
    let have = load_live(permit, id).await?;
    let group = Group {
        tags: names::tags(body.get("tags"))?.unwrap_or(have.value.tags),
        managed_by: managed_by(body)?.or(have.value.managed_by),
        changed: near.clock.now(),
        ..have.value
    };
    let group = governed(arm, permit, near, group).await?;
    let name = row_name(id);
    let batch = Batch::new().is(GROUPS, &name, have.version).put(GROUPS, &name, &group);
    Ok(Change { batch: Some(batch), status: 200, answer: group })
}

pub(crate) async fn list(_: Arc<Arm>, call: Call, permit: Permit<Read>, near: Neighbours) -> Result<Reply> {
    let found = page(&call, &permit, &near).await;
    let (receipt, body) = close(permit, found).await?;
    Ok(Reply::json(receipt, StatusCode::OK, &body))
}

async fn page(call: &Call, permit: &Permit<Read>, near: &Neighbours) -> Result<Value> {
    let filter = Filter::of(&call.head)?.map(|f| f.only(&["tagName", "tagValue", "name", "location"], false)).transpose()?;
    let top = paging::top(&call.head)?;
    let mut from = paging::start(&call.head, "/")?;
    let subscription = permit.target().clone();
    let everything = may_read(near, READ, &subscription);
    let mut value = Vec::new();
    loop {
        let mut span = Span::prefix("/");
        if let Some(from) = &from {
            span = span.from(from);
        }
        let page = permit.data().scan::<Group>(GROUPS, span, top - value.len()).await?;
        let shown = page.rows.iter().map(|(_, row)| &row.value);
        let shown = shown.filter(|g| filter.as_ref().is_none_or(|f| fits(f, g)) && (everything || may_read(near, READ, &g.id)));
        value.extend(shown.map(show));
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

/// By roles alone: what a list may show.
pub(crate) fn may_read(near: &Neighbours, action: &str, scope: &ResourceId) -> bool {
    near.caller.principal().is_some_and(|p| near.facts(|f| granted(f, p, action, false, scope).is_some()))
}

fn fits(filter: &Filter, group: &Group) -> bool {
    let name = tag_name(filter);
    filter.fits(&|one| match one.field().to_ascii_lowercase().as_str() {
        "name" => one.text_fits(Some(group.id.name())),
        "location" => one.text_fits(Some(group.location.as_str())),
        _ => tag_fits(one, name, &group.tags),
    })
}

/// The tag that a `tagValue` condition is about: the `tagName` beside it.
pub(crate) fn tag_name(filter: &Filter) -> Option<&str> {
    filter.conditions().into_iter().find_map(|c| match c {
        Filter::Is { field, value, not: false } if field.eq_ignore_ascii_case("tagName") => Some(value.as_str()),
        _ => None,
    })
}

pub(crate) fn tag_fits(one: &Filter, name: Option<&str>, tags: &Map<String, Value>) -> bool {
    if one.field().eq_ignore_ascii_case("tagName") {
        return tags.keys().any(|k| one.text_fits(Some(k)));
    }
    tags.iter().filter(|(k, _)| name.is_none_or(|n| n.eq_ignore_ascii_case(k))).any(|(_, v)| one.text_fits(v.as_str()))
}

/// A long operation: what is inside goes first.
pub(crate) async fn delete(arm: Arc<Arm>, call: Call, permit: Permit<Write>, near: Neighbours) -> Result<Reply> {
    let id = target::group_id(&call.head)?;
    let mut turns = Turns::new(permit);
    loop {
        let decided = decide_delete(&arm, turns.permit()?, &id, &near).await;
        if let Some((receipt, operation)) = arm.queue.watching(&id, turns.settle(decided)).await? {
            let url = arm.submit(&call.head, operation, None);
            return Ok(Reply::new(receipt, StatusCode::ACCEPTED, "").with("location", url.results).with("retry-after", "1"));
        }
    }
}

async fn decide_delete(arm: &Arm, permit: &Permit<Write>, id: &ResourceId, near: &Neighbours) -> Result<Change<Operation>> {
    let have = load_live(permit, id).await?;
    policies::govern_delete(arm, permit, near, id, policies::of_group(&have.value)).await?;
    policies::govern_contents(arm, permit, near, id).await?;
    let now = near.clock.now();
    let operation = Operation {
        id: OperationId::random(&*near.chance),
        purpose: Purpose::DeleteGroup,
        target: have.value.id.clone(),
        steps: Vec::new(),
        done: 0,
        wish: String::new(),
        asked_by: near.caller.principal().cloned(),
        status: Status::InProgress,
        error: None,
        began: now,
        ended: None,
    };
    let group = Group { provisioning: DELETING.into(), changed: now, ..have.value };
    let (name, key) = (row_name(id), operation.id.to_string());
    let batch = Batch::new().is(GROUPS, &name, have.version).put(GROUPS, &name, &group).put(OPERATIONS, &key, &operation).put(
        PENDING,
        &key,
        &Pending { began: now },
    );
    Ok(Change { batch: Some(batch), status: 202, answer: operation })
}
