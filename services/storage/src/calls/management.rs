//! What Resource Manager's door offers for an account beside the account itself: keys, signatures, containers
//! (Azure Storage resource provider REST reference).

use super::{again, container, fail, list, mark};
use crate::kinds::storage_accounts::{KEY_NAMES, KEYS, SHELVED, check_name as check_account_name, skus as all_skus};
use crate::model::{CONTAINERS, Container, ETag, Metadata};
use crate::wire;
use base::{Error, Kind, ResourceId, Result};
use base64::prelude::*;
use http::StatusCode;
use serde_json::{Value, json};
use service::{Body, Call, Neighbours, Reply};
use std::sync::Arc;
use trust::{Access, Batch, Credential, Outcome, Permit, Read, Write};

type Service = Arc<crate::Storage>;

const BODY_BYTES_MAX: usize = 64 << 10;

async fn body(call: &mut Call) -> Result<Value> {
    let bytes = super::collected(std::mem::replace(&mut call.body, Body::empty()), BODY_BYTES_MAX).await?;
    if bytes.is_empty() {
        return Ok(json!({}));
    }
    let value: Value = serde_json::from_slice(&bytes)
        .map_err(|_| Error::invalid("InvalidRequestContent", "The request content was invalid and could not be deserialized."))?;
    if value.is_object() { Ok(value) } else { Err(Error::invalid("InvalidRequestContent", "The request content is not a JSON object.")) }
}

fn text<'v>(value: &'v Value, name: &'static str) -> Result<&'v str> {
    value
        .get(name)
        .and_then(Value::as_str)
        .filter(|v| !v.is_empty())
        .ok_or_else(|| Error::invalid("InvalidRequestPropertyValue", format!("The property '{name}' is required.")).at(name))
}

/// An account that Resource Manager knows but that has no space yet (or no more) has nothing to show here.
fn there<A: Access>(permit: &Permit<A>, near: &Neighbours) -> Result<()> {
    if near.facts(|f| f.space(permit.target()).is_some()) {
        return Ok(());
    }
    let name = permit.target().name();
    let group = permit.target().resource_group().unwrap_or_default();
    Err(Error::new(
        Kind::NotFound,
        "ResourceNotFound",
        format!("The Resource 'Microsoft.Storage/storageAccounts/{name}' under resource group '{group}' was not found."),
    ))
}

async fn answer<A: Access>(permit: Permit<A>, result: Result<Value>) -> Result<Reply> {
    match result {
        Ok(value) => Ok(Reply::json(permit.close(Outcome::done(200)).await?, StatusCode::OK, &value)),
        Err(error) => fail(permit, error).await,
    }
}

/// `checkNameAvailability`.
pub async fn check_name(_: Service, mut call: Call, permit: Permit<Read>, near: Neighbours) -> Result<Reply> {
    let result = body(&mut call).await.and_then(|body| {
        let name = text(&body, "name")?;
        if let Err(error) = check_account_name(name) {
            return Ok(json!({ "nameAvailable": false, "reason": "AccountNameInvalid", "message": error.message }));
        }
        if near.facts(|f| f.resolve("storage", name).is_some()) {
            return Ok(json!({ "nameAvailable": false, "reason": "AlreadyExists", "message": format!("The storage account named {name} is already taken.") }));
        }
        Ok(json!({ "nameAvailable": true }))
    });
    answer(permit, result).await
}

/// `skus`: what may be asked for in this region. Every SKU is kept on the region's own sites (README).
pub async fn skus(_: Service, _: Call, permit: Permit<Read>, near: Neighbours) -> Result<Reply> {
    let location = near.urls.location.as_str();
    let all: Vec<Value> = all_skus()
        .iter()
        .map(|name| {
            let tier = name.split('_').next().unwrap_or_default();
            json!({ "resourceType": "storageAccounts", "name": name, "tier": tier, "kind": "StorageV2", "locations": [location], "capabilities": [], "restrictions": [] })
        })
        .collect();
    answer(permit, Ok(json!({ "value": all }))).await
}

/// The holder of the account's keys, whether they may sign or not.
async fn holder<A: Access>(permit: &Permit<A>) -> Result<&'static str> {
    Ok(if permit.secret().list(KEYS).await?.is_empty() { SHELVED } else { KEYS })
}

async fn keys<A: Access>(permit: &Permit<A>) -> Result<Value> {
    let holder = holder(permit).await?;
    let mut shown = Vec::new();
    for info in permit.secret().list(holder).await? {
        if let Some(key) = permit.secret().reveal(holder, &info.id).await? {
            shown.push(json!({
                "creationTime": info.created.rfc3339(),
                "keyName": info.id,
                "value": BASE64_STANDARD.encode(key.expose()),
                "permissions": "FULL",
            }));
        }
    }
    Ok(json!({ "keys": shown }))
}

/// `listKeys`: a release of keys, so the record's log has it before they leave.
pub async fn list_keys(_: Service, _: Call, permit: Permit<Read>, near: Neighbours) -> Result<Reply> {
    if let Err(error) = there(&permit, &near) {
        return fail(permit, error).await;
    }
    let keys = keys(&permit).await;
    answer(permit, keys).await
}

/// `regenerateKey`: the old key stops signing with the commit.
pub async fn regenerate_key(_: Service, mut call: Call, permit: Permit<Write>, near: Neighbours) -> Result<Reply> {
    let name = there(&permit, &near).map(|()| body(&mut call));
    let name = match name {
        Ok(body) => body.await.and_then(|body| Ok(text(&body, "keyName")?.to_owned())),
        Err(error) => Err(error),
    };
    let name = name.and_then(|n| {
        if KEY_NAMES.contains(&n.as_str()) {
            Ok(n)
        } else {
            Err(Error::invalid("InvalidRequestPropertyValue", format!("'{n}' is not a key of a storage account.")).at("keyName"))
        }
    });
    let name = match name {
        Ok(name) => name,
        Err(error) => return fail(permit, error).await,
    };
    let holder = holder(&permit).await?;
    // the answer shows both keys, so they are read while the permit is open
    let fresh = crypto::random_account_key(&*near.chance);
    let now = near.clock.now();
    let mut shown = keys(&permit).await?;
    for key in shown["keys"].as_array_mut().into_iter().flatten().filter(|k| k["keyName"] == name.as_str()) {
        key["value"] = BASE64_STANDARD.encode(fresh.expose()).into();
        key["creationTime"] = now.rfc3339().into();
    }
    let batch = Batch::new().set_credential(holder, &name, Credential::hmac(fresh.expose().to_vec(), now));
    let receipt = permit.commit(batch, Outcome::done(200).fact("key", name)).await?;
    Ok(Reply::json(receipt, StatusCode::OK, &shown))
}

/// `listAccountSas`: signs what the caller could sign with a key that it may list.
pub async fn account_sas(_: Service, mut call: Call, permit: Permit<Read>, near: Neighbours) -> Result<Reply> {
    let asked = match there(&permit, &near) {
        Ok(()) => body(&mut call).await.and_then(|body| sas_fields(&body)),
        Err(error) => Err(error),
    };
    let (key_name, fields) = match asked {
        Ok(asked) => asked,
        Err(error) => return fail(permit, error).await,
    };
    let Some(key) = permit.secret().reveal(KEYS, &key_name).await? else {
        return fail(permit, Error::invalid("InvalidRequestPropertyValue", "The account has no such key that may sign.").at("keyToSign"))
            .await;
    };
    let (fields, message) = crate::auth::account_sas(permit.target().name(), &fields);
    let signature = BASE64_STANDARD.encode(crypto::hmac_sha256(key.expose(), message.as_bytes()));
    let mut token: Vec<String> =
        fields.iter().filter(|(_, v)| !v.is_empty()).map(|(k, v)| format!("{k}={}", ::wire::percent_encode(v, b""))).collect();
    token.push(format!("sig={}", ::wire::percent_encode(&signature, b"")));
    answer(permit, Ok(json!({ "accountSasToken": token.join("&") }))).await
}

fn sas_fields(body: &Value) -> Result<(String, Vec<(&'static str, String)>)> {
    let optional = |name: &str| body.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
    let key = match optional("keyToSign") {
        key if key.is_empty() => KEY_NAMES[0].to_owned(),
        key => key,
    };
    let fields = vec![
        ("sv", "2022-11-02".to_owned()),
        ("ss", text(body, "signedServices")?.to_owned()),
        ("srt", text(body, "signedResourceTypes")?.to_owned()),
        ("sp", text(body, "signedPermission")?.to_owned()),
        ("st", optional("signedStart")),
        ("se", text(body, "signedExpiry")?.to_owned()),
        ("sip", optional("signedIp")),
        ("spr", optional("signedProtocol")),
    ];
    Ok((key, fields))
}

fn service_shape(account: &ResourceId) -> Value {
    json!({
        "id": format!("{account}/blobServices/default"),
        "name": "default",
        "type": "Microsoft.Storage/storageAccounts/blobServices",
        "properties": {
            "cors": { "corsRules": [] },
            "deleteRetentionPolicy": { "allowPermanentDelete": false, "enabled": false },
            "containerDeleteRetentionPolicy": { "enabled": false },
            "isVersioningEnabled": false,
            "changeFeed": { "enabled": false },
        },
    })
}

pub async fn blob_services(_: Service, _: Call, permit: Permit<Read>, near: Neighbours) -> Result<Reply> {
    let result = there(&permit, &near).map(|()| json!({ "value": [service_shape(permit.target())] }));
    answer(permit, result).await
}

pub async fn blob_service(_: Service, _: Call, permit: Permit<Read>, near: Neighbours) -> Result<Reply> {
    let result = there(&permit, &near).map(|()| service_shape(permit.target()));
    answer(permit, result).await
}

/// Takes what changes nothing.
pub async fn set_blob_service(_: Service, mut call: Call, permit: Permit<Write>, near: Neighbours) -> Result<Reply> {
    let result = match there(&permit, &near) {
        Ok(()) => body(&mut call).await.and_then(|body| match body.get("properties").map_or(Ok(()), only_off) {
            Ok(()) => Ok(service_shape(permit.target())),
            Err(error) => Err(error),
        }),
        Err(error) => Err(error),
    };
    answer(permit, result).await
}

fn only_off(value: &Value) -> Result<()> {
    match value {
        Value::Bool(true) => Err(Error::not_implemented("A blob service property other than the default")),
        Value::Array(items) if !items.is_empty() => Err(Error::not_implemented("A blob service property other than the default")),
        Value::Object(map) => map.values().try_for_each(only_off),
        _ => Ok(()),
    }
}

fn container_shape(account: &ResourceId, name: &str, row: &Container) -> Value {
    let metadata: serde_json::Map<String, Value> = row.metadata.iter().map(|(k, v)| (k.clone(), v.clone().into())).collect();
    json!({
        "id": format!("{account}/blobServices/default/containers/{name}"),
        "name": name,
        "type": "Microsoft.Storage/storageAccounts/blobServices/containers",
        "etag": row.etag.quoted(),
        "properties": {
            "publicAccess": "None",
            "leaseStatus": "Unlocked",
            "leaseState": "Available",
            "lastModifiedTime": row.modified.rfc3339(),
            "metadata": metadata,
            "hasImmutabilityPolicy": false,
            "hasLegalHold": false,
            "deleted": false,
            "defaultEncryptionScope": "$account-encryption-key",
            "denyEncryptionScopeOverride": false,
        },
    })
}

/// Lists containers; `$maxpagesize`, `$filter` (a name's beginning) and `$skipToken`.
pub async fn containers(_: Service, call: Call, permit: Permit<Read>, near: Neighbours) -> Result<Reply> {
    let result = match there(&permit, &near) {
        Ok(()) => container_list(&call, &permit).await,
        Err(error) => Err(error),
    };
    answer(permit, result).await
}

async fn container_list(call: &Call, permit: &Permit<Read>) -> Result<Value> {
    let q = |name| call.head.query.get(name);
    let limit = match q("$maxpagesize") {
        None => 5_000,
        Some(n) => n
            .parse::<usize>()
            .ok()
            .filter(|n| *n > 0)
            .ok_or_else(|| Error::invalid("InvalidQueryParameterValue", "'$maxpagesize' is not a number above 0.").at("$maxpagesize"))?
            .min(5_000),
    };
    let from = match q("$skipToken") {
        None => None,
        Some(token) => Some(
            BASE64_URL_SAFE_NO_PAD
                .decode(token)
                .map_err(|_| Error::invalid("InvalidQueryParameterValue", "'$skipToken' is not one of ours.").at("$skipToken"))?,
        ),
    };
    let (rows, next) = list::container_page(permit, q("$filter").unwrap_or_default(), from, limit).await?;
    let account = permit.target();
    let mut answer = json!({ "value": rows.iter().map(|(name, row)| container_shape(account, name, row)).collect::<Vec<_>>() });
    if let Some(next) = next {
        let version = ::wire::percent_encode(q("api-version").unwrap_or_default(), b"");
        let mut link = format!(
            "{}{account}/blobServices/default/containers?api-version={version}&$maxpagesize={limit}&$skipToken={}",
            call.head.urls.host("management"),
            BASE64_URL_SAFE_NO_PAD.encode(next)
        );
        if let Some(filter) = q("$filter") {
            link.push_str(&format!("&$filter={}", ::wire::percent_encode(filter, b"")));
        }
        answer["nextLink"] = link.into();
    }
    Ok(answer)
}

pub async fn show_container(_: Service, call: Call, permit: Permit<Read>, near: Neighbours) -> Result<Reply> {
    let name = call.head.params.get("container");
    let result = match there(&permit, &near) {
        Ok(()) => container(&permit, name).await.map(|found| container_shape(permit.target(), name, &found.value)),
        Err(error) => Err(error),
    };
    answer(permit, result).await
}

/// Creates a container, or replaces the metadata of one that is there.
pub async fn put_container(_: Service, mut call: Call, mut permit: Permit<Write>, near: Neighbours) -> Result<Reply> {
    let wish = match there(&permit, &near).and_then(|()| crate::wire::check_new_container(call.head.params.get("container"))) {
        Ok(()) => body(&mut call).await.and_then(|body| container_wish(&body)),
        Err(error) => Err(error),
    };
    let metadata = match wish {
        Ok(metadata) => metadata,
        Err(error) => return fail(permit, error).await,
    };
    let name = call.head.params.get("container");
    for tries in 0.. {
        let found = permit.data().get::<Container>(CONTAINERS, name).await?;
        let now = near.clock.now();
        let old = found.as_ref().map(|f| f.value.clone());
        let row = Container {
            generation: old.as_ref().map_or_else(|| mark(&*near.chance), |o| o.generation),
            etag: ETag::after(old.as_ref().map(|o| o.etag), now, &*near.chance),
            created: old.as_ref().map_or(now, |o| o.created),
            modified: now,
            metadata: metadata.clone().or_else(|| old.as_ref().map(|o| o.metadata.clone())).unwrap_or_default(),
        };
        let status = if old.is_some() { StatusCode::OK } else { StatusCode::CREATED };
        let batch = Batch::new().unchanged(CONTAINERS, name, super::version(&found)).put(CONTAINERS, name, &row);
        let shown = container_shape(permit.target(), name, &row);
        match permit.commit(batch, Outcome::done(status.as_u16())).await {
            Ok(receipt) => return Ok(Reply::json(receipt, status, &shown)),
            Err(failed) => permit = again(failed, tries)?,
        }
    }
    unreachable!("`again` ends the loop")
}

fn container_wish(body: &Value) -> Result<Option<Metadata>> {
    let properties = body.get("properties").cloned().unwrap_or_default();
    if properties.get("publicAccess").and_then(Value::as_str).is_some_and(|p| p != "None") {
        return Err(Error::not_implemented("Public access to a container"));
    }
    if properties.get("immutableStorageWithVersioning").is_some_and(|v| !v.is_null())
        || properties.get("defaultEncryptionScope").and_then(Value::as_str).is_some_and(|s| s != "$account-encryption-key")
    {
        return Err(Error::not_implemented("An immutable container or one with an encryption scope"));
    }
    let Some(metadata) = properties.get("metadata").and_then(Value::as_object) else { return Ok(None) };
    // the same rules as for headers, by way of headers
    let mut headers = http::HeaderMap::new();
    for (name, value) in metadata {
        let wrong = || Error::invalid("InvalidMetadata", format!("The metadata '{name}' is not allowed.")).at("properties.metadata");
        let header = http::HeaderName::from_bytes(format!("x-ms-meta-{name}").as_bytes()).map_err(|_| wrong())?;
        headers.append(header, http::HeaderValue::from_bytes(value.as_str().ok_or_else(wrong)?.as_bytes()).map_err(|_| wrong())?);
    }
    wire::metadata(&headers).map(Some)
}

/// 200 when it was there, 204 when not.
pub async fn delete_container(_: Service, call: Call, mut permit: Permit<Write>, near: Neighbours) -> Result<Reply> {
    if let Err(error) = there(&permit, &near) {
        return fail(permit, error).await;
    }
    let name = call.head.params.get("container");
    for tries in 0.. {
        let Some(found) = permit.data().get::<Container>(CONTAINERS, name).await? else {
            return Ok(Reply::new(permit.close(Outcome::done(204)).await?, StatusCode::NO_CONTENT, ""));
        };
        match permit.commit(super::container::removal(name, &found, &near), Outcome::done(200)).await {
            Ok(receipt) => return Ok(Reply::new(receipt, StatusCode::OK, "")),
            Err(failed) => permit = again(failed, tries)?,
        }
    }
    unreachable!("`again` ends the loop")
}
