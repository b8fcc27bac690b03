//! Conditions of role assignments, version 2.0 (Azure attribute-based access control, "role assignment condition format").
//!
//! ```text
//! ( !(ActionMatches{'Microsoft.Storage/…/blobs/read'} AND NOT SubOperationMatches{'Blob.List'})
//!   OR @Resource[Microsoft.Storage/storageAccounts/blobServices/containers:name] StringEquals 'photos' )
//! ```
//!
//! An attribute that is not known makes a comparison neither true nor false, and what rests on it opens nothing: a
//! grant holds only where its condition is true whatever the unknown is.

use base::{Error, Result, Timestamp};
use std::borrow::Cow;
use std::cmp::Ordering;

/// Bytes of a condition (Azure's limit is 8 KB).
pub const BYTES_MAX: usize = 8_192;
const DEPTH_MAX: usize = 24;

/// Where an attribute is looked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Source {
    Resource,
    Request,
    Principal,
    Environment,
}

/// `@Resource[Microsoft.Storage/storageAccounts/blobServices/containers:name]`.
#[derive(Clone, Debug, PartialEq)]
pub struct Attribute {
    pub source: Source,
    pub name: String,
}

/// What is asked, as conditions see it.
pub trait Request {
    /// The action, such as `Microsoft.Storage/…/blobs/read`.
    fn action(&self) -> &str;
    /// Such as `Blob.List`; none for most operations.
    fn sub_operation(&self) -> Option<&str>;
    /// Every value of the attribute. [`Known::Absent`]: it is known that there is none. [`Known::Unknown`]: nobody can say.
    fn attribute(&self, source: Source, name: &str) -> Known<'_>;
}

/// What is known of an attribute.
#[derive(Clone, Debug, PartialEq)]
pub enum Known<'v> {
    Values(Vec<Cow<'v, str>>),
    Absent,
    Unknown,
}

/// A read condition.
#[derive(Clone, Debug, PartialEq)]
pub enum Condition {
    All(Vec<Condition>),
    Any(Vec<Condition>),
    Not(Box<Condition>),
    Action(Vec<String>),
    SubOperation(Vec<String>),
    Exists(Attribute),
    Compare { left: Operand, quantity: Quantity, operator: Operator, negated: bool, right: Operand },
}

#[derive(Clone, Debug, PartialEq)]
pub enum Operand {
    Attribute(Attribute),
    Values(Vec<String>),
}

/// How many of left and right must compare (the "cross product" functions).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Quantity {
    One,
    AnyOfAny,
    AllOfAny,
    AnyOfAll,
    AllOfAll,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operator {
    StringEquals { fold: bool },
    StringStartsWith { fold: bool },
    StringLike { fold: bool },
    Guid,
    Bool,
    Number(Ordered),
    Time(Ordered),
    TimeOfDay(Ordered),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ordered {
    Equals,
    Less,
    LessEquals,
    Greater,
    GreaterEquals,
}

/// Azure's names; the flag: it is the negation.
const OPERATORS: &[(&str, Operator, bool)] = {
    use Operator::*;
    use Ordered::*;
    &[
        ("StringEquals", StringEquals { fold: false }, false),
        ("StringNotEquals", StringEquals { fold: false }, true),
        ("StringEqualsIgnoreCase", StringEquals { fold: true }, false),
        ("StringNotEqualsIgnoreCase", StringEquals { fold: true }, true),
        ("StringStartsWith", StringStartsWith { fold: false }, false),
        ("StringNotStartsWith", StringStartsWith { fold: false }, true),
        ("StringStartsWithIgnoreCase", StringStartsWith { fold: true }, false),
        ("StringNotStartsWithIgnoreCase", StringStartsWith { fold: true }, true),
        ("StringLike", StringLike { fold: false }, false),
        ("StringNotLike", StringLike { fold: false }, true),
        ("StringLikeIgnoreCase", StringLike { fold: true }, false),
        ("StringNotLikeIgnoreCase", StringLike { fold: true }, true),
        ("GuidEquals", Guid, false),
        ("GuidNotEquals", Guid, true),
        ("BoolEquals", Bool, false),
        ("BoolNotEquals", Bool, true),
        ("NumericEquals", Number(Equals), false),
        ("NumericNotEquals", Number(Equals), true),
        ("NumericLessThan", Number(Less), false),
        ("NumericLessThanEquals", Number(LessEquals), false),
        ("NumericGreaterThan", Number(Greater), false),
        ("NumericGreaterThanEquals", Number(GreaterEquals), false),
        ("DateTimeEquals", Time(Equals), false),
        ("DateTimeNotEquals", Time(Equals), true),
        ("DateTimeLessThan", Time(Less), false),
        ("DateTimeLessThanEquals", Time(LessEquals), false),
        ("DateTimeGreaterThan", Time(Greater), false),
        ("DateTimeGreaterThanEquals", Time(GreaterEquals), false),
        ("TimeOfDayEquals", TimeOfDay(Equals), false),
        ("TimeOfDayNotEquals", TimeOfDay(Equals), true),
        ("TimeOfDayLessThan", TimeOfDay(Less), false),
        ("TimeOfDayLessThanEquals", TimeOfDay(LessEquals), false),
        ("TimeOfDayGreaterThan", TimeOfDay(Greater), false),
        ("TimeOfDayGreaterThanEquals", TimeOfDay(GreaterEquals), false),
    ]
};

impl Condition {
    /// Error `InvalidConditionFormat`-like: what is malformed, unknown, or over the bounds, with the place.
    pub fn read(text: &str) -> Result<Condition> {
        let mut reader = Reader { text, at: 0 };
        let found = if text.len() > BYTES_MAX { Err(format!("it is longer than {BYTES_MAX} bytes")) } else { reader.whole() };
        found.map_err(|why| {
            Error::invalid("InvalidRoleAssignmentCondition", format!("The role assignment condition is not valid: {why}.")).at("condition")
        })
    }

    /// True: it holds whatever is unknown.
    pub fn holds(&self, request: &dyn Request) -> bool {
        self.judge(request) == Some(true)
    }

    /// Kleene's three values; `None` is unknown.
    fn judge(&self, request: &dyn Request) -> Option<bool> {
        match self {
            Condition::All(all) => fold(all, request, false),
            Condition::Any(any) => fold(any, request, true),
            Condition::Not(inner) => inner.judge(request).map(|held| !held),
            Condition::Action(patterns) => Some(patterns.iter().any(|p| matches(p, request.action()))),
            Condition::SubOperation(names) => {
                Some(request.sub_operation().is_some_and(|sub| names.iter().any(|n| n.eq_ignore_ascii_case(sub))))
            }
            Condition::Exists(attribute) => match request.attribute(attribute.source, &attribute.name) {
                Known::Values(_) => Some(true),
                Known::Absent => Some(false),
                Known::Unknown => None,
            },
            Condition::Compare { left, quantity, operator, negated, right } => {
                let (left, right) = (left.values(request)?, right.values(request)?);
                compare(&left, *quantity, *operator, *negated, &right)
            }
        }
    }
}

/// `early`: the value that decides the whole.
fn fold(all: &[Condition], request: &dyn Request, early: bool) -> Option<bool> {
    let mut found = Some(!early);
    for one in all {
        match one.judge(request) {
            Some(held) if held == early => return Some(early),
            Some(_) => {}
            None => found = None,
        }
    }
    found
}

impl Operand {
    /// `None`: there is nothing to compare.
    fn values<'v>(&'v self, request: &'v dyn Request) -> Option<Vec<Cow<'v, str>>> {
        match self {
            Operand::Values(values) => Some(values.iter().map(|v| Cow::Borrowed(v.as_str())).collect()),
            Operand::Attribute(attribute) => match request.attribute(attribute.source, &attribute.name) {
                Known::Values(values) => Some(values),
                // a comparison with what is not there is not decided: neither it nor its negation opens anything
                Known::Absent | Known::Unknown => None,
            },
        }
    }
}

fn compare(left: &[Cow<'_, str>], quantity: Quantity, operator: Operator, negated: bool, right: &[Cow<'_, str>]) -> Option<bool> {
    let mut undecided = false;
    let mut one = |l: &str, r: &str| match operator.compare(l, r) {
        Some(held) => held != negated,
        None => {
            undecided = true;
            false
        }
    };
    let mut any = |l: &str| right.iter().any(|r| one(l, r));
    let found = match quantity {
        Quantity::One | Quantity::AnyOfAny => left.iter().any(|l| any(l)),
        Quantity::AllOfAny => left.iter().all(|l| any(l)),
        Quantity::AnyOfAll => left.iter().any(|l| right.iter().all(|r| one(l, r))),
        Quantity::AllOfAll => left.iter().all(|l| right.iter().all(|r| one(l, r))),
    };
    if undecided && !found { None } else { Some(found) }
}

impl Operator {
    /// `None`: the values are not of its type.
    fn compare(self, left: &str, right: &str) -> Option<bool> {
        let folded = |fold: bool| {
            if fold { (left.to_lowercase().into(), right.to_lowercase().into()) } else { (Cow::Borrowed(left), Cow::Borrowed(right)) }
        };
        Some(match self {
            Operator::StringEquals { fold } => {
                let (l, r): (Cow<'_, str>, Cow<'_, str>) = folded(fold);
                l == r
            }
            Operator::StringStartsWith { fold } => {
                let (l, r): (Cow<'_, str>, Cow<'_, str>) = folded(fold);
                l.starts_with(&*r)
            }
            Operator::StringLike { fold } => {
                let (l, r): (Cow<'_, str>, Cow<'_, str>) = folded(fold);
                like(&l, &r)
            }
            Operator::Guid => left.trim().eq_ignore_ascii_case(right.trim()),
            Operator::Bool => boolean(left)? == boolean(right)?,
            Operator::Number(ordered) => ordered.holds(left.parse::<f64>().ok()?.partial_cmp(&right.parse::<f64>().ok()?)?),
            Operator::Time(ordered) => ordered.holds(Timestamp::parse_rfc3339(left)?.cmp(&Timestamp::parse_rfc3339(right)?)),
            Operator::TimeOfDay(ordered) => ordered.holds(time_of_day(left)?.cmp(&time_of_day(right)?)),
        })
    }
}

impl Ordered {
    fn holds(self, order: Ordering) -> bool {
        match self {
            Ordered::Equals => order.is_eq(),
            Ordered::Less => order.is_lt(),
            Ordered::LessEquals => order.is_le(),
            Ordered::Greater => order.is_gt(),
            Ordered::GreaterEquals => order.is_ge(),
        }
    }
}

fn boolean(text: &str) -> Option<bool> {
    match text.to_ascii_lowercase().as_str() {
        "true" => Some(true),
        "false" => Some(false),
        _ => None,
    }
}

/// Milliseconds since midnight, UTC, of a date with time, or of `18:00:00`.
fn time_of_day(text: &str) -> Option<i64> {
    let at = Timestamp::parse_rfc3339(text).or_else(|| Timestamp::parse_rfc3339(&format!("1970-01-01T{}Z", text.trim_end_matches('Z'))))?;
    Some(at.0.rem_euclid(86_400_000))
}

/// `*` any characters, `?` one (the "StringLike" operator). In time bounded by the product of the lengths.
fn like(text: &str, pattern: &str) -> bool {
    let (text, pattern): (Vec<char>, Vec<char>) = (text.chars().collect(), pattern.chars().collect());
    let (mut t, mut p, mut star) = (0, 0, None);
    while t < text.len() {
        if p < pattern.len() && pattern[p] == '*' {
            star = Some((p, t));
            p += 1;
        } else if p < pattern.len() && (pattern[p] == '?' || pattern[p] == text[t]) {
            p += 1;
            t += 1;
        } else if let Some((at, from)) = star {
            p = at + 1;
            t = from + 1;
            star = Some((at, t));
        } else {
            return false;
        }
    }
    pattern[p..].iter().all(|c| *c == '*')
}

/// As actions of roles are matched: `*` any characters, no case.
fn matches(pattern: &str, action: &str) -> bool {
    like(&action.to_ascii_lowercase(), &pattern.to_ascii_lowercase().replace('?', "\u{0}"))
}

struct Reader<'t> {
    text: &'t str,
    at: usize,
}

type Fault = String;

impl<'t> Reader<'t> {
    fn wrong(&self, what: &str) -> Fault {
        format!("{what} at position {}", self.at)
    }
    fn rest(&self) -> &'t str {
        self.text.get(self.at..).unwrap_or("")
    }
    fn space(&mut self) {
        self.at = self.text.len() - self.rest().trim_start().len();
    }
    fn take(&mut self, wanted: &str) -> bool {
        self.space();
        let there = self.rest().starts_with(wanted);
        if there {
            self.at += wanted.len();
        }
        there
    }
    /// A word, whole: `AND`, `StringEquals`.
    fn word(&mut self) -> &'t str {
        self.space();
        let rest = self.rest();
        let end = rest.find(|c: char| !c.is_ascii_alphanumeric()).unwrap_or(rest.len());
        self.at += end;
        &rest[..end]
    }
    fn take_word(&mut self, wanted: &str) -> bool {
        let before = self.at;
        if self.word().eq_ignore_ascii_case(wanted) {
            return true;
        }
        self.at = before;
        false
    }

    fn whole(&mut self) -> Result<Condition, Fault> {
        let found = self.any(0)?;
        self.space();
        if self.at < self.text.len() { Err(self.wrong("something follows the end")) } else { Ok(found) }
    }

    fn any(&mut self, depth: usize) -> Result<Condition, Fault> {
        if depth > DEPTH_MAX {
            return Err(self.wrong("it is nested too deeply"));
        }
        let mut found = vec![self.all(depth)?];
        while self.take("||") || self.take_word("OR") {
            found.push(self.all(depth)?);
        }
        Ok(if found.len() == 1 { found.remove(0) } else { Condition::Any(found) })
    }

    fn all(&mut self, depth: usize) -> Result<Condition, Fault> {
        let mut found = vec![self.one(depth)?];
        while self.take("&&") || self.take_word("AND") {
            found.push(self.one(depth)?);
        }
        Ok(if found.len() == 1 { found.remove(0) } else { Condition::All(found) })
    }

    fn one(&mut self, depth: usize) -> Result<Condition, Fault> {
        if depth > DEPTH_MAX {
            return Err(self.wrong("it is nested too deeply"));
        }
        if self.take("!") || self.take_word("NOT") {
            return Ok(Condition::Not(Box::new(self.one(depth + 1)?)));
        }
        if self.take("(") {
            let inner = self.any(depth + 1)?;
            return if self.take(")") { Ok(inner) } else { Err(self.wrong("')' is expected")) };
        }
        if self.take_word("ActionMatches") {
            return Ok(Condition::Action(self.set(false)?));
        }
        if self.take_word("SubOperationMatches") {
            return Ok(Condition::SubOperation(self.set(false)?));
        }
        for (word, is) in [("NotExists", false), ("Exists", true)] {
            if self.take_word(word) {
                let found = Condition::Exists(self.attribute()?);
                return Ok(if is { found } else { Condition::Not(Box::new(found)) });
            }
        }
        let left = self.operand()?;
        let (quantity, (operator, negated)) = self.operator()?;
        let right = self.operand()?;
        match (&left, &right) {
            (Operand::Values(_), Operand::Values(_)) => Err(self.wrong("a comparison names an attribute")),
            (_, Operand::Values(values)) | (Operand::Values(values), _) if quantity == Quantity::One && values.len() != 1 => {
                Err(self.wrong("several values are compared by a ForAnyOf or ForAllOf function"))
            }
            _ => Ok(Condition::Compare { left, quantity, operator, negated, right }),
        }
    }

    fn operator(&mut self) -> Result<(Quantity, (Operator, bool)), Fault> {
        let mut word = self.word();
        let quantity = match word {
            "ForAnyOfAnyValues" => Quantity::AnyOfAny,
            "ForAllOfAnyValues" => Quantity::AllOfAny,
            "ForAnyOfAllValues" => Quantity::AnyOfAll,
            "ForAllOfAllValues" => Quantity::AllOfAll,
            _ => Quantity::One,
        };
        if quantity != Quantity::One {
            if !self.take(":") {
                return Err(self.wrong("':' is expected"));
            }
            word = self.word();
        }
        let found = OPERATORS.iter().find(|(name, ..)| name.eq_ignore_ascii_case(word));
        found.map(|(_, o, n)| (quantity, (*o, *n))).ok_or_else(|| self.wrong(&format!("'{word}' is not an operator")))
    }

    fn operand(&mut self) -> Result<Operand, Fault> {
        self.space();
        if self.rest().starts_with('@') {
            return self.attribute().map(Operand::Attribute);
        }
        if self.rest().starts_with('{') {
            return self.set(true).map(Operand::Values);
        }
        Ok(Operand::Values(vec![self.value(true)?]))
    }

    fn attribute(&mut self) -> Result<Attribute, Fault> {
        if !self.take("@") {
            return Err(self.wrong("an attribute is expected"));
        }
        let source = match self.word().to_ascii_lowercase().as_str() {
            "resource" => Source::Resource,
            "request" => Source::Request,
            "principal" => Source::Principal,
            "environment" => Source::Environment,
            _ => return Err(self.wrong("an attribute is of Resource, Request, Principal or Environment")),
        };
        if !self.take("[") {
            return Err(self.wrong("'[' is expected"));
        }
        let rest = self.rest();
        let end = rest.find(']').ok_or_else(|| self.wrong("']' is expected"))?;
        let name = rest[..end].trim();
        if name.is_empty() || name.chars().any(|c| c.is_control() || "[{}'\"@".contains(c)) {
            return Err(self.wrong("the name of an attribute is malformed"));
        }
        self.at += end + 1;
        Ok(Attribute { source, name: name.to_owned() })
    }

    /// `{'a', 'b'}`; `bare`: GUIDs, numbers and booleans stand without quotes.
    fn set(&mut self, bare: bool) -> Result<Vec<String>, Fault> {
        if !self.take("{") {
            return Err(self.wrong("'{' is expected"));
        }
        let mut found = Vec::new();
        loop {
            found.push(self.value(bare)?);
            if self.take("}") {
                return Ok(found);
            }
            if !self.take(",") {
                return Err(self.wrong("',' or '}' is expected"));
            }
        }
    }

    fn value(&mut self, bare: bool) -> Result<String, Fault> {
        if self.take("'") {
            let rest = self.rest();
            let mut found = String::new();
            let mut chars = rest.char_indices();
            while let Some((i, c)) = chars.next() {
                match c {
                    '\\' => found.push(chars.next().map(|(_, c)| c).ok_or_else(|| self.wrong("a string does not end"))?),
                    '\'' => {
                        self.at += i + 1;
                        return Ok(found);
                    }
                    c => found.push(c),
                }
            }
            return Err(self.wrong("a string does not end"));
        }
        self.space();
        let rest = self.rest();
        let end = rest.find(|c: char| !(c.is_ascii_alphanumeric() || "-.:+".contains(c))).unwrap_or(rest.len());
        let word = &rest[..end];
        let guid = word.len() == 36
            && word.bytes().enumerate().all(|(i, b)| if [8, 13, 18, 23].contains(&i) { b == b'-' } else { b.is_ascii_hexdigit() });
        if bare && (guid || boolean(word).is_some() || word.parse::<f64>().is_ok_and(f64::is_finite)) {
            self.at += end;
            return Ok(word.to_owned());
        }
        Err(self.wrong("a value is expected"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const READ: &str = "Microsoft.Storage/storageAccounts/blobServices/containers/blobs/read";

    #[derive(Default)]
    struct Ask {
        action: &'static str,
        sub: Option<&'static str>,
        known: Vec<(Source, &'static str, Vec<&'static str>)>,
        absent: Vec<&'static str>,
    }
    impl Request for Ask {
        fn action(&self) -> &str {
            self.action
        }
        fn sub_operation(&self) -> Option<&str> {
            self.sub
        }
        fn attribute(&self, source: Source, name: &str) -> Known<'_> {
            if self.absent.contains(&name) {
                return Known::Absent;
            }
            let found = self.known.iter().find(|(s, n, _)| *s == source && n.eq_ignore_ascii_case(name));
            found.map_or(Known::Unknown, |(_, _, v)| Known::Values(v.iter().map(|v| Cow::Borrowed(*v)).collect()))
        }
    }
    fn holds(text: &str, ask: &Ask) -> bool {
        Condition::read(text).unwrap().holds(ask)
    }

    /// The condition of the documentation: read of blobs only in one container, but listing anywhere.
    const PHOTOS: &str = "((!(ActionMatches{'Microsoft.Storage/storageAccounts/blobServices/containers/blobs/read'} AND NOT SubOperationMatches{'Blob.List'})) OR (@Resource[Microsoft.Storage/storageAccounts/blobServices/containers:name] StringEquals 'photos'))";
    const NAME: &str = "Microsoft.Storage/storageAccounts/blobServices/containers:name";

    #[test]
    fn a_documented_condition_holds_where_it_should() {
        let ask = |action, sub, container| Ask { action, sub, known: vec![(Source::Resource, NAME, vec![container])], absent: vec![] };
        assert!(holds(PHOTOS, &ask(READ, None, "photos")));
        assert!(!holds(PHOTOS, &ask(READ, None, "Photos")));
        assert!(!holds(PHOTOS, &ask(READ, None, "secrets")));
        assert!(holds(PHOTOS, &ask(READ, Some("Blob.List"), "secrets")));
        assert!(holds(PHOTOS, &ask("Microsoft.Storage/x/write", None, "secrets")));
    }

    #[test]
    fn what_is_unknown_opens_nothing_either_way() {
        let ask = Ask { action: READ, ..Ask::default() };
        assert!(!holds(PHOTOS, &ask));
        for text in [
            "@Resource[x:y] StringEquals 'a'",
            "@Resource[x:y] StringNotEquals 'a'",
            "!(@Resource[x:y] StringEquals 'a')",
            "NOT Exists @Resource[x:y]",
            "@Resource[x:y] StringEquals 'a' OR NOT @Resource[x:y] StringEquals 'a'",
        ] {
            assert!(!holds(text, &ask), "{text}");
        }
        // but where another part decides, it decides
        assert!(holds("@Resource[x:y] StringEquals 'a' OR ActionMatches{'*'}", &ask));
        let absent = Ask { action: READ, absent: vec!["x:y"], ..Ask::default() };
        assert!(holds("NOT Exists @Resource[x:y]", &absent));
        assert!(holds("NotExists @Resource[x:y]", &absent));
        assert!(!holds("@Resource[x:y] StringNotEquals 'a'", &absent));
    }

    #[test]
    fn operators_compare_as_documented() {
        for (left, test, want) in [
            ("abc", "StringEqualsIgnoreCase 'ABC'", true),
            ("abc", "StringNotEquals 'ABC'", true),
            ("logs/2024/a", "StringStartsWith 'logs/'", true),
            ("logs/2024/a", "StringNotStartsWithIgnoreCase 'LOGS/'", false),
            ("logs/2024/a", "StringLike 'logs/*/a'", true),
            ("logs/2024/a", "StringLike 'logs/20?4/*'", true),
            ("logs/2024/a", "StringLike 'logs/20?5/*'", false),
            ("5", "NumericLessThan 10", true),
            ("5", "NumericGreaterThanEquals 5.0", true),
            ("x", "NumericGreaterThanEquals 5.0", false),
            ("x", "NumericNotEquals 5.0", false),
            ("true", "BoolEquals true", true),
            ("True", "BoolNotEquals true", false),
            ("2026-01-01T00:00:00Z", "DateTimeLessThan '2026-01-01T00:00:01+00:00'", true),
            ("2026-01-01T10:30:00Z", "TimeOfDayGreaterThan '08:00:00'", true),
            ("8E3AF657-A8FF-443C-A75C-2FE8C4BCB635", "GuidEquals 8e3af657-a8ff-443c-a75c-2fe8c4bcb635", true),
            ("b", "ForAnyOfAnyValues:StringEquals {'a', 'b'}", true),
            ("b", "ForAllOfAllValues:StringNotEquals {'a', 'c'}", true),
            ("b", "ForAnyOfAllValues:StringEquals {'a', 'b'}", false),
            ("it's", "StringEquals 'it\\'s'", true),
        ] {
            let ask = Ask { known: vec![(Source::Request, "a:b", vec![left])], ..Ask::default() };
            assert_eq!(holds(&format!("@Request[a:b] {test}"), &ask), want, "{left} {test}");
        }
        let many = Ask { known: vec![(Source::Request, "a:b", vec!["x", "y"])], ..Ask::default() };
        assert!(holds("@Request[a:b] ForAllOfAnyValues:StringEquals {'x', 'y', 'z'}", &many));
        assert!(!holds("@Request[a:b] ForAllOfAnyValues:StringEquals {'x', 'z'}", &many));
        assert!(holds("@Request[a:b] ForAnyOfAnyValues:StringEquals @Request[a:b]", &many));
    }

    #[test]
    fn precedence_is_not_and_or() {
        let ask = Ask { action: "a", ..Ask::default() };
        assert!(holds("ActionMatches{'a'} || ActionMatches{'b'} && ActionMatches{'b'}", &ask));
        assert!(!holds("(ActionMatches{'a'} OR ActionMatches{'b'}) AND ActionMatches{'b'}", &ask));
        assert!(holds("!ActionMatches{'b'} AND ActionMatches{'a'}", &ask));
    }

    #[test]
    fn what_is_malformed_is_refused() {
        for text in [
            "",
            "(",
            "ActionMatches{'a'",
            "ActionMatches{a}",
            "ActionMatches{'a'} nonsense",
            "@Resource[x StringEquals 'a'",
            "@Nobody[x] StringEquals 'a'",
            "@Resource[x] Equals 'a'",
            "@Resource[x] StringEquals {'a','b'}",
            "'a' StringEquals 'a'",
            "@Resource[x] StringEquals 'a",
            "@Resource[x] StringEquals a",
            "@Resource[x] ForAnyOfAnyValues StringEquals {'a'}",
            "Exists 'a'",
        ] {
            assert_eq!(Condition::read(text).unwrap_err().code, "InvalidRoleAssignmentCondition", "{text}");
        }
        assert!(Condition::read(&"(".repeat(8_000)).is_err());
        assert!(Condition::read(&"!".repeat(8_000)).is_err());
        assert!(Condition::read(&" ".repeat(9_000)).is_err());
    }
}
