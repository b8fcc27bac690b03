//! Bodies stream both ways: a handler that collects one says how much it takes.

use base::{Error, Kind, Result};
use bytes::{Bytes, BytesMut};
use futures::StreamExt;
use std::sync::Mutex;

/// A request body: its length if the client gave one, and its bytes as they come.
pub struct Body {
    /// `Content-Length`; `None` for chunked transfer.
    pub length: Option<u64>,
    /// Never locked: the mutex only lets a call that holds a body be shared between threads.
    stream: Mutex<trust::ByteStream>,
}

impl Body {
    pub fn new(length: Option<u64>, stream: trust::ByteStream) -> Body {
        Body { length, stream: Mutex::new(stream) }
    }
    pub fn empty() -> Body {
        Body::new(Some(0), Box::pin(futures::stream::empty()))
    }
    pub fn of(bytes: Bytes) -> Body {
        Body::new(Some(bytes.len() as u64), Box::pin(futures::stream::iter([Ok(bytes)])))
    }
    /// The bytes as they come.
    pub fn into_stream(self) -> trust::ByteStream {
        self.stream.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

impl std::fmt::Debug for Body {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Body({:?} bytes)", self.length)
    }
}

/// The whole body in memory, at most `max_bytes`. Error `RequestBodyTooLarge` (kind TooLarge).
pub async fn collect(body: Body, max_bytes: usize) -> Result<Bytes> {
    let too_large = || Error::new(Kind::TooLarge, "RequestBodyTooLarge", format!("The request body is larger than {max_bytes} bytes."));
    if body.length.is_some_and(|l| l > max_bytes as u64) {
        return Err(too_large());
    }
    let mut all = BytesMut::new();
    let mut stream = body.into_stream();
    while let Some(part) = stream.next().await {
        let part = part?;
        if all.len() + part.len() > max_bytes {
            return Err(too_large());
        }
        all.extend_from_slice(&part);
    }
    Ok(all.freeze())
}
