//! What one commit changes: rows under the permit's target, facts, credentials, and the content it adopts or drops.

use crate::content::{Content, Staged};
use crate::credentials::Credential;
use crate::facts::Fact;
use base::{Location, Stored};
use store::Version;

/// A family of rows of a resource. Each service numbers its own, from 1, in one place.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Table(pub u8);

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
