//! OData's query options as far as Microsoft Graph's clients use them (OData 4.01 URL conventions, sections 5.1.1 and 5.1.2):
//! `$filter` with `eq ne in ge le`, `startswith endswith`, `and or not`, parentheses and `any`; `$search`, `$orderby`,
//! `$expand`. Strict and bounded; what is not understood is refused, because a filter that is read as something wider shows
//! too much. What OData knows and Graph does not do is refused as Graph refuses it (`Request_UnsupportedQuery`).

use base::{Error, Result, Timestamp};
use serde_json::Value;

const FILTER_BYTES_MAX: usize = 4096;
const DEPTH_MAX: usize = 16;
const PATH_STEPS_MAX: usize = 8;
/// Values of one `in` (Graph's own bound).
const IN_MAX: usize = 15;
const ORDERS_MAX: usize = 4;
const SELECTS_MAX: usize = 100;

/// A `$filter` or a `$search`, read.
#[derive(Clone, Debug, PartialEq)]
pub enum Filter {
    And(Box<Filter>, Box<Filter>),
    Or(Box<Filter>, Box<Filter>),
    Not(Box<Filter>),
    /// A property equals a literal; strings compare without case, as in Graph.
    Equals(Path, Value),
    In(Path, Vec<Value>),
    /// A date not before (`true`) or not after the literal.
    Since(Path, bool, Timestamp),
    StartsWith(Path, String),
    EndsWith(Path, String),
    /// `path/any(v: …)`: some element of the list fits; paths in the condition begin at the element.
    Any(Path, Box<Filter>),
    /// Of `$search`: each word of the text begins a word of the property.
    Words(Path, String),
}

/// Property names from the object (or, inside `any`, from the element) inwards. Empty: the element itself.
pub type Path = Vec<String>;

/// Why a text is refused.
#[derive(Debug)]
enum Why {
    Malformed(String),
    /// OData has it, Graph has not.
    Unsupported(String),
}

impl From<String> for Why {
    fn from(why: String) -> Why {
        Why::Malformed(why)
    }
}
impl From<&str> for Why {
    fn from(why: &str) -> Why {
        Why::Malformed(why.to_owned())
    }
}

impl Why {
    fn error(self, option: &'static str) -> Error {
        match self {
            Why::Malformed(why) => Error::invalid("Request_BadRequest", format!("Invalid {} clause: {why}.", &option[1..])),
            Why::Unsupported(what) => Error::invalid("Request_UnsupportedQuery", format!("Unsupported query: {what} in {option}.")),
        }
        .at(option)
    }
}

impl Filter {
    /// Errors `Request_BadRequest` ("Invalid filter clause") and `Request_UnsupportedQuery`, target `$filter`.
    pub fn parse(text: &str) -> Result<Filter> {
        read(text, tokens, Reader::either).map_err(|why| why.error("$filter"))
    }

    /// `$search`: `"displayName:anna"`, several joined with `AND`, `OR` and parentheses. Errors as [`Filter::parse`], target `$search`.
    pub fn search(text: &str) -> Result<Filter> {
        read(text, search_tokens, Reader::any_of).map_err(|why| why.error("$search"))
    }

    /// True when the object fits.
    pub fn fits(&self, object: &Value) -> bool {
        match self {
            Filter::And(a, b) => a.fits(object) && b.fits(object),
            Filter::Or(a, b) => a.fits(object) || b.fits(object),
            Filter::Not(a) => !a.fits(object),
            Filter::Equals(path, literal) => same(at(object, path), literal),
            Filter::In(path, literals) => literals.iter().any(|literal| same(at(object, path), literal)),
            Filter::Since(path, since, limit) => {
                let date = at(object, path).as_str().and_then(Timestamp::parse_rfc3339);
                date.is_some_and(|date| if *since { date >= *limit } else { date <= *limit })
            }
            Filter::StartsWith(path, start) => text_at(object, path).is_some_and(|t| t.starts_with(&start.to_lowercase())),
            Filter::EndsWith(path, end) => text_at(object, path).is_some_and(|t| t.ends_with(&end.to_lowercase())),
            Filter::Any(path, inner) => at(object, path).as_array().is_some_and(|all| all.iter().any(|one| inner.fits(one))),
            Filter::Words(path, wanted) => text_at(object, path).is_some_and(|text| has_words(&text, &wanted.to_lowercase())),
        }
    }

    /// The properties that it asks about, each by its first name.
    pub fn names(&self) -> Vec<&str> {
        match self {
            Filter::And(a, b) | Filter::Or(a, b) => a.names().into_iter().chain(b.names()).collect(),
            Filter::Not(a) => a.names(),
            Filter::Equals(path, _)
            | Filter::In(path, _)
            | Filter::Since(path, ..)
            | Filter::StartsWith(path, _)
            | Filter::EndsWith(path, _)
            | Filter::Any(path, _)
            | Filter::Words(path, _) => path.first().map(String::as_str).into_iter().collect(),
        }
    }

    /// True for what Graph answers only with `ConsistencyLevel: eventual` and `$count=true`: negations and ends.
    pub fn is_advanced(&self) -> bool {
        match self {
            Filter::And(a, b) | Filter::Or(a, b) => a.is_advanced() || b.is_advanced(),
            Filter::Not(_) | Filter::EndsWith(..) | Filter::Words(..) => true,
            Filter::Any(_, inner) => inner.is_advanced(),
            Filter::Equals(..) | Filter::In(..) | Filter::Since(..) | Filter::StartsWith(..) => false,
        }
    }
}

fn has_words(text: &str, wanted: &str) -> bool {
    let words = |text: &str| text.split(|c: char| !c.is_alphanumeric()).filter(|w| !w.is_empty()).map(str::to_owned).collect::<Vec<_>>();
    let have = words(text);
    let wanted = words(wanted);
    !wanted.is_empty() && wanted.iter().all(|w| have.iter().any(|h| h.starts_with(w)))
}

/// One key of `$orderby`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Order {
    pub path: Path,
    pub descending: bool,
}

impl Order {
    /// `displayName desc,createdDateTime`. Error `Request_BadRequest`, target `$orderby`.
    pub fn parse(text: &str) -> Result<Vec<Order>> {
        let wrong = |why: &str| Why::from(why).error("$orderby");
        let keys: Vec<&str> = text.split(',').collect();
        if text.len() > FILTER_BYTES_MAX || keys.len() > ORDERS_MAX {
            return Err(wrong("it is too long"));
        }
        keys.into_iter()
            .map(|key| {
                let words: Vec<&str> = key.split_ascii_whitespace().collect();
                let (name, descending) = match words[..] {
                    [name] | [name, "asc"] => (name, false),
                    [name, "desc"] => (name, true),
                    _ => return Err(wrong("a key is a name, and 'asc' or 'desc'")),
                };
                let path: Path = name.split('/').map(str::to_owned).collect();
                if path.len() > PATH_STEPS_MAX || path.iter().any(|step| step.is_empty() || !step.chars().all(is_word)) {
                    return Err(wrong("a key is not a name"));
                }
                Ok(Order { path, descending })
            })
            .collect()
    }
    /// What an object is ordered by: numbers and flags as text, nothing first.
    pub fn key(&self, object: &Value) -> String {
        match at(object, &self.path) {
            Value::Null => String::new(),
            Value::String(text) => text.to_lowercase(),
            other => other.to_string(),
        }
    }
}

/// One navigation of `$expand`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Expand {
    pub name: String,
    pub select: Vec<String>,
}

impl Expand {
    /// `members`, `members($select=id,displayName)`. Graph takes one at a time. Errors as [`Filter::parse`], target `$expand`.
    pub fn parse(text: &str) -> Result<Expand> {
        let wrong = |why: Why| why.error("$expand");
        let text = text.trim();
        let (name, options) = match text.split_once('(') {
            Some((name, rest)) => (name, rest.strip_suffix(')').ok_or_else(|| wrong("a parenthesis is not closed".into()))?),
            None => (text, ""),
        };
        if name.contains(',') || options.contains(')') {
            return Err(wrong(Why::Unsupported("more than one navigation".into())));
        }
        if name.is_empty() || name.len() > 64 || !name.chars().all(is_word) {
            return Err(wrong("a navigation has no name".into()));
        }
        let mut select = Vec::new();
        for option in options.split(';').filter(|o| !o.is_empty()) {
            match option.trim().split_once('=') {
                Some(("$select", names)) => select = parse_select(names)?,
                Some((other, _)) => return Err(wrong(Why::Unsupported(format!("'{}'", other.escape_debug())))),
                None => return Err(wrong("an option has no value".into())),
            }
        }
        Ok(Expand { name: name.to_owned(), select })
    }
}

/// `$select`: names, which may lead inwards. Error `Request_BadRequest`, target `$select`.
pub fn parse_select(text: &str) -> Result<Vec<String>> {
    let names: Vec<String> = text.split(',').map(|name| name.trim().to_owned()).filter(|name| !name.is_empty()).collect();
    if names.len() > SELECTS_MAX || names.iter().any(|n| n.len() > 128 || !n.chars().all(|c| is_word(c) || c == '/' || c == '*')) {
        return Err(Why::from("a name is not a name").error("$select"));
    }
    Ok(names)
}

fn read(text: &str, tokens: fn(&str) -> Result<Vec<Token>, Why>, whole: fn(&mut Reader) -> Result<Filter, Why>) -> Result<Filter, Why> {
    if text.len() > FILTER_BYTES_MAX {
        return Err(format!("it is longer than {FILTER_BYTES_MAX} bytes").into());
    }
    let mut reader = Reader { tokens: tokens(text)?, at: 0, depth: 0, variable: None };
    let filter = whole(&mut reader)?;
    match reader.peek() {
        None => Ok(filter),
        Some(token) => Err(format!("unexpected {}", token.show()).into()),
    }
}

fn at<'v>(object: &'v Value, path: &Path) -> &'v Value {
    path.iter().fold(object, |value, name| value.get(name).unwrap_or(&Value::Null))
}

fn text_at(object: &Value, path: &Path) -> Option<String> {
    at(object, path).as_str().map(str::to_lowercase)
}

fn same(value: &Value, literal: &Value) -> bool {
    match (value, literal) {
        (Value::String(a), Value::String(b)) => a.to_lowercase() == b.to_lowercase(),
        (a, b) => a == b,
    }
}

#[derive(Clone, Debug, PartialEq)]
enum Token {
    Word(String),
    Text(String),
    Mark(char),
}

impl Token {
    fn show(&self) -> String {
        match self {
            Token::Word(w) => format!("'{w}'"),
            Token::Text(t) => format!("the text '{t}'"),
            Token::Mark(c) => format!("'{c}'"),
        }
    }
}

fn tokens(text: &str) -> Result<Vec<Token>, Why> {
    let mut all = Vec::new();
    let mut rest = text.chars().peekable();
    while let Some(c) = rest.next() {
        match c {
            ' ' | '\t' => {}
            '(' | ')' | ',' | '/' | ':' => all.push(Token::Mark(c)),
            '\'' => {
                let mut value = String::new();
                loop {
                    match rest.next() {
                        // two quotes are one (OData 4.01 ABNF, SQUOTE-in-string)
                        Some('\'') if rest.peek() == Some(&'\'') => {
                            rest.next();
                            value.push('\'');
                        }
                        Some('\'') => break,
                        Some(c) => value.push(c),
                        None => return Err("a text has no closing quote".into()),
                    }
                }
                all.push(Token::Text(value));
            }
            c if is_word(c) => {
                // 2026-11-24T09:54:19Z has colons; a variable never begins with a digit
                let is_number = c.is_ascii_digit();
                let mut word = String::from(c);
                while let Some(c) = rest.next_if(|c| is_word(*c) || (is_number && *c == ':')) {
                    word.push(c);
                }
                all.push(Token::Word(word));
            }
            c => return Err(format!("unexpected '{}'", c.escape_debug()).into()),
        }
    }
    Ok(all)
}

/// Texts in double quotes (`\\` before a quote that is meant), `AND`, `OR`, parentheses.
fn search_tokens(text: &str) -> Result<Vec<Token>, Why> {
    let mut all = Vec::new();
    let mut rest = text.chars().peekable();
    while let Some(c) = rest.next() {
        match c {
            ' ' => {}
            '(' | ')' => all.push(Token::Mark(c)),
            '"' => {
                let mut value = String::new();
                loop {
                    match rest.next() {
                        Some('\\') => value.push(rest.next().ok_or("a text has no closing quote")?),
                        Some('"') => break,
                        Some(c) => value.push(c),
                        None => return Err("a text has no closing quote".into()),
                    }
                }
                all.push(Token::Text(value));
            }
            c if c.is_ascii_alphabetic() => {
                let mut word = String::from(c);
                while let Some(c) = rest.next_if(char::is_ascii_alphabetic) {
                    word.push(c);
                }
                all.push(Token::Word(word));
            }
            c => return Err(format!("unexpected '{}': a text stands in double quotes", c.escape_debug()).into()),
        }
    }
    Ok(all)
}

fn is_word(c: char) -> bool {
    c.is_alphanumeric() || matches!(c, '_' | '-' | '.' | '@' | '$')
}

struct Reader {
    tokens: Vec<Token>,
    at: usize,
    depth: usize,
    /// The name that `any` gave to its element.
    variable: Option<String>,
}

impl Reader {
    fn peek(&self) -> Option<&Token> {
        self.tokens.get(self.at)
    }
    fn next(&mut self) -> Result<Token, Why> {
        let token = self.peek().cloned().ok_or("it ends too early")?;
        self.at += 1;
        Ok(token)
    }
    fn is_mark(&self, mark: char) -> bool {
        self.peek() == Some(&Token::Mark(mark))
    }
    fn mark(&mut self, mark: char) -> Result<(), Why> {
        match self.next()? {
            Token::Mark(c) if c == mark => Ok(()),
            other => Err(format!("expected '{mark}', found {}", other.show()).into()),
        }
    }
    fn word(&mut self) -> Result<String, Why> {
        match self.next()? {
            Token::Word(word) => Ok(word),
            other => Err(format!("expected a name, found {}", other.show()).into()),
        }
    }
    fn is_word(&self, word: &str) -> bool {
        matches!(self.peek(), Some(Token::Word(w)) if w == word)
    }
    fn deeper<T>(&mut self, read: impl FnOnce(&mut Reader) -> Result<T, Why>) -> Result<T, Why> {
        if self.depth == DEPTH_MAX {
            return Err(format!("it is nested more than {DEPTH_MAX} deep").into());
        }
        self.depth += 1;
        let value = read(self);
        self.depth -= 1;
        value
    }

    fn either(&mut self) -> Result<Filter, Why> {
        let mut left = self.both()?;
        while self.is_word("or") {
            self.at += 1;
            left = Filter::Or(Box::new(left), Box::new(self.both()?));
        }
        Ok(left)
    }

    fn both(&mut self) -> Result<Filter, Why> {
        let mut left = self.one()?;
        while self.is_word("and") {
            self.at += 1;
            left = Filter::And(Box::new(left), Box::new(self.one()?));
        }
        Ok(left)
    }

    fn one(&mut self) -> Result<Filter, Why> {
        if self.is_mark('(') {
            self.at += 1;
            let inner = self.deeper(Reader::either)?;
            self.mark(')')?;
            return Ok(inner);
        }
        let first = self.word()?;
        match first.as_str() {
            "not" => Ok(Filter::Not(Box::new(self.deeper(Reader::one)?))),
            "startswith" | "startsWith" if self.is_mark('(') => self.edge(true),
            "endswith" | "endsWith" if self.is_mark('(') => self.edge(false),
            _ if self.is_mark('(') => Err(Why::Unsupported(format!("the function '{first}'"))),
            _ => self.comparison(first),
        }
    }

    /// `startswith(path,'text')`, behind the function's name.
    fn edge(&mut self, start: bool) -> Result<Filter, Why> {
        self.mark('(')?;
        let first = self.word()?;
        let path = self.path(first)?;
        self.mark(',')?;
        let Token::Text(text) = self.next()? else { return Err("expected a text".into()) };
        self.mark(')')?;
        Ok(if start { Filter::StartsWith(path, text) } else { Filter::EndsWith(path, text) })
    }

    fn comparison(&mut self, first: String) -> Result<Filter, Why> {
        let mut path = self.path(first)?;
        if self.is_mark('(') {
            return match path.pop().as_deref() {
                Some("any") => self.any(path),
                other => Err(Why::Unsupported(format!("the function '{}'", other.unwrap_or_default()))),
            };
        }
        if path.iter().any(|step| step == "$count") {
            return Err(Why::Unsupported("the count of a collection".into()));
        }
        let operator = self.word()?;
        match operator.as_str() {
            "eq" => Ok(Filter::Equals(path, self.literal()?)),
            "ne" => Ok(Filter::Not(Box::new(Filter::Equals(path, self.literal()?)))),
            "in" => Ok(Filter::In(path, self.list()?)),
            "ge" | "le" => {
                let date = match self.next()? {
                    Token::Word(word) => Timestamp::parse_rfc3339(&word),
                    _ => None,
                };
                let date = date.ok_or_else(|| Why::Unsupported(format!("'{operator}' with what is not a date")))?;
                Ok(Filter::Since(path, operator == "ge", date))
            }
            "gt" | "lt" | "has" | "add" | "sub" | "mul" | "div" | "mod" => Err(Why::Unsupported(format!("the operator '{operator}'"))),
            other => Err(format!("the operator '{other}' is not known").into()),
        }
    }

    /// `('a','b')`, behind `in`.
    fn list(&mut self) -> Result<Vec<Value>, Why> {
        self.mark('(')?;
        let mut all = vec![self.literal()?];
        while self.is_mark(',') {
            self.at += 1;
            all.push(self.literal()?);
            if all.len() > IN_MAX {
                return Err(format!("'in' has more than {IN_MAX} values").into());
            }
        }
        self.mark(')')?;
        Ok(all)
    }

    /// A `$search`: terms joined with `AND` and `OR`.
    fn any_of(&mut self) -> Result<Filter, Why> {
        let mut left = self.all_of()?;
        while self.is_word("OR") {
            self.at += 1;
            left = Filter::Or(Box::new(left), Box::new(self.all_of()?));
        }
        Ok(left)
    }

    fn all_of(&mut self) -> Result<Filter, Why> {
        let mut left = self.term()?;
        while self.is_word("AND") {
            self.at += 1;
            left = Filter::And(Box::new(left), Box::new(self.term()?));
        }
        Ok(left)
    }

    fn term(&mut self) -> Result<Filter, Why> {
        if self.is_mark('(') {
            self.at += 1;
            let inner = self.deeper(Reader::any_of)?;
            self.mark(')')?;
            return Ok(inner);
        }
        let Token::Text(text) = self.next()? else { return Err("expected a text in double quotes".into()) };
        let Some((name, wanted)) = text.split_once(':').filter(|(n, w)| !n.is_empty() && n.chars().all(is_word) && !w.trim().is_empty())
        else {
            return Err("a text is 'property:words'".into());
        };
        Ok(Filter::Words(vec![name.to_owned()], wanted.trim().to_owned()))
    }

    fn any(&mut self, path: Path) -> Result<Filter, Why> {
        if self.variable.is_some() {
            return Err("'any' stands inside 'any'".into());
        }
        self.mark('(')?;
        self.variable = Some(self.word()?);
        self.mark(':')?;
        let inner = self.deeper(Reader::either)?;
        self.mark(')')?;
        self.variable = None;
        Ok(Filter::Any(path, Box::new(inner)))
    }

    /// A path whose first name was read. Inside `any` it must begin with the variable, which falls away.
    fn path(&mut self, first: String) -> Result<Path, Why> {
        let mut path = vec![first];
        while self.is_mark('/') {
            self.at += 1;
            path.push(self.word()?);
            if path.len() > PATH_STEPS_MAX {
                return Err("a path is too long".into());
            }
        }
        if let Some(variable) = &self.variable
            && path.remove(0) != *variable
        {
            return Err(format!("inside 'any' a path begins with '{variable}'").into());
        }
        Ok(path)
    }

    fn literal(&mut self) -> Result<Value, Why> {
        Ok(match self.next()? {
            Token::Text(text) => Value::String(text),
            Token::Word(word) => match word.as_str() {
                "true" => Value::Bool(true),
                "false" => Value::Bool(false),
                "null" => Value::Null,
                other => match other.parse::<i64>() {
                    Ok(number) => number.into(),
                    // Graph takes GUIDs without quotes too
                    Err(_) if other.len() == 36 && other.bytes().all(|b| b.is_ascii_hexdigit() || b == b'-') => Value::String(word),
                    Err(_) => return Err(format!("'{other}' is not a value").into()),
                },
            },
            other => return Err(format!("expected a value, found {}", other.show()).into()),
        })
    }
}

/// For the fuzzer: reading never panics, and what was read can be applied.
pub fn fuzz_filter(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let object = serde_json::json!({"a": [{"b": 1}, "c"], "displayName": "x", "createdDateTime": "2026-11-24T00:00:00Z"});
    for filter in [Filter::parse(text), Filter::search(text)].into_iter().flatten() {
        filter.fits(&object);
        filter.is_advanced();
        filter.names();
    }
    for order in Order::parse(text).into_iter().flatten() {
        order.key(&object);
    }
    let (_, _) = (Expand::parse(text), parse_select(text));
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn fits(filter: &str) -> bool {
        Filter::parse(filter).unwrap().fits(&json!({
            "displayName": "O'Neill's App", "mailNickname": "g", "accountEnabled": true, "mail": null,
            "servicePrincipalNames": ["http://x", "abc"], "web": {"redirectUris": []},
            "createdDateTime": "2026-11-24T09:54:19.000Z", "appId": "04b07795-8ddb-461a-bbee-02f9e1bf7b46", "keys": [{"id": "k1"}]
        }))
    }

    #[test]
    fn filters_of_real_clients_are_understood() {
        for yes in [
            "displayName eq 'o''neill''s app'",
            "startswith(displayName,'O''N')",
            "servicePrincipalNames/any(c:c eq 'http://x')",
            "servicePrincipalNames/any(x:x eq 'nope' or x eq 'abc')",
            "keys/any(k:k/id eq 'k1')",
            "displayName eq 'x' or (mailNickname eq 'g' and accountEnabled eq true)",
            "not (mailNickname eq 'h') and mail eq null",
            "mailNickname ne 'h'",
            "appId eq 04b07795-8ddb-461a-bbee-02f9e1bf7b46",
            "endswith(displayName,'APP')",
            "a/b/c eq null",
            "mailNickname in ('x','G')",
            "startsWith(displayName,'o') and not endsWith(displayName,'x')",
            "createdDateTime ge 2026-11-24T09:00:00Z and createdDateTime le 2026-11-25T00:00:00Z",
        ] {
            assert!(fits(yes), "{yes}");
        }
        for no in [
            "displayName eq 'x'",
            "servicePrincipalNames/any(c:c eq 'x')",
            "displayName/any(c:c eq 'x')",
            "accountEnabled eq 'true'",
            "mailNickname in ('x')",
            "createdDateTime ge 2026-11-25T00:00:00Z",
            "displayName le 2026-11-25T00:00:00Z",
            "mailNickname eq 'h' or mailNickname eq 'g' and mail eq 'm'",
        ] {
            assert!(!fits(no), "{no}");
        }
    }

    #[test]
    fn what_is_not_understood_is_refused() {
        let deep = "(".repeat(40) + "a eq 1" + &")".repeat(40);
        let long = format!("a eq '{}'", "x".repeat(FILTER_BYTES_MAX));
        for bad in [
            "",
            "a",
            "a eq",
            "eq 'a'",
            "a eq 'b",
            "a eq b",
            "a eq 1 1",
            "a eq 1 and",
            "(a eq 1",
            "a eq 1)",
            "startswith(a)",
            "a in ()",
            "a in ('x'",
            "a in 'x'",
            "a in (1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16)",
            "a like 'x'",
            "a/any(x:y eq 1)",
            "a/any(x:x/any(y:y eq 1))",
            "a/any(x eq 1)",
            "a;b",
            "a/ eq 1",
            "a eq 1 or or b eq 2",
            "a/b/c/d/e/f/g/h/i eq 1",
            "not",
            &deep,
            &long,
        ] {
            let error = Filter::parse(bad).unwrap_err();
            assert_eq!((error.code.as_ref(), error.target.as_deref()), ("Request_BadRequest", Some("$filter")), "{bad}");
        }
    }

    #[test]
    fn what_graph_does_not_do_is_said_as_graph_says_it() {
        for bad in [
            "contains(a,'b')",
            "a gt 1",
            "a lt 2",
            "a ge 1",
            "a has 'x'",
            "a/all(x:x eq 1)",
            "a/$count eq 0",
            "length(a) eq 1",
            "a add 1 eq 2",
        ] {
            assert_eq!(Filter::parse(bad).unwrap_err().code, "Request_UnsupportedQuery", "{bad}");
        }
        assert!(Filter::parse("a ne 1").unwrap().is_advanced() && Filter::parse("a eq 1 and endswith(b,'x')").unwrap().is_advanced());
        assert!(!Filter::parse("a in (1,2) or startswith(b,'x')").unwrap().is_advanced());
        assert_eq!(Filter::parse("a/any(x:x/b eq 1) and c eq 2").unwrap().names(), ["a", "c"]);
    }

    #[test]
    fn searches_find_beginnings_of_words() {
        let anna = json!({"displayName": "Anna-Maria Muster", "mail": "am@contoso.fr"});
        for yes in [
            "\"displayName:mar\"",
            "\"displayName:muster anna\"",
            "\"displayName:x\" OR \"mail:am\"",
            "(\"displayName:anna\" AND \"mail:contoso\")",
        ] {
            assert!(Filter::search(yes).unwrap().fits(&anna), "{yes}");
        }
        for no in ["\"displayName:aria\"", "\"displayName:anna\" AND \"mail:x\"", "\"displayName:-\""] {
            assert!(!Filter::search(no).unwrap().fits(&anna), "{no}");
        }
        for bad in ["", "anna", "\"anna\"", "\"displayName:\"", "\"displayName:a", "\"a:b\" \"c:d\"", "\"a:b\" NOT", "(\"a:b\"", "\"a:b\\"]
        {
            let error = Filter::search(bad).unwrap_err();
            assert_eq!((error.code.as_ref(), error.target.as_deref()), ("Request_BadRequest", Some("$search")), "{bad}");
        }
    }

    #[test]
    fn orders_and_expansions_are_strict() {
        let order = Order::parse("displayName desc, createdDateTime").unwrap();
        assert_eq!(order.iter().map(|o| o.descending).collect::<Vec<_>>(), [true, false]);
        assert_eq!(order[0].key(&json!({"displayName": "Ä"})), "ä");
        for bad in ["", "a b", "a desc x", ",a", "a/", "a;b", "a,b,c,d,e"] {
            assert!(Order::parse(bad).is_err(), "{bad}");
        }
        assert_eq!(
            Expand::parse("members($select=id,displayName)").unwrap(),
            Expand { name: "members".into(), select: vec!["id".into(), "displayName".into()] }
        );
        for (bad, code) in [
            ("members,owners", "Request_UnsupportedQuery"),
            ("members($top=5)", "Request_UnsupportedQuery"),
            ("members($select=id", "Request_BadRequest"),
            ("members($select)", "Request_BadRequest"),
            ("", "Request_BadRequest"),
            ("a b", "Request_BadRequest"),
        ] {
            assert_eq!(Expand::parse(bad).unwrap_err().code, code, "{bad}");
        }
        assert!(parse_select("id,web/redirectUris").is_ok() && parse_select("a b").is_err());
    }

    proptest::proptest! {
        #[test]
        fn noise_never_panics(words in proptest::collection::vec(proptest::sample::select(vec!["a", "eq", "'t'", "and", "or", "not", "(", ")", "/", "any", "x", ":", ",", "startswith", "null", " ", "in", "ge", "2026-11-24T09:00:00Z", "\"a:b\"", "AND", "OR", "desc"]), 0..60)) {
            fuzz_filter(words.concat().as_bytes());
            fuzz_filter(words.join(" ").as_bytes());
        }
        #[test]
        fn any_text_can_be_asked_for(text in "\\PC{0,40}") {
            let filter = format!("displayName eq '{}'", text.replace('\'', "''"));
            let object = json!({"displayName": text});
            proptest::prop_assert!(Filter::parse(&filter).unwrap().fits(&object));
        }
    }
}
