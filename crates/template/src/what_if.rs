//! What a deployment would change: pure functions of what is there and what the template asks for.
//!
//! A template leaves out what a service decides by itself, and nothing here knows the defaults of a resource type. So a
//! property that is there and not in the template counts as unchanged when it stands at the resource's outermost level
//! or directly in its `properties` (a PUT keeps those); deeper down, and in `tags`, it counts as deleted. Values that
//! wait for a runtime function are not compared.

use crate::expression::{Written, written};
use crate::functions::same;
use serde_json::{Map, Value, json};

/// What happens to a resource.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChangeType {
    Create,
    /// Complete mode: it is there and not in the template.
    Delete,
    /// Incremental mode: it is there and not in the template.
    Ignore,
    Modify,
    NoChange,
    /// Redeployed; what changes is not known.
    Deploy,
}

impl ChangeType {
    pub fn as_str(self) -> &'static str {
        match self {
            ChangeType::Create => "Create",
            ChangeType::Delete => "Delete",
            ChangeType::Ignore => "Ignore",
            ChangeType::Modify => "Modify",
            ChangeType::NoChange => "NoChange",
            ChangeType::Deploy => "Deploy",
        }
    }
}

/// What happens to a property.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PropertyChangeType {
    /// Items of an array, in `children` by index.
    Array,
    Create,
    Delete,
    Modify,
}

impl PropertyChangeType {
    pub fn as_str(self) -> &'static str {
        match self {
            PropertyChangeType::Array => "Array",
            PropertyChangeType::Create => "Create",
            PropertyChangeType::Delete => "Delete",
            PropertyChangeType::Modify => "Modify",
        }
    }
}

#[derive(Clone, Debug, PartialEq)]
pub struct PropertyChange {
    /// Dots between names; in `children` of an array the index.
    pub path: String,
    pub kind: PropertyChangeType,
    pub before: Option<Value>,
    pub after: Option<Value>,
    pub children: Vec<PropertyChange>,
}

/// Says nothing about a resource itself.
const IGNORED: [&str; 5] = ["id", "name", "type", "apiVersion", "etag"];

/// A body's changes: `before` as a GET answers, `after` as the template asks.
pub fn difference(before: &Value, after: &Value) -> Vec<PropertyChange> {
    let mut out = Vec::new();
    let (Value::Object(before), Value::Object(after)) = (before, after) else { return out };
    for (name, after) in after.iter().filter(|(n, _)| !IGNORED.contains(&n.as_str())) {
        match (name.as_str(), named(before, name), after) {
            ("properties", Some(Value::Object(before)), Value::Object(after)) => {
                for (name, after) in after {
                    compare(&format!("properties.{name}"), named(before, name), Some(after), &mut out);
                }
            }
            // texts that say the same place
            ("location", Some(Value::String(one)), Value::String(other)) if folded(one) == folded(other) => {}
            (_, before, after) => compare(name, before, Some(after), &mut out),
        }
    }
    out
}

/// The change of one resource. `None`: it is not there, or not in the template.
pub fn change_of(before: Option<&Value>, after: Option<&Value>, complete: bool) -> (ChangeType, Vec<PropertyChange>) {
    match (before, after) {
        (None, _) => (ChangeType::Create, Vec::new()),
        (Some(_), None) if complete => (ChangeType::Delete, Vec::new()),
        (Some(_), None) => (ChangeType::Ignore, Vec::new()),
        (Some(before), Some(after)) => {
            let delta = difference(before, after);
            (if delta.is_empty() { ChangeType::NoChange } else { ChangeType::Modify }, delta)
        }
    }
}

fn folded(place: &str) -> String {
    place.chars().filter(|c| !c.is_whitespace()).flat_map(char::to_lowercase).collect()
}
fn named<'v>(map: &'v Map<String, Value>, name: &str) -> Option<&'v Value> {
    crate::evaluate::find(map, name)
}

fn change(path: &str, kind: PropertyChangeType, before: Option<&Value>, after: Option<&Value>) -> PropertyChange {
    PropertyChange { path: path.to_owned(), kind, before: before.cloned(), after: after.cloned(), children: Vec::new() }
}

/// A text that is still an expression.
fn waits(value: &Value) -> bool {
    value.as_str().is_some_and(|t| matches!(written(t), Written::Expression(_)))
}

fn compare(path: &str, before: Option<&Value>, after: Option<&Value>, out: &mut Vec<PropertyChange>) {
    match (before, after) {
        (_, Some(after)) if waits(after) => {}
        (None, Some(Value::Null)) | (None, None) => {}
        (None, after) => out.push(change(path, PropertyChangeType::Create, None, after)),
        (before, None) => out.push(change(path, PropertyChangeType::Delete, before, None)),
        (Some(Value::Object(one)), Some(Value::Object(other))) => {
            for (name, after) in other {
                compare(&format!("{path}.{name}"), named(one, name), Some(after), out);
            }
            for (name, before) in one.iter().filter(|(n, _)| named(other, n).is_none()) {
                compare(&format!("{path}.{name}"), Some(before), None, out);
            }
        }
        (Some(Value::Array(one)), Some(Value::Array(other))) => {
            let mut children = Vec::new();
            for at in 0..one.len().max(other.len()) {
                compare(&at.to_string(), one.get(at), other.get(at), &mut children);
            }
            if !children.is_empty() {
                out.push(PropertyChange { children, ..change(path, PropertyChangeType::Array, before, after) });
            }
        }
        (Some(one), Some(other)) if same(one, other) => {}
        (before, after) => out.push(change(path, PropertyChangeType::Modify, before, after)),
    }
}

impl PropertyChange {
    /// As `whatIf` answers.
    pub fn to_json(&self) -> Value {
        let children: Vec<Value> = self.children.iter().map(PropertyChange::to_json).collect();
        json!({
            "path": self.path,
            "propertyChangeType": self.kind.as_str(),
            "before": self.before,
            "after": self.after,
            "children": if children.is_empty() { Value::Null } else { Value::Array(children) },
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_left_out_stays_at_the_outside_and_goes_inside() {
        let before = json!({"id": "x", "location": "francecentral", "tags": {"a": "1", "b": "2"}, "sku": {"name": "S"},
            "properties": {"kept": 1, "acl": {"x": 1, "y": 2}, "list": [1, 2], "provisioningState": "Succeeded"}});
        let after = json!({"location": "France Central", "tags": {"a": "1", "c": "3"}, "properties": {"acl": {"x": 2}, "list": [1, 3, 4], "new": true}});
        let found: Vec<(String, &str)> = difference(&before, &after).iter().map(|c| (c.path.clone(), c.kind.as_str())).collect();
        let want = [
            ("tags.c", "Create"),
            ("tags.b", "Delete"),
            ("properties.acl.x", "Modify"),
            ("properties.acl.y", "Delete"),
            ("properties.list", "Array"),
            ("properties.new", "Create"),
        ];
        assert_eq!(found, want.map(|(p, k)| (p.to_owned(), k)));
        let list = difference(&before, &after).remove(4);
        assert_eq!(
            list.children.iter().map(|c| (c.path.as_str(), c.kind)).collect::<Vec<_>>(),
            [("1", PropertyChangeType::Modify), ("2", PropertyChangeType::Create)]
        );
        assert_eq!(list.to_json()["children"][0]["after"], 3);
    }

    #[test]
    fn changes_of_resources() {
        let (a, b) = (json!({"tags": {"x": "1"}}), json!({"tags": {"x": "2"}}));
        assert_eq!(change_of(None, Some(&a), false).0, ChangeType::Create);
        assert_eq!(change_of(Some(&a), Some(&a), false).0, ChangeType::NoChange);
        assert_eq!(change_of(Some(&a), Some(&b), false).0, ChangeType::Modify);
        assert_eq!(change_of(Some(&a), None, false).0, ChangeType::Ignore);
        assert_eq!(change_of(Some(&a), None, true).0, ChangeType::Delete);
        assert_eq!(change_of(Some(&a), Some(&json!({"tags": {"x": "[reference('y').z]"}})), false).0, ChangeType::NoChange);
    }
}
