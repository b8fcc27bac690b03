//! Azure Storage's own credentials: Shared Key, Shared Key Lite, and shared access signatures made with an account key.
//! Pure: what has to be signed is computed here, the key is held by `trust`.
//!
//! Sources: "Authorize with Shared Key", "Create an account SAS", "Create a service SAS" (Azure Storage REST reference).

use base::{Error, Kind, Result, Timestamp};
use base64::prelude::*;
use http::HeaderMap;
use service::{Head, Query};
use std::net::IpAddr;

/// Shared Key dates may differ from our clock by so much.
pub const SKEW_S: i64 = 15 * 60;
/// The oldest signed version whose string-to-sign we compute.
const OLDEST_SV: &str = "2018-11-09";
/// From here on the encryption scope is signed too.
const SCOPE_SV: &str = "2020-12-06";

/// 403 with the code that Azure gives for a credential that does not hold.
pub fn failed(why: impl std::fmt::Display) -> Error {
    Error::new(
        Kind::Forbidden,
        "AuthenticationFailed",
        format!(
            "Server failed to authenticate the request. Make sure the value of the Authorization header is formed correctly including the signature. {why}"
        ),
    )
}

/// `Authorization: SharedKey account:signature`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SharedKey {
    pub account: String,
    pub mac: Vec<u8>,
    pub lite: bool,
}

impl SharedKey {
    /// `None`: another scheme. Error `InvalidAuthenticationInfo`: this scheme, but not its grammar.
    pub fn parse(authorization: &str) -> Option<Result<SharedKey>> {
        let (scheme, rest) = authorization.split_once(' ')?;
        let lite = match scheme {
            s if s.eq_ignore_ascii_case("SharedKey") => false,
            s if s.eq_ignore_ascii_case("SharedKeyLite") => true,
            _ => return None,
        };
        let parsed = rest.trim().split_once(':').and_then(|(account, signature)| {
            let mac = BASE64_STANDARD.decode(signature).ok().filter(|m| m.len() == 32)?;
            (!account.is_empty()).then(|| SharedKey { account: account.to_owned(), mac, lite })
        });
        Some(parsed.ok_or_else(|| {
            Error::invalid("InvalidAuthenticationInfo", "The authorization header is not 'SharedKey account:signature'.")
                .at("Authorization")
        }))
    }
}

/// The strings that a client may have signed: the documented order of headers, and the collation of Azure's own
/// servers, which newer SDKs follow. They differ only where names have `-` or `_` at the place of a letter.
pub fn shared_key_messages(head: &Head, account: &str, lite: bool) -> Vec<String> {
    let mut names: Vec<&str> = head.headers.keys().map(|k| k.as_str()).filter(|k| k.starts_with("x-ms-")).collect();
    names.sort_unstable();
    let mut all = vec![message(head, account, lite, &names)];
    let before = names.clone();
    names.sort_by(|a, b| collated(a).cmp(&collated(b)).then(a.cmp(b)));
    if names != before {
        all.push(message(head, account, lite, &names));
    }
    all
}

/// Hyphens do not count, `_` comes before digits, digits before letters.
fn collated(name: &str) -> Vec<u8> {
    name.bytes().filter(|b| *b != b'-').map(|b| if b == b'_' { b'/' } else { b }).collect()
}

fn message(head: &Head, account: &str, lite: bool, names: &[&str]) -> String {
    let header = |name: &str| values(&head.headers, name);
    // a date that travels in x-ms-date is signed there
    let date = if head.headers.contains_key("x-ms-date") { String::new() } else { header("date") };
    let mut lines = vec![head.method.as_str().to_owned()];
    if lite {
        lines.extend([header("content-md5"), header("content-type"), date]);
    } else {
        let length = header("content-length");
        lines.extend([header("content-encoding"), header("content-language"), if length == "0" { String::new() } else { length }]);
        lines.extend([header("content-md5"), header("content-type"), date, header("if-modified-since"), header("if-match")]);
        lines.extend([header("if-none-match"), header("if-unmodified-since"), header("range")]);
    }
    lines.extend(names.iter().map(|name| format!("{name}:{}", values(&head.headers, name))));
    lines.push(canonicalized_resource(head, account, lite));
    lines.join("\n")
}

fn values(headers: &HeaderMap, name: &str) -> String {
    let all: Vec<String> = headers.get_all(name).iter().map(|v| String::from_utf8_lossy(v.as_bytes()).trim().to_owned()).collect();
    all.join(",")
}

/// `/account/path`, then each query parameter on a line: lower-case names in order, values joined by commas. The path is
/// as sent, so a path-style URL has the account twice.
fn canonicalized_resource(head: &Head, account: &str, lite: bool) -> String {
    let mut out = format!("/{account}{}", head.raw_path);
    if lite {
        if let Some(comp) = head.query.get("comp") {
            out.push_str(&format!("?comp={comp}"));
        }
        return out;
    }
    let mut named: std::collections::BTreeMap<String, Vec<&str>> = Default::default();
    for (name, value) in &head.query.0 {
        named.entry(name.to_lowercase()).or_default().push(value);
    }
    for (name, mut values) in named {
        values.sort_unstable();
        out.push_str(&format!("\n{name}:{}", values.join(",")));
    }
    out
}

/// The date that a Shared Key request was signed at. Errors: none given, not a date, or too far from `now`.
pub fn check_date(head: &Head, now: Timestamp) -> Result<()> {
    let text = head.header("x-ms-date").or_else(|| head.header("date")).ok_or_else(|| failed("Neither x-ms-date nor Date is given."))?;
    let at = Timestamp::parse_http_date(text).ok_or_else(|| failed("The date is not in the form 'Tue, 24 Nov 2026 08:13:52 GMT'."))?;
    if (at.seconds() - now.seconds()).abs() > SKEW_S {
        return Err(failed(format_args!("Request date header too old: '{text}'.")));
    }
    Ok(())
}

/// What kind of thing a call is about: the letters of `srt`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Level {
    Service,
    Container,
    Object,
}

impl Level {
    fn letter(self) -> char {
        match self {
            Level::Service => 's',
            Level::Container => 'c',
            Level::Object => 'o',
        }
    }
}

/// Where a signature is valid.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reach {
    /// An account SAS: its `srt` letters.
    Account { types: String },
    /// A service SAS on a container (`sr=c`).
    Container,
    /// A service SAS on a blob (`sr=b`).
    Blob,
}

/// A shared access signature, parsed; not yet checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sas {
    pub version: String,
    pub permissions: String,
    pub reach: Reach,
    pub start: Option<Timestamp>,
    pub expiry: Timestamp,
    /// First and last address.
    pub addresses: Option<(IpAddr, IpAddr)>,
    pub mac: Vec<u8>,
    fields: Vec<(&'static str, String)>,
}

const FIELDS: [&str; 17] =
    ["sv", "sp", "ss", "srt", "sr", "st", "se", "sip", "spr", "si", "ses", "snapshot", "rscc", "rscd", "rsce", "rscl", "rsct"];

impl Sas {
    /// `None`: the query carries no signature. Errors: 403 `AuthenticationFailed` for what is malformed, 501 for a user
    /// delegation SAS and for a stored access policy.
    pub fn parse(query: &Query) -> Option<Result<Sas>> {
        let signature = query.get("sig")?;
        Some(Sas::parse_signed(query, signature))
    }

    fn parse_signed(query: &Query, signature: &str) -> Result<Sas> {
        for name in FIELDS.iter().chain(&["sig"]) {
            if query.0.iter().filter(|(k, _)| k.eq_ignore_ascii_case(name)).count() > 1 {
                return Err(failed(format_args!("'{name}' is given twice.")));
            }
        }
        if query.has("skoid") {
            return Err(Error::not_implemented("A user delegation SAS"));
        }
        if query.get("si").is_some_and(|s| !s.is_empty()) {
            return Err(Error::not_implemented("A SAS with a stored access policy ('si')"));
        }
        let fields: Vec<(&'static str, String)> = FIELDS.iter().filter_map(|name| Some((*name, query.get(name)?.to_owned()))).collect();
        let field = |name: &str| fields.iter().find(|(k, _)| *k == name).map(|(_, v)| v.as_str());
        let needed = |name: &'static str| {
            field(name).filter(|v| !v.is_empty()).ok_or_else(|| failed(format_args!("'{name}' is missing in the signature.")))
        };
        let version = needed("sv")?.to_owned();
        if !crate::wire::is_version(&version) {
            return Err(failed("'sv' is not a version."));
        }
        if version.as_str() < OLDEST_SV {
            return Err(Error::not_implemented(format_args!("A SAS of version {version}, older than {OLDEST_SV},")));
        }
        let permissions = needed("sp")?.to_owned();
        if !permissions.bytes().all(|b| b.is_ascii_lowercase()) {
            return Err(failed("'sp' is not a list of permissions."));
        }
        let reach = match (field("srt"), field("sr")) {
            (Some(types), None) => {
                if !needed("ss")?.contains('b') {
                    return Err(Error::new(Kind::Forbidden, "AuthorizationServiceMismatch", "The signature is not for the blob service."));
                }
                Reach::Account { types: types.to_owned() }
            }
            (None, Some("c")) => Reach::Container,
            (None, Some("b")) => Reach::Blob,
            (None, Some(other @ ("bs" | "bv" | "d"))) => return Err(Error::not_implemented(format_args!("A SAS on 'sr={other}'"))),
            _ => return Err(failed("The signature is neither an account SAS nor a service SAS.")),
        };
        let expiry = time(needed("se")?).ok_or_else(|| failed("'se' is not a time."))?;
        let start = field("st").filter(|s| !s.is_empty()).map(|s| time(s).ok_or_else(|| failed("'st' is not a time."))).transpose()?;
        let addresses = field("sip")
            .filter(|s| !s.is_empty())
            .map(|s| address_range(s).ok_or_else(|| failed("'sip' is not an address range.")))
            .transpose()?;
        if field("spr").is_some_and(|p| !matches!(p, "" | "https" | "https,http")) {
            return Err(failed("'spr' is neither 'https' nor 'https,http'."));
        }
        // a '+' that a client forgot to encode reads as a blank
        let mac = BASE64_STANDARD
            .decode(signature.replace(' ', "+"))
            .ok()
            .filter(|m| m.len() == 32)
            .ok_or_else(|| failed("'sig' is not a signature."))?;
        Ok(Sas { version, permissions, reach, start, expiry, addresses, mac, fields })
    }

    fn field(&self, name: &str) -> &str {
        self.fields.iter().find(|(k, _)| *k == name).map_or("", |(_, v)| v)
    }

    /// What the key's holder signed. `container` and `blob`: of the request, decoded.
    pub fn message(&self, account: &str, container: &str, blob: &str) -> String {
        let f = |name| self.field(name);
        let with_scope = self.version.as_str() >= SCOPE_SV;
        if let Reach::Account { .. } = self.reach {
            let mut lines = vec![account, f("sp"), f("ss"), f("srt"), f("st"), f("se"), f("sip"), f("spr"), f("sv")];
            if with_scope {
                lines.push(f("ses"));
            }
            return lines.join("\n") + "\n";
        }
        let resource = match self.reach {
            Reach::Blob => format!("/blob/{account}/{container}/{blob}"),
            _ => format!("/blob/{account}/{container}"),
        };
        let mut lines = vec![f("sp"), f("st"), f("se"), &resource, f("si"), f("sip"), f("spr"), f("sv"), f("sr"), f("snapshot")];
        if with_scope {
            lines.push(f("ses"));
        }
        lines.extend([f("rscc"), f("rscd"), f("rsce"), f("rscl"), f("rsct")]);
        lines.join("\n")
    }

    /// Time and address. Errors: `AuthenticationFailed`, `AuthorizationSourceIPMismatch`.
    pub fn check(&self, now: Timestamp, peer: Option<IpAddr>) -> Result<()> {
        if self.expiry <= now || self.start.is_some_and(|s| s > now) {
            // a clock that is a little ahead makes a signature that begins later: say so
            let start = self.start.map_or(String::new(), |s| format!("start [{}], ", s.http_date()));
            return Err(failed(format_args!(
                "Signature not valid in the specified time frame: {start}expiry [{}], current [{}].",
                self.expiry.http_date(),
                now.http_date()
            )));
        }
        if let Some((first, last)) = self.addresses
            && !peer.is_some_and(|p| (first..=last).contains(&canonical(p)))
        {
            return Err(Error::new(
                Kind::Forbidden,
                "AuthorizationSourceIPMismatch",
                "This request is not authorized to perform this operation using this source IP.",
            ));
        }
        Ok(())
    }

    /// Does the signature allow a call that needs one of `letters` on something of this level?
    pub fn allows(&self, level: Level, letters: &str) -> bool {
        let reaches = match &self.reach {
            Reach::Account { types } => types.contains(level.letter()),
            // what is inside the container, and the list of it; not the container itself
            Reach::Container => level == Level::Object || (level == Level::Container && letters == "l"),
            Reach::Blob => level == Level::Object,
        };
        reaches && letters.chars().any(|l| self.permissions.contains(l))
    }

    /// The response headers that the signature overrides on a read.
    pub fn overrides(query: &Query) -> impl Iterator<Item = (&'static str, &str)> {
        let pairs = [
            ("cache-control", "rscc"),
            ("content-disposition", "rscd"),
            ("content-encoding", "rsce"),
            ("content-language", "rscl"),
            ("content-type", "rsct"),
        ];
        pairs.into_iter().filter_map(|(header, field)| Some((header, query.get(field)?)))
    }
}

fn canonical(ip: IpAddr) -> IpAddr {
    ip.to_canonical()
}

/// `168.1.5.65` or `168.1.5.60-168.1.5.70`.
fn address_range(text: &str) -> Option<(IpAddr, IpAddr)> {
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    let (first, last): (IpAddr, IpAddr) = (first.parse().ok()?, last.parse().ok()?);
    (first.is_ipv4() == last.is_ipv4() && first <= last).then_some((first, last))
}

/// The ISO 8601 forms that Azure takes: a day, minutes, seconds, fractions; UTC.
fn time(text: &str) -> Option<Timestamp> {
    let full = match text.len() {
        10 => format!("{text}T00:00:00Z"),
        17 => format!("{}:00Z", text.strip_suffix('Z')?),
        20..=28 => text.to_owned(),
        _ => return None,
    };
    full.ends_with('Z').then(|| Timestamp::parse_rfc3339(&full))?
}

/// What an account SAS may be asked to contain (`listAccountSas`): its query, without `sig`, and the string to sign.
pub fn account_sas(account: &str, fields: &[(&'static str, String)]) -> (Vec<(&'static str, String)>, String) {
    let sas = Sas {
        version: fields.iter().find(|(k, _)| *k == "sv").map(|(_, v)| v.clone()).unwrap_or_default(),
        permissions: String::new(),
        reach: Reach::Account { types: String::new() },
        start: None,
        expiry: Timestamp(0),
        addresses: None,
        mac: Vec::new(),
        fields: fields.to_vec(),
    };
    (sas.fields.clone(), sas.message(account, "", ""))
}

pub fn fuzz_shared_key(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    if let Some(Ok(parsed)) = SharedKey::parse(text) {
        let scheme = if parsed.lite { "SharedKeyLite" } else { "SharedKey" };
        let again = SharedKey::parse(&format!("{scheme} {}:{}", parsed.account, BASE64_STANDARD.encode(&parsed.mac)));
        assert_eq!(again.and_then(Result::ok), Some(parsed));
    }
}

pub fn fuzz_sas(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let Ok(query) = Query::parse(text) else { return };
    if let Some(Ok(sas)) = Sas::parse(&query) {
        assert!(sas.message("account", "container", "blob").ends_with(if matches!(sas.reach, Reach::Account { .. }) {
            "\n"
        } else {
            sas.field("rsct")
        }));
        let _ = sas.check(Timestamp(0), None);
        assert!(!sas.allows(Level::Object, ""));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn query(text: &str) -> Query {
        Query::parse(text).unwrap()
    }
    fn sas(text: &str) -> Result<Sas> {
        Sas::parse(&query(text)).unwrap()
    }
    const SIG: &str = "sig=AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA%3D";

    #[test]
    fn a_service_sas_is_signed_over_its_fields_in_order() {
        let text =
            format!("sv=2018-11-09&sr=b&sp=rw&st=2026-01-01T00:00Z&se=2026-01-02&sip=1.2.3.4-1.2.3.9&spr=https&rsct=text/plain&{SIG}");
        let parsed = sas(&text).unwrap();
        assert_eq!(
            parsed.message("acct", "c", "a b/é"),
            "rw\n2026-01-01T00:00Z\n2026-01-02\n/blob/acct/c/a b/é\n\n1.2.3.4-1.2.3.9\nhttps\n2018-11-09\nb\n\n\n\n\n\ntext/plain"
        );
        let later = sas(&text.replace("2018-11-09", "2026-10-06").replace("sr=b", "sr=c")).unwrap();
        assert_eq!(
            later.message("acct", "c", "x"),
            "rw\n2026-01-01T00:00Z\n2026-01-02\n/blob/acct/c\n\n1.2.3.4-1.2.3.9\nhttps\n2026-10-06\nc\n\n\n\n\n\n\ntext/plain"
        );
    }

    #[test]
    fn an_account_sas_is_signed_over_its_fields_in_order() {
        let text = format!("sv=2019-12-12&ss=bqtf&srt=sco&sp=rwdlacup&se=2026-12-31T23:59:59Z&spr=https&{SIG}");
        assert_eq!(sas(&text).unwrap().message("acct", "", ""), "acct\nrwdlacup\nbqtf\nsco\n\n2026-12-31T23:59:59Z\n\nhttps\n2019-12-12\n");
        let later = text.replace("2019-12-12", "2021-06-08");
        assert_eq!(
            sas(&later).unwrap().message("acct", "", ""),
            "acct\nrwdlacup\nbqtf\nsco\n\n2026-12-31T23:59:59Z\n\nhttps\n2021-06-08\n\n"
        );
    }

    #[test]
    fn a_signature_reaches_only_what_it_names() {
        let account = sas(&format!("sv=2021-06-08&ss=b&srt=o&sp=rl&se=2027-01-01&{SIG}")).unwrap();
        assert!(account.allows(Level::Object, "r"));
        assert!(!account.allows(Level::Object, "w") && !account.allows(Level::Container, "l") && !account.allows(Level::Service, "l"));
        let container = sas(&format!("sv=2021-06-08&sr=c&sp=rldw&se=2027-01-01&{SIG}")).unwrap();
        assert!(container.allows(Level::Container, "l") && container.allows(Level::Object, "wc"));
        assert!(!container.allows(Level::Container, "d") && !container.allows(Level::Service, "l"));
        let blob = sas(&format!("sv=2021-06-08&sr=b&sp=rl&se=2027-01-01&{SIG}")).unwrap();
        assert!(blob.allows(Level::Object, "r") && !blob.allows(Level::Container, "l"));
    }

    #[test]
    fn what_is_no_signature_is_refused() {
        let good = format!("sv=2021-06-08&sr=b&sp=r&se=2027-01-01&{SIG}");
        assert!(sas(&good).is_ok());
        for (from, to, code) in [
            ("sv=2021-06-08", "", "AuthenticationFailed"),
            ("sv=2021-06-08", "sv=new", "AuthenticationFailed"),
            ("sv=2021-06-08", "sv=2015-04-05", "NotImplemented"),
            ("sr=b", "sr=b&srt=o", "AuthenticationFailed"),
            ("sr=b", "sr=bs", "NotImplemented"),
            ("sr=b", "sr=b&skoid=1", "NotImplemented"),
            ("sr=b", "sr=b&si=p", "NotImplemented"),
            ("sp=r", "sp=", "AuthenticationFailed"),
            ("sp=r", "sp=r&sp=w", "AuthenticationFailed"),
            ("sp=r", "sp=r&spr=http", "AuthenticationFailed"),
            ("sp=r", "sp=r&sip=1.2.3", "AuthenticationFailed"),
            ("se=2027-01-01", "se=2027-13-01", "AuthenticationFailed"),
            ("se=2027-01-01", "se=2027-01-01T00:00:00%2B01:00", "AuthenticationFailed"),
            ("sr=b", "srt=o&ss=q", "AuthorizationServiceMismatch"),
            ("sig=AAAA", "sig=A", "AuthenticationFailed"),
        ] {
            assert_eq!(sas(&good.replace(from, to)).unwrap_err().code, code, "{from} -> {to}");
        }
        assert!(Sas::parse(&query("sv=2021-06-08&sp=r")).is_none());
    }

    #[test]
    fn time_and_address_are_checked() {
        let parsed = sas(&format!("sv=2021-06-08&sr=b&sp=r&st=2026-11-01&se=2026-11-30T12:30Z&sip=10.0.0.1-10.0.0.9&{SIG}")).unwrap();
        let at = |t: &str| Timestamp::parse_rfc3339(t).unwrap();
        let inside: Option<IpAddr> = Some("10.0.0.5".parse().unwrap());
        let mapped: Option<IpAddr> = Some("::ffff:10.0.0.5".parse().unwrap());
        assert!(parsed.check(at("2026-11-30T12:29:59Z"), inside).is_ok());
        assert!(parsed.check(at("2026-11-30T12:29:59Z"), mapped).is_ok());
        assert_eq!(parsed.check(at("2026-11-30T12:30:00Z"), inside).unwrap_err().code, "AuthenticationFailed");
        let early = parsed.check(at("2026-10-31T23:59:59Z"), inside).unwrap_err();
        assert!(
            early.code == "AuthenticationFailed" && early.message.contains("start [Sun, 01 Nov 2026 00:00:00 GMT]"),
            "{}",
            early.message
        );
        assert_eq!(parsed.check(at("2026-11-02T00:00:00Z"), None).unwrap_err().code, "AuthorizationSourceIPMismatch");
        assert_eq!(
            parsed.check(at("2026-11-02T00:00:00Z"), Some("10.0.0.10".parse().unwrap())).unwrap_err().code,
            "AuthorizationSourceIPMismatch"
        );
    }

    #[test]
    fn shared_key_reads_its_header_only() {
        let good = "SharedKey acct:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=";
        assert_eq!(SharedKey::parse(good).unwrap().unwrap().account, "acct");
        assert!(SharedKey::parse(&good.replace("SharedKey", "sharedkeylite")).unwrap().unwrap().lite);
        assert!(SharedKey::parse("Bearer x").is_none());
        for bad in ["SharedKey ", "SharedKey acct", "SharedKey acct:AAAA", "SharedKey :AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="] {
            assert!(SharedKey::parse(bad).unwrap().is_err(), "{bad}");
        }
    }

    #[test]
    fn headers_collate_as_the_service_does() {
        let mut names = vec!["x-ms-meta-ab", "x-ms-meta-a1", "x-ms-meta-a_b"];
        names.sort_by_key(|name| collated(name));
        assert_eq!(names, ["x-ms-meta-a_b", "x-ms-meta-a1", "x-ms-meta-ab"]);
    }
}
