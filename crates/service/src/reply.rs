//! No receipt, no reply.

use crate::Body;
use base::Result;
use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use trust::{ByteStream, Outcome, Permit, Read, Receipt};

/// What a handler answers. It can only be made from a [`Receipt`], or from a read permit that the answer will close.
#[derive(Debug)]
pub struct Reply {
    status: StatusCode,
    headers: HeaderMap,
    body: ReplyBody,
    /// The record entry of the act, for the answer's `x-bleu-entry` header.
    entry: Option<base::EntryId>,
}

enum ReplyBody {
    Whole(Bytes),
    Streaming { length: u64, stream: ByteStream },
}

impl std::fmt::Debug for ReplyBody {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            ReplyBody::Whole(b) => write!(f, "{} bytes", b.len()),
            ReplyBody::Streaming { length, .. } => write!(f, "{length} bytes, streaming"),
        }
    }
}

/// Who may be told without a permit: metadata documents, sign-in pages, keys of the token service. Made by the gateway
/// for `open` rows only; it tallies.
pub type Public = trust::Public;

impl Reply {
    pub fn new(receipt: Receipt, status: StatusCode, body: impl Into<Bytes>) -> Reply {
        Reply { status, headers: HeaderMap::new(), body: ReplyBody::Whole(body.into()), entry: receipt.entry() }
    }
    /// `application/json; charset=utf-8`.
    pub fn json(receipt: Receipt, status: StatusCode, value: &serde_json::Value) -> Reply {
        Reply::new(receipt, status, value.to_string()).with("content-type", "application/json; charset=utf-8")
    }
    /// Sends `length` bytes of `stream` and closes the permit at the last byte, or as unfinished where the client leaves.
    pub fn streaming(permit: Permit<Read>, status: StatusCode, length: u64, stream: ByteStream) -> Reply {
        Reply {
            status,
            headers: HeaderMap::new(),
            body: ReplyBody::Streaming { length, stream: permit.close_at_end(stream, Outcome::done(status.as_u16())) },
            entry: None,
        }
    }
    /// Adds a header. A value that is not a legal header value is left out: callers pass checked values.
    pub fn with(mut self, name: &'static str, value: impl AsRef<str>) -> Reply {
        if let Ok(value) = HeaderValue::from_str(value.as_ref()) {
            self.headers.insert(HeaderName::from_static(name), value);
        }
        self
    }
    /// Adds a header under a name made at run time (`x-ms-meta-…`).
    pub fn with_named(mut self, name: &str, value: &str) -> Result<Reply> {
        let name = HeaderName::from_bytes(name.as_bytes()).map_err(base::Error::internal)?;
        let value = HeaderValue::from_bytes(value.as_bytes()).map_err(base::Error::internal)?;
        self.headers.insert(name, value);
        Ok(self)
    }
    /// For the gateway.
    pub fn into_parts(self) -> (StatusCode, HeaderMap, Body, Option<base::EntryId>) {
        let body = match self.body {
            ReplyBody::Whole(bytes) => Body::of(bytes),
            ReplyBody::Streaming { length, stream } => Body::new(Some(length), stream),
        };
        (self.status, self.headers, body, self.entry)
    }
}
