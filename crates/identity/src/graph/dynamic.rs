//! Groups whose members follow from a rule (Entra's dynamic membership, for users): `user.department -eq "Sales" -and
//! (user.country -in ["FR","DE"] -or user.jobTitle -startsWith "Dr")`.
//!
//! Members are facts like any others, made in the commit that changes a user or a rule, so a rule holds from that moment on.
//! Two rows keep both sides in step: a change of a user is refused where the rules moved meanwhile, and the other way round.

use super::groups::{joined, left};
use super::{bad_request, relations};
use crate::directory::*;
use base::{Error, ObjectId, Result, TenantId};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use service::Neighbours;
use trust::{Batch, Fact, Permit, Span, Write};

const RULE_BYTES_MAX: usize = 3072;
const DEPTH_MAX: usize = 16;
const VALUES_MAX: usize = 100;
/// Members that one commit may bring or take.
const CHANGES_MAX: usize = 2000;
const SCAN: usize = 500;
/// Rows of [`DYNAMIC`] beside those of groups: changed with every rule, changed with every user.
const RULES: &str = "rules";
const USERS_TURN: &str = "users";

/// A group's rule, as kept; or nothing but a change (see the module).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct DynamicRule {
    pub rule: String,
}

base::first_version! { DynamicRule "identity.dynamic-rule"; }

/// A rule, read.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Rule {
    And(Box<Rule>, Box<Rule>),
    Or(Box<Rule>, Box<Rule>),
    Not(Box<Rule>),
    Compare { property: String, how: How, values: Vec<Value> },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum How {
    Equals,
    StartsWith,
    Contains,
    In,
}

impl Rule {
    /// Error `Request_BadRequest`, target `membershipRule`.
    pub(super) fn parse(text: &str) -> Result<Rule> {
        let wrong = |why: String| bad_request(format!("Invalid membership rule: {why}.")).at("membershipRule");
        if text.len() > RULE_BYTES_MAX {
            return Err(wrong(format!("it is longer than {RULE_BYTES_MAX} bytes")));
        }
        let mut reader = Reader { tokens: tokens(text).map_err(wrong)?, at: 0, depth: 0 };
        let rule = reader.any_of().map_err(wrong)?;
        if reader.at < reader.tokens.len() {
            return Err(wrong("something stands behind its end".into()));
        }
        Ok(rule)
    }

    pub(super) fn fits(&self, user: &Map<String, Value>) -> bool {
        match self {
            Rule::And(a, b) => a.fits(user) && b.fits(user),
            Rule::Or(a, b) => a.fits(user) || b.fits(user),
            Rule::Not(a) => !a.fits(user),
            Rule::Compare { property, how, values } => {
                let have = user.get(property).unwrap_or(&Value::Null);
                values.iter().any(|wanted| how.fits(have, wanted))
            }
        }
    }
}

impl How {
    fn fits(self, have: &Value, wanted: &Value) -> bool {
        match (have, wanted) {
            (Value::String(have), Value::String(wanted)) => {
                let (have, wanted) = (have.to_lowercase(), wanted.to_lowercase());
                match self {
                    How::Equals | How::In => have == wanted,
                    How::StartsWith => have.starts_with(&wanted),
                    How::Contains => have.contains(&wanted),
                }
            }
            (have, wanted) => matches!(self, How::Equals | How::In) && have == wanted,
        }
    }
}

#[derive(Clone, Debug, PartialEq)]
enum Token {
    Word(String),
    Text(String),
    Mark(char),
}

fn tokens(text: &str) -> Result<Vec<Token>, String> {
    let mut all = Vec::new();
    let mut rest = text.chars().peekable();
    while let Some(c) = rest.next() {
        match c {
            ' ' | '\t' | '\n' | '\r' => {}
            '(' | ')' | '[' | ']' | ',' => all.push(Token::Mark(c)),
            '"' | '\'' => {
                let mut value = String::new();
                loop {
                    match rest.next() {
                        // a back-tick before a quote that is meant
                        Some('`') if rest.peek() == Some(&c) => value.extend(rest.next()),
                        Some(end) if end == c => break,
                        Some(other) => value.push(other),
                        None => return Err("a text has no closing quote".into()),
                    }
                }
                all.push(Token::Text(value));
            }
            c if c.is_ascii_alphanumeric() || c == '-' => {
                let mut word = String::from(c);
                while let Some(c) = rest.next_if(|c| c.is_ascii_alphanumeric() || *c == '.' || *c == '_') {
                    word.push(c);
                }
                all.push(Token::Word(word));
            }
            c => return Err(format!("unexpected '{}'", c.escape_debug())),
        }
    }
    Ok(all)
}

struct Reader {
    tokens: Vec<Token>,
    at: usize,
    depth: usize,
}

impl Reader {
    fn next(&mut self) -> Result<Token, String> {
        let token = self.tokens.get(self.at).cloned().ok_or("it ends too early")?;
        self.at += 1;
        Ok(token)
    }
    /// Takes the word, with or without its hyphen, in any case.
    fn takes(&mut self, word: &str) -> bool {
        let is_it = matches!(self.tokens.get(self.at), Some(Token::Word(w)) if w.trim_start_matches('-').eq_ignore_ascii_case(word));
        self.at += usize::from(is_it);
        is_it
    }
    fn takes_mark(&mut self, mark: char) -> bool {
        let is_it = self.tokens.get(self.at) == Some(&Token::Mark(mark));
        self.at += usize::from(is_it);
        is_it
    }
    fn deeper(&mut self, read: fn(&mut Reader) -> Result<Rule, String>) -> Result<Rule, String> {
        if self.depth == DEPTH_MAX {
            return Err(format!("it is nested more than {DEPTH_MAX} deep"));
        }
        self.depth += 1;
        let rule = read(self);
        self.depth -= 1;
        rule
    }
    fn any_of(&mut self) -> Result<Rule, String> {
        let mut left = self.all_of()?;
        while self.takes("or") {
            left = Rule::Or(Box::new(left), Box::new(self.all_of()?));
        }
        Ok(left)
    }
    fn all_of(&mut self) -> Result<Rule, String> {
        let mut left = self.one()?;
        while self.takes("and") {
            left = Rule::And(Box::new(left), Box::new(self.one()?));
        }
        Ok(left)
    }
    fn one(&mut self) -> Result<Rule, String> {
        if self.takes("not") {
            return Ok(Rule::Not(Box::new(self.deeper(Reader::one)?)));
        }
        if self.takes_mark('(') {
            let inner = self.deeper(Reader::any_of)?;
            return if self.takes_mark(')') { Ok(inner) } else { Err("a parenthesis is not closed".into()) };
        }
        let Token::Word(name) = self.next()? else { return Err("expected a property".into()) };
        let property = name.strip_prefix("user.").ok_or_else(|| format!("'{name}' is no property of a user"))?.to_owned();
        if !super::body::is_property(ObjectKind::User, &property) {
            return Err(format!("'{name}' is no property of a user"));
        }
        let Token::Word(operator) = self.next()? else { return Err("expected an operator".into()) };
        let (how, is_not) = match operator.to_ascii_lowercase().as_str() {
            "-eq" => (How::Equals, false),
            "-ne" => (How::Equals, true),
            "-startswith" => (How::StartsWith, false),
            "-notstartswith" => (How::StartsWith, true),
            "-contains" => (How::Contains, false),
            "-notcontains" => (How::Contains, true),
            "-in" => (How::In, false),
            "-notin" => (How::In, true),
            other => return Err(format!("the operator '{other}' is not built")),
        };
        let values = if how == How::In { self.list()? } else { vec![self.value()?] };
        let rule = Rule::Compare { property, how, values };
        Ok(if is_not { Rule::Not(Box::new(rule)) } else { rule })
    }
    fn list(&mut self) -> Result<Vec<Value>, String> {
        if !self.takes_mark('[') {
            return Err("expected '['".into());
        }
        let mut all = vec![self.value()?];
        while self.takes_mark(',') {
            all.push(self.value()?);
            if all.len() > VALUES_MAX {
                return Err(format!("a list has more than {VALUES_MAX} values"));
            }
        }
        if self.takes_mark(']') { Ok(all) } else { Err("expected ']'".into()) }
    }
    fn value(&mut self) -> Result<Value, String> {
        match self.next()? {
            Token::Text(text) => Ok(text.into()),
            Token::Word(word) if word.eq_ignore_ascii_case("true") => Ok(true.into()),
            Token::Word(word) if word.eq_ignore_ascii_case("false") => Ok(false.into()),
            Token::Word(word) if word.eq_ignore_ascii_case("null") => Ok(Value::Null),
            _ => Err("expected a value".into()),
        }
    }
}

fn row(group: ObjectId) -> String {
    format!("group/{group}")
}

/// A user is about to be this (`None`: unchanged rules, no user): its memberships of groups with rules follow.
pub(super) async fn follow(
    mut batch: Batch,
    tenant: TenantId,
    user: ObjectId,
    properties: &Map<String, Value>,
    permit: &Permit<Write>,
    near: &Neighbours,
) -> Result<Batch> {
    let turn = permit.data().get::<DynamicRule>(DYNAMIC, RULES).await?.map(|found| found.version);
    batch = batch.unchanged(DYNAMIC, RULES, turn).put(DYNAMIC, USERS_TURN, &DynamicRule { rule: String::new() });
    let mut span = Span::prefix("group/");
    loop {
        let page = permit.data().scan::<DynamicRule>(DYNAMIC, span, SCAN).await?;
        for (name, found) in page.rows {
            let group = std::str::from_utf8(&name).ok().and_then(|name| name.strip_prefix("group/")?.parse().ok());
            let group: ObjectId = group.ok_or_else(|| Error::internal("a rule's row has no group"))?;
            let is_in = near.facts(|f| f.get(&Fact::Member { tenant, group, member: user }.key()).is_some());
            batch = match (Rule::parse(&found.value.rule)?.fits(properties), is_in) {
                (true, false) => joined(batch, tenant, group, user),
                (false, true) => left(batch, tenant, group, user),
                _ => batch,
            };
        }
        match page.next {
            Some(from) => span = Span::prefix("group/").from(from),
            None => return Ok(batch),
        }
    }
}

/// A group's rule is about to be this: its members follow. `None`: it has none any more, and its members stay.
pub(super) async fn apply(
    batch: Batch,
    tenant: TenantId,
    group: ObjectId,
    rule: Option<&str>,
    permit: &Permit<Write>,
    near: &Neighbours,
) -> Result<Batch> {
    let turn = permit.data().get::<DynamicRule>(DYNAMIC, USERS_TURN).await?.map(|found| found.version);
    let mut batch = batch.unchanged(DYNAMIC, USERS_TURN, turn).put(DYNAMIC, RULES, &DynamicRule { rule: String::new() });
    let Some(text) = rule else { return Ok(batch.delete(DYNAMIC, row(group))) };
    batch = batch.put(DYNAMIC, row(group), &DynamicRule { rule: text.to_owned() });
    let rule = Rule::parse(text)?;
    let before = relations::ids(relations::Way::Members, group, permit, near).await?;
    let (mut span, mut changes) = (Span::all(), 0);
    loop {
        let page = permit.data().scan::<Object>(USERS, span, SCAN).await?;
        for (_, user) in page.rows {
            let (wanted, is_in) = (rule.fits(&user.value.properties()?), before.contains(&user.value.id));
            if wanted == is_in {
                continue;
            }
            changes += 1;
            batch = if wanted { joined(batch, tenant, group, user.value.id) } else { left(batch, tenant, group, user.value.id) };
        }
        if changes > CHANGES_MAX {
            return Err(Error::not_implemented(format!("A rule that moves more than {CHANGES_MAX} members at once")).at("membershipRule"));
        }
        match page.next {
            Some(from) => span = Span::all().from(from),
            None => return Ok(batch),
        }
    }
}

/// For the fuzzer: reading a rule never panics, and a rule that was read can be applied.
pub fn fuzz_rule(bytes: &[u8]) {
    if let Ok(text) = std::str::from_utf8(bytes)
        && let Ok(rule) = Rule::parse(text)
    {
        rule.fits(&Map::from_iter([("department".to_owned(), "Sales".into())]));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    #[test]
    fn rules_say_who_is_in() {
        let anna = into_map(json!({"department": "Sales", "country": "FR", "jobTitle": "Dr. phil.", "accountEnabled": true}));
        for yes in [
            "user.department -eq \"sales\"",
            "(user.department -eq \"Research\") -or (user.country -in [\"FR\",\"DE\"])",
            "user.jobTitle -startsWith \"Dr\" -and user.accountEnabled -eq true",
            "-not (user.department -contains \"search\") and user.city -eq null",
            "user.department -ne \"x\" -and user.country -notIn ['DE']",
            "user.department -eq \"x\" -or user.country -eq \"FR\" -and user.jobTitle -notContains \"Prof\"",
        ] {
            assert!(Rule::parse(yes).unwrap().fits(&anna), "{yes}");
        }
        for no in ["user.department -eq \"sale\"", "user.city -startsWith \"P\"", "user.accountEnabled -eq \"true\""] {
            assert!(!Rule::parse(no).unwrap().fits(&anna), "{no}");
        }
        let deep = "(".repeat(40);
        for bad in [
            "",
            "user.department",
            "user.department -eq",
            "user.godMode -eq true",
            "device.os -eq \"x\"",
            "user.department -match \"x\"",
            "user.department -eq \"x",
            "user.department -eq \"x\" user",
            "user.department -in \"x\"",
            "user.department -in []",
            "(user.department -eq \"x\"",
            "user.passwordProfile -eq null",
            &deep,
        ] {
            assert_eq!(Rule::parse(bad).unwrap_err().target.as_deref(), Some("membershipRule"), "{bad}");
        }
    }

    #[test]
    fn rules_read_back_from_their_first_version() {
        assert_eq!(base::decode::<DynamicRule>(b"\x01\xa1\x64rule\x61x").unwrap(), DynamicRule { rule: "x".into() });
    }

    proptest! {
        #[test]
        fn rules_never_panic(noise in "\\PC{0,60}", words in proptest::collection::vec(proptest::sample::select(vec!["user.department", "-eq", "\"x\"", "-and", "-or", "-not", "(", ")", "-in", "[", "]", ",", "null"]), 0..40)) {
            fuzz_rule(noise.as_bytes());
            fuzz_rule(words.join(" ").as_bytes());
        }
    }
}
