//! Comparison and logic. `if`, `and`, `or` and `coalesce` evaluate only what they need.

use super::{Arguments, same};
use crate::evaluate::Eval;
use crate::expression::Expression;
use crate::words::{Got, type_of, wrong};
use serde_json::Value;
use std::cmp::Ordering;

fn truth(eval: &mut Eval, name: &str, argument: &Expression) -> Got<bool> {
    match eval.expression(argument)? {
        Value::Bool(value) => Ok(value),
        other => wrong(format!(
            "The template language function '{name}' expects its parameters to be of type 'Boolean'. The provided value is of type '{}'. Please see https://aka.ms/arm-functions for usage details",
            type_of(&other)
        )),
    }
}

pub(super) fn and(eval: &mut Eval, name: &str, arguments: &[Expression]) -> Got {
    for argument in arguments {
        if !truth(eval, name, argument)? {
            return Ok(Value::Bool(false));
        }
    }
    Ok(Value::Bool(true))
}
pub(super) fn or(eval: &mut Eval, name: &str, arguments: &[Expression]) -> Got {
    for argument in arguments {
        if truth(eval, name, argument)? {
            return Ok(Value::Bool(true));
        }
    }
    Ok(Value::Bool(false))
}
pub(super) fn when(eval: &mut Eval, name: &str, arguments: &[Expression]) -> Got {
    let chosen = if truth(eval, name, &arguments[0])? { 1 } else { 2 };
    eval.expression(&arguments[chosen])
}
pub(super) fn coalesce(eval: &mut Eval, _: &str, arguments: &[Expression]) -> Got {
    for argument in arguments {
        let value = eval.expression(argument)?;
        if !value.is_null() {
            return Ok(value);
        }
    }
    Ok(Value::Null)
}

pub(super) fn yes(_: &mut Arguments) -> Got {
    Ok(Value::Bool(true))
}
pub(super) fn no(_: &mut Arguments) -> Got {
    Ok(Value::Bool(false))
}
pub(super) fn not(a: &mut Arguments) -> Got {
    match a.at(0) {
        Value::Bool(value) => Ok(Value::Bool(!value)),
        _ => a.expects(0, "a truth value"),
    }
}
pub(super) fn bool(a: &mut Arguments) -> Got {
    Ok(Value::Bool(match a.at(0) {
        Value::Bool(value) => *value,
        Value::Number(n) => n.as_f64() != Some(0.0),
        Value::String(s) if s.eq_ignore_ascii_case("true") || s == "1" => true,
        Value::String(s) if s.eq_ignore_ascii_case("false") || s == "0" => false,
        _ => return a.expects(0, "a truth value, a whole number, 'true' or 'false'"),
    }))
}
/// Ends the evaluation with the author's own words.
pub(super) fn fail(a: &mut Arguments) -> Got {
    wrong(a.text(0)?)
}

pub(super) fn equals(a: &mut Arguments) -> Got {
    Ok(Value::Bool(same(a.at(0), a.at(1))))
}
fn order(a: &Arguments) -> Got<Ordering> {
    match (a.at(0), a.at(1)) {
        (Value::String(one), Value::String(other)) => Ok(one.cmp(other)),
        (Value::Number(one), Value::Number(other)) => match (one.as_i64(), other.as_i64()) {
            (Some(one), Some(other)) => Ok(one.cmp(&other)),
            _ => one
                .as_f64()
                .unwrap_or(0.0)
                .partial_cmp(&other.as_f64().unwrap_or(0.0))
                .map_or_else(|| a.fails("the numbers can't be compared"), Ok),
        },
        (Value::String(_) | Value::Number(_), _) => a.expects(1, "of the type of the first"),
        _ => a.expects(0, "a whole number or a text"),
    }
}
pub(super) fn less(a: &mut Arguments) -> Got {
    Ok(Value::Bool(order(a)? == Ordering::Less))
}
pub(super) fn less_or_equals(a: &mut Arguments) -> Got {
    Ok(Value::Bool(order(a)? != Ordering::Greater))
}
pub(super) fn greater(a: &mut Arguments) -> Got {
    Ok(Value::Bool(order(a)? == Ordering::Greater))
}
pub(super) fn greater_or_equals(a: &mut Arguments) -> Got {
    Ok(Value::Bool(order(a)? != Ordering::Less))
}
