//! The contract between the house and every Azure service: what a service offers (a table of operations and a list of
//! resource kinds), what a handler is given ([`Call`], a `Permit`, [`Neighbours`]) and what it must give back
//! ([`Reply`], made of a receipt). Start at [`Service`]; `services/storage/src/lib.rs` shows it in use.

mod body;
mod call;
mod kind;
mod neighbours;
mod operation;
mod reply;

pub use body::{Body, collect};
pub use call::{Call, Head, Params, Query, Urls};
pub use kind::{Have, Kind, Progress, Step, Want};
pub use neighbours::Neighbours;
pub use operation::{
    Builder, Door, Handler, Matched, Operation, Operations, RESERVED_NAMES, Target, When, absent, comp, header, names_directory, present,
    query,
};
pub use reply::{Public, Reply};

use base::{Error, Fut, Result};
use std::sync::Arc;
use trust::Caller;

/// An Azure service, or the sign-in and Resource Manager beside them: all look alike from the gateway.
pub trait Service: Send + Sync + 'static {
    /// `Microsoft.Storage`.
    fn namespace(&self) -> &'static str;
    /// The part of the region that this service is, if it does anything by itself: what that may be, `trust::PARTS` lists.
    fn part(&self) -> Option<&'static str> {
        None
    }
    /// The resource types that Resource Manager can create.
    fn kinds(&self) -> Vec<Arc<dyn Kind>> {
        Vec::new()
    }
    /// Everything a client can call. The only place that says what exists.
    fn operations(self: Arc<Self>) -> Operations;
    /// Claims the service's own credentials (Shared Key, SAS). `None`: not mine, try the bearer token, then anonymous.
    /// The body is not read: a scheme that signs the body is judged by its handler.
    fn authenticate<'a>(&'a self, _head: &'a Head, _near: &'a Neighbours) -> Fut<'a, Result<Option<Caller>>> {
        Box::pin(async { Ok(None) })
    }
    /// The audiences (`aud`) that a bearer token may carry at this service's doors, beside the door's own URL.
    fn audiences(&self, urls: &Urls, door: &'static str) -> Vec<String>;
    /// Prints an error in the dialect of the service's clients. `head` tells which door and which client.
    fn refuse(&self, head: &Head, error: &Error) -> http::Response<bytes::Bytes>;
    /// Headers that every answer of this service carries (`x-ms-version`…), success or not.
    fn decorate(&self, _head: &Head, _headers: &mut http::HeaderMap) {}
}
