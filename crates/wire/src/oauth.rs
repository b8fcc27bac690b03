//! OAuth 2.0 forms and scopes as Microsoft's clients send them (RFC 6749; Microsoft identity platform, "scopes").

use base::{Error, Result};

/// A request body of a sign-in is never longer.
pub const FORM_BYTES_MAX: usize = 64 * 1024;
const FIELDS_MAX: usize = 100;

/// What the message of a refused token says when its sessions were revoked after it was issued (Microsoft, "Continuous
/// access evaluation").
pub const REVOKED: &str = "TokenIssuedBeforeRevocationTimestamp";

/// The parameters of a `WWW-Authenticate` challenge: why the token was refused and, where its sessions were revoked, the
/// claims that a client must ask for to get a better one than it has in store (Microsoft, "Claims challenges"): one that
/// was issued now or later. `now_s`: seconds since 1970.
pub fn challenge(message: &str, now_s: i64) -> String {
    if !message.contains(REVOKED) {
        return "error=\"invalid_token\"".into();
    }
    let claims = serde_json::json!({ "access_token": { "nbf": { "essential": true, "value": now_s.to_string() } } }).to_string();
    let claims = base64::Engine::encode(&base64::prelude::BASE64_STANDARD, claims);
    format!("error=\"insufficient_claims\", claims=\"{claims}\"")
}

/// An `application/x-www-form-urlencoded` body whose names appear once (RFC 6749 section 3.2).
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Form(Vec<(String, String)>);

impl std::fmt::Debug for Form {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // values are passwords and codes
        f.debug_list().entries(self.0.iter().map(|(name, _)| name)).finish()
    }
}

impl Form {
    /// Error `invalid_request`: longer than 64 KiB, more than 100 fields, not percent-encoded UTF-8, or a name twice.
    pub fn parse(bytes: &[u8]) -> Result<Form> {
        let wrong = |why: &str| Error::invalid("invalid_request", format!("AADSTS900144: The request body is not a form: {why}."));
        if bytes.len() > FORM_BYTES_MAX {
            return Err(wrong("it is longer than 65536 bytes"));
        }
        let text = std::str::from_utf8(bytes).map_err(|_| wrong("it is not UTF-8"))?;
        let mut fields: Vec<(String, String)> = Vec::new();
        for pair in text.split('&').filter(|p| !p.is_empty()) {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            let decode = |part: &str| crate::percent_decode(&part.replace('+', " ")).ok_or_else(|| wrong("bad percent-encoding"));
            let (name, value) = (decode(name)?, decode(value)?);
            if fields.len() == FIELDS_MAX {
                return Err(wrong("it has more than 100 fields"));
            }
            if fields.iter().any(|(known, _)| *known == name) {
                return Err(wrong("a field is there twice"));
            }
            fields.push((name, value));
        }
        Ok(Form(fields))
    }

    /// From pairs that are already decoded (a query string), under the same rule: a name appears once.
    pub fn from_pairs(pairs: &[(String, String)]) -> Result<Form> {
        let mut fields: Vec<(String, String)> = Vec::new();
        for (name, value) in pairs {
            if fields.iter().any(|(known, _)| known == name) {
                return Err(Error::invalid("invalid_request", "AADSTS90014: A parameter is there twice.").at(name.clone()));
            }
            fields.push((name.clone(), value.clone()));
        }
        Ok(Form(fields))
    }

    /// `None` for an absent or empty field: RFC 6749 section 3.1 treats both alike.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str()).filter(|value| !value.is_empty())
    }

    /// Error `invalid_request`, AADSTS900144: the field is missing.
    pub fn need(&self, name: &str) -> Result<&str> {
        self.get(name).ok_or_else(|| {
            Error::invalid("invalid_request", format!("AADSTS900144: The request body must contain the following parameter: '{name}'."))
        })
    }
}

/// A `scope` parameter, taken apart.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Scope {
    /// The audience asked for, exactly as the client spelt it, with or without a final slash.
    pub resource: Option<String>,
    pub openid: bool,
    pub offline_access: bool,
}

/// Reads a `scope`: OpenID's words, and at most one resource. The resource of `R/.default` is `R` and nothing else is
/// stripped, so that `https://host//.default` means `https://host/`. A bare word (`User.Read`) is a permission of Graph,
/// which `graph` names. Errors `invalid_scope`: two resources (AADSTS28000), a control character, over 4,096 bytes.
pub fn parse_scope(text: &str, graph: &str) -> Result<Scope> {
    let wrong = |code: &str, why: &str| Error::invalid("invalid_scope", format!("{code}: {why}"));
    if text.len() > 4096 || text.chars().any(char::is_control) {
        return Err(wrong("AADSTS70011", "The provided value for the input parameter 'scope' is not valid."));
    }
    let mut scope = Scope::default();
    for word in text.split(' ').filter(|w| !w.is_empty()) {
        let resource = match word {
            "openid" => {
                scope.openid = true;
                continue;
            }
            "offline_access" => {
                scope.offline_access = true;
                continue;
            }
            "profile" | "email" => continue,
            _ => resource_of(word).unwrap_or(graph),
        };
        match &scope.resource {
            Some(known) if known != resource => {
                return Err(wrong("AADSTS28000", "The 'scope' parameter names more than one resource. Ask for one resource at a time."));
            }
            _ => scope.resource = Some(resource.to_owned()),
        }
    }
    Ok(scope)
}

/// The resource of one scope word; `None` when it names none.
fn resource_of(word: &str) -> Option<&str> {
    if let Some(resource) = word.strip_suffix("/.default").or_else(|| word.strip_suffix("/user_impersonation")) {
        return Some(resource);
    }
    word.contains("://").then_some(word)
}

/// For the fuzzer: neither reader may panic, and what is read prints and reads again.
pub fn fuzz_form(bytes: &[u8]) {
    let Ok(form) = Form::parse(bytes) else { return };
    let printed: Vec<String> =
        form.0.iter().map(|(n, v)| format!("{}={}", crate::percent_encode(n, b""), crate::percent_encode(v, b""))).collect();
    // a lone empty name prints as "=", which reads back as itself
    assert_eq!(Form::parse(printed.join("&").as_bytes()).ok().map(|f| f.0.len()), Some(form.0.len()));
    if let Some(scope) = form.get("scope") {
        let _ = parse_scope(scope, "https://graph");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_suffix_is_stripped() {
        let cases = [
            ("https://management.bleu.localhost//.default", Some("https://management.bleu.localhost/")),
            ("https://management.bleu.localhost/.default", Some("https://management.bleu.localhost")),
            ("https://storage.azure.com/.default offline_access openid profile", Some("https://storage.azure.com")),
            ("https://storage.azure.com/user_impersonation", Some("https://storage.azure.com")),
            ("https://storage.azure.com/", Some("https://storage.azure.com/")),
            ("https://host//.default https://host//.default", Some("https://host/")),
            ("User.Read openid", Some("https://graph")),
            ("openid profile", None),
            ("", None),
        ];
        for (text, resource) in cases {
            assert_eq!(parse_scope(text, "https://graph").unwrap().resource.as_deref(), resource, "{text}");
        }
        let all = parse_scope("openid offline_access", "https://graph").unwrap();
        assert!(all.openid && all.offline_access);
    }

    #[test]
    fn two_resources_and_control_characters_are_refused() {
        for text in ["https://a/.default https://b/.default", "https://a/.default User.Read", "https://a/\u{1}"] {
            assert_eq!(parse_scope(text, "https://graph").unwrap_err().code, "invalid_scope", "{text}");
        }
    }

    #[test]
    fn forms_are_strict() {
        let form = Form::parse(b"grant_type=password&username=a%40b&password=x+y%2B&empty=").unwrap();
        assert_eq!(form.get("username"), Some("a@b"));
        assert_eq!(form.get("password"), Some("x y+"));
        assert_eq!(form.get("empty"), None);
        assert!(form.need("client_id").unwrap_err().message.starts_with("AADSTS900144: The request body must contain"));
        for bad in [&b"a=1&a=2"[..], b"a=%zz", b"a=%ff", b"\xff", &[b'a'; FORM_BYTES_MAX + 1], b"a&".repeat(3).as_slice()] {
            assert_eq!(Form::parse(bad).unwrap_err().code, "invalid_request");
        }
        let many: Vec<String> = (0..101).map(|i| format!("f{i}=1")).collect();
        assert!(Form::parse(many.join("&").as_bytes()).is_err());
    }

    #[test]
    fn values_are_not_printed() {
        assert!(!format!("{:?}", Form::parse(b"password=battery").unwrap()).contains("battery"));
    }

    proptest::proptest! {
        #[test]
        fn forms_never_panic(bytes in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..200), text in "[a-c&=%+0-9]{0,60}") {
            fuzz_form(&bytes);
            fuzz_form(text.as_bytes());
        }
        #[test]
        fn what_is_printed_reads_back(fields in proptest::collection::btree_map("[a-z_]{1,8}", "[^\\x00]{1,20}", 0..8)) {
            let printed: Vec<String> = fields.iter().map(|(n, v)| format!("{n}={}", crate::percent_encode(v, b""))).collect();
            let form = Form::parse(printed.join("&").as_bytes()).unwrap();
            for (name, value) in &fields {
                proptest::prop_assert_eq!(form.get(name), Some(value.as_str()));
            }
        }
    }
}
