//! What breaks off in the middle, because the store can't or the caller leaves, is taken up again and lost nowhere.

use base::{Location, ObjectId, ResourceId, SiteName, TenantId};
use std::sync::Arc;
use std::time::Duration;
use testkit::{Kit, MemoryBlobs, Mood, Setup, Sulking};
use trust::{Batch, Caller, Content, Fact, Outcome, Permit, Principal, PrincipalKind, Read, Tenant, Weight, Write};

struct World {
    kit: Kit,
    kv: Arc<Sulking>,
    blobs: Arc<MemoryBlobs>,
    tenant: TenantId,
    anna: Principal,
}

impl World {
    async fn start(seed: u64) -> World {
        let setup = Setup::new(seed);
        let (kv, blobs) = (Sulking::over(setup.kv.clone()), Arc::new(MemoryBlobs::new(SiteName::new("paris-1").unwrap())));
        let kit = Kit::start(setup.on(kv.clone(), blobs.clone())).await;
        let chance = kit.trust.chance();
        let tenant = TenantId::random(&*chance);
        let near = kit.region("test");
        let target = ResourceId::tenant(tenant);
        let permit: Permit<Write> = near.permit("Create", &["bleu.test/create"], false, &target, Weight::With, "").await.unwrap();
        let fact = Fact::Tenant(Tenant { id: tenant, name: "T".into(), domains: vec!["t.example".into()] });
        let batch = Batch::new().claim_fact(fact).create_space(Location::new("francecentral").unwrap());
        permit.commit(batch, Outcome::done(201)).await.unwrap();
        let (object, app) = (ObjectId::random(&*chance), base::AppId::random(&*chance));
        let anna = Principal { tenant, object, app, kind: PrincipalKind::User, name: "anna".into() };
        World { kit, kv, blobs, tenant, anna }
    }

    async fn permit<A: trust::Access>(&self, target: &ResourceId, weight: Weight, detail: &str) -> Permit<A> {
        let near = self.kit.near(Caller::Principal(self.anna.clone()));
        near.permit("Test", &["Microsoft.Test/things/write"], true, target, weight, detail).await.unwrap()
    }
    async fn writes(&self) -> Permit<Write> {
        self.permit(&ResourceId::tenant(self.tenant), Weight::With, "").await
    }

    /// A content of so many chunks that others name them.
    async fn indexed(&self) -> Content {
        let permit = self.writes().await;
        let mut parts = Vec::new();
        for part in 0..20u8 {
            parts.push(permit.stage_bytes(vec![part; 5_000].into()).await.unwrap());
        }
        let contents: Vec<Content> = parts.iter().map(|part| part.content.clone()).collect();
        let joined = permit.join(&contents).await.unwrap();
        let batch = parts.iter().fold(Batch::new().adopt(&joined), Batch::adopt);
        permit.commit(batch, Outcome::done(201)).await.unwrap();
        joined.content
    }
    async fn dropped(&self, content: Content) {
        self.writes().await.commit(Batch::new().drop_content(content), Outcome::done(200)).await.unwrap();
    }

    async fn until_chunks_are(&self, count: usize) {
        for _ in 0..2_000 {
            if self.blobs.len() == count {
                return;
            }
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        panic!("{} chunks are left, not {count}", self.blobs.len());
    }
}

/// The chunks were deleted, those of the index among them, and the rows could not be: the next turn ends it.
#[tokio::test]
async fn a_collection_that_broke_off_is_done_again() {
    let world = World::start(201).await;
    let content = world.indexed().await;
    assert_eq!(world.blobs.len(), 21);
    world.dropped(content).await;
    world.kit.clock.advance_seconds(3_601);
    for _ in 0..2 {
        world.kv.feels(Mood::Full);
        assert_eq!(world.kit.trust.collect().await.unwrap_err().code, "DiskFull");
        world.kv.feels(Mood::Good);
    }
    world.kit.trust.collect().await.unwrap();
    world.until_chunks_are(0).await;
    assert_eq!(world.kit.trust.collect().await.unwrap(), 0);
}

/// A content that is damaged keeps its chunks, and nobody else's.
#[tokio::test]
async fn a_dropped_content_that_cannot_be_read_stops_no_collection() {
    let world = World::start(202).await;
    let content = world.indexed().await;
    world.blobs.clear();
    world.dropped(content).await;
    world.kit.clock.advance_seconds(1);
    let later = world.indexed().await;
    world.dropped(later).await;
    world.kit.clock.advance_seconds(3_601);
    assert_eq!(world.kit.trust.collect().await.unwrap(), 21);
    world.until_chunks_are(0).await;
}

/// However much was dropped, a turn takes all that is due: the disk must not fill with what nobody has any more.
#[tokio::test]
async fn one_turn_collects_all_that_is_due() {
    const MANY: usize = 450;
    let world = World::start(203).await;
    let permit = world.writes().await;
    let mut batches = vec![Batch::new(), Batch::new()];
    for number in 0..MANY {
        let staged = permit.stage_bytes(vec![number as u8; 5_000].into()).await.unwrap();
        let batch = std::mem::take(&mut batches[number % 2]);
        batches[number % 2] = batch.adopt(&staged).drop_content(staged.content.clone());
    }
    for batch in batches {
        world.writes().await.commit(batch, Outcome::done(200)).await.unwrap();
    }
    world.kit.clock.advance_seconds(3_601);
    assert_eq!(world.kit.trust.collect().await.unwrap(), MANY as u64);
    assert!(world.blobs.is_empty());
}

/// Chunks of a commit that is known not to have happened belong to nobody, whatever the reason was.
#[tokio::test]
async fn what_a_refused_commit_staged_is_deleted_at_once() {
    let world = World::start(204).await;
    let permit = world.writes().await;
    let staged = permit.stage_bytes(vec![1; 10_000].into()).await.unwrap();
    assert_eq!(world.blobs.len(), 1);
    world.kv.feels(Mood::Full);
    let failed = permit.commit(Batch::new().adopt(&staged), Outcome::done(201)).await.unwrap_err();
    assert_eq!(failed.error.code, "DiskFull");
    drop(staged);
    world.until_chunks_are(0).await;
}

/// A read whose caller leaves, or is refused its answer, while its line waits for room is in the record all the same.
#[tokio::test]
async fn a_read_that_ends_while_the_record_is_full_is_not_lost() {
    // with so many entries behind, whoever ends a read waits for them
    const BACKLOG_MAX: usize = 1_000;
    let world = World::start(205).await;
    let thing = |number: usize| ResourceId::tenant(world.tenant).provider("Microsoft.Test/things", &format!("n{number}")).unwrap();
    world.kit.trust.turn().await.unwrap();
    world.kv.feels(Mood::Full);
    for number in 0..BACKLOG_MAX {
        let permit: Permit<Read> = world.permit(&thing(number), Weight::Batched, "many").await;
        permit.close(Outcome::done(200)).await.unwrap();
    }
    assert!(world.kit.trust.turn().await.is_err());
    let refused: Permit<Read> = world.permit(&thing(0), Weight::Batched, "refused").await;
    assert_eq!(refused.close(Outcome::done(200)).await.unwrap_err().code, "DiskFull");
    world.kv.feels(Mood::Good);
    let left: Permit<Read> = world.permit(&thing(0), Weight::Batched, "left").await;
    {
        let mut closing = std::pin::pin!(left.close(Outcome::done(200)));
        assert!(futures::poll!(&mut closing).is_pending());
    }
    world.kit.trust.turn().await.unwrap();
    let entries = world.kit.trust.entries_from(Some(world.tenant), 0).await.unwrap();
    let lines: Vec<_> = entries.iter().filter_map(|(_, _, event)| event.as_ref()).flat_map(|event| &event.lines).collect();
    assert_eq!(lines.iter().filter(|line| line.detail == "many").count(), BACKLOG_MAX);
    for detail in ["refused", "left"] {
        let found: Vec<_> = lines.iter().filter(|line| line.detail == detail).map(|line| line.outcome.ended).collect();
        assert_eq!(found, [record::Ended::Unfinished], "{detail}");
    }
    world.kit.stop().await;
}

/// A read that goes on while its region stops can't be in the record any more: the next start says that some may be missing.
#[tokio::test]
async fn a_stop_in_the_middle_of_a_read_is_told_by_the_next_start() {
    for cut_off in [false, true] {
        let (kv, blobs) = (store::open_memory().unwrap(), Arc::new(MemoryBlobs::new(SiteName::new("paris-1").unwrap())));
        let kit = Kit::start(Setup::new(206).on(kv.clone(), blobs.clone())).await;
        let near = kit.region("test");
        let region = ResourceId::region();
        let read = || near.permit::<Read>("Read", &["bleu.test/read"], false, &region, Weight::Batched, "");
        let permit = read().await.unwrap();
        let open = if cut_off {
            Some(permit)
        } else {
            permit.close(Outcome::done(200)).await.unwrap();
            None
        };
        kit.stop().await;
        assert_eq!(read().await.unwrap_err().code, "ShuttingDown");
        drop(open);
        let kit = Kit::start(Setup::new(207).on(kv.rival(), blobs)).await;
        kit.trust.turn().await.unwrap();
        let entries = kit.trust.entries_from(record::Owner::Region, 0).await.unwrap();
        let told = entries.iter().filter_map(|(_, _, event)| event.as_ref()).any(|event| event.verb == record::catalogue::BATCH_LOST.name);
        assert_eq!(told, cut_off);
    }
}

/// A store whose first commit that only changes rows under checks, as moving the log does, stays in its queue until
/// something else comes through the queue.
struct Queueing {
    kv: Arc<dyn store::Kv>,
    queue: tokio::sync::Mutex<Option<store::Commit>>,
    holds: std::sync::atomic::AtomicBool,
}

impl Queueing {
    async fn pass(&self) {
        if let Some(commit) = self.queue.lock().await.take() {
            self.kv.commit(commit).await.unwrap();
        }
    }
}

impl store::Kv for Queueing {
    fn get<'a>(&'a self, key: &'a [u8]) -> base::Fut<'a, base::Result<Option<(store::Version, bytes::Bytes)>>> {
        self.kv.get(key)
    }
    fn scan<'a>(&'a self, range: store::KeyRange, limit: usize, reverse: bool) -> base::Fut<'a, base::Result<store::Page>> {
        self.kv.scan(range, limit, reverse)
    }
    fn commit(&self, commit: store::Commit) -> base::Fut<'_, Result<store::Committed, store::CommitError>> {
        Box::pin(async move {
            self.pass().await;
            let moves = !commit.checks.is_empty() && commit.ops.iter().all(|op| !matches!(op, store::Op::Append { .. }));
            if moves && self.holds.swap(false, std::sync::atomic::Ordering::Relaxed) {
                *self.queue.lock().await = Some(commit);
                std::future::pending::<()>().await;
                unreachable!("whoever sent it has gone");
            }
            self.kv.commit(commit).await
        })
    }
    fn resolve(&self, shard: base::Shard, idem: u128) -> base::Fut<'_, Result<Option<store::Committed>, store::CommitError>> {
        self.kv.resolve(shard, idem)
    }
    fn head(&self, shard: base::Shard) -> base::Fut<'_, Result<store::Head, store::CommitError>> {
        Box::pin(async move {
            self.pass().await;
            self.kv.head(shard).await
        })
    }
    fn close(&self) -> base::Fut<'_, base::Result<()>> {
        self.kv.close()
    }
}

/// A stop cuts the turns off wherever they are: what they sent to the store is waited for, and the log moves on from there.
#[tokio::test]
async fn a_move_of_the_log_that_was_given_up_is_waited_for() {
    let setup = Setup::new(208);
    let kv = Arc::new(Queueing { kv: setup.kv.clone(), queue: Default::default(), holds: Default::default() });
    let blobs = setup.blobs.clone();
    let kit = Kit::start(setup.on(kv.clone(), blobs)).await;
    kit.trust.turn().await.unwrap();
    let near = kit.region("test");
    let act = async || {
        let permit = near.permit::<Read>("Read", &["bleu.test/read"], false, &ResourceId::region(), Weight::Batched, "").await.unwrap();
        permit.close(Outcome::done(200)).await.unwrap();
    };
    act().await;
    kv.holds.store(true, std::sync::atomic::Ordering::Relaxed);
    let sent = async {
        while kv.queue.lock().await.is_none() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    tokio::select! {
        turn = kit.trust.turn() => panic!("{turn:?}"),
        () = sent => {}
    }
    kit.trust.turn().await.unwrap();
    act().await;
    kit.stop().await;
}

/// A request that began before a resource ended, and commits after: its rows would be sealed for nobody, also where the
/// resource was made again under its name.
#[tokio::test]
async fn nothing_is_written_into_a_space_that_has_ended() {
    let world = World::start(208).await;
    let thing = ResourceId::tenant(world.tenant).provider("Microsoft.Test/things", "x").unwrap();
    let make = async || {
        let permit: Permit<Write> = world.permit(&thing, Weight::With, "").await;
        permit.commit(Batch::new().create_space(Location::new("francecentral").unwrap()), Outcome::done(201)).await.unwrap();
    };
    make().await;
    let (early, late): (Permit<Write>, Permit<Write>) =
        (world.permit(&thing, Weight::With, "").await, world.permit(&thing, Weight::With, "").await);
    let end: Permit<Write> = world.permit(&thing, Weight::Indexed, "").await;
    end.commit(Batch::new().drop_space(), Outcome::done(200)).await.unwrap();
    let refused = early.commit(Batch::new().delete(trust::Table::of(trust::Keeper::Test, 1), "row"), Outcome::done(201)).await.unwrap_err();
    assert_eq!((refused.error.code.as_ref(), refused.permit.is_none()), ("ResourceNotFound", true));
    make().await;
    let refused = late.commit(Batch::new().delete(trust::Table::of(trust::Keeper::Test, 1), "row"), Outcome::done(201)).await.unwrap_err();
    assert_eq!(refused.error.code, "ResourceNotFound");
}
