//! Checkpoints (C2SP tlog-checkpoint): origin, size and root of the log, signed by the log and cosigned by witnesses.

use crate::note::{NoteSigner, Signed, SignedNote, VerifierKey};
use crate::{Digest, tiles::SIZE_MAX};
use base::{Error, Result};

/// The three lines of a checkpoint. We write no extension lines and accept none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Checkpoint {
    /// `bleu.localhost/francecentral`: the name of the log and of its key.
    pub origin: String,
    /// Number of entries.
    pub size: u64,
    /// Root of the tree of RFC 6962 over the entries.
    pub root: Digest,
}

impl Checkpoint {
    /// The text that is signed.
    pub fn text(&self) -> String {
        format!("{}\n{}\n{}\n", self.origin, self.size, self.root.base64())
    }

    /// Strict inverse of [`Checkpoint::text`]; error `InvalidCheckpoint`.
    pub fn parse(text: &str) -> Result<Checkpoint> {
        let parsed = tlog_tiles::Checkpoint::from_bytes(text.as_bytes()).map_err(|_| invalid("it is not origin, size and root"))?;
        if parsed.size() > SIZE_MAX {
            return Err(invalid("the size is beyond 2^63 - 1"));
        }
        let checkpoint = Checkpoint { origin: parsed.origin().to_owned(), size: parsed.size(), root: Digest::from(*parsed.hash()) };
        if checkpoint.text() != text {
            return Err(invalid("it has extension lines or is not in canonical form"));
        }
        Ok(checkpoint)
    }
}

/// A checkpoint with its signature and cosignatures: what `<prefix>/checkpoint` serves.
#[derive(Clone, Debug, PartialEq)]
pub struct SignedCheckpoint {
    pub checkpoint: Checkpoint,
    pub note: SignedNote,
}

impl SignedCheckpoint {
    /// Errors: `InvalidCheckpoint` when the origin is not the name of the key; what signing says.
    pub fn sign(checkpoint: Checkpoint, log: &NoteSigner) -> Result<SignedCheckpoint> {
        if log.key().name() != checkpoint.origin {
            return Err(invalid("the origin is not the name of the log's key"));
        }
        let note = SignedNote::sign(&checkpoint.text(), log)?;
        Ok(SignedCheckpoint { checkpoint, note })
    }

    /// Parses without verifying; errors `InvalidNote`, `InvalidCheckpoint`.
    pub fn parse(bytes: &[u8]) -> Result<SignedCheckpoint> {
        let note = SignedNote::parse(bytes)?;
        let checkpoint = Checkpoint::parse(note.text())?;
        Ok(SignedCheckpoint { checkpoint, note })
    }

    pub fn to_bytes(&self) -> Vec<u8> {
        self.note.to_bytes()
    }

    /// True when the log's key signed it and its origin is that key's name.
    pub fn is_signed_by(&self, log: &VerifierKey) -> bool {
        self.checkpoint.origin == log.name() && matches!(self.note.signed_by(log), Signed::Good { .. })
    }
}

fn invalid(why: &str) -> Error {
    Error::invalid("InvalidCheckpoint", format!("Not a checkpoint: {why}."))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::note::{KeyKind, tests::signer};

    #[test]
    fn signs_parses_and_verifies() {
        let log = signer("bleu.localhost/francecentral", KeyKind::Note, 1);
        let checkpoint = Checkpoint { origin: log.key().name().into(), size: 42, root: Digest::of(b"x") };
        let signed = SignedCheckpoint::sign(checkpoint.clone(), &log).unwrap();
        let parsed = SignedCheckpoint::parse(&signed.to_bytes()).unwrap();
        assert_eq!(parsed, signed);
        assert!(parsed.is_signed_by(log.key()));
        assert!(!parsed.is_signed_by(signer("bleu.localhost/francecentral", KeyKind::Note, 2).key()));
        assert!(SignedCheckpoint::sign(checkpoint, &signer("other", KeyKind::Note, 1)).is_err());
    }

    #[test]
    fn refuses_other_spellings() {
        let root = Digest::of(b"x").base64();
        let good = format!("o\n7\n{root}\n");
        assert!(Checkpoint::parse(&good).is_ok());
        for bad in [
            String::new(),
            format!("o\n07\n{root}\n"),
            format!("o\n+7\n{root}\n"),
            format!("o\n9223372036854775808\n{root}\n"),
            format!("o\n7\n{root}"),
            format!("o\n7\n{root}\nextension\n"),
            format!("\n7\n{root}\n"),
            format!("o\n7\n{}\n", &root[..40]),
        ] {
            assert_eq!(Checkpoint::parse(&bad).unwrap_err().code, "InvalidCheckpoint", "{bad:?}");
        }
    }
}
