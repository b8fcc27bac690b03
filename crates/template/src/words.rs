//! Errors in Resource Manager's words.

use base::Error;
use serde_json::Value;

/// Why an evaluation has no value.
#[derive(Debug)]
pub(crate) enum Trouble {
    /// It needs what is known only while the deployment runs.
    Waits,
    /// The template is wrong; the text is Azure's inner message.
    Wrong(String),
    /// The host refused.
    Refused(Error),
}

pub(crate) type Got<T = Value> = Result<T, Trouble>;

impl Trouble {
    pub(crate) fn wrong(message: impl Into<String>) -> Trouble {
        Trouble::Wrong(message.into())
    }
}

pub(crate) fn wrong<T>(message: impl Into<String>) -> Got<T> {
    Err(Trouble::wrong(message))
}

/// `InvalidTemplate`: Deployment template validation failed.
pub(crate) fn invalid(inner: impl AsRef<str>) -> Error {
    Error::invalid(
        "InvalidTemplate",
        format!("Deployment template validation failed: '{}'.", inner.as_ref().trim_end_matches('.').to_owned() + "."),
    )
}

/// `InvalidTemplate`: the text is not a template.
pub(crate) fn unparsed(inner: impl AsRef<str>) -> Error {
    Error::invalid("InvalidTemplate", format!("Deployment template parse failed: '{}'.", inner.as_ref()))
}

/// The name that Azure gives to the type of a value.
pub(crate) fn type_of(value: &Value) -> &'static str {
    match value {
        Value::Null => "Null",
        Value::Bool(_) => "Boolean",
        Value::Number(n) if n.is_f64() => "Float",
        Value::Number(_) => "Integer",
        Value::String(_) => "String",
        Value::Array(_) => "Array",
        Value::Object(_) => "Object",
    }
}
