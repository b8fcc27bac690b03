//! Who may do what: Azure's role-based access control, judged purely from facts.
//!
//! Anna holds *Reader* at her subscription and *Storage Blob Data Reader* at one container. She may list resource
//! groups (Reader's `*/read` matches, and the group is inside the subscription) and read blobs of that container
//! (a data action, from the other role). She may not read another container's blobs: `*/read` of Reader is a
//! management action, and management actions never open data. Nobody is allowed what no assignment says. What every principal
//! may do without an assignment is the table [`EXCEPTIONS`], which is all.
//!
//! In this order: a role must grant it (built-in or custom, with its condition, at the scope or above: management groups
//! count), no deny assignment may take it away, no lock may stand in its way. A rule that can't be read refuses.

use crate::builtin::{self, Role};
use crate::rulings::{self, CONDITION, Condition, CustomRole, DENY, Deny, LOCK, Lock, MANAGEMENT_GROUP, ROLE};
use base::{Error, Kind, ObjectId, ResourceId, TenantId};
use policy::abac::{self, Known, Source};
use std::borrow::Cow;
use trust::{Ask, Assignment, Caller, Facts, Principal, Rules, Verdict};

/// The rules of `trust`, by Azure RBAC.
#[derive(Debug, Default, Clone, Copy)]
pub struct AzureRoles;

/// Azure serves these at data endpoints though they are management actions (`actions` of a role, not `dataActions`).
const MANAGEMENT_ACTIONS_AT_DATA_DOORS: &[&str] = &[
    "Microsoft.Storage/storageAccounts/blobServices/read",
    "Microsoft.Storage/storageAccounts/blobServices/write",
    "Microsoft.Storage/storageAccounts/blobServices/generateUserDelegationKey/action",
    "Microsoft.Storage/storageAccounts/blobServices/containers/read",
    "Microsoft.Storage/storageAccounts/blobServices/containers/write",
    "Microsoft.Storage/storageAccounts/blobServices/containers/delete",
    "Microsoft.Storage/storageAccounts/blobServices/containers/getAcl/action",
    "Microsoft.Storage/storageAccounts/blobServices/containers/setAcl/action",
];

/// At which scopes an exception holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum At {
    /// The caller's own tenant.
    Tenant,
    /// A subscription itself, nothing inside it.
    Subscription,
    /// A resource group itself.
    Group,
    /// A management group that is not there yet.
    NewManagementGroup,
}

/// What the caller must have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Needs {
    /// Being of the tenant.
    Membership,
    /// Any role, at a scope above or inside. Lists then show only what its roles let it read.
    AnyAssignment,
    /// The directory's Global Administrator, who may take over a tenant whose owners are gone.
    GlobalAdministrator,
}

/// What is allowed without a role that says so. Nothing else is.
pub const EXCEPTIONS: &[(&str, At, Needs)] = &[
    ("Microsoft.Resources/tenants/read", At::Tenant, Needs::Membership),
    ("Microsoft.Resources/subscriptions/read", At::Tenant, Needs::Membership), // lists those where it has a role
    ("Microsoft.Resources/providers/read", At::Tenant, Needs::Membership),
    ("Microsoft.Resources/operations/read", At::Tenant, Needs::Membership),
    ("Microsoft.Authorization/roleDefinitions/read", At::Tenant, Needs::Membership),
    ("microsoft.directory/*/read", At::Tenant, Needs::Membership),
    ("Microsoft.Management/managementGroups/read", At::Tenant, Needs::Membership), // lists those that it may read
    ("Microsoft.Management/managementGroups/write", At::NewManagementGroup, Needs::Membership), // its maker owns it
    ("Microsoft.Authorization/policyDefinitions/read", At::Tenant, Needs::Membership),
    ("Microsoft.Authorization/policySetDefinitions/read", At::Tenant, Needs::Membership),
    ("Microsoft.Authorization/elevateAccess/Action", At::Tenant, Needs::GlobalAdministrator),
    ("Microsoft.Authorization/roleAssignments/read", At::Tenant, Needs::GlobalAdministrator), // who may take over sees from whom
    ("Microsoft.Resources/subscriptions/read", At::Subscription, Needs::AnyAssignment),
    ("Microsoft.Resources/subscriptions/locations/read", At::Subscription, Needs::AnyAssignment),
    ("Microsoft.Resources/subscriptions/providers/read", At::Subscription, Needs::AnyAssignment),
    ("Microsoft.Resources/subscriptions/resourceGroups/read", At::Subscription, Needs::AnyAssignment),
    ("Microsoft.Resources/subscriptions/resources/read", At::Subscription, Needs::AnyAssignment),
    ("Microsoft.Resources/subscriptions/resourceGroups/resources/read", At::Group, Needs::AnyAssignment),
    ("Microsoft.Resources/subscriptions/operationresults/read", At::Subscription, Needs::AnyAssignment),
];

/// `*` stands for any characters, `/` included; case does not matter (Azure RBAC, "role definitions").
pub fn matches(pattern: &str, action: &str) -> bool {
    let (pattern, action) = (pattern.as_bytes(), action.as_bytes());
    let (mut at, mut got) = (0, 0);
    // the last star, and how much of the action it does not take yet
    let mut star: Option<(usize, usize)> = None;
    while got < action.len() {
        match pattern.get(at) {
            Some(b'*') => {
                star = Some((at, got));
                at += 1;
            }
            Some(byte) if byte.eq_ignore_ascii_case(&action[got]) => (at, got) = (at + 1, got + 1),
            _ => {
                let Some((place, taken)) = star else { return false };
                star = Some((place, taken + 1));
                (at, got) = (place + 1, taken + 1);
            }
        }
    }
    pattern[at..].iter().all(|byte| *byte == b'*')
}

fn any(patterns: &[&str], action: &str) -> bool {
    patterns.iter().any(|p| matches(p, action))
}

impl Role {
    /// Does the role grant the action? `data`: it is asked for at a data endpoint.
    pub fn grants(&self, action: &str, data: bool) -> bool {
        if !data {
            return any(self.actions, action) && !any(self.not_actions, action);
        }
        if MANAGEMENT_ACTIONS_AT_DATA_DOORS.iter().any(|a| a.eq_ignore_ascii_case(action)) {
            return self.grants(action, false);
        }
        any(self.data_actions, action) && !any(self.not_data_actions, action)
    }
}

/// A role, built in or of the tenant's own.
#[derive(Debug)]
pub(crate) enum AnyRole {
    BuiltIn(&'static Role),
    Custom(CustomRole),
}

impl AnyRole {
    pub(crate) fn name(&self) -> &str {
        match self {
            AnyRole::BuiltIn(role) => role.name,
            AnyRole::Custom(role) => &role.name,
        }
    }
    fn grants(&self, action: &str, data: bool) -> bool {
        match self {
            AnyRole::BuiltIn(role) => role.grants(action, data),
            AnyRole::Custom(role) => role.permissions.iter().any(|p| p.covers(action, is_data(action, data))),
        }
    }
}

/// What a role's `dataActions` are about: some actions at data endpoints are management actions.
fn is_data(action: &str, data: bool) -> bool {
    data && !MANAGEMENT_ACTIONS_AT_DATA_DOORS.iter().any(|a| a.eq_ignore_ascii_case(action))
}

/// Where the tenant keeps a role of its own.
pub(crate) fn custom_role_id(tenant: TenantId, name: &str) -> base::Result<ResourceId> {
    ResourceId::tenant(tenant).provider("Microsoft.Authorization/roleDefinitions", &name.to_ascii_lowercase())
}

/// The role with this GUID. `None`: there is none, or it can't be read, and so grants nothing.
pub(crate) fn role_of(facts: &Facts, tenant: TenantId, name: &str) -> Option<AnyRole> {
    if let Some(role) = builtin::role(name) {
        return Some(AnyRole::BuiltIn(role));
    }
    let fact = facts.scoped_fact(ROLE, &custom_role_id(tenant, name).ok()?)?;
    rulings::read(fact).ok().map(AnyRole::Custom)
}

/// One action of what is asked, as conditions see it.
struct Conditional<'a> {
    action: &'a str,
    about: About<'a>,
    scope: &'a ResourceId,
}

impl abac::Request for Conditional<'_> {
    fn action(&self) -> &str {
        self.action
    }
    fn sub_operation(&self) -> Option<&str> {
        (self.about.verb == "List Blobs").then_some("Blob.List")
    }
    /// Storage's attributes (Azure, "attributes for conditions"); what is not built here is not there, and what nobody
    /// knows is unknown.
    fn attribute(&self, source: Source, name: &str) -> Known<'_> {
        const ACCOUNT: &str = "microsoft.storage/storageaccounts";
        const CONTAINERS: &str = "microsoft.storage/storageaccounts/blobservices/containers";
        let one = |value: Option<&str>| value.map_or(Known::Absent, |v| Known::Values(vec![Cow::Owned(v.to_owned())]));
        let folded = name.to_ascii_lowercase();
        let segments: Vec<&str> = self.scope.segments().collect();
        let after = |kind: &str| {
            let at = segments.iter().position(|s| s.eq_ignore_ascii_case(kind))?;
            segments.get(at + 1).copied()
        };
        // "container/blob", or "container?prefix=…" of a list: a container's name holds neither
        let detail = self.about.detail;
        let (blob, prefix) = match detail.find(['/', '?']) {
            Some(at) if detail[at..].starts_with('/') => (Some(&detail[at + 1..]), None),
            Some(at) => (None, detail[at..].strip_prefix("?prefix=")),
            None => (None, None),
        };
        let of = |base: &str, property: &str| folded.strip_prefix(base) == Some(property);
        match source {
            Source::Resource if of(ACCOUNT, ":name") => one(after("storageAccounts")),
            Source::Resource if of(CONTAINERS, ":name") => one(after("containers")),
            Source::Resource if of(CONTAINERS, "/blobs:path") => one(blob),
            Source::Request if of(CONTAINERS, "/blobs:prefix") => one(prefix),
            Source::Request if of(CONTAINERS, "/blobs:snapshot") || of(CONTAINERS, "/blobs:versionid") => Known::Absent,
            Source::Resource if of(ACCOUNT, ":ishnsenabled") => one(Some("false")),
            Source::Environment if folded == "isprivatelink" => one(Some("false")),
            Source::Environment if folded.starts_with("microsoft.network/") => Known::Absent,
            _ => Known::Unknown,
        }
    }
}

/// What is asked, beyond the action: for conditions.
#[derive(Clone, Copy, Default)]
struct About<'a> {
    verb: &'a str,
    detail: &'a str,
}

/// The condition of an assignment holds, or it has none. One that can't be read does not hold.
fn holds(facts: &Facts, assignment: &Assignment, action: &str, scope: &ResourceId, about: About<'_>) -> bool {
    let Some(fact) = facts.scoped_fact(CONDITION, &assignment.id) else { return true };
    let Ok(condition) = rulings::read::<Condition>(fact) else { return false };
    abac::Condition::read(&condition.text).is_ok_and(|c| c.holds(&Conditional { action, about, scope }))
}

/// Who asks, and where: worked out once for all actions of an ask.
struct Standing {
    tenant: TenantId,
    identities: Vec<ObjectId>,
    /// Innermost first.
    scopes: Vec<ResourceId>,
}

impl Standing {
    fn of(facts: &Facts, principal: &Principal, scope: &ResourceId) -> Standing {
        Standing { tenant: principal.tenant, identities: facts.identities(principal.object), scopes: facts.scopes_of(scope) }
    }
    fn assignments<'f>(&self, facts: &'f Facts) -> impl Iterator<Item = &'f Assignment> {
        let pairs = self.scopes.iter().flat_map(|scope| self.identities.iter().map(move |identity| (*identity, scope)));
        pairs.flat_map(|(identity, scope)| facts.assignments_at(identity, scope)).filter(|a| a.tenant == self.tenant)
    }
    /// Of several, one of the innermost scope.
    fn granted<'f>(
        &self,
        facts: &'f Facts,
        action: &str,
        data: bool,
        scope: &ResourceId,
        about: About<'_>,
    ) -> Option<(AnyRole, &'f Assignment)> {
        self.assignments(facts).find_map(|a| {
            let role = role_of(facts, self.tenant, &a.role).filter(|r| r.grants(action, data))?;
            holds(facts, a, action, scope, about).then_some((role, a))
        })
    }
    /// The deny assignment that takes the action away.
    fn denied<'f>(&self, facts: &'f Facts, action: &str, data: bool, scope: &ResourceId) -> Option<(String, &'f trust::Scoped)> {
        let mut here = self.scopes.iter().flat_map(|s| facts.scoped_at(DENY, s)).filter(|f| f.tenant == self.tenant);
        here.find_map(|fact| {
            // one that can't be read takes everything away
            let Ok(deny) = rulings::read::<Deny>(fact) else { return Some((String::new(), fact)) };
            let among = |list: &[ObjectId]| self.identities.iter().any(|i| list.contains(i));
            let hit = (deny.below || fact.scope == *scope)
                && (deny.everybody || among(&deny.principals))
                && !among(&deny.excluded)
                && deny.permissions.iter().any(|p| p.covers(action, is_data(action, data)));
            hit.then_some((deny.name, fact))
        })
    }
}

/// The role and the assignment that grant it, without looking at [`EXCEPTIONS`]; none where a deny assignment takes it away.
pub(crate) fn granted<'f>(
    facts: &'f Facts,
    principal: &Principal,
    action: &str,
    data: bool,
    scope: &ResourceId,
) -> Option<(AnyRole, &'f Assignment)> {
    let standing = Standing::of(facts, principal, scope);
    let found = standing.granted(facts, action, data, scope, About::default())?;
    standing.denied(facts, action, data, scope).is_none().then_some(found)
}

/// Has the principal any role at the scope, above it or inside it?
pub fn any_assignment(facts: &Facts, principal: &Principal, scope: &ResourceId) -> bool {
    let standing = Standing::of(facts, principal, scope);
    let counts = |a: &Assignment| a.tenant == principal.tenant && builtin::role(&a.role).is_none_or(|r| !r.directory);
    standing.assignments(facts).any(counts) || standing.identities.iter().any(|i| facts.has_assignments_below(*i, scope, counts))
}

fn is_global_administrator(facts: &Facts, principal: &Principal) -> bool {
    let tenant = ResourceId::tenant(principal.tenant);
    let identities = facts.identities(principal.object);
    let held =
        |i: &ObjectId| facts.assignments_at(*i, &tenant).any(|a| a.role == builtin::GLOBAL_ADMINISTRATOR && a.tenant == principal.tenant);
    identities.iter().any(held)
}

fn excepted(facts: &Facts, principal: &Principal, action: &str, scope: &ResourceId) -> bool {
    EXCEPTIONS.iter().any(|(pattern, at, needs)| {
        if !matches(pattern, action) {
            return false;
        }
        let here = match at {
            At::Tenant => scope.segments().count() == 2 && scope.tenant_id() == Some(principal.tenant),
            At::Subscription => scope.segments().count() == 2 && scope.subscription_id().is_some(),
            At::Group => scope.segments().count() == 4 && scope.resource_group().is_some(),
            At::NewManagementGroup => {
                let kind = scope.resource_type().unwrap_or_default();
                scope.tenant_id() == Some(principal.tenant)
                    && kind.eq_ignore_ascii_case("Microsoft.Management/managementGroups")
                    && scope.segments().count() == 6
                    && facts.scoped_fact(MANAGEMENT_GROUP, scope).is_none()
            }
        };
        here && match needs {
            Needs::Membership => true,
            Needs::AnyAssignment => any_assignment(facts, principal, scope),
            Needs::GlobalAdministrator => is_global_administrator(facts, principal),
        }
    })
}

/// What a lock forbids here (Azure, "lock resources": `CanNotDelete`, `ReadOnly`).
fn locked(facts: &Facts, ask: &Ask) -> Option<Error> {
    // what was asked for before the lock was set is carried on to its end
    if ask.data || (ask.verb == "Apply Step" && matches!(ask.caller, Caller::Worker { .. })) {
        return None;
    }
    let kind = match ask.scope.resource_type() {
        Some(kind) => kind,
        None if ask.scope.resource_group().is_some() => "Microsoft.Resources/subscriptions/resourceGroups".to_owned(),
        None => "Microsoft.Resources/subscriptions".to_owned(),
    };
    for action in ask.actions.iter().map(|a| a.to_ascii_lowercase()) {
        let deletes = action.ends_with("/delete");
        let writes = action.ends_with("/write") || action.ends_with("/action");
        if !(deletes || writes) || action.starts_with("microsoft.authorization/locks/") {
            continue;
        }
        // a lock that can't be read forbids
        let forbids = |f: &&trust::Scoped| deletes || rulings::read::<Lock>(f).map_or(true, |l| l.read_only);
        let mut found: Vec<&ResourceId> = facts.scoped_above(LOCK, &ask.scope).into_iter().filter(forbids).map(|f| &f.scope).collect();
        if deletes && action.strip_suffix("/delete") == Some(&kind.to_ascii_lowercase()) {
            // what is deleted takes with it what is inside
            found.extend(facts.scoped_below(LOCK, &ask.scope).take(16).map(|f| &f.scope));
        }
        if found.is_empty() {
            continue;
        }
        found.sort_unstable();
        found.dedup();
        let scopes: Vec<String> = found.into_iter().map(rulings::outer_scope).collect();
        let what = if deletes { "delete" } else { "write" };
        let why = format!(
            "The scope '{}' cannot perform {what} operation because following scope(s) are locked: '{}'. Please remove the lock and try again.",
            rulings::outer_scope(&ask.scope),
            scopes.join(",")
        );
        return Some(Error::new(Kind::Conflict, "ScopeLocked", why));
    }
    None
}

impl Rules for AzureRoles {
    fn judge(&self, ask: &Ask, facts: &Facts) -> Verdict {
        let Some(principal) = ask.caller.principal() else {
            return Verdict::Refuse(Error::new(Kind::Forbidden, "AuthorizationFailed", "This kind of caller has no roles."));
        };
        if ask.actions.is_empty() {
            // a row without actions asks for nothing that could be granted: deny by default
            return Verdict::Refuse(refusal(principal, "*", &ask.scope, ask.data));
        }
        let standing = Standing::of(facts, principal, &ask.scope);
        let about = About { verb: ask.verb, detail: &ask.detail };
        let mut because = String::new();
        for action in &ask.actions {
            match standing.granted(facts, action, ask.data, &ask.scope, about) {
                Some((role, assignment)) if because.is_empty() => because = format!("role {} by {}", role.name(), assignment.id),
                Some(_) => {}
                None if !ask.data && excepted(facts, principal, action, &ask.scope) => continue,
                None => return Verdict::Refuse(refusal(principal, action, &ask.scope, ask.data)),
            }
            if let Some((name, fact)) = standing.denied(facts, action, ask.data, &ask.scope) {
                return Verdict::Refuse(taken_away(principal, action, ask, &name, fact));
            }
        }
        if let Some(error) = locked(facts, ask) {
            return Verdict::Refuse(error);
        }
        if because.is_empty() {
            because = "every principal of the tenant may".to_owned();
        }
        Verdict::Allow { because }
    }
}

fn taken_away(principal: &Principal, action: &str, ask: &Ask, name: &str, fact: &trust::Scoped) -> Error {
    if ask.data {
        return refusal(principal, action, &ask.scope, true);
    }
    let why = format!(
        "The client '{}' with object id '{}' has permission to perform action '{action}' on scope '{}'; however, the access is denied because of the deny assignment with name '{name}' and Id '{}' at scope '{}'.",
        principal.name,
        principal.object,
        ask.scope,
        fact.id.name(),
        fact.scope
    );
    Error::new(Kind::Forbidden, "DenyAssignmentAuthorizationFailed", why)
}

fn refusal(principal: &Principal, action: &str, scope: &ResourceId, data: bool) -> Error {
    if data {
        // the data endpoints' words (Azure Storage, "common REST API error codes")
        return Error::new(
            Kind::Forbidden,
            "AuthorizationPermissionMismatch",
            "This request is not authorized to perform this operation using this permission.",
        );
    }
    Error::new(
        Kind::Forbidden,
        "AuthorizationFailed",
        format!(
            "The client '{}' with object id '{}' does not have authorization to perform action '{action}' over scope '{scope}' or the scope is invalid. If access was recently granted, please refresh your credentials.",
            principal.name, principal.object
        ),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn wildcards_match_as_azure_documents_them() {
        for (pattern, action, want) in [
            ("*", "Anything/at/all", true),
            ("*/read", "Microsoft.Storage/storageAccounts/READ", true),
            ("*/read", "Microsoft.Storage/storageAccounts/readers", false),
            ("Microsoft.Authorization/*/Write", "microsoft.authorization/roleAssignments/write", true),
            ("Microsoft.Authorization/*/Write", "Microsoft.Authorization/write", false),
            ("Microsoft.Storage/storageAccounts/*", "Microsoft.Storage/storageAccountsX/read", false),
            ("a*b*c", "abc", true),
            ("a*b*c", "acb", false),
            ("exact", "exact", true),
            ("exact", "exactly", false),
            ("ab*ba", "aba", false),
        ] {
            assert_eq!(matches(pattern, action), want, "{pattern} on {action}");
        }
    }

    #[test]
    fn ids_are_unique_lower_case_guids() {
        let mut ids: Vec<&str> = builtin::ROLES.iter().map(|r| r.id).collect();
        assert!(ids.iter().all(|i| i.parse::<base::ObjectId>().is_ok() && i.to_ascii_lowercase() == *i));
        ids.sort_unstable();
        ids.dedup();
        assert_eq!(ids.len(), builtin::ROLES.len());
    }

    proptest! {
        #[test]
        fn a_pattern_without_star_is_equality(a in "[a-c/]{0,6}", b in "[a-c/]{0,6}") {
            prop_assert_eq!(matches(&a, &b), a == b);
        }
        #[test]
        fn a_star_takes_anything(before in "[a-c/]{0,4}", middle in "[a-c/*]{0,6}", after in "[a-c/]{0,4}") {
            let (pattern, action) = (format!("{before}*{after}"), format!("{before}{middle}{after}"));
            prop_assert!(matches(&pattern, &action));
        }
    }
}
