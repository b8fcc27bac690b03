//! Pages: `$top`, `$skiptoken` and the `nextLink` that carries it.

use base::{Error, Result};
use service::Head;

/// Resource Manager's page size.
pub(crate) const PAGE_MAX: usize = 1_000;

/// `$top`, at most a page. Error `InvalidTopParameter`.
pub(crate) fn top(head: &Head) -> Result<usize> {
    match head.query.get("$top") {
        None => Ok(PAGE_MAX),
        Some(text) => match text.parse::<usize>() {
            Ok(n) if n > 0 => Ok(n.min(PAGE_MAX)),
            _ => Err(Error::invalid("InvalidTopParameter", format!("The $top value '{text}' is not a positive number.")).at("$top")),
        },
    }
}

/// Where the page begins: a row name below `prefix`. The token is the caller's to keep, so it is checked like any input.
pub(crate) fn start(head: &Head, prefix: &str) -> Result<Option<Vec<u8>>> {
    let Some(token) = head.query.get("$skiptoken").or_else(|| head.query.get("%24skiptoken")) else { return Ok(None) };
    let wrong = || Error::invalid("InvalidSkipToken", "The $skiptoken is not one that this list gave out.").at("$skiptoken");
    let name = open(token).ok_or_else(wrong)?;
    if name.starts_with(prefix.as_bytes()) { Ok(Some(name)) } else { Err(wrong()) }
}

fn open(token: &str) -> Option<Vec<u8>> {
    if token.len() > 4096 || !token.len().is_multiple_of(2) || !token.bytes().all(|b| b.is_ascii_hexdigit()) {
        return None;
    }
    (0..token.len()).step_by(2).map(|at| u8::from_str_radix(&token[at..at + 2], 16).ok()).collect()
}

/// The same request, beginning at `next`; absolute, on the host the client used.
pub(crate) fn next_link(head: &Head, next: &[u8]) -> String {
    let token: String = next.iter().map(|b| format!("{b:02x}")).collect();
    let kept = head.query.0.iter().filter(|(name, _)| !name.eq_ignore_ascii_case("$skiptoken"));
    let mut query: Vec<String> = kept.map(|(n, v)| format!("{}={}", wire::percent_encode(n, b"$"), wire::percent_encode(v, b""))).collect();
    query.push(format!("$skiptoken={token}"));
    format!("{}{}?{}", base_url(head), head.raw_path, query.join("&"))
}

/// `https://localhost:8443`, as the client knows us: the host is one that a door claims.
pub(crate) fn base_url(head: &Head) -> String {
    let host = if head.host.contains(':') { format!("[{}]", head.host) } else { head.host.clone() };
    format!("https://{host}{}", head.urls.port_suffix())
}

pub(crate) fn fuzz(bytes: &[u8]) {
    if let Ok(text) = std::str::from_utf8(bytes)
        && let Some(name) = open(text)
    {
        let again: String = name.iter().map(|b| format!("{b:02x}")).collect();
        assert!(again.eq_ignore_ascii_case(text));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn strange_tokens_are_refused() {
        for bad in ["a", "zz", "é0", &"00".repeat(3000)] {
            assert!(open(bad).is_none());
        }
        assert_eq!(open("2f61"), Some(b"/a".to_vec()));
    }

    proptest! {
        #[test]
        fn tokens_do_not_panic(bytes in prop::collection::vec(any::<u8>(), 0..40)) { fuzz(&bytes); }
    }
}
