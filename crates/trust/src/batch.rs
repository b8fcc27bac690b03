//! What one commit changes: rows under the permit's target, facts, credentials, and the content it adopts or drops.

use crate::content::{Content, Staged};
use crate::credentials::Credential;
use crate::facts::Fact;
use base::{Location, Stored};
use store::Version;

/// Who keeps rows. The number is in the key of each of them: two keepers on one resource do not meet, and a number once
/// given is nobody else's, for ever.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Keeper {
    Identity = 1,
    Arm = 2,
    Storage = 3,
    /// Tests and examples.
    Test = 255,
}

/// A family of rows of a resource. Each keeper numbers its own, from 1, in one place.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Table {
    keeper: Keeper,
    number: u8,
}

impl Table {
    pub const fn of(keeper: Keeper, number: u8) -> Table {
        Table { keeper, number }
    }
    /// Its part of a row's key.
    pub(crate) fn bytes(self) -> [u8; 2] {
        [self.keeper as u8, self.number]
    }
}

/// Checks and changes, all or nothing. Names are bytes, ordered bytewise; names over 1 KiB keep their order only up to there.
#[derive(Debug, Default)]
pub struct Batch {
    pub(crate) checks: Vec<RowCheck>,
    pub(crate) rows: Vec<RowOp>,
    pub(crate) facts: Vec<FactOp>,
    pub(crate) fact_checks: Vec<(String, Option<Version>)>,
    pub(crate) credentials: Vec<CredentialOp>,
    pub(crate) adopted: Vec<Staged>,
    pub(crate) dropped: Vec<Dropped>,
    pub(crate) space: Option<SpaceOp>,
}

#[derive(Debug)]
pub(crate) enum RowCheck {
    Absent(Table, Vec<u8>),
    Is(Table, Vec<u8>, Version),
    Exists(Table, Vec<u8>),
}
#[derive(Debug)]
pub(crate) enum RowOp {
    Put(Table, Vec<u8>, Vec<u8>),
    Delete(Table, Vec<u8>),
}
#[derive(Debug)]
pub(crate) enum FactOp {
    /// Only if no fact has this key.
    Claim(Fact),
    Put(Fact),
    Remove(String),
}
#[derive(Debug)]
pub(crate) enum CredentialOp {
    Set { holder: String, id: String, credential: Credential },
    Delete { holder: String, id: String },
}
#[derive(Debug)]
pub(crate) struct Dropped {
    pub content: Content,
    pub keep: Option<Content>,
}
#[derive(Debug)]
pub(crate) enum SpaceOp {
    Create(Location),
    Drop,
}

impl Batch {
    pub fn new() -> Batch {
        Batch::default()
    }
    /// Whether it changes who may do what, or erases a space: the log knows of such an act before it is done.
    pub(crate) fn changes_power(&self) -> bool {
        let grants = |op: &FactOp| match op {
            FactOp::Claim(fact) | FactOp::Put(fact) => matches!(fact, Fact::Assignment(_) | Fact::Member { .. }),
            FactOp::Remove(key) => key.starts_with("assignment/") || key.starts_with("member/"),
        };
        !self.credentials.is_empty() || matches!(self.space, Some(SpaceOp::Drop)) || self.facts.iter().any(grants)
    }
    pub fn put<T: Stored>(mut self, table: Table, name: impl AsRef<[u8]>, value: &T) -> Batch {
        self.rows.push(RowOp::Put(table, name.as_ref().to_vec(), base::encode(value)));
        self
    }
    pub fn delete(mut self, table: Table, name: impl AsRef<[u8]>) -> Batch {
        self.rows.push(RowOp::Delete(table, name.as_ref().to_vec()));
        self
    }
    /// Commit only if there is no such row.
    pub fn absent(mut self, table: Table, name: impl AsRef<[u8]>) -> Batch {
        self.checks.push(RowCheck::Absent(table, name.as_ref().to_vec()));
        self
    }
    /// Commit only if the row is still the one that was read.
    pub fn is(mut self, table: Table, name: impl AsRef<[u8]>, version: Version) -> Batch {
        self.checks.push(RowCheck::Is(table, name.as_ref().to_vec(), version));
        self
    }
    /// [`Batch::is`] or [`Batch::absent`], by what was read.
    pub fn unchanged(self, table: Table, name: impl AsRef<[u8]>, read: Option<Version>) -> Batch {
        match read {
            Some(version) => self.is(table, name, version),
            None => self.absent(table, name),
        }
    }
    pub fn exists(mut self, table: Table, name: impl AsRef<[u8]>) -> Batch {
        self.checks.push(RowCheck::Exists(table, name.as_ref().to_vec()));
        self
    }
    /// Puts a fact of the permit's tenant.
    pub fn put_fact(mut self, fact: Fact) -> Batch {
        self.facts.push(FactOp::Put(fact));
        self
    }
    /// Puts a fact only if its key is free (a name unique in the region).
    pub fn claim_fact(mut self, fact: Fact) -> Batch {
        self.facts.push(FactOp::Claim(fact));
        self
    }
    /// Commit only if the fact is still the one that was read ([`crate::Facts::version`]); `None`: still absent.
    pub fn fact_is(mut self, key: String, read: Option<Version>) -> Batch {
        self.fact_checks.push((key, read));
        self
    }
    /// Removes the fact with this key (see [`Fact::key`]).
    pub fn remove_fact(mut self, key: String) -> Batch {
        self.facts.push(FactOp::Remove(key));
        self
    }
    /// `holder`: an object id, or `account` for a resource's own keys.
    pub fn set_credential(mut self, holder: &str, id: &str, credential: Credential) -> Batch {
        self.credentials.push(CredentialOp::Set { holder: holder.to_owned(), id: id.to_owned(), credential });
        self
    }
    pub fn delete_credential(mut self, holder: &str, id: &str) -> Batch {
        self.credentials.push(CredentialOp::Delete { holder: holder.to_owned(), id: id.to_owned() });
        self
    }
    /// The staged content becomes part of the resource. Without this, it is garbage for the collector.
    pub fn adopt(mut self, staged: &Staged) -> Batch {
        self.adopted.push(staged.clone());
        self
    }
    /// The content is no longer referred to by any row after this commit; its chunks are deleted a while later, when no
    /// reader can still be in them.
    pub fn drop_content(mut self, content: Content) -> Batch {
        self.dropped.push(Dropped { content, keep: None });
        self
    }
    /// As [`Batch::drop_content`], but chunks that `by` shares with `old` live on (a block list that keeps old blocks).
    pub fn replace_content(mut self, old: Content, by: &Content) -> Batch {
        self.dropped.push(Dropped { content: old, keep: Some(by.clone()) });
        self
    }
    /// Gives the permit's target rows, content and a key of its own. Does nothing if it has.
    pub fn create_space(mut self, location: Location) -> Batch {
        self.space = Some(SpaceOp::Create(location));
        self
    }
    /// Destroys the target's key: what was sealed under it is gone, and is purged afterwards.
    pub fn drop_space(mut self) -> Batch {
        self.space = Some(SpaceOp::Drop);
        self
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::path::{Path, PathBuf};

    fn sources(folder: &Path, found: &mut Vec<PathBuf>) {
        for entry in std::fs::read_dir(folder).unwrap().map(|e| e.unwrap().path()) {
            match entry.extension() {
                _ if entry.is_dir() => sources(&entry, found),
                Some(extension) if extension == "rs" => found.push(entry),
                _ => {}
            }
        }
    }

    /// A keeper's rows are one crate's, and no number of it is given twice.
    #[test]
    fn tables_are_numbered_once() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
        let mut files = Vec::new();
        for house in ["crates", "services"] {
            for entry in std::fs::read_dir(root.join(house)).unwrap().map(|e| e.unwrap().path()).filter(|p| p.join("src").is_dir()) {
                sources(&entry.join("src"), &mut files);
            }
        }
        let (mut keepers, mut tables) = (BTreeMap::<String, PathBuf>::new(), BTreeMap::<String, PathBuf>::new());
        for file in files {
            let folder = file.ancestors().find(|p| p.ends_with("src")).unwrap().to_owned();
            let text = std::fs::read_to_string(&file).unwrap();
            for table in text.split(concat!(": Table = ", "Table::of(Keeper::")).skip(1).filter_map(|rest| rest.split(')').next()) {
                let (keeper, _) = table.split_once(',').unwrap_or_else(|| panic!("{table} in {}", file.display()));
                let first = keepers.entry(keeper.to_owned()).or_insert_with(|| folder.clone());
                assert_eq!(*first, folder, "{keeper} keeps rows in two crates");
                assert_eq!(tables.insert(table.to_owned(), file.clone()), None, "{table} is given twice");
            }
        }
        assert!(keepers.len() >= 3 && tables.len() >= 16, "{tables:?}");
    }
}
