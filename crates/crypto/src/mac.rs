//! HMAC-SHA256 (RFC 2104, FIPS 198-1): Shared Key, SAS, commitments.

use aws_lc_rs::hmac;

/// A prepared key: the two key blocks are hashed once, so a message costs two compressions less. Cheap to clone.
#[derive(Clone)]
pub struct HmacKey(hmac::Key);

impl HmacKey {
    /// A key of any length; less than 16 bytes gives little.
    pub fn new(key: &[u8]) -> HmacKey {
        HmacKey(hmac::Key::new(hmac::HMAC_SHA256, key))
    }
    pub fn sign(&self, message: &[u8]) -> [u8; 32] {
        tag(hmac::sign(&self.0, message))
    }
    /// The same over the parts one after the other, without joining them: the caller sees to it that the parts can't be
    /// cut differently.
    pub fn sign_parts(&self, parts: &[&[u8]]) -> [u8; 32] {
        let mut context = hmac::Context::with_key(&self.0);
        for part in parts {
            context.update(part);
        }
        tag(context.sign())
    }
    /// In constant time. A tag of another length never holds.
    #[must_use]
    pub fn verify(&self, message: &[u8], tag: &[u8]) -> bool {
        hmac::verify(&self.0, message, tag).is_ok()
    }
}

impl std::fmt::Debug for HmacKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("HmacKey(…)")
    }
}

fn tag(tag: hmac::Tag) -> [u8; 32] {
    // HMAC-SHA256 has 32 bytes whatever the message
    tag.as_ref().try_into().expect("HMAC-SHA256 has 32 bytes")
}

pub fn hmac_sha256(key: &[u8], message: &[u8]) -> [u8; 32] {
    HmacKey::new(key).sign(message)
}

/// In constant time.
#[must_use]
pub fn verify_hmac_sha256(key: &[u8], message: &[u8], tag: &[u8]) -> bool {
    HmacKey::new(key).verify(message, tag)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rfc_4231_vectors() {
        let cases: [(&[u8], &[u8], &str); 4] = [
            (&[0x0b; 20], b"Hi There", "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7"),
            (b"Jefe", b"what do ya want for nothing?", "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"),
            (&[0xaa; 20], &[0xdd; 50], "773ea91e36800e46854db8ebd09181a72959098b3ef8c122d9635514ced565fe"),
            (
                &[0xaa; 131],
                b"Test Using Larger Than Block-Size Key - Hash Key First",
                "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54",
            ),
        ];
        for (key, message, want) in cases {
            assert_eq!(hex::encode(hmac_sha256(key, message)), want);
            let (a, b) = message.split_at(message.len() / 2);
            assert_eq!(hex::encode(HmacKey::new(key).sign_parts(&[a, b])), want);
        }
    }

    #[test]
    fn a_changed_or_cut_tag_does_not_hold() {
        let tag = hmac_sha256(b"key", b"message");
        assert!(verify_hmac_sha256(b"key", b"message", &tag));
        assert!(!verify_hmac_sha256(b"key", b"message", &tag[..31]));
        assert!(!verify_hmac_sha256(b"key", b"message", b""));
        assert!(!verify_hmac_sha256(b"kez", b"message", &tag));
        for at in 0..32 {
            let mut other = tag;
            other[at] ^= 0x80;
            assert!(!verify_hmac_sha256(b"key", b"message", &other));
        }
    }
}
