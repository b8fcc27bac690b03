//! A region with few blobs and one with many, side by side: what grows with the number of blobs, and what must not.

use super::ROUNDS;
use crate::Options;
use crate::http::{Account, Connection, Head};
use crate::load::{Sample, Step, Turn, fill, resident_mib, step, stretch};
use crate::region::{Client, Region};
use crate::table::{Row, Table, Target};
use anyhow::{Result, ensure};
use bytes::Bytes;
use std::path::Path;

const FEW: usize = 10_000;
const BLOB_BYTES: usize = 256;
const PAGE: usize = 1_000;
/// 1.3 times as long at most.
const HOPED: f64 = 1.0 / 1.3;

struct Side {
    region: Region,
    client: Client,
    blobs: usize,
    gets: Vec<Sample>,
    puts: Vec<Sample>,
    pages: Vec<Sample>,
}

pub async fn measure(options: &Options, table: &mut Table) -> Result<()> {
    let many = match (options.quick, options.long) {
        (true, _) => 50_000,
        (_, true) => 1_000_000,
        _ => 200_000,
    };
    let (few_folder, many_folder) = (tempfile::tempdir()?, tempfile::tempdir()?);
    let (mut few, _) = Side::new(options, few_folder.path(), FEW).await?;
    let (mut side, filled) = Side::new(options, many_folder.path(), many).await?;
    table.row(Row::of(format!("PUT 256 B while {many} blobs come in, 32 connections"), "/s", filled));
    for round in 0..ROUNDS {
        few.round(options.stretch_s(), round).await?;
        side.round(options.stretch_s(), round).await?;
    }
    let beside = format!("at {FEW}");
    let what = |call: &str| format!("{call} at {many} blobs");
    table.row(Row::calls(what("GET 256 B"), &side.gets, &beside, &few.gets).target(Target::AtLeast(HOPED)));
    table.row(Row::calls(what("PUT 256 B"), &side.puts, &beside, &few.puts).target(Target::AtLeast(HOPED)));
    table.row(Row::calls(what("list page of 1,000"), &side.pages, &beside, &few.pages).target(Target::AtLeast(HOPED)));
    let memory = [resident_mib(side.region.id())?, resident_mib(few.region.id())?];
    table.row(Row::rounds(what("resident memory"), "MiB", &memory[..1], &beside, &memory[1..]));
    few.region.stop()?;
    side.region.stop()?;
    let again = Region::start(&options.bleu, many_folder.path())?;
    table.row(Row::of(what("`bleu up` to ready"), "s", again.ready_after.as_secs_f64()).target(Target::AtMost(1.0)));
    again.stop()
}

impl Side {
    /// A region with so many blobs, and the rate at which they came in.
    async fn new(options: &Options, folder: &Path, blobs: usize) -> Result<(Side, f64)> {
        let region = Region::start(&options.bleu, folder)?;
        let client = region.client().await?;
        let account = client.account.clone();
        let rate = fill(&client.caller, blobs, put(account, |turn| name(turn.count))).await?;
        Ok((Side { region, client, blobs, gets: Vec::new(), puts: Vec::new(), pages: Vec::new() }, rate))
    }

    async fn round(&mut self, seconds: f64, round: usize) -> Result<()> {
        let (caller, server) = (&self.client.caller, self.region.id());
        let account = || self.client.account.clone();
        self.gets.push(stretch(caller, server, seconds, get(account(), self.blobs)).await?);
        let new = put(account(), move |turn| format!("photos/new-{round}-{}-{}", turn.task, turn.count));
        self.puts.push(stretch(caller, server, seconds, new).await?);
        self.pages.push(stretch(caller, server, seconds, page(account(), self.blobs)).await?);
        Ok(())
    }
}

fn name(number: usize) -> String {
    format!("photos/blob-{number:08}")
}

fn content() -> Bytes {
    Bytes::from_static(&[7; BLOB_BYTES])
}

/// All over the blobs, not one after the other; the same in each run.
fn anywhere(turn: Turn, blobs: usize) -> usize {
    (turn.task * 1_000_003 + turn.count).wrapping_mul(0x9E37_79B9_7F4A_7C15) % blobs
}

fn put(account: Account, name: impl Fn(Turn) -> String + Send + Sync + 'static) -> Step {
    step(move |connection: &mut Connection, turn: Turn| {
        let (account, name) = (account.clone(), name(turn));
        Box::pin(async move { connection.put(&account, &name, content()).await })
    })
}

fn get(account: Account, blobs: usize) -> Step {
    step(move |connection: &mut Connection, turn: Turn| {
        let account = account.clone();
        Box::pin(async move {
            let head = Head::signed(&account, "GET", &name(anywhere(turn, blobs)), &[], 0)?;
            connection.receive(&head, &content()).await
        })
    })
}

/// A page that begins anywhere; the prefix without its last three digits names a thousand.
fn page(account: Account, blobs: usize) -> Step {
    step(move |connection: &mut Connection, turn: Turn| {
        let account = account.clone();
        Box::pin(async move {
            let prefix = format!("blob-{:05}", anywhere(turn, blobs) / PAGE);
            let query = [("comp", "list"), ("maxresults", "1000"), ("prefix", prefix.as_str()), ("restype", "container")];
            let body = connection.send(&Head::signed(&account, "GET", "photos", &query, 0)?, Bytes::new()).await?;
            let found = String::from_utf8_lossy(&body).matches("<Name>").count();
            ensure!(found == PAGE, "a page of {found} blobs");
            Ok(())
        })
    })
}
