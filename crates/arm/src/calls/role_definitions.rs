//! Role definitions: Azure's built-in ones, the same at every scope, and the tenant's own, which may be assigned at their
//! assignable scopes and below. What they grant is judged in `roles`.

use crate::builtin::{ROLES, Role, role};
use crate::change::{Change, Turns, close, refuse};
use crate::filter::Filter;
use crate::roles::custom_role_id;
use crate::rulings::{self, CustomRole, Made, Permission, ROLE, There, inner, outer_scope};
use crate::{Arm, names, target};
use base::{Error, Kind, ObjectId, ResourceId, Result, TenantId};
use http::StatusCode;
use serde_json::{Map, Value, json};
use service::{Call, Head, Neighbours, Reply};
use std::sync::Arc;
use trust::{Batch, Caller, Fact, Facts, Outcome, Permit, Read, Write};

/// Azure's limit of a tenant.
const ROLES_MAX: usize = 5_000;
const SCOPES_MAX: usize = 2_000;
const WRITE: &str = "Microsoft.Authorization/roleDefinitions/write";
const DELETE: &str = "Microsoft.Authorization/roleDefinitions/delete";

/// `{subscription}/providers/Microsoft.Authorization/roleDefinitions/{guid}`, as Azure prints it.
pub(crate) fn definition_id(role: &str, scope: &ResourceId) -> String {
    let base = scope.subscription_id().map(|s| format!("/subscriptions/{s}")).unwrap_or_default();
    format!("{base}/providers/Microsoft.Authorization/roleDefinitions/{role}")
}

fn show(role: &Role, scope: &ResourceId) -> Value {
    json!({
        "id": definition_id(role.id, scope),
        "name": role.id,
        "type": "Microsoft.Authorization/roleDefinitions",
        "properties": {
            "roleName": role.name,
            "type": "BuiltInRole",
            "description": role.description,
            "assignableScopes": ["/"],
            "permissions": [{
                "actions": role.actions, "notActions": role.not_actions,
                "dataActions": role.data_actions, "notDataActions": role.not_data_actions,
            }],
        },
    })
}

fn show_custom(name: &str, role: &CustomRole, scope: &ResourceId) -> Value {
    let by = |o: Option<ObjectId>| o.map(|o| o.to_string());
    json!({
        "id": definition_id(name, scope),
        "name": name,
        "type": "Microsoft.Authorization/roleDefinitions",
        "properties": {
            "roleName": role.name,
            "type": "CustomRole",
            "description": role.description,
            "assignableScopes": role.scopes.iter().map(outer_scope).collect::<Vec<_>>(),
            "permissions": role.permissions.iter().map(Permission::show).collect::<Vec<_>>(),
            "createdOn": role.made.created.rfc3339(),
            "updatedOn": role.made.changed.rfc3339(),
            "createdBy": by(role.made.created_by),
            "updatedBy": by(role.made.changed_by),
        },
    })
}

/// Roles of the directory are assigned at the tenant, and shown there only.
fn visible(role: &Role, scope: &ResourceId) -> bool {
    !role.directory || scope.tenant_id().is_some()
}

/// A role of the tenant's own may be assigned at the scope: its assignable scopes are there or above.
pub(crate) fn assignable(facts: &Facts, role: &CustomRole, scope: &ResourceId) -> bool {
    let above = facts.scopes_of(scope);
    role.scopes.iter().any(|s| above.contains(s))
}

/// Every role of the tenant's own.
fn customs(facts: &Facts, tenant: TenantId) -> Result<Vec<(String, CustomRole)>> {
    let begins = Fact::scoped_key(ROLE, &ResourceId::tenant(tenant)) + "/";
    let all = facts.scan(&begins).filter_map(|f| if let Fact::Scoped(s) = f { Some(s) } else { None });
    all.map(|f| Ok((f.id.name().to_owned(), rulings::read(f)?))).collect()
}

/// Shown where it may be assigned, there or inside.
fn visible_custom(facts: &Facts, role: &CustomRole, scope: &ResourceId) -> bool {
    scope.tenant_id().is_some() || assignable(facts, role, scope) || role.scopes.iter().any(|s| s.is_within(scope))
}

pub(crate) async fn list(_: Arc<Arm>, call: Call, permit: Permit<Read>, near: Neighbours) -> Result<Reply> {
    let found = async {
        let scope = target::scope_id(&call.head, &call.caller)?;
        let filter = Filter::of(&call.head)?.map(|f| f.only(&["roleName", "type"], true)).transpose()?;
        let fits = |name: &str, kind: &str| {
            filter.as_ref().is_none_or(|f| {
                f.fits(&|one| match one {
                    Filter::AtScope | Filter::AtExactScope => true,
                    one if one.field().eq_ignore_ascii_case("roleName") => one.text_fits(Some(name)),
                    one if one.field().eq_ignore_ascii_case("type") => one.text_fits(Some(kind)),
                    _ => false,
                })
            })
        };
        let built_in = ROLES.iter().filter(|r| visible(r, &scope) && fits(r.name, "BuiltInRole"));
        let mut value: Vec<Value> = built_in.map(|r| show(r, &scope)).collect();
        if let Some(tenant) = call.caller.tenant() {
            let own = near.facts(|f| {
                let all = customs(f, tenant)?.into_iter();
                Ok::<_, Error>(all.filter(|(_, r)| visible_custom(f, r, &scope) && fits(&r.name, "CustomRole")).collect::<Vec<_>>())
            })?;
            value.extend(own.iter().map(|(name, role)| show_custom(name, role, &scope)));
        }
        Ok(json!({ "value": value }))
    };
    let found = found.await;
    let (receipt, body) = close(permit, found).await?;
    Ok(Reply::json(receipt, StatusCode::OK, &body))
}

pub(crate) async fn get(_: Arc<Arm>, call: Call, permit: Permit<Read>, near: Neighbours) -> Result<Reply> {
    let found = target::scope_id(&call.head, &call.caller).and_then(|scope| {
        let name = call.head.params.get("name");
        if let Some(found) = role(name).filter(|r| visible(r, &scope)) {
            return Ok(show(found, &scope));
        }
        let Some(tenant) = call.caller.tenant() else { return Err(missing(name)) };
        near.facts(|f| {
            let id = custom_role_id(tenant, name).map_err(|_| missing(name))?;
            let found: CustomRole = rulings::read(f.scoped_fact(ROLE, &id).ok_or_else(|| missing(name))?)?;
            if visible_custom(f, &found, &scope) { Ok(show_custom(id.name(), &found, &scope)) } else { Err(missing(name)) }
        })
    });
    let (receipt, body) = close(permit, found).await?;
    Ok(Reply::json(receipt, StatusCode::OK, &body))
}

pub(crate) fn missing(name: &str) -> Error {
    Error::new(Kind::NotFound, "RoleDefinitionDoesNotExist", format!("The specified role definition with ID '{name}' does not exist."))
}

/// Which role of the tenant's own a call is about: its id, and the scope it is asked at. Errors: no GUID, a built-in one.
fn place(head: &Head, caller: &Caller) -> Result<(ResourceId, ResourceId, TenantId)> {
    let scope = target::scope_id(head, caller)?;
    let name = head.params.get("name");
    let guid = name.parse::<ObjectId>().map_err(|_| {
        let why = format!("The role definition ID '{name}' is not valid. The role definition ID must be a GUID.");
        Error::invalid("InvalidRoleDefinitionId", why)
    })?;
    if role(name).is_some() {
        let why = format!("The role definition '{name}' is built in: it can't be changed or deleted.");
        return Err(Error::new(Kind::Forbidden, "RoleDefinitionBuiltIn", why));
    }
    let tenant = caller.tenant().ok_or_else(|| missing(name))?;
    Ok((custom_role_id(tenant, &guid.to_string())?, scope, tenant))
}

fn wrong(why: String, at: &'static str) -> Error {
    Error::invalid("InvalidRoleDefinition", why).at(at)
}

fn wish(body: &Map<String, Value>, tenant: TenantId, near: &Neighbours) -> Result<CustomRole> {
    let properties = body.get("properties").and_then(Value::as_object).unwrap_or(body);
    let text = |name: &str| properties.get(name).and_then(Value::as_str).map(str::trim);
    let name = text("roleName").unwrap_or("");
    if name.is_empty() || name.chars().count() > 512 {
        return Err(Error::invalid("RoleDefinitionNameInvalid", "The role name has 1 to 512 characters.").at("roleName"));
    }
    if text("type").is_some_and(|t| !t.eq_ignore_ascii_case("CustomRole")) {
        return Err(wrong("Only roles of the type 'CustomRole' can be made.".into(), "type"));
    }
    let description = text("description").unwrap_or("");
    if description.chars().count() > 2_048 {
        return Err(wrong("The description is longer than 2048 characters.".into(), "description"));
    }
    let permissions = properties.get("permissions").and_then(Value::as_array).map(Vec::as_slice).unwrap_or(&[]);
    let permissions: Vec<Permission> =
        permissions.iter().map(Permission::read).collect::<Result<_, _>>().map_err(|why| wrong(why, "permissions"))?;
    if permissions.is_empty() || permissions.iter().all(|p| p.actions.is_empty() && p.data_actions.is_empty()) {
        return Err(wrong("A role grants at least one action or data action.".into(), "permissions"));
    }
    // Azure: no wildcard on its own for data
    if permissions.iter().flat_map(|p| &p.data_actions).any(|a| a == "*") {
        return Err(wrong("The data action '*' names no resource provider.".into(), "permissions"));
    }
    let scopes = properties.get("assignableScopes").and_then(Value::as_array).map(Vec::as_slice).unwrap_or(&[]);
    if scopes.is_empty() || scopes.len() > SCOPES_MAX {
        return Err(wrong(format!("A role has 1 to {SCOPES_MAX} assignable scopes."), "assignableScopes"));
    }
    let mut read = Vec::new();
    for scope in scopes {
        let text = scope.as_str().unwrap_or("");
        let unknown = || {
            let why = format!(
                "The assignable scope '{text}' is invalid: it is a management group, subscription or resource group of this tenant."
            );
            Error::invalid("RoleDefinitionAssignableScopesInvalid", why).at("assignableScopes")
        };
        let id = inner(text, tenant).map_err(|_| unknown())?;
        let there = near.facts(|f| f.tenant_of(&id) == Some(tenant));
        let resource = id.resource_type().is_some_and(|t| !t.eq_ignore_ascii_case("Microsoft.Management/managementGroups"));
        if !there || resource {
            return Err(unknown());
        }
        if !read.contains(&id) {
            read.push(id);
        }
    }
    Ok(CustomRole { name: name.to_owned(), description: description.to_owned(), permissions, scopes: read, made: Made::default() })
}

/// Whoever changes a role may do so at each of its assignable scopes.
fn may_everywhere(near: &Neighbours, action: &str, scopes: &[ResourceId]) -> Result<()> {
    match scopes.iter().find(|s| !near.may(action, s)) {
        None => Ok(()),
        Some(scope) => Err(Error::new(
            Kind::Forbidden,
            "LinkedAuthorizationFailed",
            format!(
                "The client has permission to perform action '{action}' on scope of the request; however, it does not have it on the assignable scope '{}'.",
                outer_scope(scope)
            ),
        )),
    }
}

pub(crate) async fn put(_: Arc<Arm>, call: Call, permit: Permit<Write>, near: Neighbours) -> Result<Reply> {
    let prepared = async {
        let (id, scope, tenant) = place(&call.head, &call.caller)?;
        let role = wish(&names::json_body(call.body).await?, tenant, &near)?;
        may_everywhere(&near, WRITE, &role.scopes)?;
        Ok((id, scope, tenant, role))
    };
    let (id, scope, tenant, role) = match prepared.await {
        Ok(prepared) => prepared,
        Err(error) => return refuse(permit, error).await,
    };
    let mut turns = Turns::new(permit);
    loop {
        let decided = decide(&id, tenant, &role, &near);
        if let Some((receipt, role)) = turns.settle(decided).await? {
            return Ok(Reply::json(receipt, StatusCode::CREATED, &show_custom(id.name(), &role, &scope)));
        }
    }
}

fn decide(id: &ResourceId, tenant: TenantId, role: &CustomRole, near: &Neighbours) -> Result<Change<CustomRole>> {
    let (there, all) = near.facts(|f| Ok::<_, Error>((There::<CustomRole>::look(f, ROLE, id)?, customs(f, tenant)?)))?;
    if all.iter().any(|(name, r)| name != id.name() && r.name.eq_ignore_ascii_case(&role.name))
        || ROLES.iter().any(|r| r.name.eq_ignore_ascii_case(&role.name))
    {
        let why = format!("A custom role with the same name already exists in this directory. Use a different name: '{}'.", role.name);
        return Err(Error::new(Kind::Conflict, "RoleDefinitionWithSameNameExists", why));
    }
    if there.value.is_none() && all.len() >= ROLES_MAX {
        let why = format!("The directory has {ROLES_MAX} custom roles: that is the most.");
        return Err(Error::new(Kind::Conflict, "RoleDefinitionLimitExceeded", why));
    }
    if let Some(have) = &there.value {
        may_everywhere(near, WRITE, &have.scopes)?;
    }
    let role = CustomRole { made: Made::anew(near, there.value.as_ref().map(|r| &r.made)), ..role.clone() };
    let fact = rulings::fact(ROLE, id.clone(), tenant, ResourceId::tenant(tenant), &role);
    Ok(Change { batch: Some(there.unchanged(Batch::new()).put_fact(fact)), status: 201, answer: role })
}

pub(crate) async fn delete(_: Arc<Arm>, call: Call, permit: Permit<Write>, near: Neighbours) -> Result<Reply> {
    let found = place(&call.head, &call.caller).and_then(|(id, scope, tenant)| {
        let (there, used) = near.facts(|f| {
            let used = f.assignments(tenant).into_iter().filter(|a| a.role == id.name()).count();
            Ok::<_, Error>((There::<CustomRole>::look(f, ROLE, &id)?, used))
        })?;
        if let Some(role) = &there.value {
            may_everywhere(&near, DELETE, &role.scopes)?;
            if used > 0 {
                let why = format!(
                    "There are existing role assignments referencing role (code: RoleDefinitionHasAssignments): {used} of '{}'.",
                    role.name
                );
                return Err(Error::new(Kind::Conflict, "RoleDefinitionHasAssignments", why));
            }
        }
        Ok((there, id, scope))
    });
    let (there, id, scope) = match found {
        Ok(found) => found,
        Err(error) => return refuse(permit, error).await,
    };
    let Some(role) = &there.value else {
        return Ok(Reply::new(permit.close(Outcome::done(204)).await?, StatusCode::NO_CONTENT, ""));
    };
    let batch = there.unchanged(Batch::new()).remove_fact(Fact::scoped_key(ROLE, &id));
    let receipt = permit.commit(batch, Outcome::done(200)).await?;
    Ok(Reply::json(receipt, StatusCode::OK, &show_custom(id.name(), role, &scope)))
}
