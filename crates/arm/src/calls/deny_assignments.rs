//! Deny assignments (Microsoft.Authorization/denyAssignments): clients read them, the region makes them (of what it manages
//! inside a customer's scope). What they take away is judged in `roles`.

use crate::Arm;
use crate::change::{close, refuse};
use crate::rulings::{self, DENY, Deny, Made, Permission, outer, outer_scope};
use crate::{names, target};
use base::{Error, Kind, ObjectId, ResourceId, Result};
use http::StatusCode;
use serde_json::{Value, json};
use service::{Call, Neighbours, Reply};
use std::sync::Arc;
use trust::{Batch, Fact, Outcome, Permit, Read, Weight, Write};

/// Everybody, in Azure's words.
const EVERYBODY: &str = "00000000-0000-0000-0000-000000000000";

/// A deny assignment that the region makes.
#[derive(Clone, Debug)]
pub struct DenyAssignment {
    pub name: String,
    pub description: String,
    pub actions: Vec<String>,
    pub not_actions: Vec<String>,
    pub data_actions: Vec<String>,
    pub not_data_actions: Vec<String>,
    /// Nobody named: everybody.
    pub principals: Vec<ObjectId>,
    pub excluded: Vec<ObjectId>,
    pub applies_below: bool,
}

fn show(fact: &trust::Scoped) -> Result<Value> {
    let deny: Deny = rulings::read(fact)?;
    let principal = |id: &ObjectId| json!({"id": id.to_string(), "type": "ServicePrincipal"});
    let mut principals: Vec<Value> = deny.principals.iter().map(principal).collect();
    if deny.everybody {
        principals.push(json!({"id": EVERYBODY, "type": "SystemDefined"}));
    }
    Ok(json!({
        "id": outer(&fact.id, &fact.scope), "name": fact.id.name(), "type": "Microsoft.Authorization/denyAssignments",
        "properties": {
            "denyAssignmentName": deny.name, "description": deny.description, "scope": outer_scope(&fact.scope),
            "permissions": deny.permissions.iter().map(Permission::show).collect::<Vec<_>>(),
            "principals": principals, "excludePrincipals": deny.excluded.iter().map(principal).collect::<Vec<_>>(),
            "doNotApplyToChildScopes": !deny.below, "isSystemProtected": true,
            "createdOn": deny.made.created.rfc3339(), "updatedOn": deny.made.changed.rfc3339(),
        },
    }))
}

/// At the scope, above and below it.
pub(crate) async fn list(_: Arc<Arm>, call: Call, permit: Permit<Read>, near: Neighbours) -> Result<Reply> {
    let found = target::scope_id(&call.head, &call.caller).and_then(|scope| {
        let value = near.facts(|f| {
            let above = f.scoped_above(DENY, &scope).into_iter();
            above.chain(f.scoped_below(DENY, &scope).take(1_000)).map(show).collect::<Result<Vec<Value>>>()
        })?;
        Ok(json!({ "value": value }))
    });
    let (receipt, body) = close(permit, found).await?;
    Ok(Reply::json(receipt, StatusCode::OK, &body))
}

pub(crate) async fn get(_: Arc<Arm>, call: Call, permit: Permit<Read>, near: Neighbours) -> Result<Reply> {
    let found = target::scope_id(&call.head, &call.caller).and_then(|scope| {
        let id = names::ruling_id(&scope, "denyAssignments", call.head.params.get("name"), 64)?;
        let missing = || Error::new(Kind::NotFound, "DenyAssignmentNotFound", format!("The deny assignment '{}' is not found.", id.name()));
        near.facts(|f| f.scoped_fact(DENY, &id).ok_or_else(missing).and_then(show))
    });
    let (receipt, body) = close(permit, found).await?;
    Ok(Reply::json(receipt, StatusCode::OK, &body))
}

/// Azure's clients can't make them either.
pub(crate) async fn write(_: Arc<Arm>, _: Call, permit: Permit<Write>, _: Neighbours) -> Result<Reply> {
    let why = "Deny assignments are made and removed by the region alone.";
    refuse(permit, Error::new(Kind::Forbidden, "DenyAssignmentSystemProtected", why)).await
}

/// Makes a deny assignment at a scope inside a subscription. `near` is `Caller::Region { part: "arm" }`.
pub async fn deny(near: &Neighbours, scope: &ResourceId, wish: DenyAssignment) -> Result<ResourceId> {
    let subscription = crate::model::subscription_of(scope)?;
    let permit: Permit<Write> = near
        .permit("Put Deny Assignment", &["bleu.arm/subscriptions/write"], false, &subscription, Weight::Indexed, scope.as_str())
        .await?;
    let tenant = permit.tenant().ok_or_else(|| Error::internal("a subscription without a tenant"))?;
    let id = scope.provider("Microsoft.Authorization/denyAssignments", &ObjectId::random(&*near.chance).to_string())?;
    let permission = Permission {
        actions: wish.actions,
        not_actions: wish.not_actions,
        data_actions: wish.data_actions,
        not_data_actions: wish.not_data_actions,
    };
    let value = Deny {
        name: wish.name,
        description: wish.description,
        permissions: vec![permission],
        everybody: wish.principals.is_empty(),
        principals: wish.principals,
        excluded: wish.excluded,
        below: wish.applies_below,
        made: Made::anew(near, None),
    };
    permit.commit(Batch::new().put_fact(rulings::fact(DENY, id.clone(), tenant, scope.clone(), &value)), Outcome::done(201)).await?;
    Ok(id)
}

/// Takes it away again.
pub async fn allow(near: &Neighbours, id: &ResourceId) -> Result<()> {
    let subscription = crate::model::subscription_of(id)?;
    let permit: Permit<Write> = near
        .permit("Delete Deny Assignment", &["bleu.arm/subscriptions/write"], false, &subscription, Weight::Indexed, id.as_str())
        .await?;
    permit.commit(Batch::new().remove_fact(Fact::scoped_key(DENY, id)), Outcome::done(200)).await?;
    Ok(())
}
