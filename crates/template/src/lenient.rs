//! JSON as Azure accepts it in deployments: comments (`//`, `/* */`), bare keys, single quotes, raw newlines in strings,
//! commas before a closing bracket, a byte order mark. (`az deployment … -f` sends such bodies.)
//!
//! Bounded: [`BYTES_MAX`] bytes, [`DEPTH_MAX`] levels. The line and column of each value, from 1, are kept for messages.

use base::{Error, Result};
use serde_json::{Map, Number, Value};
use std::collections::HashMap;

/// Azure takes templates of 4 MB, and requests of little more.
pub const BYTES_MAX: usize = 8 << 20;
pub const DEPTH_MAX: usize = 100;
/// Places beyond so many, and of values that lie deeper or are called longer, are not kept.
const PLACES_DEPTH_MAX: usize = 12;
const PLACES_MAX: usize = 20_000;
const POINTER_BYTES_MAX: usize = 2_000;

/// Line and column, both from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    pub line: usize,
    pub column: usize,
}

/// Where each value of a document stands, by JSON pointer (RFC 6901).
#[derive(Clone, Debug, Default)]
pub struct Places(HashMap<String, Place>);

impl Places {
    pub fn at(&self, pointer: &str) -> Option<Place> {
        self.0.get(pointer).copied()
    }
    /// The places below `pointer`, as if it were the whole document and began at line 1.
    pub fn below(&self, pointer: &str) -> Places {
        let Some(origin) = self.at(pointer) else { return Places::default() };
        let moved = |p: Place| Place {
            line: p.line - origin.line + 1,
            column: if p.line == origin.line { p.column - origin.column + 1 } else { p.column },
        };
        let inside = self.0.iter().filter_map(|(name, place)| {
            let rest = name.strip_prefix(pointer)?;
            (rest.is_empty() || rest.starts_with('/')).then(|| (rest.to_owned(), moved(*place)))
        });
        Places(inside.collect())
    }
}

/// A value, and where its parts stand.
#[derive(Clone, Debug)]
pub struct Document {
    pub value: Value,
    pub places: Places,
}

/// Error `InvalidRequestContent`: with the line and column of what can't be read.
pub fn parse(bytes: &[u8]) -> Result<Document> {
    if bytes.len() > BYTES_MAX {
        return Err(Error::new(
            base::Kind::TooLarge,
            "RequestContentTooLarge",
            format!("The request content is larger than {BYTES_MAX} bytes."),
        ));
    }
    let text = std::str::from_utf8(bytes).map_err(|_| unreadable("The text is not UTF-8", 1, 1))?;
    let mut reader = Reader {
        text,
        at: text.strip_prefix('\u{feff}').map_or(0, |_| 3),
        line: 1,
        column: 1,
        pointer: String::new(),
        places: HashMap::new(),
    };
    reader.blank()?;
    let value = reader.value(0)?;
    reader.blank()?;
    if reader.peek().is_some() {
        return Err(reader.wrong("Additional text encountered after finished reading JSON content"));
    }
    Ok(Document { value, places: Places(reader.places) })
}

fn unreadable(what: &str, line: usize, column: usize) -> Error {
    Error::invalid(
        "InvalidRequestContent",
        format!("The request content was invalid and could not be deserialized: '{what}. Line {line}, position {column}.'."),
    )
}

struct Reader<'a> {
    text: &'a str,
    at: usize,
    line: usize,
    /// Kept as it goes: a document can be one long line.
    column: usize,
    pointer: String,
    places: HashMap<String, Place>,
}

impl Reader<'_> {
    fn peek(&self) -> Option<char> {
        self.text[self.at..].chars().next()
    }
    fn next(&mut self) -> Option<char> {
        let c = self.peek()?;
        self.at += c.len_utf8();
        if c == '\n' {
            self.line += 1;
            self.column = 1;
        } else {
            self.column += 1;
        }
        Some(c)
    }
    fn wrong(&self, what: &str) -> Error {
        unreadable(what, self.line, self.column)
    }

    /// White space and comments.
    fn blank(&mut self) -> Result<()> {
        loop {
            let rest = &self.text[self.at..];
            if rest.starts_with("//") {
                while self.peek().is_some_and(|c| c != '\n') {
                    self.next();
                }
            } else if let Some(comment) = rest.strip_prefix("/*") {
                let Some(end) = comment.find("*/") else { return Err(self.wrong("A comment has no end")) };
                let end = self.at + 2 + end + 2;
                while self.at < end {
                    self.next();
                }
            } else if rest.starts_with(|c: char| c.is_whitespace() || c == '\u{feff}') {
                self.next();
            } else {
                return Ok(());
            }
        }
    }

    fn value(&mut self, depth: usize) -> Result<Value> {
        if depth > DEPTH_MAX {
            return Err(self.wrong("The reader's maximum depth has been exceeded"));
        }
        if depth <= PLACES_DEPTH_MAX && self.places.len() < PLACES_MAX && self.pointer.len() < POINTER_BYTES_MAX {
            self.places.insert(self.pointer.clone(), Place { line: self.line, column: self.column });
        }
        match self.peek() {
            Some('{') => self.object(depth),
            Some('[') => self.array(depth),
            Some('"' | '\'') => self.string().map(Value::String),
            Some(c) if c == '-' || c.is_ascii_digit() => self.number(),
            Some(c) if c.is_ascii_alphabetic() => self.word(),
            Some(_) => Err(self.wrong("Unexpected character encountered while parsing value")),
            None => Err(self.wrong("Unexpected end of content")),
        }
    }

    fn object(&mut self, depth: usize) -> Result<Value> {
        self.next();
        let mut object = Map::new();
        loop {
            self.blank()?;
            if self.peek() == Some('}') {
                self.next();
                return Ok(Value::Object(object));
            }
            let name = match self.peek() {
                Some('"' | '\'') => self.string()?,
                Some(c) if c.is_alphabetic() || matches!(c, '_' | '$') => self.bare_name(),
                _ => return Err(self.wrong("Invalid property identifier character")),
            };
            self.blank()?;
            if self.next() != Some(':') {
                return Err(self.wrong("Invalid character after parsing property name. Expected ':'"));
            }
            self.blank()?;
            let length = self.pointer.len();
            self.pointer.push('/');
            self.pointer.push_str(&name.replace('~', "~0").replace('/', "~1"));
            let value = self.value(depth + 1)?;
            self.pointer.truncate(length);
            object.insert(name, value);
            self.separator('}')?;
        }
    }

    fn array(&mut self, depth: usize) -> Result<Value> {
        self.next();
        let mut array = Vec::new();
        loop {
            self.blank()?;
            if self.peek() == Some(']') {
                self.next();
                return Ok(Value::Array(array));
            }
            let length = self.pointer.len();
            self.pointer.push_str(&format!("/{}", array.len()));
            array.push(self.value(depth + 1)?);
            self.pointer.truncate(length);
            self.separator(']')?;
        }
    }

    /// A comma, or the closing bracket, which stays.
    fn separator(&mut self, end: char) -> Result<()> {
        self.blank()?;
        match self.peek() {
            Some(',') => drop(self.next()),
            Some(c) if c == end => {}
            Some(_) => return Err(self.wrong("After parsing a value an unexpected character was encountered")),
            None => return Err(self.wrong("Unexpected end of content")),
        }
        Ok(())
    }

    fn bare_name(&mut self) -> String {
        let begin = self.at;
        while self.peek().is_some_and(|c| c.is_alphanumeric() || matches!(c, '_' | '$')) {
            self.next();
        }
        self.text[begin..self.at].to_owned()
    }

    fn word(&mut self) -> Result<Value> {
        let place = self.wrong("Unexpected character encountered while parsing value");
        match self.bare_name().as_str() {
            "true" => Ok(Value::Bool(true)),
            "false" => Ok(Value::Bool(false)),
            "null" => Ok(Value::Null),
            _ => Err(place),
        }
    }

    fn number(&mut self) -> Result<Value> {
        let begin = self.at;
        while self.peek().is_some_and(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '+' | '.')) {
            self.next();
        }
        serde_json::from_str::<Number>(&self.text[begin..self.at])
            .map(Value::Number)
            .map_err(|_| self.wrong("Input string is not a valid number"))
    }

    fn string(&mut self) -> Result<String> {
        let quote = self.next();
        let mut out = String::new();
        loop {
            match self.next() {
                None => return Err(self.wrong("Unterminated string")),
                c if c == quote => return Ok(out),
                Some('\\') => out.push(self.escape()?),
                Some(c) => out.push(c),
            }
        }
    }

    fn escape(&mut self) -> Result<char> {
        Ok(match self.next() {
            Some('n') => '\n',
            Some('r') => '\r',
            Some('t') => '\t',
            Some('b') => '\u{8}',
            Some('f') => '\u{c}',
            Some(c @ ('"' | '\'' | '\\' | '/')) => c,
            Some('u') => return self.unicode(),
            _ => return Err(self.wrong("Bad JSON escape sequence")),
        })
    }

    fn unicode(&mut self) -> Result<char> {
        let first = self.hex()?;
        if !(0xD800..0xE000).contains(&first) {
            return char::from_u32(first).ok_or_else(|| self.wrong("Bad JSON escape sequence"));
        }
        // two escapes make one character beyond the first plane
        if !(first < 0xDC00 && self.text[self.at..].starts_with("\\u")) {
            return Ok('\u{fffd}');
        }
        self.next();
        self.next();
        let second = self.hex()?;
        if !(0xDC00..0xE000).contains(&second) {
            return Ok('\u{fffd}');
        }
        Ok(char::from_u32(0x10000 + ((first - 0xD800) << 10) + (second - 0xDC00)).unwrap_or('\u{fffd}'))
    }

    fn hex(&mut self) -> Result<u32> {
        let mut code = 0;
        for _ in 0..4 {
            let digit = self.next().and_then(|c| c.to_digit(16)).ok_or_else(|| self.wrong("Bad JSON escape sequence"))?;
            code = code << 4 | digit;
        }
        Ok(code)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn reads_what_az_sends() {
        let body = "{\"properties\": {\"parameters\": {}, \"mode\": \"Incremental\", template:{\n  // a comment\n  \"a\": 'it',\n  \"b\": [1, 2,], /* c */ \"c\": \"line\nbreak\", \"d\": -1.5e3, \"e\": \"\\u00e9\\ud83d\\ude00\",\n}\n}}";
        let found = parse(body.as_bytes()).unwrap();
        let want = json!({"a": "it", "b": [1, 2], "c": "line\nbreak", "d": -1500.0, "e": "é😀"});
        assert_eq!(found.value["properties"]["template"], want);
        let below = found.places.below("/properties/template");
        assert_eq!(below.at(""), Some(Place { line: 1, column: 1 }));
        assert_eq!(below.at("/a"), Some(Place { line: 3, column: 8 }));
    }

    #[test]
    fn one_long_line_is_read_in_one_go() {
        let text = format!("[{}1]", "1,".repeat(1_000_000));
        assert_eq!(parse(text.as_bytes()).unwrap().places.at("/3"), Some(Place { line: 1, column: 8 }));
    }

    #[test]
    fn refuses_what_is_not_json() {
        for bad in ["", "{", "[1 2]", "{\"a\" 1}", "{} x", "\"\\q\"", "\"\\u12\"", "nul", "01", "-", "/*", "'", "{1: 2}", "\u{1}"] {
            assert_eq!(parse(bad.as_bytes()).unwrap_err().code, "InvalidRequestContent", "{bad}");
        }
        assert_eq!(parse("[".repeat(200).as_bytes()).unwrap_err().code, "InvalidRequestContent");
        assert!(parse(b"\xff").is_err());
    }
}
