//! Conditional access, the first piece: who in a tenant must have a second factor. A policy is a fact of its tenant, so
//! that sign-in judges it without a permit; Graph writes it (`graph/conditional_access.rs`).

use base::{ObjectId, ResourceId, Result, Stored, TenantId};
use serde::{Deserialize, Serialize};
use trust::{Directory, Facts};

/// Facts of policies: [`trust::Scoped`] at the tenant.
pub(crate) const FAMILY: &str = "conditional-access";

/// What a policy comes to. As Graph shows it, it stands beside, as text.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Policy {
    /// `enabled`; a disabled policy asks for nothing.
    pub enabled: bool,
    pub everybody: bool,
    pub users: Vec<ObjectId>,
    /// Directory roles, by the GUID of their template, lower case.
    pub roles: Vec<String>,
    pub except: Vec<ObjectId>,
    /// Graph's JSON, as it was sent and completed.
    pub shown: String,
}

impl Stored for Policy {
    const NAME: &'static str = "identity.conditional-access";
    const VERSION: u8 = 1;
    type Previous = Policy;
    fn upgrade(previous: Policy) -> Policy {
        previous
    }
}

impl Policy {
    fn asks(&self, user: ObjectId, roles: &[&str]) -> bool {
        let is_meant = self.everybody || self.users.contains(&user) || self.roles.iter().any(|r| roles.contains(&r.as_str()));
        self.enabled && is_meant && !self.except.contains(&user)
    }
}

/// `/tenants/{tenant}/providers/microsoft.directory/conditionalAccessPolicies/{id}`.
pub(crate) fn policy_id(tenant: TenantId, id: &str) -> Result<ResourceId> {
    ResourceId::tenant(tenant).provider("microsoft.directory/conditionalAccessPolicies", id)
}

/// Whether a policy of the user's tenant asks for a second factor. A policy that can't be read asks for one.
pub(crate) fn requires_second_factor(facts: &Facts, user: &Directory) -> bool {
    let tenant = ResourceId::tenant(user.tenant);
    let mut policies = facts.scoped_at(FAMILY, &tenant).peekable();
    if policies.peek().is_none() {
        return false;
    }
    let assignments = facts.assignments_for(user.object);
    let roles: Vec<&str> = assignments.iter().filter(|a| tenant.is_within(&a.scope)).map(|a| a.role.as_str()).collect();
    policies.any(|fact| base::decode::<Policy>(&fact.value).map_or(true, |policy| policy.asks(user.object, &roles)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_policy_asks_of_whom_it_means_and_of_nobody_else() {
        let (anna, ben) = (ObjectId(uuid::Uuid::from_u128(1)), ObjectId(uuid::Uuid::from_u128(2)));
        let none = Policy { enabled: true, everybody: false, users: vec![], roles: vec![], except: vec![], shown: "{}".into() };
        assert!(!none.asks(anna, &["r"]));
        let roles = Policy { roles: vec!["r".into()], ..none.clone() };
        assert!(roles.asks(anna, &["q", "r"]) && !roles.asks(anna, &["q"]));
        let all = Policy { everybody: true, except: vec![ben], ..none.clone() };
        assert!(all.asks(anna, &[]) && !all.asks(ben, &[]));
        assert!(!Policy { enabled: false, ..all }.asks(anna, &[]));
        assert!(Policy { users: vec![ben], ..none.clone() }.asks(ben, &[]));
        assert_eq!(base::decode::<Policy>(&base::encode(&roles)).unwrap(), roles);
    }
}
