//! Witnesses: a checkpoint is signed once, shown to all of them at the same time, and published with their cosignatures.
//!
//! One round is in flight at a time, and none holds the lock of the sequencer: acts that wait for their log index never
//! wait for a witness. A witness that does not answer is left alone for a while, twice as long each time.

use crate::sequencer::LogHead;
use crate::{Inner, Trust, layout, lock};
use base::{Error, Fut, Result, Timestamp};
use futures::StreamExt;
use futures::stream::FuturesUnordered;
use record::tiles::{consistency_paths, prove_consistency};
use record::{Checkpoint, Digest, SignedCheckpoint, VerifierKey};
use std::collections::HashMap;
use std::time::Duration;
use store::{Commit, Op};
use tokio::sync::MutexGuard;

/// A witness that says nothing for so long is away.
const PATIENCE: Duration = Duration::from_secs(10);
/// The longest that a witness which was away is left alone, seconds.
const APART_S_MAX: i64 = 60;

/// A witness, wherever it runs. The binary brings the transport.
pub trait Witness: Send + Sync + 'static {
    /// Its cosigner key, as the customer's trust file names it.
    fn key(&self) -> &VerifierKey;
    /// Sends an `add-checkpoint` body (C2SP tlog-witness); gives the answer's status and body.
    fn add_checkpoint(&self, body: Vec<u8>) -> Fut<'_, Result<(u16, Vec<u8>)>>;
}

/// What the rounds know. Whoever has its lock is the round in flight.
#[derive(Default)]
pub(crate) struct Rounds {
    /// The newest signed checkpoint, with the cosignatures it has.
    signed: Option<SignedCheckpoint>,
    standing: HashMap<String, Standing>,
}

/// How a witness stands, by its last answer.
#[derive(Clone, Copy, Default)]
struct Standing {
    /// The size it last cosigned.
    seen: u64,
    failures: u32,
    asked: Timestamp,
}

impl Standing {
    fn is_due(&self, now: Timestamp) -> bool {
        if self.failures == 0 {
            return true;
        }
        let apart_s = (1 << self.failures.min(10)).min(APART_S_MAX);
        // a clock that was set back must not keep a witness away
        now >= self.asked.plus_seconds(apart_s) || now < self.asked
    }
}

/// What everyone may see.
#[derive(Default)]
pub(crate) struct Published {
    pub checkpoint: Option<SignedCheckpoint>,
    /// Every witness has cosigned it.
    pub cosigned: bool,
}

/// Which witnesses a round asks.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Whom {
    /// Those who lack the newest checkpoint and were not away just now.
    Due,
    /// Everyone who lacks it.
    All,
}

impl Rounds {
    pub fn of(signed: Option<SignedCheckpoint>) -> Rounds {
        Rounds { signed, standing: HashMap::new() }
    }

    /// The checkpoint of this head: signed once, whoever asks.
    fn sign(&mut self, inner: &Inner, head: LogHead) -> Result<SignedCheckpoint> {
        if let Some(signed) = self.signed.as_ref().filter(|s| s.checkpoint.size == head.size) {
            return Ok(signed.clone());
        }
        let origin = inner.log_signer.key().name().to_owned();
        let checkpoint = Checkpoint { origin, size: head.size, root: Digest(head.root) };
        let signed = SignedCheckpoint::sign(checkpoint, &inner.log_signer)?;
        self.signed = Some(signed.clone());
        Ok(signed)
    }

    /// Those to ask for a checkpoint of `size`, and what each last saw.
    fn to_ask(&self, inner: &Inner, size: u64, whom: Whom) -> Vec<(usize, u64)> {
        let now = inner.clock.now();
        let standing = |at: usize| self.standing.get(inner.witnesses[at].key().name()).copied().unwrap_or_default();
        let lacks = |at: &usize| standing(*at).seen != size && (whom == Whom::All || standing(*at).is_due(now));
        (0..inner.witnesses.len()).filter(lacks).map(|at| (at, standing(at).seen)).collect()
    }
}

impl Trust {
    /// Publishes the newest checkpoint in the background, unless a round is in flight.
    pub(crate) async fn publish_if_idle(&self) -> Result<()> {
        match self.inner().rounds.try_lock() {
            Ok(rounds) => self.round(rounds, Whom::Due).await.map(drop),
            Err(_) => Ok(()),
        }
    }

    /// Signs the head, asks `whom`, and publishes; gives the checkpoint with the cosignatures it got. `None`: the log is
    /// empty. A witness that is away is no error.
    pub(crate) async fn publish(&self, whom: Whom) -> Result<Option<SignedCheckpoint>> {
        self.round(self.inner().rounds.lock().await, whom).await
    }

    async fn round(&self, mut rounds: MutexGuard<'_, Rounds>, whom: Whom) -> Result<Option<SignedCheckpoint>> {
        let inner = self.inner();
        let head = inner.sequencer.lock().await.head;
        if head.size == 0 {
            return Ok(None);
        }
        let mut signed = rounds.sign(inner, head)?;
        let asked = rounds.to_ask(inner, head.size, whom);
        let (shown, started) = (signed.clone(), inner.clock.now());
        let mut answers: FuturesUnordered<_> = asked.into_iter().map(|(at, seen)| answer(inner, at, seen, &shown)).collect();
        while let Some((at, seen, answered)) = answers.next().await {
            let key = inner.witnesses[at].key();
            let taken = answered.and_then(|lines| signed.note.take_cosignatures(&lines, std::slice::from_ref(key)));
            let standing = rounds.standing.entry(key.name().to_owned()).or_default();
            (standing.seen, standing.asked) = (seen, started);
            if let Err(error) = taken {
                standing.failures = standing.failures.saturating_add(1);
                tracing::warn!(witness = key.name(), %error, "the witness did not cosign");
                continue;
            }
            standing.failures = 0;
            rounds.signed = Some(signed.clone());
            // the others may be slow
            if !answers.is_empty() {
                inner.show(&signed, false).await?;
            }
        }
        let cosigned = rounds.all_cosigned(inner, head.size);
        inner.show(&signed, cosigned).await?;
        Ok(Some(signed))
    }
}

impl Rounds {
    fn all_cosigned(&self, inner: &Inner, size: u64) -> bool {
        inner.witnesses.iter().all(|w| self.standing.get(w.key().name()).is_some_and(|s| s.seen == size))
    }
}

impl Inner {
    /// Stores a checkpoint and shows it to everyone.
    async fn show(&self, signed: &SignedCheckpoint, cosigned: bool) -> Result<()> {
        let bytes = signed.to_bytes();
        let shown = |p: &Published| p.checkpoint.as_ref().is_some_and(|c| c.to_bytes() == bytes);
        if !shown(&lock(&self.published)) {
            let row = Op::Put(layout::head("checkpoint"), bytes.clone().into());
            self.kv.commit(Commit { shard: layout::SHARD, idem: 0, checks: Vec::new(), ops: vec![row] }).await?;
        }
        *lock(&self.published) = Published { checkpoint: Some(signed.clone()), cosigned };
        Ok(())
    }
}

/// Asks one witness; gives the size it has seen now, and its signature lines.
async fn answer(inner: &Inner, at: usize, seen: u64, signed: &SignedCheckpoint) -> (usize, u64, Result<Vec<u8>>) {
    let mut seen = seen;
    let asking = ask(inner, &*inner.witnesses[at], &mut seen, signed);
    let answer = tokio::time::timeout(PATIENCE, asking).await.unwrap_or_else(|_| Err(Error::internal("the witness does not answer")));
    (at, seen, answer)
}

async fn ask(inner: &Inner, witness: &dyn Witness, seen: &mut u64, signed: &SignedCheckpoint) -> Result<Vec<u8>> {
    let size = signed.checkpoint.size;
    // a second try after "your old size is wrong", which tells the right one
    for _ in 0..2 {
        let tiles = inner.tiles(consistency_paths(*seen, size)).await?;
        let proof = prove_consistency(*seen, size, &|path| Ok(tiles.get(path).cloned()))?;
        let body = record::witness::AddCheckpoint { old: *seen, proof, checkpoint: signed.clone() }.to_bytes();
        let (status, answer) = witness.add_checkpoint(body).await?;
        match status {
            200 => {
                let taken = signed.clone().note.take_cosignatures(&answer, std::slice::from_ref(witness.key()))?;
                if taken == 0 {
                    return Err(Error::internal("the witness's answer holds no cosignature of its own"));
                }
                *seen = size;
                return Ok(answer);
            }
            409 => {
                let text = String::from_utf8_lossy(&answer);
                let told = text.trim().parse::<u64>().map_err(|_| Error::internal("the witness refuses this log"))?;
                if told > size {
                    return Err(Error::internal(format!("the witness has seen {told} entries, the log has {size}: it was set back")));
                }
                *seen = told;
            }
            _ => return Err(Error::internal(format!("the witness answered {status}: {}", String::from_utf8_lossy(&answer).trim()))),
        }
    }
    Err(Error::internal("the witness does not agree on the last size"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_witness_that_is_away_is_left_alone_for_longer_and_longer() {
        let asked = Timestamp::from_seconds(1_000_000);
        for (failures, apart_s) in [(0, 0), (1, 2), (2, 4), (5, 32), (6, 60), (1_000, 60)] {
            let standing = Standing { seen: 0, failures, asked };
            assert!(standing.is_due(asked.plus_seconds(apart_s)), "{failures}");
            assert!(apart_s == 0 || !standing.is_due(asked.plus_seconds(apart_s - 1)), "{failures}");
            // the clock was set back
            assert!(standing.is_due(asked.plus_seconds(-1)));
        }
    }
}
