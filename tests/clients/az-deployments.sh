#!/usr/bin/env bash
# Templates with the az command: validated, foretold, deployed, changed, looked at, and taken away; into a group and into
# a subscription; what is wrong is said in Azure's words, and a secret is shown nowhere.
. "$STORY/common.sh"

group=deployments
"$BLEU" login --data "$BLEU_DATA"
az group create -n $group -l "$location" -o none

# as people write them: a comment, an expression on two lines
cat > main.json <<'JSON'
{
  // accounts of a team
  "$schema": "https://schema.management.azure.com/schemas/2019-04-01/deploymentTemplate.json#",
  "contentVersion": "1.0.0.0",
  "parameters": {
    "prefix": {"type": "string", "minLength": 3, "maxLength": 10},
    "count": {"type": "int", "defaultValue": 2, "maxValue": 5},
    "team": {"type": "string", "defaultValue": "blue", "allowedValues": ["blue", "red"]},
    "password": {"type": "securestring"}
  },
  "variables": {
    "names": "[map(range(1, parameters('count')),
      lambda('i', concat(parameters('prefix'), lambdaVariables('i'))))]"
  },
  "resources": [
    {
      "type": "Microsoft.Storage/storageAccounts",
      "apiVersion": "2023-01-01",
      "name": "[variables('names')[copyIndex()]]",
      "location": "[resourceGroup().location]",
      "copy": {"name": "accounts", "count": "[parameters('count')]"},
      "sku": {"name": "Standard_LRS"},
      "kind": "StorageV2",
      "tags": {"team": "[parameters('team')]"}
    },
    {
      "type": "Microsoft.Resources/deployments",
      "apiVersion": "2022-09-01",
      "name": "inside",
      "dependsOn": ["accounts"],
      "properties": {
        "mode": "Incremental",
        "expressionEvaluationOptions": {"scope": "inner"},
        "parameters": {"name": {"value": "[first(variables('names'))]"}, "password": {"value": "[parameters('password')]"}},
        "template": {
          "$schema": "https://schema.management.azure.com/schemas/2019-04-01/deploymentTemplate.json#",
          "contentVersion": "1.0.0.0",
          "parameters": {"name": {"type": "string"}, "password": {"type": "securestring"}},
          "resources": [],
          "outputs": {"blob": {"type": "string", "value": "[reference(resourceId('Microsoft.Storage/storageAccounts', parameters('name')), '2023-01-01').primaryEndpoints.blob]"}}
        }
      }
    }
  ],
  "outputs": {
    "blob": {"type": "string", "value": "[reference('inside').outputs.blob.value]"},
    "names": {"type": "array", "value": "[variables('names')]"}
  }
}
JSON
give=(--parameters prefix=storymany password=very-secret-word)
deploy() { az deployment group "$1" -g $group -n main -f main.json "${give[@]}" "${@:2}"; }

# ── before anything is done
check "validate: holds" Succeeded "$(deploy validate --query properties.provisioningState -o tsv)"
foretold=$(deploy what-if --no-pretty-print)
check "what-if: two accounts would be made" "Create Create" "$(jq -r '[.changes[].changeType] | join(" ")' <<< "$foretold")"
contains "what-if: said to people too" "2 to create" "$(deploy what-if)"
check "nothing was made" "" "$(az resource list -g $group --query '[].name' -o tsv)"
refused "validate: a parameter is missing" "is not provided" az deployment group validate -g $group -f main.json --parameters prefix=abc --no-prompt true
refused "validate: a value that is not allowed" "not part of the allowed value" deploy validate --parameters team=green
refused "validate: a parameter nobody knows" "nothing" deploy validate --parameters nothing=1 --no-prompt true
sed "s/dependsOn\": \[\"accounts\"\]/dependsOn\": [\"inside\"]/" main.json > circle.json
refused "validate: a circle" "Circular dependency detected" az deployment group validate -g $group -f circle.json "${give[@]}"
sed "s/lambdaVariables('i')/lambdaVariables('i'/" main.json > broken.json
refused "create: a broken expression" "Unable to parse language expression" az deployment group create -g $group -f broken.json "${give[@]}"
sed 's|Microsoft.Storage/storageAccounts|Microsoft.Nothing/things|' main.json > nothing.json
refused "create: a type that is not there" InvalidResourceNamespace az deployment group create -g $group -f nothing.json "${give[@]}"

# ── deployed
check "create: succeeds" Succeeded "$(deploy create --query properties.provisioningState -o tsv)"
check "two accounts are there" "storymany1 storymany2" "$(az storage account list -g $group --query 'sort([].name)' -o tsv | xargs)"
shown=$(az deployment group show -g $group -n main)
contains "an output of the nested template" storymany1 "$(jq -r .properties.outputs.blob.value <<< "$shown")"
check "an output that is an array" "storymany1 storymany2" "$(jq -r '.properties.outputs.names.value | join(" ")' <<< "$shown")"
check "the kinds of what was asked" SecureString "$(jq -r .properties.parameters.password.type <<< "$shown")"
check "a resource for each" 3 "$(jq '.properties.outputResources | length' <<< "$shown")"
check "both deployments are listed" "inside main" "$(az deployment group list -g $group --query 'sort([].name)' -o tsv | xargs)"
check "each resource was an operation" "Succeeded Succeeded Succeeded" "$(az deployment operation group list -g $group -n main --query '[].properties.provisioningState' -o tsv | xargs)"
everything="$shown $(az deployment operation group list -g $group -n main) $(az deployment group show -g $group -n inside) $(az deployment group export -g $group -n main)"
case "$everything" in *very-secret-word*) die "the secret is shown" ;; esac
contains "export: the template as it was" storageAccounts "$(az deployment group export -g $group -n main)"
refused "cancel: it is over" DeploymentCannotBeCancelled az deployment group cancel -g $group -n main

# ── again, with a change
changed=$(deploy what-if --no-pretty-print --parameters team=red)
check "what-if: two would change" "Modify Modify" "$(jq -r '[.changes[].changeType] | join(" ")' <<< "$changed")"
check "what-if: and how" "tags.team blue red" "$(jq -r '.changes[0].delta[0] | [.path, .before, .after] | join(" ")' <<< "$changed")"
deploy create --parameters team=red -o none
check "it is changed" red "$(az storage account show -g $group -n storymany1 --query tags.team -o tsv)"
check "what-if: nothing is left to do" "NoChange NoChange" "$(deploy what-if --no-pretty-print --parameters team=red | jq -r '[.changes[].changeType] | join(" ")')"

# ── the whole group, and nothing else
check "what-if: complete" "NoChange Delete" "$(deploy what-if --no-pretty-print --parameters team=red count=1 --mode Complete | jq -r '[.changes[].changeType] | join(" ")')"
deploy create --parameters team=red count=1 --mode Complete -o none
check "the second account is gone" storymany1 "$(az storage account list -g $group --query '[].name' -o tsv)"

# ── a failure
sed 's/Standard_LRS/Nothing_LRS/' main.json > failing.json
refused "validate: what a resource would be refused for" "Nothing_LRS" az deployment group validate -g $group -f failing.json --parameters prefix=storyfail password=x
cat > failing.json <<'JSON'
{
  "$schema": "https://schema.management.azure.com/schemas/2019-04-01/deploymentTemplate.json#",
  "contentVersion": "1.0.0.0",
  "resources": [{"type": "Microsoft.Authorization/roleAssignments", "apiVersion": "2022-04-01", "name": "[guid('nobody')]",
    "properties": {"roleDefinitionId": "[subscriptionResourceId('Microsoft.Authorization/roleDefinitions', 'acdd72a7-3385-48ef-bd42-f606fba81ae7')]", "principalId": "00000000-1111-4222-8333-444444444444"}}]
}
JSON
refused "create: what fails is told" "PrincipalNotFound" az deployment group create -g $group -n failing -f failing.json
check "the failure is kept" Failed "$(az deployment group show -g $group -n failing --query properties.provisioningState -o tsv)"
contains "and its operation" Failed "$(az deployment operation group list -g $group -n failing --query '[].properties.provisioningState' -o tsv)"

# ── a subscription
cat > whole.json <<'JSON'
{
  "$schema": "https://schema.management.azure.com/schemas/2018-05-01/subscriptionDeploymentTemplate.json#",
  "contentVersion": "1.0.0.0",
  "resources": [
    {"type": "Microsoft.Resources/resourceGroups", "apiVersion": "2022-09-01", "name": "deployed", "location": "[deployment().location]"},
    {"type": "Microsoft.Resources/deployments", "apiVersion": "2022-09-01", "name": "below", "resourceGroup": "deployed",
     "dependsOn": ["deployed"],
     "properties": {"mode": "Incremental", "template": {
       "$schema": "https://schema.management.azure.com/schemas/2019-04-01/deploymentTemplate.json#", "contentVersion": "1.0.0.0",
       "resources": [{"type": "Microsoft.Resources/tags", "apiVersion": "2021-04-01", "name": "default", "properties": {"tags": {"by": "template"}}}]}}}
  ]
}
JSON
check "sub: validates" Succeeded "$(az deployment sub validate -l "$location" -n whole -f whole.json --query properties.provisioningState -o tsv)"
contains "sub: foretold" "deployed" "$(az deployment sub what-if -l "$location" -n whole -f whole.json --no-pretty-print)"
check "sub: succeeds" Succeeded "$(az deployment sub create -l "$location" -n whole -f whole.json --query properties.provisioningState -o tsv)"
check "sub: the group has its tag" template "$(az group show -n deployed --query tags.by -o tsv)"
check "sub: listed" whole "$(az deployment sub list --query '[].name' -o tsv)"

# ── the group as a template
az group export -n $group > exported.json
contains "export: names are parameters" storageAccounts_storymany1_name "$(jq -r '.parameters | keys[]' exported.json)"
check "export: validates elsewhere" Succeeded "$(az deployment group validate -g deployed -f exported.json --parameters storageAccounts_storymany1_name=storyagain --query properties.provisioningState -o tsv)"

# ── taken away
az deployment sub delete -n whole
az deployment group delete -g $group -n main
check "deleted" "failing inside" "$(az deployment group list -g $group --query 'sort([].name)' -o tsv | xargs)"
check "what it made stays" storymany1 "$(az storage account list -g $group --query '[].name' -o tsv)"
az group delete -n deployed -y
az group delete -n $group -y
printf 'done\n'
