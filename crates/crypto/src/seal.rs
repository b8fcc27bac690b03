//! Sealing: encrypt and authenticate with the key of the resource that owns the bytes (AES-256-GCM, NIST SP 800-38D).
//!
//! A [`SealKey`] never encrypts by itself. It is a root from which HKDF-SHA256 (RFC 5869) derives what does:
//!
//! ```text
//! key (32 random bytes) ── extract ──► root ─┬─ expand "record" ‖ salt ──► AES-256 key of one record
//!                                            ├─ expand "wrap" ‖ salt ────► AES-256 key of one wrapped key
//!                                            ├─ expand "frame" ‖ chunk id ► AES-256 key of one chunk (frame.rs)
//!                                            ├─ expand "mac" ‖ context ──► HMAC key
//!                                            └─ expand "seal" ‖ context ─► another SealKey
//! ```
//!
//! Why not one AES key with random nonces: AES-GCM's 96-bit nonces may serve 2³² messages a key (SP 800-38D section
//! 8.3), and a busy storage account seals as many records within days. Here each record has 128 random bits that pick
//! its key and 96 more for its nonce, so a key may seal 2⁶⁴ records with a chance of any repetition far below 2⁻³²:
//! nothing has to be counted. It costs about a microsecond and 16 bytes a record.
//!
//! The additional data (`aad`) is what the caller already knows when it opens: the address of the record. A record
//! copied to another address does not open. Join several fields with [`SealKey::bind`], which keeps them apart.

use crate::{HmacKey, Secret, SecretBytes};
use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use aws_lc_rs::hkdf::{HKDF_SHA256, KeyType, Prk, Salt};
use base::{Chance, Error, Result};
use std::sync::Arc;

/// The first byte of a sealed record: which construction this is.
const VERSION: u8 = 1;
const SALT_BYTES: usize = 16;
const TAG_BYTES: usize = 16;
const HEAD_BYTES: usize = 1 + SALT_BYTES + NONCE_LEN;

/// A sealed record is this many bytes longer than what it holds.
pub const RECORD_OVERHEAD_BYTES: usize = HEAD_BYTES + TAG_BYTES;

/// A prepared 256-bit key that seals records, wraps keys, and derives others. Cloning shares it; the key can't be
/// taken out again.
#[derive(Clone)]
pub struct SealKey(Arc<Prk>);

impl SealKey {
    /// Prepares 32 uniformly random bytes.
    pub fn new(key: &Secret<32>) -> SealKey {
        SealKey(Arc::new(Salt::new(HKDF_SHA256, b"bleu seal key 1").extract(key.expose())))
    }
    /// Another key for another use. The parts are length-prefixed: `["ab","c"]` and `["a","bc"]` give different keys.
    pub fn derive(&self, context: &[&[u8]]) -> SealKey {
        SealKey::new(&self.expand(b"seal", context))
    }
    /// A new random key below this one, and the form in which it is stored: wrapped (see [`wrap_key`]).
    pub fn generate_below(&self, chance: &dyn Chance, aad: &[u8]) -> (SealKey, Vec<u8>) {
        let key = Secret::<32>::random(chance);
        (SealKey::new(&key), wrap_key(self, chance, aad, key.expose()))
    }
    /// Opens what [`SealKey::generate_below`] stored. Error `Internal`, as for [`unwrap_key`].
    pub fn open_below(&self, aad: &[u8], wrapped: &[u8]) -> Result<SealKey> {
        Ok(SealKey::new(&Secret::from_slice(unwrap_key(self, aad, wrapped)?.expose())?))
    }
    /// An HMAC key for this use.
    pub fn derive_mac(&self, context: &[&[u8]]) -> HmacKey {
        HmacKey::new(self.expand(b"mac", context).expose())
    }
    /// 32 secret bytes for this use, where a protocol asks for a key of its own (an Ed25519 seed, say).
    pub fn derive_secret(&self, context: &[&[u8]]) -> Secret<32> {
        self.expand(b"secret", context)
    }
    /// Joins fields into additional data, each after its length (8 bytes, big endian), so that no two lists of fields
    /// give the same bytes.
    pub fn bind(fields: &[&[u8]]) -> Vec<u8> {
        let mut out = Vec::with_capacity(fields.iter().map(|f| f.len() + 8).sum());
        for field in fields {
            out.extend_from_slice(&(field.len() as u64).to_be_bytes());
            out.extend_from_slice(field);
        }
        out
    }

    fn expand(&self, purpose: &[u8], context: &[&[u8]]) -> Secret<32> {
        let mut fields = Vec::with_capacity(context.len() + 1);
        fields.push(purpose);
        fields.extend_from_slice(context);
        let info = SealKey::bind(&fields);
        let mut out = [0; 32];
        // HKDF-SHA256 gives up to 8,160 bytes; we ask for 32
        self.0.expand(&[&info], Bytes32).and_then(|okm| okm.fill(&mut out)).expect("HKDF gives 32 bytes");
        let secret = Secret::new(out);
        zeroize::Zeroize::zeroize(&mut out);
        secret
    }
    /// The AES-256-GCM key of one record, wrapped key or chunk.
    pub(crate) fn cipher(&self, purpose: &[u8], salt: &[u8]) -> LessSafeKey {
        let key = self.expand(purpose, &[salt]);
        // AES-256 takes any 32 bytes
        LessSafeKey::new(UnboundKey::new(&AES_256_GCM, key.expose()).expect("AES-256 takes 32 bytes"))
    }
}

impl std::fmt::Debug for SealKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("SealKey(…)")
    }
}

struct Bytes32;
impl KeyType for Bytes32 {
    fn len(&self) -> usize {
        32
    }
}

/// Seals a record: `version ‖ salt (16) ‖ nonce (12) ‖ ciphertext ‖ tag (16)`, [`RECORD_OVERHEAD_BYTES`] longer than
/// `plain`. It opens only with the same key and the same `aad`.
pub fn seal_record(key: &SealKey, chance: &dyn Chance, aad: &[u8], plain: &[u8]) -> Vec<u8> {
    seal(key, b"record", chance, aad, plain)
}

/// Opens what [`seal_record`] made. Error `Internal`: the bytes were changed, moved to another address, or sealed with
/// another key; which of these can't be told.
pub fn open_record(key: &SealKey, aad: &[u8], sealed: &[u8]) -> Result<Vec<u8>> {
    open(key, b"record", aad, sealed).map_err(|Broken| Error::internal("a sealed record does not open"))
}

/// Wraps a key (or any short secret) under another. Same shape as a sealed record, and never mistaken for one.
pub fn wrap_key(key: &SealKey, chance: &dyn Chance, aad: &[u8], secret: &[u8]) -> Vec<u8> {
    seal(key, b"wrap", chance, aad, secret)
}

/// Opens what [`wrap_key`] made. Error `Internal`, as for [`open_record`].
pub fn unwrap_key(key: &SealKey, aad: &[u8], wrapped: &[u8]) -> Result<SecretBytes> {
    open(key, b"wrap", aad, wrapped).map(SecretBytes::new).map_err(|Broken| Error::internal("a wrapped key does not open"))
}

struct Broken;

fn seal(key: &SealKey, purpose: &[u8], chance: &dyn Chance, aad: &[u8], plain: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(plain.len() + RECORD_OVERHEAD_BYTES);
    out.push(VERSION);
    out.resize(HEAD_BYTES, 0);
    chance.fill(&mut out[1..]);
    let cipher = key.cipher(purpose, &out[1..1 + SALT_BYTES]);
    let nonce = nonce(&out[1 + SALT_BYTES..]);
    out.extend_from_slice(plain);
    // AES-GCM seals anything below 64 GiB, and no record comes near it
    let tag = cipher.seal_in_place_separate_tag(nonce, Aad::from(aad), &mut out[HEAD_BYTES..]).expect("AES-GCM seals");
    out.extend_from_slice(tag.as_ref());
    out
}

fn open(key: &SealKey, purpose: &[u8], aad: &[u8], sealed: &[u8]) -> Result<Vec<u8>, Broken> {
    if sealed.len() < RECORD_OVERHEAD_BYTES || sealed[0] != VERSION {
        return Err(Broken);
    }
    let (head, body) = sealed.split_at(HEAD_BYTES);
    let cipher = key.cipher(purpose, &head[1..1 + SALT_BYTES]);
    let mut out = body.to_vec();
    let plain_bytes = cipher.open_in_place(nonce(&head[1 + SALT_BYTES..]), Aad::from(aad), &mut out).map_err(|_| Broken)?.len();
    out.truncate(plain_bytes);
    Ok(out)
}

fn nonce(bytes: &[u8]) -> Nonce {
    // both callers cut exactly NONCE_LEN bytes
    Nonce::try_assume_unique_for_key(bytes).expect("a nonce has 12 bytes")
}

#[cfg(test)]
mod tests {
    use super::*;
    use base::SeededChance;
    use proptest::prelude::*;

    fn key(seed: u64) -> SealKey {
        SealKey::new(&Secret::random(&SeededChance::new(seed)))
    }

    #[test]
    fn the_cipher_is_aes_256_gcm() {
        // Test case 16 of "The Galois/Counter Mode of Operation", McGrew and Viega, the submission to NIST
        let key = hex::decode("feffe9928665731c6d6a8f9467308308feffe9928665731c6d6a8f9467308308").unwrap();
        let mut text = hex::decode(
            "d9313225f88406e5a55909c5aff5269a86a7a9531534f7da2e4c303d8a318a721c3c0c95956809532fcf0e2449a6b525b16aedf5aa0de657ba637b39",
        )
        .unwrap();
        let aad = hex::decode("feedfacedeadbeeffeedfacedeadbeefabaddad2").unwrap();
        let cipher = LessSafeKey::new(UnboundKey::new(&AES_256_GCM, &key).unwrap());
        let tag =
            cipher.seal_in_place_separate_tag(nonce(&hex::decode("cafebabefacedbaddecaf888").unwrap()), Aad::from(aad), &mut text).unwrap();
        assert_eq!(
            hex::encode(text),
            "522dc1f099567d07f47f37a32a84427d643a8cdcbfe5c0c97598a2bd2555d1aa8cb08e48590dbb3da7b08b1056828838c5f61e6393ba7a0abcc9f662"
        );
        assert_eq!(hex::encode(tag.as_ref()), "76fc6ece0f4e1768cddf8853bb2d551b");
    }

    #[test]
    fn the_derivation_is_hkdf_sha256() {
        // RFC 5869 appendix A.1
        let prk = Salt::new(HKDF_SHA256, &hex::decode("000102030405060708090a0b0c").unwrap()).extract(&[0x0b; 22]);
        let mut out = [0; 32];
        prk.expand(&[&hex::decode("f0f1f2f3f4f5f6f7f8f9").unwrap()], Bytes32).unwrap().fill(&mut out).unwrap();
        assert_eq!(hex::encode(out), "3cb25f25faacd57a90434f64d0362f2a2d2d0a90cf1a5a4c5db02d56ecc4c5bf");
    }

    #[test]
    fn a_record_sealed_by_the_first_release_opens_for_ever() {
        let sealed = hex::decode(include_str!("../tests/samples/record-1.hex").trim()).unwrap();
        assert_eq!(open_record(&key(1), b"address", &sealed).unwrap(), b"the plain text of a record");
    }

    #[test]
    fn any_changed_bit_is_refused() {
        let key = key(2);
        let sealed = seal_record(&key, &SeededChance::new(3), b"aad", b"plain");
        assert_eq!(sealed.len(), 5 + RECORD_OVERHEAD_BYTES);
        for at in 0..sealed.len() * 8 {
            let mut other = sealed.clone();
            other[at / 8] ^= 1 << (at % 8);
            assert!(open_record(&key, b"aad", &other).is_err(), "bit {at}");
        }
        for bytes in 0..sealed.len() {
            assert!(open_record(&key, b"aad", &sealed[..bytes]).is_err());
        }
    }

    #[test]
    fn key_address_and_purpose_bind() {
        let key = key(2);
        let sealed = seal_record(&key, &SeededChance::new(3), b"here", b"plain");
        assert!(open_record(&key, b"there", &sealed).is_err());
        assert!(open_record(&self::key(3), b"here", &sealed).is_err());
        assert!(open_record(&key.derive(&[]), b"here", &sealed).is_err());
        assert!(unwrap_key(&key, b"here", &sealed).is_err(), "a record is not a wrapped key");
        let wrapped = wrap_key(&key, &SeededChance::new(3), b"here", &[7; 32]);
        assert_eq!(unwrap_key(&key, b"here", &wrapped).unwrap().expose(), [7; 32]);
        assert!(open_record(&key, b"here", &wrapped).is_err());
    }

    #[test]
    fn a_key_below_opens_only_under_its_own() {
        let chance = SeededChance::new(9);
        let (child, wrapped) = key(1).generate_below(&chance, b"tenant");
        let sealed = seal_record(&child, &chance, b"", b"plain");
        let again = key(1).open_below(b"tenant", &wrapped).unwrap();
        assert_eq!(open_record(&again, b"", &sealed).unwrap(), b"plain");
        assert!(open_record(&key(1), b"", &sealed).is_err());
        assert!(key(2).open_below(b"tenant", &wrapped).is_err());
        assert!(key(1).open_below(b"other", &wrapped).is_err());
        assert!(key(1).open_below(b"", &wrap_key(&key(1), &chance, b"", &[1; 31])).is_err(), "31 bytes are no key");
    }

    #[test]
    fn a_broken_seal_names_no_bytes() {
        let error = open_record(&key(2), b"secret-address", b"secret-bytes").unwrap_err();
        assert_eq!(error.kind, base::Kind::Internal);
        assert!(!format!("{error:?}{error}").contains("secret-"));
    }

    #[test]
    fn contexts_do_not_run_together() {
        let key = key(4);
        let of = |context: &[&[u8]]| *key.derive_secret(context).expose();
        let all = [of(&[]), of(&[b""]), of(&[b"ab", b"c"]), of(&[b"a", b"bc"]), of(&[b"abc"]), of(&[b"abc", b""])];
        for (i, a) in all.iter().enumerate() {
            assert!(all[i + 1..].iter().all(|b| a != b));
        }
        assert_eq!(of(&[b"abc"]), of(&[b"abc"]));
        let mac = key.derive_mac(&[b"abc"]);
        assert_ne!(mac.sign(b""), HmacKey::new(&of(&[b"abc"])).sign(b""), "purposes are apart too");
    }

    proptest! {
        #[test]
        fn what_is_sealed_opens(seed: u64, plain in proptest::collection::vec(any::<u8>(), 0..5000), aad in proptest::collection::vec(any::<u8>(), 0..100)) {
            let key = key(seed);
            let sealed = seal_record(&key, &SeededChance::new(seed ^ 1), &aad, &plain);
            prop_assert_eq!(open_record(&key, &aad, &sealed).unwrap(), plain);
        }
        #[test]
        fn noise_does_not_open(noise in proptest::collection::vec(any::<u8>(), 0..200)) {
            prop_assert!(open_record(&key(5), b"", &noise).is_err());
        }
    }
}
