//! A blob of 10 GiB, up in blocks and down in one stream, as the soak asks: it arrives as it left, and the region's memory
//! does not follow its size. `BLEU_LARGE_GIB` makes it another size.

use crate::process::{Http, Region, account, blob, blob_request};
use crate::soak;
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use bytes::Bytes;
use http_body_util::BodyExt;
use std::sync::Arc;

const BLOCK_BYTES: usize = 8 << 20;
const AT_ONCE: usize = 4;
const GIB: u64 = 10;
/// The most that the region's process ever held (VmHWM), whatever the size of the blob.
const RESIDENT_BYTES_MAX: u64 = 256 << 20;

/// Bytes of a block: a pattern that no other block has.
fn block(number: usize) -> Bytes {
    let mut bytes = vec![0; BLOCK_BYTES];
    for (at, word) in bytes.chunks_exact_mut(8).enumerate() {
        let mixed = ((number << 32 | at) as u64).wrapping_mul(0x9E37_79B9_7F4A_7C15);
        word.copy_from_slice(&mixed.to_le_bytes());
    }
    bytes.into()
}

/// Six digits have base64 without what a URL must encode.
fn id(number: usize) -> String {
    BASE64_STANDARD.encode(format!("{number:06}"))
}

/// The field of `/proc/PID/status`, in bytes.
fn resident(pid: u32, field: &str) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix(field)).unwrap_or_else(|| panic!("{field} in {status}"));
    line.trim_start_matches(':').trim().trim_end_matches(" kB").trim().parse::<u64>().unwrap() << 10
}

#[tokio::test(flavor = "multi_thread")]
async fn ten_gibibytes_go_up_and_down_in_little_memory() {
    if soak().is_none() {
        return;
    }
    let gib = std::env::var("BLEU_LARGE_GIB").map_or(GIB, |n| n.parse().unwrap());
    let blocks = (gib << 30) as usize / BLOCK_BYTES;
    let folder = tempfile::tempdir().unwrap();
    let region = Region::start(folder.path());
    let (base, pid) = (region.url(), region.process.id());
    let http = Http::new(&folder.path().join("data/ca.pem"));
    let key = Arc::new(account(&http, &base, folder.path(), &region.subscription()).await);
    let mut up = tokio::task::JoinSet::new();
    for writer in 0..AT_ONCE {
        let (http, base, key) = (http.clone(), base.clone(), key.clone());
        up.spawn(async move {
            for number in (writer..blocks).step_by(AT_ONCE) {
                let query = format!("blockid={}&comp=block", id(number));
                let (status, body) = blob(&http, &base, "PUT", "photos/large", &key, block(number), &query).await;
                assert_eq!(status, 201, "block {number}: {body:?}");
            }
        });
    }
    up.join_all().await;
    let list: String = (0..blocks).map(|number| format!("<Latest>{}</Latest>", id(number))).collect();
    let list = format!("<?xml version=\"1.0\" encoding=\"utf-8\"?><BlockList>{list}</BlockList>");
    let (status, body) = blob(&http, &base, "PUT", "photos/large", &key, list.into(), "comp=blocklist").await;
    assert_eq!(status, 201, "{body:?}");
    let after_upload = resident(pid, "VmHWM");

    let (url, headers) = blob_request(&base, "GET", "photos/large", &key, 0, "");
    let headers: Vec<(&str, &str)> = headers.iter().map(|(k, v)| (*k, v.as_str())).collect();
    let mut answer = http.open("GET", &url, &headers).await;
    assert_eq!(answer.status(), 200);
    let (mut number, mut at, mut expected) = (0, 0, block(0));
    while let Some(frame) = answer.body_mut().frame().await {
        let mut part = &frame.unwrap().into_data().unwrap()[..];
        while !part.is_empty() {
            let length = part.len().min(BLOCK_BYTES - at);
            assert!(part[..length] == expected[at..at + length], "block {number} is not what was sent");
            (part, at) = (&part[length..], at + length);
            if at == BLOCK_BYTES {
                (number, at, expected) = (number + 1, 0, block(number + 1));
            }
        }
    }
    assert_eq!((number, at), (blocks, 0), "all of it came");
    let peak = resident(pid, "VmHWM");
    println!("{gib} GiB: at most {} MiB resident after the upload, {} MiB after the download", after_upload >> 20, peak >> 20);
    assert!(peak <= RESIDENT_BYTES_MAX, "{} MiB were resident", peak >> 20);
}
