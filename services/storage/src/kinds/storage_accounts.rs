//! `Microsoft.Storage/storageAccounts`.
//!
//! An account comes to be in one commit: its name is claimed in the whole region, its space is made with a key of its
//! own, and its two access keys are put in it. `allowSharedKeyAccess: false` is not a flag that each request would have
//! to look at: the keys move to a holder that no signature is checked against ([`SHELVED`]), and back.

use base::{Error, Fut, Kind as Class, Location, ResourceId, Result};
use serde_json::{Map, Value, json};
use service::{Have, Kind, Neighbours, Progress, RESERVED_NAMES, Step, Want};
use trust::{Batch, Credential, Fact, GlobalName, Outcome, Permit, Receipt, Write};

/// Keys that sign requests.
pub const KEYS: &str = "account";
/// The same keys while Shared Key access is not allowed.
pub const SHELVED: &str = "account-shelved";
pub const KEY_NAMES: [&str; 2] = ["key1", "key2"];

const SKUS: [&str; 8] =
    ["Standard_LRS", "Standard_ZRS", "Standard_GRS", "Standard_RAGRS", "Standard_GZRS", "Standard_RAGZRS", "Premium_LRS", "Premium_ZRS"];
const KINDS: [&str; 3] = ["StorageV2", "BlobStorage", "BlockBlobStorage"];

pub fn skus() -> &'static [&'static str] {
    &SKUS
}

#[derive(Debug)]
pub struct StorageAccounts;

impl Kind for StorageAccounts {
    fn namespace(&self) -> &'static str {
        "Microsoft.Storage"
    }
    fn name(&self) -> &'static str {
        "storageAccounts"
    }
    fn versions(&self) -> &'static [&'static str] {
        &["2025-08-01", "2025-06-01", "2025-01-01", "2024-01-01", "2023-05-01", "2023-01-01", "2022-09-01", "2021-09-01", "2019-06-01"]
    }
    fn answers_202(&self) -> bool {
        true
    }

    fn plan(&self, id: &ResourceId, want: &Want, have: Option<&Have>) -> Result<Vec<Step>> {
        check_name(id.name())?;
        let location = match (&want.location, have.and_then(|h| h.location.as_ref())) {
            (Some(want), Some(have)) if want != have => {
                return Err(Error::new(
                    Class::Conflict,
                    "InvalidResourceLocation",
                    format!("The account is in '{have}' and can't move to '{want}'."),
                )
                .at("location"));
            }
            (Some(location), _) | (None, Some(location)) => location.clone(),
            (None, None) => {
                return Err(Error::invalid("LocationRequired", "The location property is required for this definition.").at("location"));
            }
        };
        check_sku(want, have)?;
        check_kind(want, have)?;
        let mut properties = have.and_then(|h| h.properties.as_object().cloned()).unwrap_or_default();
        merge_properties(&mut properties, &want.properties)?;
        let name = if have.is_some_and(|h| h.provisioning == "Succeeded") { "update-account" } else { "create-account" };
        Ok(vec![Step { name: name.into(), arguments: json!({ "location": location.as_str(), "properties": properties }) }])
    }

    fn plan_delete(&self, _id: &ResourceId, _have: &Have) -> Result<Vec<Step>> {
        Ok(vec![Step { name: "delete-account".into(), arguments: json!({}) }])
    }

    fn apply<'a>(
        &'a self,
        id: &'a ResourceId,
        step: &'a Step,
        at: Permit<Write>,
        near: &'a Neighbours,
    ) -> Fut<'a, Result<(Receipt, Progress)>> {
        Box::pin(async move {
            match step.name.as_str() {
                "create-account" => create(id, step, at, near).await,
                "update-account" => update(step, at, near).await,
                "delete-account" => delete(id, at, near).await,
                other => Err(Error::internal(format!("storage accounts have no step '{other}'"))),
            }
        })
    }

    fn show(&self, id: &ResourceId, have: &Have, near: &Neighbours) -> Value {
        let p = |name: &str| have.properties.get(name).cloned();
        let keys = p("keyCreationTime").unwrap_or_else(|| json!({ "key1": have.created.rfc3339(), "key2": have.created.rfc3339() }));
        let created = have.created.rfc3339();
        json!({
            "provisioningState": have.provisioning,
            "creationTime": created,
            "keyCreationTime": keys,
            "primaryLocation": have.location.as_ref().map(Location::as_str),
            "statusOfPrimary": "available",
            // what answers; other services are not built
            "primaryEndpoints": { "blob": format!("{}/{}/", near.urls.local(), id.name()) },
            "accessTier": p("accessTier").unwrap_or_else(|| "Hot".into()),
            "minimumTlsVersion": p("minimumTlsVersion").unwrap_or_else(|| "TLS1_2".into()),
            "supportsHttpsTrafficOnly": true,
            "allowBlobPublicAccess": false,
            "allowSharedKeyAccess": p("allowSharedKeyAccess").unwrap_or(Value::Bool(true)),
            "allowCrossTenantReplication": false,
            "defaultToOAuthAuthentication": p("defaultToOAuthAuthentication").unwrap_or(Value::Bool(false)),
            "isHnsEnabled": false,
            "publicNetworkAccess": "Enabled",
            "networkAcls": { "bypass": "AzureServices", "defaultAction": "Allow", "ipRules": [], "virtualNetworkRules": [] },
            "encryption": {
                "keySource": "Microsoft.Storage",
                "services": { "blob": { "enabled": true, "keyType": "Account", "lastEnabledTime": created } },
            },
            "privateEndpointConnections": [],
        })
    }
}

/// 3 to 24 of `a-z 0-9`, and no name that a path of this region begins with: accounts are reached as `/{account}` too.
pub fn check_name(name: &str) -> Result<()> {
    let ok = (3..=24).contains(&name.len()) && name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit());
    if !ok {
        let message = format!(
            "{name} is not a valid storage account name. Storage account name must be between 3 and 24 characters in length and use numbers and lower-case letters only."
        );
        return Err(Error::invalid("AccountNameInvalid", message).at("accountName"));
    }
    if RESERVED_NAMES.contains(&name) {
        return Err(Error::invalid("ReservedResourceName", format!("The name '{name}' is reserved. Choose another.")).at("accountName"));
    }
    Ok(())
}

fn check_sku(want: &Want, have: Option<&Have>) -> Result<()> {
    let name = |sku: &Value| sku.get("name").and_then(Value::as_str).map(str::to_owned);
    let sku = match &want.sku {
        Some(sku) => name(sku),
        None => have.and_then(|h| h.sku.as_ref()).and_then(name),
    };
    match sku {
        None => Err(Error::invalid("InvalidRequestPropertyValue", "The property 'sku.name' is required.").at("sku.name")),
        Some(sku) if SKUS.contains(&sku.as_str()) => Ok(()),
        Some(sku) => Err(Error::invalid(
            "InvalidRequestPropertyValue",
            format!("The value '{sku}' is not allowed for property 'sku.name'. Allowed: {}.", SKUS.join(", ")),
        )
        .at("sku.name")),
    }
}

fn check_kind(want: &Want, have: Option<&Have>) -> Result<()> {
    let (want, have) = (want.kind.as_deref(), have.and_then(|h| h.kind.as_deref()));
    match (want, have) {
        (Some(w), Some(h)) if w != h => Err(Error::new(
            Class::Conflict,
            "AccountPropertyCannotBeUpdated",
            format!("The kind of the account is '{h}' and can't become '{w}'."),
        )
        .at("kind")),
        (Some(k), _) | (None, Some(k)) if KINDS.contains(&k) => Ok(()),
        (Some(k @ ("Storage" | "FileStorage")), _) => {
            Err(Error::not_implemented(format_args!("A storage account of kind '{k}'")).at("kind"))
        }
        (Some(k), _) | (None, Some(k)) => {
            Err(Error::invalid("InvalidRequestPropertyValue", format!("'{k}' is not a kind of storage account.")).at("kind"))
        }
        (None, None) => Err(Error::invalid("InvalidRequestPropertyValue", "The property 'kind' is required.").at("kind")),
    }
}

/// Lays the wished properties over those that are there. What would promise a protection or a feature that is not built
/// is refused by name; a property that we do not know is left out.
fn merge_properties(properties: &mut Map<String, Value>, wish: &Value) -> Result<()> {
    let wish = match wish {
        Value::Null => return Ok(()),
        Value::Object(wish) => wish,
        _ => return Err(Error::invalid("InvalidRequestContent", "'properties' is not an object.").at("properties")),
    };
    let wrong = |name: &str| {
        Error::invalid("InvalidRequestPropertyValue", format!("The value of the property '{name}' is not allowed."))
            .at(format!("properties.{name}"))
    };
    for (name, value) in wish.iter().filter(|(_, v)| !v.is_null()) {
        let unbuilt = || {
            Err(Error::not_implemented(format_args!("The storage account property '{name}' with the value {value}"))
                .at(format!("properties.{name}")))
        };
        match (name.as_str(), value) {
            ("accessTier", Value::String(tier)) if matches!(tier.as_str(), "Hot" | "Cool" | "Cold") => {}
            ("minimumTlsVersion", Value::String(tls)) if matches!(tls.as_str(), "TLS1_0" | "TLS1_1" | "TLS1_2" | "TLS1_3") => {}
            ("accessTier" | "minimumTlsVersion", _) => return Err(wrong(name)),
            ("allowSharedKeyAccess" | "defaultToOAuthAuthentication", Value::Bool(_)) => {}
            ("allowSharedKeyAccess" | "defaultToOAuthAuthentication", _) => return Err(wrong(name)),
            ("supportsHttpsTrafficOnly", Value::Bool(true)) => continue,
            (
                "allowBlobPublicAccess"
                | "isHnsEnabled"
                | "isNfsV3Enabled"
                | "isSftpEnabled"
                | "isLocalUserEnabled"
                | "allowCrossTenantReplication",
                Value::Bool(false),
            ) => continue,
            (
                "supportsHttpsTrafficOnly"
                | "allowBlobPublicAccess"
                | "isHnsEnabled"
                | "isNfsV3Enabled"
                | "isSftpEnabled"
                | "isLocalUserEnabled",
                _,
            ) => return unbuilt(),
            ("publicNetworkAccess", Value::String(v)) if v == "Enabled" => continue,
            ("largeFileSharesState", Value::String(v)) if v == "Disabled" => continue,
            ("publicNetworkAccess" | "largeFileSharesState", _) => return unbuilt(),
            ("networkAcls", acls) if open(acls) => continue,
            ("encryption", encryption) if service_managed(encryption) => continue,
            (
                "networkAcls"
                | "encryption"
                | "customDomain"
                | "azureFilesIdentityBasedAuthentication"
                | "immutableStorageWithVersioning"
                | "sasPolicy"
                | "keyPolicy"
                | "routingPreference",
                _,
            ) => return unbuilt(),
            _ => continue,
        }
        properties.insert(name.clone(), value.clone());
    }
    Ok(())
}

fn open(acls: &Value) -> bool {
    let empty = |name: &str| acls.get(name).is_none_or(|v| v.is_null() || v.as_array().is_some_and(Vec::is_empty));
    acls.get("defaultAction").is_none_or(|v| v.is_null() || v == "Allow")
        && empty("ipRules")
        && empty("virtualNetworkRules")
        && empty("resourceAccessRules")
}

fn service_managed(encryption: &Value) -> bool {
    let absent = |name: &str| encryption.get(name).is_none_or(Value::is_null);
    encryption.get("keySource").is_none_or(|v| v.is_null() || v == "Microsoft.Storage")
        && absent("keyvaultproperties")
        && absent("identity")
        && encryption.get("requireInfrastructureEncryption").is_none_or(|v| v.is_null() || v == false)
}

fn fresh_key(near: &Neighbours) -> Vec<u8> {
    crypto::random_account_key(&*near.chance).expose().to_vec()
}

async fn create(id: &ResourceId, step: &Step, at: Permit<Write>, near: &Neighbours) -> Result<(Receipt, Progress)> {
    let name = id.name().to_lowercase();
    match near.facts(|f| f.resolve("storage", &name).cloned()) {
        // a crash may have come after the commit
        Some(owner) if owner == *id && near.facts(|f| f.space(id).is_some()) => return update(step, at, near).await,
        Some(_) => return refuse(at, taken(&name)).await,
        None => {}
    }
    let location = match Location::new(step.arguments["location"].as_str().unwrap_or_default()) {
        Ok(location) => location,
        Err(error) => return refuse(at, error).await,
    };
    let now = near.clock.now();
    let holder = holder(step);
    let mut batch = Batch::new()
        .claim_fact(Fact::Name(GlobalName { zone: "storage".into(), name: name.clone(), resource: id.clone() }))
        .create_space(location);
    for key in KEY_NAMES {
        batch = batch.set_credential(holder, key, Credential::hmac(fresh_key(near), now));
    }
    let mut properties = step.arguments["properties"].clone();
    properties["keyCreationTime"] = json!({ "key1": now.rfc3339(), "key2": now.rfc3339() });
    match at.commit(batch, Outcome::done(201)).await {
        Ok(receipt) => Ok((receipt, Progress::Done(properties))),
        Err(failed) => match failed.permit {
            // the name went to somebody else between the look and the commit
            Some(at) => refuse(at, taken(&name)).await,
            None => Err(failed.error),
        },
    }
}

async fn refuse<T>(at: Permit<Write>, error: Error) -> Result<T> {
    crate::calls::fail(at, error).await
}

fn taken(name: &str) -> Error {
    Error::new(Class::Conflict, "StorageAccountAlreadyTaken", format!("The storage account named {name} is already taken."))
        .at("accountName")
}

/// Where the keys of an account so configured are held.
fn holder(step: &Step) -> &'static str {
    if step.arguments["properties"]["allowSharedKeyAccess"] == Value::Bool(false) { SHELVED } else { KEYS }
}

async fn update(step: &Step, at: Permit<Write>, near: &Neighbours) -> Result<(Receipt, Progress)> {
    let to = holder(step);
    let from = if to == KEYS { SHELVED } else { KEYS };
    let mut batch = Batch::new();
    let mut moved = false;
    for info in at.secret().list(from).await? {
        if let Some(key) = at.secret().reveal(from, &info.id).await? {
            batch =
                batch.set_credential(to, &info.id, Credential::hmac(key.expose().to_vec(), info.created)).delete_credential(from, &info.id);
            moved = true;
        }
    }
    let _ = near;
    let done = Progress::Done(step.arguments["properties"].clone());
    if !moved {
        return Ok((at.close(Outcome::done(200)).await?, done));
    }
    let receipt = at.commit(batch, Outcome::done(200).fact("keys", to)).await.map_err(|f| f.error)?;
    Ok((receipt, done))
}

async fn delete(id: &ResourceId, at: Permit<Write>, near: &Neighbours) -> Result<(Receipt, Progress)> {
    let name = id.name().to_lowercase();
    let done = Progress::Done(json!({}));
    if near.facts(|f| f.space(id).is_none()) {
        return Ok((at.close(Outcome::done(200)).await?, done));
    }
    let batch = Batch::new().remove_fact(Fact::name_key("storage", &name)).drop_space();
    let receipt = at.commit(batch, Outcome::done(200)).await.map_err(|f| f.error)?;
    Ok((receipt, done))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(name: &str) -> ResourceId {
        ResourceId::parse(&format!(
            "/subscriptions/6c5b3f1e-0f52-4f6b-9a55-3f1f6c3a1b11/resourceGroups/rg/providers/Microsoft.Storage/storageAccounts/{name}"
        ))
        .unwrap()
    }
    fn want() -> Want {
        Want {
            location: Some(Location::new("francecentral").unwrap()),
            kind: Some("StorageV2".into()),
            sku: Some(json!({ "name": "Standard_RAGRS" })),
            properties: json!({
                "encryption": { "services": { "blob": {} }, "keySource": "Microsoft.Storage" },
                "minimumTlsVersion": "TLS1_0", "allowBlobPublicAccess": false, "supportsHttpsTrafficOnly": true
            }),
            ..Want::default()
        }
    }
    fn refused(edit: impl Fn(&mut Want)) -> Error {
        let mut want = want();
        edit(&mut want);
        StorageAccounts.plan(&id("acct"), &want, None).unwrap_err()
    }

    #[test]
    fn what_az_sends_is_one_step() {
        let steps = StorageAccounts.plan(&id("acct"), &want(), None).unwrap();
        assert_eq!(steps.len(), 1);
        assert_eq!(steps[0].name, "create-account");
        assert_eq!(steps[0].arguments, json!({ "location": "francecentral", "properties": { "minimumTlsVersion": "TLS1_0" } }));
    }

    #[test]
    fn names_are_checked() {
        for bad in ["ab", "Acct", "a-b-c", "tenants", "subscriptions", "1234567890123456789012345"] {
            assert!(StorageAccounts.plan(&id(bad), &want(), None).is_err(), "{bad}");
        }
    }

    #[test]
    fn what_is_not_built_is_refused_by_name() {
        for (name, value) in [
            ("allowBlobPublicAccess", json!(true)),
            ("supportsHttpsTrafficOnly", json!(false)),
            ("isHnsEnabled", json!(true)),
            ("publicNetworkAccess", json!("Disabled")),
            ("networkAcls", json!({ "defaultAction": "Deny" })),
            ("encryption", json!({ "keySource": "Microsoft.Keyvault" })),
        ] {
            let error = refused(|w| w.properties[name] = value.clone());
            assert_eq!((error.code.as_ref(), error.target.as_deref()), ("NotImplemented", Some(format!("properties.{name}").as_str())));
        }
        assert_eq!(refused(|w| w.kind = Some("FileStorage".into())).code, "NotImplemented");
        assert_eq!(refused(|w| w.kind = Some("Other".into())).target.as_deref(), Some("kind"));
        assert_eq!(refused(|w| w.kind = None).target.as_deref(), Some("kind"));
        assert_eq!(refused(|w| w.sku = None).target.as_deref(), Some("sku.name"));
        assert_eq!(refused(|w| w.sku = Some(json!({ "name": "Gold" }))).target.as_deref(), Some("sku.name"));
        assert_eq!(refused(|w| w.location = None).code, "LocationRequired");
        assert_eq!(refused(|w| w.properties["accessTier"] = json!("Warm")).target.as_deref(), Some("properties.accessTier"));
        assert_eq!(refused(|w| w.properties = json!([])).target.as_deref(), Some("properties"));
    }
}
