//! Connections: accepted within bounds, served, drained.

use crate::connection::{self, End, Stop};
use crate::places::{Full, Place, Turn};
use crate::{Gateway, Tls, answer};
use base::{Error, Kind, Result};
use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use http_body_util::combinators::UnsyncBoxBody;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
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
    /// Time without a request on a connection, and without enough bytes of body, either way.
    pub idle_s: u64,
    pub headers_max: usize,
    pub head_bytes_max: usize,
    /// Requests at once on one HTTP/2 connection.
    pub streams_max: u32,
    /// Requests at once, over all connections.
    pub requests_max: usize,
    /// What one peer may have of all connections and of all requests at once.
    pub peer_share_percent: u8,
    /// The same for this machine: more where a proxy here speaks for everybody.
    pub loopback_share_percent: u8,
}

impl Limits {
    /// The share of one peer in so many, at least one.
    pub(crate) fn share_of(&self, all: usize, loopback: bool) -> usize {
        let percent = if loopback { self.loopback_share_percent } else { self.peer_share_percent };
        (all * usize::from(percent.min(100)) / 100).max(1)
    }
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
            peer_share_percent: 25,
            loopback_share_percent: 25,
        }
    }
}

/// A listener at work.
pub struct Listening {
    pub addr: SocketAddr,
    /// Every connection holds a receiver: the last one that ends closes it.
    stop: watch::Sender<Stop>,
    task: JoinHandle<()>,
}

impl Listening {
    /// Takes no new connections and finishes the requests under way, at most for `grace`: then their connections end,
    /// and what was begun to be written is written to its end, for nobody.
    pub async fn stop(self, grace: Duration) {
        self.stop.send_replace(Stop::Finish);
        if self.task.await.is_ok() && tokio::time::timeout(grace, self.stop.closed()).await.is_err() {
            tracing::warn!("requests were cut off: they took longer than the grace period");
            self.stop.send_replace(Stop::Now);
            self.stop.closed().await;
        }
    }
}

pub(crate) async fn listen(gateway: Gateway, at: SocketAddr, tls: Option<Tls>) -> Result<Listening> {
    let listener = TcpListener::bind(at).await.map_err(|e| {
        Error::new(Kind::Unavailable, "AddressUnavailable", format!("Can't listen on {at}: {e}. Choose another with --listen."))
    })?;
    let addr = listener.local_addr().map_err(Error::internal)?;
    let (stop, stopped) = watch::channel(Stop::No);
    let task = tokio::spawn(accept(gateway, listener, tls, stopped));
    Ok(Listening { addr, stop, task })
}

async fn accept(gateway: Gateway, listener: TcpListener, tls: Option<Tls>, stop: watch::Receiver<Stop>) {
    let mut stopping = stop.clone();
    loop {
        let (stream, peer) = tokio::select! {
            () = connection::stopped(&mut stopping, Stop::Finish) => return,
            accepted = listener.accept() => match accepted {
                Ok(accepted) => accepted,
                Err(error) => {
                    // out of file handles, most likely: let some close
                    tracing::warn!(%error, "a connection could not be accepted");
                    tokio::time::sleep(Duration::from_millis(50)).await;
                    continue;
                }
            },
        };
        match gateway.0.places.take(peer.ip()) {
            Ok(place) => drop(tokio::spawn(serve(gateway.clone(), stream, peer, tls.clone(), place, stop.clone()))),
            Err(full) => gateway.0.trust.stranger("edge", full.reason(), Some(peer.ip())),
        }
    }
}

async fn serve(gateway: Gateway, stream: TcpStream, peer: SocketAddr, tls: Option<Tls>, place: Place, mut stop: watch::Receiver<Stop>) {
    let _ = stream.set_nodelay(true);
    let Some(tls) = tls else { return converse(gateway, stream, peer, place, stop).await };
    let handshake = tokio::select! {
        // nothing was asked yet: a stop does not wait for it
        () = connection::stopped(&mut stop, Stop::Finish) => return,
        handshake = tokio::time::timeout(Duration::from_secs(gateway.0.limits.handshake_s), tls.0.accept(stream)) => handshake,
    };
    match handshake {
        Ok(Ok(stream)) => converse(gateway, stream, peer, place, stop).await,
        _ => gateway.0.trust.stranger("edge", "HandshakeFailed", Some(peer.ip())),
    }
}

async fn converse<I>(gateway: Gateway, io: I, peer: SocketAddr, place: Place, stop: watch::Receiver<Stop>)
where
    I: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let (place, inner) = (Arc::new(place), gateway.0.clone());
    let answer = move |request| {
        let (place, inner) = (place.clone(), inner.clone());
        async move {
            match place.turn().await {
                Ok(turn) => {
                    let turn = Arc::new(turn);
                    let response = answer::answer(inner, request, Some(peer.ip()), Some(turn.clone())).await;
                    response.map(|body| Held { body, _turn: Some(turn) })
                }
                Err(full) => {
                    inner.trust.stranger("edge", refusal(full), Some(peer.ip()));
                    answer::busy().map(|body| Held { body, _turn: None })
                }
            }
        }
    };
    match connection::serve(io, gateway.0.limits, stop, answer).await {
        End::NoRequest => gateway.0.trust.stranger("edge", "NoRequest", Some(peer.ip())),
        End::SlowReader => gateway.0.trust.stranger("edge", "SlowReader", Some(peer.ip())),
        End::Served(Err(error)) => tracing::debug!(%error, "a connection ended badly"),
        End::Served(Ok(())) | End::CutOff => {}
    }
}

/// An answer whose request keeps its turn until the body has left: who takes answers slowly has not ended its requests.
struct Held {
    body: ResponseBody,
    _turn: Option<Arc<Turn>>,
}

impl Body for Held {
    type Data = Bytes;
    type Error = Box<dyn std::error::Error + Send + Sync>;

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

fn refusal(full: Full) -> &'static str {
    match full {
        Full::Region => "TooManyRequests",
        Full::Peer => "TooManyRequestsOfPeer",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::Response;
    use tokio::io::AsyncWriteExt;

    #[tokio::test(start_paused = true)]
    async fn a_stop_waits_for_its_grace_and_then_ends_what_is_left() {
        let (mut client, server) = tokio::io::duplex(64 << 10);
        let (stop, stopped) = watch::channel(Stop::No);
        let never = |_| std::future::pending::<Response<ResponseBody>>();
        let connection = tokio::spawn(connection::serve(server, Limits::default(), stopped, never));
        client.write_all(b"GET / HTTP/1.1\r\nhost: localhost\r\n\r\n").await.unwrap();
        tokio::time::sleep(Duration::from_secs(1)).await;
        let began = tokio::time::Instant::now();
        let listening = Listening { addr: SocketAddr::from(([127, 0, 0, 1], 1)), stop, task: tokio::spawn(async {}) };
        listening.stop(Duration::from_secs(30)).await;
        assert!((30..32).contains(&began.elapsed().as_secs()), "{:?}", began.elapsed());
        assert!(connection.is_finished(), "it is cut off");
        assert!(matches!(connection.await.unwrap(), End::CutOff));
    }
}
