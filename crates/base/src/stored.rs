//! Stored bytes know their version: `[version] ‖ CBOR`. Old data is read for ever.

use crate::{Error, Result};
use serde::{Serialize, de::DeserializeOwned};

/// A record as it is stored (before sealing). A change of shape makes a new type with the next `VERSION` and the old
/// one as `Previous`.
pub trait Stored: Serialize + DeserializeOwned {
    /// Shown in errors: `storage.blob`.
    const NAME: &'static str;
    const VERSION: u8;
    /// The version before; `Self` for the first (then [`Stored::upgrade`] is never called).
    type Previous: Stored;
    fn upgrade(previous: Self::Previous) -> Self;
}

/// `[VERSION] ‖ CBOR` (RFC 8949).
pub fn encode<T: Stored>(value: &T) -> Vec<u8> {
    let mut out = vec![T::VERSION];
    // CBOR of a serde type into memory has no failing path but a serializer that refuses by itself
    out.extend(minicbor_serde::to_vec(value).expect("stored types serialize"));
    out
}

/// Reads this version or, through [`Stored::upgrade`], any older one. Errors are internal: stored bytes are ours.
pub fn decode<T: Stored>(bytes: &[u8]) -> Result<T> {
    match bytes.first() {
        Some(v) if *v == T::VERSION => {
            minicbor_serde::from_slice(&bytes[1..]).map_err(|e| Error::internal(format!("stored {} v{v}: {e}", T::NAME)))
        }
        Some(v) if *v < T::VERSION && *v > 0 => decode::<T::Previous>(bytes).map(T::upgrade),
        Some(v) => Err(Error::internal(format!("stored {} has version {v}, newer than {}", T::NAME, T::VERSION))),
        None => Err(Error::internal(format!("stored {} is empty", T::NAME))),
    }
}
