//! Clients that hold on to a connection, over a pipe in memory and a clock that the test moves.

use super::*;
use crate::edge::ResponseBody;
use http_body_util::{BodyExt, Empty, Full, StreamBody};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};
use tokio::task::JoinHandle;

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const GOAWAY: u8 = 7;
const CONTINUATION: u8 = 9;

fn ok(body: ResponseBody) -> Response<ResponseBody> {
    Response::new(body)
}
fn hello() -> Response<ResponseBody> {
    ok(Full::new(Bytes::from_static(b"hello")).map_err(|never| match never {}).boxed_unsync())
}
/// More than any buffer on the way takes.
fn endless() -> Response<ResponseBody> {
    let parts = futures::stream::repeat_with(|| Ok(Frame::data(Bytes::from(vec![0; 64 << 10]))));
    ok(StreamBody::new(parts).boxed_unsync())
}

struct Served {
    client: DuplexStream,
    end: JoinHandle<End>,
    begun: Arc<AtomicUsize>,
    _stop: watch::Sender<Stop>,
}

fn serve_with(answer: fn() -> Response<ResponseBody>) -> Served {
    let (client, server) = tokio::io::duplex(64 << 10);
    let (stop, stopped) = watch::channel(Stop::No);
    let begun = Arc::new(AtomicUsize::new(0));
    let count = begun.clone();
    let end = tokio::spawn(serve(server, Limits::default(), stopped, move |_| {
        count.fetch_add(1, Ordering::Relaxed);
        async move { answer() }
    }));
    Served { client, end, begun, _stop: stop }
}

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let mut frame = (payload.len() as u32).to_be_bytes()[1..].to_vec();
    frame.extend([kind, flags]);
    frame.extend(stream.to_be_bytes());
    frame.extend_from_slice(payload);
    frame
}

/// `GET https://localhost/` with indexed and literal fields (RFC 7541), no Huffman code.
fn get() -> Vec<u8> {
    let mut block = vec![0x82, 0x87, 0x84, 0x41, 9];
    block.extend_from_slice(b"localhost");
    block
}

/// Reads frames until there is one of this kind, or the end.
async fn read_until(client: &mut DuplexStream, kind: u8) -> Option<Vec<u8>> {
    loop {
        let mut head = [0; 9];
        client.read_exact(&mut head).await.ok()?;
        let mut payload = vec![0; u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize];
        client.read_exact(&mut payload).await.ok()?;
        match (head[3], head[4]) {
            (SETTINGS, 0) => client.write_all(&frame(SETTINGS, 1, 0, b"")).await.ok()?,
            // whoever only plays along answers pings
            (PING, 0) => client.write_all(&frame(PING, 1, 0, &payload)).await.ok()?,
            _ => {}
        }
        if head[3] == kind {
            return Some(payload);
        }
    }
}

/// The error code of the GOAWAY, and the seconds until the connection is gone.
async fn gone(mut served: Served, began: Instant) -> (Option<u32>, u64) {
    let code = read_until(&mut served.client, GOAWAY).await.map(|p| u32::from_be_bytes([p[4], p[5], p[6], p[7]]));
    while read_until(&mut served.client, GOAWAY).await.is_some() {}
    let _ = served.end.await.unwrap();
    (code, began.elapsed().as_secs())
}

#[tokio::test(start_paused = true)]
async fn pings_alone_keep_no_place() {
    let began = Instant::now();
    let mut served = serve_with(hello);
    served.client.write_all(&[PREFACE, &frame(SETTINGS, 0, 0, b"")].concat()).await.unwrap();
    served.client.write_all(&frame(HEADERS, 5, 1, &get())).await.unwrap();
    read_until(&mut served.client, 0).await.expect("an answer");
    assert_eq!(served.begun.load(Ordering::Relaxed), 1);
    let (mut reader, mut writer) = tokio::io::split(served.client);
    let pings = tokio::spawn(async move {
        while writer.write_all(&frame(PING, 0, 0, b"pingping")).await.is_ok() {
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
    });
    let drain = async move { while reader.read_u8().await.is_ok() {} };
    drain.await;
    pings.await.unwrap();
    let idle = Limits::default().idle_s;
    assert!((idle..=3 * idle).contains(&began.elapsed().as_secs()), "{:?}", began.elapsed());
    assert!(matches!(served.end.await.unwrap(), End::Served(_)));
}

#[tokio::test(start_paused = true)]
async fn pings_before_any_request_keep_no_place() {
    let began = Instant::now();
    let mut served = serve_with(hello);
    served.client.write_all(&[PREFACE, &frame(SETTINGS, 0, 0, b"")].concat()).await.unwrap();
    while served.client.write_all(&frame(PING, 0, 0, b"pingping")).await.is_ok() {
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    assert!(matches!(served.end.await.unwrap(), End::NoRequest));
    assert!((15..25).contains(&began.elapsed().as_secs()), "{:?}", began.elapsed());
}

#[tokio::test(start_paused = true)]
async fn a_connection_in_use_is_kept_and_one_left_alone_is_not() {
    for head in [&b"GET / HTTP/1.1\r\nhost: localhost\r\n\r\n"[..], b""] {
        let mut served = serve_with(hello);
        let began = Instant::now();
        for _ in 0..if head.is_empty() { 0 } else { 30 } {
            served.client.write_all(head).await.unwrap();
            let mut answer = Vec::new();
            while !answer.ends_with(b"hello") {
                served.client.read_buf(&mut answer).await.unwrap();
            }
            assert!(answer.starts_with(b"HTTP/1.1 200"));
            tokio::time::sleep(Duration::from_secs(10)).await;
        }
        let kept = began.elapsed().as_secs();
        let mut rest = Vec::new();
        served.client.read_to_end(&mut rest).await.unwrap();
        let ended = served.end.await.unwrap();
        assert_eq!(matches!(ended, End::NoRequest), head.is_empty(), "{ended:?}");
        assert!(began.elapsed().as_secs() - kept <= 61, "{:?}", began.elapsed());
    }
}

#[tokio::test(start_paused = true)]
async fn who_does_not_take_an_answer_loses_the_connection() {
    for head in [
        "GET / HTTP/1.1\r\nhost: localhost\r\n\r\n".as_bytes().to_vec(),
        [PREFACE, &frame(SETTINGS, 0, 0, b""), &frame(HEADERS, 5, 1, &get())].concat(),
    ] {
        let began = Instant::now();
        let mut served = serve_with(endless);
        served.client.write_all(&head).await.unwrap();
        let mut byte = [0];
        let end = loop {
            // a byte now and then
            tokio::select! {
                ended = &mut served.end => break ended.unwrap(),
                _ = tokio::time::sleep(Duration::from_secs(5)) => drop(served.client.read(&mut byte).await),
            }
        };
        assert!(matches!(end, End::SlowReader | End::Served(Err(_))), "{end:?}");
        assert!(began.elapsed().as_secs() < 180, "{:?}", began.elapsed());
    }
}

#[tokio::test(start_paused = true)]
async fn a_request_that_goes_on_does_not_hide_answers_that_are_not_taken() {
    let (mut client, server) = tokio::io::duplex(64 << 10);
    let (_stop, stopped) = watch::channel(Stop::No);
    let began = Instant::now();
    // the first never ends, as an upload that drips; the second is not taken
    let first = Arc::new(AtomicBool::new(true));
    let end = tokio::spawn(serve(server, Limits::default(), stopped, move |_| {
        let first = first.swap(false, Ordering::Relaxed);
        async move { if first { std::future::pending().await } else { endless() } }
    }));
    let asked = [PREFACE, &frame(SETTINGS, 0, 0, b""), &frame(HEADERS, 5, 1, &get()), &frame(HEADERS, 5, 3, &get())].concat();
    client.write_all(&asked).await.unwrap();
    // answers pings, takes what comes, and opens no window for more
    let playing_along = tokio::spawn(async move { while read_until(&mut client, PING).await.is_some() {} });
    let end = tokio::time::timeout(Duration::from_secs(300), end).await.expect("it is judged").unwrap();
    assert!(matches!(end, End::SlowReader), "{end:?}");
    assert!(began.elapsed().as_secs() < 180, "{:?}", began.elapsed());
    playing_along.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn who_takes_an_answer_slowly_but_steadily_gets_it() {
    let mut served = serve_with(endless);
    served.client.write_all(b"GET / HTTP/1.1\r\nhost: localhost\r\n\r\n").await.unwrap();
    let mut part = vec![0; 16 << 10];
    for _ in 0..100 {
        tokio::time::sleep(Duration::from_secs(5)).await;
        served.client.read_exact(&mut part).await.unwrap();
    }
    assert!(!served.end.is_finished());
}

#[tokio::test(start_paused = true)]
async fn streams_at_once_are_bounded() {
    let never = || ok(StreamBody::new(futures::stream::pending()).boxed_unsync());
    let mut served = serve_with(never);
    served.client.write_all(&[PREFACE, &frame(SETTINGS, 0, 0, b"")].concat()).await.unwrap();
    let announced = read_until(&mut served.client, SETTINGS).await.unwrap();
    let max = announced.chunks(6).find(|s| s[..2] == [0, 3]).map(|s| u32::from_be_bytes([s[2], s[3], s[4], s[5]]));
    assert_eq!(max, Some(128));
    for stream in 0..160 {
        served.client.write_all(&frame(HEADERS, 5, 2 * stream + 1, &get())).await.unwrap();
    }
    let refused = read_until(&mut served.client, RST_STREAM).await.expect("what is too much is reset");
    assert_eq!(refused, [0, 0, 0, 7], "REFUSED_STREAM");
    assert_eq!(served.begun.load(Ordering::Relaxed), 128);
}

#[tokio::test(start_paused = true)]
async fn a_flood_of_resets_ends_the_connection() {
    let began = Instant::now();
    let mut served = serve_with(hello);
    served.client.write_all(&[PREFACE, &frame(SETTINGS, 0, 0, b"")].concat()).await.unwrap();
    let mut flood = Vec::new();
    for stream in 0..20_000 {
        flood.extend(frame(HEADERS, 5, 2 * stream + 1, &get()));
        flood.extend(frame(RST_STREAM, 0, 2 * stream + 1, &[0, 0, 0, 8]));
    }
    let (reader, mut writer) = tokio::io::split(served.client);
    let sending = tokio::spawn(async move { writer.write_all(&flood).await });
    let client = reader;
    let mut all = Vec::new();
    let mut client = client;
    let _ = client.read_to_end(&mut all).await;
    assert!(sending.await.unwrap().is_err(), "the whole flood was taken");
    let begun = served.begun.load(Ordering::Relaxed);
    assert!(begun < 2_000, "{begun} requests of a flood were begun");
    assert!(began.elapsed().as_secs() < 5);
    // ENHANCE_YOUR_CALM
    assert!(all.windows(4).any(|w| w == [0, 0, 0, 11]));
}

#[tokio::test(start_paused = true)]
async fn a_head_without_end_is_refused() {
    let began = Instant::now();
    let mut served = serve_with(hello);
    served.client.write_all(&[PREFACE, &frame(SETTINGS, 0, 0, b"")].concat()).await.unwrap();
    served.client.write_all(&frame(HEADERS, 1, 1, &get())).await.unwrap();
    let mut sent = 0;
    for _ in 0..10_000 {
        // fields of one byte, more and more of them
        if served.client.write_all(&frame(CONTINUATION, 0, 1, &[0x82; 64])).await.is_err() {
            break;
        }
        sent += 1;
        tokio::task::yield_now().await;
    }
    assert!(sent < 10_000, "a head without end was taken");
    let (begun, (_, took)) = (served.begun.load(Ordering::Relaxed), gone(served, began).await);
    assert_eq!(begun, 0);
    assert!(took < 30);
}

#[tokio::test(start_paused = true)]
async fn a_head_too_large_is_refused() {
    for (name, count, size) in [("large", 1, 100 << 10), ("many", 200, 10)] {
        let mut served = serve_with(hello);
        let fields: String = (0..count).map(|i| format!("x-{name}-{i}: {}\r\n", "v".repeat(size))).collect();
        let head = format!("GET / HTTP/1.1\r\nhost: localhost\r\n{fields}\r\n");
        let _ = served.client.write_all(head.as_bytes()).await;
        let mut answer = String::new();
        let _ = served.client.read_to_string(&mut answer).await;
        assert!(answer.starts_with("HTTP/1.1 431"), "{name}: {answer}");
        assert_eq!(served.begun.load(Ordering::Relaxed), 0);
    }
}

#[tokio::test(start_paused = true)]
async fn a_stop_finishes_what_is_under_way() {
    let (mut client, server) = tokio::io::duplex(64 << 10);
    let (stop, stopped) = watch::channel(Stop::No);
    let end = tokio::spawn(serve(server, Limits::default(), stopped, |_| async {
        tokio::time::sleep(Duration::from_secs(5)).await;
        ok(Empty::new().map_err(|never| match never {}).boxed_unsync())
    }));
    client.write_all(b"GET / HTTP/1.1\r\nhost: localhost\r\n\r\n").await.unwrap();
    tokio::time::sleep(Duration::from_secs(1)).await;
    stop.send_replace(Stop::Finish);
    let mut answer = String::new();
    client.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    assert!(matches!(end.await.unwrap(), End::Served(Ok(()))));
    stop.closed().await;
}
