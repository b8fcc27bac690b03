//! Evaluates expressions, and values that hold them.
//!
//! Names of parameters, variables, functions and properties are compared without case, as Azure does.

use crate::expression::{Expression, Key, Written, parse, written};
use crate::functions::{self, Run};
use crate::host::{Host, Question};
use crate::meter::{DEPTH_MAX, Meter};
use crate::parameters;
use crate::plan::{Context, Loop};
use crate::words::{Got, Trouble, type_of, wrong};
use serde_json::{Map, Value};
use std::collections::HashMap;

/// What may be asked at this place of a template.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// Names, conditions, loops, variables: no runtime functions.
    Plain,
    /// Default values of parameters: also `newGuid` and `utcNow`.
    Default,
    /// Bodies of resources and outputs, before they can be answered: a runtime function makes the value wait.
    Planning,
    /// Bodies of resources and outputs, while the deployment runs.
    Running,
}

pub(crate) struct Eval<'a> {
    pub context: &'a Context,
    pub host: &'a dyn Host,
    pub place: Place,
    /// What was asked and is not known yet.
    pub waits: Vec<Question>,
    /// A text that waits stays as it is written; without this its value makes the whole wait.
    pub keep_raw: bool,
    /// Something waited.
    pub waited: bool,
    /// Texts that come out are escaped, since they are read as expressions once more.
    pub escape: bool,
    pub loops: Vec<Loop>,
    pub meter: &'a Meter,
    depth: usize,
    lambda: Vec<(String, Value)>,
    /// The arguments of the user-defined function under way.
    arguments: Option<Vec<(String, Value)>>,
    /// Parameters and variables that are not in the context yet; `None` while one is made.
    memo: HashMap<String, Option<Value>>,
}

/// A name in a map: exactly, else without case.
pub(crate) fn find<'v>(map: &'v Map<String, Value>, name: &str) -> Option<&'v Value> {
    map.get(name).or_else(|| map.iter().find(|(k, _)| k.eq_ignore_ascii_case(name)).map(|(_, v)| v))
}

impl<'a> Eval<'a> {
    pub(crate) fn new(context: &'a Context, host: &'a dyn Host, place: Place, meter: &'a Meter) -> Eval<'a> {
        Eval {
            context,
            host,
            place,
            waits: Vec::new(),
            keep_raw: false,
            waited: false,
            escape: false,
            loops: Vec::new(),
            meter,
            depth: 0,
            lambda: Vec::new(),
            arguments: None,
            memo: HashMap::new(),
        }
    }

    /// A value with everything in it evaluated. Objects with a `copy` of properties get those.
    pub(crate) fn value(&mut self, raw: &Value) -> Got {
        self.deeper(|eval| match raw {
            Value::String(text) => eval.text(text),
            Value::Array(all) => eval.array(all),
            Value::Object(all) => eval.object(all),
            other => Ok(other.clone()),
        })
    }

    fn deeper<T>(&mut self, work: impl FnOnce(&mut Self) -> Got<T>) -> Got<T> {
        self.meter.steps(1)?;
        self.depth += 1;
        let result = if self.depth > DEPTH_MAX { wrong("The template is nested too deeply") } else { work(self) };
        self.depth -= 1;
        result
    }

    fn text(&mut self, text: &str) -> Got {
        match written(text) {
            Written::Literal(literal) if self.escape => {
                Ok(Value::String(if literal.starts_with('[') { text.to_owned() } else { literal.to_owned() }))
            }
            Written::Literal(literal) => Ok(Value::String(literal.to_owned())),
            Written::Expression(inside) => {
                match self.meter.bytes(text.len()).and_then(|()| parse(inside)).and_then(|e| self.expression(&e)) {
                    Err(Trouble::Waits) if self.keep_raw => {
                        self.waited = true;
                        Ok(Value::String(text.to_owned()))
                    }
                    Ok(value) if self.escape => Ok(escaped(value)),
                    other => other,
                }
            }
        }
    }

    fn array(&mut self, all: &[Value]) -> Got {
        let mut out = Vec::with_capacity(all.len());
        let mut waits = false;
        for raw in all {
            match self.value(raw) {
                Ok(value) => out.push(value),
                // go on: all that must be asked is asked at once
                Err(Trouble::Waits) => waits = true,
                Err(other) => return Err(other),
            }
        }
        if waits { Err(Trouble::Waits) } else { Ok(Value::Array(out)) }
    }

    fn object(&mut self, all: &Map<String, Value>) -> Got {
        let mut out = Map::new();
        let mut waits = false;
        for (name, raw) in all {
            let found = match copies(name, raw) {
                Some(copies) => self.copied(copies, &mut out),
                None => self.value(raw).map(|value| drop(out.insert(name.clone(), value))),
            };
            match found {
                Ok(()) => {}
                Err(Trouble::Waits) => waits = true,
                Err(other) => return Err(other),
            }
        }
        if waits { Err(Trouble::Waits) } else { Ok(Value::Object(out)) }
    }

    /// `"copy": [{"name", "count", "input"}]`: properties that are loops.
    fn copied(&mut self, copies: &[Value], out: &mut Map<String, Value>) -> Got<()> {
        for copy in copies {
            let name = match copy.get("name").map(|n| self.value(n)).transpose()? {
                Some(Value::String(name)) => name,
                _ => return wrong("The copy of a property has no name. Please see https://aka.ms/arm-copy for usage details"),
            };
            let input = copy.get("input").cloned().unwrap_or(Value::Null);
            let value = self.looped(&name, copy.get("count"), &input)?;
            out.insert(name, value);
        }
        Ok(())
    }

    /// The array that a loop makes of `input`.
    pub(crate) fn looped(&mut self, name: &str, count: Option<&Value>, input: &Value) -> Got {
        let count = self.count(name, count)?;
        let mut all = Vec::new();
        let mut waits = false;
        for index in 0..count {
            self.loops.push(Loop { name: name.to_owned(), index, of_resource: false });
            let value = self.value(input);
            self.loops.pop();
            match value {
                Ok(value) => all.push(value),
                Err(Trouble::Waits) => waits = true,
                Err(other) => return Err(other),
            }
        }
        if waits { Err(Trouble::Waits) } else { Ok(Value::Array(all)) }
    }

    /// How often a loop runs: 0 to 800.
    pub(crate) fn count(&mut self, name: &str, count: Option<&Value>) -> Got<i64> {
        let place = std::mem::replace(&mut self.place, Place::Plain);
        let count = count.map(|c| self.value(c)).transpose();
        self.place = place;
        match count?.as_ref().and_then(Value::as_i64) {
            Some(count) if (0..=800).contains(&count) => Ok(count),
            Some(count) => wrong(format!(
                "The copy count '{count}' of '{name}' is not valid: it must be from 0 to 800. Please see https://aka.ms/arm-copy for usage details"
            )),
            None => {
                wrong(format!("The copy count of '{name}' is not a whole number. Please see https://aka.ms/arm-copy for usage details"))
            }
        }
    }

    pub(crate) fn expression(&mut self, expression: &Expression) -> Got {
        self.deeper(|eval| match expression {
            Expression::Text(text) => Ok(Value::String(text.clone())),
            Expression::Integer(number) => Ok(Value::from(*number)),
            Expression::Call { namespace: Some(namespace), name, arguments } => eval.user_function(namespace, name, arguments),
            Expression::Call { namespace: None, name, arguments } => eval.call(name, arguments),
            Expression::Access { of, keys } => eval.access(of, keys),
        })
    }

    fn call(&mut self, name: &str, arguments: &[Expression]) -> Got {
        let Some(function) = functions::find(name) else {
            return wrong(format!(
                "The template function '{name}' is not valid. Please see https://aka.ms/arm-functions for usage details"
            ));
        };
        if !(function.least..=function.most).contains(&arguments.len()) {
            return wrong(format!(
                "The template language function '{name}' was invoked with {} parameters: it expects {}. Please see https://aka.ms/arm-functions for usage details",
                arguments.len(),
                function.expects()
            ));
        }
        let value = match function.run {
            Run::Special(run) => run(self, name, arguments)?,
            Run::Pure(run) => {
                let values = self.all(arguments)?;
                run(&mut functions::Arguments { function: name, values, meter: self.meter })?
            }
        };
        self.meter.value(&value)?;
        Ok(value)
    }

    /// Every argument, even where one waits: all that must be asked is asked at once.
    pub(crate) fn all(&mut self, arguments: &[Expression]) -> Got<Vec<Value>> {
        let mut values = Vec::with_capacity(arguments.len());
        let mut waits = false;
        for argument in arguments {
            match self.expression(argument) {
                Ok(value) => values.push(value),
                Err(Trouble::Waits) => waits = true,
                Err(other) => return Err(other),
            }
        }
        if waits { Err(Trouble::Waits) } else { Ok(values) }
    }

    fn access(&mut self, of: &Expression, keys: &[Key]) -> Got {
        let mut computed = Vec::with_capacity(keys.len());
        for key in keys {
            computed.push(match key {
                Key::Name(name) => Value::String(name.clone()),
                Key::Computed(expression) => self.expression(expression)?,
            });
        }
        // what is already there is not copied whole to take one part of it
        let part = match self.known(of) {
            Some(value) => computed.iter().try_fold(value, step)?.clone(),
            None => {
                let value = self.expression(of)?;
                computed.iter().try_fold(&value, step)?.clone()
            }
        };
        self.meter.value(&part)?;
        Ok(part)
    }

    fn known(&self, of: &Expression) -> Option<&'a Value> {
        let Expression::Call { namespace: None, name, arguments } = of else { return None };
        let [Expression::Text(what)] = arguments.as_slice() else { return None };
        match name.to_ascii_lowercase().as_str() {
            "parameters" if self.arguments.is_none() => find(&self.context.parameters, what),
            "variables" if self.arguments.is_none() => find(&self.context.variables, what),
            _ => None,
        }
    }

    /// The host's answer; without one the value waits.
    pub(crate) fn ask(&mut self, question: Question) -> Got {
        if question.is_runtime() {
            match self.place {
                Place::Running => {}
                Place::Planning => return Err(Trouble::Waits),
                Place::Plain | Place::Default => {
                    let name = match &question {
                        Question::List { function, .. } => function.clone(),
                        _ => "reference".to_owned(),
                    };
                    return wrong(format!(
                        "The template function '{name}' is not expected at this location. Please see https://aka.ms/arm-functions for usage details"
                    ));
                }
            }
        }
        match self.host.answer(&question).map_err(Trouble::Refused)? {
            Some(value) => Ok(value),
            None => {
                if !self.waits.contains(&question) {
                    self.waits.push(question);
                }
                Err(Trouble::Waits)
            }
        }
    }

    /// `parameters('name')`.
    pub(crate) fn parameter(&mut self, name: &str) -> Got {
        if let Some(arguments) = &self.arguments {
            let found = arguments.iter().find(|(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, v)| v.clone());
            return found.ok_or_else(|| Trouble::Wrong(parameter_not_found(name)));
        }
        if let Some(value) = find(&self.context.parameters, name) {
            return Ok(value.clone());
        }
        let declared = self.context.declared_parameters.iter().find(|(n, _)| n.eq_ignore_ascii_case(name));
        let Some((declared_name, declaration)) = declared else { return wrong(parameter_not_found(name)) };
        self.once(format!("p:{}", declared_name.to_lowercase()), Place::Default, "parameter", name, |eval| {
            parameters::value_of(eval, declared_name, declaration)
        })
    }

    /// `variables('name')`.
    pub(crate) fn variable(&mut self, name: &str) -> Got {
        if self.arguments.is_some() {
            return wrong(
                "The template function 'variables' is not expected at this location. Please see https://aka.ms/arm-functions for usage details",
            );
        }
        if let Some(value) = find(&self.context.variables, name) {
            return Ok(value.clone());
        }
        let declared = self.context.declared_variables.iter().find(|(n, _)| n.eq_ignore_ascii_case(name));
        let Some((declared_name, raw)) = declared else {
            return wrong(format!(
                "The template variable '{name}' is not found. Please see https://aka.ms/arm-syntax-variables for usage details"
            ));
        };
        self.once(format!("v:{}", declared_name.to_lowercase()), Place::Plain, "variable", name, |eval| match raw.loop_count() {
            Some(count) => eval.looped(declared_name, Some(count), raw.value()),
            None => eval.value(raw.value()),
        })
    }

    /// Evaluates once, in a frame of its own; a value that needs itself is an error.
    fn once(&mut self, key: String, place: Place, what: &str, name: &str, make: impl FnOnce(&mut Self) -> Got) -> Got {
        match self.memo.get(&key) {
            Some(Some(value)) => return Ok(value.clone()),
            Some(None) => {
                return wrong(format!(
                    "The template {what} '{name}' is not valid: circular reference. Please see https://aka.ms/arm-syntax for usage details"
                ));
            }
            None => drop(self.memo.insert(key.clone(), None)),
        }
        let outer = (self.place, std::mem::take(&mut self.loops), std::mem::take(&mut self.lambda), self.keep_raw, self.escape);
        (self.place, self.keep_raw, self.escape) = (place, false, false);
        let made = make(self);
        (self.place, self.loops, self.lambda, self.keep_raw, self.escape) = outer;
        match made {
            Ok(value) => {
                self.memo.insert(key, Some(value.clone()));
                Ok(value)
            }
            Err(trouble) => {
                self.memo.remove(&key);
                Err(trouble)
            }
        }
    }

    fn user_function(&mut self, namespace: &str, name: &str, arguments: &[Expression]) -> Got {
        let Some(function) = self.context.user_function(namespace, name) else {
            return wrong(format!(
                "The template function '{namespace}.{name}' is not valid. Please see https://aka.ms/arm-functions for usage details"
            ));
        };
        if function.parameters.len() != arguments.len() {
            return wrong(format!(
                "The user-defined function '{namespace}.{name}' was invoked with {} parameters: it expects {}",
                arguments.len(),
                function.parameters.len()
            ));
        }
        let values = self.all(arguments)?;
        let named = function.parameters.iter().cloned().zip(values).collect();
        let outer = (self.arguments.replace(named), std::mem::take(&mut self.loops), std::mem::take(&mut self.lambda));
        let made = self.value(&function.output);
        (self.arguments, self.loops, self.lambda) = outer;
        made
    }

    /// Evaluates with lambda variables in sight.
    pub(crate) fn with(&mut self, names: &[String], values: Vec<Value>, body: &Expression) -> Got {
        let length = self.lambda.len();
        self.lambda.extend(names.iter().cloned().zip(values));
        let made = self.expression(body);
        self.lambda.truncate(length);
        made
    }

    pub(crate) fn lambda_variable(&self, name: &str) -> Got {
        let found = self.lambda.iter().rev().find(|(n, _)| n.eq_ignore_ascii_case(name));
        found.map(|(_, v)| v.clone()).ok_or_else(|| Trouble::Wrong(format!("The lambda variable '{name}' is not found")))
    }
}

fn parameter_not_found(name: &str) -> String {
    format!("The template parameter '{name}' is not found. Please see https://aka.ms/arm-syntax-parameters for usage details")
}

/// The loops of a property named `copy`.
fn copies<'v>(name: &str, raw: &'v Value) -> Option<&'v [Value]> {
    let all = raw.as_array().filter(|_| name.eq_ignore_ascii_case("copy"))?;
    (!all.is_empty() && all.iter().all(|c| c.get("count").is_some() && c.get("input").is_some())).then_some(all)
}

/// Texts that begin with a bracket get a second one.
fn escaped(value: Value) -> Value {
    match value {
        Value::String(text) if text.starts_with('[') => Value::String(format!("[{text}")),
        Value::Array(all) => Value::Array(all.into_iter().map(escaped).collect()),
        Value::Object(all) => Value::Object(all.into_iter().map(|(k, v)| (k, escaped(v))).collect()),
        other => other,
    }
}

/// One key into a value.
pub(crate) fn step<'v>(value: &'v Value, key: &Value) -> Got<&'v Value> {
    match (value, key) {
        (Value::Object(map), Value::String(name)) => find(map, name).ok_or_else(|| {
            let names: Vec<&str> = map.keys().take(20).map(String::as_str).collect();
            Trouble::Wrong(format!(
                "The language expression property '{name}' doesn't exist, available properties are '{}'",
                names.join(", ")
            ))
        }),
        (Value::Array(all), Value::Number(_)) => {
            let index = key.as_i64().unwrap_or(-1);
            usize::try_from(index)
                .ok()
                .and_then(|i| all.get(i))
                .ok_or_else(|| Trouble::Wrong(format!("The language expression property array index '{index}' is out of bounds")))
        }
        (Value::Array(_), Value::String(name)) => {
            wrong(format!("The language expression property '{name}' can't be evaluated, property name must be an integer for arrays"))
        }
        (other, Value::String(name)) => wrong(format!(
            "The template language expression property '{name}' can't be evaluated: its owner is of type '{}'",
            type_of(other)
        )),
        (other, _) => wrong(format!("The language expression can't take an item out of a value of type '{}'", type_of(other))),
    }
}
