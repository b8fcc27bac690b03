//! One connection, from its first byte to its last: how it is served, and what ends it.
//!
//! Time is kept of *requests*, not of bytes: pings keep nothing alive.
//!
//! | the client | ends | after |
//! |---|---|---|
//! | sends no whole head | the connection | `head_s` |
//! | asks for nothing more, whatever it pings | in good order | `idle_s` |
//! | takes an answer at less than [`BYTES_A_SECOND_MIN`] | the connection | `idle_s` |
//! | sends a body too slowly | that request | see `answer` |

use crate::Limits;
use bytes::Bytes;
use http::{Request, Response};
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use std::future::Future;
use std::io::{IoSlice, Result};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::watch;
use tokio::time::Instant;

/// An answer must leave at this rate: who takes less holds buffers that others need.
const BYTES_A_SECOND_MIN: u64 = 1_024;
/// Streams that a client reset before we took them; more ends the connection (CVE-2023-44487, "rapid reset").
const PENDING_RESETS_MAX: usize = 20;
/// Streams that we reset for a client's errors; more ends the connection.
const ERROR_RESETS_MAX: usize = 128;

type BodyError = Box<dyn std::error::Error + Send + Sync>;

/// How a connection ended.
#[derive(Debug)]
pub(crate) enum End {
    /// By the client, by us in good order, or by a fault of the transport.
    Served(std::result::Result<(), BodyError>),
    /// No request came.
    NoRequest,
    /// Answers were not taken.
    SlowReader,
    /// By us, in the middle.
    CutOff,
}

/// How far a stop has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Stop {
    No,
    /// Requests under way are the last.
    Finish,
    /// They are not waited for any more.
    Now,
}

/// Serves a connection until it ends, or `stop` says so.
pub(crate) async fn serve<I, A, F, B>(io: I, limits: Limits, mut stop: watch::Receiver<Stop>, answer: A) -> End
where
    I: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    A: Fn(Request<Incoming>) -> F + Send + 'static,
    F: Future<Output = Response<B>> + Send + 'static,
    B: Body<Data = Bytes> + Send + Unpin + 'static,
    B::Error: Into<BodyError>,
{
    let activity = Arc::new(Activity::new());
    let counted = activity.clone();
    let service = service_fn(move |request| {
        let (working, answered) = (Working::begin(&counted), answer(request));
        async move { Ok::<_, std::convert::Infallible>(working.send(answered.await)) }
    });
    let builder = builder(&limits);
    let mut connection = pin!(builder.serve_connection(TokioIo::new(Counted { io, activity: activity.clone() }), service));
    let mut watcher = Watcher::new(&limits);
    let mut tick = tokio::time::interval(watcher.every());
    let mut closing: Option<Instant> = None;
    let mut cut_off = stop.clone();
    loop {
        tokio::select! {
            ended = connection.as_mut() => return End::Served(ended),
            () = stopped(&mut cut_off, Stop::Now) => return End::CutOff,
            () = stopped(&mut stop, Stop::Finish), if closing.is_none() => {
                connection.as_mut().graceful_shutdown();
                // whoever stops us says how long the rest may take
                closing = Some(Instant::now() + Duration::from_secs(86_400));
            }
            _ = tick.tick() => match watcher.judge(&activity, Instant::now()) {
                Judged::NoRequest => return End::NoRequest,
                Judged::Slow => return End::SlowReader,
                Judged::Idle => match closing {
                    None => {
                        connection.as_mut().graceful_shutdown();
                        // what is left in buffers may still leave
                        closing = Some(Instant::now() + Duration::from_secs(limits.idle_s));
                    }
                    Some(at) if at <= Instant::now() => return End::Served(Ok(())),
                    Some(_) => {}
                },
                Judged::Fine => {}
            },
        }
    }
}

/// Ends when a stop has come so far.
pub(crate) async fn stopped(stop: &mut watch::Receiver<Stop>, so_far: Stop) {
    if stop.wait_for(|stop| *stop >= so_far).await.is_err() {
        // nobody is left who could stop us
        std::future::pending::<()>().await;
    }
}

fn builder(limits: &Limits) -> Builder<TokioExecutor> {
    let mut builder = Builder::new(TokioExecutor::new());
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(Duration::from_secs(limits.head_s))
        .max_headers(limits.headers_max)
        .max_buf_size(limits.head_bytes_max);
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(limits.streams_max)
        .max_header_list_size(limits.head_bytes_max as u32)
        .max_pending_accept_reset_streams(PENDING_RESETS_MAX)
        .max_local_error_reset_streams(ERROR_RESETS_MAX)
        .keep_alive_interval(Some(Duration::from_secs(limits.idle_s)))
        .initial_stream_window_size(1 << 20)
        .initial_connection_window_size(4 << 20);
    builder
}

/// What goes on in a connection.
struct Activity {
    began: Instant,
    /// A first request was seen.
    asked: AtomicBool,
    /// Requests whose answer is being made.
    working: AtomicUsize,
    /// Answers on their way out.
    sending: AtomicUsize,
    /// When the last request ended, in milliseconds after `began`.
    last_ms: AtomicU64,
    /// Bytes that the transport took.
    written: AtomicU64,
}

impl Activity {
    fn new() -> Activity {
        Activity {
            began: Instant::now(),
            asked: AtomicBool::new(false),
            working: AtomicUsize::new(0),
            sending: AtomicUsize::new(0),
            last_ms: AtomicU64::new(0),
            written: AtomicU64::new(0),
        }
    }
    fn ended(&self) {
        self.last_ms.store(self.began.elapsed().as_millis() as u64, Ordering::Relaxed);
    }
}

/// A request whose answer is being made.
struct Working(Arc<Activity>);

impl Working {
    fn begin(activity: &Arc<Activity>) -> Working {
        activity.asked.store(true, Ordering::Relaxed);
        activity.working.fetch_add(1, Ordering::Relaxed);
        Working(activity.clone())
    }
    fn send<B>(self, response: Response<B>) -> Response<Sending<B>> {
        self.0.sending.fetch_add(1, Ordering::Relaxed);
        let activity = self.0.clone();
        response.map(|body| Sending { body, activity })
    }
}

impl Drop for Working {
    fn drop(&mut self) {
        self.0.working.fetch_sub(1, Ordering::Relaxed);
        self.0.ended();
    }
}

/// An answer on its way out.
struct Sending<B> {
    body: B,
    activity: Arc<Activity>,
}

impl<B> Drop for Sending<B> {
    fn drop(&mut self) {
        self.activity.sending.fetch_sub(1, Ordering::Relaxed);
        self.activity.ended();
    }
}

impl<B: Body<Data = Bytes> + Unpin> Body for Sending<B> {
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<std::result::Result<Frame<Bytes>, Self::Error>>> {
        Pin::new(&mut self.body).poll_frame(context)
    }
    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }
    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[derive(Debug, PartialEq, Eq)]
enum Judged {
    Fine,
    NoRequest,
    Idle,
    Slow,
}

/// Looks at a connection from time to time.
struct Watcher {
    head: Duration,
    idle: Duration,
    /// Since when answers are under way without a pause, and how many bytes were written by then.
    sending: Option<(Instant, u64)>,
}

impl Watcher {
    fn new(limits: &Limits) -> Watcher {
        Watcher { head: Duration::from_secs(limits.head_s), idle: Duration::from_secs(limits.idle_s), sending: None }
    }
    fn every(&self) -> Duration {
        (self.head.min(self.idle) / 4).max(Duration::from_millis(100))
    }
    fn judge(&mut self, activity: &Activity, now: Instant) -> Judged {
        let passed = now.duration_since(activity.began);
        let (working, sending) = (activity.working.load(Ordering::Relaxed), activity.sending.load(Ordering::Relaxed));
        if !activity.asked.load(Ordering::Relaxed) {
            return if passed >= self.head { Judged::NoRequest } else { Judged::Fine };
        }
        if sending == 0 {
            self.sending = None;
            let quiet = passed.saturating_sub(Duration::from_millis(activity.last_ms.load(Ordering::Relaxed)));
            return if working == 0 && quiet >= self.idle { Judged::Idle } else { Judged::Fine };
        }
        // whatever else is being worked at on this connection: a slow request is no excuse for answers that are not taken
        let written = activity.written.load(Ordering::Relaxed);
        let (since, then) = *self.sending.get_or_insert((now, written));
        if now.duration_since(since) < self.idle {
            return Judged::Fine;
        }
        self.sending = Some((now, written));
        if written - then < self.idle.as_secs() * BYTES_A_SECOND_MIN { Judged::Slow } else { Judged::Fine }
    }
}

/// A transport that counts what it takes.
struct Counted<I> {
    io: I,
    activity: Arc<Activity>,
}

impl<I> Counted<I> {
    fn count(&self, written: Poll<Result<usize>>) -> Poll<Result<usize>> {
        if let Poll::Ready(Ok(bytes)) = &written {
            self.activity.written.fetch_add(*bytes as u64, Ordering::Relaxed);
        }
        written
    }
}

impl<I: AsyncRead + Unpin> AsyncRead for Counted<I> {
    fn poll_read(mut self: Pin<&mut Self>, context: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<Result<()>> {
        Pin::new(&mut self.io).poll_read(context, into)
    }
}

impl<I: AsyncWrite + Unpin> AsyncWrite for Counted<I> {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<Result<usize>> {
        let written = Pin::new(&mut self.io).poll_write(context, bytes);
        self.count(written)
    }
    fn poll_write_vectored(mut self: Pin<&mut Self>, context: &mut Context<'_>, parts: &[IoSlice<'_>]) -> Poll<Result<usize>> {
        let written = Pin::new(&mut self.io).poll_write_vectored(context, parts);
        self.count(written)
    }
    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }
    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Result<()>> {
        Pin::new(&mut self.io).poll_flush(context)
    }
    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests;
