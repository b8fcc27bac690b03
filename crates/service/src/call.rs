//! A request, parsed once at the edge.

use crate::Body;
use base::{Error, Result, Timestamp};
use http::{HeaderMap, Method};
use std::sync::Arc;
use trust::{Caller, Origin};

/// The head of a request: everything but its body and its caller.
#[derive(Clone, Debug)]
pub struct Head {
    pub method: Method,
    /// The host name asked for, lower case, without port.
    pub host: String,
    /// The path as sent, still percent-encoded, beginning with '/': signatures are over this.
    pub raw_path: String,
    /// The query as sent, without '?'.
    pub raw_query: String,
    pub query: Query,
    pub headers: HeaderMap,
    /// Which door it came through, as named by the operations table that claims the host: `blob`, `management`…
    pub door: &'static str,
    /// Values of the `{…}` of the matched host and path, percent-decoded.
    pub params: Params,
    pub origin: Origin,
    pub at: Timestamp,
    pub urls: Arc<Urls>,
}

impl Head {
    /// A header as text; `None` when absent or not visible ASCII.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }
}

/// A request, its caller known.
#[derive(Debug)]
pub struct Call {
    pub head: Head,
    pub caller: Caller,
    pub body: Body,
}

/// Query parameters in the order sent, decoded (`+` is a space). Names compare without case.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Query(pub Vec<(String, String)>);

impl Query {
    /// Error `InvalidQueryParameterValue`: bad percent-encoding or not UTF-8, or more than 100 parameters.
    pub fn parse(raw: &str) -> Result<Query> {
        let bad = || {
            Error::invalid("InvalidQueryParameterValue", "The query string is not valid percent-encoded UTF-8 of at most 100 parameters.")
        };
        let decode = |s: &str| wire::percent_decode(&s.replace('+', " ")).ok_or_else(bad);
        let pairs: Vec<&str> = raw.split('&').filter(|p| !p.is_empty()).collect();
        if pairs.len() > 100 {
            return Err(bad());
        }
        pairs
            .into_iter()
            .map(|p| p.split_once('=').unwrap_or((p, "")))
            .map(|(k, v)| Ok((decode(k)?, decode(v)?)))
            .collect::<Result<Vec<_>>>()
            .map(Query)
    }
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(k, _)| k.eq_ignore_ascii_case(name)).map(|(_, v)| v.as_str())
    }
    pub fn has(&self, name: &str) -> bool {
        self.get(name).is_some()
    }
}

/// The captured `{name}` parts of host and path, decoded.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Params(pub Vec<(&'static str, String)>);

impl Params {
    /// Empty when the row has no such parameter: rows and handlers are written together.
    pub fn get(&self, name: &str) -> &str {
        self.0.iter().find(|(k, _)| *k == name).map_or("", |(_, v)| v.as_str())
    }
    pub fn has(&self, name: &str) -> bool {
        self.0.iter().any(|(k, _)| *k == name)
    }
}

/// The region's own addresses, as clients reach them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Urls {
    /// `bleu.localhost`.
    pub domain: String,
    /// The port clients use, e.g. 8443.
    pub port: u16,
    /// `francecentral`.
    pub location: base::Location,
}

impl Urls {
    /// `https://localhost:8443`: needs no name to resolve. The default of what we advertise.
    pub fn local(&self) -> String {
        format!("https://localhost{}", self.port_suffix())
    }
    /// `https://{label}.{domain}[:port]`, e.g. `management`, `login`, `graph`, `acct.blob.core`.
    pub fn host(&self, label: &str) -> String {
        format!("https://{label}.{}{}", self.domain, self.port_suffix())
    }
    /// `{label}.{domain}[:port]`, e.g. `core.bleu.localhost:8443`.
    pub fn suffix(&self, label: &str) -> String {
        format!("{label}.{}{}", self.domain, self.port_suffix())
    }
    /// `:8443`, or nothing for 443.
    pub fn port_suffix(&self) -> String {
        if self.port == 443 { String::new() } else { format!(":{}", self.port) }
    }
    /// The audiences of Resource Manager tokens. Golden: `tests/golden/audiences.txt`.
    pub fn management_audiences(&self) -> Vec<String> {
        let mut all = vec!["https://management.azure.com".to_owned(), "https://management.core.windows.net".to_owned()];
        all.extend([self.local(), self.host("management")]);
        with_slash(all)
    }
}

/// Each audience with and without its final slash: clients send either.
pub(crate) fn with_slash(all: Vec<String>) -> Vec<String> {
    all.into_iter().flat_map(|a| [format!("{a}/"), a]).collect()
}
