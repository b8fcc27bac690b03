//! A customer's working day, from the first token to the auditor: what was called is what the record says, call for call,
//! and nobody is warned of anything.

use crate::client::{Client, ledger_of, sas};
use crate::logs::Quiet;
use crate::world::World;
use record::{Actor, Ended, Phase};
use serde_json::{Value, json};
use std::collections::BTreeSet;

pub const ACCOUNT: &str = "contosodata";
const PHOTO: &str = "/photos/%C3%A9t%C3%A9%2F2026.jpg";

/// Groups, an account, blobs by key, signature and token, roles; wrong ways among them.
pub async fn day(anna: &Client<'_>) {
    anna.put_group("web").await;
    let key = anna.put_account("web", ACCOUNT).await;
    let by_key = async |row, method, path, body: Vec<u8>| anna.blob_by_key(row, method, ACCOUNT, &key, path, body).await;
    assert_eq!(by_key("Create Container", "PUT", "/photos?restype=container", vec![]).await.status, 201);
    let large: Vec<u8> = (0..300_000u32).map(|i| (i * 7) as u8).collect();
    assert_eq!(by_key("Put Blob", "PUT", PHOTO, large.clone()).await.status, 201);
    assert_eq!(by_key("Put Blob", "PUT", "/photos/empty", vec![]).await.status, 201);
    for _ in 0..3 {
        let got = by_key("Get Blob", "GET", PHOTO, vec![]).await;
        assert_eq!((got.status, &got.body[..]), (200, &large[..]));
    }
    assert_eq!(by_key("Get Blob", "GET", "/photos/nothing", vec![]).await.status, 404);
    let list = by_key("List Blobs", "GET", "/photos?restype=container&comp=list", vec![]).await;
    assert!(list.text().contains("<Name>été/2026.jpg</Name>"), "{}", list.text());

    // a signature on one blob reads that blob, and no more
    let lent = sas(ACCOUNT, &key, "/photos/empty", "b", "r");
    assert_eq!(anna.blob_by_sas("Get Blob", "GET", ACCOUNT, "/photos/empty", &lent, "").await.status, 200);
    assert_eq!(anna.blob_by_sas("Delete Blob", "DELETE", ACCOUNT, "/photos/empty", &lent, "").await.status, 403);

    // an owner is not yet a reader of data; with the role, the same token is
    let no = anna.blob_by_token("Get Blob", "GET", ACCOUNT, "/photos/empty", "").await;
    assert_eq!((no.status, no.header("x-ms-error-code")), (403, "AuthorizationPermissionMismatch"));
    let granted = anna.assign(&anna.account("web", ACCOUNT), "Storage Blob Data Contributor", anna.customer.client_object).await;
    assert_eq!(granted.status, 201, "{}", granted.text());
    assert_eq!(anna.blob_by_token("Put Blob", "PUT", ACCOUNT, "/photos/note", "hello").await.status, 201);
    assert_eq!(anna.blob_by_token("Get Blob", "GET", ACCOUNT, "/photos/note", "").await.text(), "hello");
    assert_eq!(anna.blob_by_token("Delete Blob", "DELETE", ACCOUNT, "/photos/note", "").await.status, 202);

    // a second group comes and goes
    anna.put_group("draft").await;
    let gone = anna.arm("Delete Resource Group", "DELETE", &anna.group("draft"), Value::Null).await;
    assert_eq!(anna.poll(&gone).await.status, 200);
    let again = anna.arm("Get Resource Group", "GET", &anna.group("draft"), Value::Null).await;
    assert_eq!((again.status, again.json()["error"]["code"].as_str()), (404, Some("ResourceGroupNotFound")));
    // what is no request of any row has no act to name: it is tallied by its reason
    let wrong = anna.arm("", "PUT", &anna.group("bad!"), json!({"location": "francecentral"})).await;
    assert_eq!((wrong.status, wrong.json()["error"]["code"].as_str()), (400, Some("InvalidResourceGroup")));
    let wrong = anna.blob_by_key("", "PUT", ACCOUNT, &key, "/UPPER?restype=container", "").await;
    assert_eq!((wrong.status, wrong.header("x-ms-error-code")), (400, "InvalidResourceName"));
}

#[tokio::test]
async fn every_call_of_a_working_day_is_in_the_record_and_nothing_is_warned_of() {
    let quiet = Quiet::listen();
    let world = World::new(20).await;
    let anna = world.owner(&world.contoso).await;
    day(&anna).await;
    let tenant = world.contoso.tenant;
    let report = world.kit.audit(Some(tenant)).await;
    assert_eq!(report.summary.unfinished_count, 0, "{:?}", report.summary.unfinished);
    assert!(report.summary.places.iter().all(|p| p.allowed && p.country == "FR"));
    assert!(report.summary.places.iter().any(|p| p.chunks > 0 && p.bytes >= 300_000), "{:?}", report.summary.places);

    let bundle = world.kit.trust.export(Some(tenant)).await.unwrap();
    let recorded = ledger_of(&bundle);
    for (call, count) in anna.done() {
        assert_eq!(recorded.get(&call), Some(&count), "{call:?} was called {count} times; the record: {recorded:#?}");
    }
    let listed = auditor::list(&bundle).unwrap();
    let operators = auditor::list(&world.kit.trust.export(record::Owner::Operator).await.unwrap()).unwrap();
    let tallied =
        |reason: &str| operators.iter().flat_map(|l| &l.event.lines).filter(|l| l.outcome.code == reason).map(|l| l.count).sum::<u64>();
    assert_eq!((tallied("InvalidResourceGroup"), tallied("InvalidResourceName")), (1, 1));
    // every entry an outcome: what was opened was closed, once, by an entry after it
    let opened: BTreeSet<&str> = listed.iter().filter(|l| l.phase == Phase::Open).map(|l| l.entry.as_str()).collect();
    let closed: Vec<&str> = listed.iter().filter(|l| l.phase == Phase::Close).filter_map(|l| l.opens.as_deref()).collect();
    assert_eq!((opened.len(), opened), (closed.len(), closed.iter().copied().collect()));
    assert!(listed.iter().all(|l| l.event.outcome.ended != Ended::Unfinished));
    // and by whom: the key, the signature and the token are told apart
    let readers: BTreeSet<Actor> = listed
        .iter()
        .flat_map(|l| l.event.lines.iter().map(move |line| (l, line)))
        .filter(|(_, line)| line.verb == "Get Blob" && line.outcome.ended == Ended::Done)
        .map(|(l, line)| if line.who == 0 { l.event.who.kind } else { l.event.others[usize::from(line.who) - 1].kind })
        .collect();
    assert_eq!(readers, BTreeSet::from([Actor::Key, Actor::Sas, Actor::ServicePrincipal]));
    // never content, never a secret
    for secret in [world.contoso.secret.as_bytes(), b"hello".as_slice()] {
        assert!(!bundle.windows(secret.len()).any(|w| w == secret), "a secret or content is in the bundle");
    }
    quiet.heard_nothing();
}

#[tokio::test]
async fn sign_ins_good_and_bad_are_in_the_record() {
    let world = World::new(21).await;
    let _good = world.token(&world.contoso, "https://management.bleu.localhost").await;
    let url = format!("https://login.bleu.localhost/{}/oauth2/v2.0/token", world.contoso.tenant);
    let form = format!(
        "grant_type=client_credentials&client_id={}&client_secret=wrong&scope=https%3A%2F%2Fmanagement.bleu.localhost%2F.default",
        world.contoso.client
    );
    let answer = world.kit.call("POST", &url, &[("content-type", "application/x-www-form-urlencoded")], form).await;
    assert_eq!((answer.status, answer.json()["error"].as_str()), (401, Some("invalid_client")));
    world.kit.audit(Some(world.contoso.tenant)).await;
    let bundle = world.kit.trust.export(Some(world.contoso.tenant)).await.unwrap();
    let listed = auditor::list(&bundle).unwrap();
    let ended = |wanted| {
        listed
            .iter()
            .any(|l| l.event.outcome.ended == wanted && l.event.who.app == Some(world.contoso.client) && l.event.verb.contains("ign"))
    };
    assert!(
        ended(Ended::Done) && ended(Ended::Refused),
        "{:#?}",
        listed.iter().map(|l| (&l.event.verb, &l.event.outcome)).collect::<Vec<_>>()
    );
}
