//! The grammar of `[…]`: calls, texts, whole numbers, and what is taken out of a value by `.name` or `[expression]`.
//!
//! ```text
//! expression = primary { "." name | "[" expression "]" }
//! primary    = text | [ "-" ] digits | [ namespace "." ] name "(" [ expression { "," expression } ] ")"
//! text       = "'" { any but "'" | "''" } "'"
//! ```

use crate::words::{Got, wrong};

/// Azure's limit of one expression, in characters.
const LENGTH_MAX: usize = 24_576;
/// Calls inside calls.
const DEPTH_MAX: usize = 60;

#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Expression {
    Text(String),
    Integer(i64),
    Call {
        namespace: Option<String>,
        name: String,
        arguments: Vec<Expression>,
    },
    /// What is reached from a value by each key in turn.
    Access {
        of: Box<Expression>,
        keys: Vec<Key>,
    },
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Key {
    Name(String),
    Computed(Expression),
}

/// What a text of a template is.
#[derive(Debug, PartialEq)]
pub(crate) enum Written<'a> {
    /// As it stands.
    Literal(&'a str),
    /// What is between the brackets.
    Expression(&'a str),
}

/// `[…]` is an expression, `[[…` a text that begins with one bracket.
pub(crate) fn written(text: &str) -> Written<'_> {
    if text.starts_with("[[") {
        return Written::Literal(&text[1..]);
    }
    match text.strip_prefix('[').and_then(|t| t.strip_suffix(']')) {
        Some(inside) => Written::Expression(inside),
        None => Written::Literal(text),
    }
}

pub(crate) fn parse(text: &str) -> Got<Expression> {
    if text.len() > LENGTH_MAX {
        return wrong(format!("The template language expression is longer than {LENGTH_MAX} characters"));
    }
    let mut parser = Parser { text, at: 0 };
    let found = parser.expression(0)?;
    parser.blank();
    match parser.peek() {
        None => Ok(found),
        Some(_) => parser.unexpected("EndOfData"),
    }
}

struct Parser<'a> {
    text: &'a str,
    at: usize,
}

impl Parser<'_> {
    fn peek(&self) -> Option<char> {
        self.text[self.at..].chars().next()
    }
    fn blank(&mut self) {
        while let Some(c) = self.peek().filter(|c| c.is_whitespace()) {
            self.at += c.len_utf8();
        }
    }
    fn take(&mut self, want: char) -> bool {
        self.blank();
        let found = self.peek() == Some(want);
        if found {
            self.at += want.len_utf8();
        }
        found
    }
    fn unexpected<T>(&self, want: &str) -> Got<T> {
        let found = match self.peek() {
            None => "EndOfData".to_owned(),
            Some('\'') => "StringLiteral".to_owned(),
            Some('(') => "LeftParenthesis".to_owned(),
            Some(')') => "RightParenthesis".to_owned(),
            Some('[') => "LeftSquareBracket".to_owned(),
            Some(']') => "RightSquareBracket".to_owned(),
            Some(',') => "Comma".to_owned(),
            Some('.') => "Dot".to_owned(),
            Some(c) if c.is_ascii_digit() => "Integer".to_owned(),
            Some(c) if c.is_alphabetic() => "Identifier".to_owned(),
            Some(c) => c.to_string(),
        };
        let text = self.text;
        wrong(format!(
            "Unable to parse language expression '{text}': expected token '{want}' and actual '{found}'. Please see https://aka.ms/arm-functions for usage details"
        ))
    }

    fn expression(&mut self, depth: usize) -> Got<Expression> {
        if depth > DEPTH_MAX {
            return wrong("The template language expression is nested too deeply");
        }
        let of = self.primary(depth)?;
        let mut keys = Vec::new();
        loop {
            if self.take('.') {
                self.blank();
                keys.push(Key::Name(self.name()?));
            } else if self.take('[') {
                keys.push(Key::Computed(self.expression(depth + 1)?));
                if !self.take(']') {
                    return self.unexpected("RightSquareBracket");
                }
            } else if keys.is_empty() {
                return Ok(of);
            } else {
                return Ok(Expression::Access { of: Box::new(of), keys });
            }
        }
    }

    fn primary(&mut self, depth: usize) -> Got<Expression> {
        self.blank();
        match self.peek() {
            Some('\'') => self.literal(),
            Some(c) if c == '-' || c.is_ascii_digit() => self.integer(),
            Some(c) if c.is_alphabetic() || c == '_' => self.call(depth),
            _ => self.unexpected("LeftParenthesis"),
        }
    }

    fn literal(&mut self) -> Got<Expression> {
        self.at += 1;
        let mut out = String::new();
        loop {
            let Some(end) = self.text[self.at..].find('\'') else {
                self.at = self.text.len();
                return self.unexpected("StringLiteral");
            };
            out.push_str(&self.text[self.at..self.at + end]);
            self.at += end + 1;
            if self.peek() != Some('\'') {
                return Ok(Expression::Text(out));
            }
            out.push('\'');
            self.at += 1;
        }
    }

    fn integer(&mut self) -> Got<Expression> {
        let begin = self.at;
        self.at += usize::from(self.peek() == Some('-'));
        while self.peek().is_some_and(|c| c.is_ascii_digit()) {
            self.at += 1;
        }
        match self.text[begin..self.at].parse() {
            Ok(number) => Ok(Expression::Integer(number)),
            Err(_) => {
                self.at = begin;
                self.unexpected("Integer")
            }
        }
    }

    fn name(&mut self) -> Got<String> {
        let begin = self.at;
        while let Some(c) = self.peek().filter(|c| c.is_alphanumeric() || matches!(c, '_' | '$')) {
            self.at += c.len_utf8();
        }
        if begin == self.at || self.text.as_bytes()[begin].is_ascii_digit() {
            self.at = begin;
            return self.unexpected("Identifier");
        }
        Ok(self.text[begin..self.at].to_owned())
    }

    fn call(&mut self, depth: usize) -> Got<Expression> {
        let mut name = self.name()?;
        let mut namespace = None;
        if self.take('.') {
            self.blank();
            namespace = Some(std::mem::replace(&mut name, self.name()?));
        }
        if !self.take('(') {
            return self.unexpected("LeftParenthesis");
        }
        let mut arguments = Vec::new();
        if self.take(')') {
            return Ok(Expression::Call { namespace, name, arguments });
        }
        loop {
            arguments.push(self.expression(depth + 1)?);
            if self.take(')') {
                return Ok(Expression::Call { namespace, name, arguments });
            }
            if !self.take(',') {
                return self.unexpected("RightParenthesis");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn call(name: &str, arguments: Vec<Expression>) -> Expression {
        Expression::Call { namespace: None, name: name.into(), arguments }
    }

    #[test]
    fn expressions_are_told_from_texts() {
        assert_eq!(written("[a]"), Written::Expression("a"));
        assert_eq!(written("[[a]"), Written::Literal("[a]"));
        assert_eq!(written("[a"), Written::Literal("[a"));
        assert_eq!(written("a]"), Written::Literal("a]"));
        assert_eq!(written("["), Written::Literal("["));
    }

    #[test]
    fn calls_texts_and_keys() {
        let text = Expression::Text("it's".into());
        assert_eq!(parse("concat('it''s', -12)").unwrap(), call("concat", vec![text, Expression::Integer(-12)]));
        let keys = vec![Key::Name("a".into()), Key::Computed(Expression::Integer(0)), Key::Name("b".into())];
        assert_eq!(parse(" f ( ) .a [ 0 ].b ").unwrap(), Expression::Access { of: Box::new(call("f", vec![])), keys });
        let named = Expression::Call { namespace: Some("contoso".into()), name: "f".into(), arguments: vec![] };
        assert_eq!(parse("contoso.f()").unwrap(), named);
    }

    #[test]
    fn what_is_not_an_expression_is_refused() {
        for bad in
            ["", "f", "f(", "f(,)", "f(1 2)", "f()x", "'a", "1.5", "f().", "f()[", "f()[]", "-", "99999999999999999999", "(f())", "a.b"]
        {
            assert!(parse(bad).is_err(), "{bad}");
        }
        assert!(parse(&format!("{}{}", "f(".repeat(100), ")".repeat(100))).is_err());
        assert!(parse(&format!("f(){}", ".a".repeat(10_000))).is_ok());
    }
}
