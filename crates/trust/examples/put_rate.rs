//! How many small durable puts a second the floor commits, in process, with the record and everything sealed.
//! `cargo run --release -p trust --example put_rate [writers] [seconds]`

use base::{Location, ObjectId, ResourceId, Stored, SystemClock, TenantId};
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};
use trust::{
    Ask, Batch, Caller, Content, Fact, Facts, Keeper, Origin, Outcome, Permit, Principal, PrincipalKind, Rules, Table, Tenant, Trust,
    Verdict, Weight, Write,
};

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

#[tokio::main]
async fn main() -> base::Result<()> {
    let arguments: Vec<u64> = std::env::args().skip(1).filter_map(|a| a.parse().ok()).collect();
    let (writers, seconds) = (arguments.first().copied().unwrap_or(16), arguments.get(1).copied().unwrap_or(4));
    let folder = tempfile::tempdir().map_err(base::Error::internal)?;
    let site = base::SiteName::new("paris-1")?;
    let place = base::Place { site: site.clone(), country: "FR".into(), nuts: "FR10".into(), address: "here".into() };
    let chance = Arc::new(base::OsChance);
    let trust = Trust::open(trust::Config {
        kv: store::open_fjall(folder.path().join("rows"))?,
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
    let origin = Origin { request: base::RequestId::random(&*chance), peer: None, client_request: None, user_agent: None };
    let tenant = TenantId::random(&*chance);
    let target = ResourceId::tenant(tenant);
    let ask = |caller: Caller, action: &str| Ask {
        caller,
        verb: "Put",
        actions: vec![action.into()],
        data: true,
        target: target.clone(),
        scope: target.clone(),
        detail: "container/blob".into(),
        weight: Weight::With,
        origin: origin.clone(),
    };
    let permit: Permit<Write> = trust.permit(ask(Caller::Region { part: "test" }, "bleu.test/write")).await?;
    let fact = Fact::Tenant(Tenant { id: tenant, name: "T".into(), domains: vec!["t.example".into()] });
    permit.commit(Batch::new().claim_fact(fact).create_space(Location::new("francecentral")?), Outcome::done(201)).await?;
    let caller = Caller::Principal(Principal {
        tenant,
        object: ObjectId::random(&*chance),
        app: base::AppId::random(&*chance),
        kind: PrincipalKind::User,
        name: "anna".into(),
    });
    let (done, number) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
    let (begun, end) = (Instant::now(), Duration::from_secs(seconds));
    let mut tasks = Vec::new();
    for _ in 0..writers {
        let (trust, ask, done, number) = (trust.clone(), ask(caller.clone(), "x/write"), done.clone(), number.clone());
        tasks.push(tokio::spawn(async move {
            let bytes = bytes::Bytes::from(vec![7; 4096]);
            while begun.elapsed() < end {
                let permit: Permit<Write> = trust.permit(ask.clone()).await?;
                let staged = permit.stage_bytes(bytes.clone()).await?;
                let name = format!("container\0blob-{:08}", number.fetch_add(1, Ordering::Relaxed));
                let batch = Batch::new().absent(Table::of(Keeper::Test, 1), &name).adopt(&staged).put(
                    Table::of(Keeper::Test, 1),
                    &name,
                    &Row { content: staged.content.clone() },
                );
                permit.commit(batch, Outcome::done(201).wrote(4096, staged.sha256)).await?;
                done.fetch_add(1, Ordering::Relaxed);
            }
            Ok::<(), base::Error>(())
        }));
    }
    for task in tasks {
        task.await.map_err(base::Error::internal)??;
    }
    let rate = done.load(Ordering::Relaxed) as f64 / begun.elapsed().as_secs_f64();
    println!("{rate:.0} puts/s of 4 KiB from {writers} writers");
    running.stop().await
}
