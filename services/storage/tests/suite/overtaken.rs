//! Two writers of one thing: the first has decided and its commit is under way, the second is done before it. What the
//! first decided on does not hold any more, so it decides again: neither undoes the other unseen.

use crate::world::World;
use std::sync::Arc;
use testkit::Answer;

/// A call whose commit is overtaken by `others`.
async fn overtaken(
    w: &Arc<World>,
    method: &'static str,
    path: &'static str,
    headers: &[(&str, &str)],
    body: &str,
    others: impl Future,
) -> Answer {
    let (has_come, go_on) = w.kv.hold_next();
    let call = {
        let (w, body) = (w.clone(), body.to_owned());
        let headers: Vec<(String, String)> = headers.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
        tokio::spawn(async move {
            let headers: Vec<(&str, &str)> = headers.iter().map(|(k, v)| (&**k, &**v)).collect();
            w.call(method, path, &headers, body).await
        })
    };
    has_come.await.expect("the call commits");
    others.await;
    go_on.send(()).expect("the call waits");
    call.await.unwrap()
}

const BLOCK_BLOB: (&str, &str) = ("x-ms-blob-type", "BlockBlob");

fn told(answer: &Answer) -> (u16, &str) {
    (answer.status, answer.header("x-ms-error-code"))
}

#[tokio::test]
async fn a_condition_holds_at_the_commit_and_not_only_before_it() {
    let w = Arc::new(World::new(90).await);
    w.container("con").await;
    let first = overtaken(&w, "PUT", "/con/b", &[BLOCK_BLOB, ("if-none-match", "*")], "first", w.put("/con/b", "second")).await;
    assert_eq!(told(&first), (409, "BlobAlreadyExists"));
    assert_eq!(w.get("/con/b").await.text(), "second");
    let etag = w.get("/con/b").await.header("etag").to_owned();
    let match_it = [BLOCK_BLOB, ("if-match", &*etag)];
    let late = overtaken(&w, "PUT", "/con/b", &match_it, "first", w.put("/con/b", "third")).await;
    assert_eq!(told(&late), (412, "ConditionNotMet"));
    let etag = w.get("/con/b").await.header("etag").to_owned();
    let late = overtaken(&w, "DELETE", "/con/b", &[("if-match", &etag)], "", w.put("/con/b", "fourth")).await;
    assert_eq!(told(&late), (412, "ConditionNotMet"));
    let etag = w.get("/con/b").await.header("etag").to_owned();
    let late =
        overtaken(&w, "PUT", "/con/b?comp=metadata", &[("if-match", &etag), ("x-ms-meta-k", "v")], "", w.put("/con/b", "fifth")).await;
    assert_eq!(told(&late), (412, "ConditionNotMet"));
    assert_eq!(w.get("/con/b").await.text(), "fifth");
    w.kit.audit(Some(w.tenant)).await;
}

#[tokio::test]
async fn who_changes_a_part_keeps_what_another_changed_meanwhile() {
    let w = Arc::new(World::new(91).await);
    w.container("con").await;
    w.put("/con/b", "body").await;
    let headers = [("x-ms-blob-content-type", "text/x-late")];
    let other = w.call("PUT", "/con/b?comp=metadata", &[("x-ms-meta-k", "v")], "");
    assert_eq!(overtaken(&w, "PUT", "/con/b?comp=properties", &headers, "", other).await.status, 200);
    let got = w.get("/con/b").await;
    assert_eq!((got.header("content-type"), got.header("x-ms-meta-k"), got.text()), ("text/x-late", "v", "body"));
    // a blob that was put meanwhile gets the tier, and keeps its bytes
    let tier = [("x-ms-access-tier", "Cool")];
    assert_eq!(overtaken(&w, "PUT", "/con/b?comp=tier", &tier, "", w.put("/con/b", "anew")).await.status, 200);
    let got = w.call("HEAD", "/con/b", &[], "").await;
    assert_eq!((got.header("x-ms-access-tier"), w.get("/con/b").await.text()), ("Cool", "anew"));
}

#[tokio::test]
async fn nothing_is_written_into_a_container_that_went_meanwhile() {
    let w = Arc::new(World::new(92).await);
    w.container("con").await;
    let gone = w.call("DELETE", "/con?restype=container", &[], "");
    let late = overtaken(&w, "PUT", "/con/b", &[BLOCK_BLOB], "late", gone).await;
    assert_eq!(told(&late), (404, "ContainerNotFound"));
    w.container("con").await;
    assert_eq!(w.code("GET", "/con/b", &[], "").await, (404, "BlobNotFound".into()), "it is not in the one made anew");
}

/// Who leaves after the act has begun to be written does not undo it: it is done, and recorded as done.
#[tokio::test]
async fn a_client_that_leaves_in_the_middle_of_its_commit_changes_nothing_about_it() {
    let w = Arc::new(World::new(93).await);
    w.container("con").await;
    let (has_come, go_on) = w.kv.hold_next();
    {
        let headers = [BLOCK_BLOB];
        let call = std::pin::pin!(w.call("PUT", "/con/b", &headers, "left behind"));
        tokio::select! {
            answer = call => panic!("{} before it is committed", answer.status),
            come = has_come => come.expect("the call commits"),
        }
    }
    go_on.send(()).expect("the act goes on without its client");
    let mut turns = 0;
    while w.get("/con/b").await.status != 200 {
        tokio::task::yield_now().await;
        turns += 1;
        assert!(turns < 10_000, "it is not done");
    }
    assert_eq!(w.get("/con/b").await.text(), "left behind");
    let report = w.kit.audit(Some(w.tenant)).await;
    let put = report.summary.acts.iter().find(|act| act.verb == "Put Blob").unwrap();
    assert_eq!((put.counts.done, put.counts.unfinished), (1, 0));
}
