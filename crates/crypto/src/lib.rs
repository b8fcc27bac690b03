//! Hash, sign, seal, wrap keys: the only crate that calls cryptographic primitives.
//!
//! Nothing here invents a construction: each one is a published scheme over a kept library (AWS-LC for almost all),
//! put behind types that are hard to misuse. Where to look:
//!
//! | to | use |
//! |---|---|
//! | hold a key or password | [`Secret`], [`SecretBytes`]: wiped when dropped, never printed |
//! | hash | [`sha256`], [`Sha256`]; for Azure's dialect only: [`Md5`], [`Crc64Nvme`] |
//! | authenticate a message | [`HmacKey`], [`hmac_sha256`] |
//! | seal a stored record, wrap a key | [`SealKey`], [`seal_record`], [`wrap_key`] |
//! | seal a chunk of content | [`FrameSealer`], [`FrameOpener`] |
//! | keep a password | [`password`] |
//! | check a one-time code | [`totp_step`] |
//! | sign and check tokens | [`SigningKey`], [`PublicKey`], [`jwt`] |
//! | check a client's certificate | [`ClientCertificate`] |
//! | sign the record's notes | [`NoteKey`] |
//! | give the region its TLS certificates | [`Ca`] |
//!
//! Two kinds of failure are kept apart. [`Refused`] says that something *from outside* does not hold (a token, a
//! signature, a certificate): the caller answers 401 or 400. [`base::Error`] of kind `Internal` says that something
//! *of ours* does not hold (a seal is broken, a stored key does not parse): a defect, a broken disk or an attack on
//! the store. Neither ever carries the bytes in question.

mod ca;
mod certificate;
mod digest;
mod frame;
pub mod fuzz;
pub mod jwt;
mod mac;
mod note;
pub mod password;
mod random;
mod refused;
mod seal;
mod secret;
mod strict_json;
mod token_key;
mod totp;

pub use ca::{Ca, ServerCertificate};
pub use certificate::ClientCertificate;
pub use digest::{Crc64Nvme, Md5, Sha256, md5, sha256};
pub use frame::{
    CHUNK_ID_BYTES, FRAME_BYTES, FrameOpener, FrameSealer, SEALED_FRAME_BYTES, TAG_BYTES, open_chunk, seal_chunk, seal_chunk_in_place,
    sealed_chunk_bytes, stored_at,
};
pub use mac::{HmacKey, hmac_sha256, verify_hmac_sha256};
pub use note::{NoteKey, verify_note};
pub use random::{random_account_key, random_array, random_secret_text};
pub use refused::Refused;
pub use seal::{RECORD_OVERHEAD_BYTES, SealKey, open_record, seal_record, unwrap_key, wrap_key};
pub use secret::{Secret, SecretBytes, equal};
pub use token_key::{Algorithm, PublicKey, SigningKey};
pub use totp::{TOTP_STEP_S, base32, totp, totp_step};
