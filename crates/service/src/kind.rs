//! A resource type of Resource Manager: plan, then apply.

use crate::Neighbours;
use base::{Fut, Location, ResourceId, Result};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use trust::{Permit, Receipt, Write};

/// One ARM resource type. `plan` is pure; `apply` may run again after a crash and must then do no harm.
pub trait Kind: Send + Sync + 'static {
    /// `Microsoft.Storage`.
    fn namespace(&self) -> &'static str;
    /// `storageAccounts`; nested types as `vaults/secrets`.
    fn name(&self) -> &'static str;
    /// Published api-versions, newest first. Newer ones are accepted and answered in the newest shape.
    fn versions(&self) -> &'static [&'static str];
    /// True when a PUT is answered 202 with a `Location` to poll (as storage accounts do), false for 201/200 at once
    /// with `Azure-AsyncOperation` when steps remain.
    fn answers_202(&self) -> bool {
        false
    }
    /// Checks the wish against what is there and says what is to be done. No choices are left to `apply`.
    /// Errors are the client's: `InvalidParameter`, `AccountNameInvalid`… with the property at fault as target.
    fn plan(&self, id: &ResourceId, want: &Want, have: Option<&Have>) -> Result<Vec<Step>>;
    /// The steps of a deletion.
    fn plan_delete(&self, id: &ResourceId, have: &Have) -> Result<Vec<Step>>;
    /// Does one step under a permit for `id` (target the resource), which it commits or closes.
    fn apply<'a>(
        &'a self,
        id: &'a ResourceId,
        step: &'a Step,
        at: Permit<Write>,
        near: &'a Neighbours,
    ) -> Fut<'a, Result<(Receipt, Progress)>>;
    /// The `properties` that a GET shows, computed from what is stored.
    fn show(&self, id: &ResourceId, have: &Have, near: &Neighbours) -> Value;
}

/// What a client's PUT asks for.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Want {
    pub location: Option<Location>,
    pub tags: Map<String, Value>,
    pub kind: Option<String>,
    pub sku: Option<Value>,
    pub identity: Option<Value>,
    pub properties: Value,
    pub api_version: String,
}

/// What is stored of a resource.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Have {
    pub id: ResourceId,
    pub location: Option<Location>,
    pub tags: Map<String, Value>,
    pub kind: Option<String>,
    pub sku: Option<Value>,
    pub identity: Option<Value>,
    pub properties: Value,
    /// `Creating`, `Succeeded`, `Deleting`, `Failed`…
    pub provisioning: String,
    pub created: base::Timestamp,
    pub changed: base::Timestamp,
}

/// One thing to do. Stored, so that it is done after a restart too.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Step {
    /// `create-account`: for the record and for people.
    pub name: String,
    pub arguments: Value,
}

/// What a step came to.
#[derive(Clone, Debug, PartialEq)]
pub enum Progress {
    /// Done; these properties are merged over the stored ones.
    Done(Value),
    /// Not yet: ask again after so many milliseconds.
    Again { after_ms: u64 },
}
