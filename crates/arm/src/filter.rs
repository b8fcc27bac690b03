//! Resource Manager's `$filter`: a small OData dialect of its own (`atScope()`, `assignedTo('…')`, `substringof`).
//! Bounded; what is not understood is refused, because a filter read as something wider shows too much.

use base::{Error, Result};

const BYTES_MAX: usize = 4096;
const DEPTH_MAX: usize = 16;

/// A filter, read. Field names are kept as sent and compared without case.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Filter {
    And(Box<Filter>, Box<Filter>),
    Or(Box<Filter>, Box<Filter>),
    /// `field eq 'value'` (or `ne`).
    Is {
        field: String,
        value: String,
        not: bool,
    },
    /// `startswith(field, 'value')`.
    Starts {
        field: String,
        value: String,
    },
    /// `substringof('value', field)`.
    Contains {
        field: String,
        value: String,
    },
    AtScope,
    AtExactScope,
    AssignedTo(String),
}

impl Filter {
    /// Error `InvalidFilterInQueryString`, target `$filter`.
    pub fn parse(text: &str) -> Result<Filter> {
        let wrong = |why: &str| Error::invalid("InvalidFilterInQueryString", format!("Invalid $filter '{text}': {why}.")).at("$filter");
        if text.len() > BYTES_MAX {
            return Err(
                Error::invalid("InvalidFilterInQueryString", format!("The $filter is longer than {BYTES_MAX} bytes.")).at("$filter")
            );
        }
        let tokens = tokens(text).map_err(wrong)?;
        let mut reader = Reader { tokens, at: 0, depth: 0 };
        let filter = reader.either().map_err(wrong)?;
        if reader.at < reader.tokens.len() {
            return Err(wrong("something follows the end"));
        }
        Ok(filter)
    }

    /// The optional query parameter.
    pub fn of(head: &service::Head) -> Result<Option<Filter>> {
        head.query.get("$filter").filter(|f| !f.trim().is_empty()).map(Filter::parse).transpose()
    }

    /// True when it fits; `ask` answers a single condition.
    pub fn fits(&self, ask: &dyn Fn(&Filter) -> bool) -> bool {
        match self {
            Filter::And(a, b) => a.fits(ask) && b.fits(ask),
            Filter::Or(a, b) => a.fits(ask) || b.fits(ask),
            one => ask(one),
        }
    }

    /// Each single condition.
    pub fn conditions(&self) -> Vec<&Filter> {
        match self {
            Filter::And(a, b) | Filter::Or(a, b) => [a.conditions(), b.conditions()].concat(),
            one => vec![one],
        }
    }

    /// Refuses conditions whose field is not one of these. Error `InvalidFilterInQueryString`.
    pub fn only(self, fields: &[&str], functions: bool) -> Result<Filter> {
        for one in self.conditions() {
            let known = match one {
                Filter::Is { field, .. } | Filter::Starts { field, .. } | Filter::Contains { field, .. } => {
                    fields.iter().any(|f| f.eq_ignore_ascii_case(field))
                }
                _ => functions,
            };
            if !known {
                return Err(Error::invalid("InvalidFilterInQueryString", format!("Invalid $filter: supported are {}.", fields.join(", ")))
                    .at("$filter"));
            }
        }
        Ok(self)
    }

    /// Tests the condition against the text of its field; text compares without case, as in Resource Manager.
    pub fn text_fits(&self, text: Option<&str>) -> bool {
        let lower = text.map(str::to_lowercase);
        match self {
            Filter::Is { value, not, .. } => (lower.as_deref() == Some(value.to_lowercase().as_str())) != *not,
            Filter::Starts { value, .. } => lower.is_some_and(|t| t.starts_with(&value.to_lowercase())),
            Filter::Contains { value, .. } => lower.is_some_and(|t| t.contains(&value.to_lowercase())),
            _ => false,
        }
    }
    pub fn field(&self) -> &str {
        match self {
            Filter::Is { field, .. } | Filter::Starts { field, .. } | Filter::Contains { field, .. } => field,
            _ => "",
        }
    }
}

#[derive(Clone, Debug, PartialEq)]
enum Token {
    Word(String),
    Text(String),
    Open,
    Close,
    Comma,
}

fn tokens(text: &str) -> Result<Vec<Token>, &'static str> {
    let mut out = Vec::new();
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            ' ' | '\t' => {}
            '(' => out.push(Token::Open),
            ')' => out.push(Token::Close),
            ',' => out.push(Token::Comma),
            '\'' => {
                let mut value = String::new();
                loop {
                    match chars.next() {
                        // a quote is doubled inside a literal
                        Some('\'') if chars.peek() == Some(&'\'') => {
                            chars.next();
                            value.push('\'');
                        }
                        Some('\'') => break,
                        Some(c) => value.push(c),
                        None => return Err("a quote is not closed"),
                    }
                }
                out.push(Token::Text(value));
            }
            c if c.is_ascii_alphabetic() => {
                let mut word = String::from(c);
                while let Some(c) = chars.next_if(|c| c.is_ascii_alphanumeric() || matches!(c, '/' | '_' | '.')) {
                    word.push(c);
                }
                out.push(Token::Word(word));
            }
            _ => return Err("a character does not belong here"),
        }
    }
    Ok(out)
}

struct Reader {
    tokens: Vec<Token>,
    at: usize,
    depth: usize,
}

impl Reader {
    fn next(&mut self) -> Option<Token> {
        let token = self.tokens.get(self.at).cloned();
        self.at += 1;
        token
    }
    fn word_is(&mut self, want: &str) -> bool {
        let yes = matches!(self.tokens.get(self.at), Some(Token::Word(w)) if w.eq_ignore_ascii_case(want));
        self.at += usize::from(yes);
        yes
    }
    fn expect(&mut self, want: Token) -> Result<(), &'static str> {
        if self.next() == Some(want) { Ok(()) } else { Err("brackets or commas are missing") }
    }
    fn text(&mut self) -> Result<String, &'static str> {
        match self.next() {
            Some(Token::Text(value)) => Ok(value),
            _ => Err("a quoted value is expected"),
        }
    }
    fn field(&mut self) -> Result<String, &'static str> {
        match self.next() {
            Some(Token::Word(value)) => Ok(value),
            _ => Err("a field name is expected"),
        }
    }

    fn either(&mut self) -> Result<Filter, &'static str> {
        let mut left = self.both()?;
        while self.word_is("or") {
            left = Filter::Or(Box::new(left), Box::new(self.both()?));
        }
        Ok(left)
    }
    fn both(&mut self) -> Result<Filter, &'static str> {
        let mut left = self.one()?;
        while self.word_is("and") {
            left = Filter::And(Box::new(left), Box::new(self.one()?));
        }
        Ok(left)
    }
    fn one(&mut self) -> Result<Filter, &'static str> {
        match self.next() {
            Some(Token::Open) => {
                self.depth += 1;
                if self.depth > DEPTH_MAX {
                    return Err("it is nested too deeply");
                }
                let inner = self.either()?;
                self.expect(Token::Close)?;
                self.depth -= 1;
                Ok(inner)
            }
            Some(Token::Word(word)) if self.tokens.get(self.at) == Some(&Token::Open) => self.call(&word.to_ascii_lowercase()),
            Some(Token::Word(field)) => {
                let not = match self.field()?.to_ascii_lowercase().as_str() {
                    "eq" => false,
                    "ne" => true,
                    _ => return Err("only 'eq' and 'ne' compare"),
                };
                Ok(Filter::Is { field, value: self.text()?, not })
            }
            _ => Err("a condition is expected"),
        }
    }
    fn call(&mut self, name: &str) -> Result<Filter, &'static str> {
        self.expect(Token::Open)?;
        let filter = match name {
            "atscope" => Filter::AtScope,
            "atexactscope" => Filter::AtExactScope,
            "assignedto" => Filter::AssignedTo(self.text()?),
            "startswith" => {
                let field = self.field()?;
                self.expect(Token::Comma)?;
                Filter::Starts { field, value: self.text()? }
            }
            "substringof" => {
                let value = self.text()?;
                self.expect(Token::Comma)?;
                Filter::Contains { field: self.field()?, value }
            }
            _ => return Err("the function is not known"),
        };
        self.expect(Token::Close)?;
        Ok(filter)
    }
}

/// For the fuzzer: anything is read or refused, in bounded time.
pub(crate) fn fuzz(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    if let Ok(filter) = Filter::parse(text) {
        assert!(!filter.conditions().is_empty());
        filter.fits(&|one| one.text_fits(Some("a")));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn reads_what_clients_send() {
        let one = Filter::parse("resourceType eq 'Microsoft.KeyVault/vaults'").unwrap();
        assert_eq!(one, Filter::Is { field: "resourceType".into(), value: "Microsoft.KeyVault/vaults".into(), not: false });
        assert_eq!(Filter::parse("atScope()").unwrap(), Filter::AtScope);
        assert_eq!(Filter::parse("atExactScope()").unwrap(), Filter::AtExactScope);
        assert!(matches!(Filter::parse("atScope() and assignedTo('x')").unwrap(), Filter::And(..)));
        assert!(matches!(Filter::parse("tagName eq 'it''s' and tagValue eq '1' or name eq 'a'").unwrap(), Filter::Or(..)));
        assert!(matches!(Filter::parse("(a eq '1' or b eq '2') and c ne '3'").unwrap(), Filter::And(..)));
        assert!(matches!(Filter::parse("substringof('x', name)").unwrap(), Filter::Contains { .. }));
    }

    #[test]
    fn refuses_what_it_does_not_understand() {
        let deep = "(".repeat(40);
        for bad in ["", "a", "a eq", "a eq b", "a eq 'x", "a gt '1'", "a eq 'x' b", "f('x')", "atScope(", "a eq 'x' or", "';--", &deep] {
            assert_eq!(Filter::parse(bad).unwrap_err().code, "InvalidFilterInQueryString", "{bad}");
        }
        assert!(Filter::parse("surprise eq 'x'").unwrap().only(&["name"], false).is_err());
    }

    proptest! {
        #[test]
        fn nothing_panics(text in "[a-z '(),]{0,60}") { fuzz(text.as_bytes()); }
        #[test]
        fn any_value_survives_quoting(value in ".{0,40}") {
            let text = format!("name eq '{}'", value.replace('\'', "''"));
            let want = Filter::Is { field: "name".into(), value, not: false };
            prop_assert_eq!(Filter::parse(&text).unwrap(), want);
        }
    }
}
