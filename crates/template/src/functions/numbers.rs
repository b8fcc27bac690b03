//! Whole numbers of 64 bits; `float` makes others, which are only carried.

use super::Arguments;
use crate::words::Got;
use serde_json::Value;

fn two(a: &mut Arguments, work: fn(i64, i64) -> Option<i64>) -> Got {
    match work(a.integer(0)?, a.integer(1)?) {
        Some(result) => Ok(Value::from(result)),
        None => a.fails("the result does not fit into 64 bits, or the divisor is zero"),
    }
}
pub(super) fn add(a: &mut Arguments) -> Got {
    two(a, i64::checked_add)
}
pub(super) fn sub(a: &mut Arguments) -> Got {
    two(a, i64::checked_sub)
}
pub(super) fn mul(a: &mut Arguments) -> Got {
    two(a, i64::checked_mul)
}
pub(super) fn div(a: &mut Arguments) -> Got {
    two(a, i64::checked_div)
}
pub(super) fn modulo(a: &mut Arguments) -> Got {
    two(a, i64::checked_rem)
}

pub(super) fn int(a: &mut Arguments) -> Got {
    let found = match a.at(0) {
        Value::Number(n) => n.as_i64().or_else(|| n.as_f64().filter(|f| f.abs() < 9.0e18).map(|f| f.trunc() as i64)),
        Value::String(text) => text.trim().parse().ok(),
        _ => None,
    };
    found.map_or_else(|| a.expects(0, "a whole number, or a text that is one"), |n| Ok(Value::from(n)))
}
pub(super) fn float(a: &mut Arguments) -> Got {
    let found = match a.at(0) {
        Value::Number(n) => n.as_f64(),
        Value::String(text) => text.trim().parse::<f64>().ok().filter(|f| f.is_finite()),
        _ => None,
    };
    found.map_or_else(|| a.expects(0, "a number, or a text that is one"), |n| Ok(Value::from(n)))
}

pub(super) fn max(a: &mut Arguments) -> Got {
    most(a, i64::max)
}
pub(super) fn min(a: &mut Arguments) -> Got {
    most(a, i64::min)
}
/// Of one array, or of all arguments.
fn most(a: &mut Arguments, choose: fn(i64, i64) -> i64) -> Got {
    if a.len() == 1 && a.at(0).is_array() {
        let Value::Array(all) = a.take(0) else { return a.expects(0, "an array") };
        a.values = all;
    }
    let all = (0..a.len()).map(|at| a.integer(at)).collect::<Got<Vec<i64>>>()?;
    all.into_iter().reduce(choose).map_or_else(|| a.fails("the array is empty"), |n| Ok(Value::from(n)))
}
