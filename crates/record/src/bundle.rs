//! The file of `bleu record export`: everything that a customer needs to check its record offline, in one file of
//! which every byte is bound.
//!
//! The file is one deterministic CBOR array: the words `bleu bundle v1`, the manifest, and the parts. The manifest is a
//! note signed by the region's key; it names each part with its length and SHA-256. Parts, in this order:
//!
//! | name | content |
//! |---|---|
//! | `checkpoint` | the signed, cosigned checkpoint of the log |
//! | `keys` | the region's own trust file: good for a self-consistency check, never for trust |
//! | `tag-key` | 32 bytes, when the bundle is a tenant's or the operator's: tells which entries are its own |
//! | `place/{site}` | the signed place of each site, by name |
//! | `map` | where the owner's bytes are now: [`Held`] rows |
//! | `entries/{n}` | entries n to n + 65,535, as C2SP entry bundles put end to end |
//! | `leaves/{n}` | their leaf hashes, as level-0 tiles put end to end: so that an altered entry is told by its own hash |
//! | `openings/{n}` | the openings of those that are the owner's or the region's: [`OpeningRow`] rows |
//!
//! [`Frame::parse`] and [`Manifest::parse`] read the outer form only; whether it is true is for the `auditor` to say.

use crate::lines::{Lines, fits};
use crate::note::{NoteSigner, SignedNote};
use crate::place::{is_country, parse_place};
use crate::tiles::{SIZE_MAX, push_entry};
use crate::{Digest, Opening, Owner, SignedCheckpoint, TrustKeys, cbor};
use base::{Error, Location, ResourceId, Result, SiteName, Timestamp};
use minicbor::{Decode, Decoder, Encode, Encoder};
use serde::Serialize;
use std::fmt;

/// Entries in a group: one `entries`, one `leaves` and one `openings` part.
pub const GROUP: u64 = 65_536;
/// The first bytes of the file say what it is.
pub const MAGIC: &str = "bleu bundle v1";
const PARTS_MAX: u64 = 30_000;
const MANIFEST_BYTES_MAX: usize = 1_000_000;

/// The name of a part.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum PartName {
    Checkpoint,
    Keys,
    TagKey,
    Place(SiteName),
    Map,
    /// The number is the index of the first entry, a multiple of [`GROUP`].
    Entries(u64),
    Leaves(u64),
    Openings(u64),
}

impl PartName {
    /// The inverse of the printed form; `None` for anything else.
    pub fn parse(text: &str) -> Option<PartName> {
        let name = match text.split_once('/') {
            None => match text {
                "checkpoint" => PartName::Checkpoint,
                "keys" => PartName::Keys,
                "tag-key" => PartName::TagKey,
                "map" => PartName::Map,
                _ => return None,
            },
            Some(("place", site)) => PartName::Place(SiteName::new(site).ok()?),
            Some(("entries", first)) => PartName::Entries(first.parse().ok()?),
            Some(("leaves", first)) => PartName::Leaves(first.parse().ok()?),
            Some(("openings", first)) => PartName::Openings(first.parse().ok()?),
            Some(_) => return None,
        };
        (name.to_string() == text).then_some(name)
    }
}

impl fmt::Display for PartName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            PartName::Checkpoint => f.write_str("checkpoint"),
            PartName::Keys => f.write_str("keys"),
            PartName::TagKey => f.write_str("tag-key"),
            PartName::Place(site) => write!(f, "place/{site}"),
            PartName::Map => f.write_str("map"),
            PartName::Entries(first) => write!(f, "entries/{first}"),
            PartName::Leaves(first) => write!(f, "leaves/{first}"),
            PartName::Openings(first) => write!(f, "openings/{first}"),
        }
    }
}

/// What the manifest says of the whole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Header {
    pub region: Location,
    /// Origin of the log.
    pub origin: String,
    /// Whose openings are inside, beside the region's.
    pub owner: Owner,
    /// The countries (ISO 3166-1 alpha-2, sorted) in which the owner's bytes may be; empty: anywhere that is signed.
    pub residency: Vec<String>,
    /// Entries 0 to `size` of the log.
    pub size: u64,
    pub created: Timestamp,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PartInfo {
    pub name: PartName,
    pub bytes: u64,
    pub sha256: Digest,
}

/// The list of everything in the bundle. It is the text of a note that the region's key signs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Manifest {
    pub header: Header,
    pub parts: Vec<PartInfo>,
}

impl Manifest {
    /// The text that is signed. Error `InvalidManifest`.
    pub fn text(&self) -> Result<String> {
        self.check()?;
        let Header { region, origin, owner, residency, size, created } = &self.header;
        let residency = if residency.is_empty() { "any".into() } else { residency.join(",") };
        let mut text =
            format!("{MAGIC}\nregion {region}\norigin {origin}\nowner {owner}\nresidency {residency}\nsize {size}\ncreated {created}\n");
        for part in &self.parts {
            text.push_str(&format!("part {} {} {}\n", part.name, part.bytes, part.sha256.base64()));
        }
        Ok(text)
    }

    /// Strict inverse of [`Manifest::text`]; error `InvalidManifest`.
    pub fn parse(text: &str) -> Result<Manifest> {
        let manifest = read_manifest(text).ok_or_else(|| invalid("a line is missing or malformed"))?;
        if manifest.text()? != text {
            return Err(invalid("it is not in canonical form"));
        }
        Ok(manifest)
    }

    /// Exactly the parts that the header calls for, in order; values that fit their lines.
    fn check(&self) -> Result<()> {
        let Header { origin, owner, residency, size, .. } = &self.header;
        if !fits(origin) || *size > SIZE_MAX {
            return Err(invalid("the origin or the size is out of bounds"));
        }
        if !residency.iter().all(|country| is_country(country)) || !residency.is_sorted_by(|a, b| a < b) {
            return Err(invalid("the residency is not a sorted list of countries"));
        }
        let mut names = self.parts.iter().map(|part| &part.name).peekable();
        let mut wanted = vec![PartName::Checkpoint, PartName::Keys];
        if *owner != Owner::Region {
            wanted.push(PartName::TagKey);
        }
        let mut in_order = wanted.iter().all(|name| names.next() == Some(name));
        let mut last: Option<&SiteName> = None;
        while let Some(PartName::Place(site)) = names.peek() {
            in_order &= last.is_none_or(|last| last < site);
            last = Some(site);
            names.next();
        }
        in_order &= names.next() == Some(&PartName::Map);
        let mut first = 0;
        while first < *size && in_order {
            in_order = [PartName::Entries(first), PartName::Leaves(first), PartName::Openings(first)]
                .iter()
                .all(|name| names.next() == Some(name));
            first += GROUP;
        }
        if !in_order || names.next().is_some() {
            return Err(invalid("its parts are not those that it should have, in order"));
        }
        Ok(())
    }
}

fn read_manifest(text: &str) -> Option<Manifest> {
    let mut lines = Lines::new(text, MAGIC)?;
    let region = Location::new(lines.next("region")?).ok()?;
    let origin = lines.next("origin")?.to_owned();
    let owner = Owner::parse(lines.next("owner")?)?;
    let residency = match lines.next("residency")? {
        "any" => Vec::new(),
        list => list.split(',').map(str::to_owned).collect(),
    };
    let size = lines.next("size")?.parse().ok()?;
    let created = Timestamp::parse_rfc3339(lines.next("created")?)?;
    let mut parts = Vec::new();
    while let Some(part) = lines.next("part") {
        let mut words = part.split(' ');
        let name = PartName::parse(words.next()?)?;
        let bytes = words.next()?.parse().ok()?;
        let sha256 = Digest::parse_base64(words.next()?)?;
        parts.push(PartInfo { name, bytes, sha256 });
    }
    lines.end().then_some(Manifest { header: Header { region, origin, owner, residency, size, created }, parts })
}

/// Where some of the tenant's bytes are at the time of the export.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode, Serialize)]
#[cbor(array)]
pub struct Held {
    #[n(0)]
    #[cbor(with = "cbor::resource")]
    pub resource: ResourceId,
    #[n(1)]
    #[cbor(with = "cbor::site")]
    pub site: SiteName,
    #[n(2)]
    pub chunks: u64,
    #[n(3)]
    pub bytes: u64,
}

/// Strict; error `InvalidMap`.
pub fn parse_map(bytes: &[u8]) -> Result<Vec<Held>> {
    cbor::decode_strict(bytes).map_err(|why| Error::invalid("InvalidMap", format!("Not a map of held bytes: {why}.")))
}

/// The opening of one entry, as it lies in an `openings` part.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(array)]
pub struct OpeningRow<'a> {
    /// Index of the entry in the log.
    #[n(0)]
    pub index: u64,
    #[n(1)]
    #[cbor(with = "minicbor::bytes")]
    pub salt: [u8; 32],
    /// [`crate::Event::encode`].
    #[b(2)]
    #[cbor(with = "minicbor::bytes")]
    pub event: &'a [u8],
}

/// Strict: canonical bytes, indexes rising. Error `InvalidOpenings`.
pub fn parse_openings(bytes: &[u8]) -> Result<Vec<OpeningRow<'_>>> {
    let wrong = |why: String| Error::invalid("InvalidOpenings", format!("Not a list of openings: {why}."));
    let rows: Vec<OpeningRow<'_>> = cbor::decode_strict(bytes).map_err(wrong)?;
    if !rows.is_sorted_by(|a, b| a.index < b.index) {
        return Err(wrong("the indexes do not rise".into()));
    }
    Ok(rows)
}

/// Everything that goes into a bundle, before it is laid out.
#[derive(Clone, Debug)]
pub struct Contents {
    pub header: Header,
    /// Of exactly `header.size` entries.
    pub checkpoint: SignedCheckpoint,
    pub keys: TrustKeys,
    /// With a tenant: its tag key.
    pub tag_key: Option<[u8; 32]>,
    /// [`crate::sign_place`] of each site, in any order.
    pub places: Vec<SignedNote>,
    pub map: Vec<Held>,
    /// [`crate::Entry::encode`] of entries 0 to `header.size`.
    pub entries: Vec<Vec<u8>>,
    /// Index and opening, by rising index.
    pub openings: Vec<(u64, Opening)>,
}

impl Contents {
    /// Lays the parts out in order. Errors: `InvalidPlace`, `InvalidTrustFile`, `EntryTooLarge`.
    pub fn parts(&self) -> Result<Vec<(PartName, Vec<u8>)>> {
        let mut parts = vec![(PartName::Checkpoint, self.checkpoint.to_bytes()), (PartName::Keys, self.keys.text()?.into_bytes())];
        if let Some(tag_key) = self.tag_key {
            parts.push((PartName::TagKey, tag_key.to_vec()));
        }
        let mut places = Vec::new();
        for note in &self.places {
            places.push((PartName::Place(parse_place(note.text())?.1.site), note.to_bytes()));
        }
        places.sort();
        parts.extend(places);
        parts.push((PartName::Map, cbor::to_vec(&self.map)));
        let mut openings = self.openings.as_slice();
        for (number, group) in self.entries.chunks(GROUP as usize).enumerate() {
            let first = number as u64 * GROUP;
            let (mut entries, mut leaves) = (Vec::new(), Vec::new());
            for entry in group {
                push_entry(&mut entries, entry)?;
                leaves.extend(Digest::leaf(entry).0);
            }
            let here = openings.partition_point(|(index, _)| *index < first + GROUP);
            let rows: Vec<OpeningRow<'_>> = openings[..here]
                .iter()
                .map(|(index, opening)| OpeningRow { index: *index, salt: opening.salt, event: &opening.event })
                .collect();
            openings = &openings[here..];
            parts.extend([
                (PartName::Entries(first), entries),
                (PartName::Leaves(first), leaves),
                (PartName::Openings(first), cbor::to_vec(&rows)),
            ]);
        }
        Ok(parts)
    }

    /// The bundle, its manifest signed by the region's key. Errors as [`Contents::parts`] and [`seal`].
    pub fn seal(&self, region: &NoteSigner) -> Result<Vec<u8>> {
        seal(&self.header, &self.parts()?, region)
    }
}

/// Signs the manifest of laid-out parts and frames them. Errors: `InvalidManifest` when the parts are not those that the
/// header calls for; what signing says (more than about 7,000 parts do not fit a note).
pub fn seal(header: &Header, parts: &[(PartName, Vec<u8>)], region: &NoteSigner) -> Result<Vec<u8>> {
    let infos =
        parts.iter().map(|(name, bytes)| PartInfo { name: name.clone(), bytes: bytes.len() as u64, sha256: Digest::of(bytes) }).collect();
    let manifest = Manifest { header: header.clone(), parts: infos };
    let note = SignedNote::sign(&manifest.text()?, region)?;
    Ok(frame(&note.to_bytes(), parts.iter().map(|(_, bytes)| bytes.as_slice())))
}

/// The outer form of the file: see the module.
fn frame<'a>(manifest: &[u8], parts: impl ExactSizeIterator<Item = &'a [u8]> + Clone) -> Vec<u8> {
    let bytes: usize = parts.clone().map(|part| part.len() + 9).sum();
    let mut e = Encoder::new(Vec::with_capacity(bytes + manifest.len() + 64));
    let mut write = || {
        e.array(3)?.str(MAGIC)?.bytes(manifest)?.array(parts.len() as u64)?;
        parts.clone().try_for_each(|part| e.bytes(part).map(|_| ()))
    };
    // writing CBOR into memory cannot fail
    write().expect("memory takes bytes");
    e.into_writer()
}

/// The outer form of a bundle, borrowed from its bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame<'a> {
    /// The signed note of the manifest.
    pub manifest: &'a [u8],
    /// In the order of the manifest.
    pub parts: Vec<&'a [u8]>,
}

/// Why bytes are not a bundle.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FrameError {
    /// The manifest as far as it could be cut out, to tell the name of the part at fault.
    pub manifest: Option<Vec<u8>>,
    /// Position in the manifest of the part at fault.
    pub part: Option<usize>,
    pub why: &'static str,
}

impl<'a> Frame<'a> {
    /// Strict: lengths in their shortest form, nothing after the end.
    pub fn parse(bytes: &'a [u8]) -> Result<Frame<'a>, FrameError> {
        let fail = |why| FrameError { manifest: None, part: None, why };
        let mut start = Encoder::new(Vec::new());
        start.array(3).and_then(|e| e.str(MAGIC)).expect("memory takes bytes");
        let start = start.into_writer();
        if !bytes.starts_with(&start) {
            return Err(fail("it does not begin as a bundle does"));
        }
        let mut d = Decoder::new(bytes);
        d.set_position(start.len());
        let manifest = take_bytes(&mut d).ok_or_else(|| fail("its manifest is cut off"))?;
        if manifest.len() > MANIFEST_BYTES_MAX {
            return Err(fail("its manifest is too long"));
        }
        let fail = |part, why| FrameError { manifest: Some(manifest.to_vec()), part, why };
        let count = take_array(&mut d).ok_or_else(|| fail(None, "its list of parts is malformed"))?;
        if count > PARTS_MAX {
            return Err(fail(None, "it has too many parts"));
        }
        let mut parts = Vec::new();
        for i in 0..count as usize {
            parts.push(take_bytes(&mut d).ok_or_else(|| fail(Some(i), "the length of a part does not fit the file"))?);
        }
        if d.position() != bytes.len() {
            return Err(fail(None, "there are bytes after its end"));
        }
        Ok(Frame { manifest, parts })
    }
}

/// Bytes in CBOR's shortest form (RFC 8949 section 4.2.1), without copying.
fn take_bytes<'a>(d: &mut Decoder<'a>) -> Option<&'a [u8]> {
    let before = d.position();
    let bytes = d.bytes().ok()?;
    (d.position() == before + head_bytes(bytes.len() as u64) + bytes.len()).then_some(bytes)
}

fn take_array(d: &mut Decoder<'_>) -> Option<u64> {
    let before = d.position();
    let count = d.array().ok()??;
    (d.position() == before + head_bytes(count)).then_some(count)
}

/// Bytes of the shortest CBOR head with this argument (RFC 8949 section 3).
fn head_bytes(argument: u64) -> usize {
    match argument {
        0..=23 => 1,
        24..=0xff => 2,
        0x100..=0xffff => 3,
        0x1_0000..=0xffff_ffff => 5,
        _ => 9,
    }
}

fn invalid(why: &str) -> Error {
    Error::invalid("InvalidManifest", format!("Not a manifest of a bundle: {why}."))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::note::{KeyKind, tests::signer};
    use crate::{Checkpoint, sign_place, tiles};
    use base::Place;

    fn contents(size: u64) -> (Contents, NoteSigner) {
        let (log, region) = (signer("o", KeyKind::Note, 1), signer("o/region", KeyKind::Note, 2));
        let entries: Vec<Vec<u8>> = (0..size).map(|i| format!("entry {i}").into_bytes()).collect();
        let leaves: Vec<Digest> = entries.iter().map(|e| Digest::leaf(e)).collect();
        let checkpoint = Checkpoint { origin: "o".into(), size, root: tiles::root(&leaves) };
        let location = Location::new("francecentral").unwrap();
        let site = |name: &str| {
            let place = Place { site: SiteName::new(name).unwrap(), country: "FR".into(), nuts: "FR10".into(), address: "Paris".into() };
            sign_place(&location, &place, &region).unwrap()
        };
        let contents = Contents {
            header: Header {
                region: location.clone(),
                origin: "o".into(),
                owner: Owner::parse("6c5b3f1e-0f52-4f6b-9a55-3f1f6c3a1b11").unwrap(),
                residency: vec!["DE".into(), "FR".into()],
                size,
                created: Timestamp(1_700_000_000_000),
            },
            checkpoint: SignedCheckpoint::sign(checkpoint, &log).unwrap(),
            keys: TrustKeys { log: log.key().clone(), region: region.key().clone(), owner: None, witnesses: vec![], threshold: 0 },
            tag_key: Some([7; 32]),
            places: vec![site("paris-2"), site("paris-1")],
            map: vec![Held { resource: ResourceId::region(), site: SiteName::new("paris-1").unwrap(), chunks: 1, bytes: 2 }],
            entries,
            openings: (0..size).step_by(30_000).map(|i| (i, Opening { salt: [1; 32], event: vec![i as u8; 300] })).collect(),
        };
        (contents, region)
    }

    #[test]
    fn lays_out_and_reads_back() {
        let (contents, region) = contents(GROUP + 10_000);
        let bytes = contents.seal(&region).unwrap();
        let frame = Frame::parse(&bytes).unwrap();
        let note = SignedNote::parse(frame.manifest).unwrap();
        let manifest = Manifest::parse(note.text()).unwrap();
        assert_eq!(manifest.header, contents.header);
        assert!(matches!(note.signed_by(region.key()), crate::Signed::Good { .. }));
        let names: Vec<String> = manifest.parts.iter().map(|part| part.name.to_string()).collect();
        let wanted = ["checkpoint", "keys", "tag-key", "place/paris-1", "place/paris-2", "map", "entries/0", "leaves/0", "openings/0"];
        assert_eq!(names[..9], wanted);
        assert_eq!(names[9..], ["entries/65536", "leaves/65536", "openings/65536"]);
        for (info, part) in manifest.parts.iter().zip(&frame.parts) {
            assert_eq!((info.bytes, info.sha256), (part.len() as u64, Digest::of(part)), "{}", info.name);
        }
        assert_eq!(parse_map(frame.parts[5]).unwrap(), contents.map);
        let indexes = |part: &[u8]| parse_openings(part).unwrap().iter().map(|row| row.index).collect::<Vec<_>>();
        assert_eq!((indexes(frame.parts[8]), indexes(frame.parts[11])), (vec![0, 30_000, 60_000], vec![]));
        assert_eq!(tiles::split_entries(frame.parts[9]).count(), 10_000);
    }

    #[test]
    fn a_bundle_has_the_parts_of_its_header() {
        let (contents, region) = contents(3);
        let parts = contents.parts().unwrap();
        for drop in 0..parts.len() {
            let mut fewer = parts.clone();
            let (name, _) = fewer.remove(drop);
            let sealed = seal(&contents.header, &fewer, &region);
            // a region may have no site; all else must be there
            assert_eq!(sealed.is_ok(), matches!(name, PartName::Place(_)), "{name}");
        }
        let mut swapped = parts.clone();
        swapped.swap(0, 1);
        assert!(seal(&contents.header, &swapped, &region).is_err());
        let twice = [&parts[..4], &parts[3..]].concat();
        assert!(seal(&contents.header, &twice, &region).is_err());
        for header in [
            Header { size: GROUP + 1, ..contents.header.clone() },
            Header { size: 0, ..contents.header.clone() },
            Header { owner: Owner::Region, ..contents.header.clone() },
            Header { residency: vec!["FR".into(), "DE".into()], ..contents.header.clone() },
            Header { residency: vec!["fr".into()], ..contents.header.clone() },
            Header { origin: "a\nb".into(), ..contents.header.clone() },
        ] {
            assert_eq!(seal(&header, &parts, &region).unwrap_err().code, "InvalidManifest");
        }
    }

    #[test]
    fn frames_have_one_spelling() {
        let (contents, region) = contents(2);
        let bytes = contents.seal(&region).unwrap();
        for cut in 0..bytes.len() {
            assert!(Frame::parse(&bytes[..cut]).is_err(), "cut at {cut}");
        }
        let longer = Frame::parse(&[&bytes[..], b"x"].concat()).unwrap_err();
        assert!(longer.manifest.is_some() && longer.part.is_none());
        let cut = Frame::parse(&bytes[..bytes.len() - 1]).unwrap_err();
        assert_eq!(cut.part, Some(8));
    }

    #[test]
    fn rows_have_one_order_and_spelling() {
        let row = |index| OpeningRow { index, salt: [0; 32], event: b"e" };
        let good = cbor::to_vec(&vec![row(1), row(2)]);
        assert_eq!(parse_openings(&good).unwrap(), [row(1), row(2)]);
        for bad in [cbor::to_vec(&vec![row(2), row(1)]), cbor::to_vec(&vec![row(1), row(1)]), [&good[..], &[0]].concat()] {
            assert_eq!(parse_openings(&bad).unwrap_err().code, "InvalidOpenings");
        }
    }
}
