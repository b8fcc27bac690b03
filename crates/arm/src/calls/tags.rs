//! Tags of a subscription, group or resource as a resource of their own (`…/providers/Microsoft.Resources/tags/default`).

use crate::Arm;
use crate::calls::{groups, resources};
use crate::change::{Change, Turns, close, refuse};
use crate::model::{GROUPS, Group, RESOURCES, Resource, ScopeTags, TAGS, row_name};
use crate::{names, policies, target};
use base::{Error, ResourceId, Result};
use http::StatusCode;
use serde_json::{Map, Value, json};
use service::{Call, Neighbours, Reply};
use std::sync::Arc;
use trust::{Access, Batch, Permit, Read, Write};

type Tags = Map<String, Value>;

fn show(scope: &ResourceId, tags: &Tags) -> Value {
    json!({
        "id": format!("{scope}/providers/Microsoft.Resources/tags/default"),
        "name": "default",
        "type": "Microsoft.Resources/tags",
        "properties": {"tags": tags},
    })
}

/// The tags of the scope, and how to write others.
async fn load<A: Access>(permit: &Permit<A>, scope: &ResourceId, near: &Neighbours) -> Result<(Tags, impl Fn(Tags) -> Batch + use<A>)> {
    let (name, now) = (row_name(scope), near.clock.now());
    enum Row {
        Subscription(Option<trust::Version>),
        Group(Box<trust::Found<Group>>),
        Resource(Box<trust::Found<Resource>>),
    }
    let (tags, row) = if name.is_empty() {
        let found = permit.data().get::<ScopeTags>(TAGS, "").await?;
        let version = found.as_ref().map(|f| f.version);
        (found.map(|f| f.value.tags).unwrap_or_default(), Row::Subscription(version))
    } else if scope.resource_type().is_none() {
        let found = groups::load(permit, scope).await?;
        (found.value.tags.clone(), Row::Group(Box::new(found)))
    } else {
        let found = permit.data().get::<Resource>(RESOURCES, &name).await?.ok_or_else(|| resources::not_found(scope))?;
        (found.value.have.tags.clone(), Row::Resource(Box::new(found)))
    };
    let write = move |tags: Tags| match &row {
        Row::Subscription(version) => Batch::new().unchanged(TAGS, "", *version).put(TAGS, "", &ScopeTags { tags }),
        Row::Group(found) => {
            Batch::new().is(GROUPS, &name, found.version).put(GROUPS, &name, &Group { tags, changed: now, ..found.value.clone() })
        }
        Row::Resource(found) => {
            let mut resource = found.value.clone();
            (resource.have.tags, resource.have.changed) = (tags, now);
            Batch::new().is(RESOURCES, &name, found.version).put(RESOURCES, &name, &resource)
        }
    };
    Ok((tags, write))
}

pub(crate) async fn get(_: Arc<Arm>, call: Call, permit: Permit<Read>, near: Neighbours) -> Result<Reply> {
    let scope = target::scope_id(&call.head, &call.caller)?;
    let found = load(&permit, &scope, &near).await.map(|(tags, _)| show(&scope, &tags));
    let (receipt, body) = close(permit, found).await?;
    Ok(Reply::json(receipt, StatusCode::OK, &body))
}

/// The tags as policies leave them: to a policy it is the group or resource that is written.
async fn governed(arm: &Arm, permit: &Permit<Write>, scope: &ResourceId, tags: Tags, near: &Neighbours) -> Result<Tags> {
    let name = row_name(scope);
    if name.is_empty() {
        return Ok(tags);
    }
    if scope.resource_type().is_none() {
        let found = groups::load(permit, scope).await?;
        return Ok(groups::governed(arm, permit, near, Group { tags, ..found.value }).await?.tags);
    }
    let found = permit.data().get::<Resource>(RESOURCES, &name).await?.ok_or_else(|| resources::not_found(scope))?;
    let group = match crate::model::group_of(scope) {
        Some(group) => Some(groups::load(permit, &group).await?.value),
        None => None,
    };
    let have = service::Have { tags: tags.clone(), ..found.value.have };
    let subject = policies::of_resource(&**arm.kind_of(scope)?, &have);
    match policies::govern(arm, permit, near, scope, group.as_ref(), "", subject).await? {
        None => Ok(tags),
        Some(subject) => Ok(names::tags(subject.body.get("tags"))?.unwrap_or_default()),
    }
}

pub(crate) async fn put(arm: Arc<Arm>, call: Call, permit: Permit<Write>, near: Neighbours) -> Result<Reply> {
    write(&arm, call, permit, near, Some("Replace")).await
}
pub(crate) async fn patch(arm: Arc<Arm>, call: Call, permit: Permit<Write>, near: Neighbours) -> Result<Reply> {
    write(&arm, call, permit, near, None).await
}
pub(crate) async fn delete(arm: Arc<Arm>, call: Call, permit: Permit<Write>, near: Neighbours) -> Result<Reply> {
    let scope = target::scope_id(&call.head, &call.caller)?;
    let mut turns = Turns::new(permit);
    loop {
        let decided = without(&arm, turns.permit()?, &scope, &near).await;
        if let Some((receipt, ())) = turns.settle(decided).await? {
            return Ok(Reply::new(receipt, StatusCode::OK, ""));
        }
    }
}

async fn without(arm: &Arm, permit: &Permit<Write>, scope: &ResourceId, near: &Neighbours) -> Result<Change<()>> {
    let (_, write) = load(permit, scope, near).await?;
    let tags = governed(arm, permit, scope, Tags::new(), near).await?;
    Ok(Change { batch: Some(write(tags)), status: 200, answer: () })
}

async fn write(arm: &Arm, call: Call, permit: Permit<Write>, near: Neighbours, fixed: Option<&str>) -> Result<Reply> {
    let prepared = async {
        let scope = target::scope_id(&call.head, &call.caller)?;
        let body = names::json_body(call.body).await?;
        let given = names::tags(body.get("properties").and_then(|p| p.get("tags")))?.unwrap_or_default();
        let operation = fixed.or_else(|| body.get("operation").and_then(Value::as_str)).unwrap_or("").to_owned();
        if !["Replace", "Merge", "Delete"].contains(&operation.as_str()) {
            return Err(
                Error::invalid("InvalidTagPatchOperation", "The operation is one of 'Replace', 'Merge' and 'Delete'.").at("operation")
            );
        }
        Ok((scope, given, operation))
    };
    let (scope, given, operation) = match prepared.await {
        Ok(prepared) => prepared,
        Err(error) => return refuse(permit, error).await,
    };
    let mut turns = Turns::new(permit);
    loop {
        let decided = decide(arm, turns.permit()?, &scope, &given, &operation, &near).await;
        if let Some((receipt, tags)) = turns.settle(decided).await? {
            return Ok(Reply::json(receipt, StatusCode::OK, &show(&scope, &tags)));
        }
    }
}

async fn decide(
    arm: &Arm,
    permit: &Permit<Write>,
    scope: &ResourceId,
    given: &Tags,
    operation: &str,
    near: &Neighbours,
) -> Result<Change<Tags>> {
    let (have, write) = load(permit, scope, near).await?;
    let next = combine(have, given, operation);
    // a merge may go over the limit that each body keeps
    names::tags(Some(&Value::Object(next.clone())))?;
    let next = governed(arm, permit, scope, next, near).await?;
    Ok(Change { batch: Some(write(next.clone())), status: 200, answer: next })
}

/// Tag names compare without case.
fn combine(have: Tags, given: &Tags, operation: &str) -> Tags {
    let in_given = |name: &str| given.iter().find(|(n, _)| n.to_lowercase() == name.to_lowercase());
    match operation {
        "Merge" => {
            let mut next: Tags = have.into_iter().filter(|(n, _)| in_given(n).is_none()).collect();
            next.extend(given.clone());
            next
        }
        // deletes the tags whose name and value are given
        "Delete" => have.into_iter().filter(|(n, v)| in_given(n).is_none_or(|(_, value)| value != v)).collect(),
        _ => given.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn operations_on_tags() {
        let tags = |v: Value| v.as_object().cloned().unwrap();
        let have = tags(json!({"a": "1", "B": "2"}));
        let given = tags(json!({"b": "3"}));
        assert_eq!(combine(have.clone(), &given, "Merge"), tags(json!({"a": "1", "b": "3"})));
        assert_eq!(combine(have.clone(), &given, "Delete"), have);
        assert_eq!(combine(have.clone(), &tags(json!({"b": "2"})), "Delete"), tags(json!({"a": "1"})));
        assert_eq!(combine(have, &given, "Replace"), given);
    }
}
