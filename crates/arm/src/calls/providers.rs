//! Resource providers: what types there are, at which versions, and whether a subscription wants them. All are
//! registered until someone unregisters one.

use crate::Arm;
use crate::calls::subscriptions::display_name;
use crate::change::{Change, Turns, close};
use crate::model::{PROVIDERS, Registration};
use crate::target;
use base::{Error, Kind, Result};
use http::StatusCode;
use serde_json::{Value, json};
use service::{Call, Neighbours, Reply};
use std::collections::HashMap;
use std::sync::Arc;
use trust::{Access, Batch, Permit, Read, Span, Write};

/// Types that Resource Manager serves itself.
const OWN_TYPES: &[(&str, &[&str])] = &[
    (
        "Microsoft.Authorization",
        &[
            "denyAssignments",
            "locks",
            "policyAssignments",
            "policyDefinitions",
            "policyExemptions",
            "policySetDefinitions",
            "roleAssignments",
            "roleDefinitions",
        ],
    ),
    ("Microsoft.Management", &["managementGroups"]),
    ("Microsoft.PolicyInsights", &["policyStates"]),
    (
        "Microsoft.Resources",
        &[
            "deployments",
            "resourceGroups",
            "resources",
            "subscriptions",
            "subscriptions/locations",
            "subscriptions/providers",
            "subscriptions/resourceGroups",
            "tags",
            "tenants",
        ],
    ),
];
const OWN_VERSIONS: &[&str] = &["2025-04-01", "2024-11-01", "2022-12-01", "2022-04-01", "2021-04-01", "2020-06-01"];

impl Arm {
    /// Azure's spelling of a namespace that is served here.
    pub(crate) fn namespace_of(&self, namespace: &str) -> Option<&'static str> {
        let own = OWN_TYPES.iter().map(|(n, _)| *n);
        own.chain(self.kinds.iter().map(|k| k.namespace())).find(|n| n.eq_ignore_ascii_case(namespace))
    }

    fn namespaces(&self) -> Vec<&'static str> {
        let mut all: Vec<&'static str> = OWN_TYPES.iter().map(|(n, _)| *n).chain(self.kinds.iter().map(|k| k.namespace())).collect();
        all.sort_unstable();
        all.dedup();
        all
    }

    fn show_provider(&self, namespace: &'static str, base: &str, registered: bool, near: &Neighbours) -> Value {
        let here = display_name(near.urls.location.as_str());
        let own = OWN_TYPES.iter().filter(|(n, _)| *n == namespace).flat_map(|(_, types)| types.iter());
        let mut types: Vec<Value> = own
            .map(|t| json!({"resourceType": t, "locations": [], "apiVersions": OWN_VERSIONS, "defaultApiVersion": OWN_VERSIONS[0], "capabilities": "None"}))
            .collect();
        types.extend(self.kinds.iter().filter(|k| k.namespace() == namespace).map(|k| {
            json!({
                "resourceType": k.name(), "locations": [here], "apiVersions": k.versions(), "defaultApiVersion": k.versions().first(),
                "capabilities": "SupportsTags, SupportsLocation",
            })
        }));
        json!({
            "id": format!("{base}/providers/{namespace}"),
            "namespace": namespace,
            "registrationState": if registered { "Registered" } else { "NotRegistered" },
            "registrationPolicy": "RegistrationFree",
            "resourceTypes": types,
        })
    }

    /// Every provider, as a template's `providers()` sees them.
    pub(crate) fn shown_providers(&self, near: &Neighbours) -> Vec<Value> {
        self.namespaces().into_iter().map(|n| self.show_provider(n, "", true, near)).collect()
    }

    /// Error `MissingSubscriptionRegistration`.
    pub(crate) async fn must_be_registered<A: Access>(&self, permit: &Permit<A>, namespace: &str) -> Result<()> {
        if registered(permit, namespace).await? {
            return Ok(());
        }
        Err(Error::new(
            Kind::Conflict,
            "MissingSubscriptionRegistration",
            format!(
                "The subscription is not registered to use namespace '{namespace}'. POST …/providers/{namespace}/register registers it."
            ),
        ))
    }
}

async fn registered<A: Access>(permit: &Permit<A>, namespace: &str) -> Result<bool> {
    let row = permit.data().get::<Registration>(PROVIDERS, namespace.to_ascii_lowercase()).await?;
    Ok(row.is_none_or(|r| r.value.registered))
}

fn unknown(namespace: &str) -> Error {
    Error::new(Kind::NotFound, "InvalidResourceNamespace", format!("The resource namespace '{namespace}' is invalid."))
}

pub(crate) async fn list(arm: Arc<Arm>, call: Call, permit: Permit<Read>, near: Neighbours) -> Result<Reply> {
    let base = target::subscription_id(&call.head)?.to_string();
    let rows = permit.data().scan::<Registration>(PROVIDERS, Span::all(), 1_000).await?;
    let states: HashMap<Vec<u8>, bool> = rows.rows.into_iter().map(|(name, row)| (name, row.value.registered)).collect();
    let state = |n: &str| states.get(n.to_ascii_lowercase().as_bytes()).copied().unwrap_or(true);
    let value: Vec<Value> = arm.namespaces().into_iter().map(|n| arm.show_provider(n, &base, state(n), &near)).collect();
    let (receipt, body) = close(permit, Ok(json!({ "value": value }))).await?;
    Ok(Reply::json(receipt, StatusCode::OK, &body))
}

pub(crate) async fn list_for_tenant(arm: Arc<Arm>, _: Call, permit: Permit<Read>, near: Neighbours) -> Result<Reply> {
    let value: Vec<Value> = arm.namespaces().into_iter().map(|n| arm.show_provider(n, "", true, &near)).collect();
    let (receipt, body) = close(permit, Ok(json!({ "value": value }))).await?;
    Ok(Reply::json(receipt, StatusCode::OK, &body))
}

pub(crate) async fn get_for_tenant(arm: Arc<Arm>, call: Call, permit: Permit<Read>, near: Neighbours) -> Result<Reply> {
    let asked = call.head.params.get("ns");
    let found = arm.namespace_of(asked).map(|n| arm.show_provider(n, "", true, &near)).ok_or_else(|| unknown(asked));
    let (receipt, body) = close(permit, found).await?;
    Ok(Reply::json(receipt, StatusCode::OK, &body))
}

pub(crate) async fn get(arm: Arc<Arm>, call: Call, permit: Permit<Read>, near: Neighbours) -> Result<Reply> {
    let base = target::subscription_id(&call.head)?.to_string();
    let asked = call.head.params.get("ns");
    let found = match arm.namespace_of(asked) {
        Some(n) => registered(&permit, n).await.map(|state| arm.show_provider(n, &base, state, &near)),
        None => Err(unknown(asked)),
    };
    let (receipt, body) = close(permit, found).await?;
    Ok(Reply::json(receipt, StatusCode::OK, &body))
}

pub(crate) async fn register(arm: Arc<Arm>, call: Call, permit: Permit<Write>, near: Neighbours) -> Result<Reply> {
    set(arm, call, permit, near, true).await
}
pub(crate) async fn unregister(arm: Arc<Arm>, call: Call, permit: Permit<Write>, near: Neighbours) -> Result<Reply> {
    set(arm, call, permit, near, false).await
}

async fn set(arm: Arc<Arm>, call: Call, permit: Permit<Write>, near: Neighbours, registered: bool) -> Result<Reply> {
    let base = target::subscription_id(&call.head)?.to_string();
    let asked = call.head.params.get("ns");
    let decided = arm.namespace_of(asked).ok_or_else(|| unknown(asked)).map(|n| Change {
        batch: Some(Batch::new().put(PROVIDERS, n.to_ascii_lowercase(), &Registration { registered })),
        status: 200,
        answer: arm.show_provider(n, &base, registered, &near),
    });
    let mut turns = Turns::new(permit);
    // a blind put has no check that could fail
    match turns.settle(decided).await? {
        Some((receipt, body)) => Ok(Reply::json(receipt, StatusCode::OK, &body)),
        None => Err(Error::internal("a write without checks met a conflict")),
    }
}
