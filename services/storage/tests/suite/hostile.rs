//! Bytes from outside, and what is not built.

use crate::world::World;
use proptest::prelude::*;

const PIECES: &[&str] = &[
    "<BlockList>",
    "</BlockList>",
    "<Latest>",
    "</Latest>",
    "<Committed>AAAA</Committed>",
    "<!--",
    "-->",
    "&amp;",
    "<![CDATA[",
    "]]>",
    "<?xml version=\"1.0\"?>",
    "SharedKey ",
    "acct:",
    "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=",
    "sv=2021-06-08&",
    "sr=b&",
    "sp=r&",
    "se=2027-01-01&",
    "sip=1.2.3.4-1.2.3.5&",
    "sig=",
    "%00",
    "=",
    "&",
    "x-ms-meta-a:b\n",
    "x-ms-meta-é:b\n",
    "content-md5:AAAA\n",
    "<StorageServiceProperties>",
    "</StorageServiceProperties>",
    "é",
    "\u{0}",
    "\u{feff}",
    " ",
    "\n",
];

fn feed(bytes: &[u8]) {
    storage::fuzz::fuzz_block_list(bytes);
    storage::fuzz::fuzz_service_properties(bytes);
    storage::fuzz::fuzz_shared_key(bytes);
    storage::fuzz::fuzz_sas(bytes);
    storage::fuzz::fuzz_headers(bytes);
    wire::fuzz::fuzz_range(bytes);
    wire::fuzz::fuzz_conditions(bytes);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_reader_panics_on_bytes(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        feed(&bytes);
    }

    #[test]
    fn no_reader_panics_on_pieces_of_its_grammar(parts in proptest::collection::vec(0..PIECES.len(), 0..20)) {
        feed(parts.iter().map(|p| PIECES[*p]).collect::<String>().as_bytes());
    }

    #[test]
    fn ranges_print_and_parse(a in any::<u64>(), b in any::<u64>()) {
        for range in [wire::ByteRange::From(a), wire::ByteRange::Last(a), wire::ByteRange::Between(a.min(b), a.max(b))] {
            prop_assert_eq!(wire::ByteRange::parse(&range.to_string()), Some(range));
        }
    }
}

#[tokio::test]
async fn what_is_not_built_says_so() {
    let w = World::new(60).await;
    w.container("con").await;
    w.put("/con/b", "x").await;
    let block = ("x-ms-blob-type", "BlockBlob");
    for (method, path, headers) in [
        ("PUT", "/con/b?comp=lease", vec![]),
        ("PUT", "/con/b?comp=snapshot", vec![]),
        ("PUT", "/con/b?comp=appendblock", vec![]),
        ("PUT", "/con/b?comp=page", vec![]),
        ("PUT", "/con/b?comp=tags", vec![]),
        ("PUT", "/con/c", vec![("x-ms-copy-source", "https://x/y")]),
        ("PUT", "/con/c", vec![("x-ms-blob-type", "AppendBlob")]),
        ("PUT", "/con/c", vec![block, ("x-ms-encryption-key", "x")]),
        ("PUT", "/con/c", vec![block, ("x-ms-tags", "a=b")]),
        ("GET", "/con/b?snapshot=2026-01-01T00:00:00Z", vec![]),
        ("GET", "/con/b?versionid=1", vec![]),
        ("GET", "/?restype=service&comp=stats", vec![]),
        ("POST", "/?comp=batch", vec![]),
        ("PUT", "/con?restype=container&comp=lease", vec![]),
    ] {
        let answer = w.call(method, path, &headers, "").await;
        assert_eq!((answer.status, answer.header("x-ms-error-code")), (501, "NotImplemented"), "{method} {path} {headers:?}");
        assert!(answer.text().contains("not implemented in this version of bleu"), "{}", answer.text());
    }
    assert_eq!(w.get("/con/b").await.text(), "x");
    w.audited().await;
}

#[tokio::test]
async fn bad_requests_answer_in_xml() {
    let w = World::new(61).await;
    w.container("con").await;
    let block = ("x-ms-blob-type", "BlockBlob");
    for (method, path, headers, status, code) in [
        ("PUT", "/con/b", vec![], 400, "MissingRequiredHeader"),
        ("PUT", "/con/b", vec![("x-ms-blob-type", "Blob")], 400, "InvalidHeaderValue"),
        ("PUT", "/con/b", vec![block, ("x-ms-meta-1", "x")], 400, "InvalidMetadata"),
        ("PUT", "/con/b", vec![block, ("x-ms-lease-id", "x")], 412, "LeaseNotPresentWithBlobOperation"),
        ("PUT", "/none/b", vec![block], 404, "ContainerNotFound"),
        ("PUT", "/co/b", vec![block], 400, "OutOfRangeInput"),
        ("PATCH", "/con/b", vec![], 405, "UnsupportedHttpVerb"),
        ("PUT", "/con/b?comp=nothing", vec![], 405, "UnsupportedHttpVerb"),
        ("DELETE", "/con/b", vec![("x-ms-delete-snapshots", "some")], 400, "InvalidHeaderValue"),
    ] {
        let answer = w.call(method, path, &headers, "").await;
        assert_eq!((answer.status, answer.header("x-ms-error-code")), (status, code), "{method} {path} {headers:?}");
        assert_eq!(answer.header("content-type"), "application/xml");
        assert!(answer.text().contains(&format!("<Code>{code}</Code>")));
    }
}

#[tokio::test]
async fn service_properties_are_the_defaults() {
    let w = World::new(62).await;
    let shown = w.get("/?restype=service&comp=properties").await;
    assert_eq!(shown.status, 200);
    assert_eq!(w.code("PUT", "/?restype=service&comp=properties", &[], shown.body.clone()).await.0, 202);
    let cors = shown.text().replace("<Cors/>", "<Cors><CorsRule></CorsRule></Cors>");
    assert_eq!(w.code("PUT", "/?restype=service&comp=properties", &[], cors).await, (501, "NotImplemented".into()));
    let info = w.get("/?restype=account&comp=properties").await;
    assert_eq!((info.status, info.header("x-ms-account-kind")), (200, "StorageV2"));
}
