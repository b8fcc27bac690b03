//! Containers (Azure Storage REST reference, "Operations on containers").

use super::{again, check, container, fail, mark, tagged, version, with_metadata};
use crate::model::{CONTAINERS, Container, ETag, TRASH, Trash};
use crate::wire;
use ::wire::Conditions;
use base::{Error, Kind, Result};
use http::StatusCode;
use service::{Call, Neighbours, Reply};
use std::sync::Arc;
use trust::{Batch, Found, Outcome, Permit, Read, Write};

type Service = Arc<crate::Storage>;

/// "Create Container".
pub async fn create(_: Service, call: Call, mut permit: Permit<Write>, near: Neighbours) -> Result<Reply> {
    let name = call.head.params.get("container");
    let metadata = wire::check_new_container(name)
        .and_then(|()| wire::refuse_unbuilt(&call.head.headers))
        .and_then(|()| wire::metadata(&call.head.headers));
    let metadata = match metadata {
        Ok(metadata) => metadata,
        Err(error) => return fail(permit, error).await,
    };
    let now = near.clock.now();
    for tries in 0.. {
        if permit.data().get::<Container>(CONTAINERS, name).await?.is_some() {
            return fail(permit, exists()).await;
        }
        let row = Container {
            generation: mark(&*near.chance),
            etag: ETag::after(None, now, &*near.chance),
            created: now,
            modified: now,
            metadata: metadata.clone(),
        };
        let batch = Batch::new().absent(CONTAINERS, name).put(CONTAINERS, name, &row);
        match permit.commit(batch, Outcome::done(201)).await {
            Ok(receipt) => return Ok(tagged(Reply::new(receipt, StatusCode::CREATED, ""), row.etag, now)),
            Err(failed) => permit = again(failed, tries)?,
        }
    }
    unreachable!("`again` ends the loop")
}

fn exists() -> Error {
    Error::new(Kind::Conflict, "ContainerAlreadyExists", "The specified container already exists.")
}

/// "Get Container Properties" and "Get Container Metadata".
pub async fn properties(_: Service, call: Call, permit: Permit<Read>, _: Neighbours) -> Result<Reply> {
    let found = match read(&permit, &call).await {
        Ok(found) => found.value,
        Err(error) => return fail(permit, error).await,
    };
    let receipt = permit.close(Outcome::done(200)).await?;
    let reply = with_metadata(tagged(Reply::new(receipt, StatusCode::OK, ""), found.etag, found.modified), &found.metadata)?;
    if call.head.query.has("comp") {
        return Ok(reply);
    }
    Ok(reply
        .with("x-ms-lease-status", "unlocked")
        .with("x-ms-lease-state", "available")
        .with("x-ms-has-immutability-policy", "false")
        .with("x-ms-has-legal-hold", "false")
        .with("x-ms-default-encryption-scope", "$account-encryption-key")
        .with("x-ms-deny-encryption-scope-override", "false"))
}

async fn read(permit: &Permit<Read>, call: &Call) -> Result<Found<Container>> {
    wire::refuse_unbuilt(&call.head.headers)?;
    container(permit, call.head.params.get("container")).await
}

/// "Get Container ACL": always private, no stored access policy.
pub async fn acl(_: Service, call: Call, permit: Permit<Read>, _: Neighbours) -> Result<Reply> {
    let found = match read(&permit, &call).await {
        Ok(found) => found.value,
        Err(error) => return fail(permit, error).await,
    };
    let receipt = permit.close(Outcome::done(200)).await?;
    Ok(tagged(super::xml(receipt, format!("{}<SignedIdentifiers/>", wire::XML)), found.etag, found.modified))
}

/// "Set Container Metadata": `If-Modified-Since` is the only condition that Azure takes here; we take all.
pub async fn set_metadata(_: Service, call: Call, permit: Permit<Write>, near: Neighbours) -> Result<Reply> {
    let metadata = wire::refuse_unbuilt(&call.head.headers).and_then(|()| wire::metadata(&call.head.headers));
    let metadata = match metadata {
        Ok(metadata) => metadata,
        Err(error) => return fail(permit, error).await,
    };
    change(call, permit, near, |row| row.metadata = metadata.clone()).await
}

/// "Set Container ACL": private is all there is, so only an empty list of stored access policies is taken.
pub async fn set_acl(_: Service, mut call: Call, permit: Permit<Write>, near: Neighbours) -> Result<Reply> {
    let body = super::collected(std::mem::replace(&mut call.body, service::Body::empty()), 64 << 10).await;
    let empty = body.and_then(|body| {
        wire::refuse_unbuilt(&call.head.headers)?;
        if body.windows(18).any(|w| w == b"<SignedIdentifier>") {
            return Err(Error::not_implemented("A stored access policy"));
        }
        Ok(())
    });
    match empty {
        Ok(()) => change(call, permit, near, |_| {}).await,
        Err(error) => fail(permit, error).await,
    }
}

async fn change(call: Call, mut permit: Permit<Write>, near: Neighbours, edit: impl Fn(&mut Container)) -> Result<Reply> {
    let name = call.head.params.get("container");
    let conditions = match Conditions::of(&call.head.headers) {
        Ok(conditions) => conditions,
        Err(error) => return fail(permit, error).await,
    };
    for tries in 0.. {
        let found = match current(&permit, name, &conditions).await {
            Ok(found) => found,
            Err(error) => return fail(permit, error).await,
        };
        let mut row = found.value;
        edit(&mut row);
        row.modified = near.clock.now();
        row.etag = ETag::after(Some(row.etag), row.modified, &*near.chance);
        let batch = Batch::new().is(CONTAINERS, name, found.version).put(CONTAINERS, name, &row);
        match permit.commit(batch, Outcome::done(200)).await {
            Ok(receipt) => return Ok(tagged(Reply::new(receipt, StatusCode::OK, ""), row.etag, row.modified)),
            Err(failed) => permit = again(failed, tries)?,
        }
    }
    unreachable!("`again` ends the loop")
}

async fn current(permit: &Permit<Write>, name: &str, conditions: &Conditions) -> Result<Found<Container>> {
    let found = container(permit, name).await?;
    check(conditions, Some((found.value.etag, found.value.modified)), false)?;
    Ok(found)
}

/// "Delete Container": one row goes, and with it the way to its blobs; the sweep takes what is left.
pub async fn delete(_: Service, call: Call, mut permit: Permit<Write>, near: Neighbours) -> Result<Reply> {
    let name = call.head.params.get("container");
    let conditions = match wire::refuse_unbuilt(&call.head.headers).and_then(|()| Conditions::of(&call.head.headers)) {
        Ok(conditions) => conditions,
        Err(error) => return fail(permit, error).await,
    };
    for tries in 0.. {
        let found = match current(&permit, name, &conditions).await {
            Ok(found) => found,
            Err(error) => return fail(permit, error).await,
        };
        match permit.commit(removal(name, &found, &near), Outcome::done(202)).await {
            Ok(receipt) => return Ok(Reply::new(receipt, StatusCode::ACCEPTED, "")),
            Err(failed) => permit = again(failed, tries)?,
        }
    }
    unreachable!("`again` ends the loop")
}

/// What deleting a container commits.
pub fn removal(name: &str, found: &Found<Container>, near: &Neighbours) -> Batch {
    Batch::new().unchanged(CONTAINERS, name, version(&Some(found.clone()))).delete(CONTAINERS, name).put(
        TRASH,
        mark(&*near.chance),
        &Trash::Container { generation: found.value.generation },
    )
}
