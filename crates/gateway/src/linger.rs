//! The rest of a body that nobody wanted. A request that is refused at its head is answered at once, yet most clients
//! look for an answer only when they have sent everything: a connection closed under them loses it, and they call the
//! refusal a broken line and try again. So what is left is taken and thrown away, within bounds (RFC 9112 section 9.6).

use futures::{Stream, StreamExt};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

/// The most that clients send in one request unasked, and a moment for it. The bytes go nowhere: no memory grows.
const BYTES_MAX: usize = 256 << 20;
/// For whoever has not said who it is: enough for a form or a small blob, and not worth sending for the traffic alone.
const STRANGER_BYTES_MAX: usize = 8 << 20;
const TIME_MAX: Duration = Duration::from_secs(30);

/// How much of a body is taken that nobody wanted: more once it is known who sends it.
#[derive(Clone, Default)]
pub(crate) struct Allowance(Arc<AtomicBool>);

impl Allowance {
    /// The caller is who it says.
    pub(crate) fn known(&self) {
        self.0.store(true, Ordering::Relaxed);
    }
    fn bytes_max(&self) -> usize {
        if self.0.load(Ordering::Relaxed) { BYTES_MAX } else { STRANGER_BYTES_MAX }
    }
}

/// A stream of a request's frames. Dropped before its end, it is read on in the background.
pub(crate) struct Lingering<S: Parts> {
    parts: Option<Pin<Box<S>>>,
    /// `None`: nothing is read on.
    lingers: Option<Allowance>,
}

/// What comes of a body; the size is of one part.
pub(crate) trait Parts: Stream + Send + 'static {
    /// `None`: it broke off.
    fn bytes(part: &Self::Item) -> Option<usize>;
}

impl<S, E> Parts for S
where
    S: Stream<Item = Result<http_body::Frame<bytes::Bytes>, E>> + Send + 'static,
{
    fn bytes(part: &Self::Item) -> Option<usize> {
        part.as_ref().ok().map(|frame| frame.data_ref().map_or(0, bytes::Bytes::len))
    }
}

impl<S: Parts> Lingering<S> {
    pub(crate) fn new(parts: S, lingers: Option<Allowance>) -> Self {
        Lingering { parts: Some(Box::pin(parts)), lingers }
    }
    /// The client is at fault: nothing more is taken of it.
    pub(crate) fn leave(&mut self) {
        self.parts = None;
    }
}

impl<S: Parts> Stream for Lingering<S> {
    type Item = S::Item;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<S::Item>> {
        let Some(parts) = &mut self.parts else { return Poll::Ready(None) };
        let polled = parts.as_mut().poll_next(context);
        if let Poll::Ready(part) = &polled
            && part.as_ref().and_then(S::bytes).is_none()
        {
            self.parts = None;
        }
        polled
    }
}

impl<S: Parts> Drop for Lingering<S> {
    fn drop(&mut self) {
        let (Some(mut parts), Some(allowance)) = (self.parts.take(), self.lingers.take()) else { return };
        let Ok(runtime) = tokio::runtime::Handle::try_current() else { return };
        runtime.spawn(tokio::time::timeout(TIME_MAX, async move {
            let mut left = allowance.bytes_max();
            while let Some(bytes) = parts.next().await.as_ref().and_then(S::bytes) {
                let Some(less) = left.checked_sub(bytes) else { return };
                left = less;
            }
        }));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::edge::{Limits, ResponseBody};
    use http::Response;
    use http_body_util::{BodyExt, BodyStream, Empty};
    use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};

    /// A server that refuses each request at its head.
    fn refusing(lingers: Option<Allowance>) -> DuplexStream {
        let (client, server) = tokio::io::duplex(64 << 10);
        let (stop, stopped) = tokio::sync::watch::channel(crate::connection::Stop::No);
        tokio::spawn(async move {
            let answer = move |request: http::Request<hyper::body::Incoming>| {
                drop(Lingering::new(BodyStream::new(request.into_body()), lingers.clone()));
                let body: ResponseBody = Empty::new().map_err(|never| match never {}).boxed_unsync();
                std::future::ready(Response::builder().status(409).body(body).unwrap())
            };
            crate::connection::serve(server, Limits::default(), stopped, answer).await;
            drop(stop);
        });
        client
    }

    /// Sends a whole body before it looks for the answer, as most clients do.
    async fn put(client: &mut DuplexStream, bytes: usize) -> Option<String> {
        let head = format!("PUT / HTTP/1.1\r\nhost: localhost\r\ncontent-length: {bytes}\r\n\r\n");
        client.write_all(head.as_bytes()).await.ok()?;
        let part = vec![0; 1 << 20];
        for _ in 0..bytes >> 20 {
            client.write_all(&part).await.ok()?;
        }
        let mut answer = Vec::new();
        while !answer.ends_with(b"\r\n\r\n") {
            if client.read_buf(&mut answer).await.ok()? == 0 {
                return None;
            }
        }
        Some(String::from_utf8(answer).unwrap())
    }

    #[tokio::test]
    async fn who_looks_for_an_answer_late_gets_it_on_a_line_that_lives_on() {
        let mut client = refusing(Some(Allowance::default()));
        for _ in 0..3 {
            assert!(put(&mut client, 8 << 20).await.is_some_and(|a| a.starts_with("HTTP/1.1 409")));
        }
        assert_eq!(put(&mut refusing(None), 8 << 20).await, None, "this test can fail");
    }

    #[tokio::test]
    async fn not_everything_is_taken() {
        let known = Allowance::default();
        known.known();
        for (allowance, bytes_max) in [(Allowance::default(), STRANGER_BYTES_MAX), (known, BYTES_MAX)] {
            assert!(put(&mut refusing(Some(allowance.clone())), bytes_max).await.is_some(), "{bytes_max}");
            assert_eq!(put(&mut refusing(Some(allowance)), 2 * bytes_max).await, None, "{bytes_max}");
        }
    }
}
