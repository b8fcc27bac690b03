//! Byte ranges of HTTP (RFC 9110 section 14.1.2), one range a request: all that object stores answer.

use std::ops::Range;

/// What a `Range: bytes=…` header asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ByteRange {
    /// `bytes=5-`: from this byte on.
    From(u64),
    /// `bytes=5-9`: both included.
    Between(u64, u64),
    /// `bytes=-5`: the last so many bytes.
    Last(u64),
}

impl ByteRange {
    /// Strict: `None` for another unit, several ranges, signs, blanks, numbers beyond 64 bits, or an end before the start.
    pub fn parse(text: &str) -> Option<ByteRange> {
        let (first, last) = text.strip_prefix("bytes=")?.split_once('-')?;
        match (first, last) {
            ("", last) => Some(ByteRange::Last(number(last)?)),
            (first, "") => Some(ByteRange::From(number(first)?)),
            (first, last) => {
                let (first, last) = (number(first)?, number(last)?);
                (first <= last).then_some(ByteRange::Between(first, last))
            }
        }
    }

    /// The bytes meant, of so many; never empty. `None`: nothing of it exists, which is status 416.
    pub fn of(self, length_bytes: u64) -> Option<Range<u64>> {
        let range = match self {
            ByteRange::From(first) => first..length_bytes,
            ByteRange::Between(first, last) => first..last.saturating_add(1).min(length_bytes),
            ByteRange::Last(count) => length_bytes.saturating_sub(count)..length_bytes,
        };
        (range.start < range.end).then_some(range)
    }
}

impl std::fmt::Display for ByteRange {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            ByteRange::From(first) => write!(f, "bytes={first}-"),
            ByteRange::Between(first, last) => write!(f, "bytes={first}-{last}"),
            ByteRange::Last(count) => write!(f, "bytes=-{count}"),
        }
    }
}

/// Digits only: `u64::from_str` would take a sign.
fn number(text: &str) -> Option<u64> {
    (!text.is_empty() && text.bytes().all(|b| b.is_ascii_digit())).then(|| text.parse().ok())?
}

pub fn fuzz_range(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    if let Some(range) = ByteRange::parse(text) {
        assert_eq!(ByteRange::parse(&range.to_string()), Some(range));
        if let Some(found) = range.of(1_000) {
            assert!(found.start < found.end && found.end <= 1_000);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_resolve_against_a_length() {
        let of = |text, length| ByteRange::parse(text).and_then(|r| r.of(length));
        assert_eq!(of("bytes=0-", 10), Some(0..10));
        assert_eq!(of("bytes=2-4", 10), Some(2..5));
        assert_eq!(of("bytes=2-99", 10), Some(2..10));
        assert_eq!(of("bytes=-3", 10), Some(7..10));
        assert_eq!(of("bytes=-30", 10), Some(0..10));
        assert_eq!(of("bytes=10-", 10), None);
        assert_eq!(of("bytes=0-", 0), None);
        assert_eq!(of("bytes=-0", 10), None);
        assert_eq!(of("bytes=0-18446744073709551615", 10), Some(0..10));
    }

    #[test]
    fn what_is_not_one_range_is_refused() {
        for bad in [
            "",
            "bytes",
            "bytes=",
            "bytes=-",
            "bytes=4-2",
            "bytes=1-2,4-5",
            "bytes=+1-2",
            "bytes= 1-2",
            "items=1-2",
            "bytes=1-18446744073709551616",
        ] {
            assert_eq!(ByteRange::parse(bad), None, "{bad}");
        }
    }
}
