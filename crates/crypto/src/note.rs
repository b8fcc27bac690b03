//! Ed25519 (RFC 8032) for the record's notes: checkpoints and cosignatures. The note format itself is `record`'s.

use crate::{Refused, Secret};
use aws_lc_rs::signature::{ED25519, Ed25519KeyPair, KeyPair, UnparsedPublicKey};
use base::{Chance, Error, Result};

/// A signing key of a log or a witness.
pub struct NoteKey {
    seed: Secret<32>,
    pair: Ed25519KeyPair,
    public: [u8; 32],
}

impl NoteKey {
    pub fn generate(chance: &dyn Chance) -> Result<NoteKey> {
        NoteKey::from_seed(Secret::random(chance))
    }
    /// The private key of RFC 8032 section 5.1.5: 32 random bytes. Error `Internal` if the library refuses them.
    pub fn from_seed(seed: Secret<32>) -> Result<NoteKey> {
        let pair = Ed25519KeyPair::from_seed_unchecked(seed.expose()).map_err(|_| Error::internal("an Ed25519 seed was refused"))?;
        let public = pair.public_key().as_ref().try_into().map_err(|_| Error::internal("an Ed25519 public key is not 32 bytes"))?;
        Ok(NoteKey { seed, pair, public })
    }
    /// To be kept, sealed.
    pub fn seed(&self) -> &Secret<32> {
        &self.seed
    }
    pub fn public(&self) -> [u8; 32] {
        self.public
    }
    pub fn sign(&self, message: &[u8]) -> [u8; 64] {
        // RFC 8032: 64 bytes whatever the message
        self.pair.sign(message).as_ref().try_into().expect("Ed25519 signatures have 64 bytes")
    }
}

impl std::fmt::Debug for NoteKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "NoteKey({}, …)", hex::encode(self.public))
    }
}

/// `BadSignature` unless `signature` is this key's over `message`.
pub fn verify_note(public: &[u8; 32], message: &[u8], signature: &[u8]) -> Result<(), Refused> {
    UnparsedPublicKey::new(&ED25519, public).verify(message, signature).map_err(|_| Refused::BadSignature)
}

#[cfg(test)]
mod tests {
    use super::*;
    use base::SeededChance;

    #[test]
    fn rfc_8032_vectors() {
        // section 7.1, tests 1 and 2
        let cases = [
            (
                "9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60",
                "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a",
                "",
                "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e065224901555fb8821590a33bacc61e39701cf9b46bd25bf5f0595bbe24655141438e7a100b",
            ),
            (
                "4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb",
                "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c",
                "72",
                "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00",
            ),
        ];
        for (seed, public, message, signature) in cases {
            let key = NoteKey::from_seed(Secret::from_slice(&hex::decode(seed).unwrap()).unwrap()).unwrap();
            let message = hex::decode(message).unwrap();
            assert_eq!(hex::encode(key.public()), public);
            assert_eq!(hex::encode(key.sign(&message)), signature);
            assert_eq!(verify_note(&key.public(), &message, &hex::decode(signature).unwrap()), Ok(()));
        }
    }

    #[test]
    fn changed_notes_are_refused() {
        let key = NoteKey::generate(&SeededChance::new(1)).unwrap();
        let again = NoteKey::from_seed(key.seed().clone()).unwrap();
        assert_eq!(key.public(), again.public());
        let signature = key.sign(b"note");
        assert_eq!(verify_note(&key.public(), b"nota", &signature), Err(Refused::BadSignature));
        assert_eq!(verify_note(&key.public(), b"note", &signature[..63]), Err(Refused::BadSignature));
        assert_eq!(
            verify_note(&NoteKey::generate(&SeededChance::new(2)).unwrap().public(), b"note", &signature),
            Err(Refused::BadSignature)
        );
        for at in 0..64 {
            let mut other = signature;
            other[at] ^= 4;
            assert!(verify_note(&key.public(), b"note", &other).is_err());
        }
        assert!(!format!("{key:?}").contains(&hex::encode(key.seed().expose())));
    }
}
