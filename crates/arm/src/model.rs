//! What Resource Manager stores. Every row is in its subscription's space, named by the folded id below the
//! subscription, so that a list of any scope is one scan of a prefix.

use base::{Location, ObjectId, OperationId, ResourceId, Result, Timestamp};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use service::{Have, Step};
use trust::{Caller, Keeper, Principal, Table};

/// Resource groups: `/resourcegroups/a`.
pub(crate) const GROUPS: Table = Table::of(Keeper::Arm, 1);
/// Resources: `/resourcegroups/a/providers/microsoft.storage/storageaccounts/b`.
pub(crate) const RESOURCES: Table = Table::of(Keeper::Arm, 2);
/// Long operations, by their id.
pub(crate) const OPERATIONS: Table = Table::of(Keeper::Arm, 3);
/// Unfinished operations, by their id: what a restart takes up again.
pub(crate) const PENDING: Table = Table::of(Keeper::Arm, 4);
/// Registration of resource providers, by folded namespace; absent means registered.
pub(crate) const PROVIDERS: Table = Table::of(Keeper::Arm, 5);
/// Tags of the subscription itself, under the empty name.
pub(crate) const TAGS: Table = Table::of(Keeper::Arm, 6);

pub(crate) const SUCCEEDED: &str = "Succeeded";
pub(crate) const CREATING: &str = "Creating";
pub(crate) const DELETING: &str = "Deleting";

base::first_version! {
    Group "arm.group";
    Resource "arm.resource";
    Operation "arm.operation";
    Pending "arm.pending";
    Registration "arm.registration";
    ScopeTags "arm.tags";
}

/// JSON inside a stored row is kept as its text: what a client sent comes back as it was.
mod text {
    use serde::de::{DeserializeOwned, Error as _};
    use serde::ser::Error as _;
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    pub(crate) fn serialize<T: Serialize, S: Serializer>(value: &T, out: S) -> Result<S::Ok, S::Error> {
        out.serialize_str(&serde_json::to_string(value).map_err(S::Error::custom)?)
    }
    pub(crate) fn deserialize<'de, T: DeserializeOwned, D: Deserializer<'de>>(input: D) -> Result<T, D::Error> {
        serde_json::from_str(&String::deserialize(input)?).map_err(D::Error::custom)
    }
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Group {
    pub id: ResourceId,
    pub location: Location,
    #[serde(with = "text")]
    pub tags: Map<String, Value>,
    pub managed_by: Option<String>,
    /// `Succeeded` or `Deleting`.
    pub provisioning: String,
    pub created: Timestamp,
    pub changed: Timestamp,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Resource {
    #[serde(with = "text")]
    pub have: Have,
    /// The operation under way.
    pub operation: Option<OperationId>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Purpose {
    Put,
    Delete,
    DeleteGroup,
}

/// A long operation: the plan, how far it is, and who asked.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Operation {
    pub id: OperationId,
    pub purpose: Purpose,
    /// The resource or group it is about.
    pub target: ResourceId,
    /// Everything that is to be done, in order; the first `done` are.
    #[serde(with = "text")]
    pub steps: Vec<Step>,
    pub done: u32,
    /// What the client asked for, to recognise the same PUT again.
    pub wish: String,
    pub asked_by: Option<Principal>,
    pub status: Status,
    pub error: Option<Fault>,
    pub began: Timestamp,
    pub ended: Option<Timestamp>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Status {
    InProgress,
    Succeeded,
    Failed,
}

/// Why an operation failed, in the client's words.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Fault {
    pub code: String,
    pub message: String,
    pub status: u16,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Pending {
    pub began: Timestamp,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Registration {
    pub registered: bool,
}

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct ScopeTags {
    #[serde(with = "text")]
    pub tags: Map<String, Value>,
}

impl Status {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Status::InProgress => "InProgress",
            Status::Succeeded => SUCCEEDED,
            Status::Failed => "Failed",
        }
    }
}

impl Operation {
    /// The worker's caller: everything it does is recorded under whoever asked.
    pub(crate) fn caller(&self) -> Caller {
        let asked = self.asked_by.clone().map_or(Caller::Region { part: "arm" }, Caller::Principal);
        Caller::Worker { on_behalf_of: Box::new(asked), operation: self.id }
    }
    pub(crate) fn asked_by_object(&self) -> Option<ObjectId> {
        self.asked_by.as_ref().map(|p| p.object)
    }
}

/// The subscription that an id is in. Error `InvalidSubscriptionId`.
pub(crate) fn subscription_of(id: &ResourceId) -> Result<ResourceId> {
    id.subscription_id()
        .map(ResourceId::subscription)
        .ok_or_else(|| base::Error::invalid("InvalidSubscriptionId", format!("'{id}' is not in a subscription.")))
}

/// A row's name: the folded id below its subscription.
pub(crate) fn row_name(id: &ResourceId) -> String {
    // "/subscriptions/" and a GUID are 51 bytes
    id.folded().get(51..).unwrap_or("").to_owned()
}

/// The group that an id is in (or is).
pub(crate) fn group_of(id: &ResourceId) -> Option<ResourceId> {
    let name = id.resource_group()?;
    ResourceId::parse(&format!("/subscriptions/{}/resourceGroups/{name}", id.subscription_id()?)).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    const SUB: &str = "/subscriptions/6c5b3f1e-0f52-4f6b-9a55-3f1f6c3a1b11";

    fn sample() -> Resource {
        let id = ResourceId::parse(&format!("{SUB}/resourceGroups/A/providers/Microsoft.Storage/storageAccounts/B")).unwrap();
        let have = Have {
            id,
            location: Some(Location::new("francecentral").unwrap()),
            tags: Map::from_iter([("é".to_owned(), json!("x"))]),
            kind: None,
            sku: Some(json!({"name": "Standard_LRS"})),
            identity: None,
            properties: json!({"a": [1, -2, 2.5, null, true, {"deep": "é"}], "b": u64::MAX}),
            provisioning: SUCCEEDED.into(),
            created: Timestamp(1),
            changed: Timestamp(2),
        };
        Resource { have, operation: None }
    }

    #[test]
    fn rows_come_back_as_they_were() {
        let row = sample();
        let back: Resource = base::decode(&base::encode(&row)).unwrap();
        assert_eq!(serde_json::to_value(&back.have).unwrap(), serde_json::to_value(&row.have).unwrap());
        let steps = vec![Step { name: "one".into(), arguments: json!({"x": null}) }];
        let operation = Operation {
            id: OperationId(uuid::Uuid::nil()),
            purpose: Purpose::Put,
            target: row.have.id.clone(),
            steps,
            done: 1,
            wish: "w".into(),
            asked_by: None,
            status: Status::Failed,
            error: Some(Fault { code: "C".into(), message: "m".into(), status: 409 }),
            began: Timestamp(3),
            ended: None,
        };
        assert_eq!(base::decode::<Operation>(&base::encode(&operation)).unwrap(), operation);
    }

    /// Bytes written by the first version: they are read for ever.
    #[test]
    fn the_first_version_is_still_read() {
        let group = Group {
            id: ResourceId::parse(&format!("{SUB}/resourceGroups/A")).unwrap(),
            location: Location::new("francecentral").unwrap(),
            tags: Map::new(),
            managed_by: None,
            provisioning: SUCCEEDED.into(),
            created: Timestamp(5),
            changed: Timestamp(6),
        };
        let sample = include_str!("../tests/group.v1.hex").trim();
        let bytes: Vec<u8> = (0..sample.len()).step_by(2).map(|i| u8::from_str_radix(&sample[i..i + 2], 16).unwrap()).collect();
        let hex: String = base::encode(&group).iter().map(|b| format!("{b:02x}")).collect();
        assert_eq!(base::decode::<Group>(&bytes).ok(), Some(group), "today's bytes are {hex}");
    }

    #[test]
    fn names_of_rows() {
        let id = sample().have.id;
        assert_eq!(row_name(&id), "/resourcegroups/a/providers/microsoft.storage/storageaccounts/b");
        assert_eq!(row_name(&subscription_of(&id).unwrap()), "");
        assert_eq!(group_of(&id).unwrap().as_str(), format!("{SUB}/resourceGroups/A"));
    }
}
