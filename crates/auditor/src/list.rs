//! The opened entries of a bundle, one by one, for a reader who wants more than the summary.

use base::{Error, Result, Timestamp};
use record::bundle::{Frame, Manifest, PartName, parse_openings};
use record::{Digest, Entry, Event, Phase, SignedNote, Weight, tiles};
use serde::Serialize;
use std::collections::HashMap;

/// One entry that the bundle opens.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Listed {
    /// Position in the log.
    pub index: u64,
    /// `shard-number`.
    pub entry: String,
    pub at: Timestamp,
    pub weight: Weight,
    pub phase: Phase,
    /// The entry that this one closes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub opens: Option<String>,
    pub code: Digest,
    pub event: Event,
}

/// Every opened entry, in the order of the log. Checks nothing: ask [`crate::verify`] first. Error `InvalidBundle` for
/// bytes that it would call unreadable or malformed.
pub fn list(bundle: &[u8]) -> Result<Vec<Listed>> {
    let frame = Frame::parse(bundle).map_err(|e| invalid(e.why))?;
    let note = SignedNote::parse(frame.manifest).map_err(|_| invalid("its manifest is malformed"))?;
    let manifest = Manifest::parse(note.text()).map_err(|_| invalid("its manifest is malformed"))?;
    let parts: HashMap<&PartName, &[u8]> = manifest.parts.iter().map(|info| &info.name).zip(frame.parts.iter().copied()).collect();
    let mut listed = Vec::new();
    for (name, bytes) in manifest.parts.iter().map(|info| &info.name).zip(&frame.parts) {
        let PartName::Openings(first) = name else { continue };
        let entries = parts.get(&PartName::Entries(*first)).copied().unwrap_or_default();
        let entries = tiles::split_entries(entries).collect::<Result<Vec<_>>>().map_err(|_| invalid("its entries are cut off"))?;
        for row in parse_openings(bytes).map_err(|_| invalid("its openings are malformed"))? {
            let at = row.index.checked_sub(*first).and_then(|at| usize::try_from(at).ok());
            let bytes = at.and_then(|at| entries.get(at)).ok_or_else(|| invalid("it opens an entry that is not there"))?;
            let entry = Entry::decode(bytes).map_err(|_| invalid("an entry is malformed"))?;
            let event = Event::decode(row.event).map_err(|_| invalid("an event is malformed"))?;
            listed.push(Listed::new(row.index, &entry, event));
        }
    }
    Ok(listed)
}

impl Listed {
    fn new(index: u64, entry: &Entry, event: Event) -> Listed {
        let draft = &entry.draft;
        Listed {
            index,
            entry: entry.id.to_string(),
            at: draft.at,
            weight: draft.weight,
            phase: draft.phase,
            opens: draft.opens.map(|id| id.to_string()),
            code: draft.code,
            event,
        }
    }
}

fn invalid(why: &str) -> Error {
    Error::invalid("InvalidBundle", format!("The bundle cannot be listed: {why}."))
}
