//! Who may do what: Azure's role-based access control, judged purely from facts.
//!
//! Anna holds *Reader* at her subscription and *Storage Blob Data Reader* at one container. She may list resource
//! groups (Reader's `*/read` matches, and the group is inside the subscription) and read blobs of that container
//! (a data action, from the other role). She may not read another container's blobs: `*/read` of Reader is a
//! management action, and management actions never open data. Nobody is allowed what no assignment says; there is no
//! deny but absence. What every principal may do without an assignment is the table [`EXCEPTIONS`], which is all.

use crate::builtin::{self, Role};
use base::{Error, Kind, ResourceId};
use trust::{Ask, Assignment, Facts, Principal, Rules, Verdict};

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
}

/// What the caller must have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Needs {
    /// Being of the tenant.
    Membership,
    /// Any role, at a scope above or inside. Lists then show only what its roles let it read.
    AnyAssignment,
}

/// What is allowed without a role that says so. Nothing else is.
pub const EXCEPTIONS: &[(&str, At, Needs)] = &[
    ("Microsoft.Resources/tenants/read", At::Tenant, Needs::Membership),
    ("Microsoft.Resources/subscriptions/read", At::Tenant, Needs::Membership), // lists those where it has a role
    ("Microsoft.Resources/providers/read", At::Tenant, Needs::Membership),
    ("Microsoft.Resources/operations/read", At::Tenant, Needs::Membership),
    ("Microsoft.Authorization/roleDefinitions/read", At::Tenant, Needs::Membership),
    ("microsoft.directory/*/read", At::Tenant, Needs::Membership),
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

/// The role and assignment that grant it, without looking at [`EXCEPTIONS`]; of several, one of the innermost scope.
pub fn granted<'f>(
    facts: &'f Facts,
    principal: &Principal,
    action: &str,
    data: bool,
    scope: &ResourceId,
) -> Option<(&'static Role, &'f Assignment)> {
    let identities = facts.identities(principal.object);
    facts.scopes_of(scope).iter().find_map(|scope| {
        identities
            .iter()
            .flat_map(|identity| facts.assignments_at(*identity, scope))
            .filter(|a| a.tenant == principal.tenant)
            .find_map(|a| builtin::role(&a.role).filter(|r| r.grants(action, data)).map(|r| (r, a)))
    })
}

/// Has the principal any role at the scope, above it or inside it?
pub fn any_assignment(facts: &Facts, principal: &Principal, scope: &ResourceId) -> bool {
    let counts = |a: &Assignment| a.tenant == principal.tenant && builtin::role(&a.role).is_some_and(|r| !r.directory);
    let scopes = facts.scopes_of(scope);
    facts.identities(principal.object).into_iter().any(|identity| {
        scopes.iter().any(|scope| facts.assignments_at(identity, scope).any(counts)) || facts.has_assignments_below(identity, scope, counts)
    })
}

fn excepted(facts: &Facts, principal: &Principal, action: &str, scope: &ResourceId) -> bool {
    EXCEPTIONS.iter().any(|(pattern, at, needs)| {
        let here = match at {
            At::Tenant => scope.segments().count() == 2 && scope.tenant_id() == Some(principal.tenant),
            At::Subscription => scope.segments().count() == 2 && scope.subscription_id().is_some(),
            At::Group => scope.segments().count() == 4 && scope.resource_group().is_some(),
        };
        here && matches(pattern, action) && (*needs == Needs::Membership || any_assignment(facts, principal, scope))
    })
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
        let mut because = String::new();
        for action in &ask.actions {
            match granted(facts, principal, action, ask.data, &ask.scope) {
                Some((role, assignment)) if because.is_empty() => because = format!("role {} by {}", role.name, assignment.id),
                Some(_) => {}
                None if !ask.data && excepted(facts, principal, action, &ask.scope) => {}
                None => return Verdict::Refuse(refusal(principal, action, &ask.scope, ask.data)),
            }
        }
        if because.is_empty() {
            because = "every principal of the tenant may".to_owned();
        }
        Verdict::Allow { because }
    }
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
