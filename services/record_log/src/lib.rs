//! The public log of the region over HTTP (C2SP tlog-tiles, "Client API"). No account, no customer data: see the README.

use base::{Error, Kind, Result};
use bytes::Bytes;
use http::{Method, StatusCode};
use service::{Call, Door, Head, Neighbours, Operations, Public, Reply, Service, Target, Urls};
use std::sync::Arc;

/// The service.
#[derive(Debug, Default)]
pub struct RecordLog;

impl Service for RecordLog {
    fn namespace(&self) -> &'static str {
        "bleu.Record"
    }

    fn operations(self: Arc<Self>) -> Operations {
        let door = Door::control("record", &["record"]);
        Operations::of(self)
            .on(door, |_, _, _, _| Ok(Target::of(base::ResourceId::region())))
            .open("Get Checkpoint", Method::GET, "/record/checkpoint", &[], checkpoint)
            .open("Get Tile", Method::GET, "/record/tile/{path+}", &[], tile)
            .build()
    }

    fn audiences(&self, _: &Urls, _: &'static str) -> Vec<String> {
        Vec::new()
    }

    fn refuse(&self, _: &Head, error: &Error) -> http::Response<Bytes> {
        let mut response = http::Response::new(format!("{}\n", error.message).into());
        *response.status_mut() = StatusCode::from_u16(error.kind.status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        response.headers_mut().insert(http::header::CONTENT_TYPE, http::HeaderValue::from_static("text/plain; charset=utf-8"));
        response
    }
}

async fn checkpoint(_: Arc<RecordLog>, _: Call, public: Public, _: Neighbours) -> Result<Reply> {
    let none = || Error::new(Kind::NotFound, "NoCheckpoint", "The log has no checkpoint yet.");
    let note = public.checkpoint().await.ok_or_else(none)?;
    Ok(Reply::new(public.receipt(), StatusCode::OK, note)
        .with("content-type", "text/plain; charset=utf-8")
        .with("cache-control", "no-cache"))
}

async fn tile(_: Arc<RecordLog>, call: Call, public: Public, _: Neighbours) -> Result<Reply> {
    let path = format!("tile/{}", call.head.params.get("path"));
    let none = || Error::new(Kind::NotFound, "NoSuchTile", "There is no such tile, or it is a partial one that has grown since.");
    let bytes = public.tile(&path).await?.ok_or_else(none)?;
    // a full tile never changes, a partial one is gone when it has grown
    Ok(Reply::new(public.receipt(), StatusCode::OK, bytes)
        .with("content-type", "application/octet-stream")
        .with("cache-control", "max-age=31536000, immutable"))
}
