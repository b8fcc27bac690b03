//! What a call is about: its rows are its subscription's (or its tenant's), its roles are looked up at the exact scope.

use crate::Arm;
use crate::names;
use base::{Error, Kind, ResourceId, Result, SubscriptionId};
use service::{Head, Neighbours, Target};
use trust::Caller;

/// The checks that come before any permit. Anonymous callers are refused by `trust` first, whatever else is wrong.
fn checked(head: &Head, caller: &Caller, find: impl FnOnce() -> Result<Target>) -> Result<Target> {
    if caller.is_anonymous() {
        return Ok(Target::of(ResourceId::region()));
    }
    names::api_version(head)?;
    find()
}

/// The caller's own tenant.
pub(crate) fn tenant(_: &Arm, head: &Head, caller: &Caller, _: &Neighbours) -> Result<Target> {
    checked(head, caller, || Ok(Target::of(own_tenant(caller))))
}

fn own_tenant(caller: &Caller) -> ResourceId {
    caller.tenant().map_or_else(ResourceId::region, ResourceId::tenant)
}

pub(crate) fn subscription(_: &Arm, head: &Head, caller: &Caller, _: &Neighbours) -> Result<Target> {
    checked(head, caller, || Ok(Target { detail: below(head.params.get("rest")), ..Target::of(subscription_id(head)?) }))
}

pub(crate) fn group(_: &Arm, head: &Head, caller: &Caller, _: &Neighbours) -> Result<Target> {
    checked(head, caller, || inside(group_id(head)?))
}

/// The resource that the path names.
pub(crate) fn resource(_: &Arm, head: &Head, caller: &Caller, _: &Neighbours) -> Result<Target> {
    checked(head, caller, || {
        let id = resource_id(head)?;
        names::group_name(id.resource_group().unwrap_or(""))?;
        inside(id)
    })
}

/// `{scope*}`: the tenant, a subscription, a group, a resource or something inside one.
pub(crate) fn scope(_: &Arm, head: &Head, caller: &Caller, _: &Neighbours) -> Result<Target> {
    checked(head, caller, || inside(scope_id(head, caller)?))
}

/// Rows of the subscription, roles at `id`.
fn inside(id: ResourceId) -> Result<Target> {
    let Some(subscription) = id.subscription_id() else { return Ok(Target::of(id)) };
    let detail = id.as_str().get(51..).unwrap_or("").to_owned();
    Ok(Target { resource: ResourceId::subscription(subscription), scope: id, detail })
}

fn below(rest: &str) -> String {
    if rest.is_empty() { String::new() } else { format!("/{rest}") }
}

pub(crate) fn subscription_id(head: &Head) -> Result<ResourceId> {
    let text = head.params.get("s");
    let id = text.parse::<SubscriptionId>().map_err(|_| {
        Error::new(
            Kind::NotFound,
            "InvalidSubscriptionId",
            format!("The provided subscription identifier '{text}' is malformed or invalid."),
        )
    })?;
    Ok(ResourceId::subscription(id))
}

pub(crate) fn group_id(head: &Head) -> Result<ResourceId> {
    let name = names::group_name(head.params.get("g"))?;
    ResourceId::parse(&format!("{}/resourceGroups/{name}", subscription_id(head)?))
}

/// The path as an id: each segment decoded by itself, so that an encoded slash can't make another resource of it.
pub(crate) fn resource_id(head: &Head) -> Result<ResourceId> {
    let wrong = || Error::invalid("InvalidResourceName", "A segment of the path holds an encoded slash or is not percent-encoded UTF-8.");
    let mut text = String::new();
    for segment in head.raw_path.split('/').filter(|s| !s.is_empty()) {
        let segment = wire::percent_decode(segment).filter(|s| !s.contains('/')).ok_or_else(wrong)?;
        text.push('/');
        text.push_str(&segment);
    }
    ResourceId::parse(&text)
}

/// The scope of an extension resource (role assignments, locks, policies, tags). The root, and the root management group, is
/// the caller's tenant.
pub(crate) fn scope_id(head: &Head, caller: &Caller) -> Result<ResourceId> {
    let text = head.params.get("scope");
    if text.is_empty() {
        return Ok(own_tenant(caller));
    }
    let id = ResourceId::parse(&format!("/{text}"))?;
    if id.tenant_id().is_some() || id.subscription_id().is_some() {
        return Ok(id);
    }
    let of_a_management_group = id.folded().starts_with("/providers/microsoft.management/managementgroups/");
    match caller.tenant().filter(|_| of_a_management_group) {
        Some(tenant) => crate::rulings::inner(id.as_str(), tenant),
        None => Err(Error::not_implemented(format!("The scope '{id}'"))),
    }
}

/// As [`scope`], of what the whole tenant keeps (its own roles): the rows are the tenant's.
pub(crate) fn of_tenant(_: &Arm, head: &Head, caller: &Caller, near: &Neighbours) -> Result<Target> {
    checked(head, caller, || {
        let found = inside(scope_id(head, caller)?)?;
        // whether another tenant's scope exists is not said
        let owner = near.facts(|f| f.tenant_of(&found.scope));
        if owner.is_none() || owner != caller.tenant() {
            return Ok(found);
        }
        Ok(Target { resource: own_tenant(caller), ..found })
    })
}

/// The management group that the path names: roles at it, rows of its tenant, since a tree is changed at two places at once.
pub(crate) fn management_group(_: &Arm, head: &Head, caller: &Caller, _: &Neighbours) -> Result<Target> {
    checked(head, caller, || {
        let scope = management_group_id(head, caller)?;
        Ok(Target { resource: own_tenant(caller), detail: crate::rulings::outer_scope(&scope), scope })
    })
}

/// Error `InvalidManagementGroupName`-like: 1 to 90 letters, digits and `-_().`, no final period.
pub(crate) fn management_group_id(head: &Head, caller: &Caller) -> Result<ResourceId> {
    let name = head.params.get("mg");
    let legal = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.' | '(' | ')');
    if name.is_empty() || name.len() > 90 || name.ends_with('.') || !name.chars().all(legal) {
        return Err(Error::invalid(
            "BadRequest",
            format!("The management group id '{name}' is invalid: it has 1 to 90 letters, digits and '-', '_', '(', ')', '.', and no final period."),
        )
        .at("groupId"));
    }
    match caller.tenant() {
        Some(tenant) => crate::rulings::inner(&format!("/providers/Microsoft.Management/managementGroups/{name}"), tenant),
        None => Ok(ResourceId::region()),
    }
}
