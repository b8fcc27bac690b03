//! Requests from inside: the same table, the same permits and handlers as for requests from outside, as the caller that
//! is given. An answer that says "later" is waited for.

use crate::{Arm, names};
use base::{Error, Kind, Result};
use bytes::Bytes;
use http::{HeaderMap, Method, StatusCode};
use serde_json::Value;
use service::{Body, Head, Matched, Neighbours, Operation, Operations, Params, Query, Service};
use std::sync::{Arc, OnceLock};
use std::time::Duration;
use tokio::sync::watch;

/// The first pause before an answer is looked for again, and the longest.
const PAUSE: Duration = Duration::from_millis(10);
const PAUSE_MAX: Duration = Duration::from_secs(1);

/// The tables of all services that have a management door, in the gateway's order.
#[derive(Default)]
pub(crate) struct Tables(OnceLock<Vec<(Arc<dyn Service>, Operations)>>);

impl Tables {
    /// Named once, before the first request.
    pub(crate) fn set(&self, services: &[Arc<dyn Service>]) {
        let _ = self.0.set(services.iter().map(|s| (s.clone(), s.clone().operations())).collect());
    }
    fn all(&self, arm: &Arc<Arm>) -> &[(Arc<dyn Service>, Operations)] {
        self.0.get_or_init(|| vec![(arm.clone() as Arc<dyn Service>, arm.clone().operations())])
    }
}

/// What was answered.
pub(super) struct Answered {
    pub status: StatusCode,
    headers: HeaderMap,
    pub body: Value,
}

/// A request to come.
pub(super) struct Request<'a> {
    pub method: Method,
    /// Not encoded.
    pub path: &'a str,
    pub api_version: &'a str,
    pub body: Option<&'a Value>,
}

fn head(near: &Neighbours, request: &Request) -> Head {
    let raw_path: String =
        request.path.split('/').filter(|s| !s.is_empty()).map(|s| format!("/{}", wire::percent_encode(s, b"()"))).collect();
    let query = Query(vec![("api-version".to_owned(), request.api_version.to_owned())]);
    Head {
        method: request.method.clone(),
        host: format!("management.{}", near.urls.domain),
        raw_path,
        raw_query: format!("api-version={}", wire::percent_encode(request.api_version, b"")),
        query,
        headers: HeaderMap::new(),
        door: "management",
        params: Params::default(),
        origin: near.origin.clone(),
        at: near.clock.now(),
        urls: near.urls.clone(),
    }
}

/// The row that answers.
fn row(arm: &Arc<Arm>, head: &mut Head) -> Option<(Arc<dyn Service>, Arc<Operation>)> {
    for (service, table) in arm.tables.all(arm) {
        for (door, host, path) in table.doors_for(&head.host, &head.urls.domain, &head.raw_path) {
            if let Matched::Row(row, params) = table.find(door, head, path) {
                head.door = door.name;
                head.params = host;
                head.params.0.extend(params.0);
                return Some((service.clone(), row));
            }
        }
    }
    None
}

/// What a PUT of a resource needs, without doing it: its actions. Errors `InvalidResourceNamespace`,
/// `InvalidResourceType`, and those of its id and API version.
pub(super) fn actions_of_put(arm: &Arc<Arm>, near: &Neighbours, id: &str, kind: &str, api_version: &str) -> Result<Vec<&'static str>> {
    let request = Request { method: Method::PUT, path: id, api_version, body: None };
    let mut head = head(near, &request);
    names::api_version(&head)?;
    let (namespace, name) = kind.split_once('/').unwrap_or((kind, ""));
    match row(arm, &mut head) {
        Some((_, row)) if row.name != "Unknown Resource" => Ok(row.actions.clone()),
        _ => Err(arm.unknown_type(namespace, name)),
    }
}

pub(super) async fn send(arm: &Arc<Arm>, near: &Neighbours, request: Request<'_>) -> Result<Answered> {
    let mut head = head(near, &request);
    let found = row(arm, &mut head);
    let (service, row) =
        found.ok_or_else(|| Error::new(Kind::NotFound, "ResourceNotFound", format!("There is no operation at '{}'.", request.path)))?;
    let near = near.clone().for_part(service.part());
    let body = request.body.map_or_else(Body::empty, |value| Body::of(Bytes::from(value.to_string())));
    let (status, headers, body, _) = near.answer(&row, head, body).await?.into_parts();
    let bytes = service::collect(body, 64 << 20).await?;
    let body = if bytes.is_empty() { Value::Null } else { serde_json::from_slice(&bytes).map_err(Error::internal)? };
    Ok(Answered { status, headers, body })
}

/// Sends, and waits for the end of what the answer began. `None`: the region stops.
pub(super) async fn to_the_end(
    arm: &Arc<Arm>,
    near: &Neighbours,
    request: Request<'_>,
    stop: &watch::Receiver<bool>,
) -> Result<Option<Answered>> {
    let first = send(arm, near, request).await?;
    let url = |answered: &Answered, name: &str| answered.headers.get(name).and_then(|v| v.to_str().ok()).map(str::to_owned);
    let (status, location) =
        (url(&first, "azure-asyncoperation"), url(&first, "location").filter(|_| first.status == StatusCode::ACCEPTED));
    let Some(poll) = status.clone().or(location) else { return Ok(Some(first)) };
    let mut pause = PAUSE;
    loop {
        let mut stop = stop.clone();
        if tokio::time::timeout(pause, stop.wait_for(|s| *s)).await.is_ok() {
            return Ok(None);
        }
        pause = (pause * 3 / 2).min(PAUSE_MAX);
        let (path, version) = parts(&poll)?;
        let next = send(arm, near, Request { method: Method::GET, path: &path, api_version: &version, body: None }).await?;
        if status.is_none() {
            if next.status != StatusCode::ACCEPTED {
                return Ok(Some(next));
            }
            continue;
        }
        match next.body.get("status").and_then(Value::as_str) {
            Some("Succeeded") => return Ok(Some(first)),
            Some("Failed" | "Canceled") => return Err(failed(&next.body)),
            _ => {}
        }
    }
}

/// The error of an operation's status.
fn failed(body: &Value) -> Error {
    let text = |name: &str| body["error"][name].as_str().map(str::to_owned);
    let message = text("message").unwrap_or_else(|| "The operation did not succeed.".to_owned());
    let error = Error::new(Kind::Conflict, text("code").unwrap_or_else(|| "OperationFailed".to_owned()), message);
    match body["error"].get("details") {
        // a nested deployment tells what failed inside
        Some(details) => error.with_info(details.to_string()),
        None => error,
    }
}

/// Path and API version of one of our own addresses.
fn parts(url: &str) -> Result<(String, String)> {
    let wrong = || Error::internal(format!("'{url}' is not an address to poll"));
    let (_, rest) = url.split_once("://").ok_or_else(wrong)?;
    let (path, query) = rest[rest.find('/').ok_or_else(wrong)?..].split_once('?').ok_or_else(wrong)?;
    let path = path.split('/').map(|s| wire::percent_decode(s).ok_or_else(wrong)).collect::<Result<Vec<_>>>()?.join("/");
    let version = Query::parse(query)?.get("api-version").unwrap_or_default().to_owned();
    Ok((path, version))
}
