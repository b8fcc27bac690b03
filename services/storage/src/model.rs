//! What is stored of an account: rows in the account's own space, named as below. Every type has its version.
//!
//! | table | name | row |
//! |---|---|---|
//! | [`CONTAINERS`] | container | [`Container`] |
//! | [`BLOBS`] | generation ‖ blob | [`Blob`] |
//! | [`UPLOADS`] | generation ‖ blob | [`Upload`]: blocks of this blob wait to be committed |
//! | [`BLOCKS`] | upload id ‖ block id | [`Block`] |
//! | [`REPLACED`] | upload id | [`Replaced`]: a block of this upload was put again |
//! | [`TRASH`] | random | [`Trash`]: rows that nothing reaches any more, for the sweep |
//!
//! A *generation* is 16 random bytes drawn when a container is made. Blobs are named under it, so that deleting a
//! container is deleting one row: its blobs are out of reach at once, and a container made anew under the old name
//! starts empty. An upload has an id of its own for the same reason: committing 50,000 blocks can't delete 50,000 rows
//! in one commit, and must not leave them where the next upload would find them.

use base::{Stored, Timestamp};
use serde::{Deserialize, Serialize};
use trust::{Content, Keeper, Table};

pub const CONTAINERS: Table = Table::of(Keeper::Storage, 2);
pub const BLOBS: Table = Table::of(Keeper::Storage, 3);
pub const UPLOADS: Table = Table::of(Keeper::Storage, 4);
pub const BLOCKS: Table = Table::of(Keeper::Storage, 5);
pub const TRASH: Table = Table::of(Keeper::Storage, 6);
pub const REPLACED: Table = Table::of(Keeper::Storage, 7);

/// 16 random bytes that are never drawn twice.
pub type Mark = [u8; 16];

/// Names and values as sent, in the order sent.
pub type Metadata = Vec<(String, String)>;

/// Prints as Azure's entity tags look; unique per write of one resource.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ETag(pub u64);

impl ETag {
    /// Ticks of 100 ns since the year 1, as Azure's are; what the clock lacks below a millisecond is drawn, and a tag is
    /// always above the one it follows.
    pub fn after(previous: Option<ETag>, now: Timestamp, chance: &dyn base::Chance) -> ETag {
        const MS_BEFORE_1970: i64 = 62_135_596_800_000;
        let below = u64::from(u16::from_be_bytes(crypto::random_array(chance))) % 10_000;
        let ticks = now.0.saturating_add(MS_BEFORE_1970).max(0) as u64;
        let fresh = ticks.saturating_mul(10_000) + below;
        ETag(previous.map_or(fresh, |p| fresh.max(p.0 + 1)))
    }
    /// With its quotes, as in the header.
    pub fn quoted(self) -> String {
        format!("\"{self}\"")
    }
}

impl std::fmt::Display for ETag {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "0x{:X}", self.0)
    }
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Container {
    pub generation: Mark,
    pub etag: ETag,
    pub created: Timestamp,
    pub modified: Timestamp,
    pub metadata: Metadata,
}

/// The HTTP headers that a blob is served with.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Served {
    pub content_type: Option<String>,
    pub content_encoding: Option<String>,
    pub content_language: Option<String>,
    pub cache_control: Option<String>,
    pub content_disposition: Option<String>,
    pub content_md5: Option<[u8; 16]>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Blob {
    pub content: Content,
    pub etag: ETag,
    pub created: Timestamp,
    pub modified: Timestamp,
    pub served: Served,
    pub metadata: Metadata,
    /// As set by the client; `None` shows the account's default.
    pub tier: Option<String>,
    pub tier_changed: Option<Timestamp>,
    /// A stored [`BlockList`], for a blob made of blocks.
    pub blocks: Option<Content>,
}

/// Blocks of a blob that wait for Put Block List.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Upload {
    pub id: Mark,
    pub created: Timestamp,
    /// All block ids of a blob have the same length.
    pub block_id_bytes: usize,
    /// When a block was last put, but for the last [`Upload::STALE_MS`]: that long a row stays as it is.
    pub used: Timestamp,
}

impl Upload {
    pub const STALE_MS: i64 = 6 * 3_600 * 1_000;
    /// Blocks that nobody commits are kept for a week after the last of them (Azure, "Put Block", remarks).
    const KEPT_MS: i64 = 7 * 24 * 3_600 * 1_000 + Upload::STALE_MS;

    pub fn is_stale(&self, now: Timestamp) -> bool {
        now.0 >= self.used.0.saturating_add(Upload::STALE_MS)
    }
    pub fn is_over(&self, now: Timestamp) -> bool {
        now.0 >= self.used.0.saturating_add(Upload::KEPT_MS)
    }
}

/// [`Upload`] as it was first stored.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Upload1 {
    pub id: Mark,
    pub created: Timestamp,
    pub block_id_bytes: usize,
}

/// Written, unread, by whoever puts a block again: a list that was being committed with the older one meets it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Replaced {}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Block {
    pub content: Content,
}

/// The committed blocks of a blob, in order: stored as content, because 50,000 do not fit in a row.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct BlockList {
    pub blocks: Vec<(Vec<u8>, Content)>,
}

/// Rows to delete in the background.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Trash {
    /// A deleted container's blobs and uploads.
    Container { generation: Mark },
    /// Blocks of an upload that ended. `contents`: theirs are to be dropped too, because no blob took them.
    Upload { id: Mark, contents: bool },
    /// Blocks of an upload that was committed. Their contents are the blob's or dropped already, but for blocks that came
    /// while it was committed: those have a later version than `seen`.
    Committed { id: Mark, seen: u64 },
}

macro_rules! first_version {
    ($($kind:ident $name:literal;)*) => {$(
        impl Stored for $kind {
            const NAME: &'static str = $name;
            const VERSION: u8 = 1;
            type Previous = $kind;
            fn upgrade(previous: $kind) -> $kind { previous }
        }
    )*};
}
first_version! {
    Container "storage.container";
    Blob "storage.blob";
    Upload1 "storage.upload";
    Replaced "storage.replaced";
    Block "storage.block";
    BlockList "storage.blocks";
    Trash "storage.trash";
}

impl Stored for Upload {
    const NAME: &'static str = "storage.upload";
    const VERSION: u8 = 2;
    type Previous = Upload1;
    fn upgrade(old: Upload1) -> Upload {
        Upload { id: old.id, created: old.created, block_id_bytes: old.block_id_bytes, used: old.created }
    }
}

/// The row name of something inside a generation or an upload.
pub fn under(mark: &Mark, name: &[u8]) -> Vec<u8> {
    [&mark[..], name].concat()
}

#[cfg(test)]
mod tests {
    use super::*;
    use base::SeededChance;

    #[test]
    fn etags_look_like_azures_and_only_grow() {
        let chance = SeededChance::new(1);
        let now = Timestamp(1_795_508_032_123);
        let mut tag = ETag::after(None, now, &chance);
        assert!(tag.quoted().starts_with("\"0x8D"), "{}", tag.quoted());
        for _ in 0..1_000 {
            let next = ETag::after(Some(tag), now, &chance);
            assert!(next.0 > tag.0);
            tag = next;
        }
        assert!(ETag::after(Some(tag), Timestamp(0), &chance).0 > tag.0, "a clock that goes back gives no tag twice");
    }

    /// The bytes of version 1: what is stored today is read for ever.
    #[test]
    fn samples_of_version_1_are_read() {
        let container = Container {
            generation: [7; 16],
            etag: ETag(0x8DE),
            created: Timestamp(1),
            modified: Timestamp(2),
            metadata: vec![("a".into(), "b".into())],
        };
        let sample = include_str!("../tests/samples/container-1.hex");
        assert_eq!(hex::encode(base::encode(&container)), sample.trim());
        assert_eq!(base::decode::<Container>(&hex::decode(sample.trim()).unwrap()).unwrap(), container);
        let blob = Blob {
            content: Content::empty(),
            etag: ETag(0x8DE),
            created: Timestamp(1),
            modified: Timestamp(2),
            served: Served { content_type: Some("text/plain".into()), content_md5: Some([9; 16]), ..Served::default() },
            metadata: Vec::new(),
            tier: Some("Cool".into()),
            tier_changed: Some(Timestamp(3)),
            blocks: Some(Content::empty()),
        };
        let sample = include_str!("../tests/samples/blob-1.hex");
        assert_eq!(hex::encode(base::encode(&blob)), sample.trim());
        assert_eq!(base::decode::<Blob>(&hex::decode(sample.trim()).unwrap()).unwrap(), blob);
    }

    /// An upload that began before its last use was kept is as old as its beginning.
    #[test]
    fn an_upload_of_version_1_is_read() {
        let old = Upload1 { id: [7; 16], created: Timestamp(5), block_id_bytes: 6 };
        let bytes = base::encode(&old);
        assert_eq!(bytes[0], 1);
        let upload = base::decode::<Upload>(&bytes).unwrap();
        assert_eq!(upload, Upload { id: [7; 16], created: Timestamp(5), block_id_bytes: 6, used: Timestamp(5) });
        assert_eq!(base::decode::<Upload>(&base::encode(&upload)).unwrap(), upload);
    }
}
