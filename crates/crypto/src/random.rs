//! Random values in the shapes that Azure's clients expect.

use crate::{Secret, SecretBytes};
use base::Chance;
use base64::prelude::*;

pub fn random_array<const N: usize>(chance: &dyn Chance) -> [u8; N] {
    let mut bytes = [0; N];
    chance.fill(&mut bytes);
    bytes
}

/// `bytes` random bytes as base64url without padding: client secrets, codes, refresh tokens. 32 are enough for any.
/// A plain `String`, because it is made to be shown once; keep only its hash. It never begins with `-`, which a command
/// line would take for an option (one draw in 64 is made again).
pub fn random_secret_text(chance: &dyn Chance, bytes: usize) -> String {
    loop {
        let mut raw = vec![0; bytes];
        chance.fill(&mut raw);
        let raw = SecretBytes::new(raw);
        let text = BASE64_URL_SAFE_NO_PAD.encode(raw.expose());
        if !text.starts_with('-') {
            return text;
        }
    }
}

/// A storage account key: 64 random bytes. Clients see them as standard base64 (88 characters).
pub fn random_account_key(chance: &dyn Chance) -> Secret<64> {
    Secret::random(chance)
}

#[cfg(test)]
mod tests {
    use super::*;
    use base::SeededChance;

    #[test]
    fn texts_have_the_length_and_alphabet_promised() {
        let chance = SeededChance::new(7);
        let text = random_secret_text(&chance, 32);
        assert_eq!(text.len(), 43);
        assert!(text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_'));
        assert_ne!(text, random_secret_text(&chance, 32));
        assert_eq!(BASE64_STANDARD.encode(random_account_key(&chance).expose()).len(), 88);
    }

    #[test]
    fn a_secret_does_not_look_like_an_option() {
        let chance = SeededChance::new(1);
        assert!((0..2_000).all(|_| !random_secret_text(&chance, 30).starts_with('-')));
    }
}
