//! What clients send: JSON objects whose properties are known by name and shape. An unknown property is refused, because
//! a client that believes it was kept would be wrong; `null` means absent.

use super::bad_request;
use crate::directory::ObjectKind;
use base::Result;
use serde_json::{Map, Value};
use service::{Body, collect};

const BODY_BYTES_MAX: usize = 256 * 1024;
const TEXT_CHARS_MAX: usize = 1024;
const LIST_MAX: usize = 256;
/// Properties kept as they are (`web`, `api`, `optionalClaims`…), each printed.
const NESTED_BYTES_MAX: usize = 64 * 1024;

/// The shape of a property's value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Shape {
    Text,
    Flag,
    Texts,
    Nested,
    /// Judged by its handler and not kept as sent.
    Handled,
}
use Shape::{Flag, Handled, Nested, Text, Texts};

const USER: &[(&str, Shape)] = &[
    ("accountEnabled", Flag),
    ("ageGroup", Text),
    ("businessPhones", Texts),
    ("city", Text),
    ("companyName", Text),
    ("country", Text),
    ("department", Text),
    ("displayName", Text),
    ("employeeId", Text),
    ("givenName", Text),
    ("jobTitle", Text),
    ("mail", Text),
    ("mailNickname", Text),
    ("mobilePhone", Text),
    ("officeLocation", Text),
    ("otherMails", Texts),
    ("passwordPolicies", Text),
    ("passwordProfile", Handled),
    ("postalCode", Text),
    ("preferredLanguage", Text),
    ("state", Text),
    ("streetAddress", Text),
    ("surname", Text),
    ("usageLocation", Text),
    ("userPrincipalName", Text),
    ("userType", Text),
];
const GROUP: &[(&str, Shape)] = &[
    ("description", Text),
    ("displayName", Text),
    ("groupTypes", Texts),
    ("membershipRule", Text),
    ("membershipRuleProcessingState", Text),
    ("isAssignableToRole", Flag),
    ("mailEnabled", Flag),
    ("mailNickname", Text),
    ("securityEnabled", Flag),
    ("visibility", Text),
];
const APPLICATION: &[(&str, Shape)] = &[
    ("addIns", Nested),
    ("api", Nested),
    ("appRoles", Nested),
    ("description", Text),
    ("displayName", Text),
    ("groupMembershipClaims", Text),
    ("identifierUris", Texts),
    ("info", Nested),
    ("isDeviceOnlyAuthSupported", Flag),
    ("isFallbackPublicClient", Flag),
    ("keyCredentials", Handled),
    ("notes", Text),
    ("optionalClaims", Nested),
    ("parentalControlSettings", Nested),
    ("passwordCredentials", Handled),
    ("publicClient", Nested),
    ("requiredResourceAccess", Nested),
    ("serviceManagementReference", Text),
    ("signInAudience", Text),
    ("spa", Nested),
    ("tags", Texts),
    ("web", Nested),
];
const SERVICE_PRINCIPAL: &[(&str, Shape)] = &[
    ("accountEnabled", Flag),
    ("appId", Text),
    ("appRoleAssignmentRequired", Flag),
    ("description", Text),
    ("displayName", Text),
    ("homepage", Text),
    ("keyCredentials", Handled),
    ("loginUrl", Text),
    ("notes", Text),
    ("passwordCredentials", Handled),
    ("replyUrls", Texts),
    ("tags", Texts),
];

/// The properties of an object that a client sent, each of its known shape. Error `Request_BadRequest`, target the property.
pub(super) async fn properties(kind: ObjectKind, body: Body) -> Result<Map<String, Value>> {
    check(kind, object(&collect(body, BODY_BYTES_MAX).await?)?)
}

/// Any JSON object. Error `Request_BadRequest`.
pub(super) async fn json(body: Body) -> Result<Map<String, Value>> {
    object(&collect(body, BODY_BYTES_MAX).await?)
}

fn object(bytes: &[u8]) -> Result<Map<String, Value>> {
    match serde_json::from_slice(bytes) {
        Ok(Value::Object(map)) => Ok(map),
        _ => Err(bad_request(
            "Unable to read JSON request payload. Please ensure Content-Type header is set and payload is of valid JSON format.",
        )),
    }
}

fn check(kind: ObjectKind, sent: Map<String, Value>) -> Result<Map<String, Value>> {
    let known = known(kind);
    let mut kept = Map::new();
    for (name, value) in sent {
        // "@odata.type" and its kin describe, they are not properties
        if value.is_null() || name.starts_with("@odata.") {
            continue;
        }
        let Some((_, shape)) = known.iter().find(|(known, _)| *known == name) else {
            let name: String = name.chars().filter(|c| !c.is_control()).take(64).collect();
            return Err(bad_request(format!(
                "Property '{name}' does not exist on type '{}', or is not built in this version.",
                kind.odata_type()
            ))
            .at(name));
        };
        if !fits(*shape, &value) {
            return Err(bad_request(format!("Invalid value specified for property '{name}' of resource '{}'.", kind.odata_type())).at(name));
        }
        kept.insert(name, value);
    }
    Ok(kept)
}

fn known(kind: ObjectKind) -> &'static [(&'static str, Shape)] {
    match kind {
        ObjectKind::User => USER,
        ObjectKind::Group => GROUP,
        ObjectKind::Application => APPLICATION,
        ObjectKind::ServicePrincipal => SERVICE_PRINCIPAL,
    }
}

/// Properties that objects have and clients do not set.
const GIVEN: &[&str] = &["id", "createdDateTime", "deletedDateTime"];
const GIVEN_PRINCIPAL: &[&str] = &[
    "appDisplayName",
    "appOwnerOrganizationId",
    "appRoles",
    "oauth2PermissionScopes",
    "servicePrincipalNames",
    "servicePrincipalType",
    "signInAudience",
];

/// True for what an object of the kind may have, and so may be asked about.
pub(super) fn is_property(kind: ObjectKind, name: &str) -> bool {
    let given = match kind {
        ObjectKind::ServicePrincipal => GIVEN_PRINCIPAL,
        ObjectKind::Application => &["appId"],
        ObjectKind::User | ObjectKind::Group => &[],
    };
    known(kind).iter().any(|(known, shape)| *known == name && (*shape != Handled || kind != ObjectKind::User))
        || GIVEN.contains(&name)
        || given.contains(&name)
}

fn fits(shape: Shape, value: &Value) -> bool {
    let text =
        |v: &Value| v.as_str().is_some_and(|t| t.chars().count() <= TEXT_CHARS_MAX && !t.chars().any(|c| c.is_control() && c != '\n'));
    match shape {
        Text => text(value),
        Flag => value.is_boolean(),
        Texts => value.as_array().is_some_and(|all| all.len() <= LIST_MAX && all.iter().all(text)),
        Nested => (value.is_object() || value.is_array()) && value.to_string().len() <= NESTED_BYTES_MAX,
        Handled => true,
    }
}

/// A text that must be there and not empty. Error `Request_BadRequest`, target the property.
pub(super) fn need<'m>(of: &'m Map<String, Value>, name: &'static str) -> Result<&'m str> {
    of.get(name)
        .and_then(Value::as_str)
        .filter(|text| !text.trim().is_empty())
        .ok_or_else(|| bad_request(format!("A value is required for property '{name}' of the resource.")).at(name))
}

/// For the fuzzer: reading a body never panics, and what is kept is kept again.
pub fn fuzz_body(bytes: &[u8]) {
    let Ok(sent) = object(bytes) else { return };
    for kind in ObjectKind::ALL {
        if let Ok(kept) = check(kind, sent.clone()) {
            assert_eq!(check(kind, kept.clone()).ok(), Some(kept));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    #[test]
    fn properties_have_a_name_and_a_shape() {
        let check = |value: Value| check(ObjectKind::User, value.as_object().unwrap().clone());
        assert_eq!(
            check(json!({"displayName": "Anna", "jobTitle": null, "@odata.type": "x", "onPremisesImmutableId": null})).unwrap().len(),
            1
        );
        for (bad, target) in [
            (json!({"displayName": 7}), "displayName"),
            (json!({"accountEnabled": "true"}), "accountEnabled"),
            (json!({"businessPhones": ["1", 2]}), "businessPhones"),
            (json!({"displayName": "a\u{0}"}), "displayName"),
            (json!({"displayName": "a".repeat(1025)}), "displayName"),
            (json!({"isAdmin": true}), "isAdmin"),
        ] {
            assert_eq!(check(bad.clone()).unwrap_err().target.as_deref(), Some(target), "{bad}");
        }
        for bad in [&b""[..], b"[]", b"{", b"{\"a\":1}{}", b"\xff"] {
            assert_eq!(object(bad).unwrap_err().code, "Request_BadRequest");
        }
    }

    proptest! {
        #[test]
        fn bodies_never_panic(noise in proptest::collection::vec(any::<u8>(), 0..100), name in proptest::sample::select(USER.to_vec()), text in "\\PC{0,30}") {
            fuzz_body(&noise);
            fuzz_body(json!({name.0: text}).to_string().as_bytes());
        }
    }
}
