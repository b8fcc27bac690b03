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
            subject: certificate.subject().to_string(),
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
    /// For people: `CN=app, O=…`.
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
