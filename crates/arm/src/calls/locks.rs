//! Management locks (Microsoft.Authorization/locks). What they forbid is judged in `roles`.

use crate::Arm;
use crate::calls::role_assignments::while_there;
use crate::change::{Change, Turns, close, refuse};
use crate::filter::Filter;
use crate::rulings::{self, LOCK, Lock, There, outer, outer_scope};
use crate::{names, target};
use base::{Error, Kind, ResourceId, Result};
use http::StatusCode;
use serde_json::{Map, Value, json};
use service::{Call, Neighbours, Reply};
use std::sync::Arc;
use trust::{Batch, Fact, Outcome, Permit, Read, Write};

/// Azure's limit, of every kind of rule at one scope.
const AT_SCOPE_MAX: usize = 20;

fn show(id: &ResourceId, scope: &ResourceId, lock: &Lock) -> Value {
    let owners = lock.owners.as_ref().and_then(|o| serde_json::from_str::<Value>(o).ok());
    let mut properties = json!({"level": if lock.read_only { "ReadOnly" } else { "CanNotDelete" }});
    if let Some(notes) = &lock.notes {
        properties["notes"] = json!(notes);
    }
    if let Some(owners) = owners {
        properties["owners"] = owners;
    }
    json!({"id": outer(id, scope), "name": id.name(), "type": "Microsoft.Authorization/locks", "properties": properties})
}

fn absent(name: &str, scope: &ResourceId) -> Error {
    let place = outer_scope(scope);
    Error::new(Kind::NotFound, "LockNotFound", format!("The lock '{name}' could not be found at the scope '{place}'."))
}

fn place(call: &Call) -> Result<(ResourceId, ResourceId)> {
    let scope = target::scope_id(&call.head, &call.caller)?;
    Ok((names::ruling_id(&scope, "locks", call.head.params.get("name"), 260)?, scope))
}

pub(crate) async fn get(_: Arc<Arm>, call: Call, permit: Permit<Read>, near: Neighbours) -> Result<Reply> {
    let found = place(&call).and_then(|(id, scope)| {
        let found = near.facts(|f| There::<Lock>::look(f, LOCK, &id))?;
        found.value.map(|lock| show(&id, &scope, &lock)).ok_or_else(|| absent(id.name(), &scope))
    });
    let (receipt, body) = close(permit, found).await?;
    Ok(Reply::json(receipt, StatusCode::OK, &body))
}

/// At the scope and inside it; with `atScope()`, at the scope alone.
pub(crate) async fn list(_: Arc<Arm>, call: Call, permit: Permit<Read>, near: Neighbours) -> Result<Reply> {
    let found = target::scope_id(&call.head, &call.caller).and_then(|scope| {
        let at_scope = Filter::of(&call.head)?.map(|f| f.only(&[], true)).transpose()?.is_some();
        let value = near.facts(|f| {
            let mut found: Vec<&trust::Scoped> = f.scoped_at(LOCK, &scope).collect();
            if !at_scope {
                found.extend(f.scoped_below(LOCK, &scope).take(1_000));
            }
            found.into_iter().map(|fact| rulings::read(fact).map(|lock| show(&fact.id, &fact.scope, &lock))).collect::<Result<Vec<Value>>>()
        })?;
        Ok(json!({ "value": value }))
    });
    let (receipt, body) = close(permit, found).await?;
    Ok(Reply::json(receipt, StatusCode::OK, &body))
}

fn wish(body: &Map<String, Value>) -> Result<Lock> {
    let properties = body.get("properties").and_then(Value::as_object).unwrap_or(body);
    let level = properties.get("level").and_then(Value::as_str).unwrap_or("");
    let read_only = match level.to_ascii_lowercase().as_str() {
        "readonly" => true,
        "cannotdelete" => false,
        _ => {
            let why = format!("The lock level '{level}' is none of 'CanNotDelete' and 'ReadOnly'.");
            return Err(Error::invalid("InvalidLockLevel", why).at("level"));
        }
    };
    let notes = properties.get("notes").and_then(Value::as_str).map(str::to_owned);
    if notes.as_ref().is_some_and(|n| n.chars().count() > 512) {
        return Err(Error::invalid("LockNotesTooLong", "The notes are longer than 512 characters.").at("notes"));
    }
    let owners = properties.get("owners").filter(|o| !o.is_null()).map(Value::to_string);
    if owners.as_ref().is_some_and(|o| o.len() > 4_096) {
        return Err(Error::invalid("InvalidLockOwners", "The owners are more than 4096 bytes.").at("owners"));
    }
    Ok(Lock { read_only, notes, owners })
}

pub(crate) async fn put(arm: Arc<Arm>, call: Call, permit: Permit<Write>, near: Neighbours) -> Result<Reply> {
    let prepared = async {
        let (id, scope) = place(&call)?;
        Ok((id, scope, wish(&names::json_body(call.body).await?)?))
    };
    let (id, scope, lock) = match prepared.await {
        Ok(prepared) => prepared,
        Err(error) => return refuse(permit, error).await,
    };
    let mut turns = Turns::new(permit);
    loop {
        let decided = decide(&arm, turns.permit()?, &id, &scope, &lock, &near).await;
        if let Some((receipt, status)) = turns.settle(decided).await? {
            return Ok(Reply::json(receipt, status, &show(&id, &scope, &lock)));
        }
    }
}

async fn decide(
    arm: &Arm,
    permit: &Permit<Write>,
    id: &ResourceId,
    scope: &ResourceId,
    lock: &Lock,
    near: &Neighbours,
) -> Result<Change<StatusCode>> {
    let tenant = permit.tenant().ok_or_else(|| Error::internal("a scope without a tenant"))?;
    let batch = while_there(arm, permit, scope).await?;
    let (there, here) = near.facts(|f| Ok::<_, Error>((There::<Lock>::look(f, LOCK, id)?, f.scoped_at(LOCK, scope).count())))?;
    if there.value.is_none() && here >= AT_SCOPE_MAX {
        let why = format!("There are {AT_SCOPE_MAX} locks at the scope: that is the most.");
        return Err(Error::new(Kind::Conflict, "LockCountExceeded", why));
    }
    let status = if there.value.is_some() { StatusCode::OK } else { StatusCode::CREATED };
    let batch = there.unchanged(batch).put_fact(rulings::fact(LOCK, id.clone(), tenant, scope.clone(), lock));
    Ok(Change { batch: Some(batch), status: status.as_u16(), answer: status })
}

pub(crate) async fn delete(_: Arc<Arm>, call: Call, permit: Permit<Write>, near: Neighbours) -> Result<Reply> {
    let found = place(&call).and_then(|(id, _)| Ok((near.facts(|f| There::<Lock>::look(f, LOCK, &id))?, id)));
    let (there, id) = match found {
        Ok(found) => found,
        Err(error) => return refuse(permit, error).await,
    };
    if there.value.is_none() {
        return Ok(Reply::new(permit.close(Outcome::done(204)).await?, StatusCode::NO_CONTENT, ""));
    }
    let receipt = permit.commit(Batch::new().remove_fact(Fact::scoped_key(LOCK, &id)), Outcome::done(200)).await?;
    Ok(Reply::new(receipt, StatusCode::OK, ""))
}
