//! The trust file: the public keys that a customer gets out of band, and how many witnesses it asks for.

use crate::lines::Lines;
use crate::note::{KeyKind, VerifierKey};
use crate::{Digest, Owner};
use base::{Error, Result};

const TITLE: &str = "bleu trust v1";
const WITNESSES_MAX: usize = 64;

/// Keys to verify a bundle with. Text form (`bleu record trust`):
///
/// ```text
/// bleu trust v1
/// log bleu.localhost/francecentral+1f0c…+AW…
/// region bleu.localhost/francecentral/region+90ab…+AX…
/// owner 6c5b3f1e-0f52-4f6b-9a55-3f1f6c3a1b11 9f86d081…
/// witness witness.example/w1+77aa…+BD…
/// threshold 1
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TrustKeys {
    /// Signs checkpoints; its name is the origin.
    pub log: VerifierKey,
    /// Signs places and the manifests of bundles.
    pub region: VerifierKey,
    /// In the trust file of a tenant, or of the operator: SHA-256 of its tag key. Without it, a bundle could carry another
    /// tag key and leave out, unseen, every entry of the owner.
    pub owner: Option<(Owner, Digest)>,
    pub witnesses: Vec<VerifierKey>,
    /// How many witnesses must have cosigned.
    pub threshold: usize,
}

impl TrustKeys {
    /// The kinds of the keys fit their use; witnesses have distinct keys and names; the threshold can be met; log and
    /// region do not cosign for themselves. Error `InvalidTrustFile`.
    pub fn check(&self) -> Result<()> {
        if self.log.kind() != KeyKind::Note || self.region.kind() != KeyKind::Note {
            return Err(invalid("the log's and the region's keys sign notes"));
        }
        if self.witnesses.len() > WITNESSES_MAX {
            return Err(invalid("it has more than 64 witnesses"));
        }
        if self.threshold > self.witnesses.len() {
            return Err(invalid("the threshold is above the number of witnesses"));
        }
        for (i, witness) in self.witnesses.iter().enumerate() {
            if witness.kind() != KeyKind::Cosigner {
                return Err(invalid("a witness's key is a cosigner's"));
            }
            // one holder with two names would count twice
            let twin = self.witnesses[..i].iter().any(|other| other.public() == witness.public() || other.name() == witness.name());
            if twin || witness.public() == self.log.public() || witness.public() == self.region.public() {
                return Err(invalid("a key appears twice"));
            }
        }
        Ok(())
    }

    /// The text form. Error as [`TrustKeys::check`].
    pub fn text(&self) -> Result<String> {
        self.check()?;
        let mut text = format!("{TITLE}\nlog {}\nregion {}\n", self.log, self.region);
        if let Some((owner, tag_key)) = &self.owner {
            text.push_str(&format!("owner {owner} {tag_key}\n"));
        }
        for witness in &self.witnesses {
            text.push_str(&format!("witness {witness}\n"));
        }
        text.push_str(&format!("threshold {}\n", self.threshold));
        Ok(text)
    }

    /// Strict inverse of [`TrustKeys::text`]; errors `InvalidTrustFile`, `InvalidKey`.
    pub fn parse(text: &str) -> Result<TrustKeys> {
        let malformed = || invalid("it is not the lines log, region, owner, witness and threshold");
        let mut lines = Lines::new(text, TITLE).ok_or_else(malformed)?;
        let log = lines.next("log").ok_or_else(malformed)?.parse()?;
        let region = lines.next("region").ok_or_else(malformed)?.parse()?;
        let owner = match lines.next("owner") {
            Some(value) => Some(parse_owner(value).ok_or_else(malformed)?),
            None => None,
        };
        let mut witnesses = Vec::new();
        while let Some(witness) = lines.next("witness") {
            if witnesses.len() == WITNESSES_MAX {
                return Err(invalid("it has more than 64 witnesses"));
            }
            witnesses.push(witness.parse()?);
        }
        let threshold = lines.next("threshold").and_then(|n| n.parse().ok()).ok_or_else(malformed)?;
        let keys = TrustKeys { log, region, owner, witnesses, threshold };
        if !lines.end() || keys.text()? != text {
            return Err(malformed());
        }
        Ok(keys)
    }
}

/// The region's own entries have a published tag key: there is none to pin.
fn parse_owner(value: &str) -> Option<(Owner, Digest)> {
    let (owner, tag_key) = value.split_once(' ')?;
    let owner = Owner::parse(owner).filter(|owner| *owner != Owner::Region)?;
    Some((owner, Digest::parse_hex(tag_key)?))
}

fn invalid(why: &str) -> Error {
    Error::invalid("InvalidTrustFile", format!("Not a trust file: {why}."))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::note::tests::signer;

    fn keys() -> TrustKeys {
        let key = |name, kind, seed| signer(name, kind, seed).key().clone();
        TrustKeys {
            log: key("bleu.localhost/fr", KeyKind::Note, 1),
            region: key("bleu.localhost/fr/region", KeyKind::Note, 2),
            owner: Some((Owner::parse("6c5b3f1e-0f52-4f6b-9a55-3f1f6c3a1b11").unwrap(), Digest::of(b"tag key"))),
            witnesses: vec![key("w1", KeyKind::Cosigner, 3), key("w2", KeyKind::Cosigner, 4)],
            threshold: 1,
        }
    }

    #[test]
    fn prints_and_parses() {
        let text = keys().text().unwrap();
        assert_eq!(TrustKeys::parse(&text).unwrap(), keys());
        let general = TrustKeys { owner: None, ..keys() };
        assert_eq!(TrustKeys::parse(&general.text().unwrap()).unwrap(), general);
        let operator = TrustKeys { owner: Some((Owner::Operator, Digest::of(b"another"))), ..keys() };
        assert_eq!(TrustKeys::parse(&operator.text().unwrap()).unwrap(), operator);
        for bad in [
            text.replace("threshold 1", "threshold 3"),
            text.replace("threshold 1", "threshold 01"),
            text.replace("threshold 1\n", ""),
            text.replace("log ", "log  "),
            text.replace("6c5b3f1e", "6C5B3F1E"),
            text.replace("owner ", "owner x"),
            text.replace("owner 6c5b3f1e-0f52-4f6b-9a55-3f1f6c3a1b11", "owner region"),
            format!("{text}\n"),
            text.replace('\n', "\r\n"),
        ] {
            assert!(TrustKeys::parse(&bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn one_holder_counts_once() {
        let mut twice = keys();
        twice.witnesses[1] = signer("w2", KeyKind::Cosigner, 3).key().clone();
        assert_eq!(twice.check().unwrap_err().code, "InvalidTrustFile");
        let mut own = keys();
        own.witnesses[0] = signer("w1", KeyKind::Cosigner, 1).key().clone();
        assert!(own.check().is_err());
        let mut wrong_kind = keys();
        wrong_kind.witnesses[0] = signer("w1", KeyKind::Note, 3).key().clone();
        assert!(wrong_kind.check().is_err());
    }
}
