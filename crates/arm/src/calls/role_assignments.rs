//! Role assignments: who holds which role where. Each is a fact that the rules read; a grant waits for its index in the
//! record. Whoever assigns needs `Microsoft.Authorization/roleAssignments/write` at the very scope, or above it.

use crate::Arm;
use crate::builtin::role;
use crate::calls::groups;
use crate::calls::resources::{busy, not_found};
use crate::calls::role_definitions::{definition_id, missing};
use crate::change::{Change, Turns, close, refuse};
use crate::filter::Filter;
use crate::model::{DELETING, GROUPS, RESOURCES, Resource, group_of, row_name};
use crate::{names, target};
use base::{Error, Kind, ObjectId, ResourceId, Result};
use http::StatusCode;
use serde_json::{Map, Value, json};
use service::{Call, Head, Neighbours, Reply};
use std::sync::Arc;
use trust::{Access, Assignment, Batch, Caller, Fact, Facts, Outcome, Permit, PrincipalKind, Read, Write};

fn kind_name(kind: PrincipalKind) -> &'static str {
    match kind {
        PrincipalKind::User => "User",
        PrincipalKind::Group => "Group",
        PrincipalKind::ServicePrincipal | PrincipalKind::ManagedIdentity => "ServicePrincipal",
    }
}

fn show(a: &Assignment) -> Value {
    // the tenant's root is "/" to its people
    let root = a.scope.tenant_id().is_some();
    let scope = if root { "/" } else { a.scope.as_str() };
    let by = a.created_by.map(|o| o.to_string());
    json!({
        "id": format!("{}/providers/Microsoft.Authorization/roleAssignments/{}", if root { "" } else { a.scope.as_str() }, a.id.name()),
        "name": a.id.name(),
        "type": "Microsoft.Authorization/roleAssignments",
        "properties": {
            "roleDefinitionId": definition_id(&a.role, &a.scope),
            "principalId": a.principal.to_string(),
            "principalType": kind_name(a.principal_kind),
            "scope": scope,
            "description": a.description,
            "createdOn": a.created.rfc3339(),
            "updatedOn": a.created.rfc3339(),
            "createdBy": by,
            "updatedBy": by,
        },
    })
}

fn assignment_id(scope: &ResourceId, name: &str) -> Result<ResourceId> {
    let wrong = |_| {
        Error::invalid(
            "InvalidRoleAssignmentId",
            format!("The role assignment ID '{name}' is not valid. The role assignment ID must be a GUID."),
        )
    };
    let name = name.parse::<ObjectId>().map_err(wrong)?.to_string();
    scope.provider("Microsoft.Authorization/roleAssignments", &name)
}

fn id_of(head: &Head, caller: &Caller) -> Result<(ResourceId, ResourceId)> {
    let scope = target::scope_id(head, caller)?;
    Ok((assignment_id(&scope, head.params.get("name"))?, scope))
}

fn absent(id: &ResourceId) -> Error {
    Error::new(Kind::NotFound, "RoleAssignmentNotFound", format!("The role assignment '{}' is not found.", id.name()))
}

pub(crate) async fn get(_: Arc<Arm>, call: Call, permit: Permit<Read>, near: Neighbours) -> Result<Reply> {
    let (id, _) = id_of(&call.head, &call.caller)?;
    let found = near.facts(|f| f.assignment(&id).map(show)).ok_or_else(|| absent(&id));
    let (receipt, body) = close(permit, found).await?;
    Ok(Reply::json(receipt, StatusCode::OK, &body))
}

/// What a PUT asks for.
struct Grant {
    id: ResourceId,
    scope: ResourceId,
    role: &'static str,
    principal: ObjectId,
    description: Option<String>,
    /// As the client claims.
    principal_type: Option<String>,
}

fn grant(id: ResourceId, scope: ResourceId, body: &Map<String, Value>) -> Result<Grant> {
    let properties = body.get("properties").and_then(Value::as_object).unwrap_or(body);
    let text = |name: &'static str| properties.get(name).and_then(Value::as_str);
    let need = |name: &'static str| {
        text(name).ok_or_else(|| {
            Error::invalid(
                "InvalidCreateRoleAssignmentRequest",
                format!("The request to create role assignment is not valid: '{name}' is missing."),
            )
            .at(name)
        })
    };
    let definition = need("roleDefinitionId")?;
    let name = definition.rsplit('/').next().unwrap_or("");
    let role = role(name).ok_or_else(|| missing(name))?;
    if role.directory && scope.tenant_id().is_none() {
        return Err(Error::invalid(
            "InvalidCreateRoleAssignmentRequest",
            format!("The role '{}' is of the directory: it is assigned at '/' only.", role.name),
        ));
    }
    if properties.get("condition").is_some_and(|c| !c.is_null()) {
        return Err(Error::not_implemented("A condition on a role assignment").at("condition"));
    }
    let principal = need("principalId")?;
    let principal = principal.parse::<ObjectId>().map_err(|_| {
        Error::invalid(
            "InvalidPrincipalId",
            format!("A valid principal ID must be provided for role assignment; '{principal}' is not a GUID."),
        )
        .at("principalId")
    })?;
    let description = text("description").map(str::to_owned);
    if description.as_ref().is_some_and(|d| d.chars().count() > 1024) {
        return Err(
            Error::invalid("InvalidCreateRoleAssignmentRequest", "The description is longer than 1024 characters.").at("description")
        );
    }
    Ok(Grant { id, scope, role: role.id, principal, description, principal_type: text("principalType").map(str::to_owned) })
}

pub(crate) async fn put(arm: Arc<Arm>, call: Call, permit: Permit<Write>, near: Neighbours) -> Result<Reply> {
    let prepared = async {
        let (id, scope) = id_of(&call.head, &call.caller)?;
        grant(id, scope, &names::json_body(call.body).await?)
    };
    let grant = match prepared.await {
        Ok(grant) => grant,
        Err(error) => return refuse(permit, error).await,
    };
    let mut turns = Turns::new(permit);
    loop {
        let decided = decide(&arm, turns.permit()?, &grant, &near).await;
        if let Some((receipt, (status, body))) = turns.settle(decided).await? {
            return Ok(Reply::json(receipt, status, &body));
        }
    }
}

async fn decide(arm: &Arm, permit: &Permit<Write>, grant: &Grant, near: &Neighbours) -> Result<Change<(StatusCode, Value)>> {
    let tenant = permit.tenant().ok_or_else(|| Error::internal("a scope without a tenant"))?;
    let batch = while_there(arm, permit, &grant.scope).await?;
    let (holder, same, at_id) = near.facts(|f| {
        let holder = f.principal(grant.principal).filter(|p| p.tenant == tenant).map(|p| p.kind);
        (holder, same_grant(f, tenant, grant), f.assignment(&grant.id).cloned())
    });
    let unknown =
        || Error::invalid("PrincipalNotFound", format!("Principal {} does not exist in the directory {tenant}.", grant.principal));
    let kind = holder.ok_or_else(unknown)?;
    if let Some(claimed) = grant.principal_type.as_ref().filter(|c| !c.eq_ignore_ascii_case(kind_name(kind))) {
        let why = format!(
            "The PrincipalId '{}' has type '{}', which is different from specified PrinicpalType '{claimed}'.",
            grant.principal,
            kind_name(kind)
        );
        return Err(Error::invalid("UnmatchedPrincipalType", why).at("principalType"));
    }
    if let Some(have) = at_id {
        // the same PUT again is the same answer; another grant under this id is not
        if same.as_ref() == Some(&have.id) {
            return Ok(Change { batch: None, status: 200, answer: (StatusCode::OK, show(&have)) });
        }
        let why = "Tenant ID, application ID, principal ID, and scope are not allowed to be updated.";
        return Err(Error::new(Kind::Conflict, "RoleAssignmentUpdateNotPermitted", why));
    }
    if let Some(other) = same {
        let why =
            format!("The role assignment already exists. The ID of the existing role assignment is {}.", other.name().replace('-', ""));
        return Err(Error::new(Kind::Conflict, "RoleAssignmentExists", why));
    }
    let assignment = Assignment {
        id: grant.id.clone(),
        tenant,
        scope: grant.scope.clone(),
        role: grant.role.to_owned(),
        principal: grant.principal,
        principal_kind: kind,
        created: near.clock.now(),
        created_by: near.caller.principal().map(|p| p.object),
        description: grant.description.clone(),
    };
    let answer = (StatusCode::CREATED, show(&assignment));
    Ok(Change { batch: Some(batch.claim_fact(Fact::Assignment(assignment))), status: 201, answer })
}

/// The id of an assignment of the same role to the same principal at the same scope.
fn same_grant(facts: &Facts, tenant: base::TenantId, grant: &Grant) -> Option<ResourceId> {
    let all = facts.assignments(tenant).into_iter();
    all.filter(|a| a.scope == grant.scope && a.principal == grant.principal && a.role == grant.role).map(|a| a.id.clone()).next()
}

/// A role is granted at something that is there and is not being deleted, and still so when it is committed: else it
/// could outlive its scope, and open what is made anew under that name. What is inside a resource (a container) is its
/// service's to know.
async fn while_there<A: Access>(arm: &Arm, permit: &Permit<A>, scope: &ResourceId) -> Result<Batch> {
    let Some(group) = group_of(scope) else { return Ok(Batch::new()) };
    let found = groups::load_live(permit, &group).await?;
    let batch = Batch::new().is(GROUPS, row_name(&group), found.version);
    let Some(known) = scope.scopes().find(|s| s.resource_type().is_some() && arm.kind_of(s).is_ok()) else {
        return if scope.resource_type().is_none() { Ok(batch) } else { Err(not_found(scope)) };
    };
    let name = row_name(&known);
    match permit.data().get::<Resource>(RESOURCES, &name).await? {
        Some(found) if found.value.have.provisioning == DELETING => Err(busy(&known)),
        Some(found) => Ok(batch.is(RESOURCES, &name, found.version)),
        None => Err(not_found(&known)),
    }
}

pub(crate) async fn delete(_: Arc<Arm>, call: Call, permit: Permit<Write>, near: Neighbours) -> Result<Reply> {
    let (id, _) = match id_of(&call.head, &call.caller) {
        Ok(found) => found,
        Err(error) => return refuse(permit, error).await,
    };
    let Some(have) = near.facts(|f| f.assignment(&id).cloned()) else {
        return Ok(Reply::new(permit.close(Outcome::done(204)).await?, StatusCode::NO_CONTENT, ""));
    };
    let receipt = permit.commit(Batch::new().remove_fact(Fact::assignment_key(&id)), Outcome::done(200)).await?;
    Ok(Reply::json(receipt, StatusCode::OK, &show(&have)))
}

pub(crate) async fn list(_: Arc<Arm>, call: Call, permit: Permit<Read>, near: Neighbours) -> Result<Reply> {
    let found = async {
        let scope = target::scope_id(&call.head, &call.caller)?;
        let filter = Filter::of(&call.head)?.map(|f| f.only(&["principalId"], true)).transpose()?;
        Ok(json!({ "value": near.facts(|f| listed(f, &permit, &scope, filter.as_ref())) }))
    };
    let found = found.await;
    let (receipt, body) = close(permit, found).await?;
    Ok(Reply::json(receipt, StatusCode::OK, &body))
}

/// At a scope, above it, and (but with `atScope()`) inside it.
fn listed(facts: &Facts, permit: &Permit<Read>, scope: &ResourceId, filter: Option<&Filter>) -> Vec<Value> {
    let Some(tenant) = permit.tenant() else { return Vec::new() };
    let above = |a: &Assignment| scope.is_within(&a.scope) || a.scope.tenant_id().is_some();
    // groups of the asked-for principal, once for all assignments
    let members: Vec<ObjectId> = filter
        .iter()
        .flat_map(|f| f.conditions())
        .find_map(|c| if let Filter::AssignedTo(id) = c { id.parse().ok() } else { None })
        .map(|id| facts.identities(id))
        .unwrap_or_default();
    let fits = |a: &Assignment| {
        filter.is_none_or(|f| {
            f.fits(&|one| match one {
                Filter::AtScope => above(a),
                Filter::AssignedTo(_) => members.contains(&a.principal),
                one => one.text_fits(Some(&a.principal.to_string())),
            })
        })
    };
    let all = facts.assignments(tenant).into_iter();
    // inside a tenant is everything it has
    all.filter(|a| (above(a) || a.scope.is_within(scope) || scope.tenant_id().is_some()) && fits(a)).map(show).collect()
}
