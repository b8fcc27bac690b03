//! The public half of an entry: the leaf of the log. It says when, at which weight and under which code something was
//! done, and commits to the private half ([`crate::Event`]) without showing anything that identifies a customer.
//!
//! The store gives the number inside the commit, so the type comes in two steps: a [`Draft`] is written into the
//! outbox row as it is, and [`Draft::numbered`] makes the [`Entry`] that the sequencer appends.
//!
//! Encoding: one CBOR array in the deterministic form of RFC 8949 section 4.2.1, fields in the order of the structs.
//! Decoding is strict: the bytes must be exactly what encoding gives, so one entry has one leaf hash.

use crate::Digest;
use base::{EntryId, Error, Result, Shard, Timestamp};
use minicbor::decode::{Decoder, Error as DecodeError};
use minicbor::encode::{Encoder, Error as EncodeError, Write};
use serde::Serialize;

/// The most bytes an entry may have: entry bundles prefix it with a 16-bit length (C2SP tlog-tiles, "Log entries").
pub const ENTRY_BYTES_MAX: usize = 65_535;
const VERSION: u8 = 1;
/// 9999-12-31T23:59:59.999Z, so that every time prints as RFC 3339.
const AT_MS_MAX: i64 = 253_402_300_799_999;

/// When an entry is durable, compared with the act it records.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Weight {
    /// Before the act: an opening entry, then a closing one that names it.
    Before,
    /// In the same atomic commit as the effect.
    With,
    /// With others, within a second of the act; a crash may lose the last second and says so.
    Batched,
    /// A count of refused strangers, per door, reason and source prefix.
    Tally,
    /// The region's own life: start, site, key, witness.
    System,
}

/// Which part of an act the entry is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Phase {
    /// The act and its outcome in one entry.
    Whole,
    /// The act is about to begin.
    Open,
    /// The act ended; `opens` names its opening entry.
    Close,
}

/// The first 16 bytes of HMAC-SHA256(tag key of the owner, commitment): its owner, who has the tag key, knows every
/// entry of its own; to others it is noise, so they can't link two entries of a tenant.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Tag(pub [u8; 16]);

/// The tag key of [`crate::Owner::Region`], public so that everyone can tell the region's own entries: all of them are
/// opened in every bundle.
pub const REGION_TAG_KEY: [u8; 32] = *b"bleu: entries of the region, v1.";

impl Tag {
    /// Cuts a full HMAC-SHA256 down to a tag.
    pub fn from_mac(mac: [u8; 32]) -> Tag {
        let mut tag = [0; 16];
        tag.copy_from_slice(&mac[..16]);
        Tag(tag)
    }
}
impl std::fmt::Debug for Tag {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Tag({})", hex::encode(self.0))
    }
}

/// An entry without its number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Draft {
    pub at: Timestamp,
    pub weight: Weight,
    pub phase: Phase,
    /// The opening entry that this one closes.
    pub opens: Option<EntryId>,
    /// SHA-256 of the running binary.
    pub code: Digest,
    pub tag: Tag,
    /// [`crate::commitment`] of the private event.
    pub commitment: Digest,
}

/// A numbered entry: one leaf of the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry {
    pub id: EntryId,
    pub draft: Draft,
}

impl Draft {
    /// What the outbox row stores: the canonical array without shard and number.
    ///
    /// Errors: `InvalidEntry` when the fields contradict each other (see [`Draft::check`]).
    pub fn encode(&self) -> Result<Vec<u8>> {
        self.check()?;
        let mut e = Encoder::new(Vec::with_capacity(128));
        // writing CBOR into memory cannot fail
        put_draft(&mut e, self).expect("memory takes bytes");
        Ok(e.into_writer())
    }

    /// Strict inverse of [`Draft::encode`]; error `InvalidEntry`.
    pub fn decode(bytes: &[u8]) -> Result<Draft> {
        let mut d = Decoder::new(bytes);
        let draft = take_draft(&mut d).map_err(|e| invalid(e.to_string()))?;
        if draft.encode()? != bytes {
            return Err(invalid("the bytes are not in canonical form"));
        }
        Ok(draft)
    }

    /// The entry that the store's number makes of it.
    pub fn numbered(self, id: EntryId) -> Entry {
        Entry { id, draft: self }
    }

    /// A closing entry, and no other, names an opening; only acts of weight *before* are opened; time is within the
    /// years 1970 to 9999. Error `InvalidEntry`.
    pub fn check(&self) -> Result<()> {
        if self.opens.is_some() != (self.phase == Phase::Close) {
            return Err(invalid("a closing entry, and no other, names its opening"));
        }
        if self.phase != Phase::Whole && self.weight != Weight::Before {
            return Err(invalid("only an act of weight 'before' is opened and closed"));
        }
        if self.opens.is_some_and(|id| id.number == 0) {
            return Err(invalid("entry numbers start at 1"));
        }
        if !(0..=AT_MS_MAX).contains(&self.at.0) {
            return Err(invalid("the time is outside 1970 to 9999"));
        }
        Ok(())
    }
}

impl Entry {
    /// The leaf: at most [`ENTRY_BYTES_MAX`] bytes (in this version at most 142). Error `InvalidEntry`.
    pub fn encode(&self) -> Result<Vec<u8>> {
        if self.id.number == 0 {
            return Err(invalid("entry numbers start at 1"));
        }
        self.draft.check()?;
        let mut e = Encoder::new(Vec::with_capacity(144));
        // writing CBOR into memory cannot fail
        put_entry(&mut e, self).expect("memory takes bytes");
        Ok(e.into_writer())
    }

    /// Strict inverse of [`Entry::encode`]; error `InvalidEntry`.
    pub fn decode(bytes: &[u8]) -> Result<Entry> {
        let mut d = Decoder::new(bytes);
        let entry = take_entry(&mut d).map_err(|e| invalid(e.to_string()))?;
        if entry.encode()? != bytes {
            return Err(invalid("the bytes are not in canonical form"));
        }
        Ok(entry)
    }
}

fn invalid(why: impl std::fmt::Display) -> Error {
    Error::invalid("InvalidEntry", format!("Not an entry of the record: {why}."))
}

type Put<W> = Result<(), EncodeError<<W as Write>::Error>>;

fn put_draft<W: Write>(e: &mut Encoder<W>, draft: &Draft) -> Put<W> {
    e.array(8)?.u8(VERSION)?;
    put_body(e, draft)
}

fn put_entry<W: Write>(e: &mut Encoder<W>, entry: &Entry) -> Put<W> {
    e.array(10)?.u8(VERSION)?.u16(entry.id.shard.0)?.u64(entry.id.number)?;
    put_body(e, &entry.draft)
}

fn put_body<W: Write>(e: &mut Encoder<W>, draft: &Draft) -> Put<W> {
    e.i64(draft.at.0)?.u8(draft.weight as u8)?.u8(draft.phase as u8)?;
    match draft.opens {
        Some(id) => e.array(2)?.u16(id.shard.0)?.u64(id.number)?,
        None => e.null()?,
    };
    e.bytes(&draft.code.0)?.bytes(&draft.tag.0)?.bytes(&draft.commitment.0)?.ok()
}

fn take_draft(d: &mut Decoder<'_>) -> Result<Draft, DecodeError> {
    take_head(d, 8)?;
    take_body(d)
}

fn take_entry(d: &mut Decoder<'_>) -> Result<Entry, DecodeError> {
    take_head(d, 10)?;
    let id = EntryId { shard: Shard(d.u16()?), number: d.u64()? };
    Ok(Entry { id, draft: take_body(d)? })
}

fn take_head(d: &mut Decoder<'_>, fields: u64) -> Result<(), DecodeError> {
    if d.array()? != Some(fields) {
        return Err(DecodeError::message("wrong number of fields"));
    }
    if d.u8()? != VERSION {
        return Err(DecodeError::message("unknown version"));
    }
    Ok(())
}

fn take_body(d: &mut Decoder<'_>) -> Result<Draft, DecodeError> {
    let at = Timestamp(d.i64()?);
    let weight = match d.u8()? {
        0 => Weight::Before,
        1 => Weight::With,
        2 => Weight::Batched,
        3 => Weight::Tally,
        4 => Weight::System,
        _ => return Err(DecodeError::message("unknown weight")),
    };
    let phase = match d.u8()? {
        0 => Phase::Whole,
        1 => Phase::Open,
        2 => Phase::Close,
        _ => return Err(DecodeError::message("unknown phase")),
    };
    let opens = if d.datatype()? == minicbor::data::Type::Null {
        d.null()?;
        None
    } else {
        if d.array()? != Some(2) {
            return Err(DecodeError::message("an entry id has two fields"));
        }
        Some(EntryId { shard: Shard(d.u16()?), number: d.u64()? })
    };
    Ok(Draft { at, weight, phase, opens, code: Digest(take_bytes(d)?), tag: Tag(take_bytes(d)?), commitment: Digest(take_bytes(d)?) })
}

fn take_bytes<const N: usize>(d: &mut Decoder<'_>) -> Result<[u8; N], DecodeError> {
    d.bytes()?.try_into().map_err(|_| DecodeError::message("a digest or tag of another length"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn sample() -> Draft {
        Draft {
            at: Timestamp(1_795_508_032_123),
            weight: Weight::Before,
            phase: Phase::Close,
            opens: Some(EntryId { shard: Shard(1), number: 7 }),
            code: Digest([3; 32]),
            tag: Tag([4; 16]),
            commitment: Digest([5; 32]),
        }
    }

    /// Stored bytes are read for ever: this sample is version 1.
    #[test]
    fn version_1_is_these_bytes() {
        let entry = sample().numbered(EntryId { shard: Shard(2), number: 300 });
        let bytes = entry.encode().unwrap();
        let text = format!("8a010219012c1b000001a20c9e527b0002820107582003{}50{}5820{}", "03".repeat(31), "04".repeat(16), "05".repeat(32));
        assert_eq!(hex::encode(&bytes), text);
        assert_eq!(Entry::decode(&bytes).unwrap(), entry);
    }

    #[test]
    fn contradictions_are_refused() {
        let wrong = [
            Draft { opens: None, ..sample() },
            Draft { phase: Phase::Whole, ..sample() },
            Draft { weight: Weight::With, ..sample() },
            Draft { at: Timestamp(-1), ..sample() },
            Draft { opens: Some(EntryId { shard: Shard(0), number: 0 }), ..sample() },
        ];
        for draft in wrong {
            assert_eq!(draft.encode().unwrap_err().code, "InvalidEntry", "{draft:?}");
        }
        assert!(sample().numbered(EntryId { shard: Shard(0), number: 0 }).encode().is_err());
    }

    #[test]
    fn other_spellings_are_refused() {
        let bytes = sample().encode().unwrap();
        let longer = [&bytes[..], &[0]].concat();
        let mut indefinite = bytes.clone();
        indefinite[0] = 0x9f;
        indefinite.push(0xff);
        let wide_version = [&[bytes[0], 0x18, 0x01], &bytes[2..]].concat();
        for wrong in [&longer[..], &indefinite, &wide_version, &bytes[..bytes.len() - 1], b""] {
            assert!(Draft::decode(wrong).is_err(), "{}", hex::encode(wrong));
        }
    }

    fn any_draft() -> impl Strategy<Value = Draft> {
        let weight =
            prop_oneof![Just(Weight::Before), Just(Weight::With), Just(Weight::Batched), Just(Weight::Tally), Just(Weight::System)];
        (0..=AT_MS_MAX, weight, any::<(u8, u16, u64)>(), any::<([u8; 32], [u8; 16], [u8; 32])>()).prop_map(
            |(at, weight, (phase, shard, number), bytes)| {
                let phase = match (weight, phase % 3) {
                    (Weight::Before, 1) => Phase::Open,
                    (Weight::Before, 2) => Phase::Close,
                    _ => Phase::Whole,
                };
                let opens = (phase == Phase::Close).then_some(EntryId { shard: Shard(shard), number: number.max(1) });
                Draft { at: Timestamp(at), weight, phase, opens, code: Digest(bytes.0), tag: Tag(bytes.1), commitment: Digest(bytes.2) }
            },
        )
    }

    proptest! {
        #[test]
        fn print_then_parse(draft in any_draft(), shard: u16, number in 1u64..) {
            prop_assert_eq!(Draft::decode(&draft.encode().unwrap()).unwrap(), draft);
            let entry = draft.numbered(EntryId { shard: Shard(shard), number });
            let bytes = entry.encode().unwrap();
            prop_assert!(bytes.len() <= 142);
            prop_assert_eq!(Entry::decode(&bytes).unwrap(), entry);
        }

        #[test]
        fn a_flipped_bit_never_decodes_to_the_same(draft in any_draft(), bit: prop::sample::Index) {
            let entry = draft.numbered(EntryId { shard: Shard(1), number: 1 });
            let mut bytes = entry.encode().unwrap();
            let at = bit.index(bytes.len() * 8);
            bytes[at / 8] ^= 1 << (at % 8);
            prop_assert!(Entry::decode(&bytes).map_or(true, |other| other != entry));
        }
    }
}
