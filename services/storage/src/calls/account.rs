//! The account as its data door shows it (Azure Storage REST reference, "Operations on the account").

use super::{collected, fail, xml};
use crate::wire;
use base::{Error, Result};
use http::StatusCode;
use service::{Body, Call, Neighbours, Reply};
use std::sync::Arc;
use trust::{Outcome, Permit, Read, Write};

type Service = Arc<crate::Storage>;

const PROPERTIES_BYTES_MAX: usize = 64 << 10;

/// "Get Blob Service Properties": the defaults, which are all there is.
pub async fn properties(_: Service, _: Call, permit: Permit<Read>, _: Neighbours) -> Result<Reply> {
    let receipt = permit.close(Outcome::done(200)).await?;
    Ok(xml(receipt, wire::service_properties_xml()))
}

/// "Set Blob Service Properties": takes what changes nothing, refuses the rest.
pub async fn set_properties(_: Service, mut call: Call, permit: Permit<Write>, _: Neighbours) -> Result<Reply> {
    let body = std::mem::replace(&mut call.body, Body::empty());
    let checked = match collected(body, PROPERTIES_BYTES_MAX).await {
        Ok(body) => wire::only_default_properties(&body),
        Err(error) => Err(error),
    };
    match checked {
        Ok(true) => {
            let receipt = permit.close(Outcome::done(202)).await?;
            Ok(Reply::new(receipt, StatusCode::ACCEPTED, ""))
        }
        Ok(false) => {
            fail(
                permit,
                Error::not_implemented(
                    "A blob service property other than the default (CORS, logging, metrics, soft delete, static website)",
                ),
            )
            .await
        }
        Err(error) => fail(permit, error).await,
    }
}

/// "Get Account Information". The kind and SKU are Resource Manager's to show; what holds for every account is said here.
pub async fn information(_: Service, _: Call, permit: Permit<Read>, _: Neighbours) -> Result<Reply> {
    let receipt = permit.close(Outcome::done(200)).await?;
    let reply = Reply::new(receipt, StatusCode::OK, "");
    Ok(reply.with("x-ms-sku-name", "Standard_LRS").with("x-ms-account-kind", "StorageV2").with("x-ms-is-hns-enabled", "false"))
}
