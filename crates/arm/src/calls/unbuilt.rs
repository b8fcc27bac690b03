//! What Azure's Resource Manager has and this one has not yet: each by name, so that it is found in the coverage list
//! and answered precisely.

use crate::Arm;
use crate::change::refuse;
use base::{Error, Result};
use service::{Call, Neighbours, Reply};
use std::sync::Arc;
use trust::{Permit, Read, Write};

/// Path below a scope, Azure's name, the action's stem.
pub(crate) const BELOW_ANY_SCOPE: &[(&str, &str, &str)] = &[
    ("/{scope*}/providers/Microsoft.Resources/deployments", "Deployments", "Microsoft.Resources/deployments"),
    ("/{scope*}/providers/Microsoft.Resources/deployments/{rest+}", "Deployments", "Microsoft.Resources/deployments"),
    ("/{scope*}/providers/Microsoft.Resources/links/{rest*}", "Resource links", "Microsoft.Resources/links"),
    ("/{scope*}/providers/Microsoft.Authorization/permissions", "Permissions", "Microsoft.Authorization/permissions"),
];

/// Calls without a scope.
pub(crate) const ROOTS: &[(&str, &str, &str)] = &[("/batch", "Batch", "Microsoft.Resources/batch")];

/// Calls below a subscription, found by their last fixed word.
pub(crate) const IN_SUBSCRIPTION: &[(&str, &str, &str)] = &[
    ("/subscriptions/{s}/tagNames", "The list of tag names", "Microsoft.Resources/subscriptions/tagNames"),
    ("/subscriptions/{s}/tagNames/{rest+}", "The list of tag names", "Microsoft.Resources/subscriptions/tagNames"),
    (
        "/subscriptions/{s}/providers/{ns}/locations/{l}/usages",
        "The list of usages and quotas",
        "Microsoft.Resources/subscriptions/locations/usages",
    ),
];

fn why(call: &Call) -> Error {
    let path = &call.head.raw_path;
    let words = || path.split('/').map(str::to_ascii_lowercase);
    let last_fixed = |pattern: &str| pattern.split('/').rfind(|word| !word.starts_with('{')).map(str::to_ascii_lowercase);
    let below = IN_SUBSCRIPTION.iter().find(|(pattern, ..)| last_fixed(pattern).is_some_and(|word| words().skip(3).any(|w| w == word)));
    if let Some((_, name, _)) = below.filter(|_| words().nth(1).is_some_and(|w| w == "subscriptions")) {
        return Error::not_implemented(name);
    }
    let all = BELOW_ANY_SCOPE.iter().chain(ROOTS);
    let name = all.clone().find(|(pattern, ..)| {
        let literal = pattern.split('{').nth(if pattern.starts_with("/{scope*}") { 1 } else { 0 }).unwrap_or(pattern);
        let literal = literal.strip_prefix("scope*}").unwrap_or(literal).trim_end_matches('/');
        path.to_ascii_lowercase().contains(&literal.to_ascii_lowercase())
    });
    Error::not_implemented(name.map_or("This call", |(_, name, _)| name))
}

pub(crate) async fn read(_: Arc<Arm>, call: Call, permit: Permit<Read>, _: Neighbours) -> Result<Reply> {
    refuse(permit, why(&call)).await
}
pub(crate) async fn write(_: Arc<Arm>, call: Call, permit: Permit<Write>, _: Neighbours) -> Result<Reply> {
    refuse(permit, why(&call)).await
}
