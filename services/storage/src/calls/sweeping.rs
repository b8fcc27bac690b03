//! The sweep: rows that nothing reaches any more are deleted, and contents that only they held are dropped.

use super::mark;
use crate::model::{BLOBS, BLOCKS, Blob, Block, Mark, REPLACED, Replaced, TRASH, Trash, UPLOADS, Upload, under};
use base::{ResourceId, Result, Stored};
use service::Neighbours;
use trust::{Batch, Caller, Found, Outcome, Permit, Read, Span, Table, Weight, Write};

/// Rows of one commit: each may drop two contents.
const ROWS_AT_ONCE: usize = 200;

/// Abandoned uploads ended in one turn, or a page of rows more.
const OVER_AT_ONCE: usize = 200;

const VERB: &str = "Sweep storage";
const ACTIONS: [&str; 1] = ["bleu.storage/sweep"];

/// One turn over every account; gives the number of rows deleted. Call it now and then, and again while it is not 0.
/// Error: that of the first account that could not be swept; the others were.
pub async fn sweep(near: &Neighbours) -> Result<u64> {
    let near = near.on_behalf(Caller::Region { part: "storage" });
    let accounts: Vec<ResourceId> = near.facts(|f| f.spaces().map(|s| s.resource.clone()).filter(is_account).collect());
    let (mut deleted, mut failed) = (0, None);
    for account in accounts {
        match sweep_account(&near, &account).await {
            Ok(rows) => deleted += rows,
            // one that can't be swept does not keep the others
            Err(error) => failed = failed.or(Some(error)),
        }
    }
    failed.map_or(Ok(deleted), Err)
}

fn is_account(id: &ResourceId) -> bool {
    id.resource_type().is_some_and(|t| t.eq_ignore_ascii_case("Microsoft.Storage/storageAccounts"))
}

async fn sweep_account(near: &Neighbours, account: &ResourceId) -> Result<u64> {
    let look = near.permit::<Read>(VERB, &ACTIONS, false, account, Weight::Batched, "").await?;
    let trash = look.data().scan::<Trash>(TRASH, Span::all(), 100).await?.rows;
    let over = uploads_over(&look, near).await?;
    // a turn that finds nothing is worth no line in the record, but a permit is closed all the same
    look.close(Outcome::done(200)).await?;
    let mut deleted = 0;
    for (name, found) in over {
        let trash = Trash::Upload { id: found.value.id, contents: true };
        let batch = Batch::new().is(UPLOADS, &name, found.version).delete(UPLOADS, &name).put(TRASH, mark(&*near.chance), &trash);
        // one that is put or committed at this moment stays
        if let Err(failed) = write(near, account).await?.commit(batch, Outcome::done(200)).await {
            match failed.permit {
                Some(permit) => permit.close(Outcome::done(200)).await?,
                None => return Err(failed.error),
            };
        }
        deleted += 1;
    }
    for (name, found) in trash {
        deleted += match &found.value {
            Trash::Container { generation } => sweep_container(near, account, generation).await?,
            Trash::Upload { id, contents: true } => sweep_blocks(near, account, id, Some(0)).await?,
            Trash::Upload { id, contents: false } => sweep_blocks(near, account, id, None).await?,
            Trash::Committed { id, seen } => sweep_blocks(near, account, id, Some(*seen)).await?,
        };
        let permit = write(near, account).await?;
        // whoever sweeps at the same time may have been here
        if permit.data().get::<Trash>(TRASH, &name).await?.is_some() {
            permit.commit(Batch::new().delete(TRASH, &name), Outcome::done(200)).await?;
        } else {
            permit.close(Outcome::done(200)).await?;
        }
    }
    Ok(deleted)
}

/// Uploads that nobody went on with for a week. Few blobs are uploaded at any time, so all are looked at.
async fn uploads_over(look: &Permit<Read>, near: &Neighbours) -> Result<Vec<(Vec<u8>, Found<Upload>)>> {
    let (now, mut over, mut span) = (near.clock.now(), Vec::new(), Span::all());
    loop {
        let page = look.data().scan::<Upload>(UPLOADS, span, 1_000).await?;
        over.extend(page.rows.into_iter().filter(|(_, found)| found.value.is_over(now)));
        match page.next {
            Some(next) if over.len() < OVER_AT_ONCE => span = Span::all().from(next),
            _ => return Ok(over),
        }
    }
}

async fn write(near: &Neighbours, account: &ResourceId) -> Result<Permit<Write>> {
    near.permit(VERB, &ACTIONS, false, account, Weight::With, "").await
}

async fn sweep_container(near: &Neighbours, account: &ResourceId, generation: &Mark) -> Result<u64> {
    let mut deleted = rows(near, account, BLOBS, generation, |batch, found: Found<Blob>| {
        let batch = batch.drop_content(found.value.content);
        match found.value.blocks {
            Some(blocks) => batch.drop_content(blocks),
            None => batch,
        }
    })
    .await?;
    loop {
        let permit = write(near, account).await?;
        let uploads = permit.data().scan::<Upload>(UPLOADS, Span::prefix(generation), 100).await?.rows;
        permit.close(Outcome::done(200)).await?;
        if uploads.is_empty() {
            return Ok(deleted);
        }
        for (name, found) in uploads {
            deleted += sweep_blocks(near, account, &found.value.id, Some(0)).await?;
            let permit = write(near, account).await?;
            permit.commit(Batch::new().is(UPLOADS, &name, found.version).delete(UPLOADS, &name), Outcome::done(200)).await?;
        }
    }
}

/// Deletes the rows of an upload. Contents of blocks later than `after` are dropped; `None`: of none.
async fn sweep_blocks(near: &Neighbours, account: &ResourceId, upload: &Mark, after: Option<u64>) -> Result<u64> {
    let deleted = rows(near, account, BLOCKS, upload, |batch, found: Found<Block>| match after {
        Some(after) if found.version.0 > after => batch.drop_content(found.value.content),
        _ => batch,
    })
    .await?;
    rows(near, account, REPLACED, upload, |batch, _: Found<Replaced>| batch).await?;
    Ok(deleted)
}

/// Deletes all rows under a mark, some at a time; `drop` adds what falls with each.
async fn rows<T: Stored>(
    near: &Neighbours,
    account: &ResourceId,
    table: Table,
    mark: &Mark,
    drop: impl Fn(Batch, Found<T>) -> Batch,
) -> Result<u64> {
    let mut deleted = 0;
    loop {
        let permit = write(near, account).await?;
        let found = permit.data().scan::<T>(table, Span::prefix(under(mark, b"")), ROWS_AT_ONCE).await?.rows;
        if found.is_empty() {
            permit.close(Outcome::done(200)).await?;
            return Ok(deleted);
        }
        deleted += found.len() as u64;
        let mut batch = Batch::new();
        for (name, row) in found {
            batch = drop(batch.is(table, &name, row.version).delete(table, &name), row);
        }
        permit.commit(batch, Outcome::done(200)).await?;
    }
}
