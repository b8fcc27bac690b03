//! Objects.

use super::Arguments;
use crate::lenient;
use crate::words::Got;
use serde_json::{Map, Value, json};

pub(super) fn create(a: &mut Arguments) -> Got {
    if !a.len().is_multiple_of(2) {
        return a.fails("it takes names and values in turn");
    }
    let mut out = Map::new();
    for at in (0..a.len()).step_by(2) {
        let name = a.text(at)?.to_owned();
        out.insert(name, a.take(at + 1));
    }
    Ok(Value::Object(out))
}

fn sorted(map: &Map<String, Value>) -> Vec<(&String, &Value)> {
    let mut all: Vec<_> = map.iter().collect();
    all.sort_by(|(a, _), (b, _)| a.to_lowercase().cmp(&b.to_lowercase()).then(a.cmp(b)));
    all
}

/// `[{"key", "value"}]`, by name.
pub(super) fn items(a: &mut Arguments) -> Got {
    Ok(Value::Array(sorted(a.object(0)?).into_iter().map(|(key, value)| json!({"key": key, "value": value})).collect()))
}
pub(super) fn keys(a: &mut Arguments) -> Got {
    Ok(Value::Array(sorted(a.object(0)?).into_iter().map(|(key, _)| json!(key)).collect()))
}

/// JSON text to its value, as leniently as a template's own.
pub(super) fn json(a: &mut Arguments) -> Got {
    let text = a.text(0)?;
    // the value of a short text can be large
    a.meter.bytes(text.len().saturating_mul(16))?;
    match lenient::parse(text.as_bytes()) {
        Ok(found) => Ok(found.value),
        // the parser's own words may hold what must not be shown
        Err(_) => a.fails("the text is not JSON"),
    }
}
pub(super) fn null(_: &mut Arguments) -> Got {
    Ok(Value::Null)
}

/// The objects of an array, laid over each other; only the outermost names.
pub(super) fn shallow_merge(a: &mut Arguments) -> Got {
    let mut out = Map::new();
    for value in a.array(0)? {
        let Some(map) = value.as_object() else { return a.expects(0, "an array of objects") };
        for (name, value) in map {
            let there = out.keys().find(|k| k.eq_ignore_ascii_case(name)).cloned().unwrap_or_else(|| name.clone());
            out.insert(there, value.clone());
        }
    }
    Ok(Value::Object(out))
}
