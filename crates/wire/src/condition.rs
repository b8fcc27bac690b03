//! Conditional requests (RFC 9110 section 13): which of `If-Match`, `If-None-Match`, `If-Modified-Since` and
//! `If-Unmodified-Since` a request carries, and what they say about the state found.

use base::{Error, Result, Timestamp};
use http::HeaderMap;

/// At most so many entity tags in one header.
const TAGS_MAX: usize = 64;

/// The tags of `If-Match` or `If-None-Match`, without their quotes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Tags {
    /// `*`
    Any,
    These(Vec<String>),
}

impl Tags {
    /// Takes what clients send: quoted, weak (`W/"…"`) or bare tags, separated by commas. `None` when there is no tag.
    pub fn parse(text: &str) -> Option<Tags> {
        if text.trim() == "*" {
            return Some(Tags::Any);
        }
        let tags: Vec<String> = text.split(',').map(|t| bare(t.trim()).to_owned()).collect();
        (tags.len() <= TAGS_MAX && tags.iter().all(|t| !t.is_empty() && !t.contains('"'))).then_some(Tags::These(tags))
    }
    fn holds(&self, etag: &str) -> bool {
        match self {
            Tags::Any => true,
            Tags::These(tags) => tags.iter().any(|t| t == bare(etag)),
        }
    }
}

fn bare(tag: &str) -> &str {
    let tag = tag.strip_prefix("W/").unwrap_or(tag);
    tag.strip_prefix('"').and_then(|t| t.strip_suffix('"')).unwrap_or(tag)
}

/// The conditions of a request.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Conditions {
    pub if_match: Option<Tags>,
    pub if_none_match: Option<Tags>,
    pub modified_since: Option<Timestamp>,
    pub unmodified_since: Option<Timestamp>,
}

/// What is there now.
#[derive(Clone, Copy, Debug)]
pub struct Current<'a> {
    /// With or without quotes.
    pub etag: &'a str,
    pub modified: Timestamp,
}

/// What the conditions say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    Proceed,
    /// A reader has this version already: 304.
    NotModified,
    /// 412.
    Failed,
}

impl Conditions {
    /// Error `InvalidHeaderValue` with the header as target: no tag, or not an HTTP date.
    pub fn of(headers: &HeaderMap) -> Result<Conditions> {
        let text = |name: &'static str| headers.get(name).map(|v| v.to_str().map_err(|_| bad(name))).transpose();
        let tags = |name| text(name)?.map(|t| Tags::parse(t).ok_or_else(|| bad(name))).transpose();
        let date = |name| text(name)?.map(|t| Timestamp::parse_http_date(t).ok_or_else(|| bad(name))).transpose();
        Ok(Conditions {
            if_match: tags("if-match")?,
            if_none_match: tags("if-none-match")?,
            modified_since: date("if-modified-since")?,
            unmodified_since: date("if-unmodified-since")?,
        })
    }

    pub fn is_empty(&self) -> bool {
        *self == Conditions::default()
    }

    /// In the order of RFC 9110 section 13.2.2. Dates count whole seconds, which is all that their header carries.
    pub fn judge(&self, current: Option<Current<'_>>, reading: bool) -> Verdict {
        let unchanged = if reading { Verdict::NotModified } else { Verdict::Failed };
        let Some(current) = current else {
            return if self.if_match.is_some() { Verdict::Failed } else { Verdict::Proceed };
        };
        let modified = current.modified.seconds();
        match (&self.if_match, self.unmodified_since) {
            (Some(tags), _) if !tags.holds(current.etag) => return Verdict::Failed,
            (None, Some(since)) if modified > since.seconds() => return Verdict::Failed,
            _ => {}
        }
        match (&self.if_none_match, self.modified_since) {
            (Some(tags), _) if tags.holds(current.etag) => unchanged,
            (None, Some(since)) if modified <= since.seconds() => unchanged,
            _ => Verdict::Proceed,
        }
    }
}

fn bad(name: &'static str) -> Error {
    Error::invalid("InvalidHeaderValue", format!("The value of the header '{name}' is not valid.")).at(name)
}

pub fn fuzz_conditions(bytes: &[u8]) {
    let mut headers = HeaderMap::new();
    for (part, name) in bytes.split(|b| *b == b'\n').zip(["if-match", "if-none-match", "if-modified-since", "if-unmodified-since"]) {
        let Ok(value) = http::HeaderValue::from_bytes(part) else { return };
        headers.insert(name, value);
    }
    if let Ok(conditions) = Conditions::of(&headers) {
        let current = Current { etag: "\"0x8D\"", modified: Timestamp(0) };
        assert_ne!(conditions.judge(Some(current), false), Verdict::NotModified, "a writer is never told 'not modified'");
        conditions.judge(None, true);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(pairs: &[(&'static str, &str)]) -> Conditions {
        let mut headers = HeaderMap::new();
        pairs.iter().for_each(|(k, v)| drop(headers.insert(*k, v.parse().unwrap())));
        Conditions::of(&headers).unwrap()
    }

    #[test]
    fn tags_and_dates_decide() {
        let at = Timestamp(1_795_508_032_123);
        let here = Some(Current { etag: "\"0x8D1\"", modified: at });
        let judge = |pairs: &[(&'static str, &str)], reading| with(pairs).judge(here, reading);
        assert_eq!(judge(&[], true), Verdict::Proceed);
        assert_eq!(judge(&[("if-match", "\"0x8D1\"")], false), Verdict::Proceed);
        assert_eq!(judge(&[("if-match", "0x8D1")], false), Verdict::Proceed);
        assert_eq!(judge(&[("if-match", "\"a\", W/\"0x8D1\"")], false), Verdict::Proceed);
        assert_eq!(judge(&[("if-match", "\"0x8D2\"")], true), Verdict::Failed);
        assert_eq!(judge(&[("if-none-match", "*")], false), Verdict::Failed);
        assert_eq!(judge(&[("if-none-match", "\"0x8D1\"")], true), Verdict::NotModified);
        assert_eq!(judge(&[("if-modified-since", &at.http_date())], true), Verdict::NotModified);
        assert_eq!(judge(&[("if-modified-since", &at.http_date())], false), Verdict::Failed);
        assert_eq!(judge(&[("if-modified-since", &at.plus_seconds(-1).http_date())], true), Verdict::Proceed);
        assert_eq!(judge(&[("if-unmodified-since", &at.http_date())], true), Verdict::Proceed);
        assert_eq!(judge(&[("if-unmodified-since", &at.plus_seconds(-1).http_date())], true), Verdict::Failed);
    }

    #[test]
    fn nothing_there_fails_only_a_match() {
        assert_eq!(with(&[("if-match", "*")]).judge(None, false), Verdict::Failed);
        assert_eq!(with(&[("if-none-match", "*")]).judge(None, false), Verdict::Proceed);
    }

    #[test]
    fn a_value_that_is_no_condition_is_refused() {
        for (name, value) in
            [("if-match", ""), ("if-match", "a,,b"), ("if-modified-since", "yesterday"), ("if-unmodified-since", "2026-11-24T00:00:00Z")]
        {
            let mut headers = HeaderMap::new();
            headers.insert(name, value.parse().unwrap());
            assert_eq!(Conditions::of(&headers).unwrap_err().code, "InvalidHeaderValue", "{name}: {value}");
        }
    }
}
