//! Functions that take a function: `map(array, lambda('item', …))`. Inside, `lambdaVariables('item')`.

use crate::evaluate::Eval;
use crate::expression::Expression;
use crate::words::{Got, type_of, wrong};
use serde_json::{Map, Value};

struct Lambda<'e> {
    names: Vec<String>,
    body: &'e Expression,
}

impl Lambda<'_> {
    /// Values beyond the lambda's names are left out.
    fn call(&self, eval: &mut Eval, values: Vec<Value>) -> Got {
        eval.with(&self.names, values, self.body)
    }
    fn truth(&self, eval: &mut Eval, values: Vec<Value>) -> Got<bool> {
        match self.call(eval, values)? {
            Value::Bool(value) => Ok(value),
            other => wrong(format!("The lambda must have a value of type 'Boolean'; it is of type '{}'", type_of(&other))),
        }
    }
}

/// Error: not a lambda, or one with less or more names than it can be given.
fn taken<'e>(name: &str, argument: &'e Expression, least: usize, most: usize) -> Got<Lambda<'e>> {
    if let Expression::Call { namespace: None, name: called, arguments } = argument
        && called.eq_ignore_ascii_case("lambda")
        && let Some((body, names)) = arguments.split_last()
    {
        let texts: Option<Vec<String>> =
            names.iter().map(|n| if let Expression::Text(text) = n { Some(text.clone()) } else { None }).collect();
        if let Some(names) = texts.filter(|n| (least..=most).contains(&n.len())) {
            return Ok(Lambda { names, body });
        }
    }
    wrong(format!(
        "The template language function '{name}' expects a lambda of {least} to {most} variables. Please see https://aka.ms/arm-functions for usage details"
    ))
}

fn array(eval: &mut Eval, name: &str, argument: &Expression) -> Got<Vec<Value>> {
    match eval.expression(argument)? {
        Value::Array(all) => Ok(all),
        other => wrong(format!(
            "The template language function '{name}' expects its first parameter to be an array. The provided value is of type '{}'",
            type_of(&other)
        )),
    }
}

pub(super) fn lambda(_: &mut Eval, _: &str, _: &[Expression]) -> Got {
    wrong("The template function 'lambda' is not expected at this location. Please see https://aka.ms/arm-functions for usage details")
}

pub(super) fn variables(eval: &mut Eval, _: &str, arguments: &[Expression]) -> Got {
    match eval.expression(&arguments[0])? {
        Value::String(name) => eval.lambda_variable(&name),
        _ => wrong("The name of a lambda variable must be a text"),
    }
}

pub(super) fn map(eval: &mut Eval, name: &str, arguments: &[Expression]) -> Got {
    let lambda = taken(name, &arguments[1], 1, 2)?;
    let all = array(eval, name, &arguments[0])?;
    let made = all.into_iter().enumerate().map(|(at, value)| lambda.call(eval, vec![value, Value::from(at)]));
    made.collect::<Got<Vec<Value>>>().map(Value::Array)
}

pub(super) fn filter(eval: &mut Eval, name: &str, arguments: &[Expression]) -> Got {
    let lambda = taken(name, &arguments[1], 1, 2)?;
    let mut out = Vec::new();
    for (at, value) in array(eval, name, &arguments[0])?.into_iter().enumerate() {
        if lambda.truth(eval, vec![value.clone(), Value::from(at)])? {
            out.push(value);
        }
    }
    Ok(Value::Array(out))
}

pub(super) fn reduce(eval: &mut Eval, name: &str, arguments: &[Expression]) -> Got {
    let lambda = taken(name, &arguments[2], 2, 3)?;
    let all = array(eval, name, &arguments[0])?;
    let mut value = eval.expression(&arguments[1])?;
    for (at, item) in all.into_iter().enumerate() {
        value = lambda.call(eval, vec![value, item, Value::from(at)])?;
        eval.meter.value(&value)?;
    }
    Ok(value)
}

/// The lambda says whether its first comes before its second. A merge sort: it ends whatever the lambda says.
pub(super) fn sort(eval: &mut Eval, name: &str, arguments: &[Expression]) -> Got {
    let lambda = taken(name, &arguments[1], 2, 2)?;
    let mut runs: Vec<Vec<Value>> = array(eval, name, &arguments[0])?.into_iter().map(|v| vec![v]).collect();
    while runs.len() > 1 {
        let mut next = Vec::with_capacity(runs.len().div_ceil(2));
        let mut pairs = runs.into_iter();
        while let Some(left) = pairs.next() {
            next.push(match pairs.next() {
                Some(right) => merged(eval, &lambda, left, right)?,
                None => left,
            });
        }
        runs = next;
    }
    Ok(Value::Array(runs.pop().unwrap_or_default()))
}

fn merged(eval: &mut Eval, lambda: &Lambda, left: Vec<Value>, right: Vec<Value>) -> Got<Vec<Value>> {
    let mut out = Vec::with_capacity(left.len() + right.len());
    let (mut left, mut right) = (left.into_iter().peekable(), right.into_iter().peekable());
    while let (Some(one), Some(other)) = (left.peek(), right.peek()) {
        // equal ones keep their order
        let second_first = lambda.truth(eval, vec![other.clone(), one.clone()])?;
        out.extend(if second_first { right.next() } else { left.next() });
    }
    out.extend(left);
    out.extend(right);
    Ok(out)
}

fn key(lambda: &Lambda, eval: &mut Eval, value: &Value, at: usize) -> Got<String> {
    match lambda.call(eval, vec![value.clone(), Value::from(at)])? {
        Value::String(key) => Ok(key),
        other => wrong(format!("The lambda of a key must have a value of type 'String'; it is of type '{}'", type_of(&other))),
    }
}

pub(super) fn to_object(eval: &mut Eval, name: &str, arguments: &[Expression]) -> Got {
    let keys = taken(name, &arguments[1], 1, 2)?;
    let values = arguments.get(2).map(|l| taken(name, l, 1, 2)).transpose()?;
    let mut out = Map::new();
    for (at, value) in array(eval, name, &arguments[0])?.into_iter().enumerate() {
        let key = key(&keys, eval, &value, at)?;
        let made = match &values {
            Some(lambda) => lambda.call(eval, vec![value, Value::from(at)])?,
            None => value,
        };
        out.insert(key, made);
    }
    Ok(Value::Object(out))
}

pub(super) fn group_by(eval: &mut Eval, name: &str, arguments: &[Expression]) -> Got {
    let keys = taken(name, &arguments[1], 1, 2)?;
    let mut out = Map::new();
    for (at, value) in array(eval, name, &arguments[0])?.into_iter().enumerate() {
        let key = key(&keys, eval, &value, at)?;
        let group = out.entry(key).or_insert_with(|| Value::Array(Vec::new()));
        if let Value::Array(all) = group {
            all.push(value);
        }
    }
    Ok(Value::Object(out))
}

pub(super) fn map_values(eval: &mut Eval, name: &str, arguments: &[Expression]) -> Got {
    let lambda = taken(name, &arguments[1], 1, 1)?;
    let Value::Object(all) = eval.expression(&arguments[0])? else {
        return wrong(format!("The template language function '{name}' expects its first parameter to be an object"));
    };
    let mut out = Map::new();
    for (key, value) in all {
        let made = lambda.call(eval, vec![value])?;
        out.insert(key, made);
    }
    Ok(Value::Object(out))
}
