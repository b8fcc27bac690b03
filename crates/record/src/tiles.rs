//! The tree of the log, as tiles and entry bundles (C2SP tlog-tiles, height 8).
//!
//! The [`Appender`] holds the right edge of the tree: for each level the hashes of the tile that is not full yet. New
//! entries go in, files come out (`tile/0/001`, `tile/entries/001.p/7`), each written once under its name. Nothing here
//! reads or writes them: the caller stores what [`Appended::files`] lists, then signs the new root.
//! Proofs are made from stored tiles by [`prove_inclusion`] and [`prove_consistency`]; their arithmetic is `tlog_tiles`'.

use crate::{Digest, ENTRY_BYTES_MAX};
use base::{Error, Result};
use std::cell::RefCell;
use std::collections::BTreeSet;
use tlog_tiles::{Hash, HashReader, Tile};

/// Hashes in a full tile, entries in a full bundle.
pub const TILE_WIDTH: u64 = 256;
/// The largest size of a log that we accept, so that tree arithmetic cannot overflow.
pub const SIZE_MAX: u64 = i64::MAX as u64;
const HEIGHT: u8 = 8;
const HASH_BYTES: usize = 32;

/// One file of the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TilePath {
    /// `None`: an entry bundle.
    pub level: Option<u8>,
    pub index: u64,
    /// 1 to 256; less than 256 is a partial tile.
    pub width: u16,
}

impl TilePath {
    /// Strict inverse of the printed form; error `InvalidTilePath` (kind NotFound: these are paths of a web server).
    pub fn parse(path: &str) -> Result<TilePath> {
        let wrong = || Error::new(base::Kind::NotFound, "InvalidTilePath", "There is no such tile.");
        let rest = path.strip_prefix("tile/").ok_or_else(wrong)?;
        let (first, rest) = rest.split_once('/').ok_or_else(wrong)?;
        let level = match first {
            "entries" => None,
            digits => Some(digits.parse::<u8>().ok().filter(|level| *level < 64).ok_or_else(wrong)?),
        };
        // the library stops the process on a width of zero, however it is written
        if rest.rsplit_once(".p/").is_some_and(|(_, width)| !width.starts_with(|c: char| ('1'..='9').contains(&c))) {
            return Err(wrong());
        }
        let tile = Tile::from_path(&format!("tile/8/{}/{rest}", if level.is_none() { "data" } else { first })).map_err(|_| wrong())?;
        let parsed = TilePath { level, index: tile.level_index(), width: tile.width() as u16 };
        if parsed.to_string() != path {
            return Err(wrong());
        }
        Ok(parsed)
    }

    fn of(tile: Tile) -> TilePath {
        TilePath { level: Some(tile.level()), index: tile.level_index(), width: tile.width() as u16 }
    }
}

impl std::fmt::Display for TilePath {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let tile = Tile::new(HEIGHT, self.level.unwrap_or(0), self.index, u32::from(self.width.clamp(1, 256)), false);
        // "tile/8/0/x001/234": C2SP leaves the height out
        let path = tile.path();
        let place = path.splitn(4, '/').nth(3).unwrap_or_default();
        match self.level {
            Some(level) => write!(f, "tile/{level}/{place}"),
            None => write!(f, "tile/entries/{place}"),
        }
    }
}

/// Appends one entry to a bundle: a 16-bit big-endian length, then the bytes. Error `EntryTooLarge`.
pub fn push_entry(bundle: &mut Vec<u8>, entry: &[u8]) -> Result<()> {
    let length = u16::try_from(entry.len())
        .map_err(|_| Error::invalid("EntryTooLarge", format!("An entry has at most {ENTRY_BYTES_MAX} bytes.")))?;
    bundle.extend(length.to_be_bytes());
    bundle.extend(entry);
    Ok(())
}

/// The entries of a bundle, or of bundles put end to end. A cut-off end gives one `Err(InvalidEntryBundle)`, then none.
pub fn split_entries(bundle: &[u8]) -> impl Iterator<Item = Result<&[u8]>> {
    let mut rest = bundle;
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let cut = Err(Error::invalid("InvalidEntryBundle", "An entry bundle ends inside an entry."));
        let Some((length, after)) = rest.split_first_chunk::<2>() else {
            rest = &[];
            return Some(cut);
        };
        let length = usize::from(u16::from_be_bytes(*length));
        let Some((entry, after)) = after.split_at_checked(length) else {
            rest = &[];
            return Some(cut);
        };
        rest = after;
        Some(Ok(entry))
    })
}

/// The root of RFC 6962 section 2.1 over leaf hashes; also over the roots of equal, full, aligned groups of leaves of
/// which the last may be short.
pub fn root(hashes: &[Digest]) -> Digest {
    match hashes {
        [] => Digest::empty_tree(),
        [one] => *one,
        _ => {
            // the largest power of two below the length goes left
            let left = 1 << (hashes.len() - 1).ilog2();
            Digest::node(root(&hashes[..left]), root(&hashes[left..]))
        }
    }
}

/// The right edge of the log.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Appender {
    size: u64,
    /// The hashes of the tile that is not full, level by level; each shorter than 256.
    levels: Vec<Vec<Digest>>,
    /// The entry bundle that is not full.
    bundle: Vec<u8>,
}

/// What an append asks to be stored, then signed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Appended {
    pub size: u64,
    pub root: Digest,
    /// Path and content; full tiles first. A partial tile or bundle may be deleted once its full one is stored.
    pub files: Vec<(String, Vec<u8>)>,
}

impl Appender {
    /// The edge of an empty log.
    pub fn new() -> Appender {
        Appender::default()
    }

    /// The files that [`Appender::load`] will read for a log of `size` entries.
    pub fn edge_paths(size: u64) -> Vec<String> {
        let mut paths: Vec<String> = edge(size).map(|path| path.to_string()).collect();
        let width = (size % TILE_WIDTH) as u16;
        if width > 0 {
            paths.push(TilePath { level: None, index: size / TILE_WIDTH, width }.to_string());
        }
        paths
    }

    /// Takes up the edge of a log of `size` entries from its stored tiles. The caller compares [`Appender::root`] with
    /// the checkpoint. Errors `InvalidTile` (internal): a file is missing, of the wrong length, or not of this tree.
    pub fn load(size: u64, mut read: impl FnMut(&str) -> Result<Option<Vec<u8>>>) -> Result<Appender> {
        let mut levels: Vec<Vec<Digest>> = Vec::new();
        for path in edge(size) {
            let level = usize::from(path.level.unwrap_or(0));
            levels.resize_with(level + 1, Vec::new);
            levels[level] = read_tile(path, &mut read)?;
        }
        let mut bundle = Vec::new();
        let width = (size % TILE_WIDTH) as u16;
        if width > 0 {
            let path = TilePath { level: None, index: size / TILE_WIDTH, width };
            bundle = read(&path.to_string())?.ok_or_else(|| broken(&path, "missing"))?;
            let leaves = split_entries(&bundle).map(|entry| entry.map(Digest::leaf)).collect::<Result<Vec<_>>>()?;
            if leaves != levels[0] {
                return Err(broken(&path, "not of this tree"));
            }
        }
        Ok(Appender { size, levels, bundle })
    }

    pub fn size(&self) -> u64 {
        self.size
    }

    /// The root over all entries so far.
    pub fn root(&self) -> Digest {
        // each set bit of a level's width is a full subtree, smaller to the right: fold from the right
        let mut whole: Option<Digest> = None;
        for hashes in &self.levels {
            let mut end = hashes.len();
            while end > 0 {
                let width = 1 << end.trailing_zeros();
                let subtree = root(&hashes[end - width..end]);
                whole = Some(whole.map_or(subtree, |right| Digest::node(subtree, right)));
                end -= width;
            }
        }
        whole.unwrap_or_else(Digest::empty_tree)
    }

    /// Appends entries in order. Errors `EntryTooLarge`, `LogFull`; after an error nothing has changed. When storing
    /// the files fails, drop this value and [`Appender::load`] again: it has moved on.
    pub fn append<E: AsRef<[u8]>>(&mut self, entries: &[E]) -> Result<Appended> {
        if let Some(large) = entries.iter().find(|entry| entry.as_ref().len() > ENTRY_BYTES_MAX) {
            return Err(Error::invalid("EntryTooLarge", format!("An entry of {} bytes is over {ENTRY_BYTES_MAX}.", large.as_ref().len())));
        }
        if self.size.checked_add(entries.len() as u64).is_none_or(|size| size > SIZE_MAX) {
            return Err(Error::invalid("LogFull", "The log would pass 2^63 - 1 entries."));
        }
        let mut files = Vec::new();
        let before = self.size;
        for entry in entries {
            push_entry(&mut self.bundle, entry.as_ref())?;
            self.push(0, Digest::leaf(entry.as_ref()), &mut files);
            self.size += 1;
        }
        self.push_partial(before, &mut files);
        Ok(Appended { size: self.size, root: self.root(), files })
    }

    /// Adds a hash to a level; a full tile goes out, and its root up.
    fn push(&mut self, level: usize, hash: Digest, files: &mut Vec<(String, Vec<u8>)>) {
        if self.levels.len() == level {
            self.levels.push(Vec::with_capacity(TILE_WIDTH as usize));
        }
        self.levels[level].push(hash);
        if self.levels[level].len() < TILE_WIDTH as usize {
            return;
        }
        let full = std::mem::replace(&mut self.levels[level], Vec::with_capacity(TILE_WIDTH as usize));
        let index = self.size >> (8 * (level + 1));
        files.push((TilePath { level: Some(level as u8), index, width: 256 }.to_string(), tile_bytes(&full)));
        if level == 0 {
            files.push((TilePath { level: None, index, width: 256 }.to_string(), std::mem::take(&mut self.bundle)));
        }
        self.push(level + 1, root(&full), files);
    }

    fn push_partial(&self, before: u64, files: &mut Vec<(String, Vec<u8>)>) {
        for path in edge(self.size) {
            let level = path.level.unwrap_or(0);
            if before >> (8 * level) == self.size >> (8 * level) {
                continue;
            }
            files.push((path.to_string(), tile_bytes(&self.levels[usize::from(level)])));
            if level == 0 {
                files.push((TilePath { level: None, ..path }.to_string(), self.bundle.clone()));
            }
        }
    }
}

/// The partial tiles of a log of `size` entries, lowest level first.
fn edge(size: u64) -> impl Iterator<Item = TilePath> {
    (0..8u8).filter_map(move |level| {
        let hashes = size >> (8 * level);
        let width = (hashes % TILE_WIDTH) as u16;
        (width > 0).then_some(TilePath { level: Some(level), index: hashes / TILE_WIDTH, width })
    })
}

fn tile_bytes(hashes: &[Digest]) -> Vec<u8> {
    hashes.iter().flat_map(|hash| hash.0).collect()
}

fn read_tile(path: TilePath, read: &mut impl FnMut(&str) -> Result<Option<Vec<u8>>>) -> Result<Vec<Digest>> {
    let wanted = usize::from(path.width) * HASH_BYTES;
    let mut bytes = read(&path.to_string())?;
    if bytes.is_none() && path.width < 256 {
        // a partial tile may be gone once the full one is there
        bytes = read(&TilePath { width: 256, ..path }.to_string())?;
    }
    let bytes = bytes.ok_or_else(|| broken(&path, "missing"))?;
    if bytes.len() < wanted || bytes.len() % HASH_BYTES != 0 {
        return Err(broken(&path, "of the wrong length"));
    }
    Ok(bytes[..wanted].chunks_exact(HASH_BYTES).map(|hash| Digest(hash.try_into().unwrap_or_default())).collect())
}

fn broken(path: &TilePath, what: &str) -> Error {
    Error::new(base::Kind::Internal, "InvalidTile", format!("The tile {path} is {what}."))
}

/// The path of a leaf to the root: hashes from the leaf up.
pub type Proof = Vec<Digest>;

/// Reads the hashes of a proof from the tiles of a log of `size` entries.
struct Tiles<'a> {
    size: u64,
    read: &'a dyn Fn(&str) -> Result<Option<Vec<u8>>>,
}

fn tile_in(size: u64, stored_index: u64) -> Tile {
    let least = Tile::from_index(HEIGHT, stored_index);
    // a hash inside the tree always lies in a tile of the tree
    least.parent(0, size).unwrap_or(least)
}

impl HashReader for Tiles<'_> {
    fn read_hashes(&self, indexes: &[u64]) -> Result<Vec<Hash>, tlog_tiles::Error> {
        let mut hashes = Vec::with_capacity(indexes.len());
        for index in indexes {
            let tile = tile_in(self.size, *index);
            let content = read_tile(TilePath::of(tile), &mut |path: &str| (self.read)(path))
                .map_err(|e| tlog_tiles::Error::InvalidInput(e.message))?;
            hashes.push(tile.hash_at_index(&tile_bytes(&content), *index)?);
        }
        Ok(hashes)
    }
}

/// Notes which tiles a proof asks for.
struct Wanted {
    size: u64,
    paths: RefCell<BTreeSet<TilePath>>,
}

impl HashReader for Wanted {
    fn read_hashes(&self, indexes: &[u64]) -> Result<Vec<Hash>, tlog_tiles::Error> {
        self.paths.borrow_mut().extend(indexes.iter().map(|index| TilePath::of(tile_in(self.size, *index))));
        Ok(vec![Hash::default(); indexes.len()])
    }
}

fn no_proof(cause: tlog_tiles::Error) -> Error {
    Error::new(base::Kind::Internal, "NoProof", "The proof cannot be made from the stored tiles.").because(cause.to_string())
}

fn within(size: u64) -> Result<()> {
    if size > SIZE_MAX {
        return Err(Error::invalid("InvalidSize", "A log has at most 2^63 - 1 entries."));
    }
    Ok(())
}

/// The proof that entry `index` is in the log of `size` entries (RFC 6962 section 2.1.1). `read` gives a stored tile, or
/// `None`. Errors: `InvalidSize` for an index outside the log; `NoProof` when tiles are missing or damaged.
pub fn prove_inclusion(size: u64, index: u64, read: &dyn Fn(&str) -> Result<Option<Vec<u8>>>) -> Result<Proof> {
    within(size)?;
    if index >= size {
        return Err(Error::invalid("InvalidSize", format!("Entry {index} is not in a log of {size} entries.")));
    }
    let proof = tlog_tiles::prove_record(size, index, &Tiles { size, read }).map_err(no_proof)?;
    Ok(proof.into_iter().map(Digest::from).collect())
}

/// The proof that the log of `new` entries begins with the log of `old` entries (RFC 6962 section 2.1.2); empty for an
/// `old` of 0. Errors as [`prove_inclusion`].
pub fn prove_consistency(old: u64, new: u64, read: &dyn Fn(&str) -> Result<Option<Vec<u8>>>) -> Result<Proof> {
    within(new)?;
    if old > new {
        return Err(Error::invalid("InvalidSize", format!("A log of {new} entries does not begin with {old} entries.")));
    }
    if old == 0 {
        return Ok(Vec::new());
    }
    let proof = tlog_tiles::prove_tree(new, old, &Tiles { size: new, read }).map_err(no_proof)?;
    Ok(proof.into_iter().map(Digest::from).collect())
}

/// The tiles that [`prove_inclusion`] will read, to fetch them beforehand.
pub fn inclusion_paths(size: u64, index: u64) -> Vec<String> {
    if size > SIZE_MAX || index >= size {
        return Vec::new();
    }
    let wanted = Wanted { size, paths: RefCell::default() };
    let _ = tlog_tiles::prove_record(size, index, &wanted);
    wanted.paths.into_inner().iter().map(TilePath::to_string).collect()
}

/// The tiles that [`prove_consistency`] will read, to fetch them beforehand.
pub fn consistency_paths(old: u64, new: u64) -> Vec<String> {
    if new > SIZE_MAX || old > new || old == 0 {
        return Vec::new();
    }
    let wanted = Wanted { size: new, paths: RefCell::default() };
    let _ = tlog_tiles::prove_tree(new, old, &wanted);
    wanted.paths.into_inner().iter().map(TilePath::to_string).collect()
}

/// True when `proof` shows that the log of `size` entries and `root` has `leaf` at `index`.
pub fn check_inclusion(proof: &[Digest], size: u64, root: Digest, index: u64, leaf: Digest) -> bool {
    if size > SIZE_MAX || index >= size || proof.len() > 64 {
        return false;
    }
    let proof = proof.iter().map(|hash| Hash::from(*hash)).collect();
    tlog_tiles::check_record(&proof, size, root.into(), index, leaf.into()).is_ok()
}

/// True when `proof` shows that the log of `new` entries and `new_root` begins with the log of `old` and `old_root`.
pub fn check_consistency(proof: &[Digest], old: u64, old_root: Digest, new: u64, new_root: Digest) -> bool {
    if old > new || new > SIZE_MAX || proof.len() > 64 {
        return false;
    }
    if old == 0 {
        return proof.is_empty() && old_root == Digest::empty_tree();
    }
    let proof = proof.iter().map(|hash| Hash::from(*hash)).collect();
    tlog_tiles::check_tree(&proof, new, new_root.into(), old, old_root.into()).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    fn entry(i: u64) -> Vec<u8> {
        format!("entry {i}").into_bytes()
    }

    /// Appends in batches of the given sizes; checks nothing.
    fn grow(batches: &[u64]) -> (Appender, BTreeMap<String, Vec<u8>>, Vec<Digest>) {
        let (mut appender, mut files, mut leaves) = (Appender::new(), BTreeMap::new(), Vec::new());
        for batch in batches {
            let entries: Vec<Vec<u8>> = (0..*batch).map(|i| entry(leaves.len() as u64 + i)).collect();
            leaves.extend(entries.iter().map(|e| Digest::leaf(e)));
            let appended = appender.append(&entries).unwrap();
            assert_eq!(appended.size, leaves.len() as u64);
            files.extend(appended.files);
        }
        (appender, files, leaves)
    }

    fn reader(files: &BTreeMap<String, Vec<u8>>) -> impl Fn(&str) -> Result<Option<Vec<u8>>> {
        |path| Ok(files.get(path).cloned())
    }

    #[test]
    fn paths_as_specified() {
        let cases = [
            (TilePath { level: Some(0), index: 1_234_067, width: 256 }, "tile/0/x001/x234/067"),
            (TilePath { level: Some(63), index: 0, width: 1 }, "tile/63/000.p/1"),
            (TilePath { level: None, index: 999, width: 255 }, "tile/entries/999.p/255"),
            (TilePath { level: None, index: 1000, width: 256 }, "tile/entries/x001/000"),
        ];
        for (path, text) in cases {
            assert_eq!(path.to_string(), text);
            assert_eq!(TilePath::parse(text).unwrap(), path);
        }
        for bad in [
            "",
            "tile",
            "tile/0",
            "tile/0/",
            "tile/64/000",
            "tile/00/000",
            "tile/0/1",
            "tile/0/000.p/0",
            "tile/0/000.p/00",
            "tile/0/000.p/+0",
            "tile/0/000.p/256",
            "tile/0/000.p/01",
            "tile/data/000",
            "tile/8/0/000",
            "tile/entries/x000/000",
            "/tile/0/000",
            "tile/0/000/",
            "tile/256/000",
            "tile/entries/0000",
        ] {
            assert!(TilePath::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn the_example_of_70_000_entries() {
        // c2sp.org/tlog-tiles, "Partial Tiles"
        let (appender, files, leaves) = grow(&[70_000]);
        let of = |prefix: &str| files.keys().filter(|path| path.starts_with(prefix)).cloned().collect::<Vec<_>>();
        assert_eq!((of("tile/0/").len(), of("tile/1/").len()), (274, 2));
        assert!(files.contains_key("tile/0/273.p/112") && files.contains_key("tile/1/001.p/17"));
        assert_eq!(of("tile/2/"), ["tile/2/000.p/1"]);
        assert!(files.contains_key("tile/entries/273.p/112"));
        assert_eq!(appender.root(), root(&leaves));
        assert_eq!(Appender::load(70_000, reader(&files)).unwrap(), appender);
    }

    #[test]
    fn roots_as_published() {
        // the eight leaves with which implementations of RFC 6962 check each other
        let leaves = ["", "00", "10", "2021", "3031", "40414243", "5051525354555657", "606162636465666768696a6b6c6d6e6f"];
        let roots = [
            "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
            "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
            "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
            "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
            "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
            "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
            "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
            "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
        ];
        let mut appender = Appender::new();
        for (leaf, root) in leaves.iter().zip(roots) {
            appender.append(&[hex::decode(leaf).unwrap()]).unwrap();
            assert_eq!(appender.root().to_string(), root);
        }
    }

    #[test]
    fn a_full_tile_leaves_a_level_1_tile_of_one() {
        let (_, files, _) = grow(&[256]);
        assert_eq!(files.keys().collect::<Vec<_>>(), ["tile/0/000", "tile/1/000.p/1", "tile/entries/000"]);
    }

    #[test]
    fn refuses_a_damaged_edge() {
        let (_, files, _) = grow(&[300]);
        for path in Appender::edge_paths(300) {
            let mut cut = files.clone();
            cut.get_mut(&path).unwrap().pop();
            assert!(Appender::load(300, reader(&cut)).is_err(), "{path} cut");
            cut.remove(&path);
            assert!(Appender::load(300, reader(&cut)).is_err(), "{path} gone");
        }
        let mut altered = files.clone();
        altered.get_mut("tile/entries/001.p/44").unwrap()[3] ^= 1;
        assert_eq!(Appender::load(300, reader(&altered)).unwrap_err().code, "InvalidTile");
    }

    #[test]
    fn an_entry_that_is_too_long_changes_nothing() {
        let (mut appender, ..) = grow(&[3]);
        let before = appender.clone();
        assert_eq!(appender.append(&[vec![0; 10], vec![0; 65_536]]).unwrap_err().code, "EntryTooLarge");
        assert_eq!(appender, before);
    }

    #[test]
    fn bundles_split_and_refuse_cut_ends() {
        let mut bundle = Vec::new();
        for e in [&b""[..], b"abc", &[7; 65_535]] {
            push_entry(&mut bundle, e).unwrap();
        }
        let split: Vec<&[u8]> = split_entries(&bundle).map(|e| e.unwrap()).collect();
        assert_eq!(split, [&b""[..], b"abc", &[7; 65_535]]);
        let cut: Vec<_> = split_entries(&bundle[..bundle.len() - 1]).collect();
        assert!(cut.len() == 3 && cut[2].is_err());
        assert!(split_entries(&[0]).next().unwrap().is_err());
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(40))]

        #[test]
        fn any_batches_give_the_same_tree(batches in prop::collection::vec(0u64..400, 1..8)) {
            let (appender, files, leaves) = grow(&batches);
            let size = leaves.len() as u64;
            prop_assert_eq!(appender.root(), root(&leaves));
            prop_assert_eq!(&Appender::load(size, reader(&files)).unwrap(), &appender);
            // one batch writes the same full tiles
            let (_, whole, _) = grow(&[size]);
            for (path, bytes) in whole {
                prop_assert_eq!(files.get(&path), Some(&bytes), "{}", path);
            }
        }

        #[test]
        fn proofs_hold_and_only_for_what_they_prove(old in 0u64..1200, more in 1u64..700, pick: prop::sample::Index) {
            let new = old + more;
            let (appender, files, leaves) = grow(&[old, more]);
            let (read, new_root, old_root) = (reader(&files), appender.root(), root(&leaves[..old as usize]));
            let index = pick.index(new as usize) as u64;
            let leaf = leaves[index as usize];

            let proof = prove_inclusion(new, index, &read).unwrap();
            prop_assert!(check_inclusion(&proof, new, new_root, index, leaf));
            prop_assert!(!check_inclusion(&proof, new, new_root, index, Digest::of(b"other")));
            prop_assert!(!check_inclusion(&proof, new, new_root, (index + 1) % new, leaf) || new == 1);
            let wanted = inclusion_paths(new, index);
            let narrow = |path: &str| { assert!(wanted.contains(&path.to_owned()), "{path} in {wanted:?}"); read(path) };
            prop_assert_eq!(&prove_inclusion(new, index, &narrow).unwrap(), &proof);

            let proof = prove_consistency(old, new, &read).unwrap();
            prop_assert!(check_consistency(&proof, old, old_root, new, new_root));
            prop_assert!(!check_consistency(&proof, old, Digest::of(b"fork"), new, new_root));
            prop_assert!(old == 0 || !check_consistency(&proof, old, old_root, new, Digest::of(b"fork")));
            let wanted = consistency_paths(old, new);
            let narrow = |path: &str| { assert!(wanted.contains(&path.to_owned()), "{path} in {wanted:?}"); read(path) };
            prop_assert_eq!(&prove_consistency(old, new, &narrow).unwrap(), &proof);
        }

        #[test]
        fn no_path_stops_the_process(path in "(tile/)?([0-9]{1,3}|entries)/(x[0-9]{3}/){0,8}[0-9]{3}(\\.p/[0-9]{1,3})?") {
            if let Ok(parsed) = TilePath::parse(&path) {
                prop_assert_eq!(parsed.to_string(), path);
            }
        }
    }
}
