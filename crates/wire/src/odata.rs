//! OData `$filter` as far as Microsoft Graph's clients use it (OData 4.01 URL conventions, section 5.1.1): `eq ne`,
//! `startswith endswith`, `and or not`, parentheses and `any`. Strict and bounded; what is not understood is refused,
//! because a filter that is read as something wider shows too much.

use base::{Error, Result};
use serde_json::Value;

const FILTER_BYTES_MAX: usize = 4096;
const DEPTH_MAX: usize = 16;
const PATH_STEPS_MAX: usize = 8;

/// A `$filter`, read.
#[derive(Clone, Debug, PartialEq)]
pub enum Filter {
    And(Box<Filter>, Box<Filter>),
    Or(Box<Filter>, Box<Filter>),
    Not(Box<Filter>),
    /// A property equals a literal; strings compare without case, as in Graph.
    Equals(Path, Value),
    StartsWith(Path, String),
    EndsWith(Path, String),
    /// `path/any(v: …)`: some element of the list fits; paths in the condition begin at the element.
    Any(Path, Box<Filter>),
}

/// Property names from the object (or, inside `any`, from the element) inwards. Empty: the element itself.
pub type Path = Vec<String>;

impl Filter {
    /// Error `Request_BadRequest` ("Invalid filter clause"), target `$filter`.
    pub fn parse(text: &str) -> Result<Filter> {
        let wrong = |why: String| Error::invalid("Request_BadRequest", format!("Invalid filter clause: {why}.")).at("$filter");
        if text.len() > FILTER_BYTES_MAX {
            return Err(wrong(format!("it is longer than {FILTER_BYTES_MAX} bytes")));
        }
        let tokens = tokens(text).map_err(wrong)?;
        let mut reader = Reader { tokens, at: 0, depth: 0, variable: None };
        let filter = reader.either().map_err(wrong)?;
        match reader.peek() {
            None => Ok(filter),
            Some(token) => Err(wrong(format!("unexpected {}", token.show()))),
        }
    }

    /// True when the object fits.
    pub fn fits(&self, object: &Value) -> bool {
        match self {
            Filter::And(a, b) => a.fits(object) && b.fits(object),
            Filter::Or(a, b) => a.fits(object) || b.fits(object),
            Filter::Not(a) => !a.fits(object),
            Filter::Equals(path, literal) => same(at(object, path), literal),
            Filter::StartsWith(path, start) => text_at(object, path).is_some_and(|t| t.starts_with(&start.to_lowercase())),
            Filter::EndsWith(path, end) => text_at(object, path).is_some_and(|t| t.ends_with(&end.to_lowercase())),
            Filter::Any(path, inner) => at(object, path).as_array().is_some_and(|all| all.iter().any(|one| inner.fits(one))),
        }
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

fn tokens(text: &str) -> Result<Vec<Token>, String> {
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
                let mut word = String::from(c);
                while let Some(c) = rest.next_if(|c| is_word(*c)) {
                    word.push(c);
                }
                all.push(Token::Word(word));
            }
            c => return Err(format!("unexpected '{}'", c.escape_debug())),
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
    fn next(&mut self) -> Result<Token, String> {
        let token = self.peek().cloned().ok_or("it ends too early")?;
        self.at += 1;
        Ok(token)
    }
    fn is_mark(&self, mark: char) -> bool {
        self.peek() == Some(&Token::Mark(mark))
    }
    fn mark(&mut self, mark: char) -> Result<(), String> {
        match self.next()? {
            Token::Mark(c) if c == mark => Ok(()),
            other => Err(format!("expected '{mark}', found {}", other.show())),
        }
    }
    fn word(&mut self) -> Result<String, String> {
        match self.next()? {
            Token::Word(word) => Ok(word),
            other => Err(format!("expected a name, found {}", other.show())),
        }
    }
    fn is_word(&self, word: &str) -> bool {
        matches!(self.peek(), Some(Token::Word(w)) if w == word)
    }
    fn deeper<T>(&mut self, read: impl FnOnce(&mut Reader) -> Result<T, String>) -> Result<T, String> {
        if self.depth == DEPTH_MAX {
            return Err(format!("it is nested more than {DEPTH_MAX} deep"));
        }
        self.depth += 1;
        let value = read(self);
        self.depth -= 1;
        value
    }

    fn either(&mut self) -> Result<Filter, String> {
        let mut left = self.both()?;
        while self.is_word("or") {
            self.at += 1;
            left = Filter::Or(Box::new(left), Box::new(self.both()?));
        }
        Ok(left)
    }

    fn both(&mut self) -> Result<Filter, String> {
        let mut left = self.one()?;
        while self.is_word("and") {
            self.at += 1;
            left = Filter::And(Box::new(left), Box::new(self.one()?));
        }
        Ok(left)
    }

    fn one(&mut self) -> Result<Filter, String> {
        if self.is_mark('(') {
            self.at += 1;
            let inner = self.deeper(Reader::either)?;
            self.mark(')')?;
            return Ok(inner);
        }
        let first = self.word()?;
        match first.as_str() {
            "not" => Ok(Filter::Not(Box::new(self.deeper(Reader::one)?))),
            "startswith" | "endswith" if self.is_mark('(') => self.edge(first == "startswith"),
            _ => self.comparison(first),
        }
    }

    /// `startswith(path,'text')`, behind the function's name.
    fn edge(&mut self, start: bool) -> Result<Filter, String> {
        self.mark('(')?;
        let first = self.word()?;
        let path = self.path(first)?;
        self.mark(',')?;
        let Token::Text(text) = self.next()? else { return Err("expected a text".into()) };
        self.mark(')')?;
        Ok(if start { Filter::StartsWith(path, text) } else { Filter::EndsWith(path, text) })
    }

    fn comparison(&mut self, first: String) -> Result<Filter, String> {
        let mut path = self.path(first)?;
        if path.last().is_some_and(|last| last == "any") && self.is_mark('(') {
            path.pop();
            return self.any(path);
        }
        let operator = self.word()?;
        let literal = self.literal()?;
        let equals = Filter::Equals(path, literal);
        match operator.as_str() {
            "eq" => Ok(equals),
            "ne" => Ok(Filter::Not(Box::new(equals))),
            other => Err(format!("the operator '{other}' is not known")),
        }
    }

    fn any(&mut self, path: Path) -> Result<Filter, String> {
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
    fn path(&mut self, first: String) -> Result<Path, String> {
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
            return Err(format!("inside 'any' a path begins with '{variable}'"));
        }
        Ok(path)
    }

    fn literal(&mut self) -> Result<Value, String> {
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
                    Err(_) => return Err(format!("'{other}' is not a value")),
                },
            },
            other => return Err(format!("expected a value, found {}", other.show())),
        })
    }
}

/// For the fuzzer: reading never panics, and a filter that was read can be applied.
pub fn fuzz_filter(bytes: &[u8]) {
    if let Ok(text) = std::str::from_utf8(bytes)
        && let Ok(filter) = Filter::parse(text)
    {
        filter.fits(&serde_json::json!({"a": [{"b": 1}, "c"], "displayName": "x"}));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn fits(filter: &str) -> bool {
        Filter::parse(filter).unwrap().fits(&json!({
            "displayName": "O'Neill's App", "mailNickname": "g", "accountEnabled": true, "mail": null,
            "servicePrincipalNames": ["http://x", "abc"], "web": {"redirectUris": []},
            "appId": "04b07795-8ddb-461a-bbee-02f9e1bf7b46", "keys": [{"id": "k1"}]
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
        ] {
            assert!(fits(yes), "{yes}");
        }
        for no in [
            "displayName eq 'x'",
            "servicePrincipalNames/any(c:c eq 'x')",
            "displayName/any(c:c eq 'x')",
            "accountEnabled eq 'true'",
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
            "a gt 1",
            "a eq 1 1",
            "a eq 1 and",
            "(a eq 1",
            "a eq 1)",
            "startswith(a)",
            "contains(a,'b')",
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

    proptest::proptest! {
        #[test]
        fn noise_never_panics(words in proptest::collection::vec(proptest::sample::select(vec!["a", "eq", "'t'", "and", "or", "not", "(", ")", "/", "any", "x", ":", ",", "startswith", "null", " "]), 0..60)) {
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
