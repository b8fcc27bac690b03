//! The private half of an entry: who did what to which resource, under which grant, and how it ended. Never content.
//!
//! An [`Event`] is encoded once, its bytes are committed to by the public [`crate::Entry`] and kept sealed under the
//! owner's key. An export hands the owner an [`Opening`] (salt and bytes), which anyone can check against the entry.
//!
//! Encoding: CBOR arrays in deterministic form, fields in the order of the structs, decoded strictly. Bounds are part
//! of the format: see the constants.

use crate::{Digest, cbor};
use base::{AppId, Error, ObjectId, OperationId, RequestId, ResourceId, Result, SiteName, TenantId};
use minicbor::{Decode, Encode};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::net::IpAddr;

/// The most bytes of an encoded event.
pub const EVENT_BYTES_MAX: usize = 256 * 1024;
/// The most bytes of one text field, [`Event::detail`] aside.
pub const TEXT_BYTES_MAX: usize = 2_048;
/// The most bytes of a detail: an Azure blob name has up to 1,024 characters of up to 4 bytes, after its container's.
pub const DETAIL_BYTES_MAX: usize = 4_608;
pub const LINES_MAX: usize = 512;
pub const OTHERS_MAX: usize = 256;
pub const GRANTS_MAX: usize = 256;
pub const PLACES_MAX: usize = 64;
pub const FACTS_MAX: usize = 64;
const VERSION: u8 = 1;

/// Whose record the entry belongs to, and so who is given its opening.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Encode, Decode, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Owner {
    #[n(0)]
    Tenant(
        #[n(0)]
        #[cbor(with = "cbor::guid")]
        TenantId,
    ),
    /// The region's own life, as [`crate::catalogue`] lists it: open to everyone, so it names no caller.
    #[n(1)]
    #[default]
    Region,
    /// Whoever operates the region: what callers did to nobody's resources, and what strangers tried.
    #[n(2)]
    Operator,
}

impl Owner {
    /// `region`, `operator` or a tenant's id; `None` for any other text.
    pub fn parse(text: &str) -> Option<Owner> {
        let owner = match text {
            "region" => Owner::Region,
            "operator" => Owner::Operator,
            id => Owner::Tenant(id.parse().ok()?),
        };
        (owner.to_string() == text).then_some(owner)
    }
    pub fn tenant(self) -> Option<TenantId> {
        match self {
            Owner::Tenant(tenant) => Some(tenant),
            Owner::Region | Owner::Operator => None,
        }
    }
}

impl fmt::Display for Owner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Owner::Tenant(tenant) => write!(f, "{tenant}"),
            Owner::Region => f.write_str("region"),
            Owner::Operator => f.write_str("operator"),
        }
    }
}

/// The reader of a bundle: a tenant, or with none everyone.
impl From<Option<TenantId>> for Owner {
    fn from(tenant: Option<TenantId>) -> Owner {
        tenant.map_or(Owner::Region, Owner::Tenant)
    }
}

/// What kind of caller it was.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode, Serialize)]
#[serde(rename_all = "camelCase")]
#[cbor(index_only)]
pub enum Actor {
    #[n(0)]
    #[default]
    Anonymous,
    #[n(1)]
    User,
    #[n(2)]
    ServicePrincipal,
    #[n(3)]
    ManagedIdentity,
    /// The holder of an account key.
    #[n(4)]
    Key,
    /// The holder of a shared access signature.
    #[n(5)]
    Sas,
    /// The region, finishing what a caller asked for.
    #[n(6)]
    Worker,
    /// A person of the operator.
    #[n(7)]
    Staff,
    /// The region itself.
    #[n(8)]
    Region,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode, Serialize)]
#[serde(rename_all = "camelCase")]
#[cbor(array)]
pub struct Who {
    #[n(0)]
    pub kind: Actor,
    #[n(1)]
    #[cbor(with = "cbor::optional_guid")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tenant: Option<TenantId>,
    #[n(2)]
    #[cbor(with = "cbor::optional_guid")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub object: Option<ObjectId>,
    #[n(3)]
    #[cbor(with = "cbor::optional_guid")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub app: Option<AppId>,
    /// What a reader calls them: a user principal name, `key1`, a stored access policy.
    #[n(4)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// For a worker: who asked.
    #[n(5)]
    #[cbor(with = "cbor::optional_guid")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub on_behalf_of: Option<ObjectId>,
    /// For a worker: under which long operation.
    #[n(6)]
    #[cbor(with = "cbor::optional_guid")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub operation: Option<OperationId>,
}

impl Who {
    pub fn anonymous() -> Who {
        Who::default()
    }
    pub fn region() -> Who {
        Who { kind: Actor::Region, ..Who::default() }
    }
}

/// How an act ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode, Serialize)]
#[serde(rename_all = "lowercase")]
#[cbor(index_only)]
pub enum Ended {
    #[n(0)]
    #[default]
    Done,
    #[n(1)]
    Refused,
    #[n(2)]
    Failed,
    /// Opened, its end not known: the caller went away, or the region stopped.
    #[n(3)]
    Unfinished,
    /// An opening entry: not ended yet.
    #[n(4)]
    Begun,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Encode, Decode, Serialize)]
#[cbor(array)]
pub struct Outcome {
    #[n(0)]
    pub ended: Ended,
    /// The dialect's error code (`BlobNotFound`); empty when done.
    #[n(1)]
    #[serde(skip_serializing_if = "String::is_empty")]
    pub code: String,
    /// HTTP status of the answer; 0 when there was none.
    #[n(2)]
    pub status: u16,
}

impl Outcome {
    pub fn done(status: u16) -> Outcome {
        Outcome { ended: Ended::Done, code: String::new(), status }
    }
    pub fn begun() -> Outcome {
        Outcome { ended: Ended::Begun, code: String::new(), status: 0 }
    }
    pub fn unfinished() -> Outcome {
        Outcome { ended: Ended::Unfinished, code: String::new(), status: 0 }
    }
    pub fn refused(code: impl Into<String>, status: u16) -> Outcome {
        Outcome { ended: Ended::Refused, code: code.into(), status }
    }
    pub fn failed(code: impl Into<String>, status: u16) -> Outcome {
        Outcome { ended: Ended::Failed, code: code.into(), status }
    }
}

/// Bytes at a site.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Encode, Decode, Serialize)]
#[cbor(array)]
pub struct Placed {
    #[n(0)]
    #[cbor(with = "cbor::site")]
    pub site: SiteName,
    #[n(1)]
    pub chunks: u64,
    #[n(2)]
    pub bytes: u64,
}

/// One kind of act inside a batched or tally entry, with its count.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Encode, Decode, Serialize)]
#[serde(rename_all = "camelCase")]
#[cbor(array)]
pub struct Line {
    #[n(0)]
    pub verb: String,
    /// 0 is [`Event::who`], n is the n-th of [`Event::others`].
    #[n(1)]
    pub who: u16,
    /// Under the event's resource: `container/blob`, or the door and source prefix of a tally.
    #[n(2)]
    pub detail: String,
    #[n(3)]
    pub count: u64,
    #[n(4)]
    pub bytes: u64,
    #[n(5)]
    pub outcome: Outcome,
    /// What allowed it: 0 is [`Event::grant`], n is the n-th of [`Event::grants`].
    #[n(6)]
    pub grant: u16,
}

/// A named value of the catalogue: `("ca.sha256", "…")`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Encode, Decode, Serialize)]
#[cbor(array)]
pub struct Fact {
    #[n(0)]
    pub name: String,
    #[n(1)]
    pub value: String,
}

impl Fact {
    pub fn new(name: impl Into<String>, value: impl Into<String>) -> Fact {
        Fact { name: name.into(), value: value.into() }
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode, Serialize)]
#[serde(rename_all = "camelCase")]
#[cbor(array)]
pub struct Event {
    /// Format of these bytes: leave it as [`Event::new`] sets it.
    #[n(0)]
    #[serde(skip)]
    pub version: u8,
    #[n(1)]
    pub owner: Owner,
    #[n(2)]
    pub who: Who,
    /// `Put Blob`, `Sign in`: the row of a service's table, or of [`crate::catalogue`].
    #[n(3)]
    pub verb: String,
    /// The role action that was judged: `Microsoft.Storage/…/write`; empty where none is.
    #[n(4)]
    #[serde(skip_serializing_if = "String::is_empty")]
    pub action: String,
    #[n(5)]
    #[cbor(with = "cbor::resource")]
    pub resource: ResourceId,
    /// Below the resource: `container/blob`.
    #[n(6)]
    #[serde(skip_serializing_if = "String::is_empty")]
    pub detail: String,
    #[n(7)]
    #[cbor(with = "cbor::address")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub from: Option<IpAddr>,
    #[n(8)]
    #[cbor(with = "cbor::optional_guid")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub request: Option<RequestId>,
    /// `x-ms-client-request-id` as sent.
    #[n(9)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub client_request: Option<String>,
    #[n(10)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user_agent: Option<String>,
    /// The role assignment, SAS or approval under which it was allowed.
    #[n(11)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub grant: Option<String>,
    #[n(12)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    #[n(13)]
    pub outcome: Outcome,
    #[n(14)]
    pub bytes_in: u64,
    #[n(15)]
    pub bytes_out: u64,
    /// SHA-256 of what was stored or sent, where it is known.
    #[n(16)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub digest: Option<Digest>,
    /// Where the bytes were put.
    #[n(17)]
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub places: Vec<Placed>,
    /// The key that sealed them.
    #[n(18)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    /// Further callers of a batch.
    #[n(19)]
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub others: Vec<Who>,
    #[n(20)]
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub lines: Vec<Line>,
    #[n(21)]
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub facts: Vec<Fact>,
    /// Further grants of a batch.
    #[n(22)]
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub grants: Vec<String>,
}

impl Event {
    /// An event with everything else empty, done with status 0.
    pub fn new(owner: Owner, who: Who, verb: impl Into<String>, resource: ResourceId) -> Event {
        Event {
            version: VERSION,
            owner,
            who,
            verb: verb.into(),
            action: String::new(),
            resource,
            detail: String::new(),
            from: None,
            request: None,
            client_request: None,
            user_agent: None,
            grant: None,
            reason: None,
            outcome: Outcome::default(),
            bytes_in: 0,
            bytes_out: 0,
            digest: None,
            places: Vec::new(),
            key: None,
            others: Vec::new(),
            lines: Vec::new(),
            facts: Vec::new(),
            grants: Vec::new(),
        }
    }

    /// The bytes that are committed to and sealed. Error `InvalidEvent` when a bound is passed: callers cut what comes
    /// from outside with [`bounded`] first.
    pub fn encode(&self) -> Result<Vec<u8>> {
        self.check()?;
        let bytes = cbor::to_vec(self);
        if bytes.len() > EVENT_BYTES_MAX {
            return Err(invalid(format!("it has {} bytes, the most is {EVENT_BYTES_MAX}", bytes.len())));
        }
        Ok(bytes)
    }

    /// Strict inverse of [`Event::encode`]; error `InvalidEvent`.
    pub fn decode(bytes: &[u8]) -> Result<Event> {
        if bytes.len() > EVENT_BYTES_MAX {
            return Err(invalid("it is too long"));
        }
        let event: Event = cbor::decode_strict(bytes).map_err(invalid)?;
        event.check()?;
        Ok(event)
    }

    /// The value of a fact.
    pub fn fact(&self, name: &str) -> Option<&str> {
        self.facts.iter().find(|fact| fact.name == name).map(|fact| fact.value.as_str())
    }

    /// The caller of a line. `None` for an index that [`Event::check`] refuses.
    pub fn caller(&self, index: u16) -> Option<&Who> {
        match index {
            0 => Some(&self.who),
            n => self.others.get(usize::from(n) - 1),
        }
    }

    /// What allowed the act of a line; inner `None`: nothing did, or nothing had to. Outer `None` for an index that
    /// [`Event::check`] refuses.
    pub fn grant_of(&self, index: u16) -> Option<Option<&str>> {
        match index {
            0 => Some(self.grant.as_deref()),
            n => self.grants.get(usize::from(n) - 1).map(|grant| Some(grant.as_str())),
        }
    }

    /// The bounds of the format. Error `InvalidEvent`, target the field.
    pub fn check(&self) -> Result<()> {
        if self.version != VERSION {
            return Err(invalid(format!("version {} is unknown", self.version)));
        }
        if self.verb.is_empty() {
            return Err(invalid("it has no verb").at("verb"));
        }
        for (name, value) in self.texts() {
            text(name, value, TEXT_BYTES_MAX)?;
        }
        text("detail", &self.detail, DETAIL_BYTES_MAX)?;
        few("others", self.others.len(), OTHERS_MAX)?;
        few("places", self.places.len(), PLACES_MAX)?;
        few("facts", self.facts.len(), FACTS_MAX)?;
        few("lines", self.lines.len(), LINES_MAX)?;
        few("grants", self.grants.len(), GRANTS_MAX)?;
        for line in &self.lines {
            text("lines.detail", &line.detail, DETAIL_BYTES_MAX)?;
            if self.caller(line.who).is_none() {
                return Err(invalid("a line names a caller that is not listed").at("lines.who"));
            }
            if self.grant_of(line.grant).is_none() {
                return Err(invalid("a line names a grant that is not listed").at("lines.grant"));
            }
        }
        Ok(())
    }

    fn texts(&self) -> impl Iterator<Item = (&'static str, &str)> {
        let plain = [("verb", self.verb.as_str()), ("action", &self.action), ("outcome.code", &self.outcome.code)];
        let optional = [
            ("clientRequest", &self.client_request),
            ("userAgent", &self.user_agent),
            ("grant", &self.grant),
            ("reason", &self.reason),
            ("key", &self.key),
            ("who.name", &self.who.name),
        ];
        let others = self.others.iter().filter_map(|who| who.name.as_deref()).map(|name| ("others.name", name));
        let lines = self.lines.iter().flat_map(|line| [("lines.verb", line.verb.as_str()), ("lines.code", &line.outcome.code)]);
        let facts = self.facts.iter().flat_map(|fact| [("facts.name", fact.name.as_str()), ("facts.value", &fact.value)]);
        let optional = optional.into_iter().filter_map(|(name, value)| Some((name, value.as_deref()?)));
        let grants = self.grants.iter().map(|grant| ("grants", grant.as_str()));
        plain.into_iter().chain(optional).chain(others).chain(lines).chain(facts).chain(grants)
    }
}

/// Salt and event, as the owner is given them: enough to check the commitment of the entry.
#[derive(Clone, PartialEq, Eq)]
pub struct Opening {
    pub salt: [u8; 32],
    /// [`Event::encode`].
    pub event: Vec<u8>,
}

impl Opening {
    /// The opening of an event under a fresh random salt. Error `InvalidEvent`.
    pub fn new(event: &Event, salt: [u8; 32]) -> Result<Opening> {
        Ok(Opening { salt, event: event.encode()? })
    }
    pub fn commitment(&self) -> Digest {
        crate::commitment(&self.salt, &self.event)
    }
}
impl std::fmt::Debug for Opening {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Opening({} bytes)", self.event.len())
    }
}

/// Makes a text that came from outside (user agent, blob name) fit an event: characters that [`Event::check`] refuses
/// become the percent-encoding of their UTF-8, and what is longer than `bytes_max` is cut at a character and ends in `…`.
pub fn bounded(text: &str, bytes_max: usize) -> String {
    const MARK: char = '…';
    let mut out = String::with_capacity(text.len().min(bytes_max));
    // where to cut back to, should the rest not fit
    let mut cut = 0;
    for c in text.chars() {
        let before = out.len();
        if is_unseen(c) {
            c.encode_utf8(&mut [0; 4]).bytes().for_each(|b| out.push_str(&format!("%{b:02X}")));
        } else {
            out.push(c);
        }
        if out.len() > bytes_max {
            out.truncate(if before + MARK.len_utf8() <= bytes_max { before } else { cut });
            if out.len() + MARK.len_utf8() <= bytes_max {
                out.push(MARK);
            }
            return out;
        }
        if out.len() + MARK.len_utf8() <= bytes_max {
            cut = out.len();
        }
    }
    out
}

/// Control characters, and those that turn the direction of writing: on a terminal or a page they make a reader see
/// something else than what is recorded.
fn is_unseen(c: char) -> bool {
    c.is_control() || matches!(c, '\u{200E}' | '\u{200F}' | '\u{202A}'..='\u{202E}' | '\u{2066}'..='\u{2069}' | '\u{2028}' | '\u{2029}')
}

fn text(name: &'static str, value: &str, bytes_max: usize) -> Result<()> {
    if value.len() > bytes_max {
        return Err(invalid(format!("'{name}' has {} bytes, the most is {bytes_max}", value.len())).at(name));
    }
    if value.chars().any(is_unseen) {
        return Err(invalid(format!("'{name}' holds a control character")).at(name));
    }
    Ok(())
}

fn few(name: &'static str, count: usize, max: usize) -> Result<()> {
    if count > max {
        return Err(invalid(format!("'{name}' has {count} items, the most is {max}")).at(name));
    }
    Ok(())
}

fn invalid(why: impl std::fmt::Display) -> Error {
    Error::invalid("InvalidEvent", format!("Not an event of the record: {why}."))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn sample() -> Event {
        let tenant = "6c5b3f1e-0f52-4f6b-9a55-3f1f6c3a1b11".parse().unwrap();
        let resource = ResourceId::parse("/subscriptions/6c5b3f1e-0f52-4f6b-9a55-3f1f6c3a1b11/resourceGroups/rg").unwrap();
        let who = Who { kind: Actor::User, tenant: Some(tenant), name: Some("anna@example.org".into()), ..Who::default() };
        Event {
            action: "Microsoft.Storage/storageAccounts/blobServices/containers/blobs/write".into(),
            detail: "photos/été.jpg".into(),
            from: Some("2001:db8::1".parse().unwrap()),
            outcome: Outcome::done(201),
            bytes_in: 4096,
            digest: Some(Digest([9; 32])),
            places: vec![Placed { site: SiteName::new("paris-1").unwrap(), chunks: 1, bytes: 4096 }],
            others: vec![Who::anonymous()],
            lines: vec![Line {
                verb: "Get Blob".into(),
                who: 1,
                detail: "photos/a".into(),
                count: 3,
                bytes: 12,
                outcome: Outcome::done(200),
                grant: 1,
            }],
            grants: vec!["account key key1".into()],
            facts: vec![Fact::new("a", "b")],
            ..Event::new(Owner::Tenant(tenant), who, "Put Blob", resource)
        }
    }

    #[test]
    fn prints_and_parses() {
        let event = sample();
        let bytes = event.encode().unwrap();
        assert_eq!(Event::decode(&bytes).unwrap(), event);
        let small = Event::new(Owner::Region, Who::region(), "Region created", ResourceId::region());
        assert_eq!(Event::decode(&small.encode().unwrap()).unwrap(), small);
    }

    /// Stored bytes are read for ever: this sample is version 1.
    #[test]
    fn version_1_is_these_bytes() {
        let event = Event::new(Owner::Region, Who::region(), "Region created", ResourceId::region());
        let bytes = hex::encode(event.encode().unwrap());
        assert_eq!(bytes, include_str!("../tests/event-v1.hex").trim());
    }

    #[test]
    fn every_other_spelling_is_refused() {
        let bytes = sample().encode().unwrap();
        for cut in 0..bytes.len() {
            assert!(Event::decode(&bytes[..cut]).is_err(), "cut at {cut}");
        }
        assert!(Event::decode(&[&bytes[..], &[0xf6]].concat()).is_err());
    }

    #[test]
    fn bounds_are_held() {
        let long = "x".repeat(TEXT_BYTES_MAX + 1);
        let wrong = [
            Event { verb: String::new(), ..sample() },
            Event { reason: Some(long.clone()), ..sample() },
            Event { detail: "é".repeat(DETAIL_BYTES_MAX), ..sample() },
            Event { user_agent: Some("a\nb".into()), ..sample() },
            Event { detail: "gpj.\u{202E}exe".into(), ..sample() },
            Event { facts: vec![Fact::new("a", "b"); FACTS_MAX + 1], ..sample() },
            Event { others: vec![], ..sample() },
            Event { grants: vec![], ..sample() },
            Event { grants: vec!["g".into(); GRANTS_MAX + 1], ..sample() },
            Event { grants: vec![long.clone()], ..sample() },
            Event { version: 2, ..sample() },
        ];
        for event in wrong {
            assert_eq!(event.encode().unwrap_err().code, "InvalidEvent");
            assert!(Event::decode(&cbor::to_vec(&event)).is_err());
        }
    }

    #[test]
    fn texts_from_outside_are_made_to_fit() {
        let cases = [
            ("", 9, ""),
            ("abc", 3, "abc"),
            ("abcd", 3, "…"),
            ("abcdef", 5, "ab…"),
            ("ab", 1, ""),
            ("a\u{7}b", 9, "a%07b"),
            ("éé", 3, "…"),
            ("éééé", 7, "éé…"),
            ("a\u{202E}b", 99, "a%E2%80%AEb"),
        ];
        for (text, max, fitted) in cases {
            assert_eq!(bounded(text, max), fitted, "{text:?}");
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_refused_or_canonical(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            if let Ok(event) = Event::decode(&bytes) {
                prop_assert_eq!(event.encode().unwrap(), bytes);
            }
        }

        #[test]
        fn any_text_can_be_made_to_fit(text: String, max in 0usize..40) {
            let fitted = bounded(&text, max);
            prop_assert!(fitted.len() <= max);
            let event = Event { detail: fitted, user_agent: Some(bounded(&text, TEXT_BYTES_MAX)), ..sample() };
            prop_assert!(event.encode().is_ok());
        }

        #[test]
        fn a_flipped_bit_is_refused_or_canonical(bit: prop::sample::Index) {
            let mut bytes = sample().encode().unwrap();
            let at = bit.index(bytes.len() * 8);
            bytes[at / 8] ^= 1 << (at % 8);
            if let Ok(event) = Event::decode(&bytes) {
                prop_assert_eq!(event.encode().unwrap(), bytes);
            }
        }
    }
}
