//! Stored bytes know their version: `[version] ‖ CBOR`. Old data is read for ever.

use crate::{Error, Result};
use serde::{Serialize, de::DeserializeOwned};

/// A record as it is stored (before sealing). A change of shape, an added optional field too, makes a new type with the next
/// `VERSION` and the old one as `Previous`; builds with debug assertions hold stored bytes to it.
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
            let value: T = minicbor_serde::from_slice(&bytes[1..]).map_err(|e| Error::internal(format!("stored {} v{v}: {e}", T::NAME)))?;
            // serde passes over fields that it does not know and makes optional ones up: a shape that changed under the same
            // version would be read, and what an older binary does not know would be lost when it writes the row again
            if cfg!(debug_assertions) && encode(&value) != bytes {
                return Err(Error::internal(format!("stored {} v{v} has another shape than the type: give it the next VERSION", T::NAME)));
            }
            Ok(value)
        }
        Some(v) if *v < T::VERSION && *v > 0 => decode::<T::Previous>(bytes).map(T::upgrade),
        Some(v) => Err(Error::internal(format!("stored {} has version {v}, newer than {}", T::NAME, T::VERSION))),
        None => Err(Error::internal(format!("stored {} is empty", T::NAME))),
    }
}

/// [`Stored`] for types that have had one shape so far: `first_version! { Group "arm.group"; }`.
#[macro_export]
macro_rules! first_version {
    ($($name:ident $label:literal;)*) => {$(
        impl $crate::Stored for $name {
            const NAME: &'static str = $label;
            const VERSION: u8 = 1;
            type Previous = $name;
            fn upgrade(previous: $name) -> $name {
                previous
            }
        }
    )*};
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde::Deserialize;

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    struct Grant {
        to: u8,
    }
    /// As [`Grant`], changed by somebody who forgot the version.
    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    struct Conditional {
        to: u8,
        condition: Option<String>,
    }
    macro_rules! both_version_one {
        ($($name:ident)*) => {$(
            impl Stored for $name {
                const NAME: &'static str = "test.grant";
                const VERSION: u8 = 1;
                type Previous = $name;
                fn upgrade(previous: $name) -> $name {
                    previous
                }
            }
        )*};
    }
    both_version_one! { Grant Conditional }

    #[test]
    fn a_shape_that_changed_without_a_version_is_not_read() {
        let (old, new) = (Grant { to: 1 }, Conditional { to: 1, condition: Some("only by day".into()) });
        assert_eq!(decode::<Grant>(&encode(&old)).unwrap(), old);
        assert_eq!(decode::<Conditional>(&encode(&new)).unwrap(), new);
        // an older binary would drop the condition, and a newer one make up that there is none
        assert_eq!(decode::<Grant>(&encode(&new)).unwrap_err().kind, crate::Kind::Internal);
        assert_eq!(decode::<Conditional>(&encode(&old)).unwrap_err().kind, crate::Kind::Internal);
    }
}
