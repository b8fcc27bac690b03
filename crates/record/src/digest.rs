//! SHA-256 digests as a type of their own, and the three hashes of the record.
//!
//! The tree hashes of RFC 6962 section 2.1 come from `tlog_tiles`; what is added here is the plain digest of a file and
//! the commitment of an entry. Keyed hashes (tags) are computed by whoever holds the key, in `crypto`.

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use minicbor::decode::{Decoder, Error as DecodeError};
use minicbor::encode::{Encoder, Error as EncodeError, Write};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use sha2::{Digest as _, Sha256};
use std::fmt;
use tlog_tiles::Hash;

/// 32 bytes of SHA-256. Prints as hexadecimal; in notes and checkpoints it is base64 ([`Digest::base64`]).
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Digest(pub [u8; 32]);

impl Digest {
    /// Plain SHA-256 (FIPS 180-4).
    pub fn of(bytes: &[u8]) -> Digest {
        Digest(Sha256::digest(bytes).into())
    }
    /// The hash of a leaf: `SHA-256(0x00 ‖ bytes)` (RFC 6962 section 2.1).
    pub fn leaf(bytes: &[u8]) -> Digest {
        Digest(tlog_tiles::record_hash(bytes).0)
    }
    /// The hash of an inner node: `SHA-256(0x01 ‖ left ‖ right)` (RFC 6962 section 2.1).
    pub fn node(left: Digest, right: Digest) -> Digest {
        Digest(tlog_tiles::node_hash(Hash(left.0), Hash(right.0)).0)
    }
    /// The root of the empty tree.
    pub fn empty_tree() -> Digest {
        Digest(tlog_tiles::EMPTY_HASH.0)
    }
    /// Standard base64 with padding, the form of notes and checkpoints.
    pub fn base64(self) -> String {
        BASE64_STANDARD.encode(self.0)
    }
    /// The inverse of [`Digest::base64`]; `None` unless it is exactly what that prints.
    pub fn parse_base64(text: &str) -> Option<Digest> {
        if text.len() != 44 {
            return None;
        }
        let bytes = BASE64_STANDARD.decode(text).ok()?;
        Some(Digest(bytes.try_into().ok()?))
    }
    /// 64 lower-case hexadecimal digits.
    pub fn parse_hex(text: &str) -> Option<Digest> {
        if text.bytes().any(|b| b.is_ascii_uppercase()) {
            return None;
        }
        let mut bytes = [0; 32];
        hex::decode_to_slice(text, &mut bytes).ok()?;
        Some(Digest(bytes))
    }
}

/// What the public entry says of the private event: `SHA-256("bleu entry v1" ‖ salt ‖ event)`.
///
/// The salt (32 random bytes, fresh for each entry) keeps a guess of the event from being confirmed; the fixed length of
/// both prefixes makes the input unambiguous.
pub fn commitment(salt: &[u8; 32], event: &[u8]) -> Digest {
    let mut hash = Sha256::new();
    hash.update(b"bleu entry v1");
    hash.update(salt);
    hash.update(event);
    Digest(hash.finalize().into())
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}
impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Digest({self})")
    }
}
impl From<Hash> for Digest {
    fn from(hash: Hash) -> Digest {
        Digest(hash.0)
    }
}
impl From<Digest> for Hash {
    fn from(digest: Digest) -> Hash {
        Hash(digest.0)
    }
}
impl Serialize for Digest {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.collect_str(self)
    }
}
impl<'de> Deserialize<'de> for Digest {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Digest, D::Error> {
        let text = String::deserialize(d)?;
        Digest::parse_hex(&text).ok_or_else(|| serde::de::Error::custom("not a SHA-256 digest in hexadecimal"))
    }
}
impl<C> minicbor::Encode<C> for Digest {
    fn encode<W: Write>(&self, e: &mut Encoder<W>, _: &mut C) -> Result<(), EncodeError<W::Error>> {
        e.bytes(&self.0)?.ok()
    }
}
impl<'b, C> minicbor::Decode<'b, C> for Digest {
    fn decode(d: &mut Decoder<'b>, _: &mut C) -> Result<Digest, DecodeError> {
        let bytes = d.bytes()?;
        bytes.try_into().map(Digest).map_err(|_| DecodeError::message("a digest is 32 bytes"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hashes_as_published() {
        // FIPS 180-4 example "abc"; RFC 6962: the empty tree is the hash of nothing
        assert_eq!(Digest::of(b"abc").to_string(), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
        assert_eq!(Digest::of(b""), Digest::empty_tree());
        assert_eq!(Digest::leaf(b"").to_string(), "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d");
    }

    #[test]
    fn texts_have_one_spelling() {
        let digest = Digest::of(b"x");
        assert_eq!(Digest::parse_base64(&digest.base64()), Some(digest));
        assert_eq!(Digest::parse_hex(&digest.to_string()), Some(digest));
        assert_eq!(Digest::parse_hex(&digest.to_string().to_uppercase()), None);
        let zero = Digest::default().base64();
        // the last letter before the padding carries four unused bits: they must be zero
        assert_eq!(Digest::parse_base64(&format!("{}B=", &zero[..42])), None);
        assert_eq!(Digest::parse_base64(&zero[..43]), None);
    }

    #[test]
    fn a_commitment_binds_salt_and_event() {
        let a = commitment(&[1; 32], b"event");
        assert_ne!(a, commitment(&[2; 32], b"event"));
        assert_ne!(a, commitment(&[1; 32], b"event "));
        assert_eq!(a, Digest::of(&[b"bleu entry v1".as_slice(), &[1; 32], b"event"].concat()));
    }
}
