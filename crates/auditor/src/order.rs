//! What holds over all entries of the log, whoever they belong to: numbers without gaps, acts closed once and after
//! they were opened, time that does not run back, code that was announced.

use crate::group::Group;
use crate::report::{CodeUse, Fault, Findings, Summary};
use base::{EntryId, Shard, Timestamp};
use record::bundle::Header;
use record::{Digest, Entry, Owner, Phase};
use std::collections::{BTreeMap, BTreeSet, HashMap};

/// Clocks of hosts differ and are set right; an hour back is more than that.
const BACK_MS_MAX: i64 = 3_600_000;
/// Acts side by side are dated before they are numbered; a minute back is a clock that was set back, which is said.
const BACK_MS_SAID: i64 = 60_000;

/// How many unfinished acts are listed by name.
const LISTED_MAX: usize = 100;

#[derive(Default)]
pub(crate) struct Order {
    /// Per outbox: the last number and the latest time.
    outboxes: BTreeMap<Shard, (u64, Timestamp)>,
    /// Opening entries: whose they are and whether they were closed.
    opened: HashMap<EntryId, (Option<Owner>, bool)>,
    /// Entries under each code digest, and the first of them.
    codes: BTreeMap<Digest, (u64, u64, EntryId)>,
    announced: BTreeSet<Digest>,
    residency: Option<String>,
    /// Entries dated more than a minute before an earlier one.
    set_back: u64,
    first_at: Option<Timestamp>,
    last_at: Option<Timestamp>,
}

impl Order {
    /// Takes the groups in the order of the log.
    pub(crate) fn take(&mut self, group: &Group, findings: &mut Findings) {
        for (at, (entry, owner)) in group.entries.iter().zip(&group.owners).enumerate() {
            if let Some(entry) = entry {
                self.take_entry(group.first + at as u64, entry, *owner, findings);
            }
        }
        self.announced.extend(&group.announced);
        if let Some(residency) = &group.residency {
            self.residency = Some(residency.clone());
        }
    }

    fn take_entry(&mut self, index: u64, entry: &Entry, owner: Option<Owner>, findings: &mut Findings) {
        let (id, draft) = (entry.id, &entry.draft);
        let (last, latest) = self.outboxes.entry(id.shard).or_default();
        if last.checked_add(1) != Some(id.number) {
            findings.entry(index, Some(id), Fault::NumberGap, &format!("{} → {}", *last, id.number));
        }
        let back = draft.at.0 < latest.0 - BACK_MS_MAX;
        if back {
            findings.entry(index, Some(id), Fault::TimeBack, &format!("{latest} → {}", draft.at));
        }
        self.set_back += u64::from(draft.at.0 < latest.0 - BACK_MS_SAID);
        // one wrong time is one finding, not one for each entry after it
        (*last, *latest) = (id.number, if back { draft.at } else { draft.at.max(*latest) });
        self.first_at = Some(self.first_at.map_or(draft.at, |first| first.min(draft.at)));
        self.last_at = Some(self.last_at.map_or(draft.at, |last| last.max(draft.at)));
        self.codes.entry(draft.code).or_insert((0, index, id)).0 += 1;
        match (draft.phase, draft.opens) {
            (Phase::Open, _) => {
                self.opened.insert(id, (owner, false));
            }
            (_, Some(opens)) => self.close(index, id, opens, owner, findings),
            _ => {}
        }
    }

    /// An act is closed once, after it was opened, by an entry of the same owner: one that is another's would hide how
    /// the act ended.
    fn close(&mut self, index: u64, id: EntryId, opens: EntryId, owner: Option<Owner>, findings: &mut Findings) {
        let Some((opener, closed)) = self.opened.get_mut(&opens) else {
            findings.entry(index, Some(id), Fault::NeverOpened, &opens.to_string());
            return;
        };
        if *closed {
            findings.entry(index, Some(id), Fault::ClosedTwice, &opens.to_string());
        }
        if *opener != owner {
            findings.entry(index, Some(id), Fault::ClosedByAnother, &opens.to_string());
        }
        *closed = true;
    }

    pub(crate) fn end(self, header: &Header, findings: &mut Findings, summary: &mut Summary) {
        for (code, (_, index, id)) in &self.codes {
            if !self.announced.contains(code) {
                findings.entry(*index, Some(*id), Fault::CodeUnannounced, &code.to_string());
            }
        }
        let stated = if header.residency.is_empty() { "any".to_owned() } else { header.residency.join(",") };
        if self.residency.as_ref().is_some_and(|recorded| *recorded != stated) {
            findings.part("manifest", Fault::ResidencyDiffers, &stated);
        }
        let mut unfinished: Vec<EntryId> = self.opened.iter().filter(|(_, (_, closed))| !closed).map(|(id, _)| *id).collect();
        unfinished.sort();
        summary.unfinished_count = unfinished.len() as u64;
        summary.unfinished = unfinished.iter().take(LISTED_MAX).map(EntryId::to_string).collect();
        summary.codes = self.codes.iter().map(|(code, (entries, ..))| CodeUse { sha256: *code, entries: *entries }).collect();
        summary.outboxes = self.outboxes.iter().map(|(shard, (last, _))| (shard.0, *last)).collect();
        (summary.first_at, summary.last_at) = (self.first_at, self.last_at);
        summary.set_back_count = self.set_back;
    }
}
