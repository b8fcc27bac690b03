//! The `if` of a policy rule: a tree of `allOf`, `anyOf`, `not` over comparisons of a field, a value or a count.

use crate::compare::{self, NAMES, Operator};
use crate::expression::{Expression, Fault, Names, Operand, text_of};
use crate::subject::{Aliases, Field, Path, Step, Subject, collect};
use base::Timestamp;
use serde_json::{Map, Value, json};
use std::borrow::Cow;
use std::cell::{Cell, RefCell};

pub(crate) const DEPTH_MAX: usize = 24;
pub(crate) const CONDITIONS_MAX: usize = 512;
/// Comparisons of one judgement. Whoever writes a count of a count of a count is refused, not waited for.
const COMPARISONS_MAX: u32 = 100_000;

/// A read condition.
#[derive(Clone, Debug)]
pub enum Condition {
    All(Vec<Condition>),
    Any(Vec<Condition>),
    Not(Box<Condition>),
    Field(Where, Test),
    Value(Operand, String, Test),
    Count(Counted, Option<Box<Condition>>, Test),
}

/// Which field: known when the rule is read, or computed.
#[derive(Clone, Debug)]
pub enum Where {
    Known(Field, String),
    Computed(Operand, String),
}

#[derive(Clone, Debug)]
pub enum Counted {
    /// The elements of an array alias: its name, and its path up to the last `[*]`.
    Field(String, Path),
    /// The elements of a computed array, called so.
    Values(Operand, String),
}

/// An operator and what it compares with.
#[derive(Clone, Debug)]
pub struct Test {
    operator: Operator,
    negated: bool,
    name: &'static str,
    wanted: Operand,
}

/// Reads conditions, and counts them.
pub(crate) struct Reader<'a> {
    pub aliases: &'a dyn Aliases,
    pub left: usize,
    /// Parameters that the policy declares, lower case.
    pub parameters: Vec<String>,
}

impl Reader<'_> {
    pub(crate) fn operand(&self, value: &Value) -> Result<Operand, Fault> {
        let operand = Operand::read(value)?;
        let mut wrong = None;
        operand.calls(&mut |name, arguments| {
            let known = crate::expression::FUNCTIONS.contains(&name) || FUNCTIONS.contains(&name);
            if !known {
                wrong.get_or_insert_with(|| format!("the function '{name}' is not supported in policies"));
            }
            if let ("parameters", [Expression::Literal(Value::String(p))]) = (name, arguments)
                && !self.parameters.contains(&p.to_lowercase())
            {
                wrong.get_or_insert_with(|| format!("the parameter '{p}' is not defined in the policy definition"));
            }
        });
        wrong.map_or(Ok(operand), Err)
    }

    pub(crate) fn field(&self, value: &Value) -> Result<Where, Fault> {
        let text = value.as_str().ok_or("'field' is not a string")?;
        Ok(match self.operand(value)? {
            Operand::Fixed(Value::String(name)) => Where::Known(Field::read(&name, self.aliases)?, text.to_owned()),
            computed => Where::Computed(computed, text.to_owned()),
        })
    }

    /// Error, in words: what is wrong with the rule.
    pub(crate) fn condition(&mut self, value: &Value, depth: usize) -> Result<Condition, Fault> {
        if depth > DEPTH_MAX {
            return Err("it is nested too deeply".into());
        }
        self.left = self.left.checked_sub(1).ok_or_else(|| format!("it has more than {CONDITIONS_MAX} conditions"))?;
        let map = value.as_object().ok_or("a condition is not an object")?;
        if let Some((name, inner)) = map.iter().find(|(k, _)| ["allOf", "anyOf", "not"].iter().any(|n| k.eq_ignore_ascii_case(n))) {
            if map.len() > 1 {
                return Err(format!("'{name}' stands beside other members"));
            }
            if name.eq_ignore_ascii_case("not") {
                return Ok(Condition::Not(Box::new(self.condition(inner, depth + 1)?)));
            }
            let items = inner.as_array().ok_or_else(|| format!("'{name}' is not an array"))?;
            let all = items.iter().map(|i| self.condition(i, depth + 1)).collect::<Result<Vec<_>, _>>()?;
            return Ok(if name.eq_ignore_ascii_case("allOf") { Condition::All(all) } else { Condition::Any(all) });
        }
        let get = |name: &str| map.iter().find(|(k, _)| k.eq_ignore_ascii_case(name)).map(|(_, v)| v);
        let mut tests = map.iter().filter_map(|(k, v)| Some((NAMES.iter().find(|n| n.0.eq_ignore_ascii_case(k))?, v)));
        let (Some(((name, operator, negated), wanted)), None) = (tests.next(), tests.next()) else {
            return Err("a condition has exactly one operator".into());
        };
        if map.len() != 2 {
            return Err(format!("a condition holds one of 'field', 'value', 'count' and one operator; it holds {}", keys(map)));
        }
        let test = Test { operator: *operator, negated: *negated, name, wanted: self.operand(wanted)? };
        self.check(&test)?;
        if let Some(field) = get("field") {
            return Ok(Condition::Field(self.field(field)?, test));
        }
        if let Some(value) = get("value") {
            return Ok(Condition::Value(self.operand(value)?, value.as_str().map_or_else(|| value.to_string(), str::to_owned), test));
        }
        let count = get("count").ok_or_else(|| format!("a condition holds one of 'field', 'value', 'count'; it holds {}", keys(map)))?;
        self.count(count, test, depth)
    }

    /// A fixed operand that the operator does not take is seen now.
    fn check(&self, test: &Test) -> Result<(), Fault> {
        match &test.wanted {
            Operand::Fixed(value) => compare::holds(test.operator, Some(&json!("x")), value).map(drop),
            _ => Ok(()),
        }
    }

    fn count(&mut self, value: &Value, test: Test, depth: usize) -> Result<Condition, Fault> {
        let map = value.as_object().ok_or("'count' is not an object")?;
        if let Some(name) = map.keys().find(|k| !["field", "value", "name", "where"].iter().any(|n| k.eq_ignore_ascii_case(n))) {
            return Err(format!("'count' does not take '{name}'"));
        }
        let get = |name: &str| map.iter().find(|(k, _)| k.eq_ignore_ascii_case(name)).map(|(_, v)| v);
        let counted = match (get("field"), get("value")) {
            (Some(Value::String(alias)), None) => match Field::read(alias, self.aliases)? {
                Field::Alias(name, path) if path.last() == Some(&Step::Each) => Counted::Field(name, path),
                _ => return Err(format!("'count' takes an array alias that ends with [*], not '{alias}'")),
            },
            (None, Some(values)) => {
                let name = get("name").map_or(Some("default"), Value::as_str).ok_or("'name' is not a string")?;
                Counted::Values(self.operand(values)?, name.to_owned())
            }
            _ => return Err("'count' takes one of 'field' and 'value'".into()),
        };
        let inner = get("where").map(|w| self.condition(w, depth + 1)).transpose()?;
        Ok(Condition::Count(counted, inner.map(Box::new), test))
    }
}

fn keys(map: &Map<String, Value>) -> String {
    map.keys().map(|k| format!("'{k}'")).collect::<Vec<_>>().join(", ")
}

/// What the expressions of a policy may ask for beyond pure functions.
pub(crate) const FUNCTIONS: &[&str] =
    &["parameters", "field", "current", "policy", "requestcontext", "resourcegroup", "subscription", "utcnow"];

/// Where and when a resource is judged.
#[derive(Clone, Debug, Default)]
pub struct Surroundings {
    pub now: Timestamp,
    /// `{id, name, location, tags…}` of the resource's group; null where it has none.
    pub resource_group: Value,
    /// `{id, subscriptionId, displayName, tenantId}`.
    pub subscription: Value,
    pub api_version: String,
}

/// One judgement under way.
pub(crate) struct Evaluation<'a> {
    pub subject: &'a Subject,
    pub parameters: &'a Map<String, Value>,
    pub around: &'a Surroundings,
    pub aliases: &'a dyn Aliases,
    /// `policy()`.
    pub policy: &'a Value,
    /// The elements that counts are at, innermost last.
    scopes: RefCell<Vec<Scope>>,
    left: Cell<u32>,
    /// What was compared with what, for the reason.
    pub trace: Option<RefCell<Vec<Value>>>,
}

struct Scope {
    name: String,
    path: Option<Path>,
    element: Value,
}

impl<'a> Evaluation<'a> {
    pub(crate) fn new(
        subject: &'a Subject,
        parameters: &'a Map<String, Value>,
        around: &'a Surroundings,
        aliases: &'a dyn Aliases,
        policy: &'a Value,
    ) -> Evaluation<'a> {
        let (scopes, left) = (RefCell::new(Vec::new()), Cell::new(COMPARISONS_MAX));
        Evaluation { subject, parameters, around, aliases, policy, scopes, left, trace: None }
    }

    /// Error, in words: an expression has no value. Whoever judges then refuses.
    pub(crate) fn holds(&self, condition: &Condition) -> Result<bool, Fault> {
        Ok(match condition {
            Condition::All(all) => {
                for one in all {
                    if !self.holds(one)? {
                        return Ok(false);
                    }
                }
                true
            }
            Condition::Any(any) => {
                for one in any {
                    if self.holds(one)? {
                        return Ok(true);
                    }
                }
                false
            }
            Condition::Not(inner) => !self.holds(inner)?,
            Condition::Field(at, test) => {
                let (field, text) = self.field(at)?;
                let values = self.values(&field);
                let wanted = test.wanted.value(self)?;
                let result = self.of_all(&values, field.is_many(), test, &wanted)?;
                if self.trace.is_some() {
                    let shown = match &values[..] {
                        [one] if !field.is_many() => one.as_deref().cloned().unwrap_or(Value::Null),
                        many => Value::Array(many.iter().flatten().map(|v| v.clone().into_owned()).collect()),
                    };
                    self.say("Field", text, Some(text), shown, &wanted, test, result);
                }
                result
            }
            Condition::Value(value, text, test) => {
                let (found, wanted) = (value.value(self)?, test.wanted.value(self)?);
                // what an expression did not find is an empty text to those that compare with one
                let nothing = found.is_null() && wanted.as_str() == Some("");
                let result = self.compare(Some(if nothing { &wanted } else { &found }), test, &wanted)?;
                self.say("Value", text, None, found.into_owned(), &wanted, test, result);
                result
            }
            Condition::Count(counted, inner, test) => {
                let count = self.count(counted, inner.as_deref())?;
                let wanted = test.wanted.value(self)?;
                let result = self.compare(Some(&json!(count)), test, &wanted)?;
                let name = match counted {
                    Counted::Field(name, _) | Counted::Values(_, name) => name,
                };
                self.say("Count", name, Some(name), json!(count), &wanted, test, result);
                result
            }
        })
    }

    fn of_all(&self, values: &[Option<Cow<'_, Value>>], many: bool, test: &Test, wanted: &Value) -> Result<bool, Fault> {
        if many && test.operator == Operator::Exists {
            return self.compare(values.first().and_then(|v| v.as_deref()), test, wanted);
        }
        for value in values {
            if !self.compare(value.as_deref(), test, wanted)? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    fn compare(&self, found: Option<&Value>, test: &Test, wanted: &Value) -> Result<bool, Fault> {
        self.left.set(self.left.get().checked_sub(1).ok_or("the policy takes too many comparisons")?);
        let found = found.filter(|v| !v.is_null() || test.operator == Operator::Equals);
        Ok(compare::holds(test.operator, found, wanted)? != test.negated)
    }

    fn count(&self, counted: &Counted, inner: Option<&Condition>) -> Result<usize, Fault> {
        let (name, path, elements): (&str, Option<&Path>, Vec<Value>) = match counted {
            Counted::Field(name, path) => {
                let field = Field::Alias(name.clone(), path.clone());
                (name, Some(path), self.values(&field).into_iter().flatten().map(Cow::into_owned).collect())
            }
            Counted::Values(values, name) => match values.value(self)?.into_owned() {
                Value::Array(items) => (name, None, items),
                Value::Null => (name, None, Vec::new()),
                _ => return Err("the 'value' of a count is not an array".into()),
            },
        };
        let Some(inner) = inner else { return Ok(elements.len()) };
        let mut count = 0;
        for element in elements {
            self.left.set(self.left.get().checked_sub(1).ok_or("the policy takes too many comparisons")?);
            self.scopes.borrow_mut().push(Scope { name: name.to_lowercase(), path: path.cloned(), element });
            let held = self.holds(inner);
            self.scopes.borrow_mut().pop();
            count += usize::from(held?);
        }
        Ok(count)
    }

    pub(crate) fn field<'w>(&self, at: &'w Where) -> Result<(Cow<'w, Field>, &'w str), Fault> {
        Ok(match at {
            Where::Known(field, text) => (Cow::Borrowed(field), text),
            Where::Computed(operand, text) => {
                let name = operand.value(self)?;
                let name = name.as_str().ok_or("a computed 'field' is not a string")?;
                (Cow::Owned(Field::read(name, self.aliases)?), text)
            }
        })
    }

    /// The values of the field; inside a count, those of the element it is at.
    fn values(&self, field: &Field) -> Vec<Option<Cow<'a, Value>>> {
        if let Field::Alias(_, path) = field {
            let scopes = self.scopes.borrow();
            let inside = scopes.iter().rev().find(|s| s.path.as_ref().is_some_and(|p| path.starts_with(p)));
            if let Some(Scope { path: Some(outer), element, .. }) = inside {
                let mut found = Vec::new();
                collect(element, &path[outer.len()..], &mut found);
                if found.is_empty() && !path[outer.len()..].contains(&Step::Each) {
                    return vec![None];
                }
                return found.into_iter().map(|v| Some(Cow::Owned(v.clone()))).collect();
            }
        }
        field.values(self.subject)
    }

    #[allow(clippy::too_many_arguments)] // one line of the reason, as Azure prints it
    fn say(&self, kind: &str, text: &str, path: Option<&str>, found: Value, wanted: &Value, test: &Test, result: bool) {
        let Some(trace) = &self.trace else { return };
        let mut trace = trace.borrow_mut();
        if trace.len() >= 64 {
            return;
        }
        let operator = format!("{}{}", test.name[..1].to_ascii_uppercase(), &test.name[1..]);
        let mut line = json!({
            "result": if result { "True" } else { "False" }, "expressionKind": kind, "expression": text,
            "expressionValue": found, "targetValue": wanted, "operator": operator,
        });
        if let Some(path) = path {
            line["path"] = json!(path);
        }
        trace.push(line);
    }
}

impl Names for Evaluation<'_> {
    fn call(&self, name: &str, a: &[Value]) -> Option<Result<Value, Fault>> {
        Some(match (name, a) {
            ("parameters", [Value::String(wanted)]) => self
                .parameters
                .iter()
                .find(|(k, _)| k.eq_ignore_ascii_case(wanted))
                .map(|(_, v)| v.clone())
                .ok_or_else(|| format!("the parameter '{wanted}' has no value")),
            ("field", [Value::String(wanted)]) => Field::read(wanted, self.aliases).map(|field| {
                let values = self.values(&field);
                if field.is_many() {
                    return Value::Array(values.into_iter().flatten().map(Cow::into_owned).collect());
                }
                values.into_iter().next().flatten().map_or(Value::Null, Cow::into_owned)
            }),
            ("current", []) => {
                self.scopes.borrow().last().map(|s| s.element.clone()).ok_or_else(|| "'current' stands outside a count".into())
            }
            ("current", [Value::String(wanted)]) => self.current(wanted),
            ("policy", []) => Ok(self.policy.clone()),
            ("requestcontext", []) => Ok(json!({ "apiVersion": self.around.api_version })),
            ("resourcegroup", []) => Ok(self.around.resource_group.clone()),
            ("subscription", []) => Ok(self.around.subscription.clone()),
            ("utcnow", []) => Ok(json!(self.around.now.rfc3339())),
            ("utcnow", [format]) => when(self.around.now, &text_of(format)),
            _ => return None,
        })
    }
}

impl Evaluation<'_> {
    fn current(&self, wanted: &str) -> Result<Value, Fault> {
        let (scopes, folded) = (self.scopes.borrow(), wanted.to_lowercase());
        if let Some(scope) = scopes.iter().rev().find(|s| s.name == folded) {
            return Ok(scope.element.clone());
        }
        let inside = scopes.iter().rev().find(|s| s.path.is_some() && folded.strip_prefix(&s.name).is_some_and(|r| r.starts_with('.')));
        let scope = inside.ok_or_else(|| format!("'current' names no count: '{wanted}'"))?;
        let path = wanted.get(scope.name.len() + 1..).and_then(crate::subject::path).ok_or_else(|| format!("'{wanted}' is malformed"))?;
        let mut found = Vec::new();
        collect(&scope.element, &path, &mut found);
        Ok(if path.contains(&Step::Each) {
            Value::Array(found.into_iter().cloned().collect())
        } else {
            found.first().map_or(Value::Null, |v| (*v).clone())
        })
    }
}

/// The few formats that policies use.
fn when(now: Timestamp, format: &str) -> Result<Value, Fault> {
    let text = now.rfc3339();
    Ok(json!(match format {
        "u" | "o" | "s" => text,
        "d" | "yyyy-MM-dd" => text.get(..10).unwrap_or("").to_owned(),
        "yyyy" => text.get(..4).unwrap_or("").to_owned(),
        "yyyy-MM-ddTHH:mm:ssZ" => format!("{}Z", text.get(..19).unwrap_or("")),
        other => return Err(format!("the format '{other}' of utcNow is not known")),
    }))
}
