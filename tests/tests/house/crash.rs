//! The real binary: 500 acknowledged PUTs over TLS, SIGKILL at once, restart: all are there and right, the record is
//! consistent, and the auditor is content.

use crate::load::{bytes_of, killed_under_load};
use crate::process::{Http, Region, account, bleu, blob, blob_request};
use crate::soak;
use bytes::Bytes;
use http_body_util::BodyExt;
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

const PUTS: usize = 500;
const WRITERS: usize = 16;

#[tokio::test(flavor = "multi_thread")]
async fn five_hundred_acknowledged_puts_outlive_a_kill() {
    let folder = tempfile::tempdir().unwrap();
    let region = Region::start(folder.path());
    let (base, subscription) = (region.url(), region.subscription());
    let http = Http::new(&folder.path().join("data/ca.pem"));
    let key = Arc::new(account(&http, &base, folder.path(), &subscription).await);
    let mut writers = Vec::new();
    for writer in 0..WRITERS {
        let (http, base, key) = (http.clone(), base.clone(), key.clone());
        writers.push(tokio::spawn(async move {
            for number in (writer..PUTS).step_by(WRITERS) {
                let (status, body) = blob(&http, &base, "PUT", &format!("photos/blob-{number}"), &key, bytes_of(number), "").await;
                assert_eq!(status, 201, "{body:?}");
            }
        }));
    }
    for writer in writers {
        writer.await.unwrap();
    }
    region.kill();
    let region = Region::start(folder.path());
    let base = region.url();
    let http = Http::new(&folder.path().join("data/ca.pem"));
    let mut missing = 0;
    for number in 0..PUTS {
        let (status, body) = blob(&http, &base, "GET", &format!("photos/blob-{number}"), &key, Bytes::new(), "").await;
        missing += u32::from(status != 200 || body != bytes_of(number));
    }
    assert_eq!(missing, 0, "of {PUTS} acknowledged");
    let (ok, said) = bleu(folder.path(), &["record", "export", "--data", "data", "--out", "bundle"]);
    assert!(ok, "{said}");
    let (ok, said) = bleu(folder.path(), &["record", "trust", "--data", "data", "--out", "trust"]);
    assert!(ok, "{said}");
    let (ok, said) = bleu(folder.path(), &["verify", "bundle", "--trust", "trust"]);
    assert!(ok && said.contains("Put Blob, account key key1: done 500"), "{said}");
    // one byte of the bundle, and it is not true any more
    let mut bundle = std::fs::read(folder.path().join("bundle")).unwrap();
    let at = bundle.len() / 2;
    bundle[at] ^= 1;
    std::fs::write(folder.path().join("bundle"), bundle).unwrap();
    let (ok, said) = bleu(folder.path(), &["verify", "bundle", "--trust", "trust"]);
    assert!(!ok && said.contains("NOT TRUE"), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn kills_in_the_middle_of_writes_lose_nothing() {
    killed_under_load(&[], if soak().is_some() { 40 } else { 2 }).await;
}

/// SIGTERM in the middle of an answer: nobody new is heard, all of the answer still comes, and the region ends well.
#[tokio::test(flavor = "multi_thread")]
async fn a_stop_finishes_the_answers_under_way() {
    const LENGTH: usize = 48 << 20; // more than sockets hold
    let folder = tempfile::tempdir().unwrap();
    let mut region = Region::start(folder.path());
    let (base, subscription) = (region.url(), region.subscription());
    let ca = folder.path().join("data/ca.pem");
    let http = Http::new(&ca);
    let key = account(&http, &base, folder.path(), &subscription).await;
    let (status, body) = blob(&http, &base, "PUT", "photos/large", &key, vec![7; LENGTH].into(), "").await;
    assert_eq!(status, 201, "{body:?}");
    let (url, headers) = blob_request(&base, "GET", "photos/large", &key, 0, "");
    let headers: Vec<(&str, &str)> = headers.iter().map(|(k, v)| (*k, v.as_str())).collect();
    let mut answer = http.open("GET", &url, &headers).await;
    assert_eq!(answer.status(), 200);
    let mut got = answer.body_mut().frame().await.unwrap().unwrap().into_data().unwrap().len();
    assert!(Command::new("kill").args(["-TERM", &region.process.id().to_string()]).status().unwrap().success());
    let document = format!("{base}/metadata/endpoints?api-version=2022-09-01");
    let deaf = async { while Http::new(&ca).try_call("GET", &document, &[], "").await.is_ok() {} };
    tokio::time::timeout(Duration::from_secs(20), deaf).await.expect("it hears nobody new");
    // whoever reads slowly has time: the region waits, and so do we, to see that it does
    for _ in 0..20 {
        assert!(region.process.try_wait().unwrap().is_none(), "it ended with an answer under way");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    while let Some(frame) = answer.body_mut().frame().await {
        got += frame.expect("the rest of it comes").into_data().unwrap().len();
    }
    assert_eq!(got, LENGTH);
    drop((answer, http));
    assert!(region.process.wait().unwrap().success(), "{}", region.said());
}
