//! The query options of a list, and its pages (OData 4.01 URL conventions, section 5).
//!
//! A page ends with the key of its last object, and the next one begins strictly behind that key: whatever is created,
//! changed or deleted in between, an object that keeps its key is shown exactly once. The key is what `$orderby` asks for,
//! then the id; without `$orderby` the id alone.

use super::answer::home;
use super::{bad_request, body};
use crate::directory::ObjectKind;
use base::{Error, Result};
use base64::prelude::*;
use serde_json::{Map, Value, json};
use service::Head;
use std::cmp::Reverse;
use std::collections::BTreeMap;
use wire::odata::{Expand, Filter, Order, parse_select};

const TOP_DEFAULT: usize = 100;
const TOP_MAX: usize = 999;
const TOKEN_BYTES_MAX: usize = 16 * 1024;
/// What Graph shows of a user's licences: nothing is licensed here.
const LICENCES: &[&str] = &["assignedLicenses", "assignedPlans", "licenseAssignmentStates", "provisionedPlans", "licenseDetails"];

/// The options of a list.
#[derive(Debug, Default)]
pub(super) struct Options {
    kind: Option<ObjectKind>,
    filter: Option<Filter>,
    search: Option<Filter>,
    pub select: Vec<String>,
    pub expand: Option<Expand>,
    order: Vec<Order>,
    pub top: usize,
    pub count: bool,
    after: Option<Key>,
}

/// Where an object stands in a list.
type Key = (Vec<Part>, String);

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Part {
    Up(String),
    Down(Reverse<String>),
}

impl Options {
    /// `kind`: whose properties may be asked about; `None` where several kinds are listed. Errors: `Request_BadRequest` for a
    /// malformed option, `Request_UnsupportedQuery` for what Graph does not do, `NotImplemented` for what we do not do yet.
    pub(super) fn read(head: &Head, kind: Option<ObjectKind>) -> Result<Options> {
        let mut options = Options { kind, top: TOP_DEFAULT, ..Options::default() };
        let mut token = None;
        for (name, value) in &head.query.0 {
            match name.as_str() {
                "$filter" => options.filter = Some(Filter::parse(value)?),
                "$search" => options.search = Some(Filter::search(value)?),
                "$orderby" => options.order = Order::parse(value)?,
                "$expand" => options.expand = Some(Expand::parse(value)?),
                "$select" => options.select = parse_select(value)?,
                "$top" => options.top = top(value)?,
                "$count" => options.count = flag(value)?,
                "$skiptoken" => token = Some(value),
                other if other.starts_with('$') => {
                    return Err(Error::not_implemented(format!("The query option '{other}'")).at(other.to_owned()));
                }
                _ => {}
            }
        }
        options.check(head)?;
        options.after = token.map(|token| options.read_token(token)).transpose()?;
        Ok(options)
    }

    /// What Graph asks of a query before it looks at any object.
    fn check(&self, head: &Head) -> Result<()> {
        let asked = self.filter.iter().chain(&self.search).flat_map(Filter::names).map(|name| (name, "$filter"));
        let ordered = self.order.iter().filter_map(|o| o.path.first()).map(|name| (name.as_str(), "$orderby"));
        for (name, option) in asked.chain(ordered) {
            if let Some(kind) = self.kind
                && !body::is_property(kind, name)
            {
                let type_name = kind.odata_type();
                return Err(
                    bad_request(format!("Could not find a property named '{name}' on type 'microsoft.graph.{type_name}'.")).at(option)
                );
            }
        }
        let is_eventual = head.header("consistencylevel").is_some_and(|level| level.eq_ignore_ascii_case("eventual"));
        if self.search.is_some() && !is_eventual {
            return Err(unsupported(
                "Request with $search query parameter only works with a special request header: 'ConsistencyLevel: eventual'",
            )
            .at("$search"));
        }
        let advanced = self.filter.as_ref().is_some_and(|f| f.is_advanced() || !self.order.is_empty());
        if advanced && !(is_eventual && self.count) {
            return Err(unsupported("This query needs the header 'ConsistencyLevel: eventual' and '$count=true'.").at("$filter"));
        }
        Ok(())
    }

    pub(super) fn fits(&self, object: &Value) -> bool {
        self.filter.iter().chain(&self.search).all(|filter| filter.fits(object))
    }

    /// What `$select` leaves; a property that an object of the kind may have and has not is `null`.
    pub(super) fn select(&self, object: Value) -> Value {
        select(&self.select, self.kind, object)
    }

    /// The id from which rows in the order of their ids are worth reading.
    pub(super) fn from(&self) -> Option<&str> {
        let (_, id) = self.after.as_ref()?;
        self.order.is_empty().then_some(id)
    }

    fn key(&self, object: &Value) -> Key {
        let part = |order: &Order| match order.descending {
            true => Part::Down(Reverse(order.key(object))),
            false => Part::Up(order.key(object)),
        };
        (self.order.iter().map(part).collect(), object.get("id").and_then(Value::as_str).unwrap_or_default().to_owned())
    }

    fn write_token(key: &Key) -> String {
        let texts: Vec<&str> = key
            .0
            .iter()
            .map(|part| match part {
                Part::Up(text) | Part::Down(Reverse(text)) => text.as_str(),
            })
            .collect();
        BASE64_URL_SAFE_NO_PAD.encode(json!([texts, key.1]).to_string())
    }

    fn read_token(&self, token: &str) -> Result<Key> {
        let wrong = || bad_request("The skip token is not valid.").at("$skiptoken");
        if token.len() > TOKEN_BYTES_MAX {
            return Err(wrong());
        }
        let bytes = BASE64_URL_SAFE_NO_PAD.decode(token).map_err(|_| wrong())?;
        let (texts, id): (Vec<String>, String) = serde_json::from_slice(&bytes).map_err(|_| wrong())?;
        if texts.len() != self.order.len() {
            return Err(wrong());
        }
        let part = |(order, text): (&Order, String)| if order.descending { Part::Down(Reverse(text)) } else { Part::Up(text) };
        Ok((self.order.iter().zip(texts).map(part).collect(), id))
    }
}

pub(super) fn unsupported(message: impl Into<String>) -> Error {
    Error::invalid("Request_UnsupportedQuery", message)
}

/// The properties that were asked for; all, where none were.
pub(super) fn select(names: &[String], kind: Option<ObjectKind>, object: Value) -> Value {
    let Value::Object(map) = object else { return object };
    if names.is_empty() || names.iter().any(|n| n == "*") {
        return Value::Object(map);
    }
    let first = |name: &str| name.split('/').next().unwrap_or_default().to_owned();
    let names: Vec<String> = names.iter().map(|name| first(name)).collect();
    let mut kept: Map<String, Value> =
        map.into_iter().filter(|(name, _)| name == "id" || name.starts_with("@odata.") || names.contains(name)).collect();
    for name in names {
        if LICENCES.contains(&name.as_str()) && kind == Some(ObjectKind::User) {
            kept.entry(name).or_insert_with(|| json!([]));
        } else if kind.is_some_and(|kind| body::is_property(kind, &name)) {
            kept.entry(name).or_insert(Value::Null);
        }
    }
    Value::Object(kept)
}

fn top(value: &str) -> Result<usize> {
    value.parse().ok().filter(|top| (1..=TOP_MAX).contains(top)).ok_or_else(|| {
        let value: String = value.chars().take(40).collect();
        bad_request(format!("Invalid page size specified: '{value}'. Must be between 1 and {TOP_MAX} inclusive.")).at("$top")
    })
}

fn flag(value: &str) -> Result<bool> {
    value.parse().map_err(|_| bad_request("The value of $count is 'true' or 'false'.").at("$count"))
}

/// Gathers a page out of objects that are offered in any order; holds no more than the page.
pub(super) struct Page<'o> {
    options: &'o Options,
    best: BTreeMap<Key, Value>,
    total: u64,
}

impl<'o> Page<'o> {
    pub(super) fn of(options: &'o Options) -> Page<'o> {
        Page { options, best: BTreeMap::new(), total: 0 }
    }
    pub(super) fn offer(&mut self, object: Value) {
        if !self.options.fits(&object) {
            return;
        }
        self.total += 1;
        let key = self.options.key(&object);
        if self.options.after.as_ref().is_some_and(|after| key <= *after) {
            return;
        }
        self.best.insert(key, object);
        // one more than the page: whether there is a next one
        if self.best.len() > self.options.top + 1 {
            self.best.pop_last();
        }
    }
    /// True when objects with higher ids can't change the page.
    pub(super) fn is_full(&self) -> bool {
        self.options.order.is_empty() && !self.options.count && self.best.len() > self.options.top
    }
    pub(super) fn total(&self) -> u64 {
        self.total
    }
    /// The page's objects, unselected, and the token of the next page.
    pub(super) fn finish(mut self) -> (Vec<Value>, Option<String>) {
        let more = self.best.len() > self.options.top;
        if more {
            self.best.pop_last();
        }
        let token = self.best.keys().next_back().filter(|_| more).map(Options::write_token);
        (self.best.into_values().collect(), token)
    }
}

/// A page as it is answered. `context`: behind `$metadata#`.
pub(super) fn listing(head: &Head, context: &str, count: Option<u64>, next: Option<String>, value: Vec<Value>) -> Value {
    let mut answer = Map::new();
    answer.insert("@odata.context".into(), format!("{}/$metadata#{context}", home(head)).into());
    if let Some(count) = count {
        answer.insert("@odata.count".into(), count.into());
    }
    if let Some(next) = next {
        answer.insert("@odata.nextLink".into(), link(head, "$skiptoken", &next).into());
    }
    answer.insert("value".into(), value.into());
    Value::Object(answer)
}

/// The same question from `token` on.
pub(super) fn link(head: &Head, name: &str, token: &str) -> String {
    let mut pairs: Vec<String> = head
        .query
        .0
        .iter()
        .filter(|(n, _)| n != "$skiptoken" && n != "$deltatoken")
        .map(|(n, v)| format!("{}={}", wire::percent_encode(n, b"$"), wire::percent_encode(v, b"")))
        .collect();
    pairs.push(format!("{name}={}", wire::percent_encode(token, b"")));
    format!("{}{}?{}", home(head).trim_end_matches("/v1.0"), head.raw_path, pairs.join("&"))
}

/// For the fuzzer: reading options never panics, and a page's token is read back.
pub fn fuzz_query(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let Ok(order) = Order::parse("displayName desc") else { return };
    let options = Options { order, top: 1, ..Options::default() };
    let _ = options.read_token(text);
    let token = Options::write_token(&(vec![Part::Down(Reverse(text.to_owned()))], text.to_owned()));
    assert!(token.len() > TOKEN_BYTES_MAX || options.read_token(&token).is_ok());
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use service::Query;

    fn head(raw: &str) -> Head {
        let mut head = crate::dialect::tests::head();
        head.host = "graph.bleu.localhost".into();
        head.raw_path = "/v1.0/users".into();
        head.query = Query::parse(raw).unwrap();
        head
    }

    fn options(raw: &str) -> Result<Options> {
        Options::read(&head(raw), Some(ObjectKind::User))
    }

    fn eventual(raw: &str) -> Result<Options> {
        let mut head = head(raw);
        head.headers.insert("consistencylevel", http::HeaderValue::from_static("eventual"));
        Options::read(&head, Some(ObjectKind::User))
    }

    #[test]
    fn options_are_strict() {
        let good = options("$filter=displayName%20eq%20'x'&$select=id,displayName&$top=5&api-version=1&$count=true").unwrap();
        assert_eq!((good.top, good.select.len(), good.count), (5, 2, true));
        for bad in [
            "$top=0",
            "$top=1000",
            "$top=x",
            "$filter=x",
            "$skiptoken=..",
            "$search=x",
            "$expand=a,b",
            "$orderby=nothing",
            "$skip=1",
            "$count=x",
        ] {
            assert!(options(bad).is_err(), "{bad}");
        }
        assert_eq!(options("$filter=isGod eq true").unwrap_err().code, "Request_BadRequest");
    }

    #[test]
    fn advanced_queries_need_what_graph_asks_for() {
        for advanced in [
            "$filter=displayName ne 'x'",
            "$filter=endswith(mail,'x')",
            "$search=\"displayName:x\"",
            "$filter=displayName eq 'x'&$orderby=displayName",
        ] {
            assert_eq!(options(advanced).unwrap_err().code, "Request_UnsupportedQuery", "{advanced}");
            assert!(eventual(&format!("{advanced}&$count=true")).is_ok(), "{advanced}");
        }
        assert_eq!(eventual("$filter=displayName ne 'x'").unwrap_err().code, "Request_UnsupportedQuery", "without $count=true");
        assert!(eventual("$search=\"displayName:x\"").is_ok() && options("$orderby=displayName desc").is_ok());
    }

    #[test]
    fn pages_follow_each_other_under_the_same_question() {
        assert_eq!(
            link(&head("$filter=a%20eq%20'b%26'&$skiptoken=x"), "$skiptoken", "00"),
            "https://graph.bleu.localhost:8443/v1.0/users?$filter=a%20eq%20%27b%26%27&$skiptoken=00"
        );
    }

    #[test]
    fn select_keeps_what_names_the_object() {
        let selected = options("$select=displayName,jobTitle,assignedLicenses,nothing")
            .unwrap()
            .select(json!({"@odata.type": "t", "id": 1, "displayName": 2, "mail": 3}));
        assert_eq!(selected, json!({"@odata.type": "t", "id": 1, "displayName": 2, "jobTitle": null, "assignedLicenses": []}));
    }

    proptest! {
        /// Pages of any size, in any order, while objects come and go: those that stay are shown once, in order.
        #[test]
        fn pages_are_exact(names in proptest::collection::vec("[a-c]{0,2}", 1..30), top in 1usize..5, gone in 0usize..30, come in "[a-c]{0,2}", descending: bool) {
            let mut objects: Vec<Value> = names.iter().enumerate().map(|(at, name)| json!({"id": format!("{at:02}"), "displayName": name})).collect();
            let question = if descending { "$orderby=displayName desc" } else { "$orderby=displayName" };
            let (mut seen, mut token, mut first) = (Vec::new(), None::<String>, true);
            loop {
                let raw = token.map_or_else(|| format!("{question}&$top={top}"), |t| format!("{question}&$top={top}&$skiptoken={t}"));
                let options = options(&raw).unwrap();
                let mut page = Page::of(&options);
                objects.iter().cloned().for_each(|o| page.offer(o));
                let (found, next) = page.finish();
                prop_assert!(found.len() <= top);
                seen.extend(found.into_iter().map(|o| o["id"].as_str().unwrap().to_owned()));
                if std::mem::take(&mut first) {
                    objects.retain(|o| o["id"] != format!("{gone:02}"));
                    objects.push(json!({"id": "new", "displayName": come}));
                }
                token = next;
                if token.is_none() { break }
            }
            let stayed: Vec<String> = (0..names.len()).filter(|at| *at != gone).map(|at| format!("{at:02}")).collect();
            for id in stayed {
                prop_assert_eq!(seen.iter().filter(|s| **s == id).count(), 1);
            }
            prop_assert!(seen.iter().filter(|s| *s == "new").count() <= 1);
        }
        #[test]
        fn tokens_never_panic(noise in "\\PC{0,60}") {
            fuzz_query(noise.as_bytes());
        }
    }
}
