//! From outbox to log: drains the outbox in order, appends to the tree, signs a checkpoint, has it cosigned.
//!
//! One commit moves a run of entries: outbox rows go, tiles, openings and the head come, all or nothing. A checkpoint is
//! signed only after that commit, so a signed size never exceeds what is stored.

use crate::journal::OutboxRow;
use crate::{Inner, layout};
use base::{EntryId, Error, Fut, Result, Stored, TenantId};
use bytes::Bytes;
use record::tiles::{Appender, consistency_paths, prove_consistency};
use record::{Checkpoint, Digest, Draft, SignedCheckpoint, VerifierKey};
use serde::{Deserialize, Serialize};
use std::collections::HashMap;
use store::{Commit, KeyRange, Kv, Op, queue_key};

/// Entries moved in one commit: their rows fit the store's limits of 1,000 operations and 1 MiB.
const RUN_MAX: usize = 400;
const RUN_BYTES_MAX: usize = 600 << 10;

/// A witness, wherever it runs. The binary brings the transport.
pub trait Witness: Send + Sync + 'static {
    /// Its cosigner key, as the customer's trust file names it.
    fn key(&self) -> &VerifierKey;
    /// Sends an `add-checkpoint` body (C2SP tlog-witness); gives the answer's status and body.
    fn add_checkpoint(&self, body: Vec<u8>) -> Fut<'_, Result<(u16, Vec<u8>)>>;
}

/// Where the log stands. Stored, public.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct LogHead {
    pub size: u64,
    pub root: [u8; 32],
    /// The outbox is in the log up to this number (one shard).
    pub number: u64,
}

impl Stored for LogHead {
    const NAME: &'static str = "trust.log-head";
    const VERSION: u8 = 1;
    type Previous = LogHead;
    fn upgrade(previous: LogHead) -> LogHead {
        previous
    }
}

/// The opening of a logged entry, sealed, with its owner.
#[derive(Serialize, Deserialize)]
pub(crate) struct SealedOpening {
    pub owner: Option<TenantId>,
    pub sealed: Bytes,
}

impl Stored for SealedOpening {
    const NAME: &'static str = "trust.opening";
    const VERSION: u8 = 1;
    type Previous = SealedOpening;
    fn upgrade(previous: SealedOpening) -> SealedOpening {
        previous
    }
}

pub(crate) struct Sequencer {
    appender: Appender,
    pub head: LogHead,
    pub checkpoint: Option<SignedCheckpoint>,
    /// What each witness last cosigned, by name.
    seen: HashMap<String, u64>,
}

impl Sequencer {
    /// Takes up the log where the store says it stands. Error: tiles are missing or are not of this root.
    pub async fn load(kv: &dyn Kv) -> Result<Sequencer> {
        let head: LogHead = match kv.get(&layout::head("log")).await? {
            Some((_, bytes)) => base::decode(&bytes)?,
            None => LogHead::default(),
        };
        let tiles = read_tiles(kv, Appender::edge_paths(head.size)).await?;
        let appender = Appender::load(head.size, |path| Ok(tiles.get(path).cloned()))?;
        if head.size > 0 && appender.root().0 != head.root {
            return Err(Error::internal("the stored tiles of the record are not those of its head"));
        }
        let checkpoint = match kv.get(&layout::head("checkpoint")).await? {
            Some((_, bytes)) => Some(SignedCheckpoint::parse(&bytes)?),
            None => None,
        };
        Ok(Sequencer { appender, head, checkpoint, seen: HashMap::new() })
    }

    /// Moves what waits in the outbox into the log. After an error the edge is reloaded, since
    /// it may have moved on without the store.
    pub async fn drain(&mut self, inner: &Inner) -> Result<()> {
        loop {
            match self.run(inner).await {
                Ok(0) => return Ok(()),
                Ok(_) => {}
                Err(error) => {
                    let fresh = Sequencer::load(&*inner.kv).await?;
                    (self.appender, self.head) = (fresh.appender, fresh.head);
                    return Err(error);
                }
            }
        }
    }

    async fn run(&mut self, inner: &Inner) -> Result<usize> {
        // from the next number on: an engine that keeps the marks of deleted rows for a while would walk them all again
        let mut waiting = KeyRange::prefix(&layout::outbox());
        waiting.start = queue_key(&layout::outbox(), self.head.number + 1);
        let page = inner.kv.scan(waiting, RUN_MAX, false).await?;
        let (mut entries, mut ops, mut bytes) = (Vec::new(), Vec::new(), 0);
        let mut head = self.head;
        for row in page.rows {
            if bytes > RUN_BYTES_MAX {
                break;
            }
            let expected = queue_key(&layout::outbox(), head.number + 1);
            if row.key != expected {
                return Err(Error::internal(format!("the outbox has a gap after {}", head.number)));
            }
            let waiting: OutboxRow = base::decode(&row.value)?;
            let id = EntryId { shard: layout::SHARD, number: head.number + 1 };
            let entry = Draft::decode(&waiting.draft)?.numbered(id).encode()?;
            let opening = base::encode(&SealedOpening { owner: waiting.owner, sealed: waiting.sealed });
            bytes += entry.len() * 2 + opening.len() + 200;
            ops.push(Op::Delete(row.key));
            ops.push(Op::Put(layout::opening(head.size), opening.into()));
            entries.push(entry);
            head.size += 1;
            head.number += 1;
        }
        if entries.is_empty() {
            return Ok(0);
        }
        let old_edge = Appender::edge_paths(self.head.size);
        let appended = self.appender.append(&entries)?;
        // partial files of the old edge are replaced by longer ones; a level that did not grow keeps its own
        let new_edge = Appender::edge_paths(head.size);
        ops.extend(old_edge.into_iter().filter(|path| !new_edge.contains(path)).map(|path| Op::Delete(layout::tile(&path))));
        ops.extend(appended.files.into_iter().map(|(path, content)| Op::Put(layout::tile(&path), content.into())));
        head.root = appended.root.0;
        ops.push(Op::Put(layout::head("log"), base::encode(&head).into()));
        inner
            .kv
            .commit(Commit {
                shard: layout::SHARD,
                idem: u128::from_be_bytes(crypto::random_array(&*inner.chance)),
                checks: Vec::new(),
                ops,
            })
            .await?;
        self.head = head;
        Ok(entries.len())
    }

    /// Signs the head and asks each witness. A witness that is away is asked again with the next checkpoint.
    pub async fn publish(&mut self, inner: &Inner) -> Result<()> {
        if self.head.size == 0 {
            return Ok(());
        }
        let origin = inner.log_signer.key().name().to_owned();
        let checkpoint = Checkpoint { origin, size: self.head.size, root: Digest(self.head.root) };
        let mut signed = SignedCheckpoint::sign(checkpoint, &inner.log_signer)?;
        for witness in &inner.witnesses {
            if let Err(error) = self.ask(inner, &**witness, &mut signed).await {
                tracing::warn!(witness = witness.key().name(), %error, "the witness did not cosign");
            }
        }
        let bytes = signed.to_bytes();
        let commit =
            Commit { shard: layout::SHARD, idem: 0, checks: Vec::new(), ops: vec![Op::Put(layout::head("checkpoint"), bytes.into())] };
        inner.kv.commit(commit).await?;
        self.checkpoint = Some(signed);
        Ok(())
    }

    async fn ask(&mut self, inner: &Inner, witness: &dyn Witness, signed: &mut SignedCheckpoint) -> Result<()> {
        let name = witness.key().name().to_owned();
        // a second try after "your old size is wrong", which tells the right one
        for _ in 0..2 {
            let old = self.seen.get(&name).copied().unwrap_or(0);
            let size = signed.checkpoint.size;
            let tiles = read_tiles(&*inner.kv, consistency_paths(old, size)).await?;
            let proof = prove_consistency(old, size, &|path| Ok(tiles.get(path).cloned()))?;
            let body = record::witness::AddCheckpoint { old, proof, checkpoint: signed.clone() }.to_bytes();
            let (status, answer) = witness.add_checkpoint(body).await?;
            match status {
                200 => {
                    signed.note.take_cosignatures(&answer, std::slice::from_ref(witness.key()))?;
                    self.seen.insert(name, size);
                    return Ok(());
                }
                409 => {
                    let text = String::from_utf8_lossy(&answer);
                    let seen = text.trim().parse::<u64>().map_err(|_| Error::internal("the witness refuses this log"))?;
                    if seen > size {
                        return Err(Error::internal(format!("the witness has seen {seen} entries, the log has {size}: it was set back")));
                    }
                    self.seen.insert(name.clone(), seen);
                }
                _ => return Err(Error::internal(format!("the witness answered {status}: {}", String::from_utf8_lossy(&answer).trim()))),
            }
        }
        Err(Error::internal("the witness does not agree on the last size"))
    }

    /// True when the head has its checkpoint and every witness has cosigned it.
    pub fn is_published(&self, inner: &Inner) -> bool {
        self.checkpoint.as_ref().is_some_and(|c| c.checkpoint.size == self.head.size) && self.is_cosigned(inner)
    }

    /// True when every witness has cosigned the newest checkpoint.
    pub fn is_cosigned(&self, inner: &Inner) -> bool {
        inner.witnesses.iter().all(|w| self.seen.get(w.key().name()) == Some(&self.head.size))
    }
}

pub(crate) async fn read_tiles(kv: &dyn Kv, paths: Vec<String>) -> Result<HashMap<String, Vec<u8>>> {
    let mut found = HashMap::new();
    for path in paths {
        if let Some((_, bytes)) = kv.get(&layout::tile(&path)).await? {
            found.insert(path, bytes.to_vec());
        }
    }
    Ok(found)
}
