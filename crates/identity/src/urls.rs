//! The token service's own addresses. It is reached by three names (`login.DOMAIN`, the bare domain, `localhost`); what it
//! advertises begins with the name that the client used, so that a client which resolves nothing else is still served.

use base::TenantId;
use service::{Head, Urls};

/// `https://…` of the name by which this request came, without a final slash.
pub(crate) fn base_of(head: &Head) -> String {
    base(&head.urls, &head.host, "login")
}

/// As [`base_of`], for a door with another label.
pub(crate) fn base(urls: &Urls, host: &str, label: &str) -> String {
    if host == format!("{label}.{}", urls.domain) {
        return urls.host(label);
    }
    if host == urls.domain {
        return format!("https://{}{}", urls.domain, urls.port_suffix());
    }
    urls.local()
}

/// Where a client of another door signs in: by name when it came by name.
pub(crate) fn sign_in_of(urls: &Urls, host: &str) -> String {
    if host.strip_suffix(&urls.domain).is_some_and(|label| label.ends_with('.')) {
        return urls.host("login");
    }
    base(urls, host, "login")
}

/// Every name under which we issue.
fn bases(urls: &Urls) -> [String; 3] {
    [urls.host("login"), format!("https://{}{}", urls.domain, urls.port_suffix()), urls.local()]
}

/// The issuers of our tokens, in both forms.
pub(crate) struct Issuers([String; 3]);

pub(crate) fn issuers(urls: &Urls) -> Issuers {
    Issuers(bases(urls))
}

impl Issuers {
    /// True for `{base}/{tenant}/v2.0` and `{base}/adfs`.
    pub(crate) fn includes(&self, issuer: &str, tenant: TenantId) -> bool {
        self.0.iter().filter_map(|base| issuer.strip_prefix(base.as_str())).any(|rest| rest == "/adfs" || rest == format!("/{tenant}/v2.0"))
    }
}

/// What a client assertion may name as its audience: the token endpoints and issuers, in both forms and by every name.
pub(crate) fn assertion_audiences(urls: &Urls, authority: &str, tenant: TenantId) -> Vec<String> {
    let mut all = Vec::new();
    for base in bases(urls) {
        for segment in [authority.to_owned(), tenant.to_string()] {
            for tail in ["oauth2/v2.0/token", "oauth2/token", "oauth2/token/", "v2.0"] {
                all.push(format!("{base}/{segment}/{tail}"));
            }
        }
        all.push(format!("{base}/adfs"));
    }
    all
}

/// True for an address of this region: `https://` + `localhost`, the domain or a name under it, our port, no path.
pub(crate) fn is_ours(urls: &Urls, audience: &str) -> bool {
    let Some(rest) = audience.strip_prefix("https://") else { return false };
    let rest = rest.strip_suffix('/').unwrap_or(rest);
    let Some(host) = rest.strip_suffix(&urls.port_suffix()) else { return false };
    let label = |host: &str| {
        !host.is_empty() && host.split('.').all(|l| !l.is_empty() && l.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-'))
    };
    host == "localhost" || host == urls.domain || host.strip_suffix(&urls.domain).and_then(|h| h.strip_suffix('.')).is_some_and(label)
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    pub(crate) fn urls() -> Urls {
        Urls { domain: "bleu.localhost".into(), port: 8443, location: base::Location::new("francecentral").unwrap() }
    }

    #[test]
    fn what_is_advertised_begins_with_the_name_that_was_used() {
        for (host, expected) in [
            ("login.bleu.localhost", "https://login.bleu.localhost:8443"),
            ("bleu.localhost", "https://bleu.localhost:8443"),
            ("localhost", "https://localhost:8443"),
            ("127.0.0.1", "https://localhost:8443"),
        ] {
            assert_eq!(base(&urls(), host, "login"), expected);
        }
    }

    #[test]
    fn issuers_are_ours_alone() {
        let tenant = TenantId(uuid::Uuid::from_u128(1));
        let other = TenantId(uuid::Uuid::from_u128(2));
        let issuers = issuers(&urls());
        assert!(issuers.includes("https://localhost:8443/adfs", tenant));
        assert!(issuers.includes(&format!("https://login.bleu.localhost:8443/{tenant}/v2.0"), tenant));
        assert!(!issuers.includes(&format!("https://login.bleu.localhost:8443/{other}/v2.0"), tenant));
        assert!(!issuers.includes(&format!("https://login.bleu.localhost/{tenant}/v2.0"), tenant));
        assert!(!issuers.includes("https://localhost:8443", tenant));
    }

    #[test]
    fn our_addresses_are_told_from_others() {
        for ours in [
            "https://localhost:8443",
            "https://localhost:8443/",
            "https://management.bleu.localhost:8443/",
            "https://a.blob.core.bleu.localhost:8443",
            "https://bleu.localhost:8443",
        ] {
            assert!(is_ours(&urls(), ours), "{ours}");
        }
        for other in [
            "https://localhost",
            "http://localhost:8443",
            "https://localhost:8443/x",
            "https://localhost:8443//",
            "https://evilbleu.localhost:8443",
            "https://.bleu.localhost:8443",
            "https://a@b.bleu.localhost:8443",
            "https://bleu.localhost.evil:8443",
            "",
        ] {
            assert!(!is_ours(&urls(), other), "{other}");
        }
    }
}
