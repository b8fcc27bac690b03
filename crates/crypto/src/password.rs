//! Passwords as Argon2id PHC strings (RFC 9106).
//!
//! **Hashing is slow on purpose**: about 19 MiB and tens of milliseconds of one core. Call it on a blocking thread
//! (`spawn_blocking`), behind a semaphore of about as many permits as there are cores: a flood of sign-ins must wait,
//! not take the memory. For secrets that we generate ourselves (32 random bytes) a SHA-256 is enough: nobody guesses
//! them, whatever a guess costs.

use crate::{SecretBytes, random_array};
use argon2::password_hash::phc::PasswordHash;
use argon2::password_hash::{Error as PhcError, PasswordHasher, PasswordVerifier};
use argon2::{Algorithm, Argon2, Params, Version};
use base::{Chance, Error, Result};

/// Memory in KiB, passes, lanes: among the first choices of OWASP's password storage recommendation.
const MEMORY_KIB: u32 = 19 * 1024;
const PASSES: u32 = 2;
const LANES: u32 = 1;
const SALT_BYTES: usize = 16;
const HASH_BYTES: usize = 32;
/// Version 1.3 of Argon2, as PHC strings write it.
const ARGON2_VERSION: u32 = 0x13;

/// What a stored string may ask for at most, so that an imported one can't take the machine.
const MEMORY_KIB_MAX: u32 = 256 * 1024;
const PASSES_MAX: u32 = 16;
const LANES_MAX: u32 = 8;

/// Longer passwords are refused rather than cut.
pub const PASSWORD_BYTES_MAX: usize = 1024;

/// The PHC string `$argon2id$v=19$m=…,t=…,p=…$salt$hash`. Error `PasswordTooLong` above [`PASSWORD_BYTES_MAX`].
pub fn hash_password(chance: &dyn Chance, password: &SecretBytes) -> Result<String> {
    if password.len() > PASSWORD_BYTES_MAX {
        return Err(Error::invalid("PasswordTooLong", format!("A password has at most {PASSWORD_BYTES_MAX} bytes.")));
    }
    let salt: [u8; SALT_BYTES] = random_array(chance);
    Ok(hash_with(&salt, password.expose())?.to_string())
}

/// True when the password made this string. Error `Internal` when the string is not an Argon2id PHC string within our
/// bounds. A password that is too long to have been stored is false.
pub fn verify_password(password: &SecretBytes, stored: &str) -> Result<bool> {
    let (hash, _) = parse(stored).ok_or_else(|| Error::internal("a stored password is not an Argon2id string"))?;
    if password.len() > PASSWORD_BYTES_MAX {
        return Ok(false);
    }
    // the parameters come from the string; the comparison is in constant time
    match today()?.verify_password(password.expose(), &hash) {
        Ok(()) => Ok(true),
        Err(PhcError::PasswordInvalid) => Ok(false),
        Err(other) => Err(Error::internal(other.to_string())),
    }
}

/// Takes as long as [`verify_password`] and is never true: for names that don't exist, so that time does not tell.
pub fn verify_nobody(password: &SecretBytes) -> Result<bool> {
    let end = password.len().min(PASSWORD_BYTES_MAX);
    hash_with(&[0; SALT_BYTES], &password.expose()[..end])?;
    Ok(false)
}

/// True when the string was made with other parameters than today's: hash anew at the next good sign-in.
pub fn needs_rehash(stored: &str) -> bool {
    let Some((hash, params)) = parse(stored) else { return true };
    let costs = (params.m_cost(), params.t_cost(), params.p_cost());
    let sizes = (hash.salt.map(|s| s.len()), hash.hash.map(|h| h.len()));
    costs != (MEMORY_KIB, PASSES, LANES) || sizes != (Some(SALT_BYTES), Some(HASH_BYTES))
}

fn today() -> Result<Argon2<'static>> {
    let params = Params::new(MEMORY_KIB, PASSES, LANES, Some(HASH_BYTES)).map_err(|e| Error::internal(e.to_string()))?;
    Ok(Argon2::new(Algorithm::Argon2id, Version::V0x13, params))
}

fn hash_with(salt: &[u8], password: &[u8]) -> Result<PasswordHash> {
    today()?.hash_password_with_salt(password, salt).map_err(|e| Error::internal(e.to_string()))
}

/// Argon2id, version 1.3, with salt and hash, within our bounds; nothing else.
fn parse(stored: &str) -> Option<(PasswordHash, Params)> {
    let hash = PasswordHash::new(stored).ok()?;
    let params = Params::try_from(&hash).ok()?;
    let known = hash.algorithm.as_str() == "argon2id" && hash.version == Some(ARGON2_VERSION) && hash.salt.is_some() && hash.hash.is_some();
    let bounded = params.m_cost() <= MEMORY_KIB_MAX && params.t_cost() <= PASSES_MAX && params.p_cost() <= LANES_MAX;
    (known && bounded).then_some((hash, params))
}

#[cfg(test)]
mod tests {
    use super::*;
    use base::SeededChance;

    fn secret(text: &str) -> SecretBytes {
        text.to_owned().into()
    }

    #[test]
    fn a_password_makes_its_string_and_no_other_does() {
        let chance = SeededChance::new(1);
        let stored = hash_password(&chance, &secret("café 🦀")).unwrap();
        assert!(stored.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{stored}");
        assert!(verify_password(&secret("café 🦀"), &stored).unwrap());
        assert!(!verify_password(&secret("cafe 🦀"), &stored).unwrap());
        assert!(!verify_password(&secret(""), &stored).unwrap());
        assert!(!verify_nobody(&secret("café 🦀")).unwrap());
        assert_ne!(stored, hash_password(&chance, &secret("café 🦀")).unwrap(), "each has its own salt");
        assert!(!needs_rehash(&stored));
    }

    #[test]
    fn a_string_of_another_implementation_verifies() {
        // from the reference implementation's own tests: password "password", salt "somesalt", 64 MiB, two passes
        let stored = "$argon2id$v=19$m=65536,t=2,p=1$c29tZXNhbHQ$CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPc";
        assert!(verify_password(&secret("password"), stored).unwrap());
        assert!(!verify_password(&secret("Password"), stored).unwrap());
        assert!(needs_rehash(stored));
    }

    #[test]
    fn long_passwords_are_refused_not_cut() {
        let stored = hash_password(&SeededChance::new(1), &secret(&"a".repeat(PASSWORD_BYTES_MAX))).unwrap();
        let long = secret(&"a".repeat(PASSWORD_BYTES_MAX + 1));
        assert_eq!(hash_password(&SeededChance::new(1), &long).unwrap_err().code, "PasswordTooLong");
        assert!(!verify_password(&long, &stored).unwrap());
        assert!(!verify_nobody(&long).unwrap());
    }

    #[test]
    fn strings_that_are_not_ours_or_ask_for_too_much_are_refused() {
        let tail = "$c29tZXNhbHQ$CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPc";
        let bad = [
            "".to_owned(),
            "plain".to_owned(),
            format!("$argon2i$v=19$m=65536,t=2,p=1{tail}"),
            format!("$argon2id$v=16$m=65536,t=2,p=1{tail}"),
            format!("$argon2id$m=65536,t=2,p=1{tail}"),
            format!("$argon2id$v=19$m=4194304,t=2,p=1{tail}"),
            format!("$argon2id$v=19$m=65536,t=4000000,p=1{tail}"),
            format!("$argon2id$v=19$m=65536,t=2,p=255{tail}"),
            "$argon2id$v=19$m=65536,t=2,p=1$c29tZXNhbHQ".to_owned(),
        ];
        for stored in bad {
            assert!(verify_password(&secret("password"), &stored).is_err(), "{stored}");
            assert!(needs_rehash(&stored));
        }
    }
}
