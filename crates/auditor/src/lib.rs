//! Checks an exported record without trusting whoever exported it. Small on purpose: read it in an hour.
//!
//! [`verify`] takes the bytes of a bundle (`bleu record export`) and the keys that the customer got out of band
//! (`bleu record trust`), and computes everything again, in this order:
//!
//! 1. `verify` (here): the manifest is signed by the region's key; every part has the digest that it states.
//! 2. `verify`: the checkpoint is signed by the log and cosigned by enough witnesses; places are signed.
//! 3. [`group`]: each entry is the one of its leaf hash; each opening is the one of its entry; nothing of the tenant's or
//!    the region's is left closed; every site used has a signed place that the tenant allows.
//! 4. [`order`]: over all entries, every outbox is gap-free from 1, closing entries name an opening before them, once;
//!    time does not run back; every code digest was announced.
//! 5. The root over all leaf hashes is the checkpoint's.
//!
//! What is wrong becomes a [`Finding`] that names the entry or the part. What this cannot see: an act of a region whose
//! code writes no entry. That is what the list of code digests in the [`Summary`] is for: compare it with the
//! released ones.

mod group;
mod list;
mod order;
mod report;

pub use list::{Listed, list};

pub use report::{Act, CodeUse, Counts, Fault, Finding, Report, SitePlace, Summary, Verdict, WitnessSeen};

use base::{Place, SiteName};
use crypto::HmacKey;
use group::{Group, Known};
use record::bundle::{Frame, FrameError, GROUP, Header, Held, Manifest, PartInfo, PartName, parse_map};
use record::{Digest, REGION_TAG_KEY, Signed, SignedCheckpoint, SignedNote, TrustKeys, parse_place};
use report::Findings;
use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Checks a bundle. With `trust` the verdict can be [`Verdict::True`]; without, the keys inside the bundle are used and
/// the best verdict is [`Verdict::SelfConsistentOnly`]. Never panics; time and memory are linear in the bundle.
pub fn verify(bundle: &[u8], trust: Option<&TrustKeys>) -> Report {
    match Frame::parse(bundle) {
        Ok(frame) => audit(&frame, trust),
        Err(error) => unreadable(&error),
    }
}

/// [`verify`], for fuzzing: any bytes, with and without keys, must give a report and never the verdict "true".
pub mod fuzz {
    pub fn fuzz_bundle(bytes: &[u8]) {
        let report = crate::verify(bytes, None);
        assert!(report.verdict != crate::Verdict::True);
        assert!(!report.text("fr").is_empty() && !report.json().is_empty());
        let _ = crate::list(bytes);
    }
}

fn unreadable(error: &FrameError) -> Report {
    // the manifest may still tell the name of the part at which reading stopped
    let manifest =
        error.manifest.as_deref().and_then(|bytes| SignedNote::parse(bytes).ok()).and_then(|note| Manifest::parse(note.text()).ok());
    let part = error.part.and_then(|at| Some(manifest?.parts.get(at)?.name.to_string()));
    Report::unreadable(part, error.why)
}

fn audit(frame: &Frame<'_>, trust: Option<&TrustKeys>) -> Report {
    let mut findings = Findings::default();
    let note = SignedNote::parse(frame.manifest);
    let Some((note, manifest)) = note.ok().and_then(|note| Manifest::parse(note.text()).ok().map(|manifest| (note, manifest))) else {
        findings.part("manifest", Fault::Malformed, "");
        return Report::new(findings, Summary::default(), trust.is_some());
    };
    if frame.parts.len() != manifest.parts.len() {
        findings.part("manifest", Fault::PartCount, "");
        return Report::new(findings, Summary::default(), trust.is_some());
    }
    let bundle = Bundle { parts: manifest.parts.iter().zip(frame.parts.iter().copied()).collect(), header: &manifest.header };
    let claimed = bundle.keys(&mut findings);
    let Some(keys) = trust.or(claimed.as_ref()) else {
        return Report::new(findings, Summary::default(), false);
    };
    if !matches!(note.signed_by(&keys.region), Signed::Good { .. }) {
        findings.part("manifest", Fault::NotSigned, keys.region.name());
    }
    let mut summary = Summary::of(&manifest.header);
    let root = bundle.checkpoint(keys, &mut findings, &mut summary);
    let known = Known {
        places: bundle.places(keys, &mut findings),
        reader: bundle.tag_key(keys, &mut findings).map(|key| (key, manifest.header.owner)),
        region: HmacKey::new(&REGION_TAG_KEY),
        residency: &manifest.header.residency,
    };
    bundle.map(&known, &mut findings, &mut summary);

    let mut leaves = Vec::new();
    let mut order = order::Order::default();
    for mut group in bundle.groups(&known) {
        leaves.push(group.root);
        // first what is wrong in an entry, then what follows from it
        findings.append(std::mem::take(&mut group.findings));
        order.take(&group, &mut findings);
        summary.take(&group);
    }
    order.end(&manifest.header, &mut findings, &mut summary);
    if root.is_some_and(|root| root != record::tiles::root(&leaves)) {
        findings.part("checkpoint", Fault::RootDiffers, "");
    }
    Report::new(findings, summary, trust.is_some())
}

/// The parts of a bundle with what the manifest says of each.
struct Bundle<'a> {
    header: &'a Header,
    parts: Vec<(&'a PartInfo, &'a [u8])>,
}

impl<'a> Bundle<'a> {
    /// The bytes of a part, checked against the manifest.
    fn part(&self, name: &PartName, findings: &mut Findings) -> Option<&'a [u8]> {
        let (info, bytes) = self.parts.iter().find(|(info, _)| info.name == *name)?;
        if info.bytes != bytes.len() as u64 || info.sha256 != Digest::of(bytes) {
            findings.part(name, Fault::PartAltered, "");
        }
        Some(bytes)
    }

    /// The region's own keys, as it claims them.
    fn keys(&self, findings: &mut Findings) -> Option<TrustKeys> {
        let bytes = self.part(&PartName::Keys, findings)?;
        let keys = std::str::from_utf8(bytes).ok().and_then(|text| TrustKeys::parse(text).ok());
        if keys.is_none() {
            findings.part(PartName::Keys, Fault::Malformed, "");
        }
        keys
    }

    /// Who signed the checkpoint; gives the root that the entries must have.
    fn checkpoint(&self, keys: &TrustKeys, findings: &mut Findings, summary: &mut Summary) -> Option<Digest> {
        let bytes = self.part(&PartName::Checkpoint, findings)?;
        let Ok(signed) = SignedCheckpoint::parse(bytes) else {
            findings.part(PartName::Checkpoint, Fault::Malformed, "");
            return None;
        };
        if !signed.is_signed_by(&keys.log) {
            findings.part(PartName::Checkpoint, Fault::NotSigned, keys.log.name());
        }
        if signed.checkpoint.size != self.header.size || signed.checkpoint.origin != self.header.origin {
            findings.part(
                PartName::Checkpoint,
                Fault::CheckpointDiffers,
                &format!("{} {}", signed.checkpoint.origin, signed.checkpoint.size),
            );
        }
        let mut good = 0;
        for witness in &keys.witnesses {
            match signed.note.signed_by(witness) {
                Signed::Good { at_seconds } => {
                    good += 1;
                    summary.witnesses.push(WitnessSeen { name: witness.name().to_owned(), at: report::time(at_seconds) });
                }
                Signed::Wrong => findings.part(PartName::Checkpoint, Fault::CosignatureWrong, witness.name()),
                Signed::Missing => {}
            }
        }
        if good < keys.threshold {
            findings.part(PartName::Checkpoint, Fault::TooFewWitnesses, &format!("{good} / {}", keys.threshold));
        }
        summary.root = Some(signed.checkpoint.root);
        Some(signed.checkpoint.root)
    }

    /// The places that the region's key signed for this region.
    fn places(&self, keys: &TrustKeys, findings: &mut Findings) -> BTreeMap<SiteName, Place> {
        let mut places = BTreeMap::new();
        for (info, _) in &self.parts {
            let PartName::Place(site) = &info.name else { continue };
            let Some(bytes) = self.part(&info.name, findings) else { continue };
            let note = SignedNote::parse(bytes).ok();
            let Some((note, (region, place))) = note.and_then(|note| parse_place(note.text()).ok().map(|place| (note, place))) else {
                findings.part(&info.name, Fault::Malformed, "");
                continue;
            };
            if !matches!(note.signed_by(&keys.region), Signed::Good { .. }) {
                findings.part(&info.name, Fault::NotSigned, keys.region.name());
            } else if region != self.header.region || place.site != *site {
                findings.part(&info.name, Fault::PlaceOfAnother, &format!("{region} {}", place.site));
            } else {
                places.insert(site.clone(), place);
            }
        }
        places
    }

    /// The key that tells the owner's entries; the owner's trust file says which it is.
    fn tag_key(&self, keys: &TrustKeys, findings: &mut Findings) -> Option<HmacKey> {
        if let Some((owner, _)) = keys.owner
            && self.header.owner != owner
        {
            findings.part("manifest", Fault::TenantDiffers, &owner.to_string());
        }
        let bytes = self.part(&PartName::TagKey, findings)?;
        if bytes.len() != 32 {
            findings.part(PartName::TagKey, Fault::Malformed, "");
            return None;
        }
        if keys.owner.is_some_and(|(_, pinned)| pinned != Digest::of(bytes)) {
            findings.part(PartName::TagKey, Fault::TagKeyDiffers, "");
        }
        Some(HmacKey::new(bytes))
    }

    /// Where the tenant's bytes are now: only at places that are signed and allowed.
    fn map(&self, known: &Known<'_>, findings: &mut Findings, summary: &mut Summary) {
        let Some(bytes) = self.part(&PartName::Map, findings) else { return };
        let rows: Vec<Held> = parse_map(bytes).unwrap_or_else(|_| {
            findings.part(PartName::Map, Fault::Malformed, "");
            Vec::new()
        });
        summary.places = known.places.values().map(|place| SitePlace::new(place, known.allows(&place.site).is_ok())).collect();
        for row in rows {
            if let Err(fault) = known.allows(&row.site) {
                findings.part(PartName::Map, fault, &format!("{} @ {}", row.resource, row.site));
            }
            if let Some(site) = summary.places.iter_mut().find(|site| site.site == row.site) {
                site.chunks = site.chunks.saturating_add(row.chunks);
                site.bytes = site.bytes.saturating_add(row.bytes);
            }
        }
    }

    /// Every group of entries, checked on all cores; in the order of the log.
    fn groups(&self, known: &Known<'_>) -> Vec<Group> {
        let count = self.header.size.div_ceil(GROUP) as usize;
        let next = AtomicUsize::new(0);
        let done = Mutex::new(BTreeMap::new());
        let threads = std::thread::available_parallelism().map_or(1, |n| n.get()).min(count);
        std::thread::scope(|scope| {
            for _ in 0..threads {
                scope.spawn(|| {
                    loop {
                        let number = next.fetch_add(1, Ordering::Relaxed);
                        if number >= count {
                            return;
                        }
                        let group = self.group(number as u64 * GROUP, known);
                        done.lock().unwrap_or_else(|e| e.into_inner()).insert(number, group);
                    }
                });
            }
        });
        done.into_inner().unwrap_or_else(|e| e.into_inner()).into_values().collect()
    }

    fn group(&self, first: u64, known: &Known<'_>) -> Group {
        let mut findings = Findings::default();
        let mut part = |name| self.part(&name, &mut findings).unwrap_or_default();
        let (entries, leaves, openings) = (part(PartName::Entries(first)), part(PartName::Leaves(first)), part(PartName::Openings(first)));
        let count = GROUP.min(self.header.size - first) as usize;
        group::check(first, count, entries, leaves, openings, known, findings)
    }
}
