//! Small blobs over sixteen connections, beside Azurite, nginx and the disk.

use super::ROUNDS;
use crate::Options;
use crate::http::{Account, Caller, Head};
use crate::load::{Sample, Step, fill, median, middle, step, stretch};
use crate::peers::{self, Azurite, Nginx};
use crate::region::Region;
use crate::table::{Row, Table, Target};
use anyhow::Result;
use bytes::Bytes;
use std::sync::Arc;

const OBJECTS: usize = 400;
/// Size, name, and what is hoped for: times Azurite, times nginx.
const SIZES: [(usize, &str, f64, f64); 2] = [(4 << 10, "4 KiB", 10.0, 0.5), (64 << 10, "64 KiB", 5.0, 0.6)];

/// A server of blobs.
struct Server {
    caller: Caller,
    account: Account,
    process: u32,
}

pub async fn measure(options: &Options, table: &mut Table) -> Result<()> {
    let folder = tempfile::tempdir()?;
    let region = Region::start(&options.bleu, folder.path())?;
    let client = region.client().await?;
    let bleu = Server { caller: client.caller, account: client.account, process: region.id() };
    let files = SIZES.iter().flat_map(|(size, ..)| (0..OBJECTS).map(|number| (file(*size, number), content(*size, number).to_vec())));
    let nginx = Nginx::start(&folder.path().join("nginx"), files)?;
    let azurite = match &options.azurite {
        Some(program) => Some(Azurite::start(program, &folder.path().join("azurite")).await?),
        None => None,
    };
    let azurite_server = azurite.as_ref().map(|a| Server { caller: a.caller.clone(), account: a.account.clone(), process: a.id() });
    match &azurite_server {
        Some(_) => table.note("Azurite speaks plain HTTP here; the region and nginx speak TLS 1.3."),
        None => table.note("Without Azurite: `npm` is missing."),
    }
    for server in [Some(&bleu), azurite_server.as_ref()].into_iter().flatten() {
        for (size, ..) in SIZES {
            let account = server.account.clone();
            let put = step(move |connection, turn| {
                let account = account.clone();
                Box::pin(async move { connection.put(&account, &blob(size, turn.count), content(size, turn.count)).await })
            });
            fill(&server.caller, OBJECTS, put).await?;
        }
    }

    let seconds = options.stretch_s();
    let (mut group, mut single) = (Vec::new(), Vec::new());
    let (mut puts, mut azurite_puts) = (Vec::new(), Vec::new());
    let mut gets: [[Vec<Sample>; 3]; 2] = Default::default();
    for round in 0..ROUNDS {
        let (shared, alone) = peers::disk_commits(folder.path(), seconds / 2.0)?;
        group.push(shared);
        single.push(alone);
        puts.push(stretch(&bleu.caller, bleu.process, seconds, put(&bleu.account, round)).await?);
        if let Some(azurite) = &azurite_server {
            azurite_puts.push(stretch(&azurite.caller, azurite.process, seconds, put(&azurite.account, round)).await?);
        }
        for (at, (size, ..)) in SIZES.into_iter().enumerate() {
            let signed = |account: &Account, n: usize| Head::signed(account, "GET", &blob(size, n), &[], 0);
            let heads = |account: &Account| (0..OBJECTS).map(|n| signed(account, n)).collect::<Result<Vec<Head>>>();
            gets[at][0].push(stretch(&bleu.caller, bleu.process, seconds, get(size, heads(&bleu.account)?)).await?);
            let plain = (0..OBJECTS).map(|n| Head::plain(&format!("/{}", file(size, n)))).collect::<Result<_>>()?;
            gets[at][1].push(stretch(&nginx.caller, nginx.id(), seconds, get(size, plain)).await?);
            if let Some(azurite) = &azurite_server {
                gets[at][2].push(stretch(&azurite.caller, azurite.process, seconds, get(size, heads(&azurite.account)?)).await?);
            }
        }
    }

    let what = "PUT 4 KiB blob, durable, 16 connections";
    if !azurite_puts.is_empty() {
        table.row(Row::calls(what, &puts, "Azurite, not durable", &azurite_puts).target(Target::AtLeast(10.0)));
    }
    let per_s: Vec<f64> = puts.iter().map(|s| s.per_s).collect();
    let row = Row::rounds(what, "/s", &per_s, "disk, 16 × 4 KiB appended a fdatasync", &group).target(Target::AtLeast(0.5));
    table.row(row.seen(middle(&puts)));
    table.row(Row::rounds(what, "/s", &per_s, "disk, 1 KiB appended a fdatasync", &single));
    for ([ours, nginx, azurite], (_, name, times_azurite, times_nginx)) in gets.iter().zip(SIZES) {
        let what = format!("GET {name} blob, 16 connections");
        if !azurite.is_empty() {
            table.row(Row::calls(&what, ours, "Azurite", azurite).target(Target::AtLeast(times_azurite)));
        }
        table.row(Row::calls(&what, ours, "nginx, plain file", nginx).target(Target::AtLeast(times_nginx)));
    }
    let cores = median(gets.iter().flatten().chain([&puts]).flatten().map(|s| s.client_cores).collect());
    table.note(format!("The client took {cores:.2} of a core, at the median of the small calls."));
    region.stop()
}

fn file(size: usize, number: usize) -> String {
    format!("{size}-{number}")
}

fn blob(size: usize, number: usize) -> String {
    format!("photos/{size}-{number}")
}

fn content(size: usize, number: usize) -> Bytes {
    (0..size).map(|at| (at * 7 + at / 251 + number) as u8).collect::<Vec<u8>>().into()
}

/// Blobs of 4 KiB under names that are new.
fn put(account: &Account, round: usize) -> Step {
    let (account, bytes) = (account.clone(), content(4 << 10, round));
    step(move |connection, turn| {
        let (account, bytes) = (account.clone(), bytes.clone());
        Box::pin(async move { connection.put(&account, &format!("photos/put-{round}-{}-{}", turn.task, turn.count), bytes).await })
    })
}

/// One object after the other, each connection from a place of its own.
fn get(size: usize, heads: Vec<Head>) -> Step {
    let objects: Arc<Vec<(Head, Bytes)>> = Arc::new(heads.into_iter().enumerate().map(|(n, head)| (head, content(size, n))).collect());
    step(move |connection, turn| {
        let objects = objects.clone();
        Box::pin(async move {
            let (head, content) = &objects[(turn.task * 31 + turn.count) % objects.len()];
            connection.receive(head, content).await
        })
    })
}
