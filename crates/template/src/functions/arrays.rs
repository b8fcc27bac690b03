//! Arrays, and the functions that take arrays, texts and objects alike.

use super::Arguments;
use crate::evaluate::{find, step};
use crate::words::Got;
use serde_json::{Map, Value};

/// `equals`: numbers by value, texts with case, objects whatever the order of their names.
pub(crate) fn same(one: &Value, other: &Value) -> bool {
    match (one, other) {
        (Value::Number(a), Value::Number(b)) => match (a.as_i64(), b.as_i64()) {
            (Some(a), Some(b)) => a == b,
            _ => a.as_f64() == b.as_f64(),
        },
        (Value::Array(a), Value::Array(b)) => a.len() == b.len() && a.iter().zip(b).all(|(a, b)| same(a, b)),
        (Value::Object(a), Value::Object(b)) => a.len() == b.len() && a.iter().all(|(name, a)| find(b, name).is_some_and(|b| same(a, b))),
        _ => one == other,
    }
}

pub(super) fn array(a: &mut Arguments) -> Got {
    let value = a.take(0);
    Ok(if value.is_array() { value } else { Value::Array(vec![value]) })
}

pub(super) fn create_array(a: &mut Arguments) -> Got {
    Ok(Value::Array(std::mem::take(&mut a.values)))
}

/// Arrays to an array; everything else to a text.
pub(super) fn concat(a: &mut Arguments) -> Got {
    if a.at(0).is_array() {
        let mut out = Vec::new();
        for at in 0..a.len() {
            a.array(at)?;
            if let Value::Array(all) = a.take(at) {
                out.extend(all);
            }
        }
        return Ok(Value::Array(out));
    }
    let mut out = String::new();
    for at in 0..a.len() {
        match a.at(at) {
            Value::Array(_) | Value::Object(_) => return a.expects(at, "a text, a number or a truth value, like the first"),
            other => out.push_str(&super::strings::text_of(other)),
        }
    }
    Ok(Value::String(out))
}

pub(super) fn contains(a: &mut Arguments) -> Got {
    let found = match a.at(0) {
        Value::Array(all) => all.iter().any(|v| same(v, a.at(1))),
        Value::Object(map) => find(map, a.text(1)?).is_some(),
        Value::String(text) => text.contains(a.text(1)?),
        _ => return a.expects(0, "an array, an object or a text"),
    };
    Ok(Value::Bool(found))
}

pub(super) fn empty(a: &mut Arguments) -> Got {
    Ok(Value::Bool(match a.at(0) {
        Value::Null => true,
        Value::Array(all) => all.is_empty(),
        Value::Object(map) => map.is_empty(),
        Value::String(text) => text.is_empty(),
        _ => return a.expects(0, "an array, an object or a text"),
    }))
}

pub(super) fn length(a: &mut Arguments) -> Got {
    Ok(Value::from(match a.at(0) {
        Value::Array(all) => all.len(),
        Value::Object(map) => map.len(),
        // as .NET counts
        Value::String(text) => text.encode_utf16().count(),
        _ => return a.expects(0, "an array, an object or a text"),
    }))
}

pub(super) fn first(a: &mut Arguments) -> Got {
    end(a, true)
}
pub(super) fn last(a: &mut Arguments) -> Got {
    end(a, false)
}
fn end(a: &mut Arguments, front: bool) -> Got {
    match a.at(0) {
        Value::Array(all) => Ok(if front { all.first() } else { all.last() }.cloned().unwrap_or(Value::Null)),
        Value::String(text) => {
            let found = if front { text.chars().next() } else { text.chars().next_back() };
            Ok(Value::String(found.map(String::from).unwrap_or_default()))
        }
        _ => a.expects(0, "an array or a text"),
    }
}

/// The item that is the n-th from the end, from 1; `None` beyond the first.
fn from_end<'v>(a: &'v Arguments) -> Got<Option<&'v Value>> {
    let all = a.array(0)?;
    let back = a.integer(1)?;
    Ok(usize::try_from(back).ok().filter(|b| *b >= 1).and_then(|b| all.len().checked_sub(b)).map(|at| &all[at]))
}
pub(super) fn index_from_end(a: &mut Arguments) -> Got {
    match from_end(a)? {
        Some(found) => Ok(found.clone()),
        None => a.fails("the reverse index is out of bounds"),
    }
}
pub(super) fn try_index_from_end(a: &mut Arguments) -> Got {
    Ok(from_end(a)?.cloned().unwrap_or(Value::Null))
}

pub(super) fn index_of(a: &mut Arguments) -> Got {
    index(a, true)
}
pub(super) fn last_index_of(a: &mut Arguments) -> Got {
    index(a, false)
}
/// Texts without case, items of arrays with; -1 where there is none.
fn index(a: &mut Arguments, front: bool) -> Got {
    let found = match a.at(0) {
        Value::Array(all) => {
            let want = a.at(1);
            if front { all.iter().position(|v| same(v, want)) } else { all.iter().rposition(|v| same(v, want)) }
        }
        Value::String(text) => {
            let (text, want) = (folded(text), folded(a.text(1)?));
            position(&text, &want, front)
        }
        _ => return a.expects(0, "an array or a text"),
    };
    Ok(Value::from(found.map_or(-1, |at| at as i64)))
}
fn folded(text: &str) -> Vec<u16> {
    // a letter whose lower case is longer would move what follows it
    text.chars()
        .flat_map(|c| {
            if c.to_lowercase().count() == 1 { c.to_lowercase().next().unwrap_or(c) } else { c }.encode_utf16(&mut [0; 2]).to_vec()
        })
        .collect()
}
fn position(text: &[u16], want: &[u16], front: bool) -> Option<usize> {
    if want.is_empty() {
        return Some(if front { 0 } else { text.len().saturating_sub(1) });
    }
    let mut windows = text.windows(want.len());
    if front { windows.position(|w| w == want) } else { windows.rposition(|w| w == want) }
}

pub(super) fn range(a: &mut Arguments) -> Got {
    let (begin, count) = (a.integer(0)?, a.integer(1)?);
    if !(0..=10_000).contains(&count) || begin.checked_add(count).is_none_or(|end| end > 2_147_483_647) {
        return a.fails("the count must be from 0 to 10000, and the sum of both no more than 2147483647");
    }
    Ok(Value::Array((begin..begin + count).map(Value::from).collect()))
}

pub(super) fn skip(a: &mut Arguments) -> Got {
    cut(a, true)
}
pub(super) fn take(a: &mut Arguments) -> Got {
    cut(a, false)
}
fn cut(a: &mut Arguments, skip: bool) -> Got {
    let count = usize::try_from(a.integer(1)?.max(0)).unwrap_or(usize::MAX);
    match a.at(0) {
        Value::Array(all) => {
            let at = count.min(all.len());
            Ok(Value::Array(if skip { all[at..].to_vec() } else { all[..at].to_vec() }))
        }
        Value::String(text) => {
            let at = text.char_indices().nth(count).map_or(text.len(), |(at, _)| at);
            Ok(Value::String(if skip { text[at..].to_owned() } else { text[..at].to_owned() }))
        }
        _ => a.expects(0, "an array or a text"),
    }
}

/// The part that the keys lead to, null where there is none.
pub(super) fn try_get(a: &mut Arguments) -> Got {
    let mut value = a.at(0);
    for at in 1..a.len() {
        match a.at(at) {
            Value::String(_) if value.is_object() || value.is_null() => {}
            Value::Number(n) if n.as_i64().is_some() && (value.is_array() || value.is_null()) => {}
            _ => return a.fails("a name is for objects, a whole number for arrays"),
        }
        match step(value, a.at(at)) {
            Ok(found) => value = found,
            Err(_) => return Ok(Value::Null),
        }
    }
    Ok(value.clone())
}

/// Objects deeply, the last wins; arrays without what is there twice.
pub(super) fn union(a: &mut Arguments) -> Got {
    if a.at(0).is_object() {
        let mut out = Map::new();
        for at in 0..a.len() {
            a.object(at)?;
            if let Value::Object(map) = a.take(at) {
                merge(&mut out, map);
            }
        }
        return Ok(Value::Object(out));
    }
    let mut out: Vec<Value> = Vec::new();
    for at in 0..a.len() {
        for value in a.array(at)? {
            a.meter.steps(out.len())?;
            if !out.iter().any(|v| same(v, value)) {
                out.push(value.clone());
            }
        }
    }
    Ok(Value::Array(out))
}

fn merge(into: &mut Map<String, Value>, from: Map<String, Value>) {
    for (name, value) in from {
        let there = into.keys().find(|k| k.eq_ignore_ascii_case(&name)).cloned().unwrap_or(name);
        match (into.get_mut(&there), value) {
            (Some(Value::Object(under)), Value::Object(over)) => merge(under, over),
            (_, value) => drop(into.insert(there, value)),
        }
    }
}

pub(super) fn intersection(a: &mut Arguments) -> Got {
    if a.at(0).is_object() {
        let mut out = a.object(0)?.clone();
        for at in 1..a.len() {
            let other = a.object(at)?;
            out.retain(|name, value| find(other, name).is_some_and(|v| same(v, value)));
        }
        return Ok(Value::Object(out));
    }
    let mut out: Vec<Value> = Vec::new();
    for value in a.array(0)? {
        a.meter.steps(out.len())?;
        if !out.iter().any(|v| same(v, value)) {
            out.push(value.clone());
        }
    }
    for at in 1..a.len() {
        let other = a.array(at)?;
        a.meter.steps(out.len().saturating_mul(other.len()))?;
        out.retain(|value| other.iter().any(|v| same(v, value)));
    }
    Ok(Value::Array(out))
}
