//! How answers look, and how each act ends: a permit is closed or committed on every path.

use crate::directory::ObjectKind;
use crate::urls::base;
use base::Result;
use http::StatusCode;
use serde_json::{Map, Value};
use service::{Body, Call, Head, Reply};
use trust::{Batch, Caller, Outcome, Permit, Read, Write};

/// A call whose body was taken out: what can be looked at while waiting.
pub(super) struct Asked {
    pub head: Head,
    pub caller: Caller,
}

impl Asked {
    pub(super) fn of(call: Call) -> (Asked, Body) {
        (Asked { head: call.head, caller: call.caller }, call.body)
    }
}

/// What a write comes to.
pub(super) struct Change {
    pub batch: Batch,
    pub status: StatusCode,
    /// `None`: no content.
    pub body: Option<Value>,
}

impl Change {
    pub(super) fn none(batch: Batch) -> Change {
        Change { batch, status: StatusCode::NO_CONTENT, body: None }
    }
}

pub(super) async fn read(permit: Permit<Read>, result: Result<Value>) -> Result<Reply> {
    match result {
        Ok(value) => {
            let bytes = value.to_string();
            let receipt = permit.close(Outcome::done(200).bytes_out(bytes.len() as u64)).await?;
            Ok(Reply::json(receipt, StatusCode::OK, &value))
        }
        Err(error) => {
            let _receipt = permit.close(Outcome::failed(&error)).await?;
            Err(error)
        }
    }
}

/// A number or another bare text.
pub(super) async fn read_text(permit: Permit<Read>, result: Result<String>) -> Result<Reply> {
    match result {
        Ok(text) => {
            let receipt = permit.close(Outcome::done(200).bytes_out(text.len() as u64)).await?;
            Ok(Reply::new(receipt, StatusCode::OK, text).with("content-type", "text/plain; charset=utf-8"))
        }
        Err(error) => {
            let _receipt = permit.close(Outcome::failed(&error)).await?;
            Err(error)
        }
    }
}

pub(super) async fn write(permit: Permit<Write>, result: Result<Change>) -> Result<Reply> {
    match result {
        Ok(change) => {
            let receipt = permit.commit(change.batch, Outcome::done(change.status.as_u16())).await?;
            Ok(match change.body {
                Some(body) => Reply::json(receipt, change.status, &body),
                None => Reply::new(receipt, change.status, ""),
            })
        }
        Err(error) => {
            let _receipt = permit.close(Outcome::failed(&error)).await?;
            Err(error)
        }
    }
}

/// Graph's own address, by the name that was used.
pub(super) fn home(head: &Head) -> String {
    format!("{}/v1.0", base(&head.urls, &head.host, "graph"))
}

/// One object under its context.
pub(super) fn entity(head: &Head, kind: ObjectKind, object: Value) -> Value {
    with_context(format!("{}/$metadata#{}/$entity", home(head), kind.collection()), object)
}

/// The context first, as Graph prints it.
pub(super) fn with_context(context: String, object: Value) -> Value {
    let mut shown = Map::new();
    shown.insert("@odata.context".into(), context.into());
    if let Value::Object(object) = object {
        shown.extend(object);
    }
    Value::Object(shown)
}
