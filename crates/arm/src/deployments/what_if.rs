//! What a deployment would change: what is there, read as the caller, beside what the template asks for.

use super::inside::{Request, send};
use super::request::{Asked, Prepared};
use super::{KIND, request};
use crate::Arm;
use base::{Kind, ResourceId, Result};
use http::Method;
use serde_json::{Map, Value, json};
use service::Neighbours;
use std::collections::HashSet;
use std::sync::Arc;
use template::what_if::change_of;
use trust::{Permit, Write};

/// Deployments inside deployments that are looked into.
const DEPTH_MAX: usize = 10;

/// The `changes` of an answer.
pub(super) async fn changes(
    arm: &Arc<Arm>,
    near: &Neighbours,
    permit: &Permit<Write>,
    scope: &ResourceId,
    asked: &Asked,
    prepared: Prepared,
) -> Result<Vec<Value>> {
    let (mut out, mut seen) = (Vec::new(), HashSet::new());
    let Some(plan) = prepared.foretold(scope, asked) else {
        let deployed = prepared.plan.resources.iter().filter(|r| r.deployed);
        return Ok(deployed.map(|r| json!({"resourceId": r.id, "changeType": "Deploy"})).collect());
    };
    let mut waiting = vec![(plan, 0)];
    while let Some((plan, depth)) = waiting.pop() {
        for resource in plan.resources.iter().filter(|r| r.deployed) {
            if resource.kind.eq_ignore_ascii_case(KIND) {
                match nested(arm, near, permit, &resource.id, &resource.scope, &resource.preview).await {
                    Some(inside) if depth < DEPTH_MAX => waiting.push((inside.plan, depth + 1)),
                    _ => out.push(json!({
                        "resourceId": resource.id,
                        "changeType": "Unsupported",
                        "unsupportedReason": "Changes to the resource declared in this nested deployment cannot be analyzed because its parameters are calculated at deployment time, or its scope does not exist yet.",
                    })),
                }
                continue;
            }
            seen.insert(resource.id.to_lowercase());
            let found =
                send(arm, near, Request { method: Method::GET, path: &resource.id, api_version: &resource.api_version, body: None }).await;
            let before = match found {
                Ok(answered) => Some(answered.body),
                Err(error) if error.kind == Kind::NotFound => None,
                Err(error) => return Err(error),
            };
            let after = whole(&resource.id, &resource.kind, &resource.api_version, &resource.preview);
            out.push(shown(&resource.id, before.as_ref(), Some(&after), asked, true));
        }
    }
    if scope.resource_group().is_some() {
        for resource in there(arm, near, scope).await? {
            let id = resource["id"].as_str().unwrap_or_default();
            if !seen.contains(&id.to_lowercase()) {
                out.push(shown(id, Some(&resource), None, asked, true));
            }
        }
    }
    out.sort_by_key(|c| c["resourceId"].as_str().unwrap_or_default().to_lowercase());
    Ok(out)
}

/// The plan of a nested deployment. `None`: it can't be made before the deployment runs.
async fn nested(arm: &Arc<Arm>, near: &Neighbours, permit: &Permit<Write>, id: &str, scope: &str, body: &Value) -> Option<Prepared> {
    let (id, scope) = (ResourceId::parse(id).ok()?, ResourceId::parse(scope).ok()?);
    if scope.subscription_id() != permit.target().subscription_id() {
        return None;
    }
    let asked = request::read(&body.to_string().into(), &scope).ok()?;
    request::prepare(arm, permit, near, &id, &scope, &asked, true).await.ok()
}

/// The resources of a group, whole, as the caller sees them.
pub(super) async fn there(arm: &Arc<Arm>, near: &Neighbours, group: &ResourceId) -> Result<Vec<Value>> {
    let path = format!("{group}/resources");
    let list = send(arm, near, Request { method: Method::GET, path: &path, api_version: "2024-11-01", body: None }).await?;
    Ok(list.body["value"].as_array().cloned().unwrap_or_default())
}

fn whole(id: &str, kind: &str, api_version: &str, body: &Value) -> Value {
    let mut map: Map<String, Value> = Map::new();
    map.insert("apiVersion".into(), json!(api_version));
    map.insert("id".into(), json!(id));
    map.insert("name".into(), json!(id.rsplit('/').next().unwrap_or_default()));
    map.insert("type".into(), json!(kind));
    map.extend(body.as_object().cloned().unwrap_or_default());
    Value::Object(map)
}

fn shown(id: &str, before: Option<&Value>, after: Option<&Value>, asked: &Asked, deltas: bool) -> Value {
    let (change, delta) = change_of(before, after, asked.complete);
    let mut out = json!({"resourceId": id, "changeType": change.as_str()});
    if asked.only_ids {
        return out;
    }
    if let Some(before) = before {
        out["before"] = before.clone();
    }
    match (before, after) {
        (_, Some(after)) => out["after"] = after.clone(),
        // what is left alone is after as before
        (Some(before), None) if !asked.complete => out["after"] = before.clone(),
        _ => {}
    }
    if deltas && !delta.is_empty() {
        out["delta"] = delta.iter().map(|c| c.to_json()).collect();
    }
    out
}
