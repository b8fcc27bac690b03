//! Tokens: JSON Web Signatures in compact form (RFC 7515, 7519, 8725).
//!
//! A token from outside is first [`Unverified`]: its header may be read to find a key, its claims only to find out whose
//! key to look for. [`Unverified::verify`] gives [`Claims`], which exist in no other way. **No claim is judged here**:
//! issuer, audience, tenant, `exp` and `nbf` are the caller's, which has the clock and the rules.
//!
//! Reading is strict: 16 KiB, three parts, base64url without padding or stray bits, JSON without repeated names, an
//! algorithm of our list (never `none`, never HMAC), no `crit`.

use crate::{Algorithm, ClientCertificate, PublicKey, Refused, SigningKey};
use base::Result;
use base64::prelude::*;
use serde_json::{Map, Value, json};

/// Longer tokens are refused unread.
pub const TOKEN_BYTES_MAX: usize = 16 * 1024;

/// Signs claims as a token with header `{"typ":"JWT","alg":…,"kid":…}`. Error `Internal` when signing fails or the token
/// would be longer than [`TOKEN_BYTES_MAX`], which we would not read ourselves.
pub fn sign(key: &SigningKey, claims: &Value) -> Result<String> {
    let header = json!({"typ": "JWT", "alg": key.algorithm().name(), "kid": key.kid()});
    let mut token = BASE64_URL_SAFE_NO_PAD.encode(header.to_string());
    token.push('.');
    BASE64_URL_SAFE_NO_PAD.encode_string(claims.to_string(), &mut token);
    let signature = key.sign(token.as_bytes())?;
    token.push('.');
    BASE64_URL_SAFE_NO_PAD.encode_string(signature, &mut token);
    if token.len() > TOKEN_BYTES_MAX {
        return Err(base::Error::internal(format!("a token of {} bytes is too long", token.len())));
    }
    Ok(token)
}

/// The header of a token that nobody has checked.
#[derive(Clone, Debug)]
pub struct Header {
    pub algorithm: Algorithm,
    pub kid: Option<String>,
    /// SHA-1 of the signer's certificate in DER (RFC 7515 section 4.1.7).
    pub x5t: Option<[u8; 20]>,
    /// SHA-256 of the signer's certificate in DER (RFC 7515 section 4.1.8).
    pub x5t_s256: Option<[u8; 32]>,
}

/// A well-formed token whose signature nobody has checked.
#[derive(Clone)]
pub struct Unverified {
    header: Header,
    claims: Map<String, Value>,
    signed: String,
    signature: Vec<u8>,
}

/// Reads an access, ID or refresh token of ours: RS256 or ES256.
pub fn parse(token: &str) -> Result<Unverified, Refused> {
    parse_with(token, &[Algorithm::Rs256, Algorithm::Es256])
}

/// Reads a client assertion (RFC 7523 section 2.2) made with a certificate: RS256 or PS256.
pub fn parse_assertion(token: &str) -> Result<Unverified, Refused> {
    parse_with(token, &[Algorithm::Rs256, Algorithm::Ps256])
}

/// Reads a client assertion and checks it against the certificates that the client has registered. The second value is
/// the place of the one that signed. `WrongKey`: the header names none of them. Validity times are not looked at.
pub fn verify_assertion(token: &str, certificates: &[ClientCertificate]) -> Result<(Claims, usize), Refused> {
    let assertion = parse_assertion(token)?;
    let place = certificates.iter().position(|c| assertion.names(c)).ok_or(Refused::WrongKey)?;
    Ok((assertion.verify_certificate(&certificates[place])?, place))
}

fn parse_with(token: &str, allowed: &[Algorithm]) -> Result<Unverified, Refused> {
    if token.len() > TOKEN_BYTES_MAX {
        return Err(Refused::TooLarge);
    }
    let mut parts = token.split('.');
    let (Some(header), Some(claims), Some(signature), None) = (parts.next(), parts.next(), parts.next(), parts.next()) else {
        return Err(Refused::Malformed("a token has three parts"));
    };
    let signed = token[..header.len() + 1 + claims.len()].to_owned();
    let decode = |part: &str| BASE64_URL_SAFE_NO_PAD.decode(part).map_err(|_| Refused::Malformed("a part is not base64url"));
    let object = |part: &str| {
        crate::strict_json::object(&decode(part)?).ok_or(Refused::Malformed("a part is not a JSON object without repeated names"))
    };
    let header = read_header(&object(header)?, allowed)?;
    let claims = object(claims)?;
    let signature = decode(signature)?;
    if signature.is_empty() {
        return Err(Refused::Malformed("there is no signature"));
    }
    Ok(Unverified { header, claims, signed, signature })
}

fn read_header(header: &Map<String, Value>, allowed: &[Algorithm]) -> Result<Header, Refused> {
    let text = |name: &str| match header.get(name) {
        None => Ok(None),
        Some(Value::String(text)) => Ok(Some(text.as_str())),
        Some(_) => Err(Refused::Malformed("a header is not a string")),
    };
    let algorithm = text("alg")?.ok_or(Refused::Malformed("no algorithm is named"))?;
    let algorithm = Algorithm::named(algorithm).filter(|a| allowed.contains(a)).ok_or(Refused::Unsupported("the algorithm"))?;
    if text("typ")?.is_some_and(|typ| !["JWT", "at+jwt"].iter().any(|known| known.eq_ignore_ascii_case(typ))) {
        return Err(Refused::Unsupported("the type of token"));
    }
    // RFC 7515 section 4.1.11: what we must understand and don't; RFC 7797: an unencoded payload
    if header.contains_key("crit") || header.contains_key("b64") {
        return Err(Refused::Unsupported("a critical header"));
    }
    Ok(Header { algorithm, kid: text("kid")?.map(str::to_owned), x5t: thumbprint(text("x5t")?)?, x5t_s256: thumbprint(text("x5t#S256")?)? })
}

fn thumbprint<const N: usize>(text: Option<&str>) -> Result<Option<[u8; N]>, Refused> {
    let Some(text) = text else { return Ok(None) };
    // some libraries pad
    let bytes = BASE64_URL_SAFE_NO_PAD.decode(text.trim_end_matches('=')).ok().and_then(|bytes| bytes.try_into().ok());
    bytes.map(Some).ok_or(Refused::Malformed("a thumbprint has another length"))
}

impl Unverified {
    pub fn header(&self) -> &Header {
        &self.header
    }
    /// What the token says of itself. For finding the key to check it with, and nothing else.
    pub fn unverified_claims(&self) -> &Map<String, Value> {
        &self.claims
    }
    /// `WrongKey` when the header names another `kid`; `Unsupported` when its algorithm is not the key's;
    /// `BadSignature` when the signature does not hold.
    pub fn verify(&self, key: &PublicKey) -> Result<Claims, Refused> {
        if self.header.kid.as_deref().is_some_and(|kid| kid != key.kid()) {
            return Err(Refused::WrongKey);
        }
        self.verify_with(key)
    }
    /// As [`Unverified::verify`], against a registered certificate: the header must name it by `x5t` or `x5t#S256`.
    pub fn verify_certificate(&self, certificate: &ClientCertificate) -> Result<Claims, Refused> {
        if !self.names(certificate) {
            return Err(Refused::WrongKey);
        }
        self.verify_with(certificate.key())
    }
    fn verify_with(&self, key: &PublicKey) -> Result<Claims, Refused> {
        key.verify(self.header.algorithm, self.signed.as_bytes(), &self.signature)?;
        Ok(Claims(self.claims.clone()))
    }
    /// True when the header has a thumbprint and each one it has is this certificate's.
    fn names(&self, certificate: &ClientCertificate) -> bool {
        let sha1 = self.header.x5t.map(|x| x == certificate.sha1_thumbprint());
        let sha256 = self.header.x5t_s256.map(|x| x == certificate.sha256_thumbprint());
        (sha1.is_some() || sha256.is_some()) && sha1 != Some(false) && sha256 != Some(false)
    }
}

impl std::fmt::Debug for Unverified {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // the text of a token is a credential
        f.debug_struct("Unverified").field("header", &self.header).finish_non_exhaustive()
    }
}

/// Claims under a signature that holds. Who may trust that key, and for how long, is for the caller to judge.
#[derive(Clone, Debug, PartialEq)]
pub struct Claims(Map<String, Value>);

impl Claims {
    pub fn get(&self, name: &str) -> Option<&Value> {
        self.0.get(name)
    }
    /// A claim that is a string.
    pub fn text(&self, name: &str) -> Option<&str> {
        self.0.get(name)?.as_str()
    }
    /// A NumericDate (RFC 7519 section 2) in whole seconds since 1970, rounded down.
    pub fn seconds(&self, name: &str) -> Option<i64> {
        let value = self.0.get(name)?;
        value.as_i64().or_else(|| value.as_f64().filter(|f| f.abs() < 1e15).map(|f| f.floor() as i64))
    }
    pub fn as_map(&self) -> &Map<String, Value> {
        &self.0
    }
    pub fn into_value(self) -> Value {
        Value::Object(self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::token_key::tests::rsa;
    use proptest::prelude::*;

    fn part(text: &str) -> String {
        BASE64_URL_SAFE_NO_PAD.encode(text)
    }
    fn token(header: &str, claims: &str) -> String {
        let signed = format!("{}.{}", part(header), part(claims));
        let signature = rsa().sign(signed.as_bytes()).unwrap();
        format!("{signed}.{}", BASE64_URL_SAFE_NO_PAD.encode(signature))
    }

    #[test]
    fn what_is_signed_verifies() {
        for key in [rsa().clone(), SigningKey::generate_es256().unwrap()] {
            let claims = json!({"iss": "https://login.bleu.localhost/", "exp": 1_795_508_032, "nbf": 1.9, "roles": ["a", {"b": null}]});
            let read = parse(&sign(&key, &claims).unwrap()).unwrap();
            assert_eq!(read.header().kid.as_deref(), Some(key.kid()));
            assert_eq!(read.unverified_claims()["iss"], claims["iss"]);
            let verified = read.verify(key.public()).unwrap();
            assert_eq!(verified.text("iss"), Some("https://login.bleu.localhost/"));
            assert_eq!((verified.seconds("exp"), verified.seconds("nbf"), verified.seconds("iss")), (Some(1_795_508_032), Some(1), None));
            assert_eq!(verified.into_value(), claims);
            let other = SigningKey::generate_es256().unwrap();
            assert_eq!(read.verify(other.public()), Err(Refused::WrongKey));
        }
    }

    #[test]
    fn another_key_under_the_same_name_is_refused() {
        let thief = SigningKey::generate_es256().unwrap();
        let owner = SigningKey::generate_es256().unwrap();
        let signed = format!("{}.{}", part(&format!(r#"{{"alg":"ES256","kid":"{}"}}"#, owner.kid())), part("{}"));
        let forged = format!("{signed}.{}", BASE64_URL_SAFE_NO_PAD.encode(thief.sign(signed.as_bytes()).unwrap()));
        assert_eq!(parse(&forged).unwrap().verify(owner.public()), Err(Refused::BadSignature));
    }

    #[test]
    fn the_kind_of_key_is_not_the_tokens_to_choose() {
        let key = SigningKey::generate_es256().unwrap();
        assert!(matches!(parse(&token(r#"{"alg":"RS256"}"#, "{}")).unwrap().verify(key.public()), Err(Refused::Unsupported(_))));
    }

    #[test]
    fn any_changed_character_is_refused() {
        let good = sign(rsa(), &json!({"sub": "anna"})).unwrap();
        assert!(parse(&good).unwrap().verify(rsa().public()).is_ok());
        for at in 0..good.len() {
            for other in [b'A', b'_', b'.', b'='] {
                let mut bytes = good.clone().into_bytes();
                if bytes[at] == other {
                    continue;
                }
                bytes[at] = other;
                let verified = parse(std::str::from_utf8(&bytes).unwrap()).and_then(|t| t.verify(rsa().public()));
                assert!(verified.is_err(), "character {at}");
            }
        }
    }

    #[test]
    fn headers_that_are_not_ours_are_refused() {
        assert!(parse(&token(r#"{"alg":"RS256","typ":"jwt"}"#, "{}")).is_ok());
        assert!(parse(&token(r#"{"alg":"RS256","typ":"at+JWT"}"#, "{}")).is_ok());
        for header in [
            r#"{"alg":"none"}"#,
            r#"{"alg":"None"}"#,
            r#"{"alg":""}"#,
            r#"{"alg":"HS256"}"#,
            r#"{"alg":"rs256"}"#,
            r#"{"alg":"RS512"}"#,
            r#"{"alg":"PS256"}"#,
            r#"{"alg":["RS256"]}"#,
            r#"{}"#,
            r#"[]"#,
            r#"{"alg":"RS256","alg":"RS256"}"#,
            r#"{"alg":"RS256","alg":"none"}"#,
            r#"{"alg":"RS256","typ":"JWE"}"#,
            r#"{"alg":"RS256","kid":7}"#,
            r#"{"alg":"RS256","crit":["exp"]}"#,
            r#"{"alg":"RS256","b64":false}"#,
            r#"{"alg":"RS256","x5t":"AAAA"}"#,
        ] {
            assert!(parse(&token(header, "{}")).is_err(), "{header}");
        }
        assert!(parse_assertion(&token(r#"{"alg":"ES256"}"#, "{}")).is_err());
        assert!(parse_assertion(&token(r#"{"alg":"PS256"}"#, "{}")).is_ok());
    }

    #[test]
    fn shapes_that_are_not_tokens_are_refused() {
        let good = sign(rsa(), &json!({})).unwrap();
        let (signed, _) = good.rsplit_once('.').unwrap();
        for bad in [
            String::new(),
            ".".into(),
            "..".into(),
            "...".into(),
            format!("{signed}."),
            signed.to_owned(),
            format!("{good}."),
            format!("{good}=="),
            format!(" {good}"),
            format!("{good}\n"),
            token(r#"{"alg":"RS256"}"#, "[]"),
            token(r#"{"alg":"RS256"}"#, r#"{"a":1,"a":2}"#),
            token(r#"{"alg":"RS256"}"#, "{}{}"),
        ] {
            assert!(matches!(parse(&bad), Err(Refused::Malformed(_))), "{bad}");
        }
        assert!(sign(rsa(), &json!({"long": "a".repeat(TOKEN_BYTES_MAX)})).is_err());
        assert_eq!(parse(&"a".repeat(TOKEN_BYTES_MAX + 1)).unwrap_err(), Refused::TooLarge);
    }

    #[test]
    fn a_token_is_not_printed() {
        let read = parse(&sign(rsa(), &json!({"sub": "anna"})).unwrap()).unwrap();
        assert!(!format!("{read:?}").contains("anna"));
    }

    proptest! {
        #[test]
        fn noise_is_refused(noise in "[ -~]{0,200}") {
            prop_assert!(parse(&noise).is_err());
        }
        #[test]
        fn nearly_tokens_do_not_verify(header in "\\{\"alg\":\"RS256\"(,\"[a-z0-9]{1,4}\":(\"[a-z]{0,5}\"|1|null))?\\}", claims in "\\{(\"[a-z]{1,3}\":[0-9]{1,3})?\\}", signature in proptest::collection::vec(any::<u8>(), 1..400)) {
            let text = format!("{}.{}.{}", part(&header), part(&claims), BASE64_URL_SAFE_NO_PAD.encode(signature));
            if let Ok(read) = parse(&text) {
                prop_assert!(read.verify(rsa().public()).is_err());
            }
        }
    }
}
