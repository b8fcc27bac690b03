//! The region's certificate authority: one root that signs the certificates of the region's own listeners.

use crate::{SecretBytes, sha256};
use base::{Error, Result, Timestamp};
use rcgen::{
    BasicConstraints, Certificate, CertificateParams, CidrSubnet, DistinguishedName, DnType, ExtendedKeyUsagePurpose, GeneralSubtree, IsCa,
    Issuer, KeyPair, KeyUsagePurpose, NameConstraints, PKCS_ECDSA_P256_SHA256, PKCS_ECDSA_P384_SHA384, SanType,
};
use std::net::IpAddr;
use time::OffsetDateTime;
use x509_parser::prelude::{FromDer, X509Certificate};

const ROOT_YEARS: i64 = 10;
const DAY_SECONDS: i64 = 24 * 60 * 60;
/// Clients' clocks run a little behind.
const BACKDATE_SECONDS: i64 = 60 * 60;
const PEM_BYTES_MAX: usize = 64 * 1024;

/// A root (ECDSA P-384, SHA-384, path length 0) and its key.
pub struct Ca {
    certificate_pem: String,
    certificate_der: Vec<u8>,
    issuer: Issuer<'static, KeyPair>,
}

/// What a TLS listener presents.
#[derive(Debug)]
pub struct ServerCertificate {
    /// The server's certificate. The root does not stand beside it: clients have it already.
    pub chain_pem: String,
    /// The same in DER, first the server's.
    pub chain_der: Vec<Vec<u8>>,
    /// PKCS#8 in PEM.
    pub key_pem: SecretBytes,
    /// PKCS#8 in DER.
    pub key_der: SecretBytes,
}

impl Ca {
    /// A new root, valid for ten years from `now`. `name` is its common name, such as `bleu francecentral root`. Whoever
    /// trusts it trusts it for every name: where the region's names are known, prefer [`Ca::generate_within`].
    pub fn generate(name: &str, now: Timestamp) -> Result<Ca> {
        Ca::generate_with(name, now, None)
    }

    /// As [`Ca::generate`], for these domains (each with all below it) and networks (address and prefix bits) alone, by
    /// critical name constraints (RFC 5280 section 4.2.1.10): a stolen key then speaks for nobody else. Error
    /// `InvalidServerName` for an empty list or what is no domain or network. With no network, no address at all.
    pub fn generate_within(name: &str, now: Timestamp, domains: &[String], networks: &[(IpAddr, u8)]) -> Result<Ca> {
        let wrong = |what: String| Error::invalid("InvalidServerName", format!("'{what}' can't limit a certificate authority."));
        if domains.is_empty() {
            return Err(wrong(String::new()));
        }
        let mut permitted = Vec::new();
        for domain in domains {
            let plain =
                |label: &str| !label.is_empty() && label.len() <= 63 && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
            if domain.len() > 253 || !domain.split('.').all(plain) {
                return Err(wrong(domain.clone()));
            }
            permitted.push(GeneralSubtree::DnsName(domain.clone()));
        }
        for (address, prefix) in networks {
            if *prefix > if address.is_ipv4() { 32 } else { 128 } {
                return Err(wrong(format!("{address}/{prefix}")));
            }
            permitted.push(GeneralSubtree::IpAddress(CidrSubnet::from_addr_prefix(*address, *prefix)));
        }
        // a kind of name that is not mentioned is not limited, so each family without a network is excluded whole
        let mut excluded = Vec::new();
        for whole in [IpAddr::from([0; 4]), IpAddr::from([0; 16])] {
            if !networks.iter().any(|(address, _)| address.is_ipv4() == whole.is_ipv4()) {
                excluded.push(GeneralSubtree::IpAddress(CidrSubnet::from_addr_prefix(whole, 0)));
            }
        }
        Ca::generate_with(name, now, Some(NameConstraints { permitted_subtrees: permitted, excluded_subtrees: excluded }))
    }

    fn generate_with(name: &str, now: Timestamp, limits: Option<NameConstraints>) -> Result<Ca> {
        let key = KeyPair::generate_for(&PKCS_ECDSA_P384_SHA384).map_err(defect)?;
        let mut params = params(name, now.plus_seconds(-BACKDATE_SECONDS), now.plus_seconds(ROOT_YEARS * 365 * DAY_SECONDS))?;
        params.name_constraints = limits;
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let certificate = params.self_signed(&key).map_err(defect)?;
        Ok(Ca { certificate_pem: certificate.pem(), certificate_der: certificate.der().to_vec(), issuer: Issuer::new(params, key) })
    }

    /// Reads what [`Ca::certificate_pem`] and [`Ca::key_pem`] gave. Error `Internal`: not PEM, not a CA, or the key is
    /// not this certificate's.
    pub fn from_pem(certificate_pem: &str, key_pem: &SecretBytes) -> Result<Ca> {
        let wrong = |why: &str| Error::internal(format!("the region's certificate authority: {why}"));
        if certificate_pem.len() > PEM_BYTES_MAX || key_pem.len() > PEM_BYTES_MAX {
            return Err(wrong("too large"));
        }
        let key_text = std::str::from_utf8(key_pem.expose()).map_err(|_| wrong("the key is not PEM"))?;
        let key = KeyPair::from_pem(key_text).map_err(|_| wrong("the key is not PKCS#8 in PEM"))?;
        let (_, pem) = x509_parser::pem::parse_x509_pem(certificate_pem.as_bytes()).map_err(|_| wrong("the certificate is not PEM"))?;
        let (_, certificate) = X509Certificate::from_der(&pem.contents).map_err(|_| wrong("the certificate does not parse"))?;
        if !certificate.is_ca() {
            return Err(wrong("the certificate is not an authority's"));
        }
        if *certificate.public_key().subject_public_key.data != *key.public_key_raw() {
            return Err(wrong("the key is not the certificate's"));
        }
        let issuer = Issuer::from_ca_cert_pem(certificate_pem, key).map_err(defect)?;
        Ok(Ca { certificate_pem: certificate_pem.to_owned(), certificate_der: pem.contents.clone(), issuer })
    }

    /// What clients must trust.
    pub fn certificate_pem(&self) -> &str {
        &self.certificate_pem
    }
    pub fn certificate_der(&self) -> &[u8] {
        &self.certificate_der
    }
    /// PKCS#8 in PEM, to be kept sealed.
    pub fn key_pem(&self) -> SecretBytes {
        self.issuer.key().serialize_pem().into()
    }
    /// SHA-256 of the root in DER: what people compare.
    pub fn fingerprint(&self) -> [u8; 32] {
        sha256(&self.certificate_der)
    }

    /// A certificate with a new P-256 key for TLS servers under these DNS names (`*.` in front is allowed) and addresses.
    /// Error `InvalidServerName` for a name that no certificate can carry, or when there is none at all.
    pub fn issue_server(&self, names: &[String], ips: &[IpAddr], not_before: Timestamp, not_after: Timestamp) -> Result<ServerCertificate> {
        let common_name = names.first().cloned().or_else(|| ips.first().map(IpAddr::to_string));
        let common_name =
            common_name.ok_or_else(|| Error::invalid("InvalidServerName", "A server certificate needs a name or an address."))?;
        // X.520: a common name has at most 64 characters; clients read the alternative names only
        let common_name: String = common_name.chars().take(64).collect();
        let mut params = params(&common_name, not_before, not_after)?;
        for name in names {
            let name = name.as_str().try_into().map_err(|_| Error::invalid("InvalidServerName", format!("'{name}' is not a DNS name.")))?;
            params.subject_alt_names.push(SanType::DnsName(name));
        }
        params.subject_alt_names.extend(ips.iter().copied().map(SanType::IpAddress));
        params.is_ca = IsCa::ExplicitNoCa;
        params.use_authority_key_identifier_extension = true;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).map_err(defect)?;
        let certificate: Certificate = params.signed_by(&key, &self.issuer).map_err(defect)?;
        Ok(ServerCertificate {
            chain_pem: certificate.pem(),
            chain_der: vec![certificate.der().to_vec()],
            key_pem: key.serialize_pem().into(),
            key_der: key.serialize_der().into(),
        })
    }
}

impl std::fmt::Debug for Ca {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Ca({}, …)", hex::encode(self.fingerprint()))
    }
}

fn params(common_name: &str, not_before: Timestamp, not_after: Timestamp) -> Result<CertificateParams> {
    let date = |at: Timestamp| {
        OffsetDateTime::from_unix_timestamp(at.seconds()).map_err(|e| Error::internal(format!("a certificate's date: {e}")))
    };
    let mut params = CertificateParams::default();
    params.not_before = date(not_before)?;
    params.not_after = date(not_after)?;
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, common_name);
    Ok(params)
}

fn defect(error: rcgen::Error) -> Error {
    Error::internal(format!("a certificate could not be made: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use base::Kind;
    use std::path::Path;
    use std::process::Command;

    const NOW: Timestamp = Timestamp(1_795_508_032_000);
    const PYTHON: &str = r#"
import socket, ssl, sys, threading
root, chain, key, name, good = sys.argv[1:]
server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
server.load_cert_chain(chain, key)
client = ssl.create_default_context(cafile=root)
client.verify_flags |= ssl.VERIFY_X509_STRICT
a, b = socket.socketpair()
def serve():
    try: server.wrap_socket(a, server_side=True).recv(1)
    except (ssl.SSLError, OSError): pass
    finally: a.close()
thread = threading.Thread(target=serve)
thread.start()
try:
    with client.wrap_socket(b, server_hostname=name) as s:
        s.sendall(b"x")
    result = "good"
except ssl.SSLCertVerificationError:
    result = "refused"
b.close()
thread.join()
sys.exit(0 if result == good else 1)
"#;

    fn now() -> Timestamp {
        // real clients judge validity by the machine's clock
        use base::Clock;
        base::SystemClock.now()
    }
    fn names(names: &[&str]) -> Vec<String> {
        names.iter().map(|n| n.to_string()).collect()
    }
    fn write(folder: &Path, ca: &Ca, server: &ServerCertificate) {
        std::fs::write(folder.join("root.pem"), ca.certificate_pem()).unwrap();
        std::fs::write(folder.join("chain.pem"), &server.chain_pem).unwrap();
        std::fs::write(folder.join("key.pem"), server.key_pem.expose()).unwrap();
    }
    /// `None` where the program is not installed.
    fn run(program: &str, folder: &Path, arguments: &[&str]) -> Option<(bool, String)> {
        let output = match Command::new(program).current_dir(folder).args(arguments).output() {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return None,
            output => output.unwrap(),
        };
        Some((output.status.success(), format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))))
    }

    #[test]
    fn strict_clients_accept_the_chain() {
        let ca = Ca::generate("bleu test root", now()).unwrap();
        let server = ca
            .issue_server(
                &names(&["localhost", "*.blob.bleu.localhost"]),
                &["127.0.0.1".parse().unwrap(), "::1".parse().unwrap()],
                now().plus_seconds(-60),
                now().plus_seconds(86400),
            )
            .unwrap();
        let folder = tempfile::tempdir().unwrap();
        write(folder.path(), &ca, &server);
        let verify = |name: [&str; 2]| {
            run(
                "openssl",
                folder.path(),
                &["verify", "-x509_strict", "-purpose", "sslserver", "-CAfile", "root.pem", name[0], name[1], "chain.pem"],
            )
        };
        if let Some((good, text)) = verify(["-verify_hostname", "account.blob.bleu.localhost"]) {
            assert!(good, "{text}");
            assert!(verify(["-verify_ip", "127.0.0.1"]).unwrap().0);
            assert!(verify(["-verify_ip", "::1"]).unwrap().0);
            assert!(!verify(["-verify_ip", "127.0.0.2"]).unwrap().0);
            assert!(!verify(["-verify_hostname", "blob.bleu.localhost"]).unwrap().0);
        }
        std::fs::write(folder.path().join("handshake.py"), PYTHON).unwrap();
        let handshake =
            |name: &str, want: &str| run("python3", folder.path(), &["handshake.py", "root.pem", "chain.pem", "key.pem", name, want]);
        if let Some((good, text)) = handshake("localhost", "good") {
            assert!(good, "{text}");
            let (refused, text) = handshake("example.com", "refused").unwrap();
            assert!(refused, "{text}");
            // another root of the same name is another root
            std::fs::write(folder.path().join("root.pem"), Ca::generate("bleu test root", now()).unwrap().certificate_pem()).unwrap();
            let (refused, text) = handshake("localhost", "refused").unwrap();
            assert!(refused, "{text}");
        }
    }

    #[test]
    fn a_limited_authority_speaks_for_its_own_names_only() {
        let v4 = |text: &str| text.parse::<IpAddr>().unwrap();
        let ca = Ca::generate_within("limited", now(), &names(&["localhost"]), &[(v4("127.0.0.0"), 8), (v4("::1"), 128)]).unwrap();
        let again = Ca::from_pem(ca.certificate_pem(), &ca.key_pem()).unwrap();
        let folder = tempfile::tempdir().unwrap();
        let check = |ca: &Ca, dns: &[&str], ip: &[&str]| {
            let ips: Vec<IpAddr> = ip.iter().map(|t| v4(t)).collect();
            let server = ca.issue_server(&names(dns), &ips, now().plus_seconds(-60), now().plus_seconds(86400)).unwrap();
            write(folder.path(), ca, &server);
            run("openssl", folder.path(), &["verify", "-x509_strict", "-purpose", "sslserver", "-CAfile", "root.pem", "chain.pem"])
        };
        let Some((good, text)) = check(&ca, &["localhost", "*.blob.bleu.localhost"], &["127.0.0.1", "::1"]) else { return };
        assert!(good, "{text}");
        std::fs::write(folder.path().join("handshake.py"), PYTHON).unwrap();
        if let Some((good, text)) =
            run("python3", folder.path(), &["handshake.py", "root.pem", "chain.pem", "key.pem", "a.blob.bleu.localhost", "good"])
        {
            assert!(good, "{text}");
        }
        assert!(check(&again, &["localhost"], &["127.0.0.2"]).unwrap().0);
        for (dns, ip) in [
            (vec!["example.com"], vec![]),
            (vec!["localhost", "localhost.example.com"], vec![]),
            (vec!["localhost"], vec!["10.0.0.1"]),
            (vec!["localhost"], vec!["::2"]),
        ] {
            let (good, text) = check(&again, &dns, &ip).unwrap();
            assert!(!good && text.contains("permitted subtree violation"), "{dns:?} {ip:?}: {text}");
        }
        let names_only = Ca::generate_within("names", now(), &names(&["localhost"]), &[]).unwrap();
        assert!(check(&names_only, &["localhost"], &[]).unwrap().0);
        for ip in ["127.0.0.1", "::1"] {
            let (good, text) = check(&names_only, &["localhost"], &[ip]).unwrap();
            assert!(!good && text.contains("excluded subtree violation"), "{ip}: {text}");
        }
        for bad in ["", ".", "a..b", "*.localhost", "hôte", "a b"] {
            assert!(Ca::generate_within("x", now(), &names(&[bad]), &[]).is_err(), "{bad}");
        }
        assert!(Ca::generate_within("x", now(), &[], &[]).is_err());
        assert!(Ca::generate_within("x", now(), &names(&["localhost"]), &[(v4("127.0.0.0"), 33)]).is_err());
    }

    #[test]
    fn the_extensions_are_those_of_rfc_5280() {
        let ca = Ca::generate("root", NOW).unwrap();
        let server = ca.issue_server(&names(&["localhost"]), &[], NOW, NOW.plus_seconds(86400)).unwrap();
        let (_, root) = X509Certificate::from_der(ca.certificate_der()).unwrap();
        let (_, leaf) = X509Certificate::from_der(&server.chain_der[0]).unwrap();
        let root_constraints = root.basic_constraints().unwrap().unwrap();
        assert!(root_constraints.critical && root_constraints.value.ca && root_constraints.value.path_len_constraint == Some(0));
        let leaf_constraints = leaf.basic_constraints().unwrap().unwrap();
        assert!(leaf_constraints.critical && !leaf_constraints.value.ca);
        assert!(root.key_usage().unwrap().unwrap().critical && root.key_usage().unwrap().unwrap().value.key_cert_sign());
        let usage = leaf.key_usage().unwrap().unwrap();
        assert!(usage.critical && usage.value.digital_signature() && !usage.value.key_cert_sign());
        let extended = leaf.extended_key_usage().unwrap().unwrap();
        assert!(extended.value.server_auth && !extended.value.client_auth && !extended.value.any);
        assert_eq!(leaf.validity().not_before.timestamp(), NOW.seconds());
        assert_eq!(leaf.validity().not_after.timestamp(), NOW.seconds() + 86400);
        assert!(root.validity().not_before.timestamp() < NOW.seconds());
        assert_eq!(ca.fingerprint(), sha256(ca.certificate_der()));
    }

    #[test]
    fn an_authority_is_kept_and_read_again() {
        let ca = Ca::generate("root", now()).unwrap();
        let again = Ca::from_pem(ca.certificate_pem(), &ca.key_pem()).unwrap();
        assert_eq!(again.fingerprint(), ca.fingerprint());
        let server = again.issue_server(&names(&["localhost"]), &[], now().plus_seconds(-60), now().plus_seconds(86400)).unwrap();
        let folder = tempfile::tempdir().unwrap();
        write(folder.path(), &ca, &server);
        if let Some((good, text)) = run("openssl", folder.path(), &["verify", "-x509_strict", "-CAfile", "root.pem", "chain.pem"]) {
            assert!(good, "{text}");
        }
        assert!(!format!("{ca:?}{server:?}").contains("PRIVATE KEY"));
    }

    #[test]
    fn what_is_no_authority_is_refused() {
        let ca = Ca::generate("root", NOW).unwrap();
        let other = Ca::generate("root", NOW).unwrap();
        let server = ca.issue_server(&names(&["localhost"]), &[], NOW, NOW.plus_seconds(86400)).unwrap();
        let refused = |certificate: &str, key: &SecretBytes| Ca::from_pem(certificate, key).unwrap_err().kind == Kind::Internal;
        assert!(refused(ca.certificate_pem(), &other.key_pem()), "another's key");
        assert!(refused(&server.chain_pem, &server.key_pem), "not an authority");
        assert!(refused("", &ca.key_pem()));
        assert!(refused(ca.certificate_pem(), &SecretBytes::default()));
        assert!(refused(&"x".repeat(PEM_BYTES_MAX + 1), &ca.key_pem()));
    }

    #[test]
    fn names_that_no_certificate_carries_are_refused() {
        let ca = Ca::generate("root", NOW).unwrap();
        assert_eq!(ca.issue_server(&names(&["hôte"]), &[], NOW, NOW.plus_seconds(1)).unwrap_err().code, "InvalidServerName");
        assert_eq!(ca.issue_server(&[], &[], NOW, NOW.plus_seconds(1)).unwrap_err().code, "InvalidServerName");
        let long = format!("{}.bleu.localhost", "a".repeat(60));
        assert!(ca.issue_server(&[long], &["127.0.0.1".parse().unwrap()], NOW, NOW.plus_seconds(1)).is_ok());
    }
}
