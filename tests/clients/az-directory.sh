#!/usr/bin/env bash
# The directory by the real az: people, groups, owners, applications, federated credentials, consent; and by `az rest` what
# az has no words for: searches, batches, deleted things that come back, a group whose members follow from a rule.
. "$STORY/common.sh"

new_profile directory
as_administrator
graph=$(ready graph)/v1.0
domain=$(ready domain)
ask() { az rest --method "$1" --url "$graph$2" --resource https://graph.microsoft.com/ "${@:3}"; }

me=$(az ad signed-in-user show --query id -o tsv)
anna=$(az ad user create --display-name Anna --user-principal-name "anna@$domain" --password 'a long enough one' --query id -o tsv)
crew=$(az ad group create --display-name crew --mail-nickname crew --query id -o tsv)
az ad group member add --group crew --member-id "$anna"
check "group: its member" Anna "$(az ad group member list --group crew --query '[].displayName' -o tsv)"
check "group: is she in" true "$(az ad group member check --group crew --member-id "$anna" --query value -o tsv)"
check "user: her groups" crew "$(az ad user get-member-groups --id "$anna" --query '[].displayName' -o tsv)"
az ad group owner add --group crew --owner-object-id "$me"
check "group: its owner" Administrator "$(az ad group owner list --group crew --query '[].displayName' -o tsv)"
az ad group owner remove --group crew --owner-object-id "$me"
check "group: no owner" "" "$(az ad group owner list --group crew --query '[].displayName' -o tsv)"
check "user: by filter" Anna "$(az ad user list --filter "startswith(displayName,'An')" --query '[].displayName' -o tsv)"
refused "user: what Graph does not filter by" "Unsupported query" az ad user list --filter "contains(displayName,'n')"

app=$(az ad app create --display-name robot --query appId -o tsv)
principal=$(az ad sp create --id "$app" --query id -o tsv)
az ad app owner add --id "$app" --owner-object-id "$anna"
check "application: its owner" Anna "$(az ad app owner list --id "$app" --query '[].displayName' -o tsv)"
az ad app federated-credential create --id "$app" -o none --parameters \
    '{"name": "ci", "issuer": "https://ci.example", "subject": "repo:a/b", "audiences": ["api://AzureADTokenExchange"]}'
check "application: its federated credential" repo:a/b \
    "$(az ad app federated-credential show --id "$app" --federated-credential-id ci --query subject -o tsv)"
check "principal: by its name" "$principal" "$(az ad sp list --display-name robot --query '[].id' -o tsv)"
check "principal: no consent yet" "" "$(az ad app permission list-grants --id "$app" --query '[].scope' -o tsv)"

check "batch: two in one" "200 200" "$(ask post '/$batch' --body \
    '{"requests": [{"id": "1", "method": "GET", "url": "/me"}, {"id": "2", "method": "GET", "url": "/groups", "dependsOn": ["1"]}]}' \
    --query 'responses[].status' -o tsv | xargs)"
check "search" Anna "$(ask get '/users?$search="displayName:ann"' --headers ConsistencyLevel=eventual --query 'value[].displayName' -o tsv)"
ask patch "/users/$anna" --body '{"department": "Sales"}'
rule=$(ask post /groups --query id -o tsv --body '{"displayName": "sales", "mailNickname": "sales", "mailEnabled": false,
    "securityEnabled": true, "groupTypes": ["DynamicMembership"], "membershipRule": "user.department -eq \"Sales\"",
    "membershipRuleProcessingState": "On"}')
check "rule: she follows from it" Anna "$(az ad group member list --group "$rule" --query '[].displayName' -o tsv)"
az ad user delete --id "$anna"
check "deleted: out of the rule's group" "" "$(az ad group member list --group "$rule" --query '[].displayName' -o tsv)"
ask post "/directory/deletedItems/$anna/restore" -o none
check "restored: in it, and in the other" "crew sales" \
    "$(az ad user get-member-groups --id "$anna" --query '[].displayName' -o tsv | sort | xargs)"
az ad group delete --group "$crew"
refused "group: gone" "does not exist" az ad group show --group "$crew"
az ad app delete --id "$app"
refused "principal: gone with its application" "does not exist" az ad sp show --id "$principal"
