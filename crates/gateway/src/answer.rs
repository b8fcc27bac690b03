//! One request, from its head to its answer.

use crate::Inner;
use crate::edge::ResponseBody;
use crate::linger::{Allowance, Lingering};
use crate::places::Turn;
use crate::route::{Route, route};
use base::{Error, Kind, RequestId, Result};
use bytes::Bytes;
use futures::{FutureExt, StreamExt};
use http::{HeaderValue, Method, Request, Response, StatusCode, Version, header};
use http_body_util::{BodyExt, BodyStream, Full};
use service::{Body, Call, Handler, Head, Neighbours, Params, Query, Reply, Service};
use std::net::IpAddr;
use std::panic::AssertUnwindSafe;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;
use trust::{Caller, Origin};

/// Verifies a bearer token against the audiences of a door. `identity` supplies it.
pub type VerifyBearer = Arc<dyn Fn(&Neighbours, &str, &[String]) -> Result<Caller> + Send + Sync>;

/// A request id as the answer shows it, in every dialect.
const REQUEST_ID: &str = "x-ms-request-id";

/// Answers a request. `turn` is its place among the requests at once: kept until the work ends, also when the client has
/// left; whoever sends the answer keeps it until then.
pub(crate) async fn answer<B>(
    inner: Arc<Inner>,
    request: Request<B>,
    peer: Option<IpAddr>,
    turn: Option<Arc<Turn>>,
) -> Response<ResponseBody>
where
    B: http_body::Body<Data = Bytes> + Send + 'static,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let (mut head, body, allowance) = read_head(&inner, request, peer);
    let is_head = head.method == Method::HEAD;
    let request_id = head.origin.request;
    let bad_query = Query::parse(&head.raw_query).map(|query| head.query = query).err();
    let route = route(&inner, &head);
    let reads = matches!(&route, Route::Row { row, .. } if matches!(row.handler, Handler::Read(_)));
    let work = async move {
        let _turn = turn;
        respond(inner, route, head, bad_query, body, allowance).await
    };
    let panicked = || {
        tracing::error!(request = %request_id, "a handler panicked");
        plain(StatusCode::INTERNAL_SERVER_ERROR, "The region met an internal error.")
    };
    let mut response = match reads {
        // a read that its client leaves can stop anywhere: its permit closes itself
        true => AssertUnwindSafe(work).catch_unwind().await.unwrap_or_else(|_| panicked()),
        // its own task: a client that leaves does not stop a commit in the middle
        false => tokio::spawn(work).await.unwrap_or_else(|_| panicked()),
    };
    if is_head {
        *response.body_mut() = empty();
    }
    if let Ok(value) = HeaderValue::from_str(&request_id.to_string()) {
        response.headers_mut().insert(REQUEST_ID, value);
    }
    response
}

fn read_head<B>(inner: &Inner, request: Request<B>, peer: Option<IpAddr>) -> (Head, Body, Option<Allowance>)
where
    B: http_body::Body<Data = Bytes> + Send + 'static,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let (parts, body) = request.into_parts();
    let host = parts.uri.authority().map(|a| a.as_str()).or_else(|| parts.headers.get(header::HOST)?.to_str().ok()).unwrap_or("");
    let text =
        |name: &str, max: usize| parts.headers.get(name).and_then(|v| v.to_str().ok()).map(|v| v.chars().take(max).collect::<String>());
    let origin = Origin {
        request: RequestId::random(&*inner.trust.chance()),
        peer,
        client_request: text("x-ms-client-request-id", 1_024),
        user_agent: text("user-agent", 256),
    };
    let head = Head {
        host: host_name(host),
        raw_path: parts.uri.path().to_owned(),
        raw_query: parts.uri.query().unwrap_or("").to_owned(),
        query: Query::default(),
        door: "",
        params: Params::default(),
        at: inner.trust.clock().now(),
        urls: inner.urls.clone(),
        method: parts.method,
        headers: parts.headers,
        origin,
    };
    let length = head.headers.get(header::CONTENT_LENGTH).and_then(|v| v.to_str().ok()?.parse().ok()).or(body.size_hint().exact());
    // a stream of HTTP/2 is ended alone, and who asks before it sends (100-continue) is told no
    let lingers = parts.version < Version::HTTP_2 && !head.headers.contains_key(header::EXPECT) && !body.is_end_stream();
    let allowance = lingers.then(Allowance::default);
    (head, Body::new(length, incoming(body, allowance.clone(), inner.limits.idle_s)), allowance)
}

/// `LocalHost:8443` → `localhost`; `[::1]:8443` → `::1`.
fn host_name(authority: &str) -> String {
    let name = match authority.strip_prefix('[') {
        Some(rest) => rest.split(']').next().unwrap_or(""),
        None => authority.rsplit_once(':').map_or(authority, |(name, _)| name),
    };
    name.trim_end_matches('.').to_ascii_lowercase()
}

/// In each minute that we waited for it, a body must have come at this rate: who drips holds a turn that others need, and
/// a fast beginning buys no slow end.
const BODY_BYTES_A_SECOND: u64 = 1_024;

/// The body as it comes, each part within the idle time, and all of it at no less than a slow line's rate. Only waiting
/// for the client counts: it is not to blame for a slow disk.
fn incoming<B>(body: B, lingers: Option<Allowance>, idle_s: u64) -> trust::ByteStream
where
    B: http_body::Body<Data = Bytes> + Send + 'static,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let frames = Lingering::new(BodyStream::new(body), lingers);
    let (idle, begin) = (Duration::from_secs(idle_s), (Duration::ZERO, 0u64));
    Box::pin(futures::stream::unfold(Some((frames, begin)), move |state| async move {
        let (mut frames, (mut waited, mut bytes)) = state?;
        loop {
            let asked = tokio::time::Instant::now();
            let late = || Error::new(Kind::Cancelled, "RequestTimeout", "The body came too slowly, or not at all.");
            match tokio::time::timeout(idle, frames.next()).await {
                Err(_) => {
                    frames.leave();
                    return Some((Err(late()), None));
                }
                Ok(None) => return None,
                Ok(Some(Err(cause))) => {
                    return Some((Err(Error::new(Kind::Cancelled, "IncompleteBody", "The body broke off.").because(cause)), None));
                }
                Ok(Some(Ok(frame))) => match frame.into_data() {
                    Ok(data) => {
                        bytes += data.len() as u64;
                        waited += asked.elapsed();
                        if waited >= idle {
                            if bytes < waited.as_secs() * BODY_BYTES_A_SECOND {
                                frames.leave();
                                return Some((Err(late()), None));
                            }
                            (waited, bytes) = begin;
                        }
                        return Some((Ok(data), Some((frames, (waited, bytes)))));
                    }
                    // trailers carry nothing that we read
                    Err(_) => continue,
                },
            }
        }
    }))
}

async fn respond(
    inner: Arc<Inner>,
    route: Route,
    mut head: Head,
    bad_query: Option<Error>,
    body: Body,
    allowance: Option<Allowance>,
) -> Response<ResponseBody> {
    let (service, result) = match route {
        Route::NoDoor => {
            inner.trust.stranger("edge", "UnknownHost", head.origin.peer);
            return plain(StatusCode::MISDIRECTED_REQUEST, "This region has no service under that host name.");
        }
        Route::NoRow { service, door, params, other_method } => {
            (head.door, head.params) = (door.name, params);
            inner.trust.stranger(door.name, "NoSuchOperation", head.origin.peer);
            let error = bad_query.unwrap_or_else(|| no_row(&head, other_method));
            (service, Err(error))
        }
        Route::Row { service, door, row, params } => {
            (head.door, head.params) = (door.name, params);
            let result = match bad_query {
                Some(error) => {
                    inner.trust.stranger(door.name, &error.code, head.origin.peer);
                    Err(error)
                }
                None => handle(&inner, &*service, &row, head.clone(), body, allowance).await,
            };
            (service, result)
        }
    };
    let mut response = match result {
        Ok(reply) => print(reply).await,
        Err(error) => refuse(&*service, &head, &error),
    };
    service.decorate(&head, response.headers_mut());
    response
}

fn no_row(head: &Head, other_method: bool) -> Error {
    match other_method {
        true => Error::new(
            Kind::MethodNotAllowed,
            "UnsupportedHttpVerb",
            format!("The resource doesn't support the verb {} with these parameters.", head.method),
        ),
        false => Error::new(Kind::NotFound, "ResourceNotFound", format!("There is no operation at '{}'.", head.raw_path)),
    }
}

async fn handle(
    inner: &Inner,
    service: &dyn Service,
    row: &service::Operation,
    head: Head,
    body: Body,
    allowance: Option<Allowance>,
) -> Result<Reply> {
    let near = Neighbours::new(inner.trust.clone(), Caller::Anonymous, head.origin.clone(), inner.urls.clone()).for_part(service.part());
    if let Handler::Open(handler) = &row.handler {
        let call = Call { head, caller: Caller::Anonymous, body };
        let peer = call.head.origin.peer;
        let answer = handler(call, inner.trust.public(), near).await;
        if let Err(error) = &answer {
            // a refused sign-in of nobody we know; known principals have their entry already
            inner.trust.stranger(row.door.name, &error.code, peer);
        }
        return answer;
    }
    let caller = match authenticate(inner, service, &head, &near).await {
        Ok(caller) => caller,
        Err(error) => {
            inner.trust.stranger(row.door.name, &error.code, head.origin.peer);
            return Err(error);
        }
    };
    let near = near.on_behalf(caller.clone());
    let target = (row.target)(&head, &caller, &near);
    if caller.is_anonymous() {
        // whether the target exists is not for strangers
        inner.trust.stranger(row.door.name, "NoAuthenticationInformation", head.origin.peer);
        return Err(Error::new(
            Kind::Unauthenticated,
            "AuthenticationFailed",
            "Authentication failed. The 'Authorization' header is missing.",
        ));
    }
    if let Some(allowance) = &allowance {
        allowance.known();
    }
    // malformed: it names nothing that an entry could be about
    let target = target.inspect_err(|error| inner.trust.stranger(row.door.name, &error.code, head.origin.peer))?;
    near.answer_at(row, target, head, body).await
}

async fn authenticate(inner: &Inner, service: &dyn Service, head: &Head, near: &Neighbours) -> Result<Caller> {
    if let Some(caller) = service.authenticate(head, near).await? {
        return Ok(caller);
    }
    let Some(value) = head.headers.get(header::AUTHORIZATION) else { return Ok(Caller::Anonymous) };
    let invalid = || {
        Error::new(Kind::Unauthenticated, "InvalidAuthenticationToken", "The 'Authorization' header is not one of this service's schemes.")
    };
    let text = value.to_str().map_err(|_| invalid())?;
    let (scheme, token) = text.split_once(' ').ok_or_else(invalid)?;
    if !scheme.eq_ignore_ascii_case("bearer") {
        return Err(invalid());
    }
    (inner.bearer)(near, token.trim(), &service.audiences(&inner.urls, head.door))
}

async fn print(reply: Reply) -> Response<ResponseBody> {
    let (status, headers, body, entry) = reply.into_parts();
    let mut response = Response::new(outgoing(body, status).await);
    *response.status_mut() = status;
    *response.headers_mut() = headers;
    if let Some(entry) = entry
        && let Ok(value) = HeaderValue::from_str(&entry.to_string())
    {
        response.headers_mut().insert("x-bleu-entry", value);
    }
    response
}

async fn outgoing(body: Body, status: StatusCode) -> ResponseBody {
    if status == StatusCode::NO_CONTENT || status == StatusCode::NOT_MODIFIED || body.length == Some(0) {
        // the server asks for no byte of it, yet its end closes the act
        let mut stream = body.into_stream();
        while let Some(Ok(_)) = stream.next().await {}
        return empty();
    }
    Outgoing { left: body.length, stream: body.into_stream() }.boxed_unsync()
}

/// A body with a known length, so that it is sent with `Content-Length`.
struct Outgoing {
    left: Option<u64>,
    stream: trust::ByteStream,
}

impl http_body::Body for Outgoing {
    type Data = Bytes;
    type Error = Box<dyn std::error::Error + Send + Sync>;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<http_body::Frame<Bytes>, Self::Error>>> {
        match self.stream.poll_next_unpin(context) {
            Poll::Ready(Some(Ok(bytes))) => {
                self.left = self.left.map(|left| left.saturating_sub(bytes.len() as u64));
                Poll::Ready(Some(Ok(http_body::Frame::data(bytes))))
            }
            Poll::Ready(Some(Err(error))) => {
                tracing::warn!(%error, "an answer broke off");
                Poll::Ready(Some(Err(error.into())))
            }
            Poll::Ready(None) => Poll::Ready(None),
            Poll::Pending => Poll::Pending,
        }
    }
    fn size_hint(&self) -> http_body::SizeHint {
        self.left.map_or_else(http_body::SizeHint::default, http_body::SizeHint::with_exact)
    }
}

fn refuse(service: &dyn Service, head: &Head, error: &Error) -> Response<ResponseBody> {
    if error.kind == Kind::Internal {
        tracing::error!(request = %head.origin.request, door = head.door, %error, "an internal error");
    } else {
        tracing::debug!(request = %head.origin.request, door = head.door, code = %error.code, "refused");
    }
    service.refuse(head, error).map(|bytes| Full::new(bytes).map_err(|never| match never {}).boxed_unsync())
}

fn plain(status: StatusCode, text: &'static str) -> Response<ResponseBody> {
    let mut response = Response::new(Full::new(Bytes::from_static(text.as_bytes())).map_err(|never| match never {}).boxed_unsync());
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    response
}

/// Too many requests of one peer wait already: each dialect's clients know this status, and try again.
pub(crate) fn busy() -> Response<ResponseBody> {
    let mut response = plain(StatusCode::SERVICE_UNAVAILABLE, "Too many requests at once. Try again.");
    response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
    response
}

fn empty() -> ResponseBody {
    http_body_util::Empty::new().map_err(|never| match never {}).boxed_unsync()
}

#[cfg(test)]
mod tests {
    use super::*;
    use http_body_util::StreamBody;

    /// `head` bytes at once, then so many every so often.
    fn after(head: usize, seconds: u64, bytes: usize) -> trust::ByteStream {
        let parts = futures::stream::unfold(head, move |head| async move {
            if head == 0 {
                tokio::time::sleep(Duration::from_secs(seconds)).await;
            }
            let length = if head == 0 { bytes } else { head };
            Some((Ok::<_, std::convert::Infallible>(http_body::Frame::data(Bytes::from(vec![0; length]))), 0))
        });
        incoming(StreamBody::new(parts), None, 60)
    }
    fn every(seconds: u64, bytes: usize) -> trust::ByteStream {
        after(0, seconds, bytes)
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_that_drips_is_cut_off_and_a_slow_line_is_not() {
        // also after a fast beginning
        for head in [0, 100 << 20] {
            let (mut dripping, begun) = (after(head, 30, 1), tokio::time::Instant::now());
            let cut = loop {
                match dripping.next().await {
                    Some(Ok(_)) => assert!(begun.elapsed() < Duration::from_secs(300), "it drips on after {head} bytes"),
                    Some(Err(error)) => break error,
                    None => panic!("it ended"),
                }
            };
            assert_eq!(cut.code, "RequestTimeout");
        }
        let mut slow = every(30, 64 << 10);
        for _ in 0..100 {
            slow.next().await.unwrap().unwrap();
        }
        assert_eq!(every(61, 1).next().await.unwrap().unwrap_err().code, "RequestTimeout");
    }
}
