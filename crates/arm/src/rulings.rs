//! What tenants say about scopes beyond role assignments: custom roles, conditions, deny assignments, locks, management
//! groups, policies. Each is a fact of a family ([`trust::Scoped`]); its value is one of the stored shapes here.

use base::{Error, ObjectId, ResourceId, Result, Stored, TenantId, Timestamp};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use trust::{Batch, Fact, Facts, Scoped};

pub(crate) const ROLE: &str = "role";
pub(crate) const CONDITION: &str = "condition";
pub(crate) const DENY: &str = "deny";
pub(crate) const LOCK: &str = "lock";
pub(crate) const MANAGEMENT_GROUP: &str = "managementgroup";
pub(crate) const DEFINITION: &str = "policydefinition";
pub(crate) const SET: &str = "policyset";
pub(crate) const POLICY: &str = "policy";
pub(crate) const EXEMPTION: &str = "exemption";
/// What hangs on a scope and goes with it.
pub(crate) const FAMILIES: [&str; 7] = [CONDITION, DENY, LOCK, DEFINITION, SET, POLICY, EXEMPTION];

base::first_version! {
    CustomRole "arm.role";
    Condition "arm.condition";
    Deny "arm.deny";
    Lock "arm.lock";
    ManagementGroup "arm.managementgroup";
    Policy "arm.policy";
    Parent "arm.parent";
}

/// Who made it and who changed it last.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Made {
    pub created: Timestamp,
    pub created_by: Option<ObjectId>,
    pub changed: Timestamp,
    pub changed_by: Option<ObjectId>,
}

/// Microsoft.Authorization/roleDefinitions of type CustomRole.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct CustomRole {
    pub name: String,
    pub description: String,
    pub permissions: Vec<Permission>,
    /// Where it may be assigned, and below.
    pub scopes: Vec<ResourceId>,
    pub made: Made,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Permission {
    pub actions: Vec<String>,
    pub not_actions: Vec<String>,
    pub data_actions: Vec<String>,
    pub not_data_actions: Vec<String>,
}

/// The condition of the role assignment with the same id.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Condition {
    pub text: String,
}

/// Microsoft.Authorization/denyAssignments: made by the region itself, never by a client.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Deny {
    pub name: String,
    pub description: String,
    pub permissions: Vec<Permission>,
    /// Everybody but the excluded.
    pub everybody: bool,
    pub principals: Vec<ObjectId>,
    pub excluded: Vec<ObjectId>,
    /// False: it holds at its scope alone (`doNotApplyToChildScopes`).
    pub below: bool,
    pub made: Made,
}

/// Microsoft.Authorization/locks.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Lock {
    /// `ReadOnly`; else `CanNotDelete`.
    pub read_only: bool,
    pub notes: Option<String>,
    /// `owners` as sent: JSON text.
    pub owners: Option<String>,
}

/// Microsoft.Management/managementGroups.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct ManagementGroup {
    pub display_name: String,
    pub made: Made,
}

/// A policy definition, initiative, assignment or exemption: its `properties`, and what stands beside them, as JSON text.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Policy {
    pub properties: String,
    pub beside: String,
    pub made: Made,
}

/// Under which management group something is: the fact says it all.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Parent {
    pub since: Timestamp,
}

impl Policy {
    pub(crate) fn properties(&self) -> Value {
        serde_json::from_str(&self.properties).unwrap_or(Value::Null)
    }
    pub(crate) fn beside(&self) -> Value {
        serde_json::from_str(&self.beside).unwrap_or(Value::Null)
    }
}

/// The value of a fact. A fact that can't be read is an internal error to whoever asks, never a missing rule.
pub(crate) fn read<T: Stored>(fact: &Scoped) -> Result<T> {
    base::decode(&fact.value)
}

/// The fact that says so.
pub(crate) fn fact<T: Stored>(family: &str, id: ResourceId, tenant: TenantId, scope: ResourceId, value: &T) -> Fact {
    Fact::Scoped(Scoped { family: family.to_owned(), id, tenant, scope, value: base::encode(value) })
}

/// What is there under an id, with the check that it is still so when something is committed upon it.
pub(crate) struct There<T> {
    pub value: Option<T>,
    key: String,
    version: Option<trust::Version>,
}

impl<T: Stored> There<T> {
    pub(crate) fn look(facts: &Facts, family: &str, id: &ResourceId) -> Result<There<T>> {
        let key = Fact::scoped_key(family, id);
        let found = facts.scoped_fact(family, id);
        let version = facts.version(&key);
        Ok(There { value: found.map(read).transpose()?, key, version })
    }
    /// Commit only if it is still so.
    pub(crate) fn unchanged(&self, batch: Batch) -> Batch {
        batch.fact_is(self.key.clone(), self.version)
    }
}

impl Made {
    pub(crate) fn anew(near: &service::Neighbours, before: Option<&Made>) -> Made {
        let (now, by) = (near.clock.now(), near.caller.principal().map(|p| p.object));
        match before {
            Some(before) => Made { changed: now, changed_by: by, ..before.clone() },
            None => Made { created: now, created_by: by, changed: now, changed_by: by },
        }
    }
    /// `systemData` (ARM common types).
    pub(crate) fn system_data(&self) -> Value {
        let by = |o: Option<ObjectId>| o.map(|o| o.to_string());
        serde_json::json!({
            "createdBy": by(self.created_by), "createdByType": "User", "createdAt": self.created.rfc3339(),
            "lastModifiedBy": by(self.changed_by), "lastModifiedByType": "User", "lastModifiedAt": self.changed.rfc3339(),
        })
    }
}

impl Permission {
    /// Does it grant (or deny) the action?
    pub(crate) fn covers(&self, action: &str, data: bool) -> bool {
        let any = |patterns: &[String]| patterns.iter().any(|p| crate::roles::matches(p, action));
        if data { any(&self.data_actions) && !any(&self.not_data_actions) } else { any(&self.actions) && !any(&self.not_actions) }
    }
    /// Error, in words: a malformed one.
    pub(crate) fn read(value: &Value) -> Result<Permission, String> {
        let map = value.as_object().ok_or("a permission is not an object")?;
        let list = |name: &str| -> Result<Vec<String>, String> {
            let found = map.iter().find(|(k, _)| k.eq_ignore_ascii_case(name)).map(|(_, v)| v);
            let items = match found {
                None | Some(Value::Null) => return Ok(Vec::new()),
                Some(Value::Array(items)) => items,
                Some(_) => return Err(format!("'{name}' is not an array")),
            };
            let good = |t: &&str| !t.is_empty() && t.len() <= 512 && t.chars().all(|c| c.is_ascii_alphanumeric() || "*/._-".contains(c));
            let texts = items.iter().map(|i| i.as_str().filter(|t| good(t)).map(str::to_owned)).collect::<Option<Vec<_>>>();
            texts.filter(|t| t.len() <= 2_048).ok_or_else(|| format!("'{name}' holds something that is no action"))
        };
        Ok(Permission {
            actions: list("actions")?,
            not_actions: list("notActions")?,
            data_actions: list("dataActions")?,
            not_data_actions: list("notDataActions")?,
        })
    }
    pub(crate) fn show(&self) -> Value {
        serde_json::json!({
            "actions": self.actions, "notActions": self.not_actions,
            "dataActions": self.data_actions, "notDataActions": self.not_data_actions,
        })
    }
}

/// The root management group is the tenant itself.
fn root(id: &ResourceId) -> bool {
    id.tenant_id().is_some() && id.segments().count() == 2
}

const GROUPS: &str = "/providers/Microsoft.Management/managementGroups/";

/// The id by which facts know what clients call `text`: management groups, and what hangs on them or on the root, are inside
/// their tenant. Error `InvalidResourceId`.
pub(crate) fn inner(text: &str, tenant: TenantId) -> Result<ResourceId> {
    let id = ResourceId::parse(text)?;
    if id.subscription_id().is_some() {
        return Ok(id);
    }
    if id.tenant_id().is_some() {
        return if id.tenant_id() == Some(tenant) {
            Ok(id)
        } else {
            Err(Error::invalid("InvalidResourceId", format!("'{text}' is not a resource id of this tenant.")))
        };
    }
    if id.folded().starts_with(&GROUPS.to_lowercase()) {
        let rest = &id.as_str()[GROUPS.len()..];
        let (name, below) = rest.find('/').map_or((rest, ""), |at| rest.split_at(at));
        // its name is the tenant's id
        if name.eq_ignore_ascii_case(&tenant.to_string()) {
            return ResourceId::parse(&format!("/tenants/{tenant}{below}"));
        }
    }
    if id == ResourceId::region() {
        return Ok(ResourceId::tenant(tenant));
    }
    ResourceId::parse(&format!("/tenants/{tenant}{id}"))
}

/// How clients call a scope.
pub(crate) fn outer_scope(id: &ResourceId) -> String {
    match id.tenant_id() {
        Some(tenant) if root(id) => format!("{GROUPS}{tenant}"),
        Some(_) => without_tenant(id).to_owned(),
        None => id.as_str().to_owned(),
    }
}

/// How clients call something that hangs on a scope.
pub(crate) fn outer(id: &ResourceId, scope: &ResourceId) -> String {
    match id.tenant_id() {
        Some(tenant) if root(scope) => format!("{GROUPS}{tenant}{}", without_tenant(id)),
        Some(_) => without_tenant(id).to_owned(),
        None => id.as_str().to_owned(),
    }
}

fn without_tenant(id: &ResourceId) -> &str {
    // "/tenants/" and a GUID are 45 bytes
    id.as_str().get(45..).unwrap_or("")
}

#[cfg(test)]
mod tests {
    use super::*;

    const T: &str = "6c5b3f1e-0f52-4f6b-9a55-3f1f6c3a1b11";

    #[test]
    fn ids_of_management_groups_go_in_and_out() {
        let tenant: TenantId = T.parse().unwrap();
        let group = inner("/providers/Microsoft.Management/managementGroups/Mg1", tenant).unwrap();
        assert_eq!(group.as_str(), format!("/tenants/{T}/providers/Microsoft.Management/managementGroups/Mg1"));
        assert_eq!(outer_scope(&group), "/providers/Microsoft.Management/managementGroups/Mg1");
        let root = inner(&format!("/providers/Microsoft.Management/managementGroups/{T}"), tenant).unwrap();
        assert_eq!(
            (root.clone(), outer_scope(&root)),
            (ResourceId::tenant(tenant), format!("/providers/Microsoft.Management/managementGroups/{T}"))
        );
        let below =
            inner(&format!("/providers/Microsoft.Management/managementGroups/{T}/providers/Microsoft.Authorization/locks/l"), tenant)
                .unwrap();
        assert_eq!(below.as_str(), format!("/tenants/{T}/providers/Microsoft.Authorization/locks/l"));
        assert_eq!(
            outer(&below, &root),
            format!("/providers/Microsoft.Management/managementGroups/{T}/providers/Microsoft.Authorization/locks/l")
        );
        assert_eq!(inner("/", tenant).unwrap(), ResourceId::tenant(tenant));
        let sub = format!("/subscriptions/{T}/resourceGroups/g");
        assert_eq!(inner(&sub, tenant).unwrap().as_str(), sub);
        assert!(inner("/tenants/00000000-0000-4000-8000-000000000000", tenant).is_err());
    }

    #[test]
    fn permissions_are_read_strictly() {
        let read = |v: Value| Permission::read(&v);
        let good = read(serde_json::json!({"actions": ["*/read"], "notActions": ["Microsoft.Storage/*"], "dataActions": null})).unwrap();
        assert!(good.covers("Microsoft.Compute/x/read", false) && !good.covers("microsoft.storage/x/read", false));
        assert!(!good.covers("Microsoft.Compute/x/read", true));
        for bad in [
            serde_json::json!([]),
            serde_json::json!({"actions": "*"}),
            serde_json::json!({"actions": [1]}),
            serde_json::json!({"actions": ["a b"]}),
            serde_json::json!({"actions": [""]}),
        ] {
            assert!(read(bad).is_err());
        }
    }
}
