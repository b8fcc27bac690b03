//! What a policy judges: one resource as a client wishes it, or as it is; and how a policy's `field` reaches into it
//! (Azure Policy, "policy rule: fields", "aliases").

use serde_json::{Map, Value};

/// Knows which property an alias means. Aliases are the resource providers'.
pub trait Aliases {
    /// The path below the resource: `properties.networkAcls.ipRules[*].value`. `None`: there is no such alias.
    fn path(&self, alias: &str) -> Option<String>;
    /// A resource of this type can be made here. What can't be is judged by nobody, so its aliases are taken as they are.
    fn serves(&self, resource_type: &str) -> bool;
}

/// A resource to be judged: `{"id", "name", "type", "location", "kind", "sku", "tags", "identity", "properties"…}`.
#[derive(Clone, Debug, PartialEq)]
pub struct Subject {
    pub body: Value,
}

impl Subject {
    pub fn text(&self, name: &str) -> &str {
        self.body.get(name).and_then(Value::as_str).unwrap_or("")
    }
    pub fn tags(&self) -> Option<&Map<String, Value>> {
        self.body.get("tags")?.as_object()
    }
    pub fn tag(&self, name: &str) -> Option<&Value> {
        self.tags()?.iter().find(|(k, _)| k.eq_ignore_ascii_case(name)).map(|(_, v)| v)
    }
    /// The type, or what is said of it.
    pub fn kind(&self) -> &str {
        self.text("type")
    }
    /// `parent/child` for nested resources: the names in the id, joined.
    pub fn full_name(&self) -> String {
        let id = self.text("id");
        let Some(at) = id.to_ascii_lowercase().rfind("/providers/") else { return self.text("name").to_owned() };
        let names: Vec<&str> = id[at + "/providers/".len()..].split('/').skip(2).step_by(2).collect();
        if names.is_empty() { self.text("name").to_owned() } else { names.join("/") }
    }
}

/// A `field`, read once.
#[derive(Clone, Debug, PartialEq)]
pub enum Field {
    Name,
    FullName,
    Kind,
    Type,
    Location,
    Id,
    Tags,
    Tag(String),
    /// `identity.type` and its like: the path itself.
    Path(Path),
    /// An alias, and the path it means.
    Alias(String, Path),
}

/// `properties.rules[*].value`: names; [`Step::Each`] goes into every element.
pub type Path = Vec<Step>;

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    Named(String),
    Each,
}

/// Reads `a.b[*].c`. `None`: it is no path.
pub fn path(text: &str) -> Option<Path> {
    let mut found = Vec::new();
    for part in text.split('.') {
        let (name, each) = match part.strip_suffix("[*]") {
            Some(name) => (name, true),
            None => (part, false),
        };
        if name.is_empty() || name.contains(['[', ']', '*']) || found.len() > 32 {
            return None;
        }
        found.push(Step::Named(name.to_owned()));
        if each {
            found.push(Step::Each);
        }
    }
    Some(found)
}

impl Field {
    /// Error, in words: a name that is neither a field nor an alias.
    pub fn read(text: &str, aliases: &dyn Aliases) -> Result<Field, String> {
        Ok(match text.to_ascii_lowercase().as_str() {
            "name" => Field::Name,
            "fullname" => Field::FullName,
            "kind" => Field::Kind,
            "type" => Field::Type,
            "location" => Field::Location,
            "id" => Field::Id,
            "tags" => Field::Tags,
            lower if lower.starts_with("tags.") => Field::Tag(text[5..].to_owned()),
            lower if lower.starts_with("tags[") && lower.ends_with(']') => {
                let inside = &text[5..text.len() - 1];
                Field::Tag(inside.strip_prefix('\'').and_then(|t| t.strip_suffix('\'')).unwrap_or(inside).to_owned())
            }
            lower if lower.starts_with("identity.") => Field::Path(path(text).ok_or_else(|| format!("the field '{text}' is malformed"))?),
            _ => {
                let unknown = || format!("The 'field' property '{text}' of the policy rule doesn't exist as an alias");
                let named = aliases.path(text).or_else(|| by_rule(text, aliases)).ok_or_else(unknown)?;
                Field::Alias(text.to_owned(), path(&named).ok_or_else(unknown)?)
            }
        })
    }
    /// Goes into every element of an array.
    pub fn is_many(&self) -> bool {
        matches!(self, Field::Path(path) | Field::Alias(_, path) if path.contains(&Step::Each))
    }
    /// Every value that is there; `None` for one that is not (only of fields that are not [`Field::is_many`]).
    pub fn values<'s>(&self, subject: &'s Subject) -> Vec<Option<std::borrow::Cow<'s, Value>>> {
        use std::borrow::Cow;
        let at = |name: &str| vec![subject.body.get(name).filter(|v| !v.is_null()).map(Cow::Borrowed)];
        match self {
            Field::Name => at("name"),
            Field::FullName => vec![Some(Cow::Owned(Value::String(subject.full_name())))],
            Field::Kind => at("kind"),
            Field::Type => at("type"),
            Field::Location => at("location"),
            Field::Id => at("id"),
            Field::Tags => at("tags"),
            Field::Tag(name) => vec![subject.tag(name).map(Cow::Borrowed)],
            Field::Path(path) | Field::Alias(_, path) => {
                let mut found = Vec::new();
                collect(&subject.body, path, &mut found);
                if found.is_empty() && !self.is_many() {
                    return vec![None];
                }
                found.into_iter().map(|v| Some(Cow::Borrowed(v))).collect()
            }
        }
    }
}

/// Aliases follow one rule where nobody says otherwise: `Namespace/type/property` is `properties.property`. Only for types
/// that nobody can make here.
fn by_rule(text: &str, aliases: &dyn Aliases) -> Option<String> {
    let (kind, property) = text.rsplit_once('/')?;
    let (namespace, kind_name) = kind.split_once('/')?;
    let legal = |t: &str| !t.is_empty() && t.chars().all(|c| c.is_ascii_alphanumeric() || "./[]*_-".contains(c));
    if !legal(property) || !legal(kind_name) || !namespace.contains('.') || aliases.serves(kind) {
        return None;
    }
    let head = property.split(['.', '[']).next()?;
    let outside = ["sku", "kind", "identity", "plan", "zones", "location", "managedby"];
    Some(if outside.contains(&head.to_ascii_lowercase().as_str()) { property.to_owned() } else { format!("properties.{property}") })
}

pub(crate) fn named<'v>(inside: &'v Value, name: &str) -> Option<&'v Value> {
    let map = inside.as_object()?;
    map.get(name).or_else(|| map.iter().find(|(k, _)| k.eq_ignore_ascii_case(name)).map(|(_, v)| v))
}

/// Every value at the path, in order.
pub(crate) fn collect<'v>(inside: &'v Value, path: &[Step], found: &mut Vec<&'v Value>) {
    match path {
        [] if inside.is_null() => {}
        [] => found.push(inside),
        [Step::Named(name), rest @ ..] => {
            if let Some(next) = named(inside, name) {
                collect(next, rest, found);
            }
        }
        [Step::Each, rest @ ..] => inside.as_array().into_iter().flatten().for_each(|item| collect(item, rest, found)),
    }
}

/// What a modification came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Changed {
    Yes,
    /// It was so already.
    No,
    /// There is another value, which was to be left as it is.
    Other,
}

/// Writes `value` at the field: `over` replaces another value, otherwise it stays ([`Changed::Other`]). At `a[*]` an
/// element is added. Error, in words: a place that can't be written.
pub fn put(subject: &mut Subject, field: &Field, value: &Value, over: bool) -> Result<Changed, String> {
    match field {
        Field::Tag(name) => {
            let tags =
                subject.body.as_object_mut().ok_or("the resource is no object")?.entry("tags").or_insert_with(|| Value::Object(Map::new()));
            if tags.is_null() {
                *tags = Value::Object(Map::new());
            }
            let tags = tags.as_object_mut().ok_or("the tags are no object")?;
            let known = tags.keys().find(|k| k.eq_ignore_ascii_case(name)).cloned();
            let text = Value::String(crate::expression::text_of(value));
            Ok(match known {
                Some(known) if tags[&known] == text => Changed::No,
                Some(_) if !over => Changed::Other,
                Some(known) => {
                    tags.insert(known, text);
                    Changed::Yes
                }
                None => {
                    tags.insert(name.clone(), text);
                    Changed::Yes
                }
            })
        }
        Field::Tags => match (subject.tags().cloned(), value) {
            (None, Value::Object(_)) => {
                subject.body["tags"] = value.clone();
                Ok(Changed::Yes)
            }
            (Some(have), Value::Object(want)) if have == *want => Ok(Changed::No),
            (Some(_), Value::Object(_)) if !over => Ok(Changed::Other),
            (_, Value::Object(_)) => {
                subject.body["tags"] = value.clone();
                Ok(Changed::Yes)
            }
            _ => Err("tags are an object".into()),
        },
        Field::Path(path) | Field::Alias(_, path) => put_at(&mut subject.body, path, value, over),
        _ => Err("this field can't be changed".into()),
    }
}

fn put_at(inside: &mut Value, path: &[Step], value: &Value, over: bool) -> Result<Changed, String> {
    match path {
        [] => Err("the path is empty".into()),
        [Step::Each] => {
            if inside.is_null() {
                *inside = Value::Array(Vec::new());
            }
            let items = inside.as_array_mut().ok_or("it is no array")?;
            if items.contains(value) {
                return Ok(Changed::No);
            }
            items.push(value.clone());
            Ok(Changed::Yes)
        }
        [Step::Each, rest @ ..] => {
            let mut changed = Changed::No;
            for item in inside.as_array_mut().into_iter().flatten() {
                match put_at(item, rest, value, over)? {
                    Changed::Other => return Ok(Changed::Other),
                    Changed::Yes => changed = Changed::Yes,
                    Changed::No => {}
                }
            }
            Ok(changed)
        }
        [Step::Named(name), rest @ ..] => {
            if inside.is_null() {
                *inside = Value::Object(Map::new());
            }
            let map = inside.as_object_mut().ok_or("it is no object")?;
            let known = map.keys().find(|k| k.eq_ignore_ascii_case(name)).cloned().unwrap_or_else(|| name.clone());
            let slot = map.entry(known).or_insert(Value::Null);
            if !rest.is_empty() {
                return put_at(slot, rest, value, over);
            }
            if crate::compare::equal(slot, value) {
                return Ok(Changed::No);
            }
            if !slot.is_null() && !over {
                return Ok(Changed::Other);
            }
            *slot = value.clone();
            Ok(Changed::Yes)
        }
    }
}

/// Takes away what is at the field. True: something was there.
pub fn remove(subject: &mut Subject, field: &Field) -> bool {
    match field {
        Field::Tag(name) => {
            let Some(tags) = subject.body.get_mut("tags").and_then(Value::as_object_mut) else { return false };
            let known = tags.keys().find(|k| k.eq_ignore_ascii_case(name)).cloned();
            known.is_some_and(|k| tags.shift_remove(&k).is_some())
        }
        Field::Tags => subject.body.as_object_mut().is_some_and(|m| m.shift_remove("tags").is_some()),
        Field::Path(path) | Field::Alias(_, path) => remove_at(&mut subject.body, path),
        _ => false,
    }
}

fn remove_at(inside: &mut Value, path: &[Step]) -> bool {
    match path {
        [Step::Named(name)] => {
            let Some(map) = inside.as_object_mut() else { return false };
            let known = map.keys().find(|k| k.eq_ignore_ascii_case(name)).cloned();
            known.is_some_and(|k| map.shift_remove(&k).is_some())
        }
        [Step::Named(name), rest @ ..] => {
            let Some(map) = inside.as_object_mut() else { return false };
            let known = map.keys().find(|k| k.eq_ignore_ascii_case(name)).cloned();
            known.and_then(|k| map.get_mut(&k)).is_some_and(|next| remove_at(next, rest))
        }
        [Step::Each] => inside.as_array_mut().is_some_and(|items| !std::mem::take(items).is_empty()),
        [Step::Each, rest @ ..] => {
            let mut removed = false;
            for item in inside.as_array_mut().into_iter().flatten() {
                removed |= remove_at(item, rest);
            }
            removed
        }
        [] => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    struct Some1;
    impl Aliases for Some1 {
        fn path(&self, alias: &str) -> Option<String> {
            alias.strip_prefix("N.S/t/").filter(|a| *a != "unknown").map(|p| format!("properties.{p}"))
        }
        fn serves(&self, kind: &str) -> bool {
            kind == "N.S/t"
        }
    }

    fn subject() -> Subject {
        Subject {
            body: json!({
                "id": "/subscriptions/s/resourceGroups/g/providers/N.S/t/a/u/b", "name": "b", "type": "N.S/t/u", "tags": {"Env": "x"},
                "properties": {"rules": [{"value": 1}, {"value": 2}, {}], "deep": {"er": true}},
            }),
        }
    }
    fn read(text: &str) -> Result<Field, String> {
        Field::read(text, &Some1)
    }
    fn values(text: &str) -> Vec<Option<Value>> {
        read(text).unwrap().values(&subject()).into_iter().map(|v| v.map(|v| v.into_owned())).collect()
    }

    #[test]
    fn fields_reach_what_they_name() {
        assert_eq!(values("fullName"), [Some(json!("a/b"))]);
        assert_eq!(values("tags['env']"), [Some(json!("x"))]);
        assert_eq!(values("tags.none"), [None]);
        assert_eq!(values("N.S/t/rules[*].value"), [Some(json!(1)), Some(json!(2))]);
        assert_eq!(values("N.S/t/none[*]"), []);
        assert_eq!(values("N.S/t/DEEP.er"), [Some(json!(true))]);
        assert_eq!(values("identity.type"), [None]);
        assert!(read("N.S/t/unknown").unwrap_err().contains("alias"));
        assert!(read("nonsense").is_err());
        assert_eq!(read("Microsoft.Compute/vm/sku.name").unwrap().values(&subject()), [None]);
    }

    #[test]
    fn changes_are_made_where_the_field_is() {
        let mut s = subject();
        assert_eq!(put(&mut s, &read("tags.env").unwrap(), &json!("y"), false), Ok(Changed::Other));
        assert_eq!(put(&mut s, &read("tags.env").unwrap(), &json!("y"), true), Ok(Changed::Yes));
        assert_eq!(s.body["tags"], json!({"Env": "y"}));
        assert_eq!(put(&mut s, &read("N.S/t/new.one").unwrap(), &json!(3), false), Ok(Changed::Yes));
        assert_eq!(put(&mut s, &read("N.S/t/list[*]").unwrap(), &json!("e"), false), Ok(Changed::Yes));
        assert_eq!(put(&mut s, &read("N.S/t/list[*]").unwrap(), &json!("e"), false), Ok(Changed::No));
        assert_eq!((&s.body["properties"]["new"], &s.body["properties"]["list"]), (&json!({"one": 3}), &json!(["e"])));
        assert!(put(&mut s, &read("type").unwrap(), &json!("e"), false).is_err());
        assert!(remove(&mut s, &read("N.S/t/deep.er").unwrap()));
        assert!(!remove(&mut s, &read("N.S/t/deep.er").unwrap()));
        assert!(remove(&mut s, &read("tags[env]").unwrap()));
    }
}
