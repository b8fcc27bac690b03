//! How rows lie in an engine: the spaces of keys, and the bytes of a value.
//!
//! | engine key | value |
//! |---|---|
//! | `1 ‖ key` | a row of the caller |
//! | `0 ‖ 'e' ‖ shard` | the shard's committer: the epoch as version, its random owner id as bytes |
//! | `0 ‖ 'g' ‖ shard ‖ version` | what one group commit did ([`Group`]); its version is its last commit's |
//! | `0 ‖ 'q' ‖ queue` | the last number given in a queue |
//!
//! A value is `format (1) ‖ checksum ‖ version ‖ bytes`; the CRC-64/NVME covers the engine key, the version and the
//! bytes, so that a flipped bit and a row under a wrong key are errors. Integers are big-endian.

use crate::kv::{Committed, Version};
use base::{Error, Result, Shard};
use bytes::{BufMut, Bytes, BytesMut};
use crc_fast::{CrcAlgorithm, Digest};

const FORMAT: u8 = 1;
const HEAD_BYTES: usize = 17;

/// CRC-64/NVME over the parts, one after another.
pub(crate) fn checksum(parts: &[&[u8]]) -> u64 {
    let mut digest = Digest::new(CrcAlgorithm::Crc64Nvme);
    for part in parts {
        digest.update(part);
    }
    digest.finalize()
}

pub(crate) fn user_key(key: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(key.len() + 1);
    out.push(1);
    out.extend_from_slice(key);
    out
}

pub(crate) fn epoch_key(shard: Shard) -> Vec<u8> {
    let [a, b] = shard.0.to_be_bytes();
    vec![0, b'e', a, b]
}

pub(crate) fn group_prefix(shard: Shard) -> Vec<u8> {
    let [a, b] = shard.0.to_be_bytes();
    vec![0, b'g', a, b]
}

pub(crate) fn group_key(shard: Shard, last: Version) -> Vec<u8> {
    let mut out = group_prefix(shard);
    out.extend(last.0.to_be_bytes());
    out
}

pub(crate) fn queue_counter_key(queue: &[u8]) -> Vec<u8> {
    let mut out = vec![0, b'q'];
    out.extend_from_slice(queue);
    out
}

pub(crate) fn encode(engine_key: &[u8], version: Version, value: &[u8]) -> Bytes {
    let version = version.0.to_be_bytes();
    let mut out = BytesMut::with_capacity(HEAD_BYTES + value.len());
    out.put_u8(FORMAT);
    out.put_u64(checksum(&[engine_key, &version, value]));
    out.put_slice(&version);
    out.put_slice(value);
    out.freeze()
}

/// Error (kind Internal): another format, too short, or a checksum that does not hold.
pub(crate) fn decode(engine_key: &[u8], stored: &Bytes) -> Result<(Version, Bytes)> {
    let damaged = |why: &str| Error::internal(format!("the row {} {why}", hex(engine_key)));
    if stored.len() < HEAD_BYTES {
        return Err(damaged("is cut short"));
    }
    if stored[0] != FORMAT {
        return Err(damaged("has an unknown format"));
    }
    let number = |at: usize| u64::from_be_bytes(stored[at..at + 8].try_into().expect("8 bytes"));
    if checksum(&[engine_key, &stored[9..]]) != number(1) {
        return Err(damaged("fails its checksum"));
    }
    Ok((Version(number(9)), stored.slice(HEAD_BYTES..)))
}

/// The first bytes of a key, for an operator's log: keys hold ids, never content.
fn hex(bytes: &[u8]) -> String {
    let mut out: String = bytes.iter().take(48).map(|b| format!("{b:02x}")).collect();
    if bytes.len() > 48 {
        out.push('…');
    }
    out
}

/// What one group commit did, for those who lost sight of their commit: `format (1) ‖ epoch u64 ‖ count u32 ‖ entries`, an entry
/// being `idem u128 ‖ version u64 ‖ appends u16 ‖ numbers u64`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Group {
    pub(crate) epoch: u64,
    pub(crate) entries: Vec<(u128, Version, Vec<u64>)>,
}

impl Group {
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(13 + self.entries.len() * 34);
        out.put_u8(FORMAT);
        out.put_u64(self.epoch);
        out.put_u32(self.entries.len() as u32);
        for (idem, version, appended) in &self.entries {
            out.put_u128(*idem);
            out.put_u64(version.0);
            out.put_u16(appended.len() as u16);
            for number in appended {
                out.put_u64(*number);
            }
        }
        out
    }

    /// Strict: every byte is used. `None`: not a group.
    pub(crate) fn decode(mut bytes: &[u8]) -> Option<Group> {
        fn take<const N: usize>(bytes: &mut &[u8]) -> Option<[u8; N]> {
            let (head, rest) = bytes.split_first_chunk()?;
            *bytes = rest;
            Some(*head)
        }
        if take(&mut bytes)? != [FORMAT] {
            return None;
        }
        let epoch = u64::from_be_bytes(take(&mut bytes)?);
        let count = u32::from_be_bytes(take(&mut bytes)?);
        let mut entries = Vec::new();
        for _ in 0..count {
            let idem = u128::from_be_bytes(take(&mut bytes)?);
            let version = Version(u64::from_be_bytes(take(&mut bytes)?));
            let numbers = u16::from_be_bytes(take(&mut bytes)?);
            let appended = (0..numbers).map(|_| Some(u64::from_be_bytes(take(&mut bytes)?))).collect::<Option<Vec<u64>>>()?;
            entries.push((idem, version, appended));
        }
        bytes.is_empty().then_some(Group { epoch, entries })
    }

    pub(crate) fn committed(&self) -> impl Iterator<Item = (u128, Committed)> + '_ {
        self.entries
            .iter()
            .map(|(idem, version, appended)| (*idem, Committed { epoch: self.epoch, version: *version, appended: appended.clone() }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn print(bytes: &[u8]) -> String {
        bytes.iter().map(|b| format!("{b:02x}")).collect()
    }

    /// Bytes as the first version wrote them: they are read for ever.
    #[test]
    fn stored_bytes_stay_as_they_are() {
        let key = user_key(b"\x00\x07name");
        let stored = encode(&key, Version(5), b"sealed");
        assert_eq!(print(&stored), "012b32949a7ee9fa6b00000000000000057365616c6564");
        assert_eq!(decode(&key, &stored).unwrap(), (Version(5), Bytes::from_static(b"sealed")));
        assert!(decode(b"\x01\x00\x07other", &stored).is_err(), "a row under another key");
        let group = Group { epoch: 2, entries: vec![(3, Version(4), vec![5, 6]), (0, Version(5), vec![])] };
        assert_eq!(
            print(&group.encode()),
            "010000000000000002000000020000000000000000000000000000000300000000000000040002000000000000000500000000000000060000000000000000000000000000000000000000000000050000"
        );
        assert_eq!(Group::decode(&group.encode()), Some(group));
        // the check value of CRC-64/NVME in the catalogue of parametrised CRC algorithms
        assert_eq!(checksum(&[b"1234", b"56789"]), 0xae8b_1486_0a79_9888);
    }
}
