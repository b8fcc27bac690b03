//! What the record costs: `cargo run --release -p trust --example record_rate -- [--json] [SECONDS OF A STRETCH]`.
//!
//! Entries a second that become durable, and that reach the log; small puts a second with the record and without it, in
//! turns over one store. "Without" takes the entry out of each commit just before the store, so that permit, rules and
//! sealing are the same on both sides, and so is the making of the entry, whose own price is measured by itself.

use base::{Location, ObjectId, ResourceId, Stored, SystemClock, TenantId};
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use serde_json::json;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};
use store::{Commit, CommitError, Committed, Head, KeyRange, Kv, Op, Page, Version};
use trust::{
    Ask, Batch, Caller, Content, Fact, Facts, Keeper, Origin, Outcome, Permit, Principal, PrincipalKind, Rules, SignIn, Table, Tenant,
    Trust, Verdict, Weight, Write,
};

const ROUNDS: usize = 3;
const WRITERS: usize = 16;
const SIGN_INS: usize = 256;
const PUT_BYTES: u64 = 4_096;
/// The log follows the outbox within a second; far behind it is a failure, not a figure.
const LOG_WAIT: Duration = Duration::from_secs(60);

struct AllowAll;
impl Rules for AllowAll {
    fn judge(&self, _: &Ask, _: &Facts) -> Verdict {
        Verdict::Allow { because: "example".into() }
    }
}

#[derive(Serialize, Deserialize)]
struct Row {
    content: Content,
}
impl Stored for Row {
    const NAME: &'static str = "example.row";
    const VERSION: u8 = 1;
    type Previous = Row;
    fn upgrade(previous: Row) -> Row {
        previous
    }
}

/// A store that leaves out every entry while `forgets`.
struct Forgetful {
    kv: Arc<dyn Kv>,
    forgets: AtomicBool,
}

impl Kv for Forgetful {
    fn get<'a>(&'a self, key: &'a [u8]) -> base::Fut<'a, base::Result<Option<(Version, Bytes)>>> {
        self.kv.get(key)
    }
    fn scan<'a>(&'a self, range: KeyRange, limit: usize, reverse: bool) -> base::Fut<'a, base::Result<Page>> {
        self.kv.scan(range, limit, reverse)
    }
    fn commit(&self, mut commit: Commit) -> base::Fut<'_, Result<Committed, CommitError>> {
        if self.forgets.load(Ordering::Relaxed) {
            commit.ops.retain(|op| !matches!(op, Op::Append { .. }));
        }
        self.kv.commit(commit)
    }
    fn resolve(&self, shard: base::Shard, idem: u128) -> base::Fut<'_, Result<Option<Committed>, CommitError>> {
        self.kv.resolve(shard, idem)
    }
    fn head(&self, shard: base::Shard) -> base::Fut<'_, Result<Head, CommitError>> {
        self.kv.head(shard)
    }
    fn close(&self) -> base::Fut<'_, base::Result<()>> {
        self.kv.close()
    }
}

struct Scene {
    trust: Trust,
    kv: Arc<Forgetful>,
    tenant: TenantId,
    caller: Caller,
    origin: Origin,
    number: Arc<AtomicU64>,
}

#[tokio::main]
async fn main() -> base::Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let seconds = arguments.iter().find_map(|a| a.parse().ok()).unwrap_or(3.0);
    let stretch = Duration::from_secs_f64(seconds);
    let folder = tempfile::tempdir().map_err(base::Error::internal)?;
    let (scene, running) = Scene::open(folder.path()).await?;

    let (mut appended, mut logged, mut with, mut without) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        let (outbox, log) = scene.sign_ins(stretch).await?;
        appended.push(outbox);
        logged.push(log);
        with.push(scene.puts(stretch).await?);
        scene.wait_for_log().await?;
        scene.kv.forgets.store(true, Ordering::Relaxed);
        without.push(scene.puts(stretch).await?);
        scene.kv.forgets.store(false, Ordering::Relaxed);
    }
    running.stop().await?;

    let making_us = scene.making_us()?;
    if arguments.iter().any(|a| a == "--json") {
        println!(
            "{}",
            json!({
                "entries_durable_per_s": median(&appended), "entries_logged_per_s": median(&logged),
                "puts_with_record_per_s": with, "puts_without_record_per_s": without, "entry_made_us": making_us,
            })
        );
        return Ok(());
    }
    println!("entries from {SIGN_INS} tasks: {:.0}/s durable, {:.0}/s until the log has them all", median(&appended), median(&logged));
    let kept: Vec<f64> = with.iter().zip(&without).map(|(with, without)| with / without).collect();
    println!(
        "puts of 4 KiB from {WRITERS} writers: {:.0}/s with the record, {:.0}/s without: the record costs {:.0} %",
        median(&with),
        median(&without),
        (1.0 - median(&kept)) * 100.0
    );
    println!("making an entry (encoding, commitment, seal), in both figures: {making_us:.1} us of one core");
    Ok(())
}

fn median(all: &[f64]) -> f64 {
    let mut all = all.to_vec();
    all.sort_by(f64::total_cmp);
    all[all.len() / 2]
}

impl Scene {
    async fn open(folder: &std::path::Path) -> base::Result<(Scene, trust::Running)> {
        let site = base::SiteName::new("paris-1")?;
        let place = base::Place { site: site.clone(), country: "FR".into(), nuts: "FR10".into(), address: "here".into() };
        let chance = Arc::new(base::OsChance);
        let kv = Arc::new(Forgetful { kv: store::open_fjall(folder.join("rows"))?, forgets: AtomicBool::new(false) });
        let trust = Trust::open(trust::Config {
            kv: kv.clone(),
            sites: vec![(place, Arc::new(testkit::MemoryBlobs::new(site)))],
            root: crypto::Secret::random(&*chance),
            rules: Box::new(AllowAll),
            parts: vec![trust::Part { name: "test", action: "bleu.test/", reach: trust::Reach::Anything }],
            clock: Arc::new(SystemClock),
            chance: chance.clone(),
            code: [0; 32],
            version: "example".into(),
            location: Location::new("francecentral")?,
            domain: "bleu.localhost".into(),
            witnesses: Vec::new(),
            token_key: None,
        })
        .await?;
        let running = trust.run();
        let tenant = TenantId::random(&*chance);
        let origin = Origin { request: base::RequestId::random(&*chance), peer: None, client_request: None, user_agent: None };
        let caller = Caller::Principal(Principal {
            tenant,
            object: ObjectId::random(&*chance),
            app: base::AppId::random(&*chance),
            kind: PrincipalKind::User,
            name: "anna".into(),
        });
        let scene = Scene { trust, kv, tenant, caller, origin, number: Arc::default() };
        let founder = Ask { caller: Caller::Region { part: "test" }, actions: vec!["bleu.test/write".into()], ..scene.ask() };
        let permit: Permit<Write> = scene.trust.permit(founder).await?;
        let fact = Fact::Tenant(Tenant { id: tenant, name: "T".into(), domains: vec!["t.example".into()] });
        permit.commit(Batch::new().claim_fact(fact).create_space(Location::new("francecentral")?), Outcome::done(201)).await?;
        Ok((scene, running))
    }

    fn ask(&self) -> Ask {
        let target = ResourceId::tenant(self.tenant);
        Ask {
            caller: self.caller.clone(),
            verb: "Put Blob",
            actions: vec!["x/write".into()],
            data: true,
            target: target.clone(),
            scope: target,
            detail: "container/blob".into(),
            weight: Weight::With,
            origin: self.origin.clone(),
        }
    }

    /// Sign-ins a second: until durable, and until the log has them all.
    async fn sign_ins(&self, stretch: Duration) -> base::Result<(f64, f64)> {
        self.wait_for_log().await?;
        let begun = Instant::now();
        let mut tasks = tokio::task::JoinSet::new();
        for _ in 0..SIGN_INS {
            let (trust, caller, origin, tenant) = (self.trust.clone(), self.caller.clone(), self.origin.clone(), self.tenant);
            tasks.spawn(async move {
                let mut done = 0_u64;
                while begun.elapsed() < stretch {
                    let sign_in = SignIn {
                        tenant: Some(tenant),
                        who: caller.clone(),
                        verb: "Sign in",
                        outcome: Outcome::done(200),
                        detail: "an application".into(),
                        origin: origin.clone(),
                    };
                    trust.credentials().record(sign_in).await?;
                    done += 1;
                }
                Ok::<_, base::Error>(done)
            });
        }
        let done = sum(tasks).await?;
        let durable = done / begun.elapsed().as_secs_f64();
        self.wait_for_log().await?;
        Ok((durable, done / begun.elapsed().as_secs_f64()))
    }

    /// Durable puts of 4 KiB a second.
    async fn puts(&self, stretch: Duration) -> base::Result<f64> {
        let begun = Instant::now();
        let mut tasks = tokio::task::JoinSet::new();
        for _ in 0..WRITERS {
            let (trust, ask, number) = (self.trust.clone(), self.ask(), self.number.clone());
            tasks.spawn(async move {
                let (bytes, mut done) = (Bytes::from(vec![7; PUT_BYTES as usize]), 0_u64);
                while begun.elapsed() < stretch {
                    let permit: Permit<Write> = trust.permit(ask.clone()).await?;
                    let staged = permit.stage_bytes(bytes.clone()).await?;
                    let name = format!("container\0blob-{:08}", number.fetch_add(1, Ordering::Relaxed));
                    let row = Row { content: staged.content.clone() };
                    let batch =
                        Batch::new().absent(Table::of(Keeper::Test, 1), &name).adopt(&staged).put(Table::of(Keeper::Test, 1), &name, &row);
                    permit.commit(batch, Outcome::done(201).wrote(PUT_BYTES, staged.sha256)).await?;
                    done += 1;
                }
                Ok::<_, base::Error>(done)
            });
        }
        Ok(sum(tasks).await? / begun.elapsed().as_secs_f64())
    }

    /// Until a checkpoint covers one more entry, made now.
    async fn wait_for_log(&self) -> base::Result<()> {
        let last = SignIn {
            tenant: Some(self.tenant),
            who: self.caller.clone(),
            verb: "Sign in",
            outcome: Outcome::done(200),
            detail: "the last one".into(),
            origin: self.origin.clone(),
        };
        let number = self.trust.credentials().record(last).await?.entry().map_or(0, |entry| entry.number);
        let begun = Instant::now();
        // one shard: what has number n in the outbox is the n-th of the log
        while self.logged().await? < number {
            if begun.elapsed() > LOG_WAIT {
                return Err(base::Error::internal("the log does not follow the outbox"));
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        Ok(())
    }

    async fn logged(&self) -> base::Result<u64> {
        let Some(bytes) = self.trust.public().checkpoint().await else { return Ok(0) };
        Ok(record::SignedCheckpoint::parse(&bytes)?.checkpoint.size)
    }

    /// The same steps as the record's own for one entry, on one core, in microseconds.
    fn making_us(&self) -> base::Result<f64> {
        const COUNT: u32 = 20_000;
        let chance = base::OsChance;
        let key = crypto::SealKey::new(&crypto::Secret::random(&chance));
        let tag = crypto::HmacKey::new(&crypto::random_array::<32>(&chance));
        let begun = Instant::now();
        for _ in 0..COUNT {
            let mut event = record::Event::new(
                record::Owner::Tenant(self.tenant),
                record::Who { name: Some("key1".into()), ..record::Who::default() },
                "Put Blob",
                ResourceId::tenant(self.tenant),
            );
            event.action = "x/write".into();
            event.detail = "container/blob".into();
            event.grant = Some("example".into());
            let opening = record::Opening { salt: crypto::random_array(&chance), event: event.encode()? };
            let commitment = opening.commitment();
            let draft = record::Draft {
                at: base::Clock::now(&SystemClock),
                weight: record::Weight::With,
                phase: record::Phase::Whole,
                opens: None,
                code: record::Digest([0; 32]),
                tag: record::Tag::from_mac(tag.sign(&commitment.0)),
                commitment,
            };
            std::hint::black_box(crypto::seal_record(&key, &chance, &commitment.0, &opening.event));
            std::hint::black_box(draft.encode()?);
        }
        Ok(begun.elapsed().as_secs_f64() * 1e6 / f64::from(COUNT))
    }
}

async fn sum(mut tasks: tokio::task::JoinSet<base::Result<u64>>) -> base::Result<f64> {
    let mut all = 0;
    while let Some(done) = tasks.join_next().await {
        all += done.map_err(base::Error::internal)??;
    }
    Ok(all as f64)
}
