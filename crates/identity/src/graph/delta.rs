//! `GET /users/delta`, `GET /groups/delta`: everything at first, then what changed since the link that was given.
//!
//! A row knows the commit that wrote it, and commits are numbered. The link holds the highest number that was seen *before*
//! the first page was read: a change made while the pages are fetched is shown with the next question, perhaps twice, never
//! not at all. What is gone left a mark; so did memberships.

use super::answer::{self, Asked, home};
use super::query::{link, select};
use super::{bad_request, relations};
use crate::directory::*;
use base::{Error, ObjectId, Result};
use serde_json::{Map, Value, json};
use service::{Call, Head, Neighbours, Reply};
use std::collections::{BTreeMap, BTreeSet};
use trust::{Permit, Read, Span};
use wire::odata::parse_select;

const SCAN: usize = 500;
const PAGE: usize = 200;

/// `{since}.{until}[.{after}]`: changes behind the commit `since`; `until`: what the next link will begin behind; the id
/// that the page before ended with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Token {
    since: u64,
    until: u64,
    after: Option<ObjectId>,
}

impl Token {
    fn show(self) -> String {
        let after = self.after.map_or_else(String::new, |id| format!(".{id}"));
        format!("{}.{}{after}", self.since, self.until)
    }
    fn read(text: &str) -> Result<Token> {
        let wrong = || bad_request("The delta token is not valid.").at("$deltatoken");
        let parts: Vec<&str> = text.split('.').collect();
        let (since, until, after) = match parts[..] {
            [since, until] => (since, until, None),
            [since, until, after] => (since, until, Some(after.parse().map_err(|_| wrong())?)),
            _ => return Err(wrong()),
        };
        Ok(Token { since: since.parse().map_err(|_| wrong())?, until: until.parse().map_err(|_| wrong())?, after })
    }
}

/// What changed about one object.
#[derive(Debug, Default)]
struct Change {
    object: Option<Object>,
    /// `changed`: may be restored; `deleted`: gone for good.
    removed: Option<&'static str>,
    /// Members that came (`true`) or left.
    members: BTreeMap<ObjectId, bool>,
}

pub(super) async fn list(kind: ObjectKind, call: Call, permit: Permit<Read>, near: Neighbours) -> Result<Reply> {
    let (asked, _) = Asked::of(call);
    let shown = page(kind, &asked.head, &permit, &near).await;
    answer::read(permit, shown).await
}

async fn page(kind: ObjectKind, head: &Head, permit: &Permit<Read>, near: &Neighbours) -> Result<Value> {
    let mut chosen = Vec::new();
    let mut token = None;
    for (name, value) in &head.query.0 {
        match name.as_str() {
            "$select" => chosen = parse_select(value)?,
            "$deltatoken" if value == "latest" => token = Some(None),
            "$deltatoken" | "$skiptoken" => token = Some(Some(Token::read(value)?)),
            other if other.starts_with('$') => {
                return Err(Error::not_implemented(format!("The query option '{other}' of delta")).at(other.to_owned()));
            }
            _ => {}
        }
    }
    // read before anything is shown: what was committed until then is seen by the second reading below, whatever its table
    let newest = changes(kind, u64::MAX, permit).await?.1;
    let mut token = match token {
        Some(Some(token)) if token.after.is_some() => token,
        Some(Some(token)) => Token { until: newest.max(token.since), ..token },
        Some(None) => Token { since: u64::MAX, until: newest, after: None },
        None => Token { since: 0, until: newest, after: None },
    };
    let (changes, _) = changes(kind, token.since, permit).await?;
    let is_first = token.since == 0;
    let mut shown = Vec::new();
    let mut more = false;
    for (id, change) in changes {
        // who was never seen need not be taken back
        if token.after.is_some_and(|after| id <= after) || (is_first && change.removed.is_some()) {
            continue;
        }
        if shown.len() == PAGE {
            more = true;
            break;
        }
        let wants_members = kind == ObjectKind::Group && (chosen.is_empty() || chosen.iter().any(|name| name == "members"));
        if let Some(one) = show(kind, id, change, &chosen, is_first && wants_members, permit, near).await? {
            shown.push(one);
        }
        token.after = Some(id);
    }
    let (name, next) = match more {
        true => ("$skiptoken", token),
        false => ("$deltatoken", Token { since: token.until, until: token.until, after: None }),
    };
    let mut answer = Map::new();
    answer.insert("@odata.context".into(), format!("{}/$metadata#{}", home(head), kind.collection()).into());
    let property = if more { "@odata.nextLink" } else { "@odata.deltaLink" };
    answer.insert(property.into(), link(head, name, &next.show()).into());
    answer.insert("value".into(), shown.into());
    Ok(Value::Object(answer))
}

/// What changed behind a commit, by id, and the newest commit among all rows.
async fn changes(kind: ObjectKind, since: u64, permit: &Permit<Read>) -> Result<(BTreeMap<ObjectId, Change>, u64)> {
    let (mut changes, mut newest): (BTreeMap<ObjectId, Change>, u64) = (BTreeMap::new(), 0);
    let data = permit.data();
    let mut span = Span::all();
    loop {
        let page = data.scan::<Object>(kind.table(), span, SCAN).await?;
        for (_, row) in page.rows {
            newest = newest.max(row.version.0);
            if row.version.0 > since {
                let id = row.value.id;
                changes.entry(id).or_default().object = Some(row.value);
            }
        }
        let Some(from) = page.next else { break };
        span = Span::all().from(from);
    }
    span = Span::all();
    loop {
        let page = data.scan::<super::deleted::Deleted>(DELETED, span, SCAN).await?;
        for (name, row) in page.rows.into_iter().filter(|(_, row)| row.value.collection == kind.collection()) {
            newest = newest.max(row.version.0);
            if let Some(id) = id_in(&name).filter(|_| row.version.0 > since) {
                changes.entry(id).or_default().removed = Some(if row.value.object.is_some() { "changed" } else { "deleted" });
            }
        }
        let Some(from) = page.next else { break };
        span = Span::all().from(from);
    }
    if kind != ObjectKind::Group {
        return Ok((changes, newest));
    }
    span = Span::all();
    loop {
        let page = data.scan::<MemberMark>(MEMBER_MARKS, span, SCAN).await?;
        for (name, row) in page.rows {
            newest = newest.max(row.version.0);
            let Some((group, member)) = name.split_at_checked(36).filter(|_| row.version.0 > since) else { continue };
            if let (Some(group), Some(member)) = (id_in(group), id_in(member.strip_prefix(b"/").unwrap_or_default())) {
                changes.entry(group).or_default().members.insert(member, row.value.present);
            }
        }
        let Some(from) = page.next else { break };
        span = Span::all().from(from);
    }
    Ok((changes, newest))
}

fn id_in(name: &[u8]) -> Option<ObjectId> {
    std::str::from_utf8(name).ok()?.parse().ok()
}

async fn show(
    kind: ObjectKind,
    id: ObjectId,
    change: Change,
    chosen: &[String],
    all_members: bool,
    permit: &Permit<Read>,
    near: &Neighbours,
) -> Result<Option<Value>> {
    if let Some(reason) = change.removed {
        return Ok(Some(json!({"id": id.to_string(), "@removed": { "reason": reason }})));
    }
    let object = match change.object {
        Some(object) => object,
        // a group whose members alone changed; one that is gone has its mark
        None => match permit.data().get::<Object>(kind.table(), row_name(id)).await? {
            Some(found) => found.value,
            None => return Ok(None),
        },
    };
    let mut shown = select(chosen, Some(kind), object.show(kind)?);
    let members: BTreeMap<ObjectId, bool> = match all_members {
        true => {
            let all: BTreeSet<ObjectId> = relations::ids(relations::Way::Members, id, permit, near).await?;
            all.into_iter().map(|member| (member, true)).collect()
        }
        false if chosen.is_empty() || chosen.iter().any(|name| name == "members") => change.members,
        false => BTreeMap::new(),
    };
    if !members.is_empty() {
        let one = |(member, present): (ObjectId, bool)| match present {
            true => json!({"id": member.to_string()}),
            false => json!({"id": member.to_string(), "@removed": {"reason": "deleted"}}),
        };
        shown["members@delta"] = members.into_iter().map(one).collect::<Vec<_>>().into();
    }
    Ok(Some(shown))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_read_back_and_nothing_else_does() {
        let id = ObjectId(uuid::Uuid::from_u128(7));
        for token in [Token { since: 0, until: 9, after: None }, Token { since: 3, until: 9, after: Some(id) }] {
            assert_eq!(Token::read(&token.show()).unwrap(), token);
        }
        for bad in ["", "1", "a.b", "1.2.x", "1.2.3.4", "-1.2", "1.99999999999999999999999"] {
            assert!(Token::read(bad).is_err(), "{bad}");
        }
    }
}
