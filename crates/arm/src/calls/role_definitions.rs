//! Role definitions: Azure's built-in ones, the same at every scope. Custom roles are not built.

use crate::builtin::{ROLES, Role, role};
use crate::change::close;
use crate::filter::Filter;
use crate::{Arm, target};
use base::{Error, Kind, ResourceId, Result};
use http::StatusCode;
use serde_json::{Value, json};
use service::{Call, Neighbours, Reply};
use std::sync::Arc;
use trust::{Permit, Read};

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

/// Roles of the directory are assigned at the tenant, and shown there only.
fn visible(role: &Role, scope: &ResourceId) -> bool {
    !role.directory || scope.tenant_id().is_some()
}

pub(crate) async fn list(_: Arc<Arm>, call: Call, permit: Permit<Read>, _: Neighbours) -> Result<Reply> {
    let found = async {
        let scope = target::scope_id(&call.head, &call.caller)?;
        let filter = Filter::of(&call.head)?.map(|f| f.only(&["roleName", "type"], true)).transpose()?;
        let fits = |r: &Role| {
            filter.as_ref().is_none_or(|f| {
                f.fits(&|one| match one {
                    Filter::AtScope => true,
                    one if one.field().eq_ignore_ascii_case("roleName") => one.text_fits(Some(r.name)),
                    one if one.field().eq_ignore_ascii_case("type") => one.text_fits(Some("BuiltInRole")),
                    _ => false,
                })
            })
        };
        let value: Vec<Value> = ROLES.iter().filter(|r| visible(r, &scope) && fits(r)).map(|r| show(r, &scope)).collect();
        Ok(json!({ "value": value }))
    };
    let found = found.await;
    let (receipt, body) = close(permit, found).await?;
    Ok(Reply::json(receipt, StatusCode::OK, &body))
}

pub(crate) async fn get(_: Arc<Arm>, call: Call, permit: Permit<Read>, _: Neighbours) -> Result<Reply> {
    let scope = target::scope_id(&call.head, &call.caller)?;
    let name = call.head.params.get("name");
    let found = role(name).filter(|r| visible(r, &scope)).map(|r| show(r, &scope)).ok_or_else(|| missing(name));
    let (receipt, body) = close(permit, found).await?;
    Ok(Reply::json(receipt, StatusCode::OK, &body))
}

pub(crate) fn missing(name: &str) -> Error {
    Error::new(Kind::NotFound, "RoleDefinitionDoesNotExist", format!("The specified role definition with ID '{name}' does not exist."))
}
