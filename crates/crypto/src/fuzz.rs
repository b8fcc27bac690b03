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
