//! Parsers of stored bytes as plain functions, for fuzzers and property tests: no input may panic.

use crate::{row, segments};

/// A stored row under a key made of the same bytes.
pub fn fuzz_row(bytes: &[u8]) {
    let _ = row::decode(&bytes[..bytes.len().min(8)], &bytes::Bytes::copy_from_slice(bytes));
}

/// What a group commit did: what is accepted prints as it was read.
pub fn fuzz_group(bytes: &[u8]) {
    if let Some(group) = row::Group::decode(bytes) {
        assert_eq!(group.encode(), bytes);
    }
}

/// The header of a chunk: what is accepted prints as it was read.
pub fn fuzz_chunk_header(bytes: &[u8]) {
    if let Some(header) = segments::Header::decode(bytes) {
        assert_eq!(header.encode(), bytes);
    }
}
