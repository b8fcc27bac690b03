//! The sweep: rows that nothing reaches any more are deleted, and contents that only they held are dropped.

use crate::model::{BLOBS, BLOCKS, Blob, Block, Mark, TRASH, Trash, UPLOADS, Upload, under};
use base::{ResourceId, Result, Stored};
use service::Neighbours;
use trust::{Batch, Caller, Found, Outcome, Permit, Read, Span, Table, Weight, Write};

/// Rows of one commit: each may drop two contents.
const ROWS_AT_ONCE: usize = 200;

const VERB: &str = "Sweep storage";
const ACTIONS: [&str; 1] = ["bleu.storage/sweep"];

/// One turn over every account; gives the number of rows deleted. Call it now and then, and again while it is not 0.
pub async fn sweep(near: &Neighbours) -> Result<u64> {
    let near = near.on_behalf(Caller::Region { part: "storage" });
    let accounts: Vec<ResourceId> = near.facts(|f| f.spaces().map(|s| s.resource.clone()).filter(is_account).collect());
    let mut deleted = 0;
    for account in accounts {
        deleted += sweep_account(&near, &account).await?;
    }
    Ok(deleted)
}

fn is_account(id: &ResourceId) -> bool {
    id.resource_type().is_some_and(|t| t.eq_ignore_ascii_case("Microsoft.Storage/storageAccounts"))
}

async fn sweep_account(near: &Neighbours, account: &ResourceId) -> Result<u64> {
    let look = near.permit::<Read>(VERB, &ACTIONS, false, account, Weight::Batched, "").await?;
    let trash = look.data().scan::<Trash>(TRASH, Span::all(), 100).await?.rows;
    // a turn that finds nothing is worth no line in the record, but a permit is closed all the same
    look.close(Outcome::done(200)).await?;
    let mut deleted = 0;
    for (name, found) in trash {
        deleted += match &found.value {
            Trash::Container { generation } => sweep_container(near, account, generation).await?,
            Trash::Upload { id, contents } => sweep_blocks(near, account, id, *contents).await?,
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
            deleted += sweep_blocks(near, account, &found.value.id, true).await?;
            let permit = write(near, account).await?;
            permit.commit(Batch::new().is(UPLOADS, &name, found.version).delete(UPLOADS, &name), Outcome::done(200)).await?;
        }
    }
}

async fn sweep_blocks(near: &Neighbours, account: &ResourceId, upload: &Mark, contents: bool) -> Result<u64> {
    rows(near, account, BLOCKS, upload, |batch, found: Found<Block>| if contents { batch.drop_content(found.value.content) } else { batch })
        .await
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
