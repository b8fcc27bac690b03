//! Whole blobs.

use crate::world::{HOST, World};
use base64::prelude::*;

#[tokio::test]
async fn a_blob_is_put_got_described_and_deleted() {
    let w = World::new(1).await;
    w.container("con").await;
    let headers = [
        ("x-ms-blob-type", "BlockBlob"),
        ("content-type", "text/plain"),
        ("x-ms-blob-cache-control", "no-cache"),
        ("x-ms-meta-who", "Anna"),
        ("x-ms-access-tier", "Cool"),
    ];
    let put = w.call("PUT", "/con/hello.txt", &headers, "hello").await;
    assert_eq!(put.status, 201, "{}", put.text());
    assert_eq!(put.header("content-md5"), BASE64_STANDARD.encode(crypto::md5(b"hello")));
    assert_eq!(put.header("x-ms-request-server-encrypted"), "true");
    assert_eq!(put.header("x-ms-version"), "2026-04-06");
    assert!(put.header("etag").starts_with("\"0x8D"), "{}", put.header("etag"));
    assert!(!put.header("x-bleu-entry").is_empty(), "a write has its entry before its answer");
    let got = w.get("/con/hello.txt").await;
    assert_eq!((got.status, got.text()), (200, "hello"));
    for (name, value) in [
        ("etag", put.header("etag")),
        ("last-modified", put.header("last-modified")),
        ("content-type", "text/plain"),
        ("cache-control", "no-cache"),
        ("content-md5", put.header("content-md5")),
        ("x-ms-meta-who", "Anna"),
        ("x-ms-blob-type", "BlockBlob"),
        ("x-ms-server-encrypted", "true"),
        ("accept-ranges", "bytes"),
    ] {
        assert_eq!(got.header(name), value, "{name}");
    }
    let head = w.call("HEAD", "/con/hello.txt", &[], "").await;
    assert_eq!((head.status, head.header("content-length"), head.header("x-ms-access-tier")), (200, "5", "Cool"));
    assert!(head.body.is_empty());
    let deleted = w.call("DELETE", "/con/hello.txt", &[], "").await;
    assert_eq!((deleted.status, deleted.header("x-ms-delete-type-permanent")), (202, "true"));
    assert_eq!(w.code("GET", "/con/hello.txt", &[], "").await, (404, "BlobNotFound".into()));
    let head = w.call("HEAD", "/con/hello.txt", &[], "").await;
    assert_eq!((head.status, head.header("x-ms-error-code"), head.body.len()), (404, "BlobNotFound", 0));
    assert_eq!(w.code("DELETE", "/con/hello.txt", &[], "").await, (404, "BlobNotFound".into()));
    w.audited().await;
}

#[tokio::test]
async fn ranges_come_back_exactly() {
    let w = World::new(2).await;
    w.container("con").await;
    let bytes: Vec<u8> = (0..9_500_000u32).map(|i| (i * 31 + i / 251) as u8).collect();
    w.put("/con/big", bytes.clone()).await;
    assert!(w.get("/con/big").await.body == bytes);
    for (range, from, to) in [
        ("bytes=0-0", 0, 1),
        ("bytes=4194300-4194310", 4_194_300, 4_194_311),
        ("bytes=9499990-99999999", 9_499_990, 9_500_000),
        ("bytes=9000000-", 9_000_000, 9_500_000),
    ] {
        let got = w.call("GET", "/con/big", &[("x-ms-range", range), ("range", "bytes=1-2")], "").await;
        assert_eq!(got.status, 206);
        assert!(got.body == bytes[from..to], "{range}");
        assert_eq!(got.header("content-range"), format!("bytes {from}-{}/9500000", to - 1));
        assert_eq!(got.header("content-md5"), "");
        assert_eq!(got.header("x-ms-blob-content-md5"), BASE64_STANDARD.encode(crypto::md5(&bytes)));
    }
    let digest = w.call("GET", "/con/big", &[("range", "bytes=5-1000004"), ("x-ms-range-get-content-md5", "true")], "").await;
    assert_eq!(digest.header("content-md5"), BASE64_STANDARD.encode(crypto::md5(&bytes[5..1_000_005])));
    let digest = w.call("GET", "/con/big", &[("range", "bytes=5-1000004"), ("x-ms-range-get-content-crc64", "true")], "").await;
    assert_eq!(digest.header("x-ms-content-crc64"), BASE64_STANDARD.encode(crypto::Crc64Nvme::of(&bytes[5..1_000_005]).to_le_bytes()));
    for (headers, status, code) in [
        (vec![("x-ms-range", "bytes=9500000-")], 416, "InvalidRange"),
        (vec![("x-ms-range", "bytes=a-")], 400, "InvalidHeaderValue"),
        (vec![("x-ms-range-get-content-md5", "true")], 400, "MissingRequiredHeader"),
        (vec![("x-ms-range-get-content-md5", "true"), ("x-ms-range", "bytes=0-4194304")], 400, "OutOfRangeInput"),
    ] {
        assert_eq!(w.code("GET", "/con/big", &headers, "").await, (status, code.into()), "{headers:?}");
    }
    w.put("/con/empty", "").await;
    assert_eq!(w.get("/con/empty").await.status, 200);
    assert_eq!(w.code("GET", "/con/empty", &[("x-ms-range", "bytes=0-")], "").await, (416, "InvalidRange".into()));
    w.audited().await;
}

#[tokio::test]
async fn digests_are_held_against_the_body() {
    let w = World::new(3).await;
    w.container("con").await;
    let block = ("x-ms-blob-type", "BlockBlob");
    let (md5, crc) = (BASE64_STANDARD.encode(crypto::md5(b"hello")), BASE64_STANDARD.encode(crypto::Crc64Nvme::of(b"hello").to_le_bytes()));
    for header in [("content-md5", md5.as_str()), ("x-ms-content-crc64", &crc), ("x-ms-blob-content-md5", &md5)] {
        assert_eq!(w.code("PUT", "/con/b", &[block, header], "hello").await.0, 201, "{header:?}");
    }
    for (header, code) in [
        (("content-md5", md5.as_str()), "Md5Mismatch"),
        (("x-ms-content-crc64", &crc), "Crc64Mismatch"),
        (("x-ms-blob-content-md5", &md5), "Md5Mismatch"),
        (("content-md5", "AAAA"), "InvalidMd5"),
    ] {
        assert_eq!(w.code("PUT", "/con/b", &[block, header], "hellO").await, (400, code.into()), "{header:?}");
    }
    assert_eq!(w.get("/con/b").await.text(), "hello");
}

#[tokio::test]
async fn conditions_guard_reads_and_writes() {
    let w = World::new(4).await;
    w.container("con").await;
    let block = ("x-ms-blob-type", "BlockBlob");
    assert_eq!(w.code("PUT", "/con/b", &[block, ("if-match", "*")], "0").await, (412, "ConditionNotMet".into()));
    assert_eq!(w.code("PUT", "/con/b", &[block, ("if-none-match", "*")], "1").await.0, 201);
    assert_eq!(w.code("PUT", "/con/b", &[block, ("if-none-match", "*")], "2").await, (409, "BlobAlreadyExists".into()));
    let first = w.get("/con/b").await.header("etag").to_owned();
    assert_eq!(w.code("PUT", "/con/b", &[block, ("if-match", &first)], "3").await.0, 201);
    for method in ["PUT", "DELETE"] {
        assert_eq!(w.code(method, "/con/b", &[block, ("if-match", &first)], "4").await, (412, "ConditionNotMet".into()), "{method}");
    }
    let now = w.get("/con/b").await;
    assert_eq!(now.text(), "3");
    let unmodified = w.call("GET", "/con/b", &[("if-none-match", now.header("etag"))], "").await;
    assert_eq!((unmodified.status, unmodified.body.len(), unmodified.header("x-ms-error-code")), (304, 0, "ConditionNotMet"));
    assert_eq!(w.code("GET", "/con/b", &[("if-modified-since", now.header("last-modified"))], "").await.0, 304);
    assert_eq!(w.code("PUT", "/con/b?comp=metadata", &[("if-match", &first)], "").await.0, 412);
    assert_eq!(w.code("GET", "/con/b", &[("if-match", "\"0x1\"")], "").await.0, 412);
    assert_eq!(w.code("GET", "/con/b", &[("if-modified-since", "now")], "").await, (400, "InvalidHeaderValue".into()));
}

#[tokio::test]
async fn properties_and_metadata_are_replaced_whole() {
    let w = World::new(5).await;
    w.container("con").await;
    w.put("/con/b", "x").await;
    let before = w.get("/con/b").await;
    w.kit.clock.advance_seconds(5);
    let set = w.call("PUT", "/con/b?comp=metadata", &[("x-ms-meta-a", "1"), ("x-ms-meta-b_c", "2")], "").await;
    assert_eq!(set.status, 200, "{}", set.text());
    assert_ne!(set.header("etag"), before.header("etag"));
    let got = w.call("GET", "/con/b?comp=metadata", &[], "").await;
    assert_eq!((got.header("x-ms-meta-a"), got.header("x-ms-meta-b_c")), ("1", "2"));
    w.call("PUT", "/con/b?comp=metadata", &[], "").await;
    assert_eq!(w.call("HEAD", "/con/b", &[], "").await.header("x-ms-meta-a"), "");
    w.call("PUT", "/con/b?comp=properties", &[("x-ms-blob-content-type", "a/b"), ("x-ms-blob-content-language", "fr")], "").await;
    w.call("PUT", "/con/b?comp=properties", &[("x-ms-blob-content-type", "c/d")], "").await;
    let got = w.get("/con/b").await;
    assert_eq!((got.header("content-type"), got.header("content-language"), got.header("content-md5")), ("c/d", "", ""));
    assert_eq!(w.code("PUT", "/con/b?comp=tier", &[("x-ms-access-tier", "Cold")], "").await.0, 200);
    assert_eq!(w.call("HEAD", "/con/b", &[], "").await.header("x-ms-access-tier"), "Cold");
    assert_eq!(w.code("PUT", "/con/b?comp=tier", &[("x-ms-access-tier", "P10")], "").await, (400, "InvalidHeaderValue".into()));
    assert_eq!(w.code("PUT", "/con/b?comp=tier", &[("x-ms-access-tier", "Archive")], "").await, (501, "NotImplemented".into()));
    assert_eq!(w.call("HEAD", "/con/b", &[], "").await.header("x-ms-access-tier"), "Cold");
    for path in ["/con/none?comp=metadata", "/con/none?comp=properties"] {
        assert_eq!(w.code("PUT", path, &[], "").await, (404, "BlobNotFound".into()));
    }
}

#[tokio::test]
async fn names_are_kept_as_sent() {
    let w = World::new(6).await;
    w.container("con").await;
    let names = [
        "/con/a%20b",
        "/con/%C3%A9/%E2%98%83",
        "/con/a//b/",
        "/con/a%2Fb",
        "/con/x%25y",
        "/con/q%3Fr",
        "/con/plus+plus",
        "/con/dots/../up",
        "/con/case",
        "/con/Case",
        "/con/%C3%89/%E2%98%83",
    ];
    for (number, name) in names.iter().enumerate() {
        w.put(name, number.to_string()).await;
    }
    for (number, name) in names.iter().enumerate() {
        assert_eq!(w.get(name).await.text(), number.to_string(), "{name}");
    }
    let long = format!("/con/{}", "%C3%A9".repeat(1024));
    w.put(&long, "long").await;
    assert_eq!(w.get(&long).await.text(), "long");
    assert_eq!(
        w.code("PUT", &format!("/con/{}", "a".repeat(1025)), &[("x-ms-blob-type", "BlockBlob")], "").await,
        (400, "InvalidUri".into())
    );
}

#[tokio::test]
async fn path_style_is_the_same_account() {
    let w = World::new(7).await;
    w.container("con").await;
    w.put("/con/b", "x").await;
    for base in ["https://localhost/acct", "https://127.0.0.1/acct"] {
        assert_eq!(w.call_at(base, "GET", "/con/b", &[], "").await.text(), "x");
        let list = w.call_at(base, "GET", "/con?restype=container&comp=list", &[], "").await;
        assert!(list.text().contains(&format!("ServiceEndpoint=\"{base}\"")), "{}", list.text());
    }
    assert!(w.get("/con?restype=container&comp=list").await.text().contains(&format!("ServiceEndpoint=\"{HOST}/\"")));
}

#[tokio::test]
async fn a_container_made_anew_starts_empty() {
    let w = World::new(8).await;
    w.container("con").await;
    w.put("/con/b", vec![7; 100_000]).await;
    w.call("PUT", "/con/c?comp=block&blockid=AAAA", &[], "block").await;
    assert_eq!(w.code("PUT", "/con?restype=container", &[], "").await, (409, "ContainerAlreadyExists".into()));
    assert_eq!(w.code("DELETE", "/con?restype=container", &[], "").await.0, 202);
    assert_eq!(w.code("GET", "/con/b", &[], "").await, (404, "ContainerNotFound".into()));
    assert_eq!(w.code("PUT", "/con/b", &[("x-ms-blob-type", "BlockBlob")], "x").await, (404, "ContainerNotFound".into()));
    w.container("con").await;
    assert_eq!(w.code("GET", "/con/b", &[], "").await, (404, "BlobNotFound".into()));
    w.put("/con/new", "new").await;
    let near = w.kit.region("storage");
    assert_eq!(storage::sweep(&near).await.unwrap(), 2, "the old blob and the old block");
    assert_eq!(storage::sweep(&near).await.unwrap(), 0);
    assert_eq!(w.get("/con/new").await.text(), "new");
    w.audited().await;
}

#[tokio::test]
async fn container_metadata_and_properties() {
    let w = World::new(9).await;
    let made = w.call("PUT", "/con?restype=container", &[("x-ms-meta-k", "v")], "").await;
    assert_eq!(made.status, 201);
    let got = w.call("HEAD", "/con?restype=container", &[], "").await;
    assert_eq!((got.status, got.header("x-ms-meta-k"), got.header("etag")), (200, "v", made.header("etag")));
    assert_eq!(w.code("PUT", "/con?restype=container&comp=metadata", &[("x-ms-meta-k", "w")], "").await.0, 200);
    assert_eq!(w.get("/con?restype=container&comp=metadata").await.header("x-ms-meta-k"), "w");
    let acl = w.get("/con?restype=container&comp=acl").await;
    assert!(acl.text().ends_with("<SignedIdentifiers/>") && acl.header("x-ms-blob-public-access").is_empty());
    assert_eq!(w.code("PUT", "/con?restype=container&comp=acl", &[], "<SignedIdentifiers/>").await.0, 200);
    assert_eq!(
        w.code("PUT", "/con?restype=container&comp=acl", &[("x-ms-blob-public-access", "blob")], "").await,
        (501, "NotImplemented".into())
    );
    let old = made.header("etag");
    for (method, query) in [("PUT", "&comp=metadata"), ("DELETE", "")] {
        let path = format!("/con?restype=container{query}");
        assert_eq!(w.code(method, &path, &[("if-match", old)], "").await, (412, "ConditionNotMet".into()), "{method} {path}");
        let before = (w.kit.now().plus_seconds(-60)).http_date();
        assert_eq!(
            w.code(method, &path, &[("if-unmodified-since", &before)], "").await,
            (412, "ConditionNotMet".into()),
            "{method} {path}"
        );
    }
    assert_eq!(w.get("/con?restype=container").await.header("x-ms-meta-k"), "w");
    assert_eq!(w.code("PUT", "/Con?restype=container", &[], "").await, (400, "InvalidResourceName".into()));
    assert_eq!(w.code("GET", "/nothere?restype=container", &[], "").await, (404, "ContainerNotFound".into()));
}

#[tokio::test]
async fn writers_at_once_all_get_an_answer_that_is_true() {
    let w = std::sync::Arc::new(World::new(10).await);
    w.container("con").await;
    let mut tasks = tokio::task::JoinSet::new();
    for number in 0..12 {
        let w = w.clone();
        tasks.spawn(async move {
            w.call("PUT", "/con/b", &[("x-ms-blob-type", "BlockBlob"), ("if-none-match", "*")], number.to_string()).await.status
        });
    }
    let mut answers = tasks.join_all().await;
    answers.sort_unstable();
    assert_eq!(answers[0], 201);
    assert!(answers[1..].iter().all(|s| *s == 409), "{answers:?}");
}

/// What a blob no longer holds is freed, whatever took its place.
#[tokio::test]
async fn bytes_that_were_replaced_or_deleted_are_freed() {
    let w = World::new(12).await;
    w.container("con").await;
    for name in ["/con/put", "/con/list", "/con/gone"] {
        w.put(name, vec![1; 50_000]).await;
    }
    assert_eq!(w.chunks.len(), 3);
    w.put("/con/put", "small").await;
    assert_eq!(w.call("PUT", "/con/list?comp=blocklist", &[], "<BlockList></BlockList>").await.status, 201);
    assert_eq!(w.call("DELETE", "/con/gone", &[], "").await.status, 202);
    assert_eq!(w.chunks.len(), 3, "whoever reads them now reads to the end");
    w.cleaned().await;
    assert_eq!(w.chunks.len(), 0);
    assert_eq!(w.get("/con/put").await.text(), "small");
    w.audited().await;
}

#[tokio::test]
async fn a_body_that_breaks_off_leaves_what_was_there() {
    let w = World::new(11).await;
    w.container("con").await;
    w.put("/con/b", "old").await;
    let part = || Ok(bytes::Bytes::from(vec![1; 100_000]));
    let broken = w.put_parts("/con/b", 200_000, [part(), Err(std::io::Error::other("gone"))].into_iter()).await;
    assert_eq!((broken.status, broken.header("x-ms-error-code")), (400, "IncompleteBody"));
    let short = w.put_parts("/con/b", 200_000, [part()].into_iter()).await;
    assert_eq!((short.status, short.header("x-ms-error-code")), (400, "IncompleteBody"));
    let long = w.put_parts("/con/b", 100_000, [part(), part()].into_iter()).await;
    assert_eq!(long.status, 400, "{}", long.text());
    let huge = w.put_parts("/con/b", 5_001 << 20, [part()].into_iter()).await;
    assert_eq!((huge.status, huge.header("x-ms-error-code")), (413, "RequestBodyTooLarge"));
    assert_eq!(w.get("/con/b").await.text(), "old");
    w.audited().await;
}

/// Bytes that count how many of them are alive.
struct Counted(Vec<u8>, std::sync::Arc<std::sync::atomic::AtomicUsize>);

impl AsRef<[u8]> for Counted {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}
impl Drop for Counted {
    fn drop(&mut self) {
        self.1.fetch_sub(self.0.len(), std::sync::atomic::Ordering::SeqCst);
    }
}

#[tokio::test]
async fn memory_stays_flat_for_a_large_body() {
    use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
    const PART: usize = 1 << 20;
    const PARTS: usize = 96;
    let w = World::new(12).await;
    w.container("con").await;
    let (alive, most) = (std::sync::Arc::new(AtomicUsize::new(0)), std::sync::Arc::new(AtomicUsize::new(0)));
    let (a, m) = (alive.clone(), most.clone());
    let parts = (0..PARTS).map(move |n| {
        let now = a.fetch_add(PART, SeqCst) + PART;
        m.fetch_max(now, SeqCst);
        Ok(bytes::Bytes::from_owner(Counted(vec![n as u8; PART], a.clone())))
    });
    let put = w.put_parts("/con/b", (PART * PARTS) as u64, parts).await;
    assert_eq!(put.status, 201, "{}", put.text());
    assert!(most.load(SeqCst) <= 16 * PART, "{} bytes of the body were held at once", most.load(SeqCst));
    assert_eq!(alive.load(SeqCst), 0);
    let got = w.call("GET", "/con/b", &[("range", "bytes=52428799-52428800")], "").await;
    assert_eq!(&got.body[..], [49, 50]);
}

#[tokio::test]
async fn what_was_not_committed_is_deleted_at_once() {
    let w = World::new(13).await;
    w.container("con").await;
    let part = |n: u8| Ok(bytes::Bytes::from(vec![n; 3 << 20]));
    let broken = w.put_parts("/con/b", 12 << 20, (0..3).map(part).chain([Err(std::io::Error::other("gone"))])).await;
    assert_eq!(broken.header("x-ms-error-code"), "IncompleteBody");
    w.chunks_become(0).await;
    let wrong = ("content-md5", "AAAAAAAAAAAAAAAAAAAAAA==");
    let refused = w.code("PUT", "/con/b", &[("x-ms-blob-type", "BlockBlob"), wrong], vec![7; 9 << 20]).await;
    assert_eq!(refused, (400, "Md5Mismatch".into()));
    w.chunks_become(0).await;
    assert_eq!(w.code("PUT", "/con/b?comp=block&blockid=AAAA", &[wrong], vec![7; 300_000]).await, (400, "Md5Mismatch".into()));
    w.chunks_become(0).await;
    w.put("/con/b", vec![7; 9 << 20]).await;
    assert_eq!(w.chunks.len(), 3);
    w.cleaned().await;
    assert!(w.get("/con/b").await.body == vec![7; 9 << 20]);
}

#[tokio::test]
async fn names_of_containers_are_refused_as_azure_does() {
    let w = World::new(14).await;
    let long = "a".repeat(64);
    for (name, code) in [
        ("ab", "OutOfRangeInput"),
        (long.as_str(), "OutOfRangeInput"),
        ("a_b", "InvalidResourceName"),
        ("a--b", "InvalidResourceName"),
        ("$other", "InvalidResourceName"),
        ("$logs", "InvalidResourceName"),
    ] {
        assert_eq!(w.code("PUT", &format!("/{name}?restype=container"), &[], "").await, (400, code.into()), "{name}");
    }
    assert_eq!(w.code("GET", "/$logs?restype=container", &[], "").await, (404, "ContainerNotFound".into()));
    for name in ["$root", "$web"] {
        w.container(name).await;
        w.put(&format!("/{name}/index.html"), "hello").await;
        assert_eq!(w.get(&format!("/{name}/index.html")).await.text(), "hello");
    }
    let refused = w.arm("PUT", "/blobServices/default/containers/$logs", "{}").await;
    assert_eq!((refused.status, refused.json()["error"]["code"].as_str()), (400, Some("InvalidResourceName")));
}
