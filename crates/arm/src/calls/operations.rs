//! Polling: `operationStatuses` (Azure-AsyncOperation) and `operationResults` (Location).

use crate::calls::{groups, resources};
use crate::change::close;
use crate::model::{OPERATIONS, Operation, Purpose, RESOURCES, Resource, Status, row_name};
use crate::roles::granted;
use crate::{Arm, target};
use base::{Error, Kind, OperationId, Result};
use http::StatusCode;
use serde_json::{Value, json};
use service::{Call, Neighbours, Reply};
use std::sync::Arc;
use trust::{Outcome, Permit, Read};

fn not_found(id: &str) -> Error {
    Error::new(Kind::NotFound, "OperationNotFound", format!("The operation '{id}' could not be found."))
}

/// The operation, if the caller began it or may read what it is about.
async fn load(call: &Call, permit: &Permit<Read>, near: &Neighbours) -> Result<Operation> {
    let text = call.head.params.get("id");
    let id = text.parse::<OperationId>().map_err(|_| not_found(text))?;
    let found = permit.data().get::<Operation>(OPERATIONS, id.to_string()).await?.ok_or_else(|| not_found(text))?.value;
    let principal = near.caller.principal().ok_or_else(|| not_found(text))?;
    let action = match found.purpose {
        Purpose::DeleteGroup => "Microsoft.Resources/subscriptions/resourceGroups/read".to_owned(),
        _ => format!("{}/read", found.target.resource_type().unwrap_or_default()),
    };
    let own = found.asked_by_object() == Some(principal.object);
    if own || near.facts(|f| granted(f, principal, &action, false, &found.target).is_some()) { Ok(found) } else { Err(not_found(text)) }
}

pub(crate) async fn status(_: Arc<Arm>, call: Call, permit: Permit<Read>, near: Neighbours) -> Result<Reply> {
    let found = load(&call, &permit, &near).await.map(|o| show(&o, &call));
    let (receipt, body) = close(permit, found).await?;
    let reply = Reply::json(receipt, StatusCode::OK, &body);
    Ok(if body["status"] == "InProgress" { reply.with("retry-after", "1") } else { reply })
}

fn show(operation: &Operation, call: &Call) -> Value {
    let mut body = json!({
        "id": call.head.raw_path,
        "name": operation.id.to_string(),
        "status": operation.status.as_str(),
        "startTime": operation.began.rfc3339(),
    });
    if let Some(ended) = operation.ended {
        body["endTime"] = json!(ended.rfc3339());
    }
    if !operation.steps.is_empty() {
        body["percentComplete"] = json!(f64::from(operation.done) * 100.0 / operation.steps.len() as f64);
    }
    if let Some(fault) = &operation.error {
        body["error"] = json!({"code": fault.code, "message": fault.message});
    }
    body
}

pub(crate) async fn results(arm: Arc<Arm>, call: Call, permit: Permit<Read>, near: Neighbours) -> Result<Reply> {
    let operation = match load(&call, &permit, &near).await {
        Ok(operation) => operation,
        Err(error) => return crate::change::refuse(permit, error).await,
    };
    match (operation.status, operation.purpose) {
        (Status::InProgress, _) => {
            let url = arm.urls(&call.head, &operation);
            Ok(Reply::new(permit.close(Outcome::done(202)).await?, StatusCode::ACCEPTED, "")
                .with("location", url.results)
                .with("retry-after", "1"))
        }
        (Status::Failed, _) => {
            let fault = operation.error.unwrap_or(crate::model::Fault {
                code: "InternalError".into(),
                message: "The operation failed.".into(),
                status: 500,
            });
            crate::change::refuse(permit, resources::fault_error(&fault)).await
        }
        (Status::Succeeded, Purpose::Put) => {
            let id = &operation.target;
            let found =
                permit.data().get::<Resource>(RESOURCES, row_name(id)).await.and_then(|row| row.ok_or_else(|| resources::not_found(id)));
            let (receipt, row) = close(permit, found).await?;
            Ok(Reply::json(receipt, StatusCode::OK, &arm.show(&**arm.kind_of(id)?, &row.value.have, &near)))
        }
        (Status::Succeeded, Purpose::Delete | Purpose::DeleteGroup) => {
            Ok(Reply::new(permit.close(Outcome::done(200)).await?, StatusCode::OK, ""))
        }
    }
}

/// A path under a group or subscription that no row knows: says, in Resource Manager's words, what is wrong with it.
pub(crate) async fn unknown_read(arm: Arc<Arm>, call: Call, permit: Permit<Read>, _: Neighbours) -> Result<Reply> {
    let error = unknown(&arm, &call, &permit).await;
    crate::change::refuse(permit, error).await
}
pub(crate) async fn unknown_write(arm: Arc<Arm>, call: Call, permit: Permit<trust::Write>, _: Neighbours) -> Result<Reply> {
    let error = unknown(&arm, &call, &permit).await;
    crate::change::refuse(permit, error).await
}

async fn unknown<A: trust::Access>(arm: &Arm, call: &Call, permit: &Permit<A>) -> Error {
    if call.head.params.has("g") {
        let missing = match target::group_id(&call.head) {
            Ok(group) => groups::load(permit, &group).await.err(),
            Err(error) => Some(error),
        };
        if let Some(error) = missing {
            return error;
        }
    }
    let (namespace, rest) = (call.head.params.get("ns"), call.head.params.get("rest"));
    let kind: Vec<&str> = rest.split('/').step_by(2).collect();
    let first = kind.first().copied().unwrap_or("");
    let known = arm.kinds.iter().any(|k| {
        k.namespace().eq_ignore_ascii_case(namespace) && k.name().split('/').next().is_some_and(|n| n.eq_ignore_ascii_case(first))
    });
    if known {
        return Error::not_implemented(format!("{} of '{namespace}/{rest}'", call.head.method));
    }
    arm.unknown_type(namespace, &kind.join("/"))
}
