//! Role assignments: who holds which role where. Each is a fact that the rules read; a grant waits for its index in the
//! record. Whoever assigns needs `Microsoft.Authorization/roleAssignments/write` at the very scope, or above it. A condition is
//! a fact of its own beside the assignment, committed with it and judged in `roles`.

use crate::Arm;
use crate::calls::groups;
use crate::calls::resources::{busy, not_found};
use crate::calls::role_definitions::{assignable, definition_id, missing};
use crate::change::{Change, Turns, close, refuse};
use crate::filter::Filter;
use crate::model::{DELETING, GROUPS, RESOURCES, Resource, group_of, row_name};
use crate::policies::govern;
use crate::roles::{AnyRole, role_of};
use crate::rulings::{self, CONDITION, Condition, outer_scope};
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

/// The tenant itself.
fn is_root(scope: &ResourceId) -> bool {
    scope.tenant_id().is_some() && scope.segments().count() == 2
}

/// With its condition, as facts know it.
fn shown(facts: &Facts, a: &Assignment) -> Value {
    let condition = facts.scoped_fact(CONDITION, &a.id).map(|f| rulings::read::<Condition>(f).map(|c| c.text).unwrap_or_default());
    show(a, condition.as_deref())
}

fn show(a: &Assignment, condition: Option<&str>) -> Value {
    // the tenant's root is "/" to its people
    let root = is_root(&a.scope);
    let scope = if root { "/".to_owned() } else { outer_scope(&a.scope) };
    let by = a.created_by.map(|o| o.to_string());
    json!({
        "id": format!("{}/providers/Microsoft.Authorization/roleAssignments/{}", if root { "" } else { &scope }, a.id.name()),
        "name": a.id.name(),
        "type": "Microsoft.Authorization/roleAssignments",
        "properties": {
            "roleDefinitionId": definition_id(&a.role, &a.scope),
            "principalId": a.principal.to_string(),
            "principalType": kind_name(a.principal_kind),
            "scope": scope,
            "description": a.description,
            "condition": condition,
            "conditionVersion": condition.map(|_| "2.0"),
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
    let found = near.facts(|f| f.assignment(&id).map(|a| shown(f, a))).ok_or_else(|| absent(&id));
    let (receipt, body) = close(permit, found).await?;
    Ok(Reply::json(receipt, StatusCode::OK, &body))
}

/// What a PUT asks for.
struct Grant {
    id: ResourceId,
    scope: ResourceId,
    /// The definition's GUID, lower case.
    role: String,
    principal: ObjectId,
    description: Option<String>,
    condition: Option<String>,
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
    let role = name.parse::<ObjectId>().map_err(|_| missing(name))?.to_string();
    let condition = properties.get("condition").and_then(Value::as_str).map(str::trim).filter(|c| !c.is_empty()).map(str::to_owned);
    if let Some(condition) = &condition {
        if properties.get("conditionVersion").and_then(Value::as_str).is_some_and(|v| v != "2.0") {
            let why = "The version of the condition is '2.0', which is the only one.";
            return Err(Error::invalid("InvalidRoleAssignmentConditionVersion", why).at("conditionVersion"));
        }
        policy::abac::Condition::read(condition)?;
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
    Ok(Grant { id, scope, role, principal, description, condition, principal_type: text("principalType").map(str::to_owned) })
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
    let key = Fact::assignment_key(&grant.id);
    let (holder, same, at_id, role, version) = near.facts(|f| {
        let holder = f.principal(grant.principal).filter(|p| p.tenant == tenant).map(|p| p.kind);
        let role = role_of(f, tenant, &grant.role);
        let fits = role.map(|r| match r {
            AnyRole::BuiltIn(built_in) => (!built_in.directory || is_root(&grant.scope), built_in.name.to_owned()),
            AnyRole::Custom(custom) => (assignable(f, &custom, &grant.scope), custom.name),
        });
        (holder, same_grant(f, tenant, grant), f.assignment(&grant.id).cloned(), fits, f.version(&key))
    });
    let (fits, role_name) = role.ok_or_else(|| missing(&grant.role))?;
    if !fits && crate::builtin::role(&grant.role).is_some() {
        let why = format!("The role '{role_name}' is of the directory: it is assigned at '/' only.");
        return Err(Error::invalid("InvalidCreateRoleAssignmentRequest", why));
    }
    if !fits {
        let why = format!(
            "The role '{role_name}' can't be assigned at '{}': its assignable scopes do not include it.",
            outer_scope(&grant.scope)
        );
        return Err(Error::invalid("RoleAssignmentScopeNotAssignableToRoleDefinition", why));
    }
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
        // the same grant again may have another condition or description; another grant under this id may not be
        if same.as_ref() != Some(&have.id) {
            let why = "Tenant ID, application ID, principal ID, and scope are not allowed to be updated.";
            return Err(Error::new(Kind::Conflict, "RoleAssignmentUpdateNotPermitted", why));
        }
        let known = near.facts(|f| f.scoped_fact(CONDITION, &have.id).map(rulings::read::<Condition>).transpose())?.map(|c| c.text);
        if known == grant.condition && (grant.description.is_none() || grant.description == have.description) {
            return Ok(Change { batch: None, status: 200, answer: (StatusCode::OK, show(&have, known.as_deref())) });
        }
        let next = Assignment { description: grant.description.clone().or_else(|| have.description.clone()), ..have };
        govern_grant(arm, permit, near, grant, &next).await?;
        let answer = (StatusCode::OK, show(&next, grant.condition.as_deref()));
        let batch = conditional(batch, grant, tenant).fact_is(key, version).put_fact(Fact::Assignment(next));
        return Ok(Change { batch: Some(batch), status: 200, answer });
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
        role: grant.role.clone(),
        principal: grant.principal,
        principal_kind: kind,
        created: near.clock.now(),
        created_by: near.caller.principal().map(|p| p.object),
        description: grant.description.clone(),
    };
    govern_grant(arm, permit, near, grant, &assignment).await?;
    let answer = (StatusCode::CREATED, show(&assignment, grant.condition.as_deref()));
    let batch = conditional(batch, grant, tenant);
    Ok(Change { batch: Some(batch.claim_fact(Fact::Assignment(assignment))), status: 201, answer })
}

/// The condition goes with the assignment, in the same commit; without one, none is left of an earlier assignment's.
fn conditional(batch: Batch, grant: &Grant, tenant: base::TenantId) -> Batch {
    match &grant.condition {
        Some(text) => {
            let value = Condition { text: text.clone() };
            batch.put_fact(rulings::fact(CONDITION, grant.id.clone(), tenant, grant.scope.clone(), &value))
        }
        None => batch.remove_fact(Fact::scoped_key(CONDITION, &grant.id)),
    }
}

/// Policies may refuse a grant.
async fn govern_grant(arm: &Arm, permit: &Permit<Write>, near: &Neighbours, grant: &Grant, next: &Assignment) -> Result<()> {
    let subject = policy::Subject { body: show(next, grant.condition.as_deref()) };
    match govern(arm, permit, near, &grant.scope, None, "", subject).await? {
        None => Ok(()),
        Some(_) => Err(Error::not_implemented("A policy that changes a role assignment")),
    }
}

/// The id of an assignment of the same role to the same principal at the same scope.
fn same_grant(facts: &Facts, tenant: base::TenantId, grant: &Grant) -> Option<ResourceId> {
    let all = facts.assignments(tenant).into_iter();
    all.filter(|a| a.scope == grant.scope && a.principal == grant.principal && a.role == grant.role).map(|a| a.id.clone()).next()
}

/// A role is granted at something that is there and is not being deleted, and still so when it is committed: else it
/// could outlive its scope, and open what is made anew under that name. What is inside a resource (a container) is its
/// service's to know.
pub(crate) async fn while_there<A: Access>(arm: &Arm, permit: &Permit<A>, scope: &ResourceId) -> Result<Batch> {
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
    let Some((have, body)) = near.facts(|f| f.assignment(&id).map(|a| (a.id.clone(), shown(f, a)))) else {
        return Ok(Reply::new(permit.close(Outcome::done(204)).await?, StatusCode::NO_CONTENT, ""));
    };
    let batch = Batch::new().remove_fact(Fact::assignment_key(&have)).remove_fact(Fact::scoped_key(CONDITION, &have));
    let receipt = permit.commit(batch, Outcome::done(200)).await?;
    Ok(Reply::json(receipt, StatusCode::OK, &body))
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
    let chain = facts.scopes_of(scope);
    let above = |a: &Assignment| chain.contains(&a.scope);
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
                Filter::AtExactScope => a.scope == *scope,
                Filter::AssignedTo(_) => members.contains(&a.principal),
                one => one.text_fits(Some(&a.principal.to_string())),
            })
        })
    };
    let all = facts.assignments(tenant).into_iter();
    // inside a tenant is everything it has, inside a management group what is under it
    let inside = |a: &Assignment| a.scope.is_within(scope) || scope.tenant_id().is_some() && facts.scopes_of(&a.scope).contains(scope);
    // roles of the directory are no roles of its resources: they are shown where their definitions are
    let known = |a: &Assignment| scope.tenant_id().is_some() || crate::builtin::role(&a.role).is_none_or(|role| !role.directory);
    let show = |a: &Assignment| {
        let mut shown = shown(facts, a);
        // the definition's id as the list of definitions at this scope has it: clients join the two lists by it
        if a.scope.subscription_id().is_none() && scope.subscription_id().is_some() {
            shown["properties"]["roleDefinitionId"] = definition_id(&a.role, scope).into();
        }
        shown
    };
    all.filter(|a| (above(a) || inside(a)) && known(a) && fits(a)).map(show).collect()
}
