//! What a template asks of the region.

use base::Result;
use serde_json::Value;

/// The region, as a template sees it.
pub trait Host {
    /// `None`: not known yet. While planning, what is not a runtime question must be answered at once; while running, a
    /// `None` comes back to the caller as [`crate::Evaluated::Waits`], to be asked again when the answer is there.
    fn answer(&self, question: &Question) -> Result<Option<Value>>;
}

/// A function of the language that looks outside the template.
#[derive(Clone, Debug, PartialEq)]
pub enum Question {
    /// RFC 3339 text, UTC.
    Now,
    /// Text of a fresh GUID.
    NewGuid,
    /// `subscription()`: an object with `id`, `subscriptionId`, `tenantId`, `displayName`.
    Subscription,
    /// `resourceGroup()`: the group as a GET answers it.
    ResourceGroup,
    Tenant,
    ManagementGroup,
    /// `deployment()`: `name`, `properties`.
    Deployment,
    /// `deployer()`: `objectId`, `tenantId`, `userPrincipalName`.
    Deployer,
    /// `environment()`.
    Environment,
    /// `providers(namespace, type)`.
    Providers {
        namespace: String,
        kind: Option<String>,
    },
    /// `pickZones(namespace, type, location, count, offset)`: an array of texts.
    PickZones {
        namespace: String,
        kind: String,
        location: String,
        count: i64,
        offset: i64,
    },
    /// `toLogicalZone(s)` and `toPhysicalZone(s)`: a text or an array, as `zones` is.
    Zones {
        logical: bool,
        subscription: String,
        location: String,
        zones: Value,
    },
    /// `reference(id)`: the whole body that a GET answers.
    Reference {
        id: String,
        api_version: Option<String>,
    },
    /// `listKeys(id, version, body)` and its kin: what the POST answers.
    List {
        function: String,
        id: String,
        api_version: String,
        body: Option<Value>,
    },
    /// A parameter whose value lies in a vault.
    Secret {
        vault: String,
        name: String,
        version: Option<String>,
    },
}

impl Question {
    /// True for what is asked while the deployment runs, never while it is planned.
    pub fn is_runtime(&self) -> bool {
        matches!(self, Question::Reference { .. } | Question::List { .. })
    }
}
