//! A whole region on a simulated disk that fails: torn writes, failed flushes, a full disk, the power cut at any step.
//! Errors are clear, nothing acknowledged is lost, and the auditor is content with what is there afterwards.

use crate::soak;
use base::{Location, ObjectId, ResourceId, SeededChance, SiteName, Stored, TenantId};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::sync::Arc;
use store::{Blobs, Fault, Segments, SimDisk};
use testkit::{Kit, Setup};
use trust::{Batch, Caller, Content, Fact, Keeper, Outcome, Permit, Principal, PrincipalKind, Read, Table, Tenant, Weight, Write};

const TABLE: Table = Table::of(Keeper::Test, 1);
const SEEDS: u64 = 120;
/// Further ones, fresh each time.
const SOAK_SEEDS: u64 = 1_500;

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Thing {
    content: Content,
}
impl Stored for Thing {
    const NAME: &'static str = "test.thing";
    const VERSION: u8 = 1;
    type Previous = Thing;
    fn upgrade(previous: Thing) -> Thing {
        previous
    }
}

async fn open(seed: u64, disk: &SimDisk) -> base::Result<Kit> {
    let kv = store::open_redb_on(Arc::new(disk.clone()))?;
    let blobs: Arc<dyn Blobs> = Arc::new(Segments::open(SiteName::new("paris-1")?, Arc::new(disk.clone()))?);
    Kit::try_start(Setup::new(seed).on(kv, blobs)).await
}

async fn permit<A: trust::Access>(kit: &Kit, anna: &Principal, weight: Weight) -> base::Result<Permit<A>> {
    let near = kit.near(Caller::Principal(anna.clone()));
    near.permit("Put Thing", &["Microsoft.Test/things/write"], true, &ResourceId::tenant(anna.tenant), weight, "thing").await
}

/// One write as a service does it. `Ok`: acknowledged.
async fn put(kit: &Kit, anna: &Principal, name: u64, bytes: Vec<u8>, weight: Weight) -> base::Result<()> {
    let p: Permit<Write> = permit(kit, anna, weight).await?;
    let length = bytes.len() as u64;
    let staged = p.stage_bytes(bytes.into()).await?;
    let batch = Batch::new().adopt(&staged).put(TABLE, name.to_be_bytes(), &Thing { content: staged.content.clone() });
    p.commit(batch, Outcome::done(201).wrote(length, staged.sha256)).await?;
    Ok(())
}

async fn get(kit: &Kit, anna: &Principal, name: u64) -> base::Result<Option<Vec<u8>>> {
    use futures::StreamExt;
    let p: Permit<Read> = permit(kit, anna, Weight::Batched).await?;
    let Some(found) = p.data().get::<Thing>(TABLE, name.to_be_bytes()).await? else { return Ok(None) };
    let mut stream = p.data().content(&found.value.content, 0..found.value.content.length);
    let mut all = Vec::new();
    while let Some(part) = stream.next().await {
        all.extend_from_slice(&part?);
    }
    p.close(Outcome::done(200)).await?;
    Ok(Some(all))
}

fn random(chance: &SeededChance, below: u64) -> u64 {
    let mut bytes = [0; 8];
    base::Chance::fill(chance, &mut bytes);
    u64::from_le_bytes(bytes) % below
}

fn content(name: u64, length: usize) -> Vec<u8> {
    (0..length).map(|i| (name as usize * 131 + i * 7) as u8).collect()
}

async fn one(seed: u64) {
    let (disk, chance) = (SimDisk::new(seed), SeededChance::new(seed ^ 0xB1E0));
    let kit = open(seed, &disk).await.unwrap_or_else(|e| panic!("seed {seed}: a good disk opens: {e}"));
    let ids = kit.trust.chance();
    let tenant = TenantId::random(&*ids);
    let anna = Principal {
        tenant,
        object: ObjectId::random(&*ids),
        app: base::AppId::random(&*ids),
        kind: PrincipalKind::User,
        name: "anna".into(),
    };
    let p: Permit<Write> = kit
        .region("test")
        .permit("Create Tenant", &["bleu.test/write"], false, &ResourceId::tenant(tenant), Weight::With, "")
        .await
        .unwrap();
    let fact = Fact::Tenant(Tenant { id: tenant, name: "Contoso".into(), domains: vec!["contoso.example".into()] });
    p.commit(Batch::new().claim_fact(fact).create_space(Location::new("francecentral").unwrap()), Outcome::done(201)).await.unwrap();
    // what goes wrong, and when, is the seed's choice
    let step = disk.steps() + 1 + random(&chance, 60);
    match seed % 4 {
        0 => disk.fail_step(step, Fault::Broken),
        1 => disk.fail_step(step, Fault::Full),
        2 => disk.fail_step(step, Fault::Power),
        _ => {
            disk.fail_step(step, Fault::Broken);
            disk.fail_step(step + 1 + random(&chance, 5), Fault::Power);
        }
    }
    let (mut kept, mut tried) = (BTreeMap::new(), BTreeMap::new());
    for name in 0..14 {
        let length = [100, 5_000, 200_000][random(&chance, 3) as usize];
        let weight = if random(&chance, 3) == 0 { Weight::Before } else { Weight::With };
        tried.insert(name, length);
        match put(&kit, &anna, name, content(name, length), weight).await {
            Ok(()) => drop(kept.insert(name, length)),
            Err(error) => assert!(!error.code.is_empty() && !error.message.is_empty(), "seed {seed}: {error}"),
        }
    }
    kit.crash();
    disk.crash();
    let kit = open(seed + 1_000_000, &disk).await.unwrap_or_else(|e| panic!("seed {seed}: it does not open again: {e}"));
    while !kit.trust.is_swept() {
        tokio::time::sleep(std::time::Duration::from_millis(1)).await;
    }
    for (name, length) in &tried {
        let found = get(&kit, &anna, *name).await.unwrap_or_else(|e| panic!("seed {seed}, thing {name}: {e}"));
        match (kept.get(name), found) {
            // refused, it may have happened or not; if so, whole
            (None, None) => {}
            (_, found) => assert!(found == Some(content(*name, *length)), "seed {seed}: thing {name} of {length} bytes is lost or torn"),
        }
    }
    put(&kit, &anna, 99, content(99, 5_000), Weight::With).await.unwrap_or_else(|e| panic!("seed {seed}: it writes again: {e}"));
    let report = kit.audit(Some(tenant)).await;
    assert!(report.findings.is_empty(), "seed {seed}: {:?}", report.findings);
    kit.crash();
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_acknowledged_is_lost_on_a_failing_disk() {
    let seeds: Vec<u64> = match std::env::var("BLEU_SEED").ok().and_then(|s| s.parse().ok()) {
        Some(seed) => vec![seed],
        None => (0..SEEDS).chain(soak().into_iter().flat_map(|first| first..first + SOAK_SEEDS)).collect(),
    };
    for seed in seeds {
        one(seed).await;
    }
}
