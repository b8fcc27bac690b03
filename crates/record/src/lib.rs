//! The record of a region: an append-only log of everything done in it, which a customer can check without trusting
//! the region. This crate is its format and its arithmetic. It reads no clock, disk or socket.
//!
//! From an act to a proof:
//! 1. What was done is an [`Event`]; its encoded bytes and a fresh salt are an [`Opening`], sealed for its owner.
//! 2. The commitment of the opening goes into a [`Draft`], which is stored in the outbox with the act; the store's number
//!    makes it an [`Entry`].
//! 3. The sequencer appends entries to the tree ([`tiles`]), and signs a [`checkpoint`] of its size and root.
//! 4. Witnesses check that the log only grew and cosign ([`witness`]).
//! 5. A [`bundle`] carries entries, openings, checkpoint and places to the `auditor`, who has the [`TrustKeys`].
//!
//! The tree, tiles, checkpoints and notes are those of C2SP (tlog-tiles, tlog-checkpoint, signed-note, tlog-cosignature,
//! tlog-witness); why the entries look as they do is in `docs/decisions/0002-record-format.md`.

pub mod bundle;
pub mod catalogue;
mod cbor;
mod checkpoint;
mod digest;
mod entry;
mod event;
pub mod fuzz;
mod lines;
mod note;
mod place;
pub mod tiles;
mod trust_keys;
pub mod witness;

pub use checkpoint::{Checkpoint, SignedCheckpoint};
pub use digest::{Digest, commitment};
pub use entry::{Draft, ENTRY_BYTES_MAX, Entry, Phase, REGION_TAG_KEY, Tag, Weight};
pub use event::{
    Actor, DETAIL_BYTES_MAX, EVENT_BYTES_MAX, Ended, Event, FACTS_MAX, Fact, GRANTS_MAX, LINES_MAX, Line, OTHERS_MAX, Opening, Outcome,
    Owner, PLACES_MAX, Placed, TEXT_BYTES_MAX, Who, bounded,
};
pub use note::{KeyKind, NoteSigner, Signed, SignedNote, VerifierKey};
pub use place::{parse_place, place_text, sign_place};
pub use trust_keys::TrustKeys;
