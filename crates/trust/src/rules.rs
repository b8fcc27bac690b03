//! The rules that somebody above supplies: roles, locks, policy. What is `trust`'s own (residency, tenancy, staff, key
//! state) is judged here too, before them, and can't be overruled.

use crate::{Ask, Caller, Facts};
use base::{Error, Kind, ResourceId};

/// What the rules say. A refusal is already in words for the caller; dialects only spell it.
#[derive(Debug)]
pub enum Verdict {
    /// Allowed, and why: `role Contributor at /subscriptions/…`, for the record.
    Allow {
        because: String,
    },
    Refuse(Error),
}

/// Pure: no clock, no I/O. `arm` implements it.
pub trait Rules: Send + Sync + 'static {
    fn judge(&self, ask: &Ask, facts: &Facts) -> Verdict;
}

/// One thing that a part of the region may do by itself, asked by nobody. There is no other: what is not listed is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Part {
    pub name: &'static str,
    /// The whole action; one that ends in `/` stands for all that begin so (test regions only).
    pub action: &'static str,
    pub reach: Reach,
}

/// What a part's act may be about: exactly such a resource, nothing in it, nothing above it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reach {
    Tenant,
    Subscription,
    /// A resource of this type.
    Resource(&'static str),
    /// Test regions only.
    Anything,
}

const fn part(name: &'static str, action: &'static str, reach: Reach) -> Part {
    Part { name, action, reach }
}

/// What the parts of a region do: the first start, sign-in, the books of long operations, sweeps, reading a record aloud.
pub const PARTS: &[Part] = &[
    part("identity", "bleu.identity/tenants/write", Reach::Tenant),
    part("identity", "bleu.identity/tenants/read", Reach::Tenant),
    part("identity", "bleu.identity/clients/read", Reach::Tenant),
    part("identity", "bleu.identity/credentials/write", Reach::Tenant),
    part("arm", "bleu.arm/subscriptions/write", Reach::Subscription),
    part("arm", "bleu.arm/operations/write", Reach::Subscription),
    part("storage", "bleu.storage/sweep", Reach::Resource("Microsoft.Storage/storageAccounts")),
    part("control", "bleu.control/record/read", Reach::Tenant),
];

impl Part {
    fn allows(&self, name: &str, action: &str, ask: &Ask) -> bool {
        let target = &ask.target;
        let management = !ask.data && ask.scope == *target;
        let reaches = match self.reach {
            Reach::Tenant => management && target.tenant_id().is_some_and(|id| *target == ResourceId::tenant(id)),
            Reach::Subscription => management && target.subscription_id().is_some_and(|id| *target == ResourceId::subscription(id)),
            Reach::Resource(kind) => management && target.resource_type().is_some_and(|t| t.eq_ignore_ascii_case(kind)),
            Reach::Anything => true,
        };
        let named = self.action == action || self.action.ends_with('/') && action.starts_with(self.action);
        self.name == name && named && reaches
    }
}

fn part_may(parts: &[Part], name: &str, ask: &Ask) -> bool {
    let listed = |action: &String| parts.iter().any(|part| part.allows(name, action, ask));
    !ask.actions.is_empty() && ask.actions.iter().all(listed)
}

/// What nobody above can overrule. `None`: not decided here, ask the [`Rules`].
pub(crate) fn judge_first(ask: &Ask, facts: &Facts, parts: &[Part]) -> Option<Verdict> {
    let hidden = || hidden(ask);
    let owner = facts.tenant_of(&ask.target);
    match &ask.caller {
        Caller::Anonymous => Some(Verdict::Refuse(Error::new(Kind::Unauthenticated, "AuthenticationFailed", "A credential is needed."))),
        // the region's own parts do what is listed for them, which no listener routes to
        Caller::Region { part } => Some(if part_may(parts, part, ask) {
            Verdict::Allow { because: format!("region part {part}") }
        } else {
            Verdict::Refuse(hidden())
        }),
        Caller::Key { account, key } => Some(if *account == ask.target && ask.data {
            Verdict::Allow { because: format!("account key {key}") }
        } else {
            Verdict::Refuse(Error::new(Kind::Forbidden, "AuthorizationFailure", "An account key opens only the data of its own account."))
        }),
        Caller::Sas { account, key, limits } => Some(judge_sas(ask, account, key, limits)),
        Caller::Worker { on_behalf_of, .. } => {
            let inner = Ask { caller: (**on_behalf_of).clone(), ..ask.clone() };
            judge_first(&inner, facts, parts)
        }
        Caller::Principal(p) => match owner {
            // another tenant's resource does not exist, whatever its name: nothing may be guessed
            Some(tenant) if tenant != p.tenant => Some(Verdict::Refuse(hidden())),
            Some(_) => None,
            None if ask.target == base::ResourceId::region() => None,
            None => Some(Verdict::Refuse(hidden())),
        },
    }
}

/// What another tenant owns and what nobody owns are refused with the same words. Resource Manager's callers learn which
/// subscription they named, as from Azure.
fn hidden(ask: &Ask) -> Error {
    match ask.target.subscription_id() {
        Some(id) if !ask.data => Error::new(Kind::NotFound, "SubscriptionNotFound", format!("The subscription '{id}' could not be found.")),
        _ => Error::new(Kind::NotFound, "ResourceNotFound", format!("The resource '{}' was not found.", ask.target)),
    }
}

fn judge_sas(ask: &Ask, account: &base::ResourceId, key: &str, limits: &crate::Limits) -> Verdict {
    let refuse = |code: &'static str, why: &str| Verdict::Refuse(Error::new(Kind::Forbidden, code, why.to_owned()));
    if *account != ask.target || !ask.data {
        return refuse("AuthorizationFailure", "A shared access signature opens only the data of its own account.");
    }
    if !ask.scope.is_within(&limits.scope) {
        return refuse("AuthorizationFailure", "The signature is for another resource.");
    }
    if limits.detail.as_ref().is_some_and(|only| *only != ask.detail) {
        return refuse("AuthorizationFailure", "The signature is for another blob.");
    }
    if let Some(missing) = ask.actions.iter().find(|a| !limits.actions.iter().any(|have| have.eq_ignore_ascii_case(a))) {
        return refuse("AuthorizationPermissionMismatch", &format!("The signature does not grant '{missing}'."));
    }
    Verdict::Allow { because: format!("shared access signature by {key}") }
}
