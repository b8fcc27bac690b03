//! One large blob, up in two ways and down, beside the disk, a core's MD5 and nginx.

use super::ROUNDS;
use crate::Options;
use crate::http::{Account, Caller, Head};
use crate::load::resident_mib;
use crate::peers::{self, Nginx};
use crate::region::Region;
use crate::table::{Row, Table, Target};
use anyhow::Result;
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use bytes::Bytes;
use std::time::Instant;

const MIB: usize = 256;
const BLOCK_BYTES: usize = 8 << 20;
const WRITERS: usize = 4;

pub async fn measure(options: &Options, table: &mut Table) -> Result<()> {
    let folder = tempfile::tempdir()?;
    let region = Region::start(&options.bleu, folder.path())?;
    let client = region.client().await?;
    let (caller, account) = (&client.caller, &client.account);
    let body = Bytes::from((0..MIB << 20).map(|at| (at * 7 + at / 4099) as u8).collect::<Vec<u8>>());
    let nginx = Nginx::start(&folder.path().join("nginx"), [("large".to_owned(), body.to_vec())])?;
    let (mut disk, mut md5, mut single, mut blocks) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    let (mut down, mut file) = (Vec::new(), Vec::new());
    for round in 0..ROUNDS {
        disk.push(peers::disk_mib_a_second(folder.path())?);
        let name = format!("photos/blocks-{round}");
        let begun = Instant::now();
        put_blocks(caller, account, &name, &body).await?;
        blocks.push(mib_a_second(begun));
        let begun = Instant::now();
        std::hint::black_box(crypto::md5(&body));
        md5.push(mib_a_second(begun));
        let begun = Instant::now();
        caller.connect().await?.put(account, &format!("photos/single-{round}"), body.clone()).await?;
        single.push(mib_a_second(begun));
        let head = Head::signed(account, "GET", &name, &[], 0)?;
        let begun = Instant::now();
        caller.connect().await?.receive(&head, &body).await?;
        down.push(mib_a_second(begun));
        let begun = Instant::now();
        nginx.caller.connect().await?.receive(&Head::plain("/large")?, &body).await?;
        file.push(mib_a_second(begun));
    }
    let what = "PUT 256 MiB, blocks of 8 MiB, 4 at once";
    table.row(Row::rounds(what, "MiB/s", &blocks, "disk, 4 MiB O_DIRECT, fdatasync", &disk).target(Target::AtLeast(0.7)));
    table.row(Row::rounds("PUT 256 MiB, one Put Blob", "MiB/s", &single, "one core's MD5", &md5).target(Target::AtLeast(0.8)));
    table.row(Row::rounds("GET 256 MiB", "MiB/s", &down, "nginx, plain file", &file).target(Target::AtLeast(0.6)));
    table.row(Row::of("resident memory after these", "MiB", resident_mib(region.id())?));
    region.stop()
}

fn mib_a_second(begun: Instant) -> f64 {
    MIB as f64 / begun.elapsed().as_secs_f64()
}

async fn put_blocks(caller: &Caller, account: &Account, name: &str, body: &Bytes) -> Result<()> {
    let ids: Vec<String> = (0..body.len().div_ceil(BLOCK_BYTES)).map(|n| BASE64_STANDARD.encode(format!("{n:08}"))).collect();
    let mut tasks = tokio::task::JoinSet::new();
    for writer in 0..WRITERS {
        let (caller, account, name, body, ids) = (caller.clone(), account.clone(), name.to_owned(), body.clone(), ids.clone());
        tasks.spawn(async move {
            let mut connection = caller.connect().await?;
            for number in (writer..ids.len()).step_by(WRITERS) {
                let part = body.slice(number * BLOCK_BYTES..((number + 1) * BLOCK_BYTES).min(body.len()));
                connection.put_block(&account, &name, &ids[number], part).await?;
            }
            Ok::<_, anyhow::Error>(())
        });
    }
    while let Some(done) = tasks.join_next().await {
        done??;
    }
    caller.connect().await?.put_block_list(account, name, &ids).await
}
