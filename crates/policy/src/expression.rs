//! The `[...]` strings inside policies: `[concat('tags[', parameters('tagName'), ']')]`. Read once into a tree, strictly
//! and within bounds; what a name means that is not a pure function (`field`, `parameters`, `current`…) is asked of
//! [`Names`] (Azure Policy, "policy rule: policy functions"; ARM template functions).

use serde_json::{Map, Number, Value, json};

const BYTES_MAX: usize = 24_576;
const DEPTH_MAX: usize = 32;
/// A result of a function holds at most so many bytes of text, or elements.
const RESULT_MAX: usize = 65_536;

/// Why an expression has no value, in words for whoever wrote the policy.
pub type Fault = String;

/// Functions that depend on what is judged. `None`: no such function.
pub trait Names {
    fn call(&self, name: &str, arguments: &[Value]) -> Option<Result<Value, Fault>>;
}

/// No names at all: only pure functions have a value.
#[derive(Debug)]
pub struct Pure;
impl Names for Pure {
    fn call(&self, _: &str, _: &[Value]) -> Option<Result<Value, Fault>> {
        None
    }
}

/// A read expression.
#[derive(Clone, Debug, PartialEq)]
pub enum Expression {
    Literal(Value),
    /// The name is folded to lower case.
    Call(String, Vec<Expression>),
    /// `x.name` and `x[index]`.
    At(Box<Expression>, Box<Expression>),
}

/// A value of a policy: as it stands, or computed when it is needed.
#[derive(Clone, Debug, PartialEq)]
pub enum Operand {
    Fixed(Value),
    Computed(Expression),
    List(Vec<Operand>),
    Object(Vec<(String, Operand)>),
}

impl Operand {
    /// Strings `[...]` are expressions, `[[...` is a literal `[...`. Error: a malformed expression.
    pub fn read(value: &Value) -> Result<Operand, Fault> {
        Ok(match value {
            Value::String(text) => match expression_in(text) {
                Some(inside) => Operand::Computed(parse(inside)?),
                None => Operand::Fixed(Value::String(text.strip_prefix('[').filter(|t| t.starts_with('[')).unwrap_or(text).to_owned())),
            },
            Value::Array(items) if has_expression(value) => Operand::List(items.iter().map(Operand::read).collect::<Result<_, _>>()?),
            Value::Object(map) if has_expression(value) => {
                Operand::Object(map.iter().map(|(k, v)| Ok((k.clone(), Operand::read(v)?))).collect::<Result<_, Fault>>()?)
            }
            other => Operand::Fixed(other.clone()),
        })
    }
    pub fn value(&self, names: &dyn Names) -> Result<std::borrow::Cow<'_, Value>, Fault> {
        use std::borrow::Cow;
        Ok(match self {
            Operand::Fixed(value) => Cow::Borrowed(value),
            Operand::Computed(expression) => Cow::Owned(expression.value(names)?),
            Operand::List(items) => {
                Cow::Owned(Value::Array(items.iter().map(|i| Ok(i.value(names)?.into_owned())).collect::<Result<_, Fault>>()?))
            }
            Operand::Object(map) => Cow::Owned(Value::Object(
                map.iter().map(|(k, v)| Ok((k.clone(), v.value(names)?.into_owned()))).collect::<Result<_, Fault>>()?,
            )),
        })
    }
    /// Each function called anywhere inside, with its arguments.
    pub fn calls(&self, seen: &mut dyn FnMut(&str, &[Expression])) {
        match self {
            Operand::Fixed(_) => {}
            Operand::Computed(expression) => expression.calls(seen),
            Operand::List(items) => items.iter().for_each(|i| i.calls(seen)),
            Operand::Object(map) => map.iter().for_each(|(_, v)| v.calls(seen)),
        }
    }
}

/// What stands between the brackets of an expression string.
fn expression_in(text: &str) -> Option<&str> {
    text.strip_prefix('[').filter(|t| !t.starts_with('[')).and_then(|t| t.strip_suffix(']'))
}

fn has_expression(value: &Value) -> bool {
    match value {
        Value::String(text) => text.starts_with('['),
        Value::Array(items) => items.iter().any(has_expression),
        Value::Object(map) => map.values().any(has_expression),
        _ => false,
    }
}

impl Expression {
    /// Error: an unknown function, arguments that it does not take, or a result over the bounds.
    pub fn value(&self, names: &dyn Names) -> Result<Value, Fault> {
        match self {
            Expression::Literal(value) => Ok(value.clone()),
            Expression::At(inside, at) => element(&inside.value(names)?, &at.value(names)?),
            Expression::Call(name, arguments) => {
                if let Some(decided) = lazily(name, arguments, names) {
                    return decided;
                }
                let values = arguments.iter().map(|a| a.value(names)).collect::<Result<Vec<_>, _>>()?;
                let found = match names.call(name, &values) {
                    Some(found) => found?,
                    None => pure(name, &values)?,
                };
                bounded(found)
            }
        }
    }
    fn calls(&self, seen: &mut dyn FnMut(&str, &[Expression])) {
        match self {
            Expression::Literal(_) => {}
            Expression::At(inside, at) => {
                inside.calls(seen);
                at.calls(seen);
            }
            Expression::Call(name, arguments) => {
                seen(name, arguments);
                arguments.iter().for_each(|a| a.calls(seen));
            }
        }
    }
}

fn bounded(value: Value) -> Result<Value, Fault> {
    let size = match &value {
        Value::String(s) => s.len(),
        Value::Array(a) => a.len(),
        Value::Object(o) => o.len(),
        _ => 0,
    };
    if size > RESULT_MAX { Err("the result of an expression is too large".into()) } else { Ok(value) }
}

/// Functions that look at an argument only where they need it.
fn lazily(name: &str, arguments: &[Expression], names: &dyn Names) -> Option<Result<Value, Fault>> {
    match (name, arguments) {
        ("if", [condition, yes, no]) => Some(match condition.value(names) {
            Ok(Value::Bool(true)) => yes.value(names),
            Ok(Value::Bool(false)) => no.value(names),
            Ok(_) => Err("the first argument of 'if' is not a boolean".into()),
            Err(fault) => Err(fault),
        }),
        ("and" | "or", arguments) if arguments.len() > 1 => {
            for argument in arguments {
                match argument.value(names) {
                    Ok(Value::Bool(found)) if found == (name == "or") => return Some(Ok(json!(found))),
                    Ok(Value::Bool(_)) => {}
                    Ok(_) => return Some(Err(format!("an argument of '{name}' is not a boolean"))),
                    Err(fault) => return Some(Err(fault)),
                }
            }
            Some(Ok(json!(name == "and")))
        }
        _ => None,
    }
}

/// `inside.at` or `inside[at]`; property names compare without case, as templates do. A property that is not there is null,
/// since policies ask for tags that a group may not have; an element that is not there is an error.
fn element(inside: &Value, at: &Value) -> Result<Value, Fault> {
    let found = match (inside, at) {
        (Value::Object(_), Value::String(name)) => Some(crate::subject::named(inside, name).unwrap_or(&Value::Null)),
        (Value::Array(items), Value::Number(n)) => n.as_u64().and_then(|n| items.get(usize::try_from(n).ok()?)),
        (Value::Null, _) => Some(&Value::Null),
        _ => None,
    };
    found.cloned().ok_or_else(|| format!("there is no '{}' in the value", text_of(at)))
}

pub(crate) fn text_of(value: &Value) -> String {
    match value {
        Value::String(s) => s.clone(),
        Value::Bool(true) => "True".into(),
        Value::Bool(false) => "False".into(),
        Value::Null => String::new(),
        other => other.to_string(),
    }
}

fn whole(value: &Value) -> Option<i64> {
    match value {
        Value::Number(n) => n.as_i64(),
        Value::String(s) => s.trim().parse().ok(),
        _ => None,
    }
}

/// A place in a list or text. Negative ones are the beginning, as in templates.
fn place(value: &Value) -> Option<usize> {
    whole(value).map(|n| usize::try_from(n).unwrap_or(0))
}

fn same(a: &Value, b: &Value) -> bool {
    match (a, b) {
        (Value::String(a), Value::String(b)) => a == b,
        (Value::Number(a), Value::Number(b)) => a == b || a.as_f64() == b.as_f64(),
        _ => a == b,
    }
}

fn holds(list: &Value, item: &Value) -> Option<bool> {
    Some(match list {
        Value::String(text) => text.to_lowercase().contains(&item.as_str()?.to_lowercase()),
        Value::Array(items) => items.iter().any(|i| same(i, item)),
        Value::Object(map) => map.keys().any(|k| item.as_str().is_some_and(|i| k.eq_ignore_ascii_case(i))),
        _ => return None,
    })
}

/// The pure functions. Error: no such function, or not with these arguments.
fn pure(name: &str, a: &[Value]) -> Result<Value, Fault> {
    let found =
        strings(name, a).or_else(|| lists(name, a)).or_else(|| logic(name, a)).or_else(|| numbers(name, a)).or_else(|| times(name, a));
    match found {
        Some(value) => Ok(value),
        None if FUNCTIONS.contains(&name) => Err(format!("the function '{name}' does not take these arguments")),
        None => Err(format!("the function '{name}' is not known here")),
    }
}

/// Every pure function, for the reader of policies.
pub(crate) const FUNCTIONS: &[&str] = &[
    "concat",
    "tolower",
    "toupper",
    "trim",
    "length",
    "split",
    "join",
    "replace",
    "substring",
    "startswith",
    "endswith",
    "contains",
    "indexof",
    "lastindexof",
    "empty",
    "padleft",
    "string",
    "format",
    "json",
    "equals",
    "not",
    "and",
    "or",
    "if",
    "true",
    "false",
    "null",
    "bool",
    "int",
    "add",
    "sub",
    "mul",
    "div",
    "mod",
    "min",
    "max",
    "less",
    "lessorequals",
    "greater",
    "greaterorequals",
    "first",
    "last",
    "skip",
    "take",
    "union",
    "intersection",
    "createarray",
    "array",
    "createobject",
    "coalesce",
    "tryget",
    "range",
    "adddays",
    "iprangecontains",
];

fn strings(name: &str, a: &[Value]) -> Option<Value> {
    Some(match (name, a) {
        ("concat", [Value::Array(_), ..]) => {
            Value::Array(a.iter().map(Value::as_array).collect::<Option<Vec<_>>>()?.into_iter().flatten().cloned().collect())
        }
        ("concat", _) => {
            let whole: usize = a.iter().map(|v| v.as_str().map_or(8, str::len)).sum();
            if whole > RESULT_MAX {
                return None;
            }
            json!(a.iter().map(text_of).collect::<String>())
        }
        ("tolower", [Value::String(s)]) => json!(s.to_lowercase()),
        ("toupper", [Value::String(s)]) => json!(s.to_uppercase()),
        ("trim", [Value::String(s)]) => json!(s.trim()),
        ("length", [Value::String(s)]) => json!(s.chars().count()),
        ("split", [Value::String(s), Value::String(by)]) if !by.is_empty() => json!(s.split(by.as_str()).collect::<Vec<_>>()),
        ("split", [Value::String(s), Value::Array(by)]) => {
            let by = by.iter().map(Value::as_str).collect::<Option<Vec<_>>>()?;
            if by.iter().any(|b| b.is_empty()) {
                return None;
            }
            let parts = by.iter().fold(vec![s.as_str()], |parts, b| parts.into_iter().flat_map(|p| p.split(b)).collect());
            json!(parts)
        }
        ("join", [Value::Array(items), Value::String(by)]) => json!(items.iter().map(text_of).collect::<Vec<_>>().join(by)),
        ("replace", [Value::String(s), Value::String(old), Value::String(new)]) if !old.is_empty() => {
            if s.len().saturating_add(s.matches(old.as_str()).count().saturating_mul(new.len())) > RESULT_MAX {
                return None;
            }
            json!(s.replace(old.as_str(), new))
        }
        ("substring", [Value::String(s), from]) => json!(s.chars().skip(place(from)?).collect::<String>()),
        ("substring", [Value::String(s), from, length]) => {
            let (from, length) = (place(from)?, place(length)?);
            // Azure refuses a part that is not inside
            if from.checked_add(length)? > s.chars().count() {
                return None;
            }
            json!(s.chars().skip(from).take(length).collect::<String>())
        }
        ("startswith", [Value::String(s), Value::String(part)]) => json!(s.to_lowercase().starts_with(&part.to_lowercase())),
        ("endswith", [Value::String(s), Value::String(part)]) => json!(s.to_lowercase().ends_with(&part.to_lowercase())),
        ("indexof", [Value::String(s), Value::String(part)]) => index(s, s.to_lowercase().find(&part.to_lowercase())),
        ("lastindexof", [Value::String(s), Value::String(part)]) => index(s, s.to_lowercase().rfind(&part.to_lowercase())),
        ("padleft", [value, width, rest @ ..]) if rest.len() < 2 => {
            let fill = rest.first().map_or(Some(" "), Value::as_str)?.chars().next()?;
            let (text, width) = (text_of(value), place(width)?.min(1_024));
            let missing = width.saturating_sub(text.chars().count());
            json!(std::iter::repeat_n(fill, missing).chain(text.chars()).collect::<String>())
        }
        ("string", [value]) => json!(text_of(value)),
        ("format", [Value::String(pattern), rest @ ..]) => {
            json!(rest.iter().enumerate().fold(pattern.clone(), |text, (i, v)| text.replace(&format!("{{{i}}}"), &text_of(v))))
        }
        ("json", [Value::String(s)]) => serde_json::from_str(s).ok()?,
        _ => return None,
    })
}

fn index(text: &str, at: Option<usize>) -> Value {
    json!(at.and_then(|at| text.get(..at)).map_or(-1, |before| i64::try_from(before.chars().count()).unwrap_or(-1)))
}

fn lists(name: &str, a: &[Value]) -> Option<Value> {
    Some(match (name, a) {
        ("length", [Value::Array(items)]) => json!(items.len()),
        ("length", [Value::Object(map)]) => json!(map.len()),
        ("contains", [list, item]) => json!(holds(list, item)?),
        ("empty", [value]) => json!(match value {
            Value::String(s) => s.is_empty(),
            Value::Array(items) => items.is_empty(),
            Value::Object(map) => map.is_empty(),
            Value::Null => true,
            _ => return None,
        }),
        ("first", [Value::String(s)]) => json!(s.chars().next().map(String::from).unwrap_or_default()),
        ("last", [Value::String(s)]) => json!(s.chars().last().map(String::from).unwrap_or_default()),
        ("first", [Value::Array(items)]) => items.first()?.clone(),
        ("last", [Value::Array(items)]) => items.last()?.clone(),
        ("skip", [Value::Array(items), n]) => Value::Array(items.iter().skip(place(n)?).cloned().collect()),
        ("take", [Value::Array(items), n]) => Value::Array(items.iter().take(place(n)?).cloned().collect()),
        ("skip", [Value::String(s), n]) => json!(s.chars().skip(place(n)?).collect::<String>()),
        ("take", [Value::String(s), n]) => json!(s.chars().take(place(n)?).collect::<String>()),
        ("union", [Value::Array(_), ..]) => {
            let all = a.iter().map(Value::as_array).collect::<Option<Vec<_>>>()?;
            let mut found: Vec<Value> = Vec::new();
            for item in all.into_iter().flatten() {
                if !found.contains(item) && found.len() <= 4_096 {
                    found.push(item.clone());
                }
            }
            Value::Array(found)
        }
        ("union", [Value::Object(_), ..]) => {
            let mut found = Map::new();
            for map in a.iter().map(Value::as_object).collect::<Option<Vec<_>>>()? {
                found.extend(map.clone());
            }
            Value::Object(found)
        }
        ("intersection", [Value::Array(first), rest @ ..]) => {
            let rest = rest.iter().map(Value::as_array).collect::<Option<Vec<_>>>()?;
            Value::Array(first.iter().filter(|i| rest.iter().all(|r| r.contains(i))).cloned().collect())
        }
        ("createarray", items) => Value::Array(items.to_vec()),
        ("array", [Value::Array(items)]) => Value::Array(items.clone()),
        ("array", [value]) => json!([value]),
        ("createobject", pairs) if pairs.len().is_multiple_of(2) => {
            Value::Object(pairs.chunks(2).map(|p| Some((p[0].as_str()?.to_owned(), p[1].clone()))).collect::<Option<_>>()?)
        }
        ("coalesce", values) => values.iter().find(|v| !v.is_null()).cloned().unwrap_or(Value::Null),
        ("tryget", [inside, path @ ..]) if !path.is_empty() => {
            let mut at = inside.clone();
            for step in path {
                at = element(&at, step).unwrap_or(Value::Null);
            }
            at
        }
        ("range", [from, count]) => {
            let (from, count) = (whole(from)?, place(count)?.min(10_000));
            Value::Array((0..i64::try_from(count).ok()?).map(|i| json!(from.saturating_add(i))).collect())
        }
        _ => return None,
    })
}

fn logic(name: &str, a: &[Value]) -> Option<Value> {
    let less = |x: &Value, y: &Value| match (x, y) {
        (Value::String(x), Value::String(y)) => Some(x.to_lowercase().cmp(&y.to_lowercase())),
        _ => Some(whole(x)?.cmp(&whole(y)?)),
    };
    Some(match (name, a) {
        ("equals", [x, y]) => json!(same(x, y)),
        ("not", [Value::Bool(x)]) => json!(!x),
        ("true", []) => json!(true),
        ("false", []) => json!(false),
        ("null", []) => Value::Null,
        ("bool", [Value::Bool(x)]) => json!(x),
        ("bool", [Value::String(s)]) if s.eq_ignore_ascii_case("true") || s == "1" => json!(true),
        ("bool", [Value::String(s)]) if s.eq_ignore_ascii_case("false") || s == "0" => json!(false),
        ("bool", [Value::Number(n)]) => json!(n.as_i64() != Some(0)),
        ("less", [x, y]) => json!(less(x, y)?.is_lt()),
        ("lessorequals", [x, y]) => json!(less(x, y)?.is_le()),
        ("greater", [x, y]) => json!(less(x, y)?.is_gt()),
        ("greaterorequals", [x, y]) => json!(less(x, y)?.is_ge()),
        _ => return None,
    })
}

fn numbers(name: &str, a: &[Value]) -> Option<Value> {
    let all = || match a {
        [Value::Array(items)] => items.iter().map(whole).collect::<Option<Vec<_>>>(),
        _ => a.iter().map(whole).collect::<Option<Vec<_>>>(),
    };
    Some(Value::Number(Number::from(match (name, a) {
        ("int", [Value::Number(n)]) => n.as_i64().or_else(|| n.as_f64().map(|f| f as i64))?,
        ("int", [x @ Value::String(_)]) => whole(x)?,
        ("add", [x, y]) => whole(x)?.checked_add(whole(y)?)?,
        ("sub", [x, y]) => whole(x)?.checked_sub(whole(y)?)?,
        ("mul", [x, y]) => whole(x)?.checked_mul(whole(y)?)?,
        ("div", [x, y]) => whole(x)?.checked_div(whole(y)?)?,
        ("mod", [x, y]) => whole(x)?.checked_rem(whole(y)?)?,
        ("min", _) => all()?.into_iter().min()?,
        ("max", _) => all()?.into_iter().max()?,
        _ => return None,
    })))
}

/// `2026-11-24T08:13:52Z`, or a date alone.
pub(crate) fn date(text: &str) -> Option<base::Timestamp> {
    base::Timestamp::parse_rfc3339(text).or_else(|| base::Timestamp::parse_rfc3339(&format!("{text}T00:00:00Z")))
}

fn times(name: &str, a: &[Value]) -> Option<Value> {
    match (name, a) {
        ("adddays", [Value::String(from), days]) => {
            let seconds = whole(days)?.checked_mul(86_400)?;
            let at = date(from)?.plus_seconds(seconds);
            Some(json!(at.rfc3339()))
        }
        ("iprangecontains", [Value::String(range), Value::String(inside)]) => {
            let (outer, inner) = (network(range)?, network(inside)?);
            Some(json!(outer.0 <= inner.0 && inner.1 <= outer.1))
        }
        _ => None,
    }
}

/// `a.b.c.d`, `a.b.c.d/n` or `from-to` as numbers, IPv4 as mapped IPv6.
fn network(text: &str) -> Option<(u128, u128)> {
    use std::net::IpAddr;
    let number = |text: &str| {
        Some(match text.trim().parse::<IpAddr>().ok()? {
            IpAddr::V4(ip) => (u128::from(ip.to_ipv6_mapped()), 32u32),
            IpAddr::V6(ip) => (u128::from(ip), 128u32),
        })
    };
    if let Some((from, to)) = text.split_once('-') {
        return Some((number(from)?.0, number(to)?.0));
    }
    let Some((address, prefix)) = text.split_once('/') else { return number(text).map(|(n, _)| (n, n)) };
    let ((address, bits), prefix) = (number(address)?, prefix.trim().parse::<u32>().ok()?);
    let free = bits.checked_sub(prefix)?;
    let mask = 1u128.checked_shl(free).map_or(u128::MAX, |one| one - 1);
    Some((address & !mask, address | mask))
}

/// Reads what stands between the brackets. Error: in words, with the place.
pub fn parse(text: &str) -> Result<Expression, Fault> {
    if text.len() > BYTES_MAX {
        return Err(format!("an expression is longer than {BYTES_MAX} bytes"));
    }
    let mut reader = Reader { text, at: 0 };
    let found = reader.expression(0)?;
    reader.space();
    if reader.at < text.len() { Err(reader.wrong("more than one expression")) } else { Ok(found) }
}

struct Reader<'t> {
    text: &'t str,
    at: usize,
}

impl<'t> Reader<'t> {
    fn wrong(&self, what: &str) -> Fault {
        format!("unable to parse the expression '{}': {what} at position {}", self.text, self.at)
    }
    fn rest(&self) -> &'t str {
        self.text.get(self.at..).unwrap_or("")
    }
    fn peek(&self) -> Option<char> {
        self.rest().chars().next()
    }
    fn space(&mut self) {
        self.at = self.text.len() - self.rest().trim_start().len();
    }
    fn take(&mut self, wanted: char) -> bool {
        self.space();
        let there = self.peek() == Some(wanted);
        if there {
            self.at += wanted.len_utf8();
        }
        there
    }
    fn word(&mut self) -> &'t str {
        let rest = self.rest();
        let end = rest.find(|c: char| !(c.is_ascii_alphanumeric() || c == '_')).unwrap_or(rest.len());
        self.at += end;
        &rest[..end]
    }

    fn expression(&mut self, depth: usize) -> Result<Expression, Fault> {
        if depth > DEPTH_MAX {
            return Err(self.wrong("it is nested too deeply"));
        }
        let mut found = self.simple(depth)?;
        for _ in 0..DEPTH_MAX {
            if self.take('.') {
                let name = self.word();
                if name.is_empty() {
                    return Err(self.wrong("a property name is expected"));
                }
                found = Expression::At(Box::new(found), Box::new(Expression::Literal(json!(name))));
            } else if self.take('[') {
                let at = self.expression(depth + 1)?;
                if !self.take(']') {
                    return Err(self.wrong("']' is expected"));
                }
                found = Expression::At(Box::new(found), Box::new(at));
            } else {
                return Ok(found);
            }
        }
        Err(self.wrong("it is nested too deeply"))
    }

    fn simple(&mut self, depth: usize) -> Result<Expression, Fault> {
        self.space();
        match self.peek() {
            Some('\'') => self.quoted(),
            Some(c) if c.is_ascii_digit() || c == '-' => {
                let rest = self.rest();
                let end = rest.char_indices().skip(1).find(|(_, c)| !c.is_ascii_digit()).map_or(rest.len(), |(i, _)| i);
                let number = rest[..end].parse::<i64>().map_err(|_| self.wrong("a number is expected"))?;
                self.at += end;
                Ok(Expression::Literal(json!(number)))
            }
            Some(c) if c.is_ascii_alphabetic() => self.call(depth),
            _ => Err(self.wrong("a function, a string or a number is expected")),
        }
    }

    /// `'it''s'`.
    fn quoted(&mut self) -> Result<Expression, Fault> {
        let mut found = String::new();
        let mut chars = self.rest().char_indices().skip(1).peekable();
        while let Some((i, c)) = chars.next() {
            if c != '\'' {
                found.push(c);
            } else if chars.peek().is_some_and(|(_, next)| *next == '\'') {
                found.push('\'');
                chars.next();
            } else {
                self.at += i + 1;
                return Ok(Expression::Literal(Value::String(found)));
            }
        }
        Err(self.wrong("a string does not end"))
    }

    fn call(&mut self, depth: usize) -> Result<Expression, Fault> {
        let name = self.word().to_ascii_lowercase();
        if !self.take('(') {
            return Err(self.wrong("'(' is expected"));
        }
        let mut arguments = Vec::new();
        if self.take(')') {
            return Ok(Expression::Call(name, arguments));
        }
        loop {
            arguments.push(self.expression(depth + 1)?);
            if self.take(')') {
                return Ok(Expression::Call(name, arguments));
            }
            if !self.take(',') {
                return Err(self.wrong("',' or ')' is expected"));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn value(text: &str) -> Result<Value, Fault> {
        parse(text).and_then(|e| e.value(&Pure))
    }

    #[test]
    fn functions_have_the_values_of_the_documentation() {
        for (text, want) in [
            ("concat('tags[', 'it''s', ']')", json!("tags[it's]")),
            ("toLower('AbC')", json!("abc")),
            ("length(split('a,b;c', createArray(',', ';')))", json!(3)),
            ("split('a-b', '-')[1]", json!("b")),
            ("if(equals(1, 1), 'yes', div(1, 0))", json!("yes")),
            ("or(true(), div(1, 0))", json!(true)),
            ("and(true(), not(false()))", json!(true)),
            ("substring('abcdef', 2, 3)", json!("cde")),
            ("add(5, sub(3, 7))", json!(1)),
            ("first('One')", json!("O")),
            ("take(createArray('a', 'b', 'c'), 2)", json!(["a", "b"])),
            ("union(createArray(1, 2), createArray(2, 3))", json!([1, 2, 3])),
            ("json('{\"a\":{\"B\":7}}').A.b", json!(7)),
            ("addDays('2024-02-28T00:00:00Z', 2)", json!("2024-03-01T00:00:00Z")),
            ("ipRangeContains('192.168.0.0/24', '192.168.0.7')", json!(true)),
            ("ipRangeContains('10.0.0.0/8', '11.0.0.0/8')", json!(false)),
            ("ipRangeContains('10.0.0.1-10.0.0.9', '10.0.0.9')", json!(true)),
            ("padLeft('5', 3, '0')", json!("005")),
            ("indexOf('Bleu', 'EU')", json!(2)),
            ("coalesce(null(), 'x')", json!("x")),
            ("tryGet(createObject('a', 1), 'b', 'c')", Value::Null),
            ("max(1, 7, 3)", json!(7)),
            ("format('{0}-{1}', 'a', 2)", json!("a-2")),
        ] {
            assert_eq!(value(text), Ok(want), "{text}");
        }
    }

    #[test]
    fn what_is_malformed_or_unknown_is_refused_in_words() {
        for (text, why) in [
            ("", "expected"),
            ("concat('a'", "expected"),
            ("'a' 'b'", "more than one"),
            ("'a", "does not end"),
            ("nothing('a')", "not known"),
            ("substring('abc', 2, 5)", "does not take"),
            ("div(1, 0)", "does not take"),
            ("add(9223372036854775807, 1)", "does not take"),
            ("if('x', 1, 2)", "not a boolean"),
            ("parameters('x')", "not known"),
            ("createArray(1)[7]", "no '7'"),
        ] {
            let fault = value(text).unwrap_err();
            assert!(fault.contains(why), "{text}: {fault}");
        }
        assert!(parse(&format!("{}1{}", "array(".repeat(40), ")".repeat(40))).unwrap_err().contains("deeply"));
        assert!(parse(&"a".repeat(BYTES_MAX + 1)).is_err());
    }

    #[test]
    fn every_listed_function_is_built() {
        // these need names or are lazy; the rest must answer something other than "not known"
        for name in FUNCTIONS.iter() {
            let fault = value(&format!("{name}()")).err().unwrap_or_default();
            assert!(!fault.contains("not known"), "{name}: {fault}");
        }
    }

    #[test]
    fn operands_keep_what_is_no_expression() {
        assert_eq!(Operand::read(&json!("plain")).unwrap(), Operand::Fixed(json!("plain")));
        assert_eq!(Operand::read(&json!("[[x]")).unwrap(), Operand::Fixed(json!("[x]")));
        let list = Operand::read(&json!(["a", "[concat('b', 'c')]"])).unwrap();
        assert_eq!(*list.value(&Pure).unwrap(), json!(["a", "bc"]));
    }
}
