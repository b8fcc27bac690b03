//! One file a family of calls, and what they share: reading what is there, conditions, and the loop that commits.

pub mod account;
pub mod blob;
pub mod block;
pub mod container;
pub mod list;
pub mod management;
mod sweeping;
pub mod unbuilt;

pub use sweeping::sweep;

use crate::model::{BLOBS, Blob, CONTAINERS, Container, ETag, Mark, UPLOADS, Upload, under};
use base::{Error, Kind, Result};
use bytes::Bytes;
use http::StatusCode;
use service::{Body, Head, Reply};
use trust::{Access, Batch, Caller, CommitFailed, Found, Outcome, Permit, Receipt, Version, Write};
use wire::{Conditions, Current, Verdict};

/// So often a commit that met another one is decided again.
const TRIES_MAX: usize = 30;

/// The permit of a commit that met another, for another try.
pub fn again(failed: CommitFailed, tries: usize) -> Result<Permit<Write>> {
    match failed.permit {
        Some(permit) if tries < TRIES_MAX => Ok(permit),
        Some(_) => {
            Err(Error::new(Kind::Unavailable, "ServerBusy", "Too many writers at once on this resource. Try again.").because(failed.error))
        }
        None => Err(failed.error),
    }
}

/// Closes a permit for an act that came to nothing, and says why.
pub async fn fail<A: Access, T>(permit: Permit<A>, error: Error) -> Result<T> {
    // the refusal stands also where the record of it fails: then the region answers 500, which is worse news
    permit.close(Outcome::failed(&error)).await?;
    Err(error)
}

/// A container as read.
pub async fn container<A: Access>(permit: &Permit<A>, name: &str) -> Result<Found<Container>> {
    let found = permit.data().get::<Container>(CONTAINERS, name).await?;
    found.ok_or_else(|| Error::new(Kind::NotFound, "ContainerNotFound", "The specified container does not exist."))
}

pub fn blob_not_found() -> Error {
    Error::new(Kind::NotFound, "BlobNotFound", "The specified blob does not exist.")
}

/// Everything that a write of a blob has to look at.
pub struct Here {
    pub container: Found<Container>,
    pub blob: Option<Found<Blob>>,
    pub upload: Option<Found<Upload>>,
    /// The row name of the blob and of its upload.
    pub row: Vec<u8>,
}

impl Here {
    pub async fn read<A: Access>(permit: &Permit<A>, place: &Place) -> Result<Here> {
        let container = container(permit, &place.container).await?;
        let row = under(&container.value.generation, place.blob.as_bytes());
        let data = permit.data();
        let blob = data.get::<Blob>(BLOBS, &row).await?;
        let upload = data.get::<Upload>(UPLOADS, &row).await?;
        Ok(Here { container, blob, upload, row })
    }
    /// A batch that commits only if container and blob are still as read.
    pub fn batch(&self, place: &Place) -> Batch {
        Batch::new().is(CONTAINERS, &place.container, self.container.version).unchanged(BLOBS, &self.row, version(&self.blob))
    }
    pub fn existing(&self) -> Result<&Found<Blob>> {
        self.blob.as_ref().ok_or_else(blob_not_found)
    }
}

pub fn version<T>(found: &Option<Found<T>>) -> Option<Version> {
    found.as_ref().map(|f| f.version)
}

/// The container and blob that a call is about.
#[derive(Clone, Debug)]
pub struct Place {
    pub container: String,
    pub blob: String,
}

impl Place {
    pub fn of(head: &Head) -> Place {
        Place { container: head.params.get("container").to_owned(), blob: head.params.get("blob").to_owned() }
    }
}

/// May this caller replace what exists? A signature with `c` alone may not.
pub fn may_overwrite(caller: &Caller) -> bool {
    match caller {
        Caller::Sas { limits, .. } => limits.actions.iter().any(|a| a == crate::actions::OVERWRITE),
        _ => true,
    }
}

/// 304 or 412 where a condition does not hold.
pub fn check(conditions: &Conditions, current: Option<(ETag, base::Timestamp)>, reading: bool) -> Result<()> {
    let etag = current.map(|(etag, _)| etag.quoted());
    let current = current.zip(etag.as_deref()).map(|((_, modified), etag)| Current { etag, modified });
    match conditions.judge(current, reading) {
        Verdict::Proceed => Ok(()),
        Verdict::NotModified => {
            Err(Error::new(Kind::NotModified, "ConditionNotMet", "The condition specified using HTTP conditional header(s) is not met."))
        }
        Verdict::Failed => Err(Error::new(
            Kind::PreconditionFailed,
            "ConditionNotMet",
            "The condition specified using HTTP conditional header(s) is not met.",
        )),
    }
}

pub fn mark(chance: &dyn base::Chance) -> Mark {
    crypto::random_array(chance)
}

/// A whole body of XML or JSON.
pub async fn collected(body: Body, bytes_max: usize) -> Result<Bytes> {
    service::collect(body, bytes_max).await
}

pub fn xml(receipt: Receipt, body: String) -> Reply {
    Reply::new(receipt, StatusCode::OK, body).with("content-type", "application/xml")
}

/// The headers of whatever has an entity tag.
pub fn tagged(reply: Reply, etag: ETag, modified: base::Timestamp) -> Reply {
    reply.with("etag", etag.quoted()).with("last-modified", modified.http_date())
}

pub fn with_metadata(mut reply: Reply, metadata: &crate::model::Metadata) -> Result<Reply> {
    for (name, value) in metadata {
        reply = reply.with_named(&format!("x-ms-meta-{name}"), value)?;
    }
    Ok(reply)
}
