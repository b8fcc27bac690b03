//! `POST /$batch`: up to twenty requests in one (Graph's JSON batching). Each is a call of its own: its own row of the table,
//! its own permit, its own entry in the record; the batch itself gives no right.

use super::answer::{self, Asked};
use super::body::json as read_json;
use super::{Graph, bad_request, odata_error};
use base::{Error, Kind, Result};
use base64::prelude::*;
use http::{HeaderMap, HeaderName, HeaderValue, Method};
use serde_json::{Map, Value, json};
use service::{Body, Call, Head, Matched, Neighbours, Operations, Params, Query, Reply, Service, collect};
use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};
use trust::{Permit, Read};

/// Graph's own bound.
const REQUESTS_MAX: usize = 20;
const ANSWER_BYTES_MAX: usize = 8 * 1024 * 1024;
const URL_BYTES_MAX: usize = 8 * 1024;
const HEADERS_MAX: usize = 32;

/// One request of a batch.
#[derive(Debug)]
struct Part {
    id: String,
    method: Method,
    /// Path and query behind `/v1.0`, as sent.
    url: String,
    headers: HeaderMap,
    body: Option<Vec<u8>>,
    depends_on: Vec<String>,
}

pub(super) async fn run(_: Arc<Graph>, call: Call, permit: Permit<Read>, near: Neighbours) -> Result<Reply> {
    let (asked, body) = Asked::of(call);
    let parts = match read_json(body).await {
        Ok(sent) => parts(&sent),
        Err(error) => Err(error),
    };
    let answered = match parts {
        Ok(parts) => Ok(answers(&asked.head, parts, &near).await),
        Err(error) => Err(error),
    };
    answer::read(permit, answered.map(|all| json!({ "responses": all }))).await
}

/// Strict: ids are unique, each request depends on ones before it only. Error `Request_BadRequest`.
fn parts(sent: &Map<String, Value>) -> Result<Vec<Part>> {
    let wrong = |why: String| bad_request(format!("Invalid batch payload format: {why}.")).at("requests");
    let sent = sent.get("requests").and_then(Value::as_array).ok_or_else(|| wrong("'requests' is needed".into()))?;
    if sent.is_empty() || sent.len() > REQUESTS_MAX {
        return Err(wrong(format!("a batch has 1 to {REQUESTS_MAX} requests")));
    }
    let mut parts: Vec<Part> = Vec::new();
    for one in sent {
        let part = part(one).map_err(|why| wrong(why.to_owned()))?;
        if parts.iter().any(|p| p.id == part.id) {
            return Err(wrong("an id stands twice".into()));
        }
        if !part.depends_on.iter().all(|id| parts.iter().any(|p| p.id == *id)) {
            return Err(wrong("a request depends on one that is not before it".into()));
        }
        parts.push(part);
    }
    Ok(parts)
}

fn part(sent: &Value) -> Result<Part, &'static str> {
    let text = |name: &str| sent.get(name).and_then(Value::as_str);
    let id = text("id").filter(|id| !id.is_empty() && id.len() <= 100).ok_or("a request has no id")?;
    let method = match text("method").map(str::to_ascii_uppercase).as_deref() {
        Some("GET") => Method::GET,
        Some("POST") => Method::POST,
        Some("PATCH") => Method::PATCH,
        Some("PUT") => Method::PUT,
        Some("DELETE") => Method::DELETE,
        _ => return Err("a request has no method"),
    };
    let url = text("url").filter(|url| url.len() <= URL_BYTES_MAX && url.bytes().all(|b| b.is_ascii_graphic() || b == b' '));
    let url = url.ok_or("a request has no url, or one that is not ASCII")?;
    if url.contains("://") && !url.contains('?') || url.contains("$batch") {
        return Err("a url is relative, and no batch");
    }
    let mut headers = HeaderMap::new();
    for (name, value) in sent.get("headers").and_then(Value::as_object).into_iter().flatten().take(HEADERS_MAX) {
        let pair = (HeaderName::from_bytes(name.as_bytes()), value.as_str().map(HeaderValue::from_str));
        let (Ok(name), Some(Ok(value))) = pair else { return Err("a header is not one") };
        // who calls is who sent the batch
        if name != http::header::AUTHORIZATION {
            headers.insert(name, value);
        }
    }
    let body = match sent.get("body") {
        None | Some(Value::Null) => None,
        Some(body @ Value::Object(_)) => Some(body.to_string().into_bytes()),
        Some(_) => return Err("a body is a JSON object"),
    };
    let depends_on = match sent.get("dependsOn") {
        None | Some(Value::Null) => Vec::new(),
        Some(Value::Array(all)) => {
            all.iter().map(|id| id.as_str().map(str::to_owned).ok_or("'dependsOn' is a list of ids")).collect::<Result<_, _>>()?
        }
        Some(_) => return Err("'dependsOn' is a list of ids"),
    };
    Ok(Part { id: id.to_owned(), method, url: format!("/{}", url.trim_start_matches('/').replace(' ', "%20")), headers, body, depends_on })
}

/// In their order, one after the other: a request sees what those before it did.
async fn answers(head: &Head, parts: Vec<Part>, near: &Neighbours) -> Vec<Value> {
    let mut done: BTreeMap<String, u16> = BTreeMap::new();
    let mut answers = Vec::with_capacity(parts.len());
    for part in parts {
        let id = part.id.clone();
        let inner = inner_head(head, &part);
        let is_blocked = part.depends_on.iter().any(|id| done.get(id).is_none_or(|status| *status >= 400));
        let (status, headers, body) = if is_blocked {
            let error = Error::invalid("FailedDependency", "A request that this one depends on failed.");
            (424, Map::new(), odata_error(head, &error))
        } else {
            match inner {
                Ok(inner) => match one(&inner, part, near).await {
                    Ok(answer) => answer,
                    Err(error) => refused(&inner, &error),
                },
                Err(error) => refused(head, &error),
            }
        };
        done.insert(id.clone(), status);
        answers.push(json!({"id": id, "status": status, "headers": headers, "body": body}));
    }
    answers
}

fn refused(head: &Head, error: &Error) -> (u16, Map<String, Value>, Value) {
    (error.kind.status(), json_header(), odata_error(head, error))
}

fn json_header() -> Map<String, Value> {
    Map::from_iter([("Content-Type".to_owned(), "application/json; charset=utf-8".into())])
}

fn inner_head(head: &Head, part: &Part) -> Result<Head> {
    let (path, query) = part.url.split_once('?').unwrap_or((&part.url, ""));
    let mut headers = part.headers.clone();
    if let Some(agent) = head.headers.get("user-agent") {
        headers.insert("user-agent", agent.clone());
    }
    Ok(Head {
        method: part.method.clone(),
        raw_path: format!("/v1.0{path}"),
        raw_query: query.to_owned(),
        query: Query::parse(query)?,
        headers,
        params: Params::default(),
        ..head.clone()
    })
}

async fn one(head: &Head, part: Part, near: &Neighbours) -> Result<(u16, Map<String, Value>, Value)> {
    static TABLE: OnceLock<Operations> = OnceLock::new();
    let table = TABLE.get_or_init(|| Arc::new(Graph).operations());
    let door = table.doors.first().ok_or_else(|| Error::internal("the directory has a door"))?;
    let (row, params) = match table.find(door, head, &head.raw_path) {
        Matched::Row(row, params) => (row, params),
        Matched::OtherMethod => {
            return Err(Error::new(Kind::MethodNotAllowed, "Request_BadRequest", "The method is not supported for this resource."));
        }
        Matched::Nothing => return Err(Error::new(Kind::NotFound, "Request_ResourceNotFound", "There is no such resource.")),
    };
    let body = part.body.map_or_else(Body::empty, |bytes| Body::of(bytes.into()));
    let reply = near.answer(&row, Head { params, ..head.clone() }, body).await?;
    let (status, headers, body, entry) = reply.into_parts();
    let bytes = collect(body, ANSWER_BYTES_MAX).await?;
    let mut shown: Map<String, Value> =
        headers.iter().filter_map(|(name, value)| Some((name.as_str().to_owned(), value.to_str().ok()?.into()))).collect();
    if let Some(entry) = entry {
        shown.insert("x-bleu-entry".into(), entry.to_string().into());
    }
    let body = match serde_json::from_slice(&bytes) {
        _ if bytes.is_empty() => Value::Null,
        Ok(value) => value,
        Err(_) => BASE64_STANDARD.encode(&bytes).into(),
    };
    Ok((status.as_u16(), shown, body))
}

/// For the fuzzer: reading a batch never panics.
pub fn fuzz_batch(bytes: &[u8]) {
    if let Ok(Value::Object(sent)) = serde_json::from_slice(bytes)
        && let Ok(parts) = parts(&sent)
    {
        assert!(parts.len() <= REQUESTS_MAX && parts.iter().all(|p| p.url.starts_with('/')));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn batches_are_strict() {
        let read = |sent: Value| parts(sent.as_object().unwrap());
        let good = read(json!({"requests": [
            {"id": "1", "method": "get", "url": "/users?$top=1"},
            {"id": "2", "method": "POST", "url": "groups", "headers": {"Content-Type": "application/json", "Authorization": "Bearer x"}, "body": {"a": 1}, "dependsOn": ["1"]},
        ]}))
        .unwrap();
        assert_eq!((good[0].url.as_str(), good[1].url.as_str(), good[1].headers.len()), ("/users?$top=1", "/groups", 1));
        let many: Vec<Value> = (0..21).map(|id| json!({"id": id.to_string(), "method": "GET", "url": "/me"})).collect();
        for bad in [
            json!({}),
            json!({"requests": []}),
            json!({ "requests": many }),
            json!({"requests": [{"id": "1", "method": "GET"}]}),
            json!({"requests": [{"id": 1, "method": "GET", "url": "/me"}]}),
            json!({"requests": [{"id": "1", "method": "TRACE", "url": "/me"}]}),
            json!({"requests": [{"id": "1", "method": "GET", "url": "https://elsewhere.example/"}]}),
            json!({"requests": [{"id": "1", "method": "POST", "url": "/$batch", "body": {}}]}),
            json!({"requests": [{"id": "1", "method": "POST", "url": "/me", "body": "x"}]}),
            json!({"requests": [{"id": "1", "method": "GET", "url": "/me"}, {"id": "1", "method": "GET", "url": "/me"}]}),
            json!({"requests": [{"id": "1", "method": "GET", "url": "/me", "dependsOn": ["2"]}, {"id": "2", "method": "GET", "url": "/me"}]}),
            json!({"requests": [{"id": "1", "method": "GET", "url": "/me", "dependsOn": ["1"]}]}),
            json!({"requests": [{"id": "1", "method": "GET", "url": "/me", "headers": {"a b": "c"}}]}),
        ] {
            assert_eq!(read(bad.clone()).unwrap_err().target.as_deref(), Some("requests"), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn batches_never_panic(noise in proptest::collection::vec(any::<u8>(), 0..80), url in "\\PC{0,30}", id in "\\PC{0,5}") {
            fuzz_batch(&noise);
            fuzz_batch(json!({"requests": [{"id": id, "method": "GET", "url": url, "dependsOn": [id.clone()]}]}).to_string().as_bytes());
        }
    }
}
