//! Who asks. A caller is known before a permit is asked for, and goes into the record with it.

use base::{AppId, ObjectId, OperationId, RequestId, ResourceId, TenantId};
use serde::{Deserialize, Serialize};
use std::net::IpAddr;

/// Whoever a request comes from. Anonymous is a caller like any other; there is no act without one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Caller {
    /// No credential at all.
    Anonymous,
    /// A user, application or managed identity whose token was verified.
    Principal(Principal),
    /// Someone who holds an account key (Azure's Shared Key).
    Key { account: ResourceId, key: String },
    /// Someone who holds a shared access signature: an account key's holder lent them a few rights.
    Sas { account: ResourceId, key: String, limits: Limits },
    /// Background work, which goes on under the authority and the name of whoever asked for it.
    Worker { on_behalf_of: Box<Caller>, operation: OperationId },
    /// The region's own housekeeping: first start, sign-in, sweeps. Reaches only what `trust::rules` lists for it.
    Region { part: &'static str },
}

/// A directory object that proved itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Principal {
    pub tenant: TenantId,
    pub object: ObjectId,
    /// The client application the token was issued to.
    pub app: AppId,
    pub kind: PrincipalKind,
    /// User principal name or application display name: for people who read the record.
    pub name: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum PrincipalKind {
    User,
    ServicePrincipal,
    ManagedIdentity,
    Group,
}

/// What a shared access signature grants, already translated to actions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Full Azure actions, such as `Microsoft.Storage/…/blobs/read`.
    pub actions: Vec<String>,
    /// The scope under which they hold: the account, or a container.
    pub scope: ResourceId,
    /// For a signature on one blob: its name under `scope`, compared exactly with [`crate::Ask::detail`].
    pub detail: Option<String>,
}

impl Caller {
    /// The tenant a caller belongs to, as far as it is known without the facts.
    pub fn tenant(&self) -> Option<TenantId> {
        match self {
            Caller::Principal(p) => Some(p.tenant),
            Caller::Worker { on_behalf_of, .. } => on_behalf_of.tenant(),
            _ => None,
        }
    }
    pub fn principal(&self) -> Option<&Principal> {
        match self {
            Caller::Principal(p) => Some(p),
            Caller::Worker { on_behalf_of, .. } => on_behalf_of.principal(),
            _ => None,
        }
    }
    pub fn is_anonymous(&self) -> bool {
        matches!(self, Caller::Anonymous)
    }
}

/// Where a request came from: for the record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Origin {
    pub request: RequestId,
    pub peer: Option<IpAddr>,
    /// `x-ms-client-request-id`, at most 1 KiB.
    pub client_request: Option<String>,
    /// `User-Agent`, at most 256 bytes.
    pub user_agent: Option<String>,
}
