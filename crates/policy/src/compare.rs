//! The operators of conditions (Azure Policy, "policy rule: conditions"). Text compares without case; a number or boolean
//! is also equal to its text, because policies write `"equals": "true"`.

use crate::expression::text_of;
use serde_json::Value;
use std::cmp::Ordering;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operator {
    Equals,
    Like,
    Match,
    MatchInsensitively,
    Contains,
    In,
    ContainsKey,
    Less,
    LessOrEquals,
    Greater,
    GreaterOrEquals,
    Exists,
}

/// Azure's names; the flag: it is the negation.
pub(crate) const NAMES: &[(&str, Operator, bool)] = &[
    ("equals", Operator::Equals, false),
    ("notEquals", Operator::Equals, true),
    ("like", Operator::Like, false),
    ("notLike", Operator::Like, true),
    ("match", Operator::Match, false),
    ("notMatch", Operator::Match, true),
    ("matchInsensitively", Operator::MatchInsensitively, false),
    ("notMatchInsensitively", Operator::MatchInsensitively, true),
    ("contains", Operator::Contains, false),
    ("notContains", Operator::Contains, true),
    ("in", Operator::In, false),
    ("notIn", Operator::In, true),
    ("containsKey", Operator::ContainsKey, false),
    ("notContainsKey", Operator::ContainsKey, true),
    ("less", Operator::Less, false),
    ("lessOrEquals", Operator::LessOrEquals, false),
    ("greater", Operator::Greater, false),
    ("greaterOrEquals", Operator::GreaterOrEquals, false),
    ("exists", Operator::Exists, false),
];

pub(crate) fn equal(a: &Value, b: &Value) -> bool {
    match (a, b) {
        (Value::String(a), Value::String(b)) => {
            // most texts need no second look, and no copy
            a.eq_ignore_ascii_case(b) || !(a.is_ascii() && b.is_ascii()) && a.to_lowercase() == b.to_lowercase()
        }
        (Value::Number(a), Value::Number(b)) => a == b || a.as_f64() == b.as_f64(),
        (Value::String(text), scalar @ (Value::Bool(_) | Value::Number(_)))
        | (scalar @ (Value::Bool(_) | Value::Number(_)), Value::String(text)) => text.eq_ignore_ascii_case(&text_of(scalar)),
        (Value::Array(a), Value::Array(b)) => a.len() == b.len() && a.iter().zip(b).all(|(a, b)| equal(a, b)),
        _ => a == b,
    }
}

/// Dates, texts and numbers have an order; anything else has none.
fn order(a: &Value, b: &Value) -> Option<Ordering> {
    match (a, b) {
        (Value::Number(a), Value::Number(b)) => a.as_f64()?.partial_cmp(&b.as_f64()?),
        (Value::String(a), Value::String(b)) => Some(match (crate::expression::date(a), crate::expression::date(b)) {
            (Some(a), Some(b)) => a.cmp(&b),
            _ => a.to_lowercase().cmp(&b.to_lowercase()),
        }),
        _ => None,
    }
}

/// One `*` stands for any characters.
fn like(text: &str, pattern: &str) -> bool {
    let (text, pattern) = (text.to_lowercase(), pattern.to_lowercase());
    match pattern.split_once('*') {
        None => text == pattern,
        Some((before, after)) => text.len() >= before.len() + after.len() && text.starts_with(before) && text.ends_with(after),
    }
}

/// `#` a digit, `?` a letter, `.` anything, all else itself.
fn matched(text: &str, pattern: &str, insensitively: bool) -> bool {
    let mut text = text.chars();
    for p in pattern.chars() {
        let Some(c) = text.next() else { return false };
        let fits = match p {
            '#' => c.is_ascii_digit(),
            '?' => c.is_alphabetic(),
            '.' => true,
            p => p == c || (insensitively && p.to_lowercase().eq(c.to_lowercase())),
        };
        if !fits {
            return false;
        }
    }
    text.next().is_none()
}

/// Does it hold of what is there (`None`: nothing is)? Error, in words: the operator does not take `wanted`.
pub(crate) fn holds(operator: Operator, found: Option<&Value>, wanted: &Value) -> Result<bool, String> {
    if operator == Operator::Exists {
        let exists = match wanted {
            Value::Bool(b) => *b,
            Value::String(s) if s.eq_ignore_ascii_case("true") => true,
            Value::String(s) if s.eq_ignore_ascii_case("false") => false,
            _ => return Err("'exists' takes true or false".into()),
        };
        return Ok(found.is_some_and(|v| !v.is_null()) == exists);
    }
    let list = match (operator, wanted) {
        (Operator::In, Value::Array(list)) => Some(list),
        (Operator::In, _) => return Err("'in' takes an array".into()),
        _ => None,
    };
    let Some(found) = found else { return Ok(operator == Operator::Equals && wanted.is_null()) };
    let text = |v: &Value| matches!(v, Value::String(_) | Value::Number(_) | Value::Bool(_)).then(|| text_of(v));
    Ok(match operator {
        Operator::Equals => equal(found, wanted),
        Operator::In => list.is_some_and(|l| l.iter().any(|w| equal(found, w))),
        Operator::Like | Operator::Match | Operator::MatchInsensitively => {
            let pattern = text(wanted).ok_or("a pattern is text")?;
            if operator == Operator::Like && pattern.matches('*').count() > 1 {
                return Err("'like' takes one wildcard '*' at most".into());
            }
            text(found).is_some_and(|found| match operator {
                Operator::Like => like(&found, &pattern),
                _ => matched(&found, &pattern, operator == Operator::MatchInsensitively),
            })
        }
        Operator::Contains => match found {
            Value::Array(items) => items.iter().any(|i| equal(i, wanted)),
            found => match (text(found), text(wanted)) {
                (Some(found), Some(wanted)) => found.to_lowercase().contains(&wanted.to_lowercase()),
                _ => false,
            },
        },
        Operator::ContainsKey => {
            let key = text(wanted).ok_or("a key is text")?;
            found.as_object().is_some_and(|m| m.keys().any(|k| k.eq_ignore_ascii_case(&key)))
        }
        Operator::Less => order(found, wanted).is_some_and(Ordering::is_lt),
        Operator::LessOrEquals => order(found, wanted).is_some_and(Ordering::is_le),
        Operator::Greater => order(found, wanted).is_some_and(Ordering::is_gt),
        Operator::GreaterOrEquals => order(found, wanted).is_some_and(Ordering::is_ge),
        Operator::Exists => false, // decided above
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn operators_hold_as_documented() {
        use Operator::*;
        for (operator, found, wanted, want) in [
            (Equals, json!("France Central"), json!("france central"), true),
            (Equals, json!(true), json!("true"), true),
            (Equals, json!(5), json!("5"), true),
            (Equals, json!(5), json!(6), false),
            (Equals, json!("É"), json!("é"), true),
            (Like, json!("contoso-web-1"), json!("contoso-*"), true),
            (Like, json!("abcb"), json!("abc*bcb"), false),
            (Like, json!("x"), json!("y"), false),
            (Match, json!("abc123"), json!("???###"), true),
            (Match, json!("Contoso1"), json!("contoso#"), false),
            (MatchInsensitively, json!("Contoso1"), json!("contoso#"), true),
            (Match, json!("abcd"), json!("???"), false),
            (Contains, json!("The Quick"), json!("quick"), true),
            (Contains, json!(["a", "B"]), json!("b"), true),
            (In, json!("B"), json!(["a", "b"]), true),
            (ContainsKey, json!({"Env": 1}), json!("env"), true),
            (Less, json!(2), json!(10), true),
            (Less, json!("2"), json!("10"), false),
            (Less, json!("2024-01-01"), json!("2024-01-01T00:00:01Z"), true),
            (Greater, json!("b"), json!("A"), true),
            (GreaterOrEquals, json!(2), json!("2"), false),
            (Exists, json!(""), json!("true"), true),
            (Exists, Value::Null, json!(false), true),
        ] {
            assert_eq!(holds(operator, Some(&found), &wanted), Ok(want), "{operator:?} {found} {wanted}");
        }
        assert_eq!(holds(Exists, None, &json!(false)), Ok(true));
        assert_eq!(holds(Like, None, &json!("*")), Ok(false));
        assert!(holds(In, None, &json!("x")).is_err());
        assert!(holds(Like, Some(&json!("x")), &json!("*x*")).is_err());
        assert!(holds(Exists, None, &json!(1)).is_err());
    }
}
