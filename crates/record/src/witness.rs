//! A witness (C2SP tlog-witness): it remembers the latest checkpoint of each log it watches and cosigns a new one only
//! when the log has done nothing but grow.
//!
//! [`add_checkpoint`] is a pure judgement. The caller holds a lock on the log's [`Watched`], calls it, makes
//! [`Answer::seen`] durable and only then sends the answer: otherwise two requests could roll the log back.

use crate::note::{NoteSigner, SignedNote, VerifierKey};
use crate::tiles::{Proof, SIZE_MAX, check_consistency};
use crate::{Digest, SignedCheckpoint};
use base::{Error, Result, Timestamp};

/// The most bytes of an `add-checkpoint` request that we read.
pub const REQUEST_BYTES_MAX: usize = 64 * 1024;
const PROOF_LINES_MAX: usize = 63;

/// The body of `POST <submission prefix>/add-checkpoint`.
#[derive(Clone, Debug, PartialEq)]
pub struct AddCheckpoint {
    /// The size that the client believes the witness has seen.
    pub old: u64,
    /// Consistency proof from `old` to the checkpoint.
    pub proof: Proof,
    pub checkpoint: SignedCheckpoint,
}

impl AddCheckpoint {
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut head = format!("old {}\n", self.old);
        for hash in &self.proof {
            head.push_str(&hash.base64());
            head.push('\n');
        }
        head.push('\n');
        [head.as_bytes(), &self.checkpoint.to_bytes()].concat()
    }

    /// Strict inverse of [`AddCheckpoint::to_bytes`]; errors `InvalidAddCheckpoint`, `InvalidNote`, `InvalidCheckpoint`.
    pub fn parse(body: &[u8]) -> Result<AddCheckpoint> {
        if body.len() > REQUEST_BYTES_MAX {
            return Err(invalid("it is too long"));
        }
        let text = std::str::from_utf8(body).map_err(|_| invalid("it is not text"))?;
        let (head, note) = text.split_once("\n\n").ok_or_else(|| invalid("no blank line ends the proof"))?;
        let mut lines = head.split('\n');
        let digits = lines.next().and_then(|line| line.strip_prefix("old ")).ok_or_else(|| invalid("it does not begin with 'old'"))?;
        let old: u64 = digits.parse().map_err(|_| invalid("the old size is not a number"))?;
        if old.to_string() != digits || old > SIZE_MAX {
            return Err(invalid("the old size is not in canonical form"));
        }
        let mut proof = Proof::new();
        for line in lines {
            if proof.len() == PROOF_LINES_MAX {
                return Err(invalid("the proof has more than 63 lines"));
            }
            proof.push(Digest::parse_base64(line).ok_or_else(|| invalid("a line of the proof is not a hash"))?);
        }
        Ok(AddCheckpoint { old, proof, checkpoint: SignedCheckpoint::parse(note.as_bytes())? })
    }
}

/// The latest checkpoint that the witness cosigned for a log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Seen {
    pub size: u64,
    pub root: Digest,
}

impl Seen {
    /// Of a log never seen before: the empty tree.
    pub fn nothing() -> Seen {
        Seen { size: 0, root: Digest::empty_tree() }
    }

    /// The form in which a witness keeps it: size and root, a line each.
    pub fn text(&self) -> String {
        format!("{}\n{}\n", self.size, self.root.base64())
    }

    /// Strict inverse of [`Seen::text`]; error `InvalidSeen` (internal: these bytes are the witness's own).
    pub fn parse(text: &str) -> Result<Seen> {
        let read = || {
            let (size, root) = text.strip_suffix('\n')?.split_once('\n')?;
            Some(Seen { size: size.parse().ok()?, root: Digest::parse_base64(root)? })
        };
        let seen = read().filter(|seen| seen.text() == text && seen.size <= SIZE_MAX);
        seen.ok_or_else(|| Error::new(base::Kind::Internal, "InvalidSeen", "What the witness kept of a log cannot be read."))
    }
}

/// A log that the witness was told to watch, and what it last cosigned for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Watched {
    /// The log's key; its name is the origin.
    pub log: VerifierKey,
    pub seen: Seen,
}

/// What the witness answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// HTTP status: 200, 400, 403, 404, 409 or 422 (500 when signing failed).
    pub status: u16,
    pub content_type: &'static str,
    pub body: String,
    /// For status 200: what must be durable before the answer is sent.
    pub seen: Option<Seen>,
}

/// Judges a request. `watched` finds a log by its origin; `signer` holds the witness's cosigner key; `now` goes into the
/// cosignature. The checks and their statuses are those of tlog-witness, "add-checkpoint".
pub fn add_checkpoint<'a>(watched: impl Fn(&str) -> Option<&'a Watched>, body: &[u8], signer: &NoteSigner, now: Timestamp) -> Answer {
    let request = match AddCheckpoint::parse(body) {
        Ok(request) => request,
        Err(e) => return refuse(400, &e.message),
    };
    let checkpoint = &request.checkpoint.checkpoint;
    let Some(Watched { log, seen }) = watched(&checkpoint.origin) else {
        return refuse(404, "This witness does not watch that log.");
    };
    if !request.checkpoint.is_signed_by(log) {
        return refuse(403, "The checkpoint is not signed by the log's key.");
    }
    if request.old > checkpoint.size {
        return refuse(400, "The old size is above the checkpoint's.");
    }
    if request.old != seen.size {
        return Answer { status: 409, content_type: "text/x.tlog.size", body: format!("{}\n", seen.size), seen: None };
    }
    if request.old == checkpoint.size && checkpoint.root != seen.root {
        return refuse(409, "The checkpoint has the size of the last one and another root.");
    }
    if !check_consistency(&request.proof, seen.size, seen.root, checkpoint.size, checkpoint.root) {
        return refuse(422, "The log did not just grow: the consistency proof does not hold.");
    }
    let mut note: SignedNote = request.checkpoint.note.clone();
    match note.cosign(signer, now) {
        Ok(body) => {
            let seen = Seen { size: checkpoint.size, root: checkpoint.root };
            Answer { status: 200, content_type: "text/plain; charset=utf-8", body, seen: Some(seen) }
        }
        Err(_) => refuse(500, "The witness cannot sign now."),
    }
}

fn refuse(status: u16, why: &str) -> Answer {
    Answer { status, content_type: "text/plain; charset=utf-8", body: format!("{why}\n"), seen: None }
}

fn invalid(why: &str) -> Error {
    Error::invalid("InvalidAddCheckpoint", format!("Not an add-checkpoint request: {why}."))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::note::{KeyKind, Signed, tests::signer};
    use crate::tiles::{Appender, prove_consistency};
    use crate::{Checkpoint, SignedCheckpoint};
    use std::collections::BTreeMap;

    const ORIGIN: &str = "bleu.localhost/francecentral";

    /// A log that grows, and forks on demand.
    struct Log {
        files: BTreeMap<String, Vec<u8>>,
        appender: Appender,
    }

    impl Log {
        fn new() -> Log {
            Log { files: BTreeMap::new(), appender: Appender::new() }
        }
        fn grow(&mut self, count: u64, word: &str) -> SignedCheckpoint {
            let entries: Vec<String> = (0..count).map(|i| format!("{word} {i}")).collect();
            let appended = self.appender.append(&entries).unwrap();
            self.files.extend(appended.files);
            let checkpoint = Checkpoint { origin: ORIGIN.into(), size: appended.size, root: appended.root };
            SignedCheckpoint::sign(checkpoint, &signer(ORIGIN, KeyKind::Note, 1)).unwrap()
        }
        fn request(&self, old: u64, checkpoint: &SignedCheckpoint) -> AddCheckpoint {
            let proof = prove_consistency(old, checkpoint.checkpoint.size, &|path| Ok(self.files.get(path).cloned())).unwrap();
            AddCheckpoint { old, proof, checkpoint: checkpoint.clone() }
        }
    }

    fn ask(watched: &Watched, body: &[u8]) -> Answer {
        let find = |origin: &str| (origin == watched.log.name()).then_some(watched);
        add_checkpoint(find, body, &signer("w1", KeyKind::Cosigner, 9), Timestamp(1_700_000_000_000))
    }

    fn fresh() -> Watched {
        Watched { log: signer(ORIGIN, KeyKind::Note, 1).key().clone(), seen: Seen::nothing() }
    }

    #[test]
    fn cosigns_a_log_that_grows() {
        let (mut log, mut watched) = (Log::new(), fresh());
        let mut old = 0;
        for count in [0, 5, 300, 0, 1] {
            let mut checkpoint = log.grow(count, "entry");
            let request = log.request(old, &checkpoint);
            assert_eq!(AddCheckpoint::parse(&request.to_bytes()).unwrap(), request);
            let answer = ask(&watched, &request.to_bytes());
            assert_eq!(answer.status, 200, "{}", answer.body);
            let witness = signer("w1", KeyKind::Cosigner, 9).key().clone();
            assert_eq!(checkpoint.note.take_cosignatures(answer.body.as_bytes(), std::slice::from_ref(&witness)).unwrap(), 1);
            assert_eq!(checkpoint.note.signed_by(&witness), Signed::Good { at_seconds: Some(1_700_000_000) });
            watched.seen = answer.seen.unwrap();
            old = watched.seen.size;
        }
        assert_eq!(old, 306);
        assert_eq!(Seen::parse(&watched.seen.text()).unwrap(), watched.seen);
        for bad in ["", "306\n", &watched.seen.text().replace("306", "0306"), watched.seen.text().trim_end()] {
            assert!(Seen::parse(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn refuses_as_specified() {
        let mut log = Log::new();
        let five = log.grow(5, "entry");
        let watched = Watched { seen: Seen { size: 5, root: five.checkpoint.root }, ..fresh() };
        let nine = log.grow(4, "entry");
        let good = log.request(5, &nine);

        let status = |request: &AddCheckpoint| ask(&watched, &request.to_bytes()).status;
        assert_eq!(status(&good), 200);
        assert_eq!(ask(&watched, b"old 5\n").status, 400);

        let stranger = Checkpoint { origin: "elsewhere".into(), ..nine.checkpoint.clone() };
        let stranger = SignedCheckpoint::sign(stranger, &signer("elsewhere", KeyKind::Note, 1)).unwrap();
        assert_eq!(status(&AddCheckpoint { checkpoint: stranger, ..good.clone() }), 404);

        let forged = SignedCheckpoint::sign(nine.checkpoint.clone(), &signer(ORIGIN, KeyKind::Note, 2)).unwrap();
        assert_eq!(status(&AddCheckpoint { checkpoint: forged, ..good.clone() }), 403);

        assert_eq!(status(&AddCheckpoint { old: 10, ..good.clone() }), 400);

        let answer = ask(&watched, &log.request(3, &nine).to_bytes());
        assert_eq!((answer.status, answer.content_type, answer.body.as_str()), (409, "text/x.tlog.size", "5\n"));

        let mut fork = Log::new();
        let fork_of_nine = fork.grow(9, "fork");
        assert_eq!(status(&fork.request(5, &fork_of_nine)), 422);
        let mut fork = Log::new();
        let fork_of_five = fork.grow(5, "fork");
        assert_eq!(status(&fork.request(5, &fork_of_five)), 409);
        assert_eq!(status(&AddCheckpoint { proof: vec![Digest::default()], ..good.clone() }), 422);
        // an unneeded proof for a first checkpoint
        let first = ask(&fresh(), &AddCheckpoint { old: 0, proof: vec![Digest::default()], checkpoint: nine.clone() }.to_bytes());
        assert_eq!(first.status, 422);
    }

    #[test]
    fn refuses_malformed_bodies() {
        let checkpoint = Log::new().grow(1, "entry");
        let body = String::from_utf8(AddCheckpoint { old: 0, proof: vec![], checkpoint }.to_bytes()).unwrap();
        assert!(AddCheckpoint::parse(body.as_bytes()).is_ok());
        let hash = Digest::of(b"x").base64();
        for bad in [
            body.replacen("old 0", "old 00", 1),
            body.replacen("old 0", "old -1", 1),
            body.replacen("old 0", "old 9223372036854775808", 1),
            body.replacen("old 0\n", "old 0\nx\n", 1),
            body.replacen("old 0\n", &format!("old 0\n{}", format!("{hash}\n").repeat(64)), 1),
            body.replacen("old 0\n", "", 1),
            body.clone() + "x",
            body.replace('\n', "\r\n"),
        ] {
            assert!(AddCheckpoint::parse(bad.as_bytes()).is_err(), "{bad:?}");
        }
        assert!(AddCheckpoint::parse(&vec![b'o'; REQUEST_BYTES_MAX + 1]).is_err());
    }
}
