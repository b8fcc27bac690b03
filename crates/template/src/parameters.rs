//! Parameters: what may be given, and user-defined types (`definitions`, `$ref`).

use crate::evaluate::{Eval, find};
use crate::functions::same;
use crate::host::Question;
use crate::words::{Got, type_of, wrong};
use serde_json::{Map, Value};

const HELP: &str = "Please see https://aka.ms/arm-create-parameter-file for usage details";
/// `$ref` to `$ref`, and types inside types.
const DEPTH_MAX: usize = 32;

/// The type of a parameter or an output.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    String,
    SecureString,
    Int,
    Bool,
    Object,
    SecureObject,
    Array,
}

impl Kind {
    pub fn of(text: &str) -> Option<Kind> {
        Some(match text.to_ascii_lowercase().as_str() {
            "string" => Kind::String,
            "securestring" => Kind::SecureString,
            "int" => Kind::Int,
            "bool" => Kind::Bool,
            "object" => Kind::Object,
            "secureobject" => Kind::SecureObject,
            "array" => Kind::Array,
            _ => return None,
        })
    }
    /// As a GET of a deployment spells it.
    pub fn as_str(self) -> &'static str {
        match self {
            Kind::String => "String",
            Kind::SecureString => "SecureString",
            Kind::Int => "Int",
            Kind::Bool => "Bool",
            Kind::Object => "Object",
            Kind::SecureObject => "SecureObject",
            Kind::Array => "Array",
        }
    }
    /// Its values are shown to nobody.
    pub fn is_secure(self) -> bool {
        matches!(self, Kind::SecureString | Kind::SecureObject)
    }
    pub(crate) fn fits(self, value: &Value) -> bool {
        match self {
            Kind::String | Kind::SecureString => value.is_string(),
            Kind::Int => value.as_i64().is_some(),
            Kind::Bool => value.is_boolean(),
            Kind::Object | Kind::SecureObject => value.is_object(),
            Kind::Array => value.is_array(),
        }
    }
    /// As Azure's messages name what was expected.
    pub(crate) fn expected(self) -> &'static str {
        match self {
            Kind::String | Kind::SecureString => "String, Uri",
            Kind::Int => "Integer",
            Kind::Bool => "Boolean",
            Kind::Object | Kind::SecureObject => "Object",
            Kind::Array => "Array",
        }
    }
}

/// A declaration with its `$ref`s followed: the names nearest to it win.
pub(crate) fn resolved(declaration: &Value, definitions: &Map<String, Value>) -> Got<Map<String, Value>> {
    let mut out = Map::new();
    let mut at = declaration;
    for _ in 0..DEPTH_MAX {
        let Some(map) = at.as_object() else { return wrong("A declaration of a type is not an object") };
        for (name, value) in map {
            if name != "$ref" && !out.contains_key(name) {
                out.insert(name.clone(), value.clone());
            }
        }
        let Some(reference) = map.get("$ref") else { return Ok(out) };
        let name = reference.as_str().and_then(|r| r.strip_prefix("#/definitions/"));
        match name.and_then(|n| find(definitions, n)) {
            Some(next) => at = next,
            None => return wrong(format!("The type reference {reference} is not found in the template's definitions")),
        }
    }
    wrong("The definitions of types refer to each other in a circle")
}

/// The kind of a declaration. Error: it has none that is known.
pub(crate) fn kind_of(name: &str, declaration: &Map<String, Value>) -> Got<Kind> {
    let text = declaration.get("type").and_then(Value::as_str);
    match text.and_then(Kind::of) {
        Some(kind) => Ok(kind),
        None => wrong(format!("The template parameter '{name}' has no valid type: '{}'. {HELP}", text.unwrap_or(""))),
    }
}

/// True where the template can do without a value from outside.
pub(crate) fn is_optional(declaration: &Value, definitions: &Map<String, Value>) -> bool {
    declaration.get("defaultValue").is_some() || resolved(declaration, definitions).is_ok_and(|d| is_nullable(&d))
}
fn is_nullable(declaration: &Map<String, Value>) -> bool {
    declaration.get("nullable").and_then(Value::as_bool).unwrap_or(false)
}

/// The value that a parameter has in this deployment, checked.
pub(crate) fn value_of(eval: &mut Eval, name: &str, declaration: &Value) -> Got {
    let given = find(&eval.context.given, name).cloned();
    let value = match given {
        Some(Value::Object(map)) if map.contains_key("reference") => secret(eval, name, &map["reference"])?,
        Some(Value::Object(map)) if map.contains_key("value") => map["value"].clone(),
        Some(_) => return wrong(format!("The parameter '{name}' has neither a value nor a reference. {HELP}")),
        None => Value::Null,
    };
    let value = match (value, declaration.get("defaultValue")) {
        (Value::Null, Some(default)) => eval.value(default)?,
        (value, _) => value,
    };
    let schema = resolved(declaration, &eval.context.definitions)?;
    if eval.context.hide_secrets && kind_of(name, &schema)?.is_secure() {
        return Ok(hidden(value));
    }
    if value.is_null() && is_nullable(&schema) {
        return Ok(value);
    }
    check(name, &schema, &value, &eval.context.definitions, false, 0)?;
    Ok(value)
}

/// The same shape, without what it says.
fn hidden(value: Value) -> Value {
    match value {
        Value::Object(map) => Value::Object(map.into_iter().map(|(name, value)| (name, hidden(value))).collect()),
        Value::Array(all) => Value::Array(all.into_iter().map(hidden).collect()),
        Value::Null => Value::Null,
        _ => Value::String("*******".to_owned()),
    }
}

fn secret(eval: &mut Eval, name: &str, reference: &Value) -> Got {
    let vault = reference.pointer("/keyVault/id").and_then(Value::as_str);
    let secret = reference.get("secretName").and_then(Value::as_str);
    let version = reference.get("secretVersion").and_then(Value::as_str).map(str::to_owned);
    match (vault, secret) {
        (Some(vault), Some(secret)) => eval.ask(Question::Secret { vault: vault.to_owned(), name: secret.to_owned(), version }),
        _ => wrong(format!("The reference of the parameter '{name}' has no keyVault.id or no secretName. {HELP}")),
    }
}

/// `secret`: the value stands in something secure, so that no message shows it.
pub(crate) fn check(
    name: &str,
    schema: &Map<String, Value>,
    value: &Value,
    definitions: &Map<String, Value>,
    secret: bool,
    depth: usize,
) -> Got<()> {
    if depth > DEPTH_MAX {
        return wrong(format!("The value of the template parameter '{name}' is nested too deeply"));
    }
    let kind = kind_of(name, schema)?;
    let secret = secret || kind.is_secure();
    if !kind.fits(value) {
        return wrong(format!(
            "The provided value for the template parameter '{name}' is not valid. Expected a value of type '{}', but received a value of type '{}'. {HELP}",
            kind.expected(),
            type_of(value)
        ));
    }
    if let Some(allowed) = schema.get("allowedValues").and_then(Value::as_array)
        && !is_allowed(allowed, value)
    {
        let shown = if secret { "(secret)".to_owned() } else { shown(value) };
        let all: Vec<String> = allowed.iter().map(self::shown).collect();
        return wrong(format!(
            "The provided value '{shown}' for the template parameter '{name}' is not valid. The parameter value is not part of the allowed value(s): '{}'",
            all.join(",")
        ));
    }
    let number = |name: &str| schema.get(name).and_then(Value::as_i64);
    let length = match value {
        Value::String(text) => Some(text.chars().count() as i64),
        Value::Array(all) => Some(all.len() as i64),
        _ => None,
    };
    for (actual, least, most, what) in
        [(length, "minLength", "maxLength", "Length of the value"), (value.as_i64(), "minValue", "maxValue", "The value")]
    {
        let Some(actual) = actual else { continue };
        if let Some(bound) = number(least).filter(|b| actual < *b) {
            return wrong(format!(
                "The provided value for the template parameter '{name}' is not valid. {what} should be greater than or equal to '{bound}'. {HELP}"
            ));
        }
        if let Some(bound) = number(most).filter(|b| actual > *b) {
            return wrong(format!(
                "The provided value for the template parameter '{name}' is not valid. {what} should be less than or equal to '{bound}'. {HELP}"
            ));
        }
    }
    match value {
        Value::Array(all) => check_items(name, schema, all, definitions, secret, depth),
        Value::Object(map) => check_properties(name, schema, map, definitions, secret, depth),
        _ => Ok(()),
    }
}

fn shown(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

/// For arrays: each item is one of the allowed, or the array itself is.
fn is_allowed(allowed: &[Value], value: &Value) -> bool {
    allowed.iter().any(|a| same(a, value)) || value.as_array().is_some_and(|all| all.iter().all(|v| allowed.iter().any(|a| same(a, v))))
}

fn check_one(name: &str, declaration: &Value, value: &Value, definitions: &Map<String, Value>, secret: bool, depth: usize) -> Got<()> {
    let schema = resolved(declaration, definitions)?;
    if value.is_null() && is_nullable(&schema) {
        return Ok(());
    }
    check(name, &schema, value, definitions, secret, depth + 1)
}

fn check_items(
    name: &str,
    schema: &Map<String, Value>,
    all: &[Value],
    definitions: &Map<String, Value>,
    secret: bool,
    depth: usize,
) -> Got<()> {
    let first = schema.get("prefixItems").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    for (at, value) in all.iter().enumerate() {
        let declaration = first.get(at).or_else(|| schema.get("items"));
        match declaration {
            Some(Value::Bool(false)) => {
                return wrong(format!("The array of the template parameter '{name}' has more items than its type allows. {HELP}"));
            }
            Some(declaration) if declaration.is_object() => {
                check_one(&format!("{name}[{at}]"), declaration, value, definitions, secret, depth)?
            }
            _ => {}
        }
    }
    Ok(())
}

fn check_properties(
    name: &str,
    schema: &Map<String, Value>,
    map: &Map<String, Value>,
    definitions: &Map<String, Value>,
    secret: bool,
    depth: usize,
) -> Got<()> {
    if let Some(discriminator) = schema.get("discriminator") {
        let property = discriminator.get("propertyName").and_then(Value::as_str).unwrap_or("");
        let chosen = find(map, property).and_then(Value::as_str);
        let variants = discriminator.get("mapping").and_then(Value::as_object);
        return match chosen.and_then(|c| variants?.get(c)) {
            Some(declaration) => check_one(name, declaration, &Value::Object(map.clone()), definitions, secret, depth),
            None => {
                wrong(format!("The object of the template parameter '{name}' has no valid value of its discriminator '{property}'. {HELP}"))
            }
        };
    }
    let none = Map::new();
    let declared = schema.get("properties").and_then(Value::as_object).unwrap_or(&none);
    for (property, declaration) in declared {
        match find(map, property) {
            Some(value) => check_one(&format!("{name}.{property}"), declaration, value, definitions, secret, depth)?,
            None if is_nullable(&resolved(declaration, definitions)?) => {}
            None => return wrong(format!("The object of the template parameter '{name}' has no property '{property}'. {HELP}")),
        }
    }
    for (property, value) in map.iter().filter(|(p, _)| find(declared, p).is_none()) {
        match schema.get("additionalProperties") {
            Some(Value::Bool(false)) => {
                return wrong(format!(
                    "The object of the template parameter '{name}' has a property '{property}' that its type does not allow. {HELP}"
                ));
            }
            Some(declaration) if declaration.is_object() => {
                check_one(&format!("{name}.{property}"), declaration, value, definitions, secret, depth)?
            }
            _ => {}
        }
    }
    Ok(())
}
