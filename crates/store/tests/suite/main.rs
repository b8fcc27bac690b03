//! One suite for every engine, and what happens when disks and processes fail.

mod chunks;
mod cluster;
mod conformance;
mod crash;
mod flushed;
mod killed;
mod postgres;

use base::{SeededChance, Shard, SiteName};
use bytes::Bytes;
use store::{Check, Commit, CommitError, Committed, Key, Kv, Op};

pub const SHARD: Shard = Shard(7);

pub fn k(name: &str) -> Key {
    store::key(SHARD, &[name.as_bytes()])
}

pub fn put(name: &str, value: &str) -> Op {
    Op::Put(k(name), Bytes::copy_from_slice(value.as_bytes()))
}

pub fn append(queue: &str, value: &str) -> Op {
    Op::Append { queue: k(queue), value: Bytes::copy_from_slice(value.as_bytes()) }
}

pub async fn commit(kv: &dyn Kv, checks: Vec<Check>, ops: Vec<Op>) -> Result<Committed, CommitError> {
    kv.commit(Commit { shard: SHARD, idem: 0, checks, ops }).await
}

pub async fn value(kv: &dyn Kv, name: &str) -> Option<String> {
    let found = kv.get(&k(name)).await.unwrap();
    found.map(|(_, value)| String::from_utf8(value.to_vec()).unwrap())
}

pub fn site() -> SiteName {
    SiteName::new("paris-1").unwrap()
}

pub fn random(chance: &SeededChance, bound: u64) -> u64 {
    let mut bytes = [0; 8];
    base::Chance::fill(chance, &mut bytes);
    u64::from_le_bytes(bytes) % bound
}

/// The second in the soak (`cargo xtask test --long` sets `BLEU_LONG`), else the first.
pub fn soaked<T>(everyday: T, soak: T) -> T {
    if std::env::var_os("BLEU_LONG").is_some() { soak } else { everyday }
}

/// Where seeds begin: the same each day, fresh ones in the soak.
pub fn first_seed(everyday: u64) -> u64 {
    std::env::var("BLEU_LONG").ok().and_then(|first| first.parse().ok()).unwrap_or(everyday)
}

pub fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap()
}
