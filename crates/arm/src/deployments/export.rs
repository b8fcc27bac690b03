//! A template that would make what is in a resource group: `POST …/resourceGroups/{g}/exportTemplate`.
//!
//! Names become parameters, as Azure does it, so that the same can be made elsewhere. What a service decides by itself is
//! left out ([`DECIDED`]). What the caller may not read is not in it.

use super::inside::{Request, send};
use super::what_if::there;
use crate::Arm;
use crate::change::close;
use crate::{names, target};
use base::{Error, ResourceId, Result};
use http::{Method, StatusCode};
use serde_json::{Map, Value, json};
use service::{Call, Neighbours, Reply};
use std::sync::Arc;
use trust::{Permit, Write};

const SCHEMA: &str = "https://schema.management.azure.com/schemas/2019-04-01/deploymentTemplate.json#";

/// Properties that are answered and never asked for.
const DECIDED: &[&str] = &[
    "creationTime",
    "keyCreationTime",
    "primaryEndpoints",
    "primaryLocation",
    "privateEndpointConnections",
    "provisioningState",
    "secondaryEndpoints",
    "secondaryLocation",
    "statusOfPrimary",
    "statusOfSecondary",
];

pub(super) async fn group(arm: Arc<Arm>, call: Call, permit: Permit<Write>, near: Neighbours) -> Result<Reply> {
    let Call { head, body, .. } = call;
    let found = async {
        let group = target::group_id(&head)?;
        crate::calls::groups::load(&permit, &group).await?;
        let asked = Asked::of(&names::json_body(body).await?)?;
        Ok(json!({"template": template(&arm, &near, &group, &asked).await?}))
    };
    let found = found.await;
    let (receipt, body) = close(permit, found).await?;
    Ok(Reply::json(receipt, StatusCode::OK, &body))
}

struct Asked {
    /// Lower case; `None`: all.
    only: Option<Vec<String>>,
    /// Names stay as they are.
    fixed_names: bool,
    defaults: bool,
}

impl Asked {
    fn of(body: &Map<String, Value>) -> Result<Asked> {
        let all = body.get("resources").and_then(Value::as_array).cloned().unwrap_or_default();
        let ids: Option<Vec<String>> = all.iter().map(|r| r.as_str().map(str::to_lowercase)).collect();
        let ids = ids.ok_or_else(|| Error::invalid("InvalidRequestContent", "'resources' is not an array of ids.").at("resources"))?;
        let options = body.get("options").and_then(Value::as_str).unwrap_or("").to_lowercase();
        let has = |name: &str| options.split(',').any(|o| o.trim() == name);
        Ok(Asked {
            only: (!ids.is_empty() && !ids.iter().any(|i| i == "*")).then_some(ids),
            fixed_names: has("skipresourcenameparameterization") || has("skipallparameterization"),
            defaults: has("includeparameterdefaultvalue"),
        })
    }
}

async fn template(arm: &Arc<Arm>, near: &Neighbours, group: &ResourceId, asked: &Asked) -> Result<Value> {
    let (mut parameters, mut resources) = (Map::new(), Vec::new());
    for brief in there(arm, near, group).await? {
        let id = brief["id"].as_str().unwrap_or_default();
        if asked.only.as_ref().is_some_and(|only| !only.contains(&id.to_lowercase())) {
            continue;
        }
        let kind = arm.kind_of(&ResourceId::parse(id)?)?.clone();
        let api_version = kind.versions().first().copied().unwrap_or("2024-11-01");
        let whole = send(arm, near, Request { method: Method::GET, path: id, api_version, body: None }).await?.body;
        let name = whole["name"].as_str().unwrap_or_default().to_owned();
        let parameter = parameter_name(kind.name(), &name);
        let mut resource = json!({"type": format!("{}/{}", kind.namespace(), kind.name()), "apiVersion": api_version});
        resource["name"] = if asked.fixed_names { json!(escaped(&name)) } else { json!(format!("[parameters('{parameter}')]")) };
        for (key, value) in whole.as_object().into_iter().flatten() {
            if !["id", "name", "type", "apiVersion", "properties"].contains(&key.as_str()) {
                resource[key] = literal(value);
            }
        }
        let properties = whole["properties"].as_object().into_iter().flatten();
        let asked_for = properties.filter(|(key, _)| !DECIDED.contains(&key.as_str())).map(|(key, value)| (key.clone(), literal(value)));
        resource["properties"] = Value::Object(asked_for.collect());
        if !asked.fixed_names {
            let mut declared = json!({"type": "String"});
            if asked.defaults {
                declared["defaultValue"] = json!(escaped(&name));
            }
            parameters.insert(parameter, declared);
        }
        resources.push(resource);
    }
    Ok(json!({"$schema": SCHEMA, "contentVersion": "1.0.0.0", "parameters": parameters, "variables": {}, "resources": resources}))
}

/// `storageAccounts_acct_name`.
fn parameter_name(kind: &str, name: &str) -> String {
    let plain = |text: &str| text.chars().map(|c| if c.is_alphanumeric() { c } else { '_' }).collect::<String>();
    format!("{}_{}_name", plain(kind), plain(name))
}

/// A text that is no expression.
fn escaped(text: &str) -> String {
    if text.starts_with('[') { format!("[{text}") } else { text.to_owned() }
}
fn literal(value: &Value) -> Value {
    match value {
        Value::String(text) => Value::String(escaped(text)),
        Value::Array(all) => Value::Array(all.iter().map(literal).collect()),
        Value::Object(map) => Value::Object(map.iter().map(|(k, v)| (k.clone(), literal(v))).collect()),
        other => other.clone(),
    }
}
