//! Blocks and block lists.

use crate::world::World;
use base64::prelude::*;

fn id(n: u32) -> String {
    BASE64_STANDARD.encode(format!("{n:06}"))
}
fn block(path: &str, n: u32) -> String {
    format!("{path}?comp=block&blockid={}", wire::percent_encode(&id(n), b""))
}
fn list(kind: &str, ids: &[u32]) -> String {
    let lines: String = ids.iter().map(|n| format!("<{kind}>{}</{kind}>", id(*n))).collect();
    format!("<?xml version=\"1.0\" encoding=\"utf-8\"?><BlockList>{lines}</BlockList>")
}

#[tokio::test]
async fn blocks_are_committed_in_the_order_of_the_list() {
    let w = World::new(20).await;
    w.container("con").await;
    let parts: Vec<Vec<u8>> = vec![vec![1; 5_000_000], vec![2; 10], vec![3; 70_000], vec![4; 5_000]];
    for (n, part) in parts.iter().enumerate() {
        let put = w.call("PUT", &block("/con/b", n as u32), &[], part.clone()).await;
        assert_eq!(put.status, 201, "{}", put.text());
        assert_eq!(put.header("x-ms-content-crc64"), BASE64_STANDARD.encode(crypto::Crc64Nvme::of(part).to_le_bytes()));
    }
    assert_eq!(w.code("GET", "/con/b", &[], "").await, (404, "BlobNotFound".into()));
    let waiting = w.get("/con/b?comp=blocklist&blocklisttype=all").await;
    assert!(waiting.text().contains("<CommittedBlocks></CommittedBlocks>"), "{}", waiting.text());
    assert!(waiting.text().contains(&format!("<Block><Name>{}</Name><Size>5000000</Size></Block>", id(0))));
    let headers = [("x-ms-blob-content-type", "video/x"), ("x-ms-meta-a", "b"), ("content-type", "text/plain")];
    let done = w.call("PUT", "/con/b?comp=blocklist", &headers, list("Latest", &[2, 0, 1])).await;
    assert_eq!(done.status, 201, "{}", done.text());
    let got = w.get("/con/b").await;
    assert!(got.body == [&parts[2][..], &parts[0], &parts[1]].concat());
    assert_eq!((got.header("content-type"), got.header("x-ms-meta-a"), got.header("content-md5")), ("video/x", "b", ""));
    let lists = w.get("/con/b?comp=blocklist&blocklisttype=all").await;
    let blocks =
        |ns: &[(u32, usize)]| ns.iter().map(|(n, s)| format!("<Block><Name>{}</Name><Size>{s}</Size></Block>", id(*n))).collect::<String>();
    assert!(
        lists.text().ends_with(&format!(
            "<BlockList><CommittedBlocks>{}</CommittedBlocks><UncommittedBlocks></UncommittedBlocks></BlockList>",
            blocks(&[(2, 70_000), (0, 5_000_000), (1, 10)])
        )),
        "{}",
        lists.text()
    );
    assert_eq!(lists.header("x-ms-blob-content-length"), "5070010");
    w.audited().await;
}

#[tokio::test]
async fn a_list_may_keep_some_old_blocks_and_their_bytes_outlive_the_collector() {
    let w = World::new(21).await;
    w.container("con").await;
    for n in 0..3 {
        w.call("PUT", &block("/con/b", n), &[], vec![n as u8; 100_000]).await;
    }
    assert_eq!(w.call("PUT", "/con/b?comp=blocklist", &[], list("Uncommitted", &[0, 1, 2])).await.status, 201);
    w.call("PUT", &block("/con/b", 3), &[], vec![3; 100_000]).await;
    w.call("PUT", &block("/con/b", 4), &[], vec![4; 100_000]).await;
    let body = format!(
        "<BlockList><Committed>{}</Committed><Latest>{}</Latest><Committed>{}</Committed><Committed>{}</Committed></BlockList>",
        id(2),
        id(3),
        id(0),
        id(2)
    );
    assert_eq!(w.call("PUT", "/con/b?comp=blocklist", &[], body).await.status, 201);
    let near = w.kit.region("storage");
    assert_eq!(storage::sweep(&near).await.unwrap(), 5);
    w.kit.clock.advance_seconds(7_200);
    while w.kit.trust.collect().await.unwrap() > 0 {}
    let want: Vec<u8> = [2u8, 3, 0, 2].iter().flat_map(|n| vec![*n; 100_000]).collect();
    assert!(w.get("/con/b").await.body == want);
    assert_eq!(w.call("DELETE", "/con/b", &[], "").await.status, 202);
    w.audited().await;
}

#[tokio::test]
async fn what_a_list_names_must_be_there() {
    let w = World::new(22).await;
    w.container("con").await;
    w.call("PUT", &block("/con/b", 1), &[], "one").await;
    for (body, code) in [
        (list("Latest", &[1, 2]), "InvalidBlockList"),
        (list("Committed", &[1]), "InvalidBlockList"),
        ("<BlockList>".to_owned(), "InvalidXmlDocument"),
        ("<BlockList><Latest>!</Latest></BlockList>".to_owned(), "InvalidBlockId"),
    ] {
        assert_eq!(w.code("PUT", "/con/b?comp=blocklist", &[], body).await, (400, code.into()));
    }
    assert_eq!(
        w.code("PUT", "/con/b?comp=blocklist", &[("content-md5", "AAAAAAAAAAAAAAAAAAAAAA==")], list("Latest", &[1])).await,
        (400, "Md5Mismatch".into())
    );
    assert_eq!(w.code("PUT", "/con/b?comp=block", &[], "x").await, (400, "MissingRequiredQueryParameter".into()));
    assert_eq!(w.code("PUT", "/con/b?comp=block&blockid=%21", &[], "x").await, (400, "InvalidQueryParameterValue".into()));
    assert_eq!(w.code("PUT", "/con/b?comp=block&blockid=AAAA", &[], "x").await, (400, "InvalidBlobOrBlock".into()), "another length of id");
    assert_eq!(w.code("GET", "/con/none?comp=blocklist", &[], "").await, (404, "BlobNotFound".into()));
    assert_eq!(w.code("PUT", "/con/b?comp=blocklist", &[], list("Latest", &[])).await.0, 201, "an empty list is an empty blob");
    assert_eq!(w.get("/con/b").await.body.len(), 0);
}

#[tokio::test]
async fn a_block_put_again_replaces_the_first() {
    let w = World::new(23).await;
    w.container("con").await;
    w.call("PUT", &block("/con/b", 1), &[], "first").await;
    w.call("PUT", &block("/con/b", 1), &[], "second").await;
    w.call("PUT", "/con/b?comp=blocklist", &[], list("Latest", &[1])).await;
    assert_eq!(w.get("/con/b").await.text(), "second");
    w.call("PUT", &block("/con/b", 1), &[], "third").await;
    assert_eq!(w.get("/con/b").await.text(), "second", "uncommitted blocks show nowhere");
    // a name of both lists: the caller says which
    for (kind, wanted) in [("Committed", "second"), ("Latest", "third")] {
        assert_eq!(w.call("PUT", "/con/b?comp=blocklist", &[], list(kind, &[1])).await.status, 201);
        assert_eq!(w.get("/con/b").await.text(), wanted, "{kind}");
        w.call("PUT", &block("/con/b", 1), &[], "third").await;
    }
    w.call("PUT", &block("/con/b", 2), &[], "two").await;
    assert_eq!(w.call("PUT", "/con/b?comp=blocklist", &[], list("Latest", &[1, 2])).await.status, 201);
    w.call("PUT", &block("/con/b", 3), &[], "three").await;
    let mixed = format!("<BlockList><Committed>{}</Committed><Uncommitted>{}</Uncommitted></BlockList>", id(1), id(2));
    let refused = w.code("PUT", "/con/b?comp=blocklist", &[], mixed).await;
    assert_eq!(refused, (400, "InvalidBlockList".into()), "2 is committed and not put again");
    w.put("/con/b", "whole").await;
    assert_eq!(
        w.code("PUT", "/con/b?comp=blocklist", &[], list("Uncommitted", &[1])).await,
        (400, "InvalidBlockList".into()),
        "Put Blob ends the upload"
    );
    assert_eq!(w.get("/con/b").await.text(), "whole");
}

#[tokio::test]
async fn two_lists_at_once_leave_one_of_the_two() {
    let w = std::sync::Arc::new(World::new(24).await);
    w.container("con").await;
    let mut blocks = tokio::task::JoinSet::new();
    for n in 0..16 {
        let w = w.clone();
        blocks.spawn(async move { w.call("PUT", &block("/con/b", n), &[], vec![n as u8; 6_000]).await.status });
    }
    assert!(blocks.join_all().await.iter().all(|s| *s == 201), "blocks put at once do not disturb each other");
    let mut lists = tokio::task::JoinSet::new();
    for half in [0u32, 8] {
        let w = w.clone();
        lists.spawn(async move {
            w.call("PUT", "/con/b?comp=blocklist", &[], list("Latest", &(half..half + 8).collect::<Vec<_>>())).await.status
        });
    }
    let mut statuses = lists.join_all().await;
    statuses.sort_unstable();
    // whoever comes second finds its blocks gone with the upload that ended
    assert_eq!(statuses, [201, 400]);
    let got = w.get("/con/b").await.body;
    assert_eq!(got.len(), 8 * 6_000);
    assert!(got[0] == 0 || got[0] == 8);
    w.kit.audit(Some(w.tenant)).await;
}

#[tokio::test]
async fn a_thousand_blocks_make_one_blob() {
    let w = World::new(25).await;
    w.container("con").await;
    for n in 0..1_100u32 {
        assert_eq!(w.call("PUT", &block("/con/b", n), &[], n.to_string()).await.status, 201);
    }
    let used: Vec<u32> = (0..1_050).rev().collect();
    assert_eq!(w.call("PUT", "/con/b?comp=blocklist", &[], list("Latest", &used)).await.status, 201);
    let want: String = used.iter().map(|n| n.to_string()).collect();
    assert_eq!(w.get("/con/b").await.text(), want);
    let near = w.kit.region("storage");
    assert_eq!(storage::sweep(&near).await.unwrap(), 1_100);
    assert_eq!(w.get("/con/b").await.text(), want);
}

/// Six clients upload one blob at once, with the same block ids, as the SDKs draw them: what is committed is made of blocks
/// that outlive the collector, whoever put them, and nothing else is kept.
#[tokio::test]
async fn clients_that_upload_one_blob_at_once_share_its_blocks_and_lose_none() {
    const BYTES: usize = 20_000;
    let w = std::sync::Arc::new(World::new(31).await);
    w.container("con").await;
    for round in 0..12 {
        let mut clients = tokio::task::JoinSet::new();
        for client in 0..6u32 {
            let w = w.clone();
            clients.spawn(async move {
                for n in 0..3 {
                    let put = w.call("PUT", &block("/con/b", n), &[], vec![(client * 10 + n) as u8; BYTES]).await;
                    assert_eq!(put.status, 201, "{}", put.text());
                }
                // a block that no list names
                w.call("PUT", &block("/con/b", 10 + client), &[], vec![99; BYTES]).await;
                w.call("PUT", "/con/b?comp=blocklist", &[], list("Latest", &[0, 1, 2])).await.status
            });
        }
        let answers = clients.join_all().await;
        assert!(answers.iter().all(|status| *status == 201), "round {round}: {answers:?}");
        w.cleaned().await;
        let got = w.get("/con/b").await;
        assert_eq!((got.status, got.body.len()), (200, 3 * BYTES), "round {round}");
        for (n, part) in got.body.chunks(BYTES).enumerate() {
            assert!(part.iter().all(|b| *b == part[0]) && part[0] % 10 == n as u8, "round {round}, block {n}: {}", part[0]);
        }
    }
    assert_eq!(w.call("DELETE", "/con/b", &[], "").await.status, 202);
    w.cleaned().await;
    w.chunks_become(0).await;
}

#[tokio::test]
async fn blocks_that_nobody_commits_are_kept_for_a_week_after_the_last() {
    let w = World::new(32).await;
    w.container("con").await;
    const DAY_S: i64 = 86_400;
    for n in 0..3 {
        w.call("PUT", &block("/con/b", n), &[], vec![n as u8; 10_000]).await;
        w.cleaned().await;
        w.kit.clock.advance_seconds(4 * DAY_S);
    }
    assert_eq!(w.chunks.len(), 3, "twelve days after the first, four after the last");
    assert!(w.get("/con/b?comp=blocklist&blocklisttype=all").await.text().contains(&id(0)));
    w.kit.clock.advance_seconds(4 * DAY_S);
    w.cleaned().await;
    assert_eq!(w.code("GET", "/con/b?comp=blocklist&blocklisttype=all", &[], "").await, (404, "BlobNotFound".into()));
    w.chunks_become(0).await;
    assert_eq!(w.call("PUT", &block("/con/b", 7), &[], "again").await.status, 201);
}

#[tokio::test]
async fn a_list_that_misses_a_block_changes_nothing() {
    let w = World::new(33).await;
    w.container("con").await;
    w.put("/con/b", "whole").await;
    w.call("PUT", &block("/con/b", 1), &[], "one").await;
    for (kind, ids) in [("Latest", [1, 2]), ("Uncommitted", [1, 2]), ("Committed", [1, 1])] {
        let refused = w.code("PUT", "/con/b?comp=blocklist", &[], list(kind, &ids)).await;
        assert_eq!(refused, (400, "InvalidBlockList".into()), "{kind}");
    }
    assert_eq!(w.get("/con/b").await.text(), "whole");
    assert_eq!(w.call("PUT", "/con/b?comp=blocklist", &[], list("Uncommitted", &[1])).await.status, 201);
    assert_eq!(w.get("/con/b").await.text(), "one");
    // Put Blob discards what waits
    w.call("PUT", &block("/con/b", 2), &[], "two").await;
    w.put("/con/b", "whole").await;
    assert_eq!(w.code("PUT", "/con/b?comp=blocklist", &[], list("Latest", &[2])).await, (400, "InvalidBlockList".into()));
}

/// The moment between reading the blocks of a list and committing it, held open.
#[tokio::test]
async fn a_block_put_while_its_list_is_committed_is_neither_lost_nor_kept_for_ever() {
    let w = std::sync::Arc::new(World::new(34).await);
    w.container("con").await;
    // so many that the list of them is a chunk, whose put can be held
    let ids: Vec<u32> = (0..80).collect();
    for n in &ids {
        let bytes = if *n == 5 { 20_000 } else { 10 };
        w.call("PUT", &block("/con/b", *n), &[], vec![1; bytes]).await;
    }
    let (has_come, go_on) = w.chunks.hold_next();
    let committing = tokio::spawn({
        let (w, body) = (w.clone(), list("Uncommitted", &ids));
        async move { w.call("PUT", "/con/b?comp=blocklist", &[], body).await.status }
    });
    has_come.await.unwrap();
    // one that the list names is put again, and one that it does not name is new
    assert_eq!(w.call("PUT", &block("/con/b", 5), &[], vec![2; 100]).await.status, 201);
    go_on.send(()).unwrap();
    assert_eq!(committing.await.unwrap(), 201);
    w.cleaned().await;
    let got = w.get("/con/b").await;
    assert_eq!((got.status, got.body.len()), (200, 79 * 10 + 100), "the block that was put last is in it");

    w.call("PUT", &block("/con/b", 90), &[], vec![3; 10]).await;
    let (has_come, go_on) = w.chunks.hold_next();
    let ids: Vec<u32> = ids.into_iter().chain([90]).collect();
    let committing = tokio::spawn({
        let (w, body) = (w.clone(), list("Latest", &ids));
        async move { w.call("PUT", "/con/b?comp=blocklist", &[], body).await.status }
    });
    has_come.await.unwrap();
    assert_eq!(w.call("PUT", &block("/con/b", 91), &[], vec![4; 20_000]).await.status, 201);
    go_on.send(()).unwrap();
    assert_eq!(committing.await.unwrap(), 201);
    assert_eq!(w.code("PUT", "/con/b?comp=blocklist", &[], list("Uncommitted", &[91])).await, (400, "InvalidBlockList".into()));
    w.cleaned().await;
    assert_eq!(w.get("/con/b").await.body.len(), 79 * 10 + 110);
    assert_eq!(w.call("DELETE", "/con/b", &[], "").await.status, 202);
    w.cleaned().await;
    w.chunks_become(0).await;
}
