//! The facts that rules and sign-in read: tenants, subscriptions, spaces, names, principals, role assignments, sites.
//!
//! `trust` keeps them in memory, so no permit needs a permit. They are written by permits like all else
//! ([`crate::Batch::put_fact`]) and applied here once their commit is durable; at start they are read back from the
//! reserved rows. Everything here is bounded by what customers created.

use crate::PrincipalKind;
use base::{AppId, Location, ObjectId, Place, ResourceId, SpaceId, SubscriptionId, TenantId, Timestamp};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet, VecDeque};
use std::sync::Arc;
use store::Version;

/// One fact, as stored. Its [`Fact::key`] is what it is about: putting a fact replaces the one with the same key.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Fact {
    Tenant(Tenant),
    Subscription(Subscription),
    Space(Space),
    Name(GlobalName),
    Principal(Directory),
    Member { tenant: TenantId, group: ObjectId, member: ObjectId },
    Assignment(Assignment),
    Site(SignedPlace),
    Scoped(Scoped),
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Tenant {
    pub id: TenantId,
    pub name: String,
    /// Verified domains; the first is the default. Unique in the region.
    pub domains: Vec<String>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Subscription {
    pub id: SubscriptionId,
    pub tenant: TenantId,
    pub name: String,
}

/// A resource that owns rows and content: it has a key of its own, wrapped by its tenant's (see `keys`).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Space {
    pub resource: ResourceId,
    pub id: SpaceId,
    /// `None` for the region's own.
    pub tenant: Option<TenantId>,
    /// Where its bytes may be: the residency rule. Copied from the resource at its creation.
    pub location: Location,
    /// The space's key, wrapped.
    pub(crate) wrapped_key: Vec<u8>,
}

/// A name that is unique in the whole region, such as a storage account's.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct GlobalName {
    /// `storage`, `vault`…
    pub zone: String,
    /// Lower case.
    pub name: String,
    pub resource: ResourceId,
}

/// What sign-in and rules need of a directory object.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Directory {
    pub tenant: TenantId,
    pub object: ObjectId,
    pub kind: PrincipalKind,
    /// Service principals: the application's client id.
    pub app: Option<AppId>,
    /// Users: the user principal name.
    pub upn: Option<String>,
    pub display_name: String,
    pub enabled: bool,
    /// Tokens issued before this are void.
    pub tokens_valid_from: Timestamp,
}

/// A role assignment (Microsoft.Authorization/roleAssignments).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Assignment {
    /// `{scope}/providers/Microsoft.Authorization/roleAssignments/{guid}`.
    pub id: ResourceId,
    pub tenant: TenantId,
    pub scope: ResourceId,
    /// The role definition's GUID, lower case.
    pub role: String,
    pub principal: ObjectId,
    pub principal_kind: PrincipalKind,
    pub created: Timestamp,
    pub created_by: Option<ObjectId>,
    pub description: Option<String>,
}

/// What somebody above says about a scope: a lock, a deny assignment, a custom role, a policy assignment, a management
/// group. `trust` finds it by family and scope, and does not read its value.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Scoped {
    /// `lock`, `deny`, `role`, `policy`… and [`PARENT`], which says what a scope inherits from beyond its path.
    pub family: String,
    /// One of each family and id.
    pub id: ResourceId,
    pub tenant: TenantId,
    /// Where it holds, and below.
    pub scope: ResourceId,
    /// Encoded by [`base::encode`] of whoever put it.
    pub value: Vec<u8>,
}

/// The family of facts that put a subscription or a management group (`id`) under a management group (`scope`).
pub const PARENT: &str = "parent";
/// Far more than the facts that commits under way at once can change.
const REMOVED_MAX: usize = 20_000;
/// Management groups may be nested six deep (Azure); a loop of parents ends here.
const SCOPES_MAX: usize = 32;

/// A site's place with the region's signature over it (a C2SP signed note).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SignedPlace {
    pub place: Place,
    pub note: String,
}

base::first_version! { Fact "trust.fact"; }

impl Fact {
    /// What the fact is about, unique among facts.
    pub fn key(&self) -> String {
        match self {
            Fact::Tenant(t) => format!("tenant/{}", t.id),
            Fact::Subscription(s) => format!("subscription/{}", s.id),
            Fact::Space(s) => Fact::space_key(&s.resource),
            Fact::Name(n) => Fact::name_key(&n.zone, &n.name),
            Fact::Principal(p) => Fact::principal_key(p.tenant, p.object),
            Fact::Member { tenant, group, member } => format!("member/{tenant}/{group}/{member}"),
            Fact::Assignment(a) => Fact::assignment_key(&a.id),
            Fact::Site(s) => format!("site/{}", s.place.site),
            Fact::Scoped(s) => Fact::scoped_key(&s.family, &s.id),
        }
    }
    pub fn space_key(resource: &ResourceId) -> String {
        format!("space/{}", resource.folded())
    }
    pub fn name_key(zone: &str, name: &str) -> String {
        format!("name/{zone}/{name}")
    }
    pub fn principal_key(tenant: TenantId, object: ObjectId) -> String {
        format!("principal/{tenant}/{object}")
    }
    pub fn assignment_key(id: &ResourceId) -> String {
        format!("assignment/{}", id.folded())
    }
    pub fn scoped_key(family: &str, id: &ResourceId) -> String {
        format!("scoped/{family}/{}", id.folded())
    }
}

/// The snapshot. Reads are lock-free for whoever holds the guard; `trust` applies changes after each durable commit.
#[derive(Debug, Default)]
pub struct Facts {
    all: BTreeMap<String, Arc<Fact>>,
    /// The commit that last touched a key: two commits may be applied here in either order.
    versions: HashMap<String, u64>,
    /// Keys removed last: their versions outlive them for as long as an older commit may still come to be applied.
    removed: VecDeque<(String, u64)>,
    spaces: HashMap<String, Arc<Space>>,
    tenants: HashMap<TenantId, Tenant>,
    domains: HashMap<String, TenantId>,
    subscriptions: HashMap<SubscriptionId, Subscription>,
    names: HashMap<(String, String), ResourceId>,
    principals: HashMap<ObjectId, Directory>,
    apps: HashMap<AppId, Vec<ObjectId>>,
    upns: HashMap<String, ObjectId>,
    groups_of: HashMap<ObjectId, BTreeSet<ObjectId>>,
    /// By principal, then by scope (folded) and key.
    assignments_of: HashMap<ObjectId, BTreeMap<(String, String), Arc<Fact>>>,
    /// By family, then by scope (folded) and key.
    scoped: HashMap<String, BTreeMap<(String, String), Arc<Fact>>>,
    /// Changes of what is scoped, since the start.
    scoped_changes: u64,
}

impl Facts {
    /// The tenant that owns a resource id; `None` for the region and for what does not exist.
    pub fn tenant_of(&self, id: &ResourceId) -> Option<TenantId> {
        if let Some(tenant) = id.tenant_id() {
            return self.tenants.contains_key(&tenant).then_some(tenant);
        }
        self.subscriptions.get(&id.subscription_id()?).map(|s| s.tenant)
    }
    pub fn tenant(&self, id: TenantId) -> Option<&Tenant> {
        self.tenants.get(&id)
    }
    pub fn tenants(&self) -> impl Iterator<Item = &Tenant> {
        self.tenants.values()
    }
    /// By verified domain, any case.
    pub fn tenant_by_domain(&self, domain: &str) -> Option<TenantId> {
        self.domains.get(&domain.to_ascii_lowercase()).copied()
    }
    pub fn subscription(&self, id: SubscriptionId) -> Option<&Subscription> {
        self.subscriptions.get(&id)
    }
    /// In order of id.
    pub fn subscriptions(&self, tenant: TenantId) -> Vec<&Subscription> {
        let mut found: Vec<_> = self.subscriptions.values().filter(|s| s.tenant == tenant).collect();
        found.sort_by_key(|s| s.id);
        found
    }
    /// The resource that holds a region-wide name.
    pub fn resolve(&self, zone: &str, name: &str) -> Option<&ResourceId> {
        self.names.get(&(zone.to_owned(), name.to_ascii_lowercase()))
    }
    /// The nearest enclosing space.
    pub fn space_for(&self, id: &ResourceId) -> Option<&Arc<Space>> {
        id.scopes().find_map(|scope| self.spaces.get(scope.folded()))
    }
    /// The space of exactly this resource.
    pub fn space(&self, id: &ResourceId) -> Option<&Arc<Space>> {
        self.spaces.get(id.folded())
    }
    pub fn spaces(&self) -> impl Iterator<Item = &Arc<Space>> {
        self.spaces.values()
    }
    pub fn principal(&self, object: ObjectId) -> Option<&Directory> {
        self.principals.get(&object)
    }
    /// Service principals of an application: one a tenant.
    pub fn service_principals(&self, app: AppId) -> Vec<&Directory> {
        self.apps.get(&app).into_iter().flatten().filter_map(|o| self.principals.get(o)).collect()
    }
    pub fn user_by_name(&self, upn: &str) -> Option<&Directory> {
        self.principals.get(self.upns.get(&upn.to_lowercase())?)
    }
    /// The principal itself and each group it is in, nested ones included.
    pub fn identities(&self, object: ObjectId) -> Vec<ObjectId> {
        let mut seen = HashSet::from([object]);
        let mut found = vec![object];
        let mut at = 0;
        while at < found.len() {
            for group in self.groups_of.get(&found[at]).into_iter().flatten() {
                if seen.insert(*group) {
                    found.push(*group);
                }
            }
            at += 1;
        }
        found
    }
    /// The scopes whose assignments, locks and policies reach a resource, innermost first: the resource, what encloses it,
    /// group, subscription, management groups, tenant, region. There is no other definition of inheritance.
    pub fn scopes_of(&self, id: &ResourceId) -> Vec<ResourceId> {
        let (mut found, mut at) = (Vec::new(), Some(id.clone()));
        while let Some(scope) = at.take()
            && found.len() < SCOPES_MAX
        {
            at = match self.scoped_fact(PARENT, &scope) {
                Some(parent) => Some(parent.scope.clone()),
                // a subscription under no management group is its tenant's
                None if scope.subscription_id().is_some() && scope.segments().count() == 2 => {
                    self.tenant_of(&scope).map(ResourceId::tenant).or_else(|| scope.parent())
                }
                None => scope.parent(),
            };
            found.push(scope);
        }
        found
    }
    /// Assignments to the principal or to a group it is in, whatever the scope.
    pub fn assignments_for(&self, object: ObjectId) -> Vec<&Assignment> {
        self.identities(object).iter().filter_map(|o| self.assignments_of.get(o)).flat_map(|m| m.values()).filter_map(assignment).collect()
    }
    /// Assignments of this very identity at this very scope.
    pub fn assignments_at(&self, identity: ObjectId, scope: &ResourceId) -> impl Iterator<Item = &Assignment> {
        self.assignments_of.get(&identity).into_iter().flat_map(|m| exactly(m, scope)).filter_map(assignment)
    }
    /// True when this very identity has an assignment below the scope.
    pub fn has_assignments_below(&self, identity: ObjectId, scope: &ResourceId, wanted: impl Fn(&Assignment) -> bool) -> bool {
        let mine = self.assignments_of.get(&identity);
        mine.into_iter().flat_map(|m| below(m, scope)).filter_map(assignment).any(wanted)
    }
    pub fn assignments(&self, tenant: TenantId) -> Vec<&Assignment> {
        self.scan("assignment/")
            .filter_map(|f| match f {
                Fact::Assignment(a) if a.tenant == tenant => Some(a),
                _ => None,
            })
            .collect()
    }
    /// Assignments made at a scope or below it, of everybody.
    pub fn assignments_within(&self, scope: &ResourceId) -> Vec<&Assignment> {
        // the id of an assignment begins with its scope
        let begins = format!("assignment/{}/", scope.folded().trim_end_matches('/'));
        let found = self.all.range(begins.clone()..).take_while(|(key, _)| key.starts_with(&begins));
        found.filter_map(|(_, f)| assignment(f)).collect()
    }
    pub fn assignment(&self, id: &ResourceId) -> Option<&Assignment> {
        assignment(self.all.get(&Fact::assignment_key(id))?)
    }
    /// The fact of a family with this id.
    pub fn scoped_fact(&self, family: &str, id: &ResourceId) -> Option<&Scoped> {
        scoped(self.all.get(&Fact::scoped_key(family, id))?)
    }
    /// Facts of a family that hold at this very scope, in order of id.
    pub fn scoped_at(&self, family: &str, scope: &ResourceId) -> impl Iterator<Item = &Scoped> {
        self.scoped.get(family).into_iter().flat_map(|m| exactly(m, scope)).filter_map(scoped)
    }
    /// Facts of a family that reach a resource, those of the innermost scope first.
    pub fn scoped_above(&self, family: &str, id: &ResourceId) -> Vec<&Scoped> {
        if self.scoped.get(family).is_none_or(BTreeMap::is_empty) {
            return Vec::new();
        }
        self.scopes_of(id).iter().flat_map(|scope| self.scoped_at(family, scope)).collect()
    }
    /// Another number after each change of anything scoped: what was worked out of such facts still holds while it is the same.
    pub fn scoped_changes(&self) -> u64 {
        self.scoped_changes
    }
    /// Facts of a family that hold below a scope, not at it.
    pub fn scoped_below(&self, family: &str, scope: &ResourceId) -> impl Iterator<Item = &Scoped> {
        self.scoped.get(family).into_iter().flat_map(|m| below(m, scope)).filter_map(scoped)
    }
    /// The version of a fact, for [`crate::Batch::fact_is`] and for caches of what was decoded.
    pub fn version(&self, key: &str) -> Option<Version> {
        self.all.contains_key(key).then(|| self.versions.get(key).copied().map(Version)).flatten()
    }
    pub fn sites(&self) -> Vec<&SignedPlace> {
        self.scan("site/")
            .filter_map(|f| match f {
                Fact::Site(s) => Some(s),
                _ => None,
            })
            .collect()
    }
    pub fn get(&self, key: &str) -> Option<&Fact> {
        self.all.get(key).map(|f| &**f)
    }
    /// Facts whose key begins so, in key order.
    pub fn scan<'a>(&'a self, prefix: &'a str) -> impl Iterator<Item = &'a Fact> {
        self.all.range(prefix.to_owned()..).take_while(move |(k, _)| k.starts_with(prefix)).map(|(_, f)| &**f)
    }

    /// One change of a durable commit; older than what is known of the key, it is ignored.
    pub(crate) fn apply(&mut self, change: Result<Fact, String>, version: u64) {
        let key = match &change {
            Ok(fact) => fact.key(),
            Err(key) => key.clone(),
        };
        if self.versions.get(&key).is_some_and(|known| *known > version) {
            return;
        }
        self.versions.insert(key, version);
        match change {
            Ok(fact) => self.put(fact),
            Err(key) => {
                self.remove(&key);
                self.removed.push_back((key, version));
                self.forget_removed();
            }
        }
    }

    fn forget_removed(&mut self) {
        while self.removed.len() > REMOVED_MAX
            && let Some((key, version)) = self.removed.pop_front()
        {
            if self.versions.get(&key) == Some(&version) && !self.all.contains_key(&key) {
                self.versions.remove(&key);
            }
        }
    }

    /// A fact as read at start, with the version of its row.
    pub(crate) fn load(&mut self, fact: Fact, version: Version) {
        self.versions.insert(fact.key(), version.0);
        self.put(fact);
    }

    fn put(&mut self, fact: Fact) {
        let key = fact.key();
        self.remove(&key);
        let fact = Arc::new(fact);
        match &*fact {
            Fact::Tenant(t) => {
                for d in &t.domains {
                    self.domains.insert(d.to_ascii_lowercase(), t.id);
                }
                self.tenants.insert(t.id, t.clone());
            }
            Fact::Subscription(s) => drop(self.subscriptions.insert(s.id, s.clone())),
            Fact::Space(s) => drop(self.spaces.insert(s.resource.folded().to_owned(), Arc::new(s.clone()))),
            Fact::Name(n) => drop(self.names.insert((n.zone.clone(), n.name.clone()), n.resource.clone())),
            Fact::Principal(p) => {
                if let Some(app) = p.app {
                    self.apps.entry(app).or_default().push(p.object);
                }
                if let Some(upn) = &p.upn {
                    self.upns.insert(upn.to_lowercase(), p.object);
                }
                self.principals.insert(p.object, p.clone());
            }
            Fact::Member { group, member, .. } => drop(self.groups_of.entry(*member).or_default().insert(*group)),
            Fact::Assignment(a) => {
                let place = (a.scope.folded().to_owned(), key.clone());
                self.assignments_of.entry(a.principal).or_default().insert(place, fact.clone());
            }
            Fact::Scoped(s) => {
                self.scoped_changes += 1;
                let place = (s.scope.folded().to_owned(), key.clone());
                self.scoped.entry(s.family.clone()).or_default().insert(place, fact.clone());
            }
            Fact::Site(_) => {}
        }
        self.all.insert(key, fact);
    }

    fn remove(&mut self, key: &str) {
        let Some(old) = self.all.remove(key) else { return };
        match &*old {
            Fact::Tenant(t) => {
                for d in &t.domains {
                    self.domains.remove(&d.to_ascii_lowercase());
                }
                self.tenants.remove(&t.id);
            }
            Fact::Subscription(s) => drop(self.subscriptions.remove(&s.id)),
            Fact::Space(s) => drop(self.spaces.remove(s.resource.folded())),
            Fact::Name(n) => drop(self.names.remove(&(n.zone.clone(), n.name.clone()))),
            Fact::Principal(p) => {
                if let Some(app) = p.app {
                    without(&mut self.apps, &app, |objects| objects.retain(|o| *o != p.object), Vec::is_empty);
                }
                if let Some(upn) = &p.upn {
                    self.upns.remove(&upn.to_lowercase());
                }
                self.principals.remove(&p.object);
            }
            Fact::Member { group, member, .. } => {
                without(&mut self.groups_of, member, |groups| _ = groups.remove(group), BTreeSet::is_empty);
            }
            Fact::Assignment(a) => {
                let place = (a.scope.folded().to_owned(), key.to_owned());
                without(&mut self.assignments_of, &a.principal, |all| drop(all.remove(&place)), BTreeMap::is_empty);
            }
            Fact::Scoped(s) => {
                self.scoped_changes += 1;
                let place = (s.scope.folded().to_owned(), key.to_owned());
                without(&mut self.scoped, &s.family, |all| drop(all.remove(&place)), BTreeMap::is_empty);
            }
            Fact::Site(_) => {}
        }
    }
}

/// Takes something out of one value of an index, and the value with it when nothing is left.
fn without<K: std::hash::Hash + Eq, V>(index: &mut HashMap<K, V>, key: &K, take: impl FnOnce(&mut V), is_empty: impl Fn(&V) -> bool) {
    if let Some(value) = index.get_mut(key) {
        take(value);
        if is_empty(value) {
            index.remove(key);
        }
    }
}

type ByScope = BTreeMap<(String, String), Arc<Fact>>;

fn exactly<'a>(map: &'a ByScope, scope: &ResourceId) -> impl Iterator<Item = &'a Arc<Fact>> + use<'a> {
    let scope = scope.folded().to_owned();
    map.range((scope.clone(), String::new())..).take_while(move |((s, _), _)| *s == scope).map(|(_, f)| f)
}

fn below<'a>(map: &'a ByScope, scope: &ResourceId) -> impl Iterator<Item = &'a Arc<Fact>> + use<'a> {
    let begins = format!("{}/", scope.folded().trim_end_matches('/'));
    map.range((begins.clone(), String::new())..)
        .take_while(move |((s, _), _)| s.starts_with(&begins))
        .filter(|((s, _), _)| s.len() > 1)
        .map(|(_, f)| f)
}

fn assignment(fact: &Arc<Fact>) -> Option<&Assignment> {
    if let Fact::Assignment(a) = &**fact { Some(a) } else { None }
}

fn scoped(fact: &Arc<Fact>) -> Option<&Scoped> {
    if let Fact::Scoped(s) = &**fact { Some(s) } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;
    use base::SeededChance;

    #[test]
    fn scopes_go_up_the_path_then_through_management_groups_to_the_tenant() {
        let chance = SeededChance::new(3);
        let (tenant, subscription) = (TenantId::random(&chance), SubscriptionId::random(&chance));
        let mut facts = Facts::default();
        facts.put(Fact::Tenant(Tenant { id: tenant, name: "t".into(), domains: Vec::new() }));
        facts.put(Fact::Subscription(Subscription { id: subscription, tenant, name: "s".into() }));
        let sub = ResourceId::subscription(subscription);
        let account = sub.child("resourceGroups", "rg").unwrap().provider("Microsoft.Storage/storageAccounts", "a").unwrap();
        let names = |facts: &Facts, id| facts.scopes_of(id).iter().map(|s| s.name().to_owned()).collect::<Vec<_>>();
        let top = tenant.to_string();
        assert_eq!(names(&facts, &account), ["a", "rg", &subscription.to_string(), &top, ""]);

        let group = |name| ResourceId::tenant(tenant).provider("Microsoft.Management/managementGroups", name).unwrap();
        let under = |id: &ResourceId, scope: &ResourceId| {
            Fact::Scoped(Scoped { family: PARENT.into(), id: id.clone(), tenant, scope: scope.clone(), value: Vec::new() })
        };
        facts.put(under(&sub, &group("inner")));
        facts.put(under(&group("inner"), &group("outer")));
        assert_eq!(names(&facts, &account), ["a", "rg", &subscription.to_string(), "inner", "outer", &top, ""]);
        // a loop is not for ever
        facts.put(under(&group("outer"), &group("inner")));
        assert_eq!(facts.scopes_of(&account).len(), SCOPES_MAX);
    }

    #[test]
    fn what_was_removed_is_not_kept_for_ever_and_does_not_come_back_by_an_older_commit() {
        let chance = SeededChance::new(5);
        let (tenant, group) = (TenantId::random(&chance), ObjectId::random(&chance));
        let mut facts = Facts::default();
        let fact = |n: u64| Fact::Member { tenant, group, member: ObjectId::random(&SeededChance::new(n)) };
        for n in 0..(REMOVED_MAX as u64 + 500) {
            facts.apply(Ok(fact(n)), 2 * n + 1);
            facts.apply(Err(fact(n).key()), 2 * n + 2);
        }
        assert_eq!((facts.versions.len(), facts.groups_of.len(), facts.all.len()), (REMOVED_MAX, 0, 0));
        let last = REMOVED_MAX as u64 + 499;
        facts.apply(Ok(fact(last)), 2 * last + 1);
        assert!(facts.all.is_empty(), "an older commit that comes late changes nothing");
    }

    #[test]
    fn what_is_scoped_is_found_at_above_and_below() {
        let chance = SeededChance::new(4);
        let (tenant, subscription) = (TenantId::random(&chance), SubscriptionId::random(&chance));
        let mut facts = Facts::default();
        facts.put(Fact::Tenant(Tenant { id: tenant, name: "t".into(), domains: Vec::new() }));
        facts.put(Fact::Subscription(Subscription { id: subscription, tenant, name: "s".into() }));
        let group = ResourceId::subscription(subscription).child("resourceGroups", "rg").unwrap();
        let twin = ResourceId::subscription(subscription).child("resourceGroups", "rg2").unwrap();
        let lock = |scope: &ResourceId, name: &str| {
            let id = scope.provider("Microsoft.Authorization/locks", name).unwrap();
            Fact::Scoped(Scoped { family: "lock".into(), id, tenant, scope: scope.clone(), value: Vec::new() })
        };
        let inside = group.provider("Microsoft.Storage/storageAccounts", "a").unwrap();
        for (scope, name) in [(&group, "l1"), (&inside, "l2"), (&twin, "l3")] {
            facts.put(lock(scope, name));
        }
        let names = |found: Vec<&Scoped>| found.iter().map(|s| s.id.name().to_owned()).collect::<Vec<_>>();
        assert_eq!(names(facts.scoped_at("lock", &group).collect()), ["l1"]);
        assert_eq!(names(facts.scoped_above("lock", &inside)), ["l2", "l1"]);
        assert_eq!(names(facts.scoped_below("lock", &group).collect()), ["l2"]);
        assert_eq!(names(facts.scoped_above("deny", &inside)), [""; 0]);
        facts.remove(&lock(&group, "l1").key());
        assert_eq!(names(facts.scoped_above("lock", &inside)), ["l2"]);
    }
}
