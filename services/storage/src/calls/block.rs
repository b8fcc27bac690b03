//! Blocks: put aside, then committed in one list (Azure Storage REST reference, "Put Block", "Put Block List").
//!
//! Blocks wait in rows under an *upload*. Committing names the new content, a list of its blocks, and ends the upload in
//! one commit; contents that no blob took are dropped in the same commit, rows that are left go to the sweep.
//!
//! As in Azure, blocks belong to the blob's name and not to whoever puts them: clients that upload one blob at once share
//! and replace each other's blocks. Putting different blocks must not be a conflict, so a commit checks neither each block
//! nor that there is no new one; what it has to notice, and how:
//!
//! | while a list is committed, somebody | then |
//! |---|---|
//! | ends the upload (another list, Put Blob, Delete) | the upload's row has changed: read again |
//! | puts a block again, which drops the bytes of the older one | the row in `REPLACED` has changed: read again |
//! | puts a new block | it is dropped by the sweep, by its version |

use super::{Here, Place, again, blob, container, fail, mark, tagged};
use crate::model::{BLOBS, BLOCKS, Block, BlockList, CONTAINERS, REPLACED, Replaced, TRASH, Trash, UPLOADS, Upload, under};
use crate::wire;
use base::{Error, Kind, Result};
use base64::prelude::*;
use bytes::BytesMut;
use futures::StreamExt;
use http::StatusCode;
use service::{Body, Call, Head, Neighbours, Reply};
use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use trust::{Access, Batch, Content, Found, Outcome, Permit, Read, Span, Staged, Version, Write};

type Service = Arc<crate::Storage>;

/// One block: 4,000 MiB.
const BLOCK_BYTES_MAX: u64 = 4_000 << 20;
/// Blocks that wait to be committed, of one blob.
const UNCOMMITTED_MAX: usize = 100_000;
/// The longest list of committed blocks that is read back: 50,000 blocks of the longest id, the smallest inline.
const LIST_BYTES_MAX: u64 = 512 << 20;

fn bad_block() -> Error {
    Error::invalid("InvalidBlobOrBlock", "The specified blob or block content is invalid.")
}

/// "Put Block".
pub async fn put(_: Service, mut call: Call, mut permit: Permit<Write>, near: Neighbours) -> Result<Reply> {
    let place = Place::of(&call.head);
    let (id, staged) = match take(&mut call, &permit, &place).await {
        Ok(taken) => taken,
        Err(error) => return fail(permit, error).await,
    };
    for tries in 0.. {
        let batch = match add(&permit, &place, &id, &staged, &near).await {
            Ok(batch) => batch,
            Err(error) => return fail(permit, error).await,
        };
        match permit.commit(batch, Outcome::done(201).wrote(staged.content.length, staged.sha256)).await {
            Ok(receipt) => {
                let reply = Reply::new(receipt, StatusCode::CREATED, "").with("x-ms-request-server-encrypted", "true");
                // as Azure: the digest that was sent comes back, else the CRC
                return Ok(match staged.md5 {
                    Some(md5) => reply.with("content-md5", BASE64_STANDARD.encode(md5)),
                    None => reply.with("x-ms-content-crc64", blob::crc64(staged.crc64)),
                });
            }
            Err(failed) => permit = again(failed, tries)?,
        }
    }
    unreachable!("`again` ends the loop")
}

async fn take(call: &mut Call, permit: &Permit<Write>, place: &Place) -> Result<(Vec<u8>, Staged)> {
    wire::refuse_unbuilt(&call.head.headers)?;
    let declared = blob::Declared::of(&call.head.headers)?;
    let id = call.head.query.get("blockid").ok_or_else(|| {
        Error::invalid("MissingRequiredQueryParameter", "A query parameter that's mandatory for this request is not specified.")
            .at("blockid")
    })?;
    // a '+' that a client forgot to encode reads as a blank
    let id = wire::block_id(&id.replace(' ', "+")).ok_or_else(|| wire::bad_query("blockid"))?;
    let here = Here::read(permit, place).await?;
    if here.upload.is_some_and(|u| u.value.block_id_bytes != id.len()) {
        return Err(bad_block());
    }
    if call.body.length == Some(0) {
        return Err(Error::invalid("InvalidHeaderValue", "A block is not empty.").at("content-length"));
    }
    let staged = blob::stage(permit, call, BLOCK_BYTES_MAX, declared.wants_md5()).await?;
    declared.check(&staged)?;
    Ok((id, staged))
}

/// Writers of different blocks do not meet: they check the upload's row, which only begin and end change.
async fn add(permit: &Permit<Write>, place: &Place, id: &[u8], staged: &Staged, near: &Neighbours) -> Result<Batch> {
    let container = container(permit, &place.container).await?;
    let row = under(&container.value.generation, place.blob.as_bytes());
    let upload = permit.data().get::<Upload>(UPLOADS, &row).await?;
    let now = near.clock.now();
    let mut batch = Batch::new().is(CONTAINERS, &place.container, container.version);
    let upload = match upload {
        Some(found) if found.value.block_id_bytes != id.len() => return Err(bad_block()),
        Some(found) => {
            batch = batch.is(UPLOADS, &row, found.version);
            if found.value.is_stale(now) {
                batch = batch.put(UPLOADS, &row, &Upload { used: now, ..found.value.clone() });
            }
            found.value
        }
        None => {
            let fresh = Upload { id: mark(&*near.chance), created: now, block_id_bytes: id.len(), used: now };
            batch = batch.absent(UPLOADS, &row).put(UPLOADS, &row, &fresh);
            fresh
        }
    };
    let name = under(&upload.id, id);
    let before = permit.data().get::<Block>(BLOCKS, &name).await?;
    batch = batch.unchanged(BLOCKS, &name, super::version(&before)).adopt(staged).put(
        BLOCKS,
        &name,
        &Block { content: staged.content.clone() },
    );
    Ok(match before {
        Some(old) => batch.drop_content(old.value.content).put(REPLACED, upload.id, &Replaced {}),
        None => batch,
    })
}

/// "Put Block List".
pub async fn commit(_: Service, mut call: Call, mut permit: Permit<Write>, near: Neighbours) -> Result<Reply> {
    let place = Place::of(&call.head);
    let (wish, wanted, crc) = match asked(&mut call).await {
        Ok(asked) => asked,
        Err(error) => return fail(permit, error).await,
    };
    for tries in 0.. {
        let plan = match plan(&permit, &place, &wish, &wanted, &call).await {
            Ok(plan) => plan,
            Err(error) => return fail(permit, error).await,
        };
        let now = near.clock.now();
        let mut made = blob::made(&plan.here, &wish, wish.served.clone(), plan.content.content.clone(), now, &near);
        made.blocks = Some(plan.list.content.clone());
        let bytes = made.content.length;
        let batch = plan.batch(&place, &near).put(BLOBS, &plan.here.row, &made);
        match permit.commit(batch, Outcome::done(201).wrote(bytes, plan.list.sha256)).await {
            Ok(receipt) => {
                let reply = tagged(Reply::new(receipt, StatusCode::CREATED, ""), made.etag, now);
                return Ok(reply.with("x-ms-content-crc64", blob::crc64(crc)).with("x-ms-request-server-encrypted", "true"));
            }
            Err(failed) => permit = again(failed, tries)?,
        }
    }
    unreachable!("`again` ends the loop")
}

async fn asked(call: &mut Call) -> Result<(blob::Wish, Vec<wire::Wanted>, u64)> {
    let wish = blob::Wish::of(&call.head.headers, false)?;
    let (md5, crc): (Option<[u8; 16]>, Option<[u8; 8]>) =
        (wire::digest(&call.head.headers, "content-md5")?, wire::digest(&call.head.headers, "x-ms-content-crc64")?);
    let body = super::collected(std::mem::replace(&mut call.body, Body::empty()), wire::BLOCK_LIST_BYTES_MAX).await?;
    if md5.is_some_and(|want| crypto::md5(&body) != want) {
        return Err(Error::invalid(
            "Md5Mismatch",
            "The MD5 value specified in the request did not match with the MD5 value calculated by the server.",
        ));
    }
    let found = crypto::Crc64Nvme::of(&body);
    if crc.is_some_and(|want| crypto::Crc64Nvme::header_bytes(found) != want) {
        return Err(Error::invalid(
            "Crc64Mismatch",
            "The CRC64 value specified in the request did not match with the CRC64 value calculated by the server.",
        ));
    }
    Ok((wish, wire::block_list(&body)?, found))
}

/// What a block list comes to.
struct Plan {
    here: Here,
    content: Staged,
    /// The stored [`BlockList`].
    list: Staged,
    /// Uncommitted blocks that the list does not name, joined so that they are dropped at once.
    unused: Option<Staged>,
    /// The newest of the blocks that were read, and the row of replaced ones as it was before.
    seen: Version,
    replaced: Option<Version>,
}

async fn plan(permit: &Permit<Write>, place: &Place, wish: &blob::Wish, wanted: &[wire::Wanted], call: &Call) -> Result<Plan> {
    let here = blob::read_and_judge(permit, place, wish, call).await?;
    let needs_committed = wanted.iter().any(|w| !matches!(w, wire::Wanted::Uncommitted(_)));
    let committed: HashMap<Vec<u8>, Content> = match &here.blob {
        Some(found) if needs_committed => committed(permit, &found.value.blocks).await?.blocks.into_iter().collect(),
        _ => HashMap::new(),
    };
    let (mut uncommitted, mut seen, mut replaced) = (HashMap::new(), Version::default(), None);
    if let Some(upload) = &here.upload {
        replaced = super::version(&permit.data().get::<Replaced>(REPLACED, upload.value.id).await?);
        for (id, block) in waiting(permit, &upload.value).await? {
            seen = seen.max(block.version);
            uncommitted.insert(id, block.value.content);
        }
    }
    let mut blocks = Vec::with_capacity(wanted.len());
    let mut used = HashSet::new();
    for want in wanted {
        let id = want.id();
        let found = match want {
            wire::Wanted::Committed(_) => committed.get(id),
            wire::Wanted::Uncommitted(_) => uncommitted.get(id),
            wire::Wanted::Latest(_) => uncommitted.get(id).or_else(|| committed.get(id)),
        };
        let content = found.ok_or_else(|| Error::invalid("InvalidBlockList", "The specified block list is invalid."))?;
        if !matches!(want, wire::Wanted::Committed(_)) {
            used.insert(id.to_vec());
        }
        blocks.push((id.to_vec(), content.clone()));
    }
    uncommitted.retain(|id, _| !used.contains(id));
    let contents: Vec<Content> = blocks.iter().map(|(_, content)| content.clone()).collect();
    let content = permit.join(&contents).await?;
    let list = permit.stage_bytes(base::encode(&BlockList { blocks }).into()).await?;
    let unused = match uncommitted.is_empty() {
        true => None,
        false => Some(permit.join(&uncommitted.into_values().collect::<Vec<_>>()).await?),
    };
    Ok(Plan { here, content, list, unused, seen, replaced })
}

impl Plan {
    fn batch(&self, place: &Place, near: &Neighbours) -> Batch {
        let mut batch = self.here.batch(place).adopt(&self.content).adopt(&self.list);
        if let Some(old) = &self.here.blob {
            // blocks that live on are kept
            batch = batch.replace_content(old.value.content.clone(), &self.content.content);
            if let Some(blocks) = &old.value.blocks {
                batch = batch.drop_content(blocks.clone());
            }
        }
        if let Some(unused) = &self.unused {
            batch = batch.adopt(unused).drop_content(unused.content.clone());
        }
        match &self.here.upload {
            None => batch,
            Some(upload) => batch
                .is(UPLOADS, &self.here.row, upload.version)
                .delete(UPLOADS, &self.here.row)
                .unchanged(REPLACED, upload.value.id, self.replaced)
                .put(TRASH, mark(&*near.chance), &Trash::Committed { id: upload.value.id, seen: self.seen.0 }),
        }
    }
}

/// The committed blocks of a blob; none for a blob that was put whole.
async fn committed<A: Access>(permit: &Permit<A>, blocks: &Option<Content>) -> Result<BlockList> {
    let Some(content) = blocks else { return Ok(BlockList::default()) };
    if content.length > LIST_BYTES_MAX {
        return Err(Error::internal("a stored block list is longer than any that is written"));
    }
    let mut bytes = BytesMut::with_capacity(content.length as usize);
    let mut stream = permit.data().content(content, 0..content.length);
    while let Some(part) = stream.next().await {
        bytes.extend_from_slice(&part?);
    }
    base::decode(&bytes)
}

/// The blocks that wait, in order of their ids.
async fn waiting<A: Access>(permit: &Permit<A>, upload: &Upload) -> Result<Vec<(Vec<u8>, Found<Block>)>> {
    let mut all = Vec::new();
    let mut from: Option<Vec<u8>> = None;
    loop {
        let mut span = Span::prefix(upload.id);
        if let Some(from) = &from {
            span = span.from(from);
        }
        let page = permit.data().scan::<Block>(BLOCKS, span, 1_000).await?;
        all.extend(page.rows.into_iter().map(|(name, found)| (name[upload.id.len()..].to_vec(), found)));
        if all.len() > UNCOMMITTED_MAX {
            return Err(Error::new(
                Kind::Conflict,
                "BlockCountExceedsLimit",
                "The uncommitted block count cannot exceed the maximum limit of 100,000 blocks.",
            ));
        }
        match page.next {
            Some(next) => from = Some(next),
            None => return Ok(all),
        }
    }
}

/// "Get Block List".
pub async fn list(_: Service, call: Call, permit: Permit<Read>, _: Neighbours) -> Result<Reply> {
    let found = match read(&permit, &call.head).await {
        Ok(found) => found,
        Err(error) => return fail(permit, error).await,
    };
    let Lists { blob, committed, uncommitted } = found;
    let receipt = permit.close(Outcome::done(200)).await?;
    let reply = super::xml(receipt, wire::block_list_xml(committed.as_deref(), uncommitted.as_deref()));
    Ok(match blob {
        Some(found) => {
            tagged(reply, found.value.etag, found.value.modified).with("x-ms-blob-content-length", found.value.content.length.to_string())
        }
        None => reply.with("x-ms-blob-content-length", "0"),
    })
}

/// Ids and sizes.
type Sizes = Vec<(Vec<u8>, u64)>;

struct Lists {
    blob: Option<Found<crate::model::Blob>>,
    committed: Option<Sizes>,
    uncommitted: Option<Sizes>,
}

async fn read(permit: &Permit<Read>, head: &Head) -> Result<Lists> {
    wire::refuse_unbuilt(&head.headers)?;
    if head.query.has("snapshot") || head.query.has("versionid") {
        return Err(Error::not_implemented("A snapshot or version of a blob"));
    }
    let (want_committed, want_uncommitted) = match head.query.get("blocklisttype") {
        None | Some("committed") => (true, false),
        Some("uncommitted") => (false, true),
        Some("all") => (true, true),
        Some(_) => return Err(wire::bad_query("blocklisttype")),
    };
    let here = Here::read(permit, &Place::of(head)).await?;
    if here.blob.is_none() && here.upload.is_none() {
        return Err(super::blob_not_found());
    }
    let sizes = |blocks: Vec<(Vec<u8>, Content)>| -> Sizes { blocks.into_iter().map(|(id, content)| (id, content.length)).collect() };
    let committed = match (&here.blob, want_committed) {
        (Some(found), true) => Some(sizes(committed(permit, &found.value.blocks).await?.blocks)),
        (None, true) => Some(Vec::new()),
        _ => None,
    };
    let uncommitted = match (&here.upload, want_uncommitted) {
        (Some(found), true) => {
            Some(sizes(waiting(permit, &found.value).await?.into_iter().map(|(id, block)| (id, block.value.content)).collect()))
        }
        (None, true) => Some(Vec::new()),
        _ => None,
    };
    Ok(Lists { blob: here.blob, committed, uncommitted })
}
