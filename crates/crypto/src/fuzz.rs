//! Every parser of outside bytes as a plain function: it may refuse, it must not panic, hang or grow.

use crate::{ClientCertificate, PublicKey, jwt};

/// Tokens and client assertions.
pub fn fuzz_jwt(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let token = jwt::parse(text);
    let assertion = jwt::parse_assertion(text);
    for read in [token, assertion].into_iter().flatten() {
        assert!(text.len() <= jwt::TOKEN_BYTES_MAX);
        assert!(text.bytes().filter(|b| *b == b'.').count() == 2);
        assert!(!read.header().algorithm.name().is_empty());
    }
}

/// Certificates in PEM and in DER.
pub fn fuzz_certificate(bytes: &[u8]) {
    for read in [ClientCertificate::from_pem(bytes), ClientCertificate::from_der(bytes)].into_iter().flatten() {
        let again = ClientCertificate::from_der(read.der()).expect("what was read reads again");
        assert_eq!(again.sha256_thumbprint(), read.sha256_thumbprint());
    }
}

/// JSON Web Keys.
pub fn fuzz_jwk(bytes: &[u8]) {
    let Ok(value) = serde_json::from_slice(bytes) else { return };
    if let Ok(key) = PublicKey::from_jwk(&value) {
        assert_eq!(PublicKey::from_jwk(&key.jwk()).as_ref(), Ok(&key));
    }
}

/// Stored password strings (an import brings them from outside). Never hashes.
pub fn fuzz_password_string(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    crate::password::needs_rehash(text);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::token_key::tests::rsa;
    use proptest::prelude::*;

    /// Good inputs with some bytes changed, cut or doubled: noise alone never gets past the first check.
    fn mutated(seed: Vec<u8>) -> impl Strategy<Value = Vec<u8>> {
        let edits = proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>(), 0u8..4), 0..6);
        edits.prop_map(move |edits| {
            let mut bytes = seed.clone();
            for (at, byte, kind) in edits {
                if bytes.is_empty() {
                    break;
                }
                let at = at.index(bytes.len());
                match kind {
                    0 => bytes[at] = byte,
                    1 => bytes.truncate(at),
                    2 => bytes.insert(at, byte),
                    _ => bytes.extend_from_within(at..(at + 16).min(seed.len()).max(at).min(bytes.len())),
                }
            }
            bytes
        })
    }

    fn certificate() -> &'static [u8] {
        include_bytes!("../tests/samples/client.pem")
    }

    #[test]
    fn the_seeds_are_good_inputs() {
        let token = jwt::sign(rsa(), &serde_json::json!({"sub": "x"})).unwrap();
        assert!(jwt::parse(&token).is_ok());
        assert!(ClientCertificate::from_pem(certificate()).is_ok());
        for seed in [token.as_bytes(), certificate(), ClientCertificate::from_pem(certificate()).unwrap().der()] {
            fuzz_jwt(seed);
            fuzz_certificate(seed);
            fuzz_jwk(seed);
            fuzz_password_string(seed);
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(400))]
        #[test]
        fn tokens(bytes in Just(()).prop_flat_map(|()| mutated(jwt::sign(rsa(), &serde_json::json!({"sub": "x"})).unwrap().into_bytes()))) {
            fuzz_jwt(&bytes);
        }
        #[test]
        fn certificates_in_pem(bytes in mutated(certificate().to_vec())) {
            fuzz_certificate(&bytes);
        }
        #[test]
        fn certificates_in_der(bytes in mutated(ClientCertificate::from_pem(certificate()).unwrap().der().to_vec())) {
            fuzz_certificate(&bytes);
        }
        #[test]
        fn jwks(bytes in mutated(rsa().public().jwk().to_string().into_bytes())) {
            fuzz_jwk(&bytes);
        }
        #[test]
        fn password_strings(bytes in mutated(b"$argon2id$v=19$m=65536,t=2,p=1$c29tZXNhbHQ$CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPc".to_vec())) {
            fuzz_password_string(&bytes);
        }
        #[test]
        fn noise(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            fuzz_jwt(&bytes);
            fuzz_certificate(&bytes);
            fuzz_jwk(&bytes);
            fuzz_password_string(&bytes);
        }
    }
}
