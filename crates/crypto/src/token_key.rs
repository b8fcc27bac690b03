//! Keys of JSON Web Signatures (RFC 7515, 7517, 7518): RSA-3072 with RS256, P-256 with ES256.

use crate::{Refused, SecretBytes, sha256};
use aws_lc_rs::encoding::{AsDer, Pkcs8V1Der};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::{KeySize, PublicKeyComponents};
use aws_lc_rs::signature::{self, EcdsaKeyPair, KeyPair, ParsedPublicKey, RsaKeyPair};
use base::{Error, Result};
use base64::prelude::*;
use serde_json::{Value, json};
use std::fmt;
use std::sync::Arc;
use x509_parser::prelude::FromDer;
use x509_parser::public_key::RSAPublicKey;

/// Modulus of our own RSA keys in bytes: 3072 bits, ANSSI's floor beyond 2030.
const OWN_MODULUS_BYTES: usize = 384;
/// What we read from others: 2048 to 8192 bits.
const MODULUS_BYTES_MIN: usize = 256;
const MODULUS_BYTES_MAX: usize = 1024;
/// 2³³ - 1, the largest that the library verifies with.
const EXPONENT_BYTES_MAX: usize = 5;
const COORDINATE_BYTES: usize = 32;

/// The algorithms of RFC 7518 section 3.1 that exist here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Algorithm {
    /// RSASSA-PKCS1-v1_5 with SHA-256.
    Rs256,
    /// RSASSA-PSS with SHA-256 and a 32-byte salt. Only in client assertions.
    Ps256,
    /// ECDSA on P-256 with SHA-256; the signature is R ‖ S.
    Es256,
}

impl Algorithm {
    pub fn name(self) -> &'static str {
        match self {
            Algorithm::Rs256 => "RS256",
            Algorithm::Ps256 => "PS256",
            Algorithm::Es256 => "ES256",
        }
    }
    /// By the exact name; `None` for all others, `none` among them.
    pub fn named(name: &str) -> Option<Algorithm> {
        [Algorithm::Rs256, Algorithm::Ps256, Algorithm::Es256].into_iter().find(|a| a.name() == name)
    }
}

/// A private key that signs tokens. Cloning shares it.
#[derive(Clone)]
pub struct SigningKey {
    pair: Arc<Pair>,
    public: PublicKey,
}

enum Pair {
    Rsa(RsaKeyPair),
    P256(EcdsaKeyPair),
}

impl SigningKey {
    /// A new RSA-3072 key for RS256, from the library's own generator. About 0.3 s of one core, at worst 1 s: the search
    /// for primes is a game of chance (`cargo run --release -p crypto --example speed`).
    pub fn generate_rs256() -> Result<SigningKey> {
        let pair = RsaKeyPair::generate(KeySize::Rsa3072).map_err(|_| Error::internal("an RSA key could not be made"))?;
        SigningKey::from_pair(Pair::Rsa(pair))
    }
    /// As [`SigningKey::generate_rs256`], the first of several searches on threads of their own: while a person waits, two
    /// cut off the long tail. The others end by themselves within a second and their keys are wiped. Blocks.
    pub fn generate_rs256_racing(searches: usize) -> Result<SigningKey> {
        let (found, first) = std::sync::mpsc::channel();
        for _ in 0..searches.clamp(1, 8) {
            let found = found.clone();
            // a later winner finds nobody listening, and drops its key
            std::thread::spawn(move || drop(found.send(SigningKey::generate_rs256())));
        }
        drop(found);
        first.recv().map_err(|_| Error::internal("no search for an RSA key ended"))?
    }
    /// A new P-256 key for ES256, from the library's own generator, within a millisecond.
    pub fn generate_es256() -> Result<SigningKey> {
        let pair = EcdsaKeyPair::generate(&signature::ECDSA_P256_SHA256_FIXED_SIGNING)
            .map_err(|_| Error::internal("an ECDSA key could not be made"))?;
        SigningKey::from_pair(Pair::P256(pair))
    }
    /// Reads what [`SigningKey::to_pkcs8`] wrote. Error `Internal`: neither an RSA key of 3072 bits or more nor a P-256 key.
    pub fn from_pkcs8(der: &SecretBytes) -> Result<SigningKey> {
        if let Ok(pair) = EcdsaKeyPair::from_pkcs8(&signature::ECDSA_P256_SHA256_FIXED_SIGNING, der.expose()) {
            return SigningKey::from_pair(Pair::P256(pair));
        }
        match RsaKeyPair::from_pkcs8(der.expose()) {
            Ok(pair) if pair.public_modulus_len() >= OWN_MODULUS_BYTES => SigningKey::from_pair(Pair::Rsa(pair)),
            _ => Err(Error::internal("a stored signing key is neither RSA of 3072 bits or more nor P-256")),
        }
    }
    /// PKCS#8 (RFC 5208) in DER, to be kept sealed.
    pub fn to_pkcs8(&self) -> Result<SecretBytes> {
        let broken = |_| Error::internal("a signing key could not be written");
        match &*self.pair {
            Pair::Rsa(pair) => AsDer::<Pkcs8V1Der>::as_der(pair).map(|der| SecretBytes::new(der.as_ref().to_vec())).map_err(broken),
            Pair::P256(pair) => pair.to_pkcs8v1().map(|der| SecretBytes::new(der.as_ref().to_vec())).map_err(broken),
        }
    }

    fn from_pair(pair: Pair) -> Result<SigningKey> {
        let broken = |why: Refused| Error::internal(format!("the public half of a signing key: {why}"));
        let public = match &pair {
            Pair::Rsa(pair) => PublicKey::from_rsa_der(pair.public_key().as_ref()),
            Pair::P256(pair) => PublicKey::from_p256_point(pair.public_key().as_ref()),
        };
        Ok(SigningKey { pair: Arc::new(pair), public: public.map_err(broken)? })
    }

    pub fn algorithm(&self) -> Algorithm {
        match &*self.pair {
            Pair::Rsa(_) => Algorithm::Rs256,
            Pair::P256(_) => Algorithm::Es256,
        }
    }
    pub fn public(&self) -> &PublicKey {
        &self.public
    }
    /// The key's id: its RFC 7638 thumbprint.
    pub fn kid(&self) -> &str {
        self.public.kid()
    }
    /// The signature as JWS carries it, before base64: RSA's whole, ECDSA's R ‖ S.
    pub fn sign(&self, message: &[u8]) -> Result<Vec<u8>> {
        let broken = |_| Error::internal("signing failed");
        let random = SystemRandom::new();
        match &*self.pair {
            Pair::Rsa(pair) => {
                let mut out = vec![0; pair.public_modulus_len()];
                pair.sign(&signature::RSA_PKCS1_SHA256, &random, message, &mut out).map_err(broken)?;
                Ok(out)
            }
            Pair::P256(pair) => pair.sign(&random, message).map(|s| s.as_ref().to_vec()).map_err(broken),
        }
    }
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SigningKey({}, {}, …)", self.algorithm().name(), self.kid())
    }
}

/// A public key that checks tokens, prepared. Cloning shares it.
#[derive(Clone)]
pub struct PublicKey(Arc<Public>);

struct Public {
    kid: String,
    shape: Shape,
}

enum Shape {
    Rsa { n: Vec<u8>, e: Vec<u8>, rs256: ParsedPublicKey, ps256: ParsedPublicKey },
    P256 { x: Vec<u8>, y: Vec<u8>, es256: ParsedPublicKey },
}

impl PublicKey {
    /// Big-endian modulus and exponent without leading zeros. `Unsupported` outside 2048 to 8192 bits.
    fn from_rsa(n: &[u8], e: &[u8]) -> Result<PublicKey, Refused> {
        if !(MODULUS_BYTES_MIN..=MODULUS_BYTES_MAX).contains(&n.len()) {
            return Err(Refused::Unsupported("an RSA key outside 2048 to 8192 bits"));
        }
        // an exponent of 1 would make every text its own signature
        if e.is_empty() || e.len() > EXPONENT_BYTES_MAX || e[e.len() - 1] & 1 == 0 || without_zeros(e) == [1] {
            return Err(Refused::Malformed("the RSA exponent"));
        }
        let components = PublicKeyComponents { n, e };
        let prepare =
            |parameters| components.to_parsed_public_key(parameters).map_err(|_| Refused::Malformed("the RSA key does not hold together"));
        let (rs256, ps256) = (prepare(&signature::RSA_PKCS1_2048_8192_SHA256)?, prepare(&signature::RSA_PSS_2048_8192_SHA256)?);
        Ok(PublicKey::from_shape(Shape::Rsa { n: n.to_vec(), e: e.to_vec(), rs256, ps256 }))
    }
    /// `RSAPublicKey` (RFC 8017 appendix A.1.1) in DER.
    pub(crate) fn from_rsa_der(der: &[u8]) -> Result<PublicKey, Refused> {
        let (rest, key) = RSAPublicKey::from_der(der).map_err(|_| Refused::Malformed("not an RSA public key"))?;
        if !rest.is_empty() {
            return Err(Refused::Malformed("bytes after the RSA public key"));
        }
        PublicKey::from_rsa(without_zeros(key.modulus), without_zeros(key.exponent))
    }
    /// An uncompressed point (SEC 1 section 2.3.3): 4 ‖ x ‖ y.
    fn from_p256_point(point: &[u8]) -> Result<PublicKey, Refused> {
        if point.len() != 1 + 2 * COORDINATE_BYTES || point[0] != 4 {
            return Err(Refused::Malformed("not an uncompressed P-256 point"));
        }
        let es256 = ParsedPublicKey::new(&signature::ECDSA_P256_SHA256_FIXED, point)
            .map_err(|_| Refused::Malformed("the point is not on P-256"))?;
        let (x, y) = point[1..].split_at(COORDINATE_BYTES);
        Ok(PublicKey::from_shape(Shape::P256 { x: x.to_vec(), y: y.to_vec(), es256 }))
    }
    fn from_shape(shape: Shape) -> PublicKey {
        let kid = BASE64_URL_SAFE_NO_PAD.encode(sha256(required_members(&shape).as_bytes()));
        PublicKey(Arc::new(Public { kid, shape }))
    }

    /// Reads the members `kty`, `n`, `e` or `crv`, `x`, `y` of a JWK (RFC 7518 section 6); the rest is not looked at.
    pub fn from_jwk(jwk: &Value) -> Result<PublicKey, Refused> {
        let member = |name: &str| {
            let text = jwk.get(name).and_then(Value::as_str).ok_or(Refused::Malformed("a member of the JWK is missing"))?;
            BASE64_URL_SAFE_NO_PAD.decode(text).map_err(|_| Refused::Malformed("a member of the JWK is not base64url"))
        };
        match jwk.get("kty").and_then(Value::as_str) {
            Some("RSA") => PublicKey::from_rsa(&member("n")?, &member("e")?),
            Some("EC") if jwk.get("crv").and_then(Value::as_str) == Some("P-256") => {
                let mut point = vec![4];
                for name in ["x", "y"] {
                    let coordinate = member(name)?;
                    if coordinate.len() != COORDINATE_BYTES {
                        return Err(Refused::Malformed("a coordinate is not 32 bytes"));
                    }
                    point.extend(coordinate);
                }
                PublicKey::from_p256_point(&point)
            }
            _ => Err(Refused::Unsupported("a key that is neither RSA nor P-256")),
        }
    }
    /// The JWK for a key set: the key, `use`, `alg`, and `kid`, its RFC 7638 thumbprint.
    pub fn jwk(&self) -> Value {
        let text = |bytes: &[u8]| BASE64_URL_SAFE_NO_PAD.encode(bytes);
        match &self.0.shape {
            Shape::Rsa { n, e, .. } => json!({"kty": "RSA", "use": "sig", "alg": "RS256", "kid": self.0.kid, "n": text(n), "e": text(e)}),
            Shape::P256 { x, y, .. } => {
                json!({"kty": "EC", "use": "sig", "alg": "ES256", "kid": self.0.kid, "crv": "P-256", "x": text(x), "y": text(y)})
            }
        }
    }
    pub fn kid(&self) -> &str {
        &self.0.kid
    }
    /// `Unsupported` when the algorithm is not of this kind of key, `BadSignature` when it does not hold.
    pub fn verify(&self, algorithm: Algorithm, message: &[u8], signature: &[u8]) -> Result<(), Refused> {
        let key = match (&self.0.shape, algorithm) {
            (Shape::Rsa { rs256, .. }, Algorithm::Rs256) => rs256,
            (Shape::Rsa { ps256, .. }, Algorithm::Ps256) => ps256,
            (Shape::P256 { es256, .. }, Algorithm::Es256) => es256,
            _ => return Err(Refused::Unsupported("an algorithm of another kind of key")),
        };
        key.verify_sig(message, signature).map_err(|_| Refused::BadSignature)
    }
}

impl PartialEq for PublicKey {
    fn eq(&self, other: &PublicKey) -> bool {
        self.0.kid == other.0.kid
    }
}
impl Eq for PublicKey {}
impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PublicKey({})", self.0.kid)
    }
}

/// RFC 7638 section 3.2: the required members in lexicographic order, without white space.
fn required_members(shape: &Shape) -> String {
    let text = |bytes: &[u8]| BASE64_URL_SAFE_NO_PAD.encode(bytes);
    match shape {
        Shape::Rsa { n, e, .. } => format!(r#"{{"e":"{}","kty":"RSA","n":"{}"}}"#, text(e), text(n)),
        Shape::P256 { x, y, .. } => format!(r#"{{"crv":"P-256","kty":"EC","x":"{}","y":"{}"}}"#, text(x), text(y)),
    }
}

fn without_zeros(bytes: &[u8]) -> &[u8] {
    &bytes[bytes.iter().take_while(|b| **b == 0).count()..]
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use std::sync::OnceLock;

    /// One RSA key for all tests of the crate: making one takes a while.
    pub(crate) fn rsa() -> &'static SigningKey {
        static KEY: OnceLock<SigningKey> = OnceLock::new();
        KEY.get_or_init(|| SigningKey::generate_rs256().unwrap())
    }

    #[test]
    fn the_thumbprint_is_rfc_7638s() {
        // RFC 7638 section 3.1
        let jwk = json!({
            "kty": "RSA",
            "n": "0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiAFbWhM78LhWx4cbbfAAtVT86zwu1RK7aPFFxuhDR1L6tSoc_BJECPebWKRXjBZCiFV4n3oknjhMstn64tZ_2W-5JsGY4Hc5n9yBXArwl93lqt7_RN5w6Cf0h4QyQ5v-65YGjQR0_FDW2QvzqY368QQMicAtaSqzs8KJZgnYb9c7d0zgdAZHzu6qMQvRL5hajrn1n91CbOpbISD08qNLyrdkt-bFTWhAI4vMQFh6WeZu0fM4lFd2NcRwr3XPksINHaQ-G_xBniIqbw0Ls1jF44-csFCur-kEgU8awapJzKnqDKgw",
            "e": "AQAB", "alg": "RS256", "kid": "2011-04-29"
        });
        let key = PublicKey::from_jwk(&jwk).unwrap();
        assert_eq!(key.kid(), "NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs");
        assert_eq!(key.jwk()["n"], jwk["n"]);
    }

    #[test]
    fn es256_of_rfc_7515_verifies() {
        // RFC 7515 appendix A.3
        let key = PublicKey::from_jwk(&json!({
            "kty": "EC", "crv": "P-256",
            "x": "f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU", "y": "x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0"
        }));
        let message =
            b"eyJhbGciOiJFUzI1NiJ9.eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ";
        let signature = BASE64_URL_SAFE_NO_PAD
            .decode("DtEhU3ljbEg8L38VWAfUAqOyKAM6-Xx-F4GawxaepmXFCgfTjDxw5djxLa8ISlSApmWQxfKTUJqPP3-Kg6NU1Q")
            .unwrap();
        let key = key.unwrap();
        assert_eq!(key.verify(Algorithm::Es256, message, &signature), Ok(()));
        assert_eq!(key.verify(Algorithm::Es256, &message[1..], &signature), Err(Refused::BadSignature));
        assert!(matches!(key.verify(Algorithm::Rs256, message, &signature), Err(Refused::Unsupported(_))));
    }

    #[test]
    fn rs256_of_rfc_7515_verifies() {
        // RFC 7515 appendix A.2
        let key = PublicKey::from_jwk(&json!({
            "kty": "RSA", "e": "AQAB",
            "n": "ofgWCuLjybRlzo0tZWJjNiuSfb4p4fAkd_wWJcyQoTbji9k0l8W26mPddxHmfHQp-Vaw-4qPCJrcS2mJPMEzP1Pt0Bm4d4QlL-yRT-SFd2lZS-pCgNMsD1W_YpRPEwOWvG6b32690r2jZ47soMZo9wGzjb_7OMg0LOL-bSf63kpaSHSXndS5z5rexMdbBYUsLA9e-KXBdQOS-UTo7WTBEMa2R2CapHg665xsmtdVMTBQY4uDZlxvb3qCo5ZwKh9kG4LT6_I5IhlJH7aGhyxXFvUK-DWNmoudF8NAco9_h9iaGNj8q2ethFkMLs91kzk2PAcDTW9gb54h4FRWyuXpoQ"
        }))
        .unwrap();
        let message =
            b"eyJhbGciOiJSUzI1NiJ9.eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ";
        let signature = BASE64_URL_SAFE_NO_PAD.decode("cC4hiUPoj9Eetdgtv3hF80EGrhuB__dzERat0XF9g2VtQgr9PJbu3XOiZj5RZmh7AAuHIm4Bh-0Qc_lF5YKt_O8W2Fp5jujGbds9uJdbF9CUAr7t1dnZcAcQjbKBYNX4BAynRFdiuB--f_nZLgrnbyTyWzO75vRK5h6xBArLIARNPvkSjtQBMHlb1L07Qe7K0GarZRmB_eSN9383LcOLn6_dO--xi12jzDwusC-eOkHWEsqtFZESc6BfI7noOPqvhJ1phCnvWh6IeYI2w9QOYEUipUTI8np6LbgGY9Fs98rqVt5AXLIhWkWywlVmtVrBp0igcN_IoypGlUPQGe77Rw").unwrap();
        assert_eq!(key.verify(Algorithm::Rs256, message, &signature), Ok(()));
        assert_eq!(key.verify(Algorithm::Ps256, message, &signature), Err(Refused::BadSignature));
    }

    #[test]
    fn keys_are_kept_and_read_again() {
        for key in [rsa().clone(), SigningKey::generate_es256().unwrap()] {
            let again = SigningKey::from_pkcs8(&key.to_pkcs8().unwrap()).unwrap();
            assert_eq!(again.kid(), key.kid());
            assert_eq!(again.algorithm(), key.algorithm());
            let signature = again.sign(b"message").unwrap();
            let public = PublicKey::from_jwk(&key.public().jwk()).unwrap();
            assert_eq!(public, *key.public());
            assert_eq!(public.verify(key.algorithm(), b"message", &signature), Ok(()));
            assert_eq!(public.verify(key.algorithm(), b"massage", &signature), Err(Refused::BadSignature));
            assert!(!format!("{key:?}").contains('['), "no bytes are printed");
        }
        assert_eq!(rsa().sign(b"").unwrap().len(), 384);
    }

    #[test]
    fn the_first_of_several_searches_is_a_key() {
        let key = SigningKey::generate_rs256_racing(2).unwrap();
        assert_eq!(key.algorithm(), Algorithm::Rs256);
        assert_eq!(key.public().verify(Algorithm::Rs256, b"m", &key.sign(b"m").unwrap()), Ok(()));
    }

    #[test]
    fn wrong_stored_keys_are_refused() {
        assert!(SigningKey::from_pkcs8(&SecretBytes::default()).is_err());
        assert!(SigningKey::from_pkcs8(&SecretBytes::new(vec![0x30; 100])).is_err());
        let short = RsaKeyPair::generate(KeySize::Rsa2048).unwrap();
        let der: aws_lc_rs::encoding::Pkcs8V1Der = short.as_der().unwrap();
        assert!(SigningKey::from_pkcs8(&SecretBytes::new(der.as_ref().to_vec())).is_err(), "our own keys have 3072 bits");
    }

    #[test]
    fn wrong_public_keys_are_refused() {
        let good = rsa().public().jwk();
        let with = |name: &str, value: Value| {
            let mut jwk = good.clone();
            jwk[name] = value;
            PublicKey::from_jwk(&jwk)
        };
        assert!(PublicKey::from_jwk(&good).is_ok());
        assert!(with("kty", json!("oct")).is_err());
        assert!(with("n", json!("AQAB")).is_err(), "24 bits");
        assert!(with("n", json!(format!("{}=", good["n"].as_str().unwrap()))).is_err(), "padding");
        assert!(with("e", json!(65537)).is_err());
        for e in ["", "AA", "AQ", "AAE", "Ag", "AQABAQABAQAB"] {
            assert!(with("e", json!(e)).is_err(), "{e}");
        }
        assert!(with("n", Value::Null).is_err());
        assert!(PublicKey::from_jwk(&json!([])).is_err());
        let off = json!({"kty": "EC", "crv": "P-256", "x": "f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU", "y": "x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5aw"});
        assert!(PublicKey::from_jwk(&off).is_err(), "not on the curve");
    }
}
