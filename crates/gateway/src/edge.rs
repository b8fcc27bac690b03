//! Connections: accepted within bounds, served, drained.

use crate::{Gateway, Tls, answer};
use base::{Error, Kind, Result};
use bytes::Bytes;
use http_body_util::combinators::UnsyncBoxBody;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use hyper_util::server::graceful::GracefulShutdown;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Notify, Semaphore};
use tokio::task::JoinHandle;

/// An answer's body: not `Sync`, since streams are not.
pub type ResponseBody = UnsyncBoxBody<Bytes, Box<dyn std::error::Error + Send + Sync>>;

/// Bounds of a listener. Bodies have their own, in the services.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    pub connections_max: usize,
    pub handshake_s: u64,
    /// Time to send the head of a request.
    pub head_s: u64,
    /// Time without a byte of body, either way.
    pub idle_s: u64,
    pub headers_max: usize,
    pub head_bytes_max: usize,
    /// Requests at once on one HTTP/2 connection.
    pub streams_max: u32,
    /// Requests at once, over all connections.
    pub requests_max: usize,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            connections_max: 4_096,
            handshake_s: 10,
            head_s: 15,
            idle_s: 60,
            headers_max: 128,
            head_bytes_max: 64 << 10,
            streams_max: 128,
            requests_max: 2_048,
        }
    }
}

/// A listener at work.
pub struct Listening {
    pub addr: SocketAddr,
    stop: Arc<Notify>,
    task: JoinHandle<GracefulShutdown>,
}

impl Listening {
    /// Takes no new connections, finishes the requests under way, at most for `grace`.
    pub async fn stop(self, grace: Duration) {
        self.stop.notify_one();
        if let Ok(connections) = self.task.await
            && tokio::time::timeout(grace, connections.shutdown()).await.is_err()
        {
            tracing::warn!("requests were cut off: they took longer than the grace period");
        }
    }
}

pub(crate) async fn listen(gateway: Gateway, at: SocketAddr, tls: Option<Tls>) -> Result<Listening> {
    let listener = TcpListener::bind(at).await.map_err(|e| {
        Error::new(Kind::Unavailable, "AddressUnavailable", format!("Can't listen on {at}: {e}. Choose another with --listen."))
    })?;
    let addr = listener.local_addr().map_err(Error::internal)?;
    let stop = Arc::new(Notify::new());
    let task = tokio::spawn(accept(gateway, listener, tls, stop.clone()));
    Ok(Listening { addr, stop, task })
}

async fn accept(gateway: Gateway, listener: TcpListener, tls: Option<Tls>, stop: Arc<Notify>) -> GracefulShutdown {
    let graceful = GracefulShutdown::new();
    let limits = gateway.0.limits;
    let places = Arc::new(Semaphore::new(limits.connections_max));
    let requests = Arc::new(Semaphore::new(limits.requests_max));
    loop {
        let stream = tokio::select! {
            () = stop.notified() => return graceful,
            accepted = listener.accept() => match accepted {
                Ok((stream, peer)) => (stream, peer),
                Err(error) => {
                    // out of file handles, most likely: let some close
                    tracing::warn!(%error, "a connection could not be accepted");
                    tokio::time::sleep(Duration::from_millis(50)).await;
                    continue;
                }
            },
        };
        let Ok(place) = places.clone().try_acquire_owned() else {
            gateway.0.trust.stranger("edge", "TooManyConnections", Some(stream.1.ip()));
            continue;
        };
        let (gateway, tls, requests, watcher) = (gateway.clone(), tls.clone(), requests.clone(), graceful.watcher());
        tokio::spawn(async move {
            let _place = place;
            serve(gateway, stream.0, stream.1, tls, requests, watcher).await;
        });
    }
}

async fn serve(
    gateway: Gateway,
    stream: TcpStream,
    peer: SocketAddr,
    tls: Option<Tls>,
    requests: Arc<Semaphore>,
    watcher: hyper_util::server::graceful::Watcher,
) {
    let limits = gateway.0.limits;
    let _ = stream.set_nodelay(true);
    let inner = gateway.0.clone();
    let began = Arc::new(AtomicBool::new(false));
    let mark = began.clone();
    let service = service_fn(move |request| {
        let (inner, requests) = (inner.clone(), requests.clone());
        mark.store(true, Ordering::Relaxed);
        async move {
            // waits rather than refuses: the client's own time-out decides
            let turn = requests.acquire_owned().await.ok();
            Ok::<_, std::convert::Infallible>(answer::answer(inner, request, Some(peer.ip()), turn).await)
        }
    });
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
        .keep_alive_interval(Some(Duration::from_secs(limits.idle_s)))
        .initial_stream_window_size(1 << 20)
        .initial_connection_window_size(4 << 20);
    let silent = silence(&began, Duration::from_secs(limits.head_s));
    let served = match tls {
        None => {
            let connection = watcher.watch(builder.serve_connection(TokioIo::new(stream), service).into_owned());
            unless(silent, connection).await
        }
        Some(tls) => {
            let handshake = tokio::time::timeout(Duration::from_secs(limits.handshake_s), tls.0.accept(stream)).await;
            let Ok(Ok(stream)) = handshake else {
                gateway.0.trust.stranger("edge", "HandshakeFailed", Some(peer.ip()));
                return;
            };
            let connection = watcher.watch(builder.serve_connection(TokioIo::new(stream), service).into_owned());
            unless(silent, connection).await
        }
    };
    match served {
        None => gateway.0.trust.stranger("edge", "NoRequest", Some(peer.ip())),
        Some(Err(error)) => tracing::debug!(%error, "a connection ended badly"),
        Some(Ok(())) => {}
    }
}

/// Ends when no request began in time. From the first one on, the time-outs of heads and bodies do it.
async fn silence(began: &AtomicBool, time: Duration) {
    tokio::time::sleep(time).await;
    if began.load(Ordering::Relaxed) {
        std::future::pending::<()>().await;
    }
}

/// The connection's end; `None` where `silent` ends before it. Until the first head is complete nobody else keeps time:
/// hyper waits for ever for the bytes that tell HTTP/1 from HTTP/2, and places are few.
async fn unless<T>(silent: impl Future<Output = ()>, connection: impl Future<Output = T>) -> Option<T> {
    tokio::select! {
        ended = connection => Some(ended),
        () = silent => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_connection_without_a_request_ends_and_one_with_a_request_does_not() {
        for (began, answered) in [(false, Duration::MAX), (true, Duration::from_millis(20))] {
            let ended = unless(silence(&AtomicBool::new(began), Duration::ZERO), tokio::time::sleep(answered)).await;
            assert_eq!(ended.is_some(), began);
        }
    }
}
