//! X.509 certificates that clients register and then sign with (RFC 5280). No chain is checked: the certificate itself
//! was registered, and its key is what counts, as in Entra.

use crate::digest::sha1_thumbprint;
use crate::{PublicKey, Refused, sha256};
use base::Timestamp;
use x509_parser::prelude::{FromDer, X509Certificate};

/// Longer certificates are refused unread.
pub(crate) const CERTIFICATE_BYTES_MAX: usize = 16 * 1024;
/// `rsaEncryption`, RFC 8017 appendix A.
const RSA_ENCRYPTION: &str = "1.2.840.113549.1.1.1";

/// A client's certificate with an RSA key of 2048 to 8192 bits.
#[derive(Clone, Debug)]
pub struct ClientCertificate {
    der: Vec<u8>,
    key: PublicKey,
    subject: String,
    not_before: Timestamp,
    not_after: Timestamp,
}

impl ClientCertificate {
    /// One certificate in DER and nothing after it. `Unsupported` for keys other than RSA: Microsoft's libraries sign
    /// assertions with RSA only.
    pub fn from_der(der: &[u8]) -> Result<ClientCertificate, Refused> {
        if der.len() > CERTIFICATE_BYTES_MAX {
            return Err(Refused::TooLarge);
        }
        let (rest, certificate) = X509Certificate::from_der(der).map_err(|_| Refused::Malformed("not an X.509 certificate"))?;
        if !rest.is_empty() {
            return Err(Refused::Malformed("bytes after the certificate"));
        }
        let info = certificate.public_key();
        if info.algorithm.algorithm.to_id_string() != RSA_ENCRYPTION {
            return Err(Refused::Unsupported("a certificate whose key is not RSA"));
        }
        Ok(ClientCertificate {
            der: der.to_vec(),
            key: PublicKey::from_rsa_der(&info.subject_public_key.data)?,
            subject: printable(&certificate.subject().to_string()),
            not_before: Timestamp::from_seconds(certificate.validity().not_before.timestamp()),
            not_after: Timestamp::from_seconds(certificate.validity().not_after.timestamp()),
        })
    }
    /// The first `CERTIFICATE` of a PEM text (RFC 7468); blocks of other kinds, such as a key beside it, are passed over.
    pub fn from_pem(pem: &[u8]) -> Result<ClientCertificate, Refused> {
        // base64 and its line ends make a third more; a key and a chain may stand beside it
        if pem.len() > 4 * CERTIFICATE_BYTES_MAX {
            return Err(Refused::TooLarge);
        }
        for block in x509_parser::pem::Pem::iter_from_buffer(pem) {
            let block = block.map_err(|_| Refused::Malformed("not a PEM text"))?;
            if block.label == "CERTIFICATE" {
                return ClientCertificate::from_der(&block.contents);
            }
        }
        Err(Refused::Malformed("no certificate in the PEM text"))
    }
    pub fn der(&self) -> &[u8] {
        &self.der
    }
    pub fn key(&self) -> &PublicKey {
        &self.key
    }
    /// For people: `CN=app, O=…`, at most 256 characters, none of them a control character. Not an identity.
    pub fn subject(&self) -> &str {
        &self.subject
    }
    pub fn not_before(&self) -> Timestamp {
        self.not_before
    }
    pub fn not_after(&self) -> Timestamp {
        self.not_after
    }
    /// Finds the certificate (`x5t`, Azure's "thumbprint"); protects nothing.
    pub fn sha1_thumbprint(&self) -> [u8; 20] {
        sha1_thumbprint(&self.der)
    }
    pub fn sha256_thumbprint(&self) -> [u8; 32] {
        sha256(&self.der)
    }
}

/// What a stranger wrote must not reach a terminal or a log as anything but text.
fn printable(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(256).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::jwt;
    use base64::prelude::*;

    const CLIENT: &[u8] = include_bytes!("../tests/samples/client.pem");

    fn client() -> ClientCertificate {
        ClientCertificate::from_pem(CLIENT).unwrap()
    }

    #[test]
    fn reads_a_certificate() {
        let client = client();
        assert_eq!(client.subject(), "O=Example, CN=client");
        assert!(client.not_before() < client.not_after());
        assert_eq!(ClientCertificate::from_der(client.der()).unwrap().sha256_thumbprint(), client.sha256_thumbprint());
    }

    #[test]
    fn assertions_of_another_implementation_verify() {
        let certificates = [client()];
        for text in [include_str!("../tests/samples/assertion-rs256.jwt"), include_str!("../tests/samples/assertion-ps256.jwt")] {
            let (claims, place) = jwt::verify_assertion(text.trim(), &certificates).unwrap();
            assert_eq!((claims.text("sub"), place), (Some("client"), 0));
            assert_eq!(jwt::verify_assertion(text.trim(), &[]), Err(Refused::WrongKey));
            let (signed, signature) = text.trim().rsplit_once('.').unwrap();
            let mut cut = signature.to_owned();
            cut.replace_range(..1, if signature.starts_with('A') { "B" } else { "A" });
            assert_eq!(jwt::verify_assertion(&format!("{signed}.{cut}"), &certificates), Err(Refused::BadSignature));
            let (header, _) = signed.split_once('.').unwrap();
            let other = format!("{header}.{}.{signature}", BASE64_URL_SAFE_NO_PAD.encode(r#"{"sub":"administrator"}"#));
            assert_eq!(jwt::verify_assertion(&other, &certificates), Err(Refused::BadSignature));
        }
    }

    #[test]
    fn an_assertion_names_its_certificate() {
        let unnamed = include_str!("../tests/samples/assertion-unnamed.jwt").trim();
        assert_eq!(jwt::verify_assertion(unnamed, &[client()]), Err(Refused::WrongKey));
        // PS256 is for assertions alone
        assert!(jwt::parse(include_str!("../tests/samples/assertion-ps256.jwt").trim()).is_err());
    }

    #[test]
    fn a_certificate_after_its_key_is_found() {
        let key = "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n";
        let both = [key.as_bytes(), CLIENT].concat();
        assert_eq!(ClientCertificate::from_pem(&both).unwrap().der(), client().der());
    }

    #[test]
    fn names_are_text_only() {
        assert_eq!(printable("CN=a\u{1b}[31m\r\nb é"), "CN=a[31mb é");
        assert_eq!(printable(&"é".repeat(1000)).chars().count(), 256);
    }

    #[test]
    fn what_is_no_rsa_certificate_is_refused() {
        let der = client().der().to_vec();
        assert!(matches!(ClientCertificate::from_pem(include_bytes!("../tests/samples/ec.pem")), Err(Refused::Unsupported(_))));
        assert!(matches!(ClientCertificate::from_pem(include_bytes!("../tests/samples/short.pem")), Err(Refused::Unsupported(_))));
        assert!(matches!(ClientCertificate::from_pem(b""), Err(Refused::Malformed(_))));
        assert!(matches!(
            ClientCertificate::from_pem(b"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n"),
            Err(Refused::Malformed(_))
        ));
        assert!(matches!(
            ClientCertificate::from_pem(b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"),
            Err(Refused::Malformed(_))
        ));
        assert!(matches!(ClientCertificate::from_der(&[der.clone(), vec![0]].concat()), Err(Refused::Malformed(_))));
        assert!(matches!(ClientCertificate::from_der(&der[..der.len() - 1]), Err(Refused::Malformed(_))));
        assert!(matches!(ClientCertificate::from_der(&vec![0x30; CERTIFICATE_BYTES_MAX + 1]), Err(Refused::TooLarge)));
    }
}
