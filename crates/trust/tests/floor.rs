//! The floor as a whole: a region in memory, permits of each weight, and an auditor who is content with all of it.

use base::{Kind, Location, ObjectId, ResourceId, Stored, TenantId};
use bytes::Bytes;
use futures::StreamExt;
use serde::{Deserialize, Serialize};
use testkit::{Kit, Setup};
use trust::{Batch, Caller, Content, Fact, Outcome, Permit, Principal, PrincipalKind, Read, Span, Staging, Table, Tenant, Weight, Write};

const TABLE: Table = Table(1);

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
    let p: Permit<Write> = permit(&kit, &anna, tenant, Weight::With).await.unwrap();
    p.commit(Batch::new().set_credential(&anna.object.to_string(), "password", credential), Outcome::done(200)).await.unwrap();
    let guesses = (0..30).map(|i| {
        let (trust, guess) = (kit.trust.clone(), secret(&format!("wrong {i}")));
        async move { trust.credentials().check_secret(tenant, anna.object, guess, None).await.unwrap().unwrap_err() }
    });
    let answers = futures::future::join_all(guesses).await;
    assert_eq!(answers.iter().filter(|a| **a == trust::Denied::Wrong).count(), 10, "{answers:?}");
    kit.stop().await;
}

/// A store whose commits can be made to fail.
struct Sulking {
    kv: std::sync::Arc<dyn store::Kv>,
    sulks: std::sync::atomic::AtomicBool,
}

impl store::Kv for Sulking {
    fn get<'a>(&'a self, key: &'a [u8]) -> base::Fut<'a, base::Result<Option<(store::Version, Bytes)>>> {
        self.kv.get(key)
    }
    fn scan<'a>(&'a self, range: store::KeyRange, limit: usize, reverse: bool) -> base::Fut<'a, base::Result<store::Page>> {
        self.kv.scan(range, limit, reverse)
    }
    fn commit(&self, commit: store::Commit) -> base::Fut<'_, Result<store::Committed, store::CommitError>> {
        if self.sulks.load(std::sync::atomic::Ordering::Relaxed) {
            return Box::pin(async { Err(store::CommitError::Full) });
        }
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

#[tokio::test]
async fn reads_answered_before_the_store_failed_are_recorded_once_it_is_back() {
    let setup = Setup::new(61);
    let kv = std::sync::Arc::new(Sulking { kv: setup.kv.clone(), sulks: false.into() });
    let blobs = setup.blobs.clone();
    let kit = Kit::start(setup.on(kv.clone(), blobs)).await;
    let tenant = add_tenant(&kit).await;
    let chance = kit.trust.chance();
    let (object, app) = (ObjectId::random(&*chance), base::AppId::random(&*chance));
    let anna = Principal { tenant, object, app, kind: PrincipalKind::User, name: "anna".into() };
    kit.trust.turn().await.unwrap();
    let p: Permit<Read> = permit(&kit, &anna, tenant, Weight::Batched).await.unwrap();
    kv.sulks.store(true, std::sync::atomic::Ordering::Relaxed);
    p.close(Outcome::done(200)).await.unwrap();
    assert!(kit.trust.turn().await.is_err());
    kv.sulks.store(false, std::sync::atomic::Ordering::Relaxed);
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
