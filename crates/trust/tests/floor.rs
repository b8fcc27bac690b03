//! The floor as a whole: a region in memory, permits of each weight, and an auditor who is content with all of it.

use base::{Kind, Location, ObjectId, ResourceId, Stored, TenantId};
use bytes::Bytes;
use futures::{FutureExt, StreamExt};
use serde::{Deserialize, Serialize};
use testkit::{Kit, Mood, Setup, Sulking};
use trust::{
    Batch, Caller, Content, Fact, Keeper, Outcome, Permit, Principal, PrincipalKind, Read, Span, Staging, Table, Tenant, Weight, Write,
};

const TABLE: Table = Table::of(Keeper::Test, 1);

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Thing {
    name: String,
    content: Option<Content>,
}
impl Stored for Thing {
    const NAME: &'static str = "test.thing";
    const VERSION: u8 = 1;
    type Previous = Thing;
    fn upgrade(previous: Thing) -> Thing {
        previous
    }
}

fn thing(name: &str) -> Thing {
    Thing { name: name.into(), content: None }
}

/// A region with one tenant; gives the kit, the tenant and a principal of it.
async fn region(seed: u64) -> (Kit, TenantId, Principal) {
    let kit = Kit::start(Setup::new(seed)).await;
    let tenant = add_tenant(&kit).await;
    let chance = kit.trust.chance();
    let anna = Principal {
        tenant,
        object: ObjectId::random(&*chance),
        app: base::AppId::random(&*chance),
        kind: PrincipalKind::User,
        name: "anna@contoso.example".into(),
    };
    (kit, tenant, anna)
}

async fn add_tenant(kit: &Kit) -> TenantId {
    let tenant = TenantId::random(&*kit.trust.chance());
    let target = ResourceId::tenant(tenant);
    let near = kit.region("test");
    let permit: Permit<Write> = near.permit("Create Tenant", &["bleu.test/tenants/write"], false, &target, Weight::With, "").await.unwrap();
    let batch = Batch::new()
        .claim_fact(Fact::Tenant(Tenant { id: tenant, name: "Contoso".into(), domains: vec![format!("{tenant}.example")] }))
        .create_space(Location::new("francecentral").unwrap())
        .put(TABLE, "first", &thing("first"));
    permit.commit(batch, Outcome::done(201)).await.unwrap();
    tenant
}

async fn permit<A: trust::Access>(kit: &Kit, anna: &Principal, tenant: TenantId, weight: Weight) -> base::Result<Permit<A>> {
    kit.near(Caller::Principal(anna.clone()))
        .permit("Test", &["Microsoft.Test/things/write"], true, &ResourceId::tenant(tenant), weight, "detail")
        .await
}

async fn read(mut stream: trust::ByteStream) -> base::Result<Vec<u8>> {
    let mut all = Vec::new();
    while let Some(part) = stream.next().await {
        all.extend_from_slice(&part?);
    }
    Ok(all)
}

/// What callers did to nobody's resources, and where strangers come from, is the operator's: no customer opens it.
#[tokio::test]
async fn what_no_tenant_owns_is_opened_for_the_operator_alone() {
    let (kit, tenant, _) = region(42).await;
    kit.trust.stranger("blob", "InvalidAuthenticationInfo", Some("203.0.113.77".parse().unwrap()));
    let near = kit.region("test");
    let target = ResourceId::tenant(TenantId::random(&*kit.trust.chance()));
    let p: Permit<Read> = near.permit("Find", &["bleu.test/find"], false, &target, Weight::Before, "zz-other-name").await.unwrap();
    p.close(Outcome::done(404)).await.unwrap();
    kit.trust.turn().await.unwrap();
    let told = |bundle: &[u8]| {
        let verb = |verb: &str| auditor::list(bundle).unwrap().iter().filter(|l| l.event.verb == verb).count();
        let shown = |text: &[u8]| bundle.windows(text.len()).any(|w| w == text);
        (verb("Strangers refused"), verb("Find"), shown(b"203.0.113.0"), shown(b"zz-other-name"))
    };
    for reader in [record::Owner::Region, record::Owner::Tenant(tenant)] {
        assert_eq!(told(&kit.trust.export(reader).await.unwrap()), (0, 0, false, false), "{reader}");
    }
    assert_eq!(told(&kit.trust.export(record::Owner::Operator).await.unwrap()), (1, 2, true, true));
    let report = kit.audit(record::Owner::Operator).await;
    assert!(report.findings.is_empty() && report.summary.of_owner >= 3, "{report:?}");
    // none of it can be left out either: the trust file pins the operator's key
    let (keys, bundle) = (kit.trust.trust_keys(record::Owner::Operator).unwrap(), kit.trust.export(None).await.unwrap());
    assert_eq!(auditor::verify(&bundle, Some(&keys)).verdict, auditor::Verdict::NotTrue);
    kit.audit(Some(tenant)).await;
    kit.stop().await;
}

/// A read is allowed by something, and its record says by what: for each line its own.
#[tokio::test]
async fn a_gathered_read_says_what_allowed_it() {
    let (kit, tenant, anna) = region(43).await;
    let target = ResourceId::tenant(tenant);
    let key = |name: &str| Caller::Key { account: target.clone(), key: name.into() };
    for caller in [Caller::Principal(anna.clone()), key("key1"), key("key2"), key("key1")] {
        let near = kit.near(caller);
        let p: Permit<Read> = near.permit("Look", &["Microsoft.Test/things/read"], true, &target, Weight::Batched, "d").await.unwrap();
        p.close(Outcome::done(200)).await.unwrap();
    }
    kit.trust.turn().await.unwrap();
    let mut told = Vec::new();
    for event in kit.trust.entries_from(Some(tenant), 0).await.unwrap().into_iter().filter_map(|(_, _, event)| event) {
        let lines = event.lines.iter().filter(|line| line.verb == "Look");
        told.extend(lines.map(|line| (event.grant_of(line.grant).unwrap().map(str::to_owned), line.count)));
    }
    told.sort();
    let say = |text: &str| Some(text.to_owned());
    assert_eq!(told, [(say("account key key1"), 2), (say("account key key2"), 1), (say("test"), 1)]);
    kit.audit(Some(tenant)).await;
    kit.stop().await;
}

/// Two services number their tables by themselves, and may both have rows of one resource.
#[tokio::test]
async fn tables_of_two_keepers_do_not_meet() {
    let (kit, tenant, anna) = region(41).await;
    let theirs = Table::of(Keeper::Storage, 1);
    let p: Permit<Write> = permit(&kit, &anna, tenant, Weight::With).await.unwrap();
    p.commit(Batch::new().absent(theirs, "first").put(theirs, "first", &thing("theirs")), Outcome::done(201)).await.unwrap();
    let p: Permit<Read> = permit(&kit, &anna, tenant, Weight::Batched).await.unwrap();
    assert_eq!(p.data().get::<Thing>(TABLE, "first").await.unwrap().unwrap().value, thing("first"));
    assert_eq!(p.data().get::<Thing>(theirs, "first").await.unwrap().unwrap().value, thing("theirs"));
    assert_eq!(p.data().scan::<Thing>(theirs, Span::all(), 9).await.unwrap().rows.len(), 1);
    p.close(Outcome::done(200)).await.unwrap();
    kit.stop().await;
}

#[tokio::test]
async fn rows_are_written_read_and_listed_in_order() {
    let (kit, tenant, anna) = region(1).await;
    for name in ["b", "a", "c/1", "c/2"] {
        let p: Permit<Write> = permit(&kit, &anna, tenant, Weight::With).await.unwrap();
        let receipt = p.commit(Batch::new().absent(TABLE, name).put(TABLE, name, &thing(name)), Outcome::done(201)).await.unwrap();
        assert!(receipt.entry().is_some());
    }
    let p: Permit<Read> = permit(&kit, &anna, tenant, Weight::Batched).await.unwrap();
    assert_eq!(p.data().get::<Thing>(TABLE, "first").await.unwrap().unwrap().value, thing("first"));
    assert!(p.data().get::<Thing>(TABLE, "nothing").await.unwrap().is_none());
    let all = p.data().scan::<Thing>(TABLE, Span::all(), 3).await.unwrap();
    assert_eq!(all.rows.iter().map(|(n, _)| n.as_slice()).collect::<Vec<_>>(), [&b"a"[..], b"b", b"c/1"]);
    let rest = p.data().scan::<Thing>(TABLE, Span::prefix("c/").from(all.next.unwrap()), 9).await.unwrap();
    assert_eq!(rest.rows.len(), 1);
    p.close(Outcome::done(200)).await.unwrap();
    let report = kit.audit(Some(tenant)).await;
    assert!(report.findings.is_empty(), "{:?}", report.findings);
    kit.stop().await;
}

#[tokio::test]
async fn a_conflict_gives_the_permit_back() {
    let (kit, tenant, anna) = region(2).await;
    let p: Permit<Write> = permit(&kit, &anna, tenant, Weight::With).await.unwrap();
    let failed = p.commit(Batch::new().absent(TABLE, "first").put(TABLE, "first", &thing("second")), Outcome::done(201)).await.unwrap_err();
    assert_eq!(failed.error.kind, Kind::Conflict);
    let p = failed.permit.unwrap();
    let found = p.data().get::<Thing>(TABLE, "first").await.unwrap().unwrap();
    p.commit(Batch::new().is(TABLE, "first", found.version).put(TABLE, "first", &thing("second")), Outcome::done(200)).await.unwrap();
    kit.audit(Some(tenant)).await;
}

#[tokio::test]
async fn content_of_every_length_comes_back_by_ranges() {
    let (kit, tenant, anna) = region(3).await;
    for length in [0usize, 1, 4096, 4097, 65_536, 65_537, 1 << 20, (4 << 20) + 5, 9 << 20] {
        let bytes: Vec<u8> = (0..length).map(|i| (i * 31 + i / 251) as u8).collect();
        let p: Permit<Write> = permit(&kit, &anna, tenant, Weight::With).await.unwrap();
        let parts: Vec<base::Result<Bytes>> = bytes.chunks(100_000).map(|c| Ok(Bytes::copy_from_slice(c))).collect();
        let staged = p.stage(Box::pin(futures::stream::iter(parts)), Staging { bytes_max: 100 << 20, md5: true }).await.unwrap();
        assert_eq!(staged.sha256, crypto::sha256(&bytes));
        assert_eq!(staged.md5.unwrap(), crypto::md5(&bytes));
        let value = Thing { name: "blob".into(), content: Some(staged.content.clone()) };
        p.commit(
            Batch::new().adopt(&staged).put(TABLE, format!("blob{length}"), &value),
            Outcome::done(201).wrote(length as u64, staged.sha256),
        )
        .await
        .unwrap();
        let p: Permit<Read> = permit(&kit, &anna, tenant, Weight::Batched).await.unwrap();
        let content = p.data().get::<Thing>(TABLE, format!("blob{length}")).await.unwrap().unwrap().value.content.unwrap();
        let l = length as u64;
        for range in [0..l, 0..l.min(1), l / 3..l / 2, l.saturating_sub(7)..l, l.min(65_530)..l.min(65_550)] {
            let got = read(p.data().content(&content, range.clone())).await.unwrap();
            assert_eq!(got, &bytes[range.start as usize..range.end as usize], "{length} {range:?}");
        }
        assert_eq!(read(p.data().content(&content, 0..l + 1)).await.unwrap_err().kind, Kind::RangeNotSatisfiable);
        p.close(Outcome::done(200)).await.unwrap();
    }
    let report = kit.audit(Some(tenant)).await;
    assert!(!report.summary.places.is_empty(), "the map says where the bytes are");
}

#[tokio::test]
async fn joined_content_shares_its_bytes() {
    let (kit, tenant, anna) = region(4).await;
    let p: Permit<Write> = permit(&kit, &anna, tenant, Weight::With).await.unwrap();
    let (mut parts, mut all) = (Vec::new(), Vec::new());
    for i in 0..40u8 {
        let bytes = vec![i; 1000 + usize::from(i) * 3000];
        all.extend_from_slice(&bytes);
        parts.push(p.stage_bytes(bytes.into()).await.unwrap());
    }
    let contents: Vec<Content> = parts.iter().map(|s| s.content.clone()).collect();
    let joined = p.join(&contents).await.unwrap();
    let mut batch =
        Batch::new().adopt(&joined).put(TABLE, "joined", &Thing { name: "joined".into(), content: Some(joined.content.clone()) });
    for part in &parts {
        batch = batch.adopt(part);
    }
    p.commit(batch, Outcome::done(201)).await.unwrap();
    let p: Permit<Read> = permit(&kit, &anna, tenant, Weight::Batched).await.unwrap();
    assert_eq!(read(p.data().content(&joined.content, 0..all.len() as u64)).await.unwrap(), all);
    let middle = read(p.data().content(&joined.content, 12_345..1_000_000)).await.unwrap();
    assert_eq!(middle, &all[12_345..1_000_000]);
    p.close(Outcome::done(206)).await.unwrap();
}

#[tokio::test]
async fn dropped_content_is_collected_after_its_delay_and_shared_chunks_live_on() {
    let blobs = std::sync::Arc::new(testkit::MemoryBlobs::new(base::SiteName::new("paris-1").unwrap()));
    let kit = Kit::start(Setup::new(5).on(store::open_memory().unwrap(), blobs.clone())).await;
    let tenant = add_tenant(&kit).await;
    let chance = kit.trust.chance();
    let anna = Principal {
        tenant,
        object: ObjectId::random(&*chance),
        app: base::AppId::random(&*chance),
        kind: PrincipalKind::User,
        name: "anna".into(),
    };
    let p: Permit<Write> = permit(&kit, &anna, tenant, Weight::With).await.unwrap();
    let (a, b) = (p.stage_bytes(vec![1; 10_000].into()).await.unwrap(), p.stage_bytes(vec![2; 10_000].into()).await.unwrap());
    let both = p.join(&[a.content.clone(), b.content.clone()]).await.unwrap();
    p.commit(Batch::new().adopt(&a).adopt(&b).adopt(&both), Outcome::done(201)).await.unwrap();
    assert_eq!(blobs.len(), 2);
    let p: Permit<Write> = permit(&kit, &anna, tenant, Weight::With).await.unwrap();
    p.commit(Batch::new().replace_content(both.content.clone(), &a.content), Outcome::done(200)).await.unwrap();
    assert_eq!(kit.trust.collect().await.unwrap(), 0, "a reader may still be in it");
    kit.clock.advance_seconds(3_601);
    assert_eq!(kit.trust.collect().await.unwrap(), 1);
    assert_eq!(blobs.len(), 1);
    let p: Permit<Read> = permit(&kit, &anna, tenant, Weight::Batched).await.unwrap();
    assert_eq!(read(p.data().content(&a.content, 0..10_000)).await.unwrap(), vec![1; 10_000]);
    p.close(Outcome::done(200)).await.unwrap();
}

#[tokio::test]
async fn before_acts_are_opened_and_closed_and_a_dropped_permit_is_unfinished() {
    let (kit, tenant, anna) = region(6).await;
    let p: Permit<Write> = permit(&kit, &anna, tenant, Weight::Before).await.unwrap();
    p.commit(Batch::new().put(TABLE, "x", &thing("x")), Outcome::done(200)).await.unwrap();
    let p: Permit<Read> = permit(&kit, &anna, tenant, Weight::Indexed).await.unwrap();
    p.close(Outcome::done(200)).await.unwrap();
    drop(permit::<Write>(&kit, &anna, tenant, Weight::Before).await.unwrap());
    let report = kit.audit(Some(tenant)).await;
    let entries = kit.trust.entries_from(Some(tenant), 0).await.unwrap();
    let closes = entries.iter().filter(|(_, e, _)| e.draft.phase == record::Phase::Close).count();
    assert_eq!(closes, 3, "{report:?}");
    assert!(entries.iter().any(|(_, _, event)| event.as_ref().is_some_and(|e| e.outcome.ended == record::Ended::Unfinished)));
}

#[tokio::test]
async fn another_tenants_resource_does_not_exist() {
    let (kit, tenant, anna) = region(7).await;
    let other = add_tenant(&kit).await;
    let refused = permit::<Read>(&kit, &anna, other, Weight::Batched).await.unwrap_err();
    let unknown = permit::<Read>(&kit, &anna, TenantId::random(&*kit.trust.chance()), Weight::Batched).await.unwrap_err();
    assert_eq!((refused.kind, &refused.code), (Kind::NotFound, &unknown.code));
    let refused = permit::<Write>(&kit, &anna, other, Weight::Before).await.unwrap_err();
    assert_eq!(refused.kind, Kind::NotFound);
    kit.audit(Some(tenant)).await;
    kit.audit(Some(other)).await;
    kit.audit(None).await;
    // one tenant's bundle opens nothing of the other's
    let entries = kit.trust.entries_from(Some(other), 0).await.unwrap();
    assert!(entries.iter().filter_map(|(_, _, e)| e.as_ref()).all(|e| e.owner != record::Owner::Tenant(tenant)));
}

#[tokio::test]
async fn a_region_part_reaches_only_its_own_verbs() {
    let (kit, tenant, _) = region(8).await;
    let near = kit.region("test");
    let refused = near
        .permit::<Read>("Peek", &["Microsoft.Storage/things/read"], true, &ResourceId::tenant(tenant), Weight::With, "")
        .await
        .unwrap_err();
    assert_eq!(refused.kind, Kind::NotFound);
}

#[tokio::test]
async fn a_region_opens_again_with_what_it_had_and_closes_what_a_crash_left_open() {
    let kv = store::open_memory().unwrap();
    let blobs: std::sync::Arc<dyn store::Blobs> = std::sync::Arc::new(testkit::MemoryBlobs::new(base::SiteName::new("paris-1").unwrap()));
    let kit = Kit::start(Setup::new(9).on(kv.clone(), blobs.clone())).await;
    let tenant = add_tenant(&kit).await;
    let chance = kit.trust.chance();
    let anna = Principal {
        tenant,
        object: ObjectId::random(&*chance),
        app: base::AppId::random(&*chance),
        kind: PrincipalKind::User,
        name: "anna".into(),
    };
    let open: Permit<Write> = permit(&kit, &anna, tenant, Weight::Before).await.unwrap();
    kit.trust.turn().await.unwrap();
    // a crash: nothing of the first process runs on
    std::mem::forget(open);
    kit.crash();
    let kit = Kit::start(Setup::new(10).on(kv, blobs)).await;
    while !kit.trust.is_swept() {
        tokio::task::yield_now().await;
    }
    kit.trust.turn().await.unwrap();
    let entries = kit.trust.entries_from(Some(tenant), 0).await.unwrap();
    assert!(entries.iter().any(|(_, e, event)| e.draft.phase == record::Phase::Close && event.as_ref().unwrap().fact("swept").is_some()));
    assert!(entries.iter().any(|(_, _, e)| e.as_ref().is_some_and(|e| e.verb == record::catalogue::BATCH_LOST.name)));
    kit.audit(Some(tenant)).await;
}

#[tokio::test]
async fn a_space_of_another_place_is_refused() {
    let (kit, tenant, anna) = region(11).await;
    let account = ResourceId::tenant(tenant).provider("Microsoft.Storage/storageAccounts", "a").unwrap();
    let p: Permit<Write> =
        kit.near(Caller::Principal(anna)).permit("Create", &["x/write"], false, &account, Weight::Before, "").await.unwrap();
    let failed = p.commit(Batch::new().create_space(Location::new("eastus").unwrap()), Outcome::done(201)).await.unwrap_err();
    assert_eq!(failed.error.code, "LocationNotAvailable");
    kit.audit(Some(tenant)).await;
}

#[tokio::test]
async fn a_new_subscription_belongs_to_its_tenant_from_the_first_row() {
    let (kit, tenant, anna) = region(12).await;
    let id = base::SubscriptionId::random(&*kit.trust.chance());
    let target = ResourceId::subscription(id);
    let near = kit.region("test");
    let permit: Permit<Write> =
        near.permit("Create Subscription", &["bleu.test/subscriptions/write"], false, &target, Weight::With, "").await.unwrap();
    let fact = Fact::Subscription(trust::Subscription { id, tenant, name: "Main".into() });
    let batch = Batch::new().claim_fact(fact).create_space(Location::new("francecentral").unwrap()).put(TABLE, "x", &thing("x"));
    permit.commit(batch, Outcome::done(201)).await.unwrap();
    assert_eq!(kit.trust.facts(|f| f.space(&target).unwrap().tenant), Some(tenant));
    let p: Permit<Read> = kit.near(Caller::Principal(anna)).permit("Read", &["x/read"], false, &target, Weight::Batched, "").await.unwrap();
    assert!(p.data().get::<Thing>(TABLE, "x").await.unwrap().is_some());
    p.close(Outcome::done(200)).await.unwrap();
    let report = kit.audit(Some(tenant)).await;
    assert!(report.findings.is_empty());
}

#[tokio::test]
async fn chunks_of_a_commit_outlive_a_restart_and_those_of_a_crash_are_freed() {
    let folder = tempfile::tempdir().unwrap();
    let disk = || std::sync::Arc::new(store::disk::RealDisk::new(folder.path()).unwrap());
    let segments = || -> std::sync::Arc<dyn store::Blobs> {
        std::sync::Arc::new(store::Segments::open(base::SiteName::new("paris-1").unwrap(), disk()).unwrap())
    };
    let kv = store::open_memory().unwrap();
    let kit = Kit::start(Setup::new(13).on(kv.clone(), segments())).await;
    let tenant = add_tenant(&kit).await;
    let chance = kit.trust.chance();
    let anna = Principal {
        tenant,
        object: ObjectId::random(&*chance),
        app: base::AppId::random(&*chance),
        kind: PrincipalKind::User,
        name: "anna".into(),
    };
    let p: Permit<Write> = permit(&kit, &anna, tenant, Weight::With).await.unwrap();
    let staged = p.stage_bytes(vec![5; 300_000].into()).await.unwrap();
    p.commit(Batch::new().adopt(&staged), Outcome::done(201)).await.unwrap();
    let p: Permit<Write> = permit(&kit, &anna, tenant, Weight::With).await.unwrap();
    // forty MiB that no commit adopts
    for _ in 0..10 {
        p.stage_bytes(vec![6; 4 << 20].into()).await.unwrap();
    }
    drop(p);
    kit.crash();
    let blobs = segments();
    let kit = Kit::start(Setup::new(14).on(kv, blobs.clone())).await;
    while !kit.trust.is_swept() {
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
    kit.trust.free_orphans().await.unwrap();
    let p: Permit<Read> = permit(&kit, &anna, tenant, Weight::Batched).await.unwrap();
    assert_eq!(read(p.data().content(&staged.content, 0..300_000)).await.unwrap(), vec![5; 300_000]);
    p.close(Outcome::done(200)).await.unwrap();
    use std::os::unix::fs::MetadataExt;
    let used: u64 = std::fs::read_dir(folder.path()).unwrap().map(|f| f.unwrap().metadata().unwrap().blocks() * 512).sum();
    assert!(used < 20 << 20, "{used} bytes are still used");
}

#[tokio::test]
async fn a_read_is_closed_before_its_last_part_is_given_away() {
    let (kit, tenant, anna) = region(15).await;
    for parts in [1, 3] {
        let p: Permit<Read> = permit(&kit, &anna, tenant, Weight::Batched).await.unwrap();
        let bytes: Vec<base::Result<Bytes>> = (0..parts).map(|_| Ok(Bytes::from_static(b"four"))).collect();
        let mut stream = p.close_at_end(Box::pin(futures::stream::iter(bytes)), Outcome::done(200));
        for _ in 0..parts {
            assert_eq!(stream.next().await.unwrap().unwrap(), "four");
        }
        // as a server does that has sent all it announced: the end is never asked for
        drop(stream);
    }
    kit.trust.turn().await.unwrap();
    let entries = kit.trust.entries_from(Some(tenant), 0).await.unwrap();
    let lines: Vec<_> = entries.iter().filter_map(|(_, _, e)| e.as_ref()).flat_map(|e| &e.lines).collect();
    assert_eq!(lines.iter().map(|l| l.bytes).sum::<u64>(), 16);
    assert!(lines.iter().all(|l| l.outcome.ended == record::Ended::Done), "{lines:?}");
}

#[tokio::test]
async fn guesses_side_by_side_are_counted_one_by_one() {
    let (kit, tenant, anna) = region(60).await;
    let secret = |text: &str| crypto::SecretBytes::from(text.to_owned());
    let credential = trust::Credential::password(&*kit.trust.chance(), &secret("right"), kit.now(), None, 0).unwrap();
    let p: Permit<Write> = permit(&kit, &anna, tenant, Weight::Indexed).await.unwrap();
    p.commit(Batch::new().set_credential(&anna.object.to_string(), "password", credential), Outcome::done(200)).await.unwrap();
    let guesses = (0..30).map(|i| {
        let (trust, guess) = (kit.trust.clone(), secret(&format!("wrong {i}")));
        async move { trust.credentials().check_secret(tenant, anna.object, guess, None).await.unwrap().unwrap_err() }
    });
    let answers = futures::future::join_all(guesses).await;
    assert_eq!(answers.iter().filter(|a| **a == trust::Denied::Wrong).count(), 10, "{answers:?}");
    kit.stop().await;
}

#[tokio::test]
async fn reads_answered_before_the_store_failed_are_recorded_once_it_is_back() {
    let setup = Setup::new(61);
    let kv = Sulking::over(setup.kv.clone());
    let blobs = setup.blobs.clone();
    let kit = Kit::start(setup.on(kv.clone(), blobs)).await;
    let tenant = add_tenant(&kit).await;
    let chance = kit.trust.chance();
    let (object, app) = (ObjectId::random(&*chance), base::AppId::random(&*chance));
    let anna = Principal { tenant, object, app, kind: PrincipalKind::User, name: "anna".into() };
    kit.trust.turn().await.unwrap();
    let p: Permit<Read> = permit(&kit, &anna, tenant, Weight::Batched).await.unwrap();
    kv.feels(Mood::Full);
    p.close(Outcome::done(200)).await.unwrap();
    assert!(kit.trust.turn().await.is_err());
    kv.feels(Mood::Good);
    kit.trust.turn().await.unwrap();
    let report = kit.audit(Some(tenant)).await;
    assert!(format!("{report:?}").contains("anna"), "{report:?}");
    kit.stop().await;
}

/// A level of the tree that does not grow in a run keeps its part: witnesses' proofs and the next start need it.
#[tokio::test]
async fn a_log_of_many_tiles_keeps_its_edge() {
    let setup = Setup::new(62);
    let (kv, blobs) = (setup.kv.clone(), setup.blobs.clone());
    let mut kit = Kit::start(setup).await;
    let tenant = add_tenant(&kit).await;
    for start in 0..7 {
        let near = kit.region("test");
        for number in 0..100 {
            let name = format!("{start}-{number}");
            let target = ResourceId::tenant(tenant);
            let p: Permit<Write> = near.permit("Write", &["bleu.test/write"], false, &target, Weight::With, "").await.unwrap();
            p.commit(Batch::new().put(TABLE, &name, &thing(&name)), Outcome::done(201)).await.unwrap();
        }
        kit.trust.turn().await.unwrap();
        kit.audit(Some(tenant)).await;
        kit.crash();
        kit = Kit::start(Setup::new(63 + start).on(kv.clone(), blobs.clone())).await;
    }
    kit.stop().await;
}

/// Every row of a store.
async fn rows(kv: &dyn store::Kv) -> Vec<store::Row> {
    kv.scan(store::KeyRange { start: Vec::new(), end: None }, store::PAGE_ROWS_MAX, false).await.unwrap().rows
}

/// What a region is lies in its store: under other settings, or another root key, nothing is opened and nothing written.
#[tokio::test]
async fn a_region_stays_what_it_was_made() {
    let setup = Setup::new(64);
    let (kv, blobs) = (setup.kv.clone(), setup.blobs.clone());
    assert_eq!(trust::Trust::made(&*kv, &crypto::Secret::new([7; 32])).await.unwrap(), None);
    // a stopped kit would close the store with it
    Kit::start(setup).await.crash();
    let before = rows(&*kv).await;
    let elsewhere = std::sync::Arc::new(testkit::MemoryBlobs::new(base::SiteName::new("berlin-1").unwrap()));
    let refused = Kit::try_start(Setup::new(65).on(kv.clone(), elsewhere)).await.err().unwrap();
    assert_eq!((refused.kind, &*refused.code), (Kind::Conflict, "NotThisRegion"));
    let wrong = trust::Trust::made(&*kv, &crypto::Secret::new([8; 32])).await.unwrap_err();
    assert_eq!((wrong.kind, &*wrong.code), (Kind::Forbidden, "WrongRootKey"));
    let made = trust::Trust::made(&*kv, &crypto::Secret::new([7; 32])).await.unwrap().unwrap();
    assert_eq!((made.domain.as_str(), made.location.as_str(), made.places.len()), ("bleu.localhost", "francecentral", 1));
    assert_eq!(rows(&*kv).await, before);
    let kit = Kit::start(Setup::new(66).on(kv, blobs)).await;
    kit.audit(None).await;
    kit.stop().await;
}

/// On a disk that is nearly full, what only adds is refused; deletes, the record and a start go on.
#[tokio::test]
async fn a_nearly_full_disk_is_emptied_by_its_customers() {
    let disk = store::SimDisk::new(67);
    let open = || -> (std::sync::Arc<dyn store::Kv>, std::sync::Arc<dyn store::Blobs>) {
        let disk: std::sync::Arc<dyn store::disk::Disk> = std::sync::Arc::new(disk.clone());
        let segments = store::Segments::open(base::SiteName::new("paris-1").unwrap(), disk.clone()).unwrap();
        (store::open_redb_on(disk).unwrap(), std::sync::Arc::new(segments))
    };
    let (kv, blobs) = open();
    let kit = Kit::start(Setup::new(67).on(kv, blobs)).await;
    let tenant = add_tenant(&kit).await;
    let chance = kit.trust.chance();
    let (object, app) = (ObjectId::random(&*chance), base::AppId::random(&*chance));
    let anna = Principal { tenant, object, app, kind: PrincipalKind::User, name: "anna".into() };
    let put = async |kit: &Kit, weight: Weight| -> base::Result<()> {
        let p: Permit<Write> = permit(kit, &anna, tenant, weight).await?;
        Ok(p.commit(Batch::new().put(TABLE, "second", &thing("second")), Outcome::done(201)).await.map(drop)?)
    };
    let delete = async |kit: &Kit, weight: Weight| -> base::Result<()> {
        let near = kit.near(Caller::Principal(anna.clone()));
        let p: Permit<Write> =
            near.permit("Delete", &["Microsoft.Test/things/delete"], true, &ResourceId::tenant(tenant), weight, "").await?;
        Ok(p.commit(Batch::new().delete(TABLE, "second"), Outcome::done(200)).await.map(drop)?)
    };
    put(&kit, Weight::With).await.unwrap();
    let used = || u64::MAX - store::disk::Disk::free_bytes(&disk).unwrap();
    disk.set_capacity_bytes(used() + store::ROWS_RESERVE_BYTES - (1 << 20));
    for weight in [Weight::With, Weight::Before] {
        assert_eq!(put(&kit, weight).await.unwrap_err().code, "DiskFull");
        delete(&kit, weight).await.unwrap();
    }
    assert!(kit.trust.status().await.free_bytes.unwrap() < store::ROWS_RESERVE_BYTES);
    kit.audit(Some(tenant)).await;
    kit.stop().await;
    let (kv, blobs) = open();
    let kit = Kit::start(Setup::new(68).on(kv, blobs)).await;
    delete(&kit, Weight::With).await.unwrap();
    disk.set_capacity_bytes(u64::MAX);
    put(&kit, Weight::Before).await.unwrap();
    kit.audit(Some(tenant)).await;
    kit.stop().await;
}

/// A region whose store can sulk, with one tenant and a principal of it.
async fn sulking_region(seed: u64) -> (Kit, std::sync::Arc<Sulking>, TenantId, Principal) {
    let setup = Setup::new(seed);
    let (kv, blobs) = (Sulking::over(setup.kv.clone()), setup.blobs.clone());
    let kit = Kit::start(setup.on(kv.clone(), blobs)).await;
    let tenant = add_tenant(&kit).await;
    let chance = kit.trust.chance();
    let (object, app) = (ObjectId::random(&*chance), base::AppId::random(&*chance));
    (kit, kv, tenant, Principal { tenant, object, app, kind: PrincipalKind::User, name: "anna".into() })
}

/// Entries written in a commit whose answer was lost are not written again under another number.
#[tokio::test]
async fn a_lost_answer_records_nothing_twice() {
    let (kit, kv, tenant, anna) = sulking_region(71).await;
    kit.trust.turn().await.unwrap();
    let p: Permit<Read> = permit(&kit, &anna, tenant, Weight::Batched).await.unwrap();
    p.close(Outcome::done(200)).await.unwrap();
    // its closing waits for the next flush
    drop(permit::<Write>(&kit, &anna, tenant, Weight::Before).await.unwrap());
    kv.feels(Mood::Lost);
    for _ in 0..3 {
        assert_eq!(kit.trust.turn().await.unwrap_err().code, "OutcomeUnknown");
    }
    kv.feels(Mood::Good);
    kit.trust.turn().await.unwrap();
    // the auditor would find an act that is closed twice
    kit.audit(Some(tenant)).await;
    let entries = kit.trust.entries_from(Some(tenant), 0).await.unwrap();
    let reads: u64 = entries.iter().filter_map(|(_, _, e)| e.as_ref()).flat_map(|e| &e.lines).map(|l| l.count).sum();
    assert_eq!(reads, 1);
    assert_eq!(entries.iter().filter(|(_, e, _)| e.draft.phase == record::Phase::Close).count(), 1);
    kit.stop().await;
}

/// An act whose opening or closing got no answer has both in the end, each once.
#[tokio::test]
async fn an_act_whose_answer_was_lost_is_opened_and_closed_once() {
    let (kit, kv, tenant, anna) = sulking_region(72).await;
    kv.feels(Mood::Lost);
    assert_eq!(permit::<Write>(&kit, &anna, tenant, Weight::Before).await.unwrap_err().code, "OutcomeUnknown");
    kv.feels(Mood::Good);
    let p: Permit<Read> = permit(&kit, &anna, tenant, Weight::Before).await.unwrap();
    kv.feels(Mood::Lost);
    assert_eq!(p.close(Outcome::done(200)).await.unwrap_err().code, "OutcomeUnknown");
    kv.feels(Mood::Good);
    let p: Permit<Read> = permit(&kit, &anna, tenant, Weight::Before).await.unwrap();
    kv.feels(Mood::Full);
    assert_eq!(p.close(Outcome::done(200)).await.unwrap_err().code, "DiskFull");
    kv.feels(Mood::Good);
    kit.trust.turn().await.unwrap();
    let report = kit.audit(Some(tenant)).await;
    assert_eq!(report.summary.unfinished_count, 0, "{report:?}");
    let entries = kit.trust.entries_from(Some(tenant), 0).await.unwrap();
    let closings: Vec<_> = entries.iter().filter(|(_, e, _)| e.draft.phase == record::Phase::Close).collect();
    let ended: Vec<_> = closings.iter().map(|(_, _, e)| e.as_ref().unwrap().outcome.ended).collect();
    let unfinished = ended.iter().filter(|e| **e == record::Ended::Unfinished).count();
    assert_eq!((ended.len(), unfinished), (3, 2), "{ended:?}");
    kit.stop().await;
}

/// Whoever goes away while an entry is written leaves no act open.
#[tokio::test]
async fn whoever_leaves_in_the_middle_leaves_no_act_open() {
    let (kit, _, tenant, anna) = sulking_region(73).await;
    for polls in 0..3 {
        let mut asking = std::pin::pin!(permit::<Write>(&kit, &anna, tenant, Weight::Indexed));
        for _ in 0..=polls {
            // the committer's thread may have been quick: then there is nothing left to leave
            if futures::poll!(&mut asking).is_ready() {
                break;
            }
            tokio::task::yield_now().await;
        }
    }
    kit.trust.turn().await.unwrap();
    kit.trust.turn().await.unwrap();
    let report = kit.audit(Some(tenant)).await;
    assert_eq!(report.summary.unfinished_count, 0, "{report:?}");
    kit.stop().await;
}

/// A crash right after an opening: gives the store, and the opening's entry.
async fn crashed_with_an_open_act(seed: u64) -> (std::sync::Arc<dyn store::Kv>, std::sync::Arc<dyn store::Blobs>, TenantId, base::EntryId) {
    let setup = Setup::new(seed);
    let (kv, blobs) = (setup.kv.clone(), setup.blobs.clone());
    let kit = Kit::start(setup).await;
    let tenant = add_tenant(&kit).await;
    let chance = kit.trust.chance();
    let (object, app) = (ObjectId::random(&*chance), base::AppId::random(&*chance));
    let anna = Principal { tenant, object, app, kind: PrincipalKind::User, name: "anna".into() };
    std::mem::forget(permit::<Write>(&kit, &anna, tenant, Weight::Before).await.unwrap());
    kit.trust.turn().await.unwrap();
    let entries = kit.trust.entries_from(Some(tenant), 0).await.unwrap();
    let opening = entries.iter().find(|(_, e, _)| e.draft.phase == record::Phase::Open).unwrap().1.id;
    kit.crash();
    (kv, blobs, tenant, opening)
}

async fn until_swept(kit: &Kit) {
    while !kit.trust.is_swept() {
        tokio::task::yield_now().await;
    }
    kit.trust.turn().await.unwrap();
}

fn opening_row(opening: base::EntryId) -> Vec<u8> {
    store::key(base::Shard(0), &[b"p", &(opening.number - 1).to_be_bytes()])
}

async fn change(kv: &std::sync::Arc<dyn store::Kv>, op: store::Op) {
    let commit = store::Commit { shard: base::Shard(0), idem: 0, checks: Vec::new(), ops: vec![op] };
    kv.commit(commit).await.unwrap();
}

/// Whose act it was is told by its tag, even where its opening is gone.
#[tokio::test]
async fn an_act_whose_opening_is_lost_is_closed_all_the_same() {
    let (kv, blobs, tenant, opening) = crashed_with_an_open_act(74).await;
    let (_, bytes) = kv.get(&opening_row(opening)).await.unwrap().unwrap();
    change(&kv, store::Op::Delete(opening_row(opening))).await;
    let kit = Kit::start(Setup::new(75).on(kv.clone(), blobs)).await;
    until_swept(&kit).await;
    // put back, so that the auditor reads it
    change(&kv, store::Op::Put(opening_row(opening), bytes)).await;
    let report = kit.audit(Some(tenant)).await;
    assert_eq!(report.summary.unfinished_count, 0, "{report:?}");
    let entries = kit.trust.entries_from(Some(tenant), 0).await.unwrap();
    let closing = entries.iter().find(|(_, e, _)| e.draft.opens == Some(opening)).unwrap().2.as_ref().unwrap();
    assert_eq!((&*closing.verb, closing.outcome.ended), (record::catalogue::ACT_SWEPT.name, record::Ended::Unfinished));
    assert!(kit.trust.status().await.left_open.is_empty());
    kit.stop().await;
}

/// A store in which one row can't be seen, as after a repair that lost it.
struct Blind {
    kv: std::sync::Arc<dyn store::Kv>,
    hidden: Vec<Vec<u8>>,
}

impl store::Kv for Blind {
    fn get<'a>(&'a self, key: &'a [u8]) -> base::Fut<'a, base::Result<Option<(store::Version, Bytes)>>> {
        if self.hidden.iter().any(|hidden| hidden == key) { Box::pin(async { Ok(None) }) } else { self.kv.get(key) }
    }
    fn scan<'a>(&'a self, range: store::KeyRange, limit: usize, reverse: bool) -> base::Fut<'a, base::Result<store::Page>> {
        Box::pin(async move {
            let mut page = self.kv.scan(range, limit, reverse).await?;
            page.rows.retain(|row| !self.hidden.contains(&row.key));
            Ok(page)
        })
    }
    fn commit(&self, commit: store::Commit) -> base::Fut<'_, Result<store::Committed, store::CommitError>> {
        self.kv.commit(commit)
    }
    fn resolve(&self, shard: base::Shard, idem: u128) -> base::Fut<'_, Result<Option<store::Committed>, store::CommitError>> {
        self.kv.resolve(shard, idem)
    }
    fn head(&self, shard: base::Shard) -> base::Fut<'_, Result<store::Head, store::CommitError>> {
        self.kv.head(shard)
    }
    fn close(&self) -> base::Fut<'_, base::Result<()>> {
        self.kv.close()
    }
}

/// What can't be closed is told, kept in sight by every start, and closed once it can be.
#[tokio::test]
async fn an_act_that_cannot_be_closed_is_never_lost_sight_of() {
    let (kv, blobs, tenant, opening) = crashed_with_an_open_act(76).await;
    // neither the opening nor its owner is there
    let tenant_fact = store::key(base::Shard(0), &[b"f", format!("tenant/{tenant}").as_bytes()]);
    let blind = || std::sync::Arc::new(Blind { kv: kv.clone(), hidden: vec![opening_row(opening), tenant_fact.clone()] });
    for start in 0..2 {
        let kit = Kit::start(Setup::new(77 + start).on(blind(), blobs.clone())).await;
        until_swept(&kit).await;
        let left = kit.trust.status().await.left_open;
        assert_eq!(left.iter().map(|act| act.opening).collect::<Vec<_>>(), [opening], "start {start}");
        let entries = kit.trust.entries_from(None, 0).await.unwrap();
        let told = entries.iter().filter_map(|(_, _, e)| e.as_ref()).filter(|e| e.verb == record::catalogue::ACT_LEFT_OPEN.name);
        assert_eq!(told.map(|e| e.fact("opens").unwrap().to_owned()).collect::<Vec<_>>(), [opening.to_string()]);
        kit.crash();
    }
    for start in 0..2 {
        let kit = Kit::start(Setup::new(79 + start).on(kv.clone(), blobs.clone())).await;
        until_swept(&kit).await;
        assert!(kit.trust.status().await.left_open.is_empty());
        let report = kit.audit(Some(tenant)).await;
        assert_eq!(report.summary.unfinished_count, 0, "{report:?}");
        kit.crash();
    }
}

/// A witness that cosigns, or says nothing.
struct FakeWitness {
    signer: record::NoteSigner,
    seen: std::sync::Mutex<Option<record::witness::Watched>>,
    silent: tokio::sync::watch::Sender<bool>,
    /// Checkpoints shown to it, as bytes.
    shown: std::sync::Mutex<Vec<Vec<u8>>>,
    /// Requests that it has not answered.
    pending: std::sync::atomic::AtomicUsize,
}

impl FakeWitness {
    fn new(name: &str, seed: u8, silent: bool) -> std::sync::Arc<FakeWitness> {
        let key = crypto::NoteKey::from_seed(crypto::Secret::new([seed; 32])).unwrap();
        let public = record::VerifierKey::new(name, record::KeyKind::Cosigner, key.public()).unwrap();
        std::sync::Arc::new(FakeWitness {
            signer: record::NoteSigner::new(public, move |message| Ok(key.sign(message))),
            seen: Default::default(),
            silent: tokio::sync::watch::Sender::new(silent),
            shown: Default::default(),
            pending: Default::default(),
        })
    }
    fn watch(&self, kit: &Kit) {
        let log = kit.trust.trust_keys(None).unwrap().log;
        *self.seen.lock().unwrap() = Some(record::witness::Watched { log, seen: record::witness::Seen::nothing() });
    }
}

impl trust::Witness for FakeWitness {
    fn key(&self) -> &record::VerifierKey {
        self.signer.key()
    }
    fn add_checkpoint(&self, body: Vec<u8>) -> base::Fut<'_, base::Result<(u16, Vec<u8>)>> {
        use std::sync::atomic::Ordering::SeqCst;
        Box::pin(async move {
            let note = record::witness::AddCheckpoint::parse(&body).unwrap().checkpoint;
            self.shown.lock().unwrap().push(note.to_bytes());
            self.pending.fetch_add(1, SeqCst);
            self.silent.subscribe().wait_for(|silent| !silent).await.unwrap();
            self.pending.fetch_sub(1, SeqCst);
            let mut seen = self.seen.lock().unwrap();
            let answer = record::witness::add_checkpoint(|_| seen.as_ref(), &body, &self.signer, testkit::START);
            if let (Some(watched), Some(now)) = (seen.as_mut(), answer.seen) {
                watched.seen = now;
            }
            Ok((answer.status, answer.body.into_bytes()))
        })
    }
}

/// A witness that says nothing delays nobody: not the acts that wait for their index, not the other witnesses.
#[tokio::test]
async fn a_silent_witness_delays_nobody() {
    use std::sync::atomic::Ordering::SeqCst;
    let (silent, good) = (FakeWitness::new("silent", 1, true), FakeWitness::new("good", 2, false));
    let kit = Kit::start(Setup::new(81).witnesses(vec![silent.clone(), good.clone()])).await;
    silent.watch(&kit);
    good.watch(&kit);
    let tenant = add_tenant(&kit).await;
    let chance = kit.trust.chance();
    let (object, app) = (ObjectId::random(&*chance), base::AppId::random(&*chance));
    let anna = Principal { tenant, object, app, kind: PrincipalKind::User, name: "anna".into() };
    let shown_by = |witness: &FakeWitness| {
        let published = record::SignedCheckpoint::parse(&kit.trust.checkpoint().now_or_never()??).ok()?;
        Some(published.note.signed_by(witness.signer.key()))
    };
    while silent.pending.load(SeqCst) == 0 || !matches!(shown_by(&good), Some(record::Signed::Good { .. })) {
        tokio::task::yield_now().await;
    }
    // the round that asks the silent one is in flight
    let p: Permit<Read> = permit(&kit, &anna, tenant, Weight::Indexed).await.unwrap();
    p.close(Outcome::done(200)).await.unwrap();
    assert_eq!(silent.pending.load(SeqCst), 1, "still in flight, and alone");
    assert_eq!(shown_by(&silent), Some(record::Signed::Missing));
    assert!(!kit.trust.status().await.cosigned);
    // back again: an export asks everyone, and shows what was signed once
    silent.silent.send_replace(false);
    kit.audit(Some(tenant)).await;
    assert!(kit.trust.status().await.cosigned);
    kit.stop().await;
    let mut shown = good.shown.lock().unwrap().clone();
    shown.extend(silent.shown.lock().unwrap().clone());
    let mut signatures: std::collections::HashMap<u64, std::collections::HashSet<Vec<u8>>> = Default::default();
    for bytes in shown {
        let checkpoint = record::SignedCheckpoint::parse(&bytes).unwrap();
        let own = String::from_utf8_lossy(&bytes).lines().find(|l| l.starts_with("— bleu.localhost")).unwrap().as_bytes().to_vec();
        signatures.entry(checkpoint.checkpoint.size).or_default().insert(own);
    }
    assert!(signatures.values().all(|s| s.len() == 1));
}

/// Tiles and proofs of an older size are there while the log grows on.
#[tokio::test]
async fn a_bundle_is_exported_while_the_log_grows() {
    let (kit, tenant, anna) = region(82).await;
    let stop = std::sync::atomic::AtomicBool::new(false);
    let writing = async {
        while !stop.load(std::sync::atomic::Ordering::SeqCst) {
            for number in 0..50 {
                let p: Permit<Write> = permit(&kit, &anna, tenant, Weight::With).await.unwrap();
                p.commit(Batch::new().put(TABLE, number.to_string(), &thing("x")), Outcome::done(201)).await.unwrap();
            }
            kit.trust.turn().await.unwrap();
        }
    };
    let auditing = async {
        for _ in 0..10 {
            kit.audit(Some(tenant)).await;
            tokio::task::yield_now().await;
        }
        stop.store(true, std::sync::atomic::Ordering::SeqCst);
    };
    tokio::join!(writing, auditing);
    kit.stop().await;
}

/// Memory follows the store: after an answer that was lost, and after a caller that went away in the middle.
#[tokio::test]
async fn facts_are_learnt_from_a_commit_nobody_heard_of() {
    let (kit, kv, tenant, anna) = sulking_region(83).await;
    let assignment = |name: &str| {
        let id = ResourceId::tenant(tenant).provider("Microsoft.Authorization/roleAssignments", name).unwrap();
        let scope = ResourceId::tenant(tenant);
        let role = "acdd72a7-3385-48ef-bd42-f606fba81ae7".to_owned();
        Fact::Assignment(trust::Assignment {
            id,
            tenant,
            scope,
            role,
            principal: anna.object,
            principal_kind: PrincipalKind::User,
            created: kit.now(),
            created_by: None,
            description: None,
        })
    };
    let known = |name: &str| kit.trust.facts(|f| f.get(&assignment(name).key()).is_some());

    let p: Permit<Write> = permit(&kit, &anna, tenant, Weight::Indexed).await.unwrap();
    kv.feels(Mood::Lost);
    let failed = p.commit(Batch::new().put_fact(assignment("lost")), Outcome::done(201)).await.unwrap_err();
    assert_eq!(failed.error.code, "OutcomeUnknown");
    kv.feels(Mood::Good);
    while !known("lost") {
        tokio::task::yield_now().await;
        tokio::time::sleep(std::time::Duration::from_millis(1)).await;
    }
    let p: Permit<Write> = permit(&kit, &anna, tenant, Weight::Indexed).await.unwrap();
    let mut committing = Box::pin(p.commit(Batch::new().put_fact(assignment("left")), Outcome::done(201)));
    let _ = futures::poll!(&mut committing);
    drop(committing);
    while !known("left") {
        tokio::time::sleep(std::time::Duration::from_millis(1)).await;
    }
    kit.trust.turn().await.unwrap();
    let report = kit.audit(Some(tenant)).await;
    assert_eq!(report.summary.unfinished_count, 0, "{report:?}");
    kit.stop().await;
}

/// The region's own parts do what is listed for them, to what it is listed for, and nothing else.
#[tokio::test]
async fn a_part_of_the_region_does_only_what_is_listed_for_it() {
    let (kit, tenant, _) = region(84).await;
    let subscription = ResourceId::subscription(base::SubscriptionId::random(&*kit.trust.chance()));
    let account = ResourceId::parse(&format!("{subscription}/resourceGroups/g/providers/Microsoft.Storage/storageAccounts/a")).unwrap();
    let region_itself = ResourceId::region();
    let tenant = ResourceId::tenant(tenant);
    let (tenant, subscription, account) = (&tenant, &subscription, &account);
    for (part, actions, data, target, allowed) in [
        ("identity", &["bleu.identity/tenants/read"][..], false, tenant, true),
        ("arm", &["bleu.arm/operations/write"], false, subscription, true),
        ("storage", &["bleu.storage/sweep"], false, account, true),
        // nothing asked for is not something to pass
        ("arm", &[], false, subscription, false),
        ("arm", &[], true, account, false),
        // a listed act, about something else
        ("arm", &["bleu.arm/operations/write"], false, account, false),
        ("arm", &["bleu.arm/operations/write"], false, tenant, false),
        ("arm", &["bleu.arm/operations/write"], false, &region_itself, false),
        ("identity", &["bleu.identity/tenants/read"], false, subscription, false),
        ("storage", &["bleu.storage/sweep"], false, subscription, false),
        // data, another's act, an act that nobody listed
        ("storage", &["bleu.storage/sweep"], true, account, false),
        ("storage", &["bleu.arm/operations/write"], false, subscription, false),
        ("arm", &["bleu.arm/operations/write", "bleu.arm/everything"], false, subscription, false),
        ("arm", &["bleu.arm/everything"], false, subscription, false),
        ("arm", &["Microsoft.Storage/storageAccounts/read"], false, account, false),
        ("nobody", &["bleu.nobody/x"], false, tenant, false),
    ] {
        let asked = kit.region(part).permit::<Read>("Try", actions, data, target, Weight::With, "").await;
        assert_eq!(asked.is_ok(), allowed, "{part} {actions:?} {target}");
    }
}
