//! Resource Manager's rules for names, tags, versions and bodies, and its words where they are broken.

use base::{Error, Location, ResourceId, Result};
use bytes::Bytes;
use serde_json::{Map, Value};
use service::{Body, Head};

/// Resource Manager's own limit for a request body.
pub(crate) const BODY_BYTES_MAX: usize = 4 << 20;
const TAGS_MAX: usize = 50;

/// 1 to 90 letters, digits and `-_.()`, no final period (Azure naming rules, "resourceGroups").
pub(crate) fn group_name(name: &str) -> Result<&str> {
    if name.chars().count() > 90 {
        return Err(Error::invalid("ResourceGroupNameTooLong", "The resource group name cannot be longer than 90 characters.").at("name"));
    }
    let legal = |c: char| c.is_alphanumeric() || matches!(c, '-' | '_' | '.' | '(' | ')');
    if name.is_empty() || name.ends_with('.') || !name.chars().all(legal) {
        return Err(Error::invalid(
            "InvalidResourceGroup",
            format!("The provided resource group name '{name}' has these invalid characters or ends with a period: it may hold letters, digits, '-', '_', '.', '(' and ')'."),
        )
        .at("name"));
    }
    Ok(name)
}

/// `{scope}/providers/Microsoft.Authorization/{kind}/{name}` of something that a client names. Error `InvalidResourceName`:
/// an over-long name, or one with a character of `<>%&\\?/#:` or a final space or period.
pub(crate) fn ruling_id(scope: &ResourceId, kind: &str, name: &str, longest: usize) -> Result<ResourceId> {
    let illegal = |c: char| c.is_control() || "<>%&\\?/#:".contains(c);
    if name.is_empty() || name.chars().count() > longest || name.chars().any(illegal) || name.ends_with([' ', '.']) {
        return Err(Error::invalid(
            "InvalidResourceName",
            format!("The name '{name}' is invalid: it has 1 to {longest} characters, none of '<>%&\\?/#:', and does not end in a space or period."),
        )
        .at("name"));
    }
    scope.provider(&format!("Microsoft.Authorization/{kind}"), name)
}

/// `2024-11-01`, `2022-05-01-preview`. Any well-formed one is served, newer than we know too (clients ship first).
pub(crate) fn api_version(head: &Head) -> Result<String> {
    let missing =
        || Error::invalid("MissingApiVersionParameter", "The api-version query parameter (?api-version=) is required for all requests.");
    let version = head.query.get("api-version").filter(|v| !v.is_empty()).ok_or_else(missing)?;
    if well_formed(version) {
        return Ok(version.to_ascii_lowercase());
    }
    Err(Error::invalid(
        "InvalidApiVersionParameter",
        format!("The api-version '{version}' is invalid. It has the form 'YYYY-MM-DD' or 'YYYY-MM-DD-preview'."),
    ))
}

fn well_formed(version: &str) -> bool {
    let Some((date, rest)) = version.split_at_checked(10) else { return false };
    let digits = date.bytes().enumerate().all(|(i, b)| if i == 4 || i == 7 { b == b'-' } else { b.is_ascii_digit() });
    let number = |from: usize, to: usize| date.get(from..to).and_then(|t| t.parse::<u8>().ok()).unwrap_or(0);
    let suffix = rest.is_empty() || ["-preview", "-alpha", "-beta", "-rc", "-privatepreview"].iter().any(|s| rest.eq_ignore_ascii_case(s));
    digits && suffix && (1..=12).contains(&number(5, 7)) && (1..=31).contains(&number(8, 10))
}

/// The tags of a body: at most 50, names of at most 512 characters without `<>%&\?/`, values of at most 256.
pub(crate) fn tags(value: Option<&Value>) -> Result<Option<Map<String, Value>>> {
    let wrong = |code: &'static str, why: String| Error::invalid(code, why).at("tags");
    let map = match value {
        None | Some(Value::Null) => return Ok(None),
        Some(Value::Object(map)) => map,
        Some(_) => return Err(wrong("InvalidRequestContent", "The tags are not an object of strings.".into())),
    };
    if map.len() > TAGS_MAX {
        return Err(wrong("TooManyTags", format!("The number of tags, {}, exceeds the maximum of {TAGS_MAX}.", map.len())));
    }
    let mut seen = std::collections::HashSet::new();
    for (name, value) in map {
        let Value::String(value) = value else {
            return Err(wrong("InvalidTagValue", format!("The value of the tag '{name}' is not a string.")));
        };
        if name.is_empty() || name.chars().count() > 512 || name.contains(['<', '>', '%', '&', '\\', '?', '/']) {
            return Err(wrong(
                "InvalidTagNameCharacters",
                format!("The tag name '{name}' is empty, longer than 512 characters or holds one of <>%&\\?/."),
            ));
        }
        if value.chars().count() > 256 {
            return Err(wrong("InvalidTagValueLength", format!("The value of the tag '{name}' is longer than 256 characters.")));
        }
        if !seen.insert(name.to_lowercase()) {
            return Err(wrong("DuplicateTagNames", format!("The tag '{name}' is there twice: tag names compare without case.")));
        }
    }
    Ok(Some(map.clone()))
}

/// The location of a body, which has to be this region's.
pub(crate) fn location(value: Option<&Value>, here: &Location, refused: &'static str, what: &str) -> Result<Option<Location>> {
    let text = match value {
        None | Some(Value::Null) => return Ok(None),
        Some(Value::String(text)) => text,
        Some(_) => return Err(Error::invalid("InvalidRequestContent", "The location is not a string.").at("location")),
    };
    let elsewhere = || {
        Error::invalid(
            refused,
            format!("The provided location '{text}' is not available for {what}. List of available regions is '{here}'."),
        )
        .at("location")
    };
    match Location::new(text) {
        Ok(location) if location == *here => Ok(Some(location)),
        _ => Err(elsewhere()),
    }
}

/// The body as a JSON object. Error `InvalidRequestContent`.
pub(crate) async fn json_body(body: Body) -> Result<Map<String, Value>> {
    object(&service::collect(body, BODY_BYTES_MAX).await?)
}

pub(crate) fn object(bytes: &Bytes) -> Result<Map<String, Value>> {
    match serde_json::from_slice(bytes) {
        Ok(Value::Object(map)) => Ok(map),
        Ok(_) => Err(Error::invalid("InvalidRequestContent", "The request content was invalid: a JSON object is expected.")),
        Err(e) => {
            Err(Error::invalid("InvalidRequestContent", format!("The request content was invalid and could not be deserialized: '{e}'.")))
        }
    }
}

pub(crate) fn fuzz_group_body(bytes: &[u8]) {
    if let Ok(map) = object(&Bytes::copy_from_slice(bytes)) {
        if let Ok(Some(found)) = tags(map.get("tags")) {
            assert!(found.len() <= TAGS_MAX);
        }
        for (name, _) in map {
            drop(group_name(&name));
            assert!(!well_formed(&name) || name.len() >= 10);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    #[test]
    fn group_names() {
        for good in ["rg", "Rg-1_(x).y", "groupe-é", &"a".repeat(90)] {
            assert!(group_name(good).is_ok(), "{good}");
        }
        for bad in ["", "a.", "a b", "a/b", "a%b", "é?"] {
            assert_eq!(group_name(bad).unwrap_err().code, "InvalidResourceGroup", "{bad}");
        }
        assert_eq!(group_name(&"a".repeat(91)).unwrap_err().code, "ResourceGroupNameTooLong");
    }

    #[test]
    fn versions() {
        for good in ["2024-11-01", "2022-05-01-preview", "2099-12-31"] {
            assert!(well_formed(good), "{good}");
        }
        for bad in ["", "latest", "2024-1-1", "2024-13-01", "2024-11-00", "2024-11-01x", "2024-11-01-", "20241101--", "é024-11-01"] {
            assert!(!well_formed(bad), "{bad}");
        }
    }

    #[test]
    fn tag_rules() {
        let many: Map<String, Value> = (0..51).map(|i| (i.to_string(), json!("x"))).collect();
        for (bad, code) in [
            (Value::Object(many), "TooManyTags"),
            (json!({"a": 1}), "InvalidTagValue"),
            (json!({"a<": "x"}), "InvalidTagNameCharacters"),
            (json!({"": "x"}), "InvalidTagNameCharacters"),
            (json!({"a": "x".repeat(257)}), "InvalidTagValueLength"),
            (json!({"a": "x", "A": "y"}), "DuplicateTagNames"),
            (json!([1]), "InvalidRequestContent"),
        ] {
            assert_eq!(tags(Some(&bad)).unwrap_err().code, code);
        }
        assert_eq!(tags(Some(&json!({"é": ""}))).unwrap().unwrap().len(), 1);
    }

    #[test]
    fn locations_are_this_regions() {
        let here = Location::new("francecentral").unwrap();
        assert!(location(Some(&json!("France Central")), &here, "X", "a").unwrap().is_some());
        assert_eq!(
            location(Some(&json!("westeurope")), &here, "LocationNotAvailableForResourceGroup", "resource group").unwrap_err().code,
            "LocationNotAvailableForResourceGroup"
        );
        assert!(location(Some(&json!(3)), &here, "X", "a").is_err());
    }

    proptest! {
        #[test]
        fn bodies_do_not_panic(bytes in prop::collection::vec(any::<u8>(), 0..80)) { fuzz_group_body(&bytes); }
    }
}
