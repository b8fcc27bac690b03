//! How an act ended, and the proof that the record knows.

use base::EntryId;

/// How an act ended, for its entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    pub result: Ended,
    /// HTTP status of the answer.
    pub status: u16,
    /// The dialect's error code; empty when done.
    pub code: String,
    pub bytes_in: u64,
    pub bytes_out: u64,
    /// SHA-256 of the bytes written.
    pub digest: Option<[u8; 32]>,
    /// Typed extras of the catalogue: ("key", "key1").
    pub facts: Vec<(&'static str, String)>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    Done,
    Refused,
    Failed,
    /// The client left, the process died, or the handler gave up.
    Unfinished,
}

impl Outcome {
    pub fn done(status: u16) -> Outcome {
        Outcome { result: Ended::Done, status, code: String::new(), bytes_in: 0, bytes_out: 0, digest: None, facts: Vec::new() }
    }
    pub fn failed(error: &base::Error) -> Outcome {
        Outcome { result: Ended::Failed, status: error.kind.status(), code: error.code.to_string(), ..Outcome::done(0) }
    }
    pub fn bytes_out(mut self, bytes: u64) -> Outcome {
        self.bytes_out = bytes;
        self
    }
    pub fn wrote(mut self, bytes: u64, digest: [u8; 32]) -> Outcome {
        self.bytes_in = bytes;
        self.digest = Some(digest);
        self
    }
    pub fn fact(mut self, name: &'static str, value: impl Into<String>) -> Outcome {
        self.facts.push((name, value.into()));
        self
    }
}

/// Proof that the record knows how the act ended. Only `trust` makes one; without one there is no reply.
#[derive(Debug)]
pub struct Receipt {
    pub(crate) entry: Option<EntryId>,
}

impl Receipt {
    /// The entry's place in its outbox; `None` for what is batched or tallied and gets its entry within a second.
    pub fn entry(&self) -> Option<EntryId> {
        self.entry
    }
}
