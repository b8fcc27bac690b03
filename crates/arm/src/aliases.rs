//! Policy aliases: which property of a resource each names (Azure Policy, "aliases"). Of types that can be made here, only
//! what is listed is known; a policy that names another is refused when it is written, not passed over when it matters.

use crate::Arm;

/// Type, properties below `properties`.
const PROPERTIES: &[(&str, &[&str])] = &[
    (
        "Microsoft.Storage/storageAccounts",
        &[
            "accessTier",
            "allowBlobPublicAccess",
            "allowCrossTenantReplication",
            "allowedCopyScope",
            "allowSharedKeyAccess",
            "customDomain.name",
            "defaultToOAuthAuthentication",
            "dnsEndpointType",
            "encryption.keySource",
            "encryption.requireInfrastructureEncryption",
            "encryption.services.blob.enabled",
            "encryption.services.file.enabled",
            "immutableStorageWithVersioning.enabled",
            "isHnsEnabled",
            "isLocalUserEnabled",
            "isNfsV3Enabled",
            "isSftpEnabled",
            "keyPolicy.keyExpirationPeriodInDays",
            "largeFileSharesState",
            "minimumTlsVersion",
            "networkAcls.bypass",
            "networkAcls.defaultAction",
            "networkAcls.ipRules",
            "networkAcls.ipRules[*]",
            "networkAcls.ipRules[*].action",
            "networkAcls.ipRules[*].value",
            "networkAcls.virtualNetworkRules",
            "networkAcls.virtualNetworkRules[*]",
            "networkAcls.virtualNetworkRules[*].id",
            "publicNetworkAccess",
            "sasPolicy.expirationAction",
            "sasPolicy.sasExpirationPeriod",
            "supportsHttpsTrafficOnly",
        ],
    ),
    (
        "Microsoft.Authorization/roleAssignments",
        &["condition", "conditionVersion", "description", "principalId", "principalType", "roleDefinitionId", "scope"],
    ),
    (
        "Microsoft.Authorization/roleDefinitions",
        &[
            "assignableScopes",
            "assignableScopes[*]",
            "description",
            "permissions[*]",
            "permissions[*].actions",
            "permissions[*].actions[*]",
            "permissions[*].notActions",
            "permissions[*].notActions[*]",
            "roleName",
            "type",
        ],
    ),
    ("Microsoft.Authorization/locks", &["level", "notes"]),
];

/// Type, names that stand outside `properties`.
const OUTSIDE: &[(&str, &[&str])] = &[("Microsoft.Storage/storageAccounts", &["sku.name", "sku.tier"])];

/// Types of Resource Manager's own.
const OWN: &[&str] = &[
    "Microsoft.Authorization/roleAssignments",
    "Microsoft.Authorization/roleDefinitions",
    "Microsoft.Authorization/locks",
    "Microsoft.Resources/subscriptions/resourceGroups",
];

fn listed(table: &[(&str, &'static [&'static str])], alias: &str) -> Option<&'static str> {
    let inside = |kind: &str| {
        let rest = alias.get(..kind.len()).filter(|a| a.eq_ignore_ascii_case(kind)).and(alias.get(kind.len()..))?;
        rest.strip_prefix('/')
    };
    table.iter().find_map(|(kind, names)| {
        let property = inside(kind)?;
        names.iter().find(|n| n.eq_ignore_ascii_case(property)).copied()
    })
}

impl policy::Aliases for Arm {
    fn path(&self, alias: &str) -> Option<String> {
        if let Some(outside) = listed(OUTSIDE, alias) {
            return Some(outside.to_owned());
        }
        listed(PROPERTIES, alias).map(|name| format!("properties.{name}"))
    }
    fn serves(&self, resource_type: &str) -> bool {
        let kinds = self.kinds.iter().map(|k| format!("{}/{}", k.namespace(), k.name()));
        kinds.chain(OWN.iter().map(|k| (*k).to_owned())).any(|k| k.eq_ignore_ascii_case(resource_type))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use policy::Aliases;

    #[test]
    fn aliases_name_properties_and_nothing_else() {
        let arm = Arm::new(Vec::new());
        let path = |alias: &str| arm.path(alias);
        assert_eq!(path("microsoft.storage/storageaccounts/MinimumTlsVersion").as_deref(), Some("properties.minimumTlsVersion"));
        assert_eq!(path("Microsoft.Storage/storageAccounts/sku.name").as_deref(), Some("sku.name"));
        assert_eq!(path("Microsoft.Storage/storageAccounts/nothing"), None);
        assert_eq!(path("Microsoft.Storage/storageAccountsX/sku.name"), None);
        assert_eq!(path("é"), None);
        assert!(arm.serves("Microsoft.Authorization/LOCKS") && !arm.serves("Microsoft.Compute/virtualMachines"));
    }
}
