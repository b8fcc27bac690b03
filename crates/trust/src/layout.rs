//! The rows of the store: every key this crate writes is made here.
//!
//! | prefix | what | sealed with |
//! |---|---|---|
//! | `d` space, keeper, table, address, 0, name | a service's row | the space's key |
//! | `f` fact key | a fact | the region's facts key |
//! | `c` space, holder, 0, id | a credential | the space's key |
//! | `k` name | a wrapped key or secret | the key above it |
//! | `l` space, chunk id | the ledger: a chunk that is in use, and where | the region's facts key |
//! | `g` due time, id | garbage: a content to delete when its time comes | the region's facts key |
//! | `o` number | the outbox: entries not yet in the log | openings by their owner's record key |
//! | `p` index | the opening of the entry at that log index | its owner's record key |
//! | `t` path | a tile or entry bundle of the log, under its C2SP path | public |
//! | `h` name | heads: log size, checkpoint, clean stop, acts left open, spaces to purge | public |

use crate::Table;
use base::{Shard, SpaceId};
use store::{Key, key};

/// One committer for now: on one disk a second would wait for the same flush.
pub(crate) const SHARD: Shard = Shard(0);
/// Longer names keep their first bytes and a digest in the key, and travel whole in the value.
pub(crate) const NAME_BYTES_MAX: usize = 1_100;
const ADDRESS_BYTES_MAX: usize = 760;

pub(crate) fn rows(space: SpaceId, table: Table, address: &str) -> Key {
    // an address is at most 760 bytes here or is cut to a digest: rows of one resource stay together either way
    let address = shortened(address.as_bytes(), ADDRESS_BYTES_MAX);
    key(SHARD, &[b"d", space.0.as_bytes(), &table.bytes(), &address])
}
pub(crate) fn row(space: SpaceId, table: Table, address: &str, name: &[u8]) -> Key {
    let mut out = rows(space, table, address);
    out.push(0);
    out.extend(shortened(name, NAME_BYTES_MAX));
    out
}
pub(crate) fn space_rows(space: SpaceId) -> Key {
    key(SHARD, &[b"d", space.0.as_bytes()])
}
fn shortened(name: &[u8], max: usize) -> Vec<u8> {
    if name.len() <= max {
        return name.to_vec();
    }
    let mut out = name[..max - 32].to_vec();
    out.extend(crypto::sha256(name));
    out
}
pub(crate) fn fact(fact_key: &str) -> Key {
    key(SHARD, &[b"f", &shortened(fact_key.as_bytes(), 1_900)])
}
pub(crate) fn facts() -> Key {
    key(SHARD, &[b"f"])
}
pub(crate) fn credential(space: SpaceId, holder: &str, id: &str) -> Key {
    key(SHARD, &[b"c", space.0.as_bytes(), holder.as_bytes(), &[0], id.as_bytes()])
}
pub(crate) fn credentials(space: SpaceId, holder: &str) -> Key {
    key(SHARD, &[b"c", space.0.as_bytes(), holder.as_bytes(), &[0]])
}
pub(crate) fn space_credentials(space: SpaceId) -> Key {
    key(SHARD, &[b"c", space.0.as_bytes()])
}
pub(crate) fn key_row(name: &str) -> Key {
    key(SHARD, &[b"k", name.as_bytes()])
}
pub(crate) fn ledger(space: SpaceId, chunk: store::ChunkId) -> Key {
    key(SHARD, &[b"l", space.0.as_bytes(), &chunk.0])
}
pub(crate) fn space_ledger(space: SpaceId) -> Key {
    key(SHARD, &[b"l", space.0.as_bytes()])
}
pub(crate) fn whole_ledger() -> Key {
    key(SHARD, &[b"l"])
}
pub(crate) fn garbage(due: base::Timestamp, id: [u8; 16]) -> Key {
    key(SHARD, &[b"g", &due.0.to_be_bytes(), &id])
}
pub(crate) fn all_garbage() -> Key {
    key(SHARD, &[b"g"])
}
pub(crate) fn outbox() -> Key {
    key(SHARD, &[b"o"])
}
pub(crate) fn opening(index: u64) -> Key {
    key(SHARD, &[b"p", &index.to_be_bytes()])
}
pub(crate) fn tile(path: &str) -> Key {
    key(SHARD, &[b"t", path.as_bytes()])
}
pub(crate) fn head_number(name: &str, number: u64) -> Key {
    key(SHARD, &[b"h", name.as_bytes(), &number.to_be_bytes()])
}
pub(crate) fn head(name: &str) -> Key {
    key(SHARD, &[b"h", name.as_bytes()])
}
