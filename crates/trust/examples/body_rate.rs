//! How fast bodies are staged: digested, sealed and written to a disk, in process, without sockets.
//! `cargo run --release -p trust --example body_rate [folder] [MiB of a body]`

use base::{Location, ResourceId, SiteName, SystemClock, TenantId};
use bytes::Bytes;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;
use trust::{Ask, Batch, Caller, Fact, Facts, Origin, Outcome, Permit, Rules, Staging, Tenant, Trust, Verdict, Weight, Write};

struct AllowAll;
impl Rules for AllowAll {
    fn judge(&self, _: &Ask, _: &Facts) -> Verdict {
        Verdict::Allow { because: "example".into() }
    }
}

/// As a connection delivers them.
const PART_BYTES: usize = 16 << 10;

#[tokio::main]
async fn main() -> base::Result<()> {
    let mut arguments = std::env::args().skip(1);
    let parent = arguments.next().map_or_else(std::env::temp_dir, PathBuf::from);
    let mib: usize = arguments.next().and_then(|a| a.parse().ok()).unwrap_or(256);
    let folder = tempfile::tempdir_in(parent).map_err(base::Error::internal)?;
    let site = SiteName::new("paris-1")?;
    let place = base::Place { site: site.clone(), country: "FR".into(), nuts: "FR10".into(), address: "here".into() };
    let disk = store::disk::RealDisk::new(folder.path().join("chunks")).map_err(base::Error::internal)?;
    let chance = Arc::new(base::OsChance);
    let trust = Trust::open(trust::Config {
        kv: store::open_fjall(folder.path().join("rows"))?,
        sites: vec![(place, Arc::new(store::Segments::open(site, Arc::new(disk))?))],
        root: crypto::Secret::random(&*chance),
        rules: Box::new(AllowAll),
        parts: trust::PARTS.to_vec(),
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
    let tenant = TenantId::random(&*chance);
    let target = ResourceId::tenant(tenant);
    let ask = Ask {
        caller: Caller::Region { part: "test" },
        verb: "Put",
        actions: vec!["bleu.test/write".into()],
        data: true,
        target: target.clone(),
        scope: target,
        detail: "container/blob".into(),
        weight: Weight::With,
        origin: Origin { request: base::RequestId::random(&*chance), peer: None, client_request: None, user_agent: None },
    };
    let permit: Permit<Write> = trust.permit(ask.clone()).await?;
    let fact = Fact::Tenant(Tenant { id: tenant, name: "T".into(), domains: vec!["t.example".into()] });
    permit.commit(Batch::new().claim_fact(fact).create_space(Location::new("francecentral")?), Outcome::done(201)).await?;
    let body = Bytes::from((0..mib << 20).map(|at| (at * 7 + at / 4099) as u8).collect::<Vec<u8>>());
    for (writers, md5) in [(1, false), (4, false), (1, true), (4, true)] {
        let begun = Instant::now();
        let mut tasks = Vec::new();
        for writer in 0..writers {
            let (trust, ask) = (trust.clone(), ask.clone());
            let share = body.slice(writer * body.len() / writers..(writer + 1) * body.len() / writers);
            tasks.push(tokio::spawn(async move {
                let permit: Permit<Write> = trust.permit(ask).await?;
                let starts = (0..share.len()).step_by(PART_BYTES);
                let parts = starts.map(move |at| Ok(share.slice(at..share.len().min(at + PART_BYTES))));
                let staging = Staging { bytes_max: u64::MAX, md5 };
                permit.stage(Box::pin(futures::stream::iter(parts)), staging).await?;
                permit.close(Outcome::done(200)).await
            }));
        }
        for task in tasks {
            task.await.map_err(base::Error::internal)??;
        }
        let rate = mib as f64 / begun.elapsed().as_secs_f64();
        println!("{rate:6.0} MiB/s, {mib} MiB from {writers} at once, {}", if md5 { "with MD5" } else { "without MD5" });
    }
    Ok(())
}
