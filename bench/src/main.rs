//! `cargo xtask bench`: what a region does in a second, beside what the disk and nginx do in the same run.
//!
//! Every figure is a median of rounds in which the region and what it is compared with take turns; the machine is shared,
//! so ratios say more than absolutes. The client is in this process and takes its share of the same cores.
#![allow(clippy::print_stdout)] // a table is what it is for
#![allow(clippy::disallowed_methods, clippy::disallowed_types)] // it measures time, starts programs and writes files

mod http;
mod peers;
mod region;

use anyhow::{Context, Result};
use bytes::Bytes;
use http::Caller;
use region::Region;
use std::time::{Duration, Instant};

const CONNECTIONS: usize = 16;
const ROUNDS: usize = 3;
const OBJECTS: usize = 400;
const LARGE_BYTES: usize = 256 << 20;

#[tokio::main]
async fn main() -> Result<()> {
    let program = std::env::args().nth(1).context("bench PATH-OF-BLEU")?;
    let seconds = std::env::args().nth(2).and_then(|s| s.parse().ok()).unwrap_or(3.0);
    let folder = tempfile::tempdir()?;
    let mut table = Table::default();
    starts(&program, &mut table)?;
    let region = Region::start(&program, folder.path())?;
    let caller = Caller::new(&folder.path().join("data/ca.pem"), region.port)?;
    let account = region.account(&caller, folder.path()).await?;
    small(&region, &caller, &account, folder.path(), seconds, &mut table).await?;
    large(&region, &caller, &account, folder.path(), &mut table).await?;
    groups(&region, &caller, &account, seconds, &mut table).await?;
    table.row("resident memory after all that", format!("{} MiB", region.resident_mib()?), "", "");
    table.print();
    Ok(())
}

/// Rows of the table: what, the region, the thing it is compared with, the ratio.
#[derive(Default)]
struct Table(Vec<[String; 4]>);

impl Table {
    fn row(&mut self, what: &str, ours: impl Into<String>, theirs: impl Into<String>, ratio: impl Into<String>) {
        self.0.push([what.into(), ours.into(), theirs.into(), ratio.into()]);
    }
    fn compare(&mut self, what: &str, unit: &str, ours: f64, name: &str, theirs: f64) {
        self.row(what, format!("{ours:.0} {unit}"), format!("{theirs:.0} {unit} ({name})"), format!("{:.2}", ours / theirs));
    }
    fn print(&self) {
        println!("| what | bleu | beside it | ratio |\n|---|---|---|---|");
        for [a, b, c, d] in &self.0 {
            println!("| {a} | {b} | {c} | {d} |");
        }
    }
}

fn median(mut all: Vec<f64>) -> f64 {
    all.sort_by(f64::total_cmp);
    all[all.len() / 2]
}

fn starts(program: &str, table: &mut Table) -> Result<()> {
    let (mut first, mut later, mut memory) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..5 {
        let folder = tempfile::tempdir()?;
        let region = Region::start(program, folder.path())?;
        first.push(region.ready_after.as_secs_f64() * 1000.0);
        region.stop()?;
        let region = Region::start(program, folder.path())?;
        later.push(region.ready_after.as_secs_f64() * 1000.0);
        std::thread::sleep(Duration::from_secs(2));
        memory.push(region.resident_mib()? as f64);
        region.stop()?;
    }
    table.row("`bleu up` to ready, first run", format!("{:.0} ms", median(first)), "", "");
    table.row("`bleu up` to ready, later run", format!("{:.0} ms", median(later)), "", "");
    table.row("idle memory", format!("{:.0} MiB", median(memory)), "", "");
    Ok(())
}

/// Operations a second of `work` over all connections, for `seconds`.
async fn rate<F, W>(caller: &Caller, seconds: f64, work: F) -> Result<f64>
where
    F: Fn(http::Connection, usize, Instant) -> W,
    W: Future<Output = Result<usize>> + Send + 'static,
{
    let end = Instant::now() + Duration::from_secs_f64(seconds);
    let begun = Instant::now();
    let mut tasks = Vec::new();
    for number in 0..CONNECTIONS {
        tasks.push(tokio::spawn(work(caller.connect().await?, number, end)));
    }
    let mut done = 0;
    for task in tasks {
        done += task.await??;
    }
    Ok(done as f64 / begun.elapsed().as_secs_f64())
}

async fn small(
    region: &Region,
    caller: &Caller,
    account: &region::Account,
    folder: &std::path::Path,
    seconds: f64,
    table: &mut Table,
) -> Result<()> {
    let nginx = peers::Nginx::start(folder, &[(4 << 10, "4k"), (64 << 10, "64k")], OBJECTS)?;
    let beside = Caller::new(&nginx.ca, nginx.port)?;
    let (mut puts, mut disk, mut one) = (Vec::new(), Vec::new(), Vec::new());
    let mut gets = [Vec::new(), Vec::new()];
    let mut files = [Vec::new(), Vec::new()];
    for (size, name) in [(4 << 10, "4k"), (64 << 10, "64k")] {
        let mut connection = caller.connect().await?;
        for number in 0..OBJECTS {
            connection.put(account, &format!("photos/{name}-{number}"), Bytes::from(vec![number as u8; size])).await?;
        }
    }
    for round in 0..ROUNDS {
        let (each, appends) = peers::disk_commits(folder, seconds / 2.0)?;
        disk.push(each);
        one.push(appends);
        let signed = account.clone();
        puts.push(
            rate(caller, seconds, move |mut connection, writer, end| {
                let account = signed.clone();
                async move {
                    let (bytes, mut done) = (Bytes::from(vec![7; 4 << 10]), 0);
                    while Instant::now() < end {
                        connection.put(&account, &format!("photos/put-{round}-{writer}-{done}"), bytes.clone()).await?;
                        done += 1;
                    }
                    Ok(done)
                }
            })
            .await?,
        );
        for (at, name) in ["4k", "64k"].into_iter().enumerate() {
            let signed = account.clone();
            gets[at].push(
                rate(caller, seconds, move |mut connection, reader, end| {
                    let account = signed.clone();
                    async move {
                        let mut done = 0;
                        while Instant::now() < end {
                            let number = (reader * 31 + done) % OBJECTS;
                            let body = connection.get(&account, &format!("photos/{name}-{number}")).await?;
                            anyhow::ensure!(body.iter().all(|b| *b == number as u8), "a wrong byte");
                            done += 1;
                        }
                        Ok(done)
                    }
                })
                .await?,
            );
            files[at].push(
                rate(&beside, seconds, move |mut connection, reader, end| async move {
                    let mut done = 0;
                    while Instant::now() < end {
                        let number = (reader * 31 + done) % OBJECTS;
                        let body = connection.plain_get(&format!("/{name}-{number}")).await?;
                        anyhow::ensure!(body.iter().all(|b| *b == number as u8), "a wrong byte");
                        done += 1;
                    }
                    Ok(done)
                })
                .await?,
            );
        }
    }
    let _ = region;
    let (puts, [get4, get64], [file4, file64]) = (median(puts), gets.map(median), files.map(median));
    table.compare("PUT 4 KiB blob, durable, 16 connections", "ops/s", puts, "16 × 4 KiB appended, one fdatasync", median(disk));
    table.compare("the same, against single appends", "ops/s", puts, "1 KiB append + fdatasync", median(one));
    table.compare("GET 4 KiB blob, 16 connections", "ops/s", get4, "nginx, TLS, plain files", file4);
    table.compare("GET 64 KiB blob, 16 connections", "ops/s", get64, "nginx, TLS, plain files", file64);
    Ok(())
}

async fn large(region: &Region, caller: &Caller, account: &region::Account, folder: &std::path::Path, table: &mut Table) -> Result<()> {
    let nginx = peers::Nginx::start(folder, &[(LARGE_BYTES, "large")], 1)?;
    let beside = Caller::new(&nginx.ca, nginx.port)?;
    let body = Bytes::from((0..LARGE_BYTES).map(|i| (i * 7 + i / 4099) as u8).collect::<Vec<u8>>());
    let mib = LARGE_BYTES as f64 / (1 << 20) as f64;
    let (mut disk, mut single, mut blocks, mut down, mut files, mut md5) =
        (Vec::new(), Vec::new(), Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for round in 0..ROUNDS {
        disk.push(peers::disk_mib_a_second(folder)?);
        let begun = Instant::now();
        std::hint::black_box(crypto::md5(&body));
        md5.push(mib / begun.elapsed().as_secs_f64());
        let begun = Instant::now();
        caller.connect().await?.put(account, &format!("photos/single-{round}"), body.clone()).await?;
        single.push(mib / begun.elapsed().as_secs_f64());
        let begun = Instant::now();
        region::put_blocks(caller, account, &format!("photos/blocks-{round}"), &body).await?;
        blocks.push(mib / begun.elapsed().as_secs_f64());
        let begun = Instant::now();
        let back = caller.connect().await?.get(account, &format!("photos/blocks-{round}")).await?;
        down.push(mib / begun.elapsed().as_secs_f64());
        anyhow::ensure!(back == body, "the blob came back changed");
        let begun = Instant::now();
        beside.connect().await?.plain_get("/large-0").await?;
        files.push(mib / begun.elapsed().as_secs_f64());
    }
    let _ = region;
    let disk = median(disk);
    table.compare("PUT 256 MiB by Put Block, 4 at once", "MiB/s", median(blocks), "4 MiB O_DIRECT + fdatasync", disk);
    table.compare("PUT 256 MiB by one Put Blob", "MiB/s", median(single), "one core's MD5", median(md5));
    table.compare("GET 256 MiB", "MiB/s", median(down), "nginx, TLS, plain file", median(files));
    Ok(())
}

async fn groups(region: &Region, caller: &Caller, account: &region::Account, seconds: f64, table: &mut Table) -> Result<()> {
    let (bearer, subscription) = (account.bearer.clone(), region.subscription.clone());
    let made = rate(caller, seconds, move |mut connection, writer, end| {
        let (bearer, subscription) = (bearer.clone(), subscription.clone());
        async move {
            let mut done = 0;
            while Instant::now() < end {
                let path = format!("/subscriptions/{subscription}/resourceGroups/b{writer}-{done}?api-version=2024-11-01");
                connection.arm("PUT", &path, &bearer, r#"{"location":"francecentral"}"#).await?;
                done += 1;
            }
            Ok(done)
        }
    })
    .await?;
    table.row("resource group PUT, durable, 16 connections", format!("{made:.0} ops/s"), "", "");
    let mut connection = caller.connect().await?;
    let (mut times, mut found) = (Vec::new(), 0);
    for _ in 0..20 {
        let begun = Instant::now();
        let path = format!("/subscriptions/{}/resourceGroups?api-version=2024-11-01", region.subscription);
        let body = connection.arm("GET", &path, &account.bearer, "").await?;
        times.push(begun.elapsed().as_secs_f64() * 1000.0);
        found = serde_json::from_slice::<serde_json::Value>(&body)?["value"].as_array().map_or(0, Vec::len);
    }
    times.sort_by(f64::total_cmp);
    table.row(
        &format!("a page of {found} resource groups"),
        format!("median {:.0} ms, worst of 20 {:.0} ms", times[10], times[19]),
        "",
        "",
    );
    Ok(())
}
