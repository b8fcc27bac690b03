//! A group of up to 65,536 entries: each against its leaf hash, each opening against its entry, every site against the
//! signed places.

use crate::report::{Counts, Fault, Findings, who};
use base::{EntryId, Place, SiteName};
use crypto::HmacKey;
use record::bundle::{OpeningRow, PartName, parse_openings};
use record::{Digest, Draft, Ended, Entry, Event, Owner, Phase, Tag, catalogue, commitment, tiles};
use std::collections::{BTreeMap, BTreeSet};

/// Rows of the summary that one group may bring: a flood of names must not fill the memory of the reader.
const ACTS_MAX: usize = 4_096;

/// What is known before the entries are read.
pub(crate) struct Known<'a> {
    /// Signed places.
    pub(crate) places: BTreeMap<SiteName, Place>,
    /// The tag key of the tenant or operator whose bundle it is.
    pub(crate) reader: Option<(HmacKey, Owner)>,
    /// The published tag key of the region's own entries.
    pub(crate) region: HmacKey,
    /// Countries; empty for no rule.
    pub(crate) residency: &'a [String],
}

impl Known<'_> {
    /// A site may hold the tenant's bytes when its place is signed and in an allowed country.
    pub(crate) fn allows(&self, site: &SiteName) -> Result<(), Fault> {
        let place = self.places.get(site).ok_or(Fault::PlaceUnknown)?;
        if !self.residency.is_empty() && !self.residency.contains(&place.country) {
            return Err(Fault::PlaceForbidden);
        }
        Ok(())
    }

    /// Whose entry it is, by its tag. `None`: another owner's.
    fn owner(&self, draft: &Draft) -> Option<Owner> {
        if let Some((key, owner)) = &self.reader
            && tag(key, &draft.commitment) == draft.tag
        {
            return Some(*owner);
        }
        (tag(&self.region, &draft.commitment) == draft.tag).then_some(Owner::Region)
    }
}

fn tag(key: &HmacKey, commitment: &Digest) -> Tag {
    Tag::from_mac(key.sign(&commitment.0))
}

/// What a group has to say to the steps after it.
pub(crate) struct Group {
    /// Index of the first entry.
    pub(crate) first: u64,
    /// Root over the leaf hashes of the entries themselves.
    pub(crate) root: Digest,
    /// `None` where an entry cannot be read.
    pub(crate) entries: Vec<Option<Entry>>,
    /// Whose each entry is, by its tag; `None`: another owner's.
    pub(crate) owners: Vec<Option<Owner>>,
    pub(crate) findings: Findings,
    pub(crate) acts: BTreeMap<(String, String), Counts>,
    pub(crate) acts_left_out: u64,
    pub(crate) of_owner: u64,
    pub(crate) of_region: u64,
    /// Code digests that "Process started" events announce.
    pub(crate) announced: BTreeSet<Digest>,
    /// What the tenant's events last said about residency.
    pub(crate) residency: Option<String>,
}

/// `count` is how many entries there should be.
pub(crate) fn check(
    first: u64,
    count: usize,
    entries: &[u8],
    leaves: &[u8],
    openings: &[u8],
    known: &Known<'_>,
    findings: Findings,
) -> Group {
    let mut group = Group {
        first,
        root: Digest::default(),
        entries: Vec::with_capacity(count),
        owners: Vec::with_capacity(count),
        findings,
        acts: BTreeMap::new(),
        acts_left_out: 0,
        of_owner: 0,
        of_region: 0,
        announced: BTreeSet::new(),
        residency: None,
    };
    group.read_entries(count, entries, leaves);
    let rows = parse_openings(openings).unwrap_or_else(|_| {
        group.findings.part(PartName::Openings(first), Fault::Malformed, "");
        Vec::new()
    });
    group.check_openings(&rows, known);
    group
}

impl Group {
    fn read_entries(&mut self, count: usize, bytes: &[u8], leaves: &[u8]) {
        let mut hashes = Vec::with_capacity(count);
        let stated = leaves.chunks(32);
        for (split, leaf) in tiles::split_entries(bytes).zip(stated.map(Some).chain(std::iter::repeat(None))) {
            let index = self.first + hashes.len() as u64;
            let Ok(bytes) = split else { break };
            let entry = Entry::decode(bytes).ok();
            let id = entry.map(|entry| entry.id);
            let hash = Digest::leaf(bytes);
            if leaf != Some(&hash.0[..]) {
                self.findings.entry(index, id, Fault::LeafDiffers, "");
            }
            if entry.is_none() {
                self.findings.entry(index, None, Fault::Malformed, "");
            }
            hashes.push(hash);
            self.entries.push(entry);
        }
        if hashes.len() != count || leaves.len() != count * 32 {
            // the first entry that is not where it should be
            self.findings.entry(
                self.first + hashes.len().min(count) as u64,
                None,
                Fault::EntryCount,
                &format!("{} / {count}", hashes.len()),
            );
        }
        self.root = tiles::root(&hashes);
    }

    /// Openings and entries, side by side: both rise by index.
    fn check_openings(&mut self, rows: &[OpeningRow<'_>], known: &Known<'_>) {
        let mut rows = rows.iter().peekable();
        for at in 0..self.entries.len() {
            let index = self.first + at as u64;
            while let Some(stray) = rows.next_if(|row| row.index < index) {
                self.findings.part(PartName::Openings(self.first), Fault::OpeningStray, &stray.index.to_string());
            }
            let opening = rows.next_if(|row| row.index == index);
            let owner = self.entries[at].and_then(|entry| known.owner(&entry.draft));
            self.owners.push(owner);
            let Some(entry) = self.entries[at] else { continue };
            match owner {
                Some(Owner::Tenant(_) | Owner::Operator) => self.of_owner += 1,
                Some(Owner::Region) => self.of_region += 1,
                None => {}
            }
            match opening {
                Some(opening) => self.check_opening(index, &entry, owner, opening, known),
                None if owner.is_some() => self.findings.entry(index, Some(entry.id), Fault::OpeningMissing, ""),
                None => {}
            }
        }
        for stray in rows {
            self.findings.part(PartName::Openings(self.first), Fault::OpeningStray, &stray.index.to_string());
        }
    }

    fn check_opening(&mut self, index: u64, entry: &Entry, owner: Option<Owner>, opening: &OpeningRow<'_>, known: &Known<'_>) {
        let id = Some(entry.id);
        if commitment(&opening.salt, opening.event) != entry.draft.commitment {
            self.findings.entry(index, id, Fault::CommitmentDiffers, "");
            return;
        }
        let Ok(event) = Event::decode(opening.event) else {
            self.findings.entry(index, id, Fault::EventMalformed, "");
            return;
        };
        if owner != Some(event.owner) {
            self.findings.entry(index, id, Fault::OwnerDiffers, "");
        }
        if (event.outcome.ended == Ended::Begun) != (entry.draft.phase == Phase::Open) {
            self.findings.entry(index, id, Fault::PhaseDiffers, "");
        }
        for placed in &event.places {
            if let Err(fault) = known.allows(&placed.site) {
                self.findings.entry(index, id, fault, placed.site.as_str());
            }
        }
        self.note_facts(index, entry.id, &entry.draft, &event);
        self.count_acts(&event);
    }

    fn note_facts(&mut self, index: u64, id: EntryId, draft: &Draft, event: &Event) {
        if event.verb == catalogue::PROCESS_STARTED.name && event.owner == Owner::Region {
            let stated = event.fact("code.sha256").and_then(Digest::parse_hex);
            if stated != Some(draft.code) {
                self.findings.entry(index, id.into(), Fault::CodeDiffers, "");
            }
            self.announced.insert(draft.code);
        }
        let says_residency = event.verb == catalogue::TENANT_CREATED.name || event.verb == catalogue::RESIDENCY_SET.name;
        if says_residency && matches!(event.owner, Owner::Tenant(_)) && event.outcome.ended == Ended::Done {
            self.residency = event.fact("residency").map(str::to_owned);
        }
    }

    fn count_acts(&mut self, event: &Event) {
        if event.lines.is_empty() {
            self.count(&event.verb, who(&event.who, event.owner), event.outcome.ended, 1);
        }
        for line in &event.lines {
            // `Event::decode` has checked that the caller is listed
            let caller = event.caller(line.who).unwrap_or(&event.who);
            self.count(&line.verb, who(caller, event.owner), line.outcome.ended, line.count);
        }
    }

    fn count(&mut self, verb: &str, who: String, ended: Ended, count: u64) {
        let key = (verb.to_owned(), who);
        if self.acts.len() >= ACTS_MAX && !self.acts.contains_key(&key) {
            self.acts_left_out = self.acts_left_out.saturating_add(count);
            return;
        }
        self.acts.entry(key).or_default().add(ended, count);
    }
}
