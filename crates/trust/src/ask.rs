//! What is asked: one act, by one caller, on one resource.

use crate::{Caller, Origin};
use base::ResourceId;

/// A request for a permit. The actions are all needed.
#[derive(Clone, Debug)]
pub struct Ask {
    pub caller: Caller,
    /// Azure's name of the operation: `Put Blob`.
    pub verb: &'static str,
    /// Azure RBAC actions; all must be held at `scope`.
    pub actions: Vec<String>,
    /// True for data actions (`dataActions` of a role), false for management actions.
    pub data: bool,
    /// The resource whose rows and content the permit will reach.
    pub target: ResourceId,
    /// Where roles are looked up: `target` or something inside it, such as a container.
    pub scope: ResourceId,
    /// What inside the target: `container/blob`. Goes into the record; empty when the target says it all.
    pub detail: String,
    pub weight: Weight,
    pub origin: Origin,
}

impl Ask {
    /// Whether it makes what is stored only more, which a nearly full disk refuses first. Whoever acts for a request that
    /// was admitted goes on to its end, and so do the region's own parts.
    pub(crate) fn only_adds(&self) -> bool {
        let admitted = matches!(self.caller, Caller::Worker { .. } | Caller::Region { .. });
        let adds = |action: &String| ["/write", "/create", "/add/action", "/move/action"].iter().any(|end| action.ends_with(end));
        !admitted && self.actions.iter().any(adds)
    }
}

/// How the record brackets the act.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Weight {
    /// An opening entry durable before the act, then a closing entry that names it. Every ARM write.
    Before,
    /// As `Before`, and the opening entry has its index in the log first: key release, grants, erasure, egress.
    Indexed,
    /// One entry in the same commit as the effect: a customer's data-plane writes.
    With,
    /// One entry for many, within a second: a customer's own reads.
    Batched,
}

/// The two kinds of access. Sealed: nobody adds a third.
pub trait Access: sealed::Sealed + Send + Sync + 'static {
    const WRITES: bool;
}
/// Reading.
#[derive(Debug)]
pub enum Read {}
/// Writing (and the reading it takes).
#[derive(Debug)]
pub enum Write {}

impl Access for Read {
    const WRITES: bool = false;
}
impl Access for Write {
    const WRITES: bool = true;
}

mod sealed {
    pub trait Sealed {}
    impl Sealed for super::Read {}
    impl Sealed for super::Write {}
}
