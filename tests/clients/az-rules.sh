#!/usr/bin/env bash
# Rules with the az command: a role of one's own, a condition on a grant, locks, management groups, and policies that refuse
# with their reason, change what is written, and say what does not comply.
. "$STORY/common.sh"

group=rules
account=bleurules1
here="/subscriptions/$subscription"
"$BLEU" login --data "$BLEU_DATA"
az group create -n $group -l "$location" --tags CostCenter=42 -o none
az storage account create -n $account -g $group -l "$location" --sku Standard_LRS -o none
account_id=$(az storage account show -n $account -g $group --query id -o tsv)
one() { xargs <<< "${1//$'\t'/ }"; }

# ── a second program, which may do nothing yet
owner_profile=$AZURE_CONFIG_DIR
new_profile rules-administrator
as_administrator
made=$(az ad sp create-for-rbac --display-name rules-reader --only-show-errors)
app=$(jq -r .appId <<< "$made")
secret=$(jq -r .password <<< "$made")
object=$(az ad sp show --id "$app" --query id -o tsv)
new_profile rules-reader
reader_profile=$AZURE_CONFIG_DIR
export AZURE_CONFIG_DIR=$owner_profile
as_reader() { AZURE_CONFIG_DIR=$reader_profile "$@"; }

# ── a role of one's own
cat > role.json <<JSON
{"Name": "Tag Writer", "Description": "Reads groups and writes tags", "Actions": ["*/read", "Microsoft.Resources/tags/write"],
 "NotActions": [], "DataActions": [], "NotDataActions": [], "AssignableScopes": ["$here"]}
JSON
check "role: created" "Tag Writer" "$(az role definition create --role-definition role.json --query roleName -o tsv)"
check "role: listed as custom" CustomRole "$(az role definition list --name 'Tag Writer' --query '[0].roleType' -o tsv)"
check "role: among the custom ones only" "Tag Writer" "$(az role definition list --custom-role-only --query '[].roleName' -o tsv)"
refused "role: another of the same name" "same name" az role definition create --role-definition role.json
az role assignment create --assignee-object-id "$object" --assignee-principal-type ServicePrincipal --role "Tag Writer" --scope "$here/resourceGroups/$group" -o none
as_reader as_principal "$app" "$secret"
check "role: it reads" $group "$(as_reader az group show -n $group --query name -o tsv)"
as_reader az tag update --resource-id "$here/resourceGroups/$group" --operation merge --tags seen=yes -o none
refused "role: and nothing else" AuthorizationFailed as_reader az group update -n $group --set tags.x=y
sed -i 's|"Microsoft.Resources/tags/write"|"Microsoft.Resources/tags/read"|' role.json
check "role: updated" "*/read Microsoft.Resources/tags/read" "$(one "$(az role definition update --role-definition role.json --query 'permissions[0].actions' -o tsv | tr '\n' ' ')")"
refused "role: the change is seen at once" AuthorizationFailed as_reader az tag update --resource-id "$here/resourceGroups/$group" --operation merge --tags seen=no
refused "role: not deleted while it is assigned" RoleDefinitionHasAssignments az role definition delete --name "Tag Writer"
az role assignment delete --assignee "$app" --role "Tag Writer" --scope "$here/resourceGroups/$group"
az role definition delete --name "Tag Writer"
check "role: deleted" "" "$(az role definition list --custom-role-only --query '[].roleName' -o tsv)"

# ── a condition on a grant
key=$(az storage account keys list -n $account -g $group --query '[0].value' -o tsv)
printf 'x' > x.txt
for container in photos secrets; do
    az storage container create -n $container --account-name $account --account-key "$key" -o none
    az storage blob upload -c $container -n a.txt -f x.txt --account-name $account --account-key "$key" -o none --no-progress
done
condition="((!(ActionMatches{'Microsoft.Storage/storageAccounts/blobServices/containers/blobs/read'})) OR (@Resource[Microsoft.Storage/storageAccounts/blobServices/containers:name] StringEquals 'photos'))"
az role assignment create --assignee-object-id "$object" --assignee-principal-type ServicePrincipal --role "Storage Blob Data Reader" --scope "$account_id" --condition "$condition" --condition-version 2.0 -o none
check "condition: shown" "$condition" "$(az role assignment list --scope "$account_id" --query "[?principalId=='$object'].condition" -o tsv)"
as_reader az storage blob download -c photos -n a.txt -f back.txt --account-name $account --auth-mode login --no-progress -o none
same "condition: opens what it names" x.txt back.txt
refused "condition: and nothing else" "You do not have the required permissions" as_reader az storage blob download -c secrets -n a.txt -f no.txt --account-name $account --auth-mode login --no-progress
refused "condition: a malformed one" InvalidRoleAssignmentCondition az role assignment create --assignee-object-id "$object" --assignee-principal-type ServicePrincipal --role Reader --scope "$account_id" --condition "@Nobody[x] Is 'y'" --condition-version 2.0

# ── locks
check "lock: created" CanNotDelete "$(az lock create --name keep --lock-type CanNotDelete -g $group --notes 'in use' --query level -o tsv)"
check "lock: listed" keep "$(az lock list -g $group --query '[].name' -o tsv)"
check "lock: shown" "in use" "$(az lock show --name keep -g $group --query notes -o tsv)"
refused "lock: the group stays" ScopeLocked az group delete -n $group -y
refused "lock: what is in it stays" ScopeLocked az storage account delete -n $account -g $group -y
az lock delete --name keep -g $group
az lock create --name still --lock-type ReadOnly --resource $account --resource-type Microsoft.Storage/storageAccounts -g $group -o none
refused "lock: read only" ScopeLocked az storage account update -n $account -g $group --set tags.x=y
refused "lock: no keys either" ScopeLocked az storage account keys list -n $account -g $group
az lock delete --name still --resource $account --resource-type Microsoft.Storage/storageAccounts -g $group
check "lock: none left" "" "$(az lock list --query '[].name' -o tsv)"

# ── management groups
check "management group: created" Platform "$(az account management-group create --name platform --display-name Platform --no-register --query displayName -o tsv)"
az account management-group create --name teams --parent platform --no-register -o none
check "management group: its parent" platform "$(az account management-group show --name teams --no-register --query details.parent.name -o tsv)"
contains "management group: listed" teams "$(az account management-group list --no-register --query '[].name' -o tsv)"
refused "management group: the program sees no groups" AuthorizationFailed as_reader az account management-group show --name teams --no-register
az account management-group subscription add --name teams --subscription "$subscription" -o none
check "management group: the subscription is in it" "$subscription" "$(az account management-group show --name teams -e --no-register --query 'children[0].name' -o tsv)"
refused "management group: not deleted while it has children" GroupNotEmpty az account management-group delete --name teams --no-register
az role assignment create --assignee-object-id "$object" --assignee-principal-type ServicePrincipal --role Reader --scope /providers/Microsoft.Management/managementGroups/platform -o none
check "management group: its roles are inherited" $group "$(as_reader az group list --query "[?name=='$group'].name" -o tsv)"

# ── policies
contains "policy: built-in definitions" "Allowed locations" "$(az policy definition list --query '[].displayName' -o tsv)"
allowed=e56962a6-4747-49cd-b67b-bf8b01975c4c
check "policy: one of them" BuiltIn "$(az policy definition show --name $allowed --query policyType -o tsv)"
az policy assignment create --name elsewhere --display-name "Only elsewhere" --policy $allowed --scope /providers/Microsoft.Management/managementGroups/platform --params '{"listOfAllowedLocations": {"value": ["westeurope"]}}' -o none
refused "policy: denied from above" RequestDisallowedByPolicy az storage account create -n bleurules2 -g $group -l "$location" --sku Standard_LRS
refused "policy: and says why" "Only elsewhere" az storage account create -n bleurules2 -g $group -l "$location" --sku Standard_LRS
states() { az policy state list --query "[?policyAssignmentName=='$1' && complianceState=='$2'].resourceType" -o tsv; }
check "state: what was there before does not comply" Microsoft.Storage/storageAccounts "$(states elsewhere NonCompliant)"
check "state: summarized" 1 "$(az policy state summarize --query results.nonCompliantResources -o tsv)"
az policy exemption create --name spared --policy-assignment /providers/Microsoft.Management/managementGroups/platform/providers/Microsoft.Authorization/policyAssignments/elsewhere --exemption-category Waiver --scope "$here/resourceGroups/$group" -o none
check "exemption: listed" spared "$(az policy exemption list --scope "$here/resourceGroups/$group" --query '[].name' -o tsv)"
check "exemption: it may now" Succeeded "$(az storage account create -n bleurules2 -g $group -l "$location" --sku Standard_LRS --query provisioningState -o tsv)"
check "exemption: the state says so" "Microsoft.Storage/storageAccounts Microsoft.Storage/storageAccounts" "$(one "$(states elsewhere Exempt | tr '\n' ' ')")"
az policy exemption delete --name spared --scope "$here/resourceGroups/$group"
az policy assignment delete --name elsewhere --scope /providers/Microsoft.Management/managementGroups/platform

cat > keys.json <<'JSON'
{"if": {"allOf": [{"field": "type", "equals": "Microsoft.Storage/storageAccounts"},
  {"field": "Microsoft.Storage/storageAccounts/allowSharedKeyAccess", "notEquals": "[parameters('wanted')]"}]},
 "then": {"effect": "[parameters('effect')]"}}
JSON
az policy definition create --name nokeys --display-name "No account keys" --mode Indexed --rules keys.json --params '{"wanted": {"type": "String"}, "effect": {"type": "String", "allowedValues": ["Audit", "Deny"], "defaultValue": "Audit"}}' -o none
check "definition: listed as custom" nokeys "$(az policy definition list --query "[?policyType=='Custom'].name" -o tsv)"
cat > set.json <<JSON
[{"policyDefinitionId": "$here/providers/Microsoft.Authorization/policyDefinitions/nokeys", "policyDefinitionReferenceId": "nokeys",
  "parameters": {"wanted": {"value": "[parameters('wanted')]"}, "effect": {"value": "Deny"}}},
 {"policyDefinitionId": "/providers/Microsoft.Authorization/policyDefinitions/cd3aa116-8754-49c9-a813-ad46512ece54", "policyDefinitionReferenceId": "tag",
  "parameters": {"tagName": {"value": "CostCenter"}}}]
JSON
check "set: created" both "$(az policy set-definition create --name both --definitions set.json --params '{"wanted": {"type": "String"}}' --query name -o tsv)"
az policy assignment create --name both --policy-set-definition both --params '{"wanted": {"value": "false"}}' -o none
refused "set: its deny" RequestDisallowedByPolicy az storage account create -n bleurules3 -g $group -l "$location" --allow-shared-key-access true
az storage account create -n bleurules3 -g $group -l "$location" --allow-shared-key-access false --tags a=b -o none
check "set: its modify brought the group's tag" "b 42" "$(one "$(az storage account show -n bleurules3 -g $group --query '[tags.a, tags.CostCenter]' -o tsv | tr '\n' ' ')")"
refused "definition: not deleted while it is used" PolicyDefinitionInUse az policy definition delete --name nokeys
refused "definition: a malformed rule" InvalidPolicyRule az policy definition create --name bad --rules '{"if": {"field": "nonsense", "equals": 1}, "then": {"effect": "deny"}}'
az policy assignment delete --name both
az policy set-definition delete --name both
az policy definition delete --name nokeys
contains "initiative: residency comes with the region" "Residency and SecNumCloud-minded settings" "$(az policy set-definition list --query '[].displayName' -o tsv)"

# ── put away
az account management-group subscription remove --name teams --subscription "$subscription"
az account management-group delete --name teams --no-register
az account management-group delete --name platform --no-register
az group delete -n $group -y
check "the group is gone" false "$(az group exists -n $group)"
[ "$AZURE_CONFIG_DIR" = "$owner_profile" ] || die "the profile was mixed up"
