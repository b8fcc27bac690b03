//! The address of everything: ARM resource ids, and the same grammar for tenants and the region itself.

use crate::{Error, Result, SubscriptionId, TenantId};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::hash::{Hash, Hasher};

/// A resource id, compared without case, printed as the caller spelt it (ARM common API details, "resource ids").
///
/// Shapes: `/` (the region), `/tenants/{guid}`, `/subscriptions/{guid}`, `…/resourceGroups/{name}`,
/// `{scope}/providers/{namespace}/{type}/{name}[/{type}/{name}]…`. Empty segments and a final slash are dropped,
/// because clients send them (`/providers/Microsoft.Storage//storageAccounts/a`). Invariant: no other shape is held.
#[derive(Clone, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ResourceId {
    text: String,
    folded: String,
}

impl ResourceId {
    /// The region itself, owner of what belongs to no tenant.
    pub fn region() -> ResourceId {
        ResourceId { text: "/".into(), folded: "/".into() }
    }
    pub fn tenant(id: TenantId) -> ResourceId {
        ResourceId::from_parts(format!("/tenants/{id}"))
    }
    pub fn subscription(id: SubscriptionId) -> ResourceId {
        ResourceId::from_parts(format!("/subscriptions/{id}"))
    }
    fn from_parts(text: String) -> ResourceId {
        let folded = text.to_lowercase();
        ResourceId { text, folded }
    }

    /// Parses an id. Error `InvalidResourceId`, target the id: an odd number of segments after a provider, an empty
    /// or over-long (> 260) segment, a control character or one of `\ ? # %`, more than 2,048 bytes, a malformed GUID.
    pub fn parse(input: &str) -> Result<ResourceId> {
        let wrong = |why: &str| Error::invalid("InvalidResourceId", format!("'{input}' is not a resource id: {why}.")).at(input.to_owned());
        if input.len() > 2048 {
            return Err(Error::invalid("InvalidResourceId", "The resource id is longer than 2048 bytes."));
        }
        if !input.starts_with('/') {
            return Err(wrong("it does not begin with '/'"));
        }
        let segments: Vec<&str> = input.split('/').filter(|s| !s.is_empty()).collect();
        for s in &segments {
            if s.chars().count() > 260 || s.chars().any(|c| c.is_control() || matches!(c, '\\' | '?' | '#' | '%')) {
                return Err(wrong("a segment is too long or holds a forbidden character"));
            }
            if *s == "." || *s == ".." {
                return Err(wrong("a segment is '.' or '..'"));
            }
        }
        let mut rest = &segments[..];
        match rest {
            [] => return Ok(ResourceId::region()),
            [kind, id, ..] if kind.eq_ignore_ascii_case("tenants") => {
                id.parse::<TenantId>()?;
                rest = &rest[2..];
            }
            [kind, id, ..] if kind.eq_ignore_ascii_case("subscriptions") => {
                id.parse::<SubscriptionId>()?;
                rest = &rest[2..];
                if let [kind, _, ..] = rest
                    && kind.eq_ignore_ascii_case("resourceGroups")
                {
                    rest = &rest[2..];
                }
            }
            _ => {}
        }
        while !rest.is_empty() {
            if !rest[0].eq_ignore_ascii_case("providers") || rest.len() < 4 {
                return Err(wrong("expected 'providers/{namespace}/{type}/{name}'"));
            }
            let end = rest[1..].iter().position(|s| s.eq_ignore_ascii_case("providers")).map_or(rest.len(), |i| i + 1);
            if !end.is_multiple_of(2) {
                return Err(wrong("a type has no name"));
            }
            rest = &rest[end..];
        }
        Ok(ResourceId::from_parts(format!("/{}", segments.join("/"))))
    }

    /// As the caller spelt it.
    pub fn as_str(&self) -> &str {
        &self.text
    }
    /// Lower case: the form used in keys and comparisons.
    pub fn folded(&self) -> &str {
        &self.folded
    }
    pub fn segments(&self) -> impl DoubleEndedIterator<Item = &str> {
        self.text.split('/').filter(|s| !s.is_empty())
    }
    /// The last segment; empty for the region.
    pub fn name(&self) -> &str {
        self.text.rsplit('/').next().unwrap_or("")
    }
    pub fn subscription_id(&self) -> Option<SubscriptionId> {
        let rest = self.folded.strip_prefix("/subscriptions/")?;
        rest.get(..36)?.parse().ok()
    }
    pub fn tenant_id(&self) -> Option<TenantId> {
        let rest = self.folded.strip_prefix("/tenants/")?;
        rest.get(..36)?.parse().ok()
    }
    pub fn resource_group(&self) -> Option<&str> {
        let s: Vec<&str> = self.segments().take(4).collect();
        (s.len() == 4 && s[0].eq_ignore_ascii_case("subscriptions") && s[2].eq_ignore_ascii_case("resourceGroups")).then(|| s[3])
    }
    /// `Microsoft.Storage/storageAccounts/…`: the last provider's namespace and types, as spelt. `None` for scopes.
    pub fn resource_type(&self) -> Option<String> {
        let s: Vec<&str> = self.segments().collect();
        let at = s.iter().rposition(|x| x.eq_ignore_ascii_case("providers"))?;
        let mut kind = s.get(at + 1)?.to_string();
        for pair in s.get(at + 2..)?.chunks(2) {
            kind.push('/');
            kind.push_str(pair[0]);
        }
        Some(kind)
    }
    /// The namespace of the last provider, as spelt.
    pub fn namespace(&self) -> Option<&str> {
        let s: Vec<&str> = self.segments().collect();
        let at = s.iter().rposition(|x| x.eq_ignore_ascii_case("providers"))?;
        s.get(at + 1).copied()
    }
    /// The enclosing scope: parent resource, group, subscription, or the region. `None` for the region.
    pub fn parent(&self) -> Option<ResourceId> {
        let s: Vec<&str> = self.segments().collect();
        if s.is_empty() {
            return None;
        }
        let mut keep = s.len() - 2;
        // "…/providers/NS/type/name" loses four segments, "…/type/name" two
        if keep >= 2 && s[keep - 2].eq_ignore_ascii_case("providers") {
            keep -= 2;
        }
        Some(ResourceId::from_parts(format!("/{}", s[..keep].join("/"))))
    }
    /// This scope and each enclosing one, innermost first, ending with the region.
    pub fn scopes(&self) -> impl Iterator<Item = ResourceId> {
        std::iter::successors(Some(self.clone()), |id| id.parent())
    }
    /// True for the scope itself and everything under it.
    pub fn is_within(&self, scope: &ResourceId) -> bool {
        if scope.folded == "/" {
            return true;
        }
        self.folded == scope.folded || self.folded.strip_prefix(&scope.folded).is_some_and(|rest| rest.starts_with('/'))
    }
    /// `self` + `/providers/{namespace}/{type}/{name}`. Error as [`ResourceId::parse`].
    pub fn provider(&self, kind: &str, name: &str) -> Result<ResourceId> {
        ResourceId::parse(&format!("{}/providers/{kind}/{name}", self.text.trim_end_matches('/')))
    }
    /// `self` + `/{type}/{name}`. Error as [`ResourceId::parse`].
    pub fn child(&self, kind: &str, name: &str) -> Result<ResourceId> {
        ResourceId::parse(&format!("{}/{kind}/{name}", self.text.trim_end_matches('/')))
    }
}

impl PartialEq for ResourceId {
    fn eq(&self, other: &ResourceId) -> bool {
        self.folded == other.folded
    }
}
impl Eq for ResourceId {}
impl PartialOrd for ResourceId {
    fn partial_cmp(&self, other: &ResourceId) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}
impl Ord for ResourceId {
    fn cmp(&self, other: &ResourceId) -> std::cmp::Ordering {
        self.folded.cmp(&other.folded)
    }
}
impl Hash for ResourceId {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.folded.hash(state);
    }
}
impl fmt::Display for ResourceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.text.fmt(f)
    }
}
impl fmt::Debug for ResourceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ResourceId({})", self.text)
    }
}
impl From<ResourceId> for String {
    fn from(id: ResourceId) -> String {
        id.text
    }
}
impl TryFrom<String> for ResourceId {
    type Error = Error;
    fn try_from(s: String) -> Result<ResourceId> {
        ResourceId::parse(&s)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SUB: &str = "/subscriptions/6c5b3f1e-0f52-4f6b-9a55-3f1f6c3a1b11";

    #[test]
    fn parses_and_walks_up() {
        let id =
            ResourceId::parse(&format!("{SUB}/resourcegroups/Rg1/providers/Microsoft.Storage//storageAccounts/acct/blobServices/default/"))
                .unwrap();
        assert_eq!(id.resource_type().unwrap(), "Microsoft.Storage/storageAccounts/blobServices");
        assert_eq!(id.resource_group(), Some("Rg1"));
        let scopes: Vec<String> = id.scopes().map(|s| s.to_string()).collect();
        assert_eq!(scopes.len(), 5);
        assert_eq!(scopes[1], format!("{SUB}/resourcegroups/Rg1/providers/Microsoft.Storage/storageAccounts/acct"));
        assert_eq!(scopes[2], format!("{SUB}/resourcegroups/Rg1"));
        assert_eq!(scopes[3], SUB);
        assert_eq!(scopes[4], "/");
    }

    #[test]
    fn compares_without_case_and_keeps_spelling() {
        let a = ResourceId::parse(&format!("{SUB}/resourceGroups/RG")).unwrap();
        let b = ResourceId::parse(&format!("{SUB}/resourcegroups/rg")).unwrap();
        assert_eq!(a, b);
        assert!(a.to_string().ends_with("RG"));
        assert!(!ResourceId::parse(&format!("{SUB}/resourceGroups/RG2")).unwrap().is_within(&a));
    }

    #[test]
    fn refuses_what_is_not_an_id() {
        for bad in [
            "",
            "x",
            "/foo",
            "/subscriptions/x",
            &format!("{SUB}/providers/NS/type"),
            &format!("{SUB}/resourceGroups/a?b"),
            &format!("{SUB}/resourceGroups/.."),
        ] {
            let error = ResourceId::parse(bad).unwrap_err();
            assert!(error.code == "InvalidResourceId" || error.code == "InvalidGuid", "{bad}: {error}");
        }
    }
}
