//! Bytes that must not be printed, compared in variable time, serialised by accident, or left in memory.

use base::{Chance, Error, Result};
use std::fmt;
use zeroize::Zeroize;

/// True when the two are the same, in a time that depends on their lengths alone.
pub fn equal(a: &[u8], b: &[u8]) -> bool {
    aws_lc_rs::constant_time::verify_slices_are_equal(a, b).is_ok()
}

/// `N` secret bytes: wiped when dropped, `Debug` prints `…`, equality in constant time, no `Serialize`.
/// Boxed, so that moving the value leaves no copy behind.
#[derive(Clone)]
pub struct Secret<const N: usize>(Box<[u8; N]>);

impl<const N: usize> Secret<N> {
    /// Takes the bytes over and wipes the argument.
    pub fn new(mut bytes: [u8; N]) -> Secret<N> {
        let secret = Secret(Box::new(bytes));
        bytes.zeroize();
        secret
    }
    pub fn random(chance: &dyn Chance) -> Secret<N> {
        let mut secret = Secret(Box::new([0; N]));
        chance.fill(&mut secret.0[..]);
        secret
    }
    /// Error `Internal` when `bytes` are not `N` bytes.
    pub fn from_slice(bytes: &[u8]) -> Result<Secret<N>> {
        if bytes.len() != N {
            return Err(Error::internal(format!("a secret of {N} bytes has {} bytes", bytes.len())));
        }
        let mut secret = Secret(Box::new([0; N]));
        secret.0.copy_from_slice(bytes);
        Ok(secret)
    }
    /// The bytes themselves: look at who may see them before calling this.
    pub fn expose(&self) -> &[u8; N] {
        &self.0
    }
}

impl<const N: usize> Drop for Secret<N> {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}
impl<const N: usize> PartialEq for Secret<N> {
    fn eq(&self, other: &Secret<N>) -> bool {
        equal(&self.0[..], &other.0[..])
    }
}
impl<const N: usize> Eq for Secret<N> {}
impl<const N: usize> fmt::Debug for Secret<N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("…")
    }
}

/// Secret bytes of any length (passwords, PKCS#8): as [`Secret`], but equality shows whether the lengths differ.
#[derive(Clone, Default)]
pub struct SecretBytes(Vec<u8>);

impl SecretBytes {
    /// Takes the buffer over without copying; a buffer that grew before may have left copies behind.
    pub fn new(bytes: Vec<u8>) -> SecretBytes {
        SecretBytes(bytes)
    }
    /// The bytes themselves: look at who may see them before calling this.
    pub fn expose(&self) -> &[u8] {
        &self.0
    }
    pub fn len(&self) -> usize {
        self.0.len()
    }
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl From<String> for SecretBytes {
    fn from(text: String) -> SecretBytes {
        SecretBytes(text.into_bytes())
    }
}
impl From<Vec<u8>> for SecretBytes {
    fn from(bytes: Vec<u8>) -> SecretBytes {
        SecretBytes(bytes)
    }
}
impl Drop for SecretBytes {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}
impl PartialEq for SecretBytes {
    fn eq(&self, other: &SecretBytes) -> bool {
        equal(&self.0, &other.0)
    }
}
impl Eq for SecretBytes {}
impl fmt::Debug for SecretBytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("…")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use base::SeededChance;

    #[test]
    fn secrets_are_not_printed() {
        let secret = Secret::new(*b"correct horse");
        assert_eq!(format!("{secret:?}"), "…");
        assert_eq!(format!("{:?}", SecretBytes::from("battery".to_owned())), "…");
    }

    #[test]
    fn equality_sees_each_byte_and_the_length() {
        let secret = Secret::<32>::random(&SeededChance::new(1));
        assert_eq!(secret, secret.clone());
        for at in 0..32 {
            let mut other = *secret.expose();
            other[at] ^= 1;
            assert_ne!(secret, Secret::new(other));
        }
        assert!(equal(b"", b""));
        assert!(!equal(b"a", b"ab"));
        assert_ne!(SecretBytes::new(vec![0]), SecretBytes::new(vec![0, 0]));
    }

    #[test]
    fn a_slice_of_another_length_is_refused() {
        assert!(Secret::<32>::from_slice(&[0; 31]).is_err());
        assert!(Secret::<32>::from_slice(&[0; 33]).is_err());
        assert_eq!(Secret::<2>::from_slice(&[7, 8]).unwrap().expose(), &[7, 8]);
    }
}
