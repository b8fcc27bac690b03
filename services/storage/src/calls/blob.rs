//! Whole blobs: put, get, properties, metadata, tier, delete (Azure Storage REST reference, "Operations on blobs").

use super::{Here, Place, again, blob_not_found, check, container, fail, may_overwrite, tagged, with_metadata};
use crate::auth::Sas;
use crate::model::{BLOBS, Blob, ETag, Served, TRASH, Trash, UPLOADS, under};
use crate::wire;
use ::wire::{ByteRange, Conditions};
use base::{Error, Kind, Result};
use base64::prelude::*;
use bytes::BytesMut;
use futures::StreamExt;
use http::{HeaderMap, StatusCode};
use service::{Body, Call, Head, Neighbours, Reply};
use std::ops::Range;
use std::sync::Arc;
use trust::{Batch, Outcome, Permit, Read, Staged, Staging, Write};

type Service = Arc<crate::Storage>;

/// A blob in one request: 5,000 MiB.
pub const PUT_BYTES_MAX: u64 = 5_000 << 20;
/// A range whose digest may be asked for.
const DIGEST_RANGE_BYTES_MAX: u64 = 4 << 20;

/// What Put Blob and Put Block List are told by headers.
pub struct Wish {
    pub conditions: Conditions,
    pub served: Served,
    pub metadata: crate::model::Metadata,
    pub tier: Option<String>,
}

impl Wish {
    pub fn of(headers: &HeaderMap, plain: bool) -> Result<Wish> {
        wire::refuse_unbuilt(headers)?;
        Ok(Wish {
            conditions: Conditions::of(headers)?,
            served: wire::served(headers, plain)?,
            metadata: wire::metadata(headers)?,
            tier: wire::tier(headers)?,
        })
    }
    /// Is the blob there as the caller expects? Says "already exists" where that was the condition.
    pub fn judge(&self, here: &Here, call: &Call) -> Result<()> {
        let current = here.blob.as_ref().map(|b| (b.value.etag, b.value.modified));
        let exists = || Error::new(Kind::Conflict, "BlobAlreadyExists", "The specified blob already exists.");
        if current.is_some() && self.conditions.if_none_match == Some(::wire::Tags::Any) {
            return Err(exists());
        }
        check(&self.conditions, current, false)?;
        if current.is_some() && !may_overwrite(&call.caller) {
            return Err(Error::new(
                Kind::Forbidden,
                "UnauthorizedBlobOverwrite",
                "This request is not authorized to perform blob overwrites.",
            ));
        }
        Ok(())
    }
}

/// Digests that the client declared for a body.
pub struct Declared {
    md5: Option<[u8; 16]>,
    crc64: Option<[u8; 8]>,
}

impl Declared {
    pub fn of(headers: &HeaderMap) -> Result<Declared> {
        let declared = Declared { md5: wire::digest(headers, "content-md5")?, crc64: wire::digest(headers, "x-ms-content-crc64")? };
        if declared.md5.is_some() && declared.crc64.is_some() {
            return Err(Error::invalid("BothCrc64AndMd5HeaderPresent", "Both x-ms-content-crc64 and Content-MD5 headers are present."));
        }
        Ok(declared)
    }
    pub fn wants_md5(&self) -> bool {
        self.md5.is_some()
    }
    pub fn check(&self, staged: &Staged) -> Result<()> {
        if self.md5.is_some_and(|want| staged.md5 != Some(want)) {
            return Err(Error::invalid(
                "Md5Mismatch",
                "The MD5 value specified in the request did not match with the MD5 value calculated by the server.",
            ));
        }
        if self.crc64.is_some_and(|want| crypto::Crc64Nvme::header_bytes(staged.crc64) != want) {
            return Err(Error::invalid(
                "Crc64Mismatch",
                "The CRC64 value specified in the request did not match with the CRC64 value calculated by the server.",
            ));
        }
        Ok(())
    }
}

/// A body on its way to the disk, of the declared length and not more than `bytes_max`. The bytes are durable but reach
/// nobody yet.
pub async fn stage(permit: &Permit<Write>, call: &mut Call, bytes_max: u64, md5: bool) -> Result<Staged> {
    let length = call
        .body
        .length
        .ok_or_else(|| Error::new(Kind::LengthRequired, "MissingContentLengthHeader", "The Content-Length header was not specified."))?;
    if length > bytes_max {
        return Err(Error::new(
            Kind::TooLarge,
            "RequestBodyTooLarge",
            format!("The request body is too large and exceeds the maximum permissible limit of {bytes_max} bytes."),
        ));
    }
    let body = std::mem::replace(&mut call.body, Body::empty());
    let staged = permit.stage(body.into_stream(), Staging { bytes_max, md5 }).await?;
    if staged.content.length != length {
        return Err(Error::new(Kind::Cancelled, "IncompleteBody", "The body is not as long as Content-Length says."));
    }
    Ok(staged)
}

/// "Put Blob".
pub async fn put(_: Service, mut call: Call, mut permit: Permit<Write>, near: Neighbours) -> Result<Reply> {
    let place = Place::of(&call.head);
    let (wish, staged, mut first) = match take(&mut call, &permit, &place).await {
        Ok(taken) => taken,
        Err(error) => return fail(permit, error).await,
    };
    let md5 = staged.md5.unwrap_or_default();
    for tries in 0.. {
        let here = match first.take() {
            Some(here) => here,
            None => match read_and_judge(&permit, &place, &wish, &call).await {
                Ok(here) => here,
                Err(error) => return fail(permit, error).await,
            },
        };
        let now = near.clock.now();
        let served = Served { content_md5: Some(md5), ..wish.served.clone() };
        let blob = made(&here, &wish, served, staged.content.clone(), now, &near);
        let batch = replace(here.batch(&place).adopt(&staged).put(BLOBS, &here.row, &blob), &here, &near);
        match permit.commit(batch, Outcome::done(201).wrote(staged.content.length, staged.sha256)).await {
            Ok(receipt) => {
                let reply =
                    tagged(Reply::new(receipt, StatusCode::CREATED, ""), blob.etag, now).with("content-md5", BASE64_STANDARD.encode(md5));
                return Ok(reply.with("x-ms-content-crc64", crc64(staged.crc64)).with("x-ms-request-server-encrypted", "true"));
            }
            Err(failed) => permit = again(failed, tries)?,
        }
    }
    unreachable!("`again` ends the loop")
}

/// Everything that can be refused before the commit; what can be refused before the body is, is. What was read of a small
/// blob is given back: its commit says whether it still holds.
async fn take(call: &mut Call, permit: &Permit<Write>, place: &Place) -> Result<(Wish, Staged, Option<Here>)> {
    let headers = &call.head.headers;
    match wire::text(headers, "x-ms-blob-type")? {
        Some("BlockBlob") => {}
        Some(other @ ("AppendBlob" | "PageBlob")) => return Err(Error::not_implemented(format_args!("A blob of type '{other}'"))),
        Some(_) => return Err(wire::bad_header("x-ms-blob-type")),
        None => return Err(wire::missing_header("x-ms-blob-type")),
    }
    let wish = Wish::of(headers, true)?;
    let declared = Declared::of(headers)?;
    let here = read_and_judge(permit, place, &wish, call).await?;
    let staged = stage(permit, call, PUT_BYTES_MAX, true).await?;
    declared.check(&staged)?;
    if wish.served.content_md5.is_some_and(|want| staged.md5 != Some(want)) {
        return Err(Error::invalid(
            "Md5Mismatch",
            "The MD5 value specified in the request did not match with the MD5 value calculated by the server.",
        ));
    }
    let is_small = staged.content.length <= trust::INLINE_BYTES_MAX as u64;
    Ok((wish, staged, is_small.then_some(here)))
}

pub async fn read_and_judge(permit: &Permit<Write>, place: &Place, wish: &Wish, call: &Call) -> Result<Here> {
    let here = Here::read(permit, place).await?;
    wish.judge(&here, call)?;
    Ok(here)
}

/// The row of a blob that is written anew.
pub fn made(here: &Here, wish: &Wish, served: Served, content: trust::Content, now: base::Timestamp, near: &Neighbours) -> Blob {
    let before = here.blob.as_ref().map(|b| &b.value);
    Blob {
        content,
        etag: ETag::after(before.map(|b| b.etag), now, &*near.chance),
        created: before.map_or(now, |b| b.created),
        modified: now,
        served,
        metadata: wish.metadata.clone(),
        tier: wish.tier.clone(),
        tier_changed: wish.tier.as_ref().map(|_| now),
        blocks: None,
    }
}

/// Drops the content of the blob that was there, and the blocks that waited for it.
fn replace(mut batch: Batch, here: &Here, near: &Neighbours) -> Batch {
    if let Some(old) = &here.blob {
        batch = batch.drop_content(old.value.content.clone());
        if let Some(blocks) = &old.value.blocks {
            batch = batch.drop_content(blocks.clone());
        }
    }
    forget_upload(batch, here, near)
}

fn forget_upload(batch: Batch, here: &Here, near: &Neighbours) -> Batch {
    let Some(upload) = &here.upload else { return batch };
    batch.is(UPLOADS, &here.row, upload.version).delete(UPLOADS, &here.row).put(
        TRASH,
        super::mark(&*near.chance),
        &Trash::Upload { id: upload.value.id, contents: true },
    )
}

pub fn crc64(crc: u64) -> String {
    BASE64_STANDARD.encode(crypto::Crc64Nvme::header_bytes(crc))
}

/// A blob as a reader finds it.
async fn found(permit: &Permit<Read>, head: &Head) -> Result<Blob> {
    wire::refuse_unbuilt(&head.headers)?;
    for (name, what) in [("snapshot", "A snapshot"), ("versionid", "A version of a blob")] {
        if head.query.has(name) {
            return Err(Error::not_implemented(what));
        }
    }
    let conditions = Conditions::of(&head.headers)?;
    let place = Place::of(head);
    let generation = container(permit, &place.container).await?.value.generation;
    let found = permit.data().get::<Blob>(BLOBS, under(&generation, place.blob.as_bytes())).await?;
    let current = found.as_ref().map(|b| (b.value.etag, b.value.modified));
    let blob = found.ok_or_else(blob_not_found)?.value;
    check(&conditions, current, true)?;
    Ok(blob)
}

/// What a read asks for: all of it or a range, and perhaps a digest of the range.
struct Wanted {
    range: Option<Range<u64>>,
    md5: bool,
    crc64: bool,
}

fn wanted(headers: &HeaderMap, length: u64) -> Result<Wanted> {
    let text = match wire::text(headers, "x-ms-range")? {
        Some(text) => Some(("x-ms-range", text)),
        None => wire::text(headers, "range")?.map(|t| ("range", t)),
    };
    let flag = |name| Ok::<bool, Error>(wire::text(headers, name)?.is_some_and(|v| v.eq_ignore_ascii_case("true")));
    let (md5, crc64) = (flag("x-ms-range-get-content-md5")?, flag("x-ms-range-get-content-crc64")?);
    let range = match text {
        None => None,
        Some((name, text)) => {
            let asked = ByteRange::parse(text).ok_or_else(|| wire::bad_header(name))?;
            let outside = || {
                Error::new(
                    Kind::RangeNotSatisfiable,
                    "InvalidRange",
                    "The range specified is invalid for the current size of the resource.",
                )
            };
            Some(asked.of(length).ok_or_else(outside)?)
        }
    };
    if md5 && crc64 {
        return Err(Error::invalid("InvalidHeaderValue", "A range has one digest: either MD5 or CRC64.").at("x-ms-range-get-content-crc64"));
    }
    match &range {
        None if md5 || crc64 => Err(wire::missing_header("x-ms-range")),
        Some(r) if (md5 || crc64) && r.end - r.start > DIGEST_RANGE_BYTES_MAX => {
            Err(Error::invalid("OutOfRangeInput", "A digest is computed for ranges of at most 4 MiB.").at("x-ms-range"))
        }
        _ => Ok(Wanted { range, md5, crc64 }),
    }
}

/// "Get Blob".
pub async fn get(_: Service, call: Call, permit: Permit<Read>, _: Neighbours) -> Result<Reply> {
    let blob = found(&permit, &call.head).await;
    let found = blob.and_then(|blob| wanted(&call.head.headers, blob.content.length).map(|w| (blob, w)));
    let (blob, wanted) = match found {
        Ok(found) => found,
        Err(error) => return fail(permit, error).await,
    };
    let length = blob.content.length;
    let range = wanted.range.clone().unwrap_or(0..length);
    let mut stream = permit.data().content(&blob.content, range.clone());
    let mut digest = None;
    if wanted.md5 || wanted.crc64 {
        // at most 4 MiB, so that the digest can stand in a header before the bytes
        let mut bytes = BytesMut::with_capacity((range.end - range.start) as usize);
        while let Some(part) = stream.next().await {
            bytes.extend_from_slice(&part?);
        }
        digest = Some(if wanted.md5 {
            ("content-md5", BASE64_STANDARD.encode(crypto::md5(&bytes)))
        } else {
            ("x-ms-content-crc64", crc64(crypto::Crc64Nvme::of(&bytes)))
        });
        stream = Box::pin(futures::stream::iter([Ok(bytes.freeze())]));
    }
    let status = if wanted.range.is_some() { StatusCode::PARTIAL_CONTENT } else { StatusCode::OK };
    let mut reply = Reply::streaming(permit, status, range.end - range.start, stream);
    reply = describe(reply, &blob, &call.head)?;
    if wanted.range.is_some() {
        reply = reply.with("content-range", format!("bytes {}-{}/{length}", range.start, range.end - 1));
    }
    match (digest, blob.served.content_md5) {
        (Some((name, value)), whole) => {
            reply = reply.with(name, value);
            if let Some(md5) = whole {
                reply = reply.with("x-ms-blob-content-md5", BASE64_STANDARD.encode(md5));
            }
        }
        (None, Some(md5)) if wanted.range.is_some() => reply = reply.with("x-ms-blob-content-md5", BASE64_STANDARD.encode(md5)),
        (None, Some(md5)) => reply = reply.with("content-md5", BASE64_STANDARD.encode(md5)),
        (None, None) => {}
    }
    Ok(reply)
}

/// "Get Blob Properties" and "Get Blob Metadata".
pub async fn properties(_: Service, call: Call, permit: Permit<Read>, _: Neighbours) -> Result<Reply> {
    let blob = match found(&permit, &call.head).await {
        Ok(blob) => blob,
        Err(error) => return fail(permit, error).await,
    };
    let receipt = permit.close(Outcome::done(200)).await?;
    let reply = Reply::new(receipt, StatusCode::OK, "");
    if call.head.query.has("comp") {
        return with_metadata(tagged(reply, blob.etag, blob.modified), &blob.metadata);
    }
    let mut reply = describe(reply, &blob, &call.head)?.with("content-length", blob.content.length.to_string());
    if let Some(md5) = blob.served.content_md5 {
        reply = reply.with("content-md5", BASE64_STANDARD.encode(md5));
    }
    reply = reply.with("x-ms-access-tier", blob.tier.as_deref().unwrap_or("Hot"));
    Ok(match blob.tier_changed {
        Some(at) => reply.with("x-ms-access-tier-change-time", at.http_date()),
        None => reply.with("x-ms-access-tier-inferred", "true"),
    })
}

/// The headers of a blob, on a read.
fn describe(reply: Reply, blob: &Blob, head: &Head) -> Result<Reply> {
    let served = &blob.served;
    let mut reply = with_metadata(tagged(reply, blob.etag, blob.modified), &blob.metadata)?
        .with("accept-ranges", "bytes")
        .with("content-type", served.content_type.as_deref().unwrap_or(wire::DEFAULT_TYPE))
        .with("x-ms-blob-type", "BlockBlob")
        .with("x-ms-creation-time", blob.created.http_date())
        .with("x-ms-lease-status", "unlocked")
        .with("x-ms-lease-state", "available")
        .with("x-ms-server-encrypted", "true");
    let pairs = [
        ("content-encoding", &served.content_encoding),
        ("content-language", &served.content_language),
        ("cache-control", &served.cache_control),
        ("content-disposition", &served.content_disposition),
    ];
    for (name, value) in pairs {
        if let Some(value) = value {
            // a value that a header can't carry as text was not let in
            reply = reply.with_named(name, value)?;
        }
    }
    if head.query.has("sig") {
        for (name, value) in Sas::overrides(&head.query) {
            reply = reply.with(name, value);
        }
    }
    Ok(reply)
}

/// "Set Blob Properties": replaces the served headers, all of them.
pub async fn set_properties(_: Service, call: Call, permit: Permit<Write>, near: Neighbours) -> Result<Reply> {
    let headers = &call.head.headers;
    let served = wire::refuse_unbuilt(headers).and_then(|()| {
        if headers.contains_key("x-ms-blob-content-length") || headers.contains_key("x-ms-sequence-number-action") {
            return Err(Error::not_implemented("A page blob"));
        }
        wire::served(headers, false)
    });
    match served {
        Ok(served) => change(call, permit, near, 200, move |blob, _| blob.served = served.clone()).await,
        Err(error) => fail(permit, error).await,
    }
}

/// "Set Blob Metadata": replaces all of it.
pub async fn set_metadata(_: Service, call: Call, permit: Permit<Write>, near: Neighbours) -> Result<Reply> {
    let metadata = wire::refuse_unbuilt(&call.head.headers).and_then(|()| wire::metadata(&call.head.headers));
    match metadata {
        Ok(metadata) => change(call, permit, near, 200, move |blob, _| blob.metadata = metadata.clone()).await,
        Err(error) => fail(permit, error).await,
    }
}

/// "Set Blob Tier": remembered and shown; every tier lies on the same disks. Leaves ETag and Last-Modified as they are.
pub async fn set_tier(_: Service, call: Call, mut permit: Permit<Write>, near: Neighbours) -> Result<Reply> {
    let headers = &call.head.headers;
    let tier = wire::refuse_unbuilt(headers).and_then(|()| wire::tier(headers)?.ok_or_else(|| wire::missing_header("x-ms-access-tier")));
    let tier = match tier {
        Ok(tier) => tier,
        Err(error) => return fail(permit, error).await,
    };
    let place = Place::of(&call.head);
    for tries in 0.. {
        let found = Here::read(&permit, &place).await.and_then(|here| Ok((here.existing()?.value.clone(), here)));
        let (mut blob, here) = match found {
            Ok(found) => found,
            Err(error) => return fail(permit, error).await,
        };
        (blob.tier, blob.tier_changed) = (Some(tier.clone()), Some(near.clock.now()));
        match permit.commit(here.batch(&place).put(BLOBS, &here.row, &blob), Outcome::done(200)).await {
            Ok(receipt) => return Ok(Reply::new(receipt, StatusCode::OK, "")),
            Err(failed) => permit = again(failed, tries)?,
        }
    }
    unreachable!("`again` ends the loop")
}

/// Edits the row of a blob that exists, under the request's conditions.
async fn change(
    call: Call,
    mut permit: Permit<Write>,
    near: Neighbours,
    status: u16,
    edit: impl Fn(&mut Blob, base::Timestamp),
) -> Result<Reply> {
    let place = Place::of(&call.head);
    for tries in 0.. {
        let (here, mut blob) = match existing(&permit, &place, &call.head.headers).await {
            Ok(found) => found,
            Err(error) => return fail(permit, error).await,
        };
        let now = near.clock.now();
        edit(&mut blob, now);
        (blob.etag, blob.modified) = (ETag::after(Some(blob.etag), now, &*near.chance), now);
        match permit.commit(here.batch(&place).put(BLOBS, &here.row, &blob), Outcome::done(status)).await {
            Ok(receipt) => {
                return Ok(tagged(Reply::new(receipt, StatusCode::OK, ""), blob.etag, now).with("x-ms-request-server-encrypted", "true"));
            }
            Err(failed) => permit = again(failed, tries)?,
        }
    }
    unreachable!("`again` ends the loop")
}

async fn existing(permit: &Permit<Write>, place: &Place, headers: &HeaderMap) -> Result<(Here, Blob)> {
    let conditions = Conditions::of(headers)?;
    let here = Here::read(permit, place).await?;
    let blob = here.existing()?.value.clone();
    check(&conditions, Some((blob.etag, blob.modified)), false)?;
    Ok((here, blob))
}

/// "Delete Blob". There are no snapshots, so `x-ms-delete-snapshots: include` changes nothing and `only` finds none.
pub async fn delete(_: Service, call: Call, mut permit: Permit<Write>, near: Neighbours) -> Result<Reply> {
    let place = Place::of(&call.head);
    if let Err(error) = deletable(&call.head) {
        return fail(permit, error).await;
    }
    for tries in 0.. {
        let (here, _) = match existing(&permit, &place, &call.head.headers).await {
            Ok(found) => found,
            Err(error) => return fail(permit, error).await,
        };
        let batch = replace(here.batch(&place).delete(BLOBS, &here.row), &here, &near);
        match permit.commit(batch, Outcome::done(202)).await {
            Ok(receipt) => return Ok(Reply::new(receipt, StatusCode::ACCEPTED, "").with("x-ms-delete-type-permanent", "true")),
            Err(failed) => permit = again(failed, tries)?,
        }
    }
    unreachable!("`again` ends the loop")
}

fn deletable(head: &Head) -> Result<()> {
    wire::refuse_unbuilt(&head.headers)?;
    for (name, what) in [("snapshot", "A snapshot"), ("versionid", "A version of a blob")] {
        if head.query.has(name) {
            return Err(Error::not_implemented(what));
        }
    }
    match wire::text(&head.headers, "x-ms-delete-snapshots")? {
        None | Some("include") => Ok(()),
        Some("only") => Err(Error::not_implemented("Deleting the snapshots of a blob alone")),
        Some(_) => Err(wire::bad_header("x-ms-delete-snapshots")),
    }
}
