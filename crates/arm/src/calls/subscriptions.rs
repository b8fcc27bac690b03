//! Tenants, subscriptions and their locations. A principal sees the subscriptions in which it has a role.

use crate::Arm;
use crate::change::close;
use crate::roles::any_assignment;
use crate::target;
use base::{Error, Kind, ResourceId, Result};
use http::StatusCode;
use serde_json::{Value, json};
use service::{Call, Neighbours, Reply};
use std::sync::Arc;
use trust::{Facts, Permit, Read, Subscription, Tenant};

pub(crate) async fn list_tenants(_: Arc<Arm>, _: Call, permit: Permit<Read>, near: Neighbours) -> Result<Reply> {
    let own = permit.tenant();
    let value: Vec<Value> = near.facts(|f| own.and_then(|t| f.tenant(t)).map(show_tenant)).into_iter().collect();
    let (receipt, body) = close(permit, Ok(json!({ "value": value }))).await?;
    Ok(Reply::json(receipt, StatusCode::OK, &body))
}

fn show_tenant(tenant: &Tenant) -> Value {
    json!({
        "id": format!("/tenants/{}", tenant.id),
        "tenantId": tenant.id.to_string(),
        "displayName": tenant.name,
        "defaultDomain": tenant.domains.first(),
        "domains": tenant.domains,
        "tenantCategory": "Home",
        "tenantType": "AAD",
    })
}

pub(crate) async fn list(_: Arc<Arm>, _: Call, permit: Permit<Read>, near: Neighbours) -> Result<Reply> {
    let visible = |f: &Facts| -> Vec<Value> {
        let (Some(tenant), Some(principal)) = (permit.tenant(), near.caller.principal()) else { return Vec::new() };
        let all = f.subscriptions(tenant).into_iter();
        all.filter(|s| any_assignment(f, principal, &ResourceId::subscription(s.id))).map(show).collect()
    };
    let value = near.facts(visible);
    let (receipt, body) = close(permit, Ok(json!({"value": value, "count": {"type": "Total", "value": value.len()}}))).await?;
    Ok(Reply::json(receipt, StatusCode::OK, &body))
}

fn show(subscription: &Subscription) -> Value {
    let id = subscription.id.to_string();
    json!({
        "id": format!("/subscriptions/{id}"),
        "authorizationSource": "RoleBased",
        "managedByTenants": [],
        "subscriptionId": id,
        "tenantId": subscription.tenant.to_string(),
        "displayName": subscription.name,
        "state": "Enabled",
    })
}

pub(crate) async fn get(_: Arc<Arm>, call: Call, permit: Permit<Read>, near: Neighbours) -> Result<Reply> {
    let id = target::subscription_id(&call.head)?;
    let gone = || Error::new(Kind::NotFound, "SubscriptionNotFound", format!("The subscription '{}' could not be found.", id.name()));
    let found = near.facts(|f| id.subscription_id().and_then(|s| f.subscription(s)).map(show)).ok_or_else(gone);
    let (receipt, body) = close(permit, found).await?;
    Ok(Reply::json(receipt, StatusCode::OK, &body))
}

pub(crate) async fn locations(_: Arc<Arm>, call: Call, permit: Permit<Read>, near: Neighbours) -> Result<Reply> {
    let id = target::subscription_id(&call.head)?;
    let name = near.urls.location.as_str();
    let shown = display_name(name);
    let body = json!({"value": [{
        "id": format!("{id}/locations/{name}"),
        "name": name,
        "type": "Region",
        "displayName": shown,
        "regionalDisplayName": shown,
        "metadata": {"regionType": "Physical", "regionCategory": "Recommended", "pairedRegion": []},
    }]});
    let (receipt, body) = close(permit, Ok(body)).await?;
    Ok(Reply::json(receipt, StatusCode::OK, &body))
}

/// Azure's spelling where we know it.
pub(crate) fn display_name(location: &str) -> &str {
    match location {
        "francecentral" => "France Central",
        "francesouth" => "France South",
        "westeurope" => "West Europe",
        "northeurope" => "North Europe",
        "germanywestcentral" => "Germany West Central",
        other => other,
    }
}
