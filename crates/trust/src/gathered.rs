//! What is recorded many to an entry: a customer's own reads, refusals of known callers, and tallies of strangers.
//!
//! Bounded: at most [`LINES_MAX`] distinct lines wait; whoever adds beyond that flushes first, and where that fails, acts
//! are counted without their details. A crash may lose the last second, and the next start says so.

use crate::journal::{cut, owner_of, who};
use crate::{Ask, Ended, Outcome, journal, lock};
use base::{ResourceId, TenantId};
use record::{Event, Line, Owner, Who, bounded, catalogue};
use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex};

/// Distinct lines that may wait for the next flush.
pub(crate) const LINES_MAX: usize = 100_000;
const STRANGERS_MAX: usize = 4_096;
/// Lines of one entry: with details of ordinary length its opening stays far below a row's 64 KiB.
const ENTRY_LINES_MAX: usize = 256;
const ENTRY_BYTES_MAX: usize = 40_000;

#[derive(PartialEq, Eq, Hash)]
struct LineKey {
    refused: bool,
    owner: Option<TenantId>,
    resource: ResourceId,
    who: Who,
    verb: &'static str,
    detail: String,
    status: u16,
    code: String,
    ended: u8,
    /// What allowed it; empty for a refusal.
    grant: Arc<str>,
}

/// What shares an entry: refusals or not, whose, about which resource.
type Group = (bool, Option<TenantId>, ResourceId);

#[derive(Default)]
struct Count {
    count: u64,
    bytes: u64,
    outcome: Option<Outcome>,
}

#[derive(Default)]
struct Lines {
    all: HashMap<LineKey, Count>,
    /// Many lines have one grant, and its text is long.
    grants: HashSet<Arc<str>>,
}

#[derive(Default)]
pub(crate) struct Gathered {
    lines: Mutex<Lines>,
    strangers: Mutex<HashMap<(&'static str, String, String), u64>>,
}

impl Gathered {
    /// True when the next flush should not wait for its second.
    pub fn is_full(&self) -> bool {
        lock(&self.lines).all.len() >= LINES_MAX
    }
    /// One act of `ask`, ended so. `because`: what allowed it.
    pub fn add(&self, ask: &Ask, owner: Option<TenantId>, because: &str, outcome: &Outcome) {
        let because = cut(because);
        let mut key = LineKey {
            refused: outcome.result == Ended::Refused,
            owner,
            resource: ask.target.clone(),
            who: who(&ask.caller),
            verb: ask.verb,
            detail: bounded(&ask.detail, record::DETAIL_BYTES_MAX),
            status: outcome.status,
            code: cut(&outcome.code),
            ended: outcome.result as u8,
            grant: Arc::default(),
        };
        let mut lines = lock(&self.lines);
        key.grant = match lines.grants.get(because.as_str()) {
            Some(known) => known.clone(),
            None => {
                let grant: Arc<str> = because.into();
                lines.grants.insert(grant.clone());
                grant
            }
        };
        if lines.all.len() >= LINES_MAX && !lines.all.contains_key(&key) {
            key.detail = String::new();
        }
        let line = lines.all.entry(key).or_default();
        line.count += 1;
        line.bytes += outcome.bytes_in + outcome.bytes_out;
        line.outcome.get_or_insert_with(|| outcome.clone());
    }
    /// A request without a valid caller. `source`: the address prefix (/24, /48).
    pub fn stranger(&self, door: &'static str, reason: &str, source: String) {
        let mut strangers = lock(&self.strangers);
        let key = (door, cut(reason), source);
        if strangers.len() >= STRANGERS_MAX && !strangers.contains_key(&key) {
            *strangers.entry((door, "other".into(), "other".into())).or_default() += 1;
            return;
        }
        *strangers.entry(key).or_default() += 1;
    }

    /// Takes everything that waits, as events: per owner and resource, reads and refusals apart.
    pub fn take(&self) -> Vec<Event> {
        let lines = std::mem::take(&mut *lock(&self.lines)).all;
        let strangers = std::mem::take(&mut *lock(&self.strangers));
        let mut groups: HashMap<Group, Vec<(LineKey, Count)>> = HashMap::new();
        for (key, count) in lines {
            groups.entry((key.refused, key.owner, key.resource.clone())).or_default().push((key, count));
        }
        let mut events = Vec::new();
        for ((refused, owner, resource), mut lines) in groups {
            lines.sort_by(|(a, _), (b, _)| (&a.who, a.verb, &a.detail).cmp(&(&b.who, b.verb, &b.detail)));
            let verb = if refused { &catalogue::REFUSALS } else { &catalogue::READS };
            pack(verb, owner, &resource, lines, &mut events);
        }
        if !strangers.is_empty() {
            tally(strangers, &mut events);
        }
        events
    }
}

fn pack(verb: &catalogue::Verb, owner: Option<TenantId>, resource: &ResourceId, lines: Vec<(LineKey, Count)>, events: &mut Vec<Event>) {
    let mut current: Option<(Event, usize)> = None;
    for (key, count) in lines {
        let size = key.detail.len() + key.code.len() + 64;
        // names are a tenant's to choose: long ones must not make an entry that the store does not take
        let who_bytes = key.who.name.as_ref().map_or(0, String::len) + 160;
        let grant_bytes = key.grant.len() + 8;
        if let Some((event, bytes)) = &current
            && (event.lines.len() >= ENTRY_LINES_MAX
                || bytes + size + who_bytes + grant_bytes > ENTRY_BYTES_MAX
                || event.others.len() + 1 >= record::OTHERS_MAX
                || event.grants.len() + 1 >= record::GRANTS_MAX)
        {
            events.extend(current.take().map(|(e, _)| e));
        }
        let grant = (!key.grant.is_empty()).then_some(&*key.grant);
        let (event, bytes) = current.get_or_insert_with(|| {
            let mut event = Event::new(owner_of(owner), key.who.clone(), verb.name, resource.clone());
            event.grant = grant.map(str::to_owned);
            (event, grant_bytes)
        });
        let grant = match grant {
            grant if event.grant.as_deref() == grant => 0,
            // what nothing allowed has no grant, and the first one had
            grant => {
                let grant = grant.unwrap_or("");
                let at = event.grants.iter().position(|g| g == grant).unwrap_or_else(|| {
                    event.grants.push(grant.to_owned());
                    *bytes += grant_bytes;
                    event.grants.len() - 1
                });
                at as u16 + 1
            }
        };
        let index = if event.who == key.who {
            0
        } else {
            let at = event.others.iter().position(|w| *w == key.who).unwrap_or_else(|| {
                event.others.push(key.who.clone());
                event.others.len() - 1
            });
            at as u16 + 1
        };
        *bytes += size + if index == 0 { 0 } else { who_bytes };
        let outcome = count.outcome.as_ref().map_or_else(record::Outcome::unfinished, journal::outcome_of);
        event.lines.push(Line {
            verb: key.verb.to_owned(),
            who: index,
            detail: key.detail,
            count: count.count,
            bytes: count.bytes,
            outcome,
            grant,
        });
    }
    events.extend(current.map(|(e, _)| e));
}

fn tally(strangers: HashMap<(&'static str, String, String), u64>, events: &mut Vec<Event>) {
    let mut all: Vec<_> = strangers.into_iter().collect();
    all.sort();
    for part in all.chunks(ENTRY_LINES_MAX) {
        let mut event = journal::own(&catalogue::STRANGERS, &[]);
        // where they come from is nothing for other customers
        event.owner = Owner::Operator;
        event.lines = part
            .iter()
            .map(|((door, reason, source), count)| Line {
                verb: (*door).to_owned(),
                who: 0,
                detail: source.clone(),
                count: *count,
                bytes: 0,
                outcome: record::Outcome::refused(reason.clone(), 0),
                grant: 0,
            })
            .collect();
        events.push(event);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use base::SeededChance;

    /// One entry that the store refuses would take everybody's with it.
    #[test]
    fn no_entry_is_larger_than_a_row_whatever_names_callers_have() {
        let (chance, gathered) = (SeededChance::new(1), Gathered::default());
        let tenant = TenantId::random(&chance);
        for detail in 0..4 {
            for _ in 0..300 {
                let ask = Ask {
                    caller: crate::Caller::Principal(crate::Principal {
                        tenant,
                        object: base::ObjectId::random(&chance),
                        app: base::AppId::random(&chance),
                        kind: crate::PrincipalKind::ServicePrincipal,
                        name: "é".repeat(1_024),
                    }),
                    verb: "Get Blob",
                    actions: Vec::new(),
                    data: true,
                    target: ResourceId::tenant(tenant),
                    scope: ResourceId::tenant(tenant),
                    detail: "d".repeat(detail * 1_500),
                    weight: crate::Weight::Batched,
                    origin: crate::Origin { request: base::RequestId::random(&chance), peer: None, client_request: None, user_agent: None },
                };
                let because = format!("role Reader by {}{}", "/a".repeat(900), detail);
                gathered.add(&ask, Some(tenant), &because, &Outcome::done(200));
            }
        }
        let events = gathered.take();
        assert_eq!(events.iter().flat_map(|e| &e.lines).map(|l| l.count).sum::<u64>(), 1_200);
        for event in events {
            let bytes = event.encode().unwrap().len();
            assert!(bytes < store::VALUE_BYTES_MAX - 1_024, "{bytes} bytes with {} others", event.others.len());
        }
    }
}
