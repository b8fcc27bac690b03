//! Calls of Azure that are not built: each has its row, so that it is listed, permitted and refused by its own name.

use super::fail;
use base::{Error, Result};
use service::{Call, Neighbours, Reply};
use std::sync::Arc;
use trust::{Access, Permit, Read, Write};

pub async fn read(_: Arc<crate::Storage>, call: Call, permit: Permit<Read>, _: Neighbours) -> Result<Reply> {
    refuse(call, permit).await
}

pub async fn write(_: Arc<crate::Storage>, call: Call, permit: Permit<Write>, _: Neighbours) -> Result<Reply> {
    refuse(call, permit).await
}

async fn refuse<A: Access>(call: Call, permit: Permit<A>) -> Result<Reply> {
    let what = call.head.query.get("comp").or(call.head.query.get("restype")).unwrap_or("").to_owned();
    let what = if call.head.headers.contains_key("x-ms-copy-source") {
        "A copy from a URL".to_owned()
    } else {
        format!("This operation ({} '{what}')", call.head.method)
    };
    fail(permit, Error::not_implemented(what)).await
}
