//! The facts that rules and sign-in read: tenants, subscriptions, spaces, names, principals, role assignments, sites.
//!
//! `trust` keeps them in memory, so no permit needs a permit. They are written by permits like all else
//! ([`crate::Batch::put_fact`]) and applied here once their commit is durable; at start they are read back from the
//! reserved rows. Everything here is bounded by what customers created, about 300 bytes a fact.

use crate::PrincipalKind;
use base::{AppId, Location, ObjectId, Place, ResourceId, SpaceId, Stored, SubscriptionId, TenantId, Timestamp};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::Arc;

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

/// A site's place with the region's signature over it (a C2SP signed note).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SignedPlace {
    pub place: Place,
    pub note: String,
}

impl Stored for Fact {
    const NAME: &'static str = "trust.fact";
    const VERSION: u8 = 1;
    type Previous = Fact;
    fn upgrade(previous: Fact) -> Fact {
        previous
    }
}

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
}

/// The snapshot. Reads are lock-free for whoever holds the guard; `trust` applies changes after each durable commit.
#[derive(Debug, Default)]
pub struct Facts {
    all: BTreeMap<String, Fact>,
    /// The commit that last touched a key: two commits may be applied here in either order.
    versions: HashMap<String, u64>,
    spaces: HashMap<String, Arc<Space>>,
    tenants: HashMap<TenantId, Tenant>,
    domains: HashMap<String, TenantId>,
    subscriptions: HashMap<SubscriptionId, Subscription>,
    names: HashMap<(String, String), ResourceId>,
    principals: HashMap<ObjectId, Directory>,
    apps: HashMap<AppId, Vec<ObjectId>>,
    upns: HashMap<String, ObjectId>,
    groups_of: HashMap<ObjectId, BTreeSet<ObjectId>>,
    assignments_of: HashMap<ObjectId, BTreeMap<String, Assignment>>,
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
    /// Assignments to the principal or to a group it is in, whatever the scope.
    pub fn assignments_for(&self, object: ObjectId) -> Vec<&Assignment> {
        self.identities(object).iter().filter_map(|o| self.assignments_of.get(o)).flat_map(|m| m.values()).collect()
    }
    pub fn assignments(&self, tenant: TenantId) -> Vec<&Assignment> {
        self.scan("assignment/")
            .filter_map(|f| match f {
                Fact::Assignment(a) if a.tenant == tenant => Some(a),
                _ => None,
            })
            .collect()
    }
    pub fn assignment(&self, id: &ResourceId) -> Option<&Assignment> {
        match self.all.get(&Fact::assignment_key(id)) {
            Some(Fact::Assignment(a)) => Some(a),
            _ => None,
        }
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
        self.all.get(key)
    }
    /// Facts whose key begins so, in key order.
    pub fn scan<'a>(&'a self, prefix: &'a str) -> impl Iterator<Item = &'a Fact> {
        self.all.range(prefix.to_owned()..).take_while(move |(k, _)| k.starts_with(prefix)).map(|(_, f)| f)
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
            Err(key) => self.remove(&key),
        }
    }

    pub(crate) fn put(&mut self, fact: Fact) {
        let key = fact.key();
        self.remove(&key);
        match &fact {
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
            Fact::Assignment(a) => drop(self.assignments_of.entry(a.principal).or_default().insert(key.clone(), a.clone())),
            Fact::Site(_) => {}
        }
        self.all.insert(key, fact);
    }

    pub(crate) fn remove(&mut self, key: &str) {
        let Some(old) = self.all.remove(key) else { return };
        match old {
            Fact::Tenant(t) => {
                for d in &t.domains {
                    self.domains.remove(&d.to_ascii_lowercase());
                }
                self.tenants.remove(&t.id);
            }
            Fact::Subscription(s) => drop(self.subscriptions.remove(&s.id)),
            Fact::Space(s) => drop(self.spaces.remove(s.resource.folded())),
            Fact::Name(n) => drop(self.names.remove(&(n.zone, n.name))),
            Fact::Principal(p) => {
                if let Some(app) = p.app {
                    self.apps.entry(app).or_default().retain(|o| *o != p.object);
                }
                if let Some(upn) = &p.upn {
                    self.upns.remove(&upn.to_lowercase());
                }
                self.principals.remove(&p.object);
            }
            Fact::Member { group, member, .. } => {
                if let Some(groups) = self.groups_of.get_mut(&member) {
                    groups.remove(&group);
                }
            }
            Fact::Assignment(a) => {
                if let Some(map) = self.assignments_of.get_mut(&a.principal) {
                    map.remove(key);
                }
            }
            Fact::Site(_) => {}
        }
    }
}
