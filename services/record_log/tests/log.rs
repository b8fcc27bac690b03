//! The log as a tile-log client reads it: checkpoint, tiles, entry bundle, and the root computed from them.

use record::SignedCheckpoint;
use record::tiles::{root, split_entries};
use std::sync::Arc;
use testkit::{Kit, Setup};

const HOST: &str = "https://record.bleu.localhost";

#[tokio::test]
async fn a_client_recomputes_the_root_from_what_is_served() {
    let kit = Kit::start(Setup::new(1).services(vec![Arc::new(record_log::RecordLog)])).await;
    kit.trust.turn().await.unwrap();
    let answer = kit.call("GET", &format!("{HOST}/record/checkpoint"), &[], "").await;
    assert_eq!(answer.status, 200);
    let signed = SignedCheckpoint::parse(&answer.body).unwrap();
    assert!(signed.is_signed_by(&kit.trust.trust_keys(None).unwrap().log));
    let size = signed.checkpoint.size;
    assert!(size > 2);
    let answer = kit.call("GET", &format!("{HOST}/record/tile/entries/000.p/{size}"), &[], "").await;
    assert_eq!(answer.status, 200, "{answer:?}");
    let leaves: Vec<_> = split_entries(&answer.body).map(|e| record::Digest::leaf(e.unwrap())).collect();
    assert_eq!(root(&leaves), signed.checkpoint.root);
    let answer = kit.call("GET", &format!("https://localhost/record/tile/0/000.p/{size}"), &[], "").await;
    assert_eq!(answer.body.len(), leaves.len() * 32, "the bare host serves it too");
}

#[tokio::test]
async fn what_is_not_a_tile_is_not_found() {
    let kit = Kit::start(Setup::new(2).services(vec![Arc::new(record_log::RecordLog)])).await;
    for path in ["tile/0/001", "tile/0/000.p/0", "tile/entries/1", "tile/0/../x", "tile/-1/000", "nothing"] {
        let answer = kit.call("GET", &format!("{HOST}/record/{path}"), &[], "").await;
        assert_eq!(answer.status, 404, "{path}");
    }
    assert_eq!(kit.call("POST", &format!("{HOST}/record/checkpoint"), &[], "").await.status, 405);
    assert_eq!(kit.call("GET", "https://elsewhere.example/record/checkpoint", &[], "").await.status, 421);
}
