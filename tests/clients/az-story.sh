#!/usr/bin/env bash
# One working day with the az command: a group, an account, blobs by every kind of key, roles, and a second program that
# may do nothing until somebody lets it.
. "$STORY/common.sh"

group=story
account=bleustory1
# the az command says the service's AuthenticationFailed and AuthorizationPermissionMismatch in its own words
UNKNOWN="Authentication failure. This may be caused by either invalid account key"
FORBIDDEN="You do not have the required permissions"
scope="/subscriptions/$subscription/resourceGroups/$group"

# ── sign in, as the README says
"$BLEU" login --data "$BLEU_DATA"
check "the subscription in use" "$subscription" "$(az account show --query id -o tsv)"
check "the tenant" "$tenant" "$(az account show --query tenantId -o tsv)"
check "who is signed in" "$AZURE_CLIENT_ID" "$(az account show --query user.name -o tsv)"
contains "the region's location is listed" "$location" "$(az account list-locations --query '[].name' -o tsv)"
token=$(az account get-access-token --query accessToken -o tsv)
check "a token has three parts" 3 "$(tr '.' '\n' <<< "$token" | wc -l)"
check "providers: storage is registered" Registered "$(az provider show -n Microsoft.Storage --query registrationState -o tsv)"
contains "providers: the list names storage" Microsoft.Storage "$(az provider list --query '[].namespace' -o tsv)"

# ── a group
check "group: does not exist yet" false "$(az group exists -n $group)"
check "group: created" Succeeded "$(az group create -n $group -l "$location" --tags env=demo --query properties.provisioningState -o tsv)"
check "group: exists now" true "$(az group exists -n $group)"
check "group: its location" "$location" "$(az group show -n $group --query location -o tsv)"
check "group: its tag" demo "$(az group show -n $group --query tags.env -o tsv)"
az group update -n $group --set tags.stage=test -o none
check "group: two tags after the update" "demo test" "$(az group show -n $group --query '[tags.env, tags.stage]' -o tsv | tr '\t\n' '  ' | xargs)"
check "group: found by tag" $group "$(az group list --tag stage=test --query '[].name' -o tsv)"
check "group: not found by another tag" "" "$(az group list --tag stage=other --query '[].name' -o tsv)"
refused "group: another place is refused" LocationNotAvailableForResourceGroup az group create -n elsewhere -l eastus
refused "group: a missing one is missing" ResourceGroupNotFound az group show -n missing
contains "rest: the same group" "\"name\": \"$group\"" "$(az rest --method get --url "/subscriptions/$subscription/resourcegroups/$group?api-version=2024-11-01")"

# ── an account
check "account: the name is free" true "$(az storage account check-name -n $account --query nameAvailable -o tsv)"
check "account: created" Succeeded "$(az storage account create -n $account -g $group -l "$location" --sku Standard_LRS --tags team=blue --query provisioningState -o tsv)"
check "account: the name is taken" false "$(az storage account check-name -n $account --query nameAvailable -o tsv)"
check "account: listed" $account "$(az storage account list -g $group --query '[].name' -o tsv)"
check "account: its kind and sku" "StorageV2 Standard_LRS" "$(az storage account show -n $account -g $group --query '[kind, sku.name]' -o tsv | tr '\t\n' '  ' | xargs)"
refused "account: a bad name is refused" AccountNameInvalid az storage account create -n Bad_Name -g $group -l "$location"
check "resources: the account is one" $account "$(az resource list -g $group --query '[].name' -o tsv)"
check "resources: by tag" $account "$(az resource list --tag team=blue --query '[].name' -o tsv)"
check "resources: not by another tag" "" "$(az resource list --tag team=red --query '[].name' -o tsv)"
check "resources: by type" $account "$(az resource list --resource-type Microsoft.Storage/storageAccounts --query "[?name=='$account'].name" -o tsv)"
check "resource: shown by name" Microsoft.Storage/storageAccounts "$(az resource show -g $group -n $account --resource-type Microsoft.Storage/storageAccounts --query type -o tsv)"
account_id=$(az storage account show -n $account -g $group --query id -o tsv)
check "resource: shown by id" $account "$(az resource show --ids "$account_id" --query name -o tsv)"

# ── keys
keys() { az storage account keys list -n $account -g $group --query "$1" -o tsv; }
check "keys: two of them" "key1 key2" "$(keys '[].keyName' | xargs)"
old=$(keys '[0].value')
az storage account keys renew -n $account -g $group --key primary -o none
key=$(keys '[0].value')
[ "$key" != "$old" ] || die "keys: the renewed key is the old one"
connection=$(az storage account show-connection-string -n $account -g $group --query connectionString -o tsv)
contains "connection string: carries the account" "AccountName=$account" "$connection"
contains "connection string: leads to localhost" "BlobEndpoint=https://localhost:" "$connection"

# ── blobs by key, host names
by_key() { az storage "$@" --account-name $account --account-key "$key" --only-show-errors; }
check "container: created" True "$(by_key container create -n data --query created -o tsv | sed 's/true/True/')"
check "container: listed" data "$(by_key container list --query '[].name' -o tsv)"
refused "the old key no longer opens" "$UNKNOWN" az storage container list --account-name $account --account-key "$old" --only-show-errors
printf 'bonjour\n' > hello.txt
by_key blob upload -c data -n hello.txt -f hello.txt --metadata lang=fr --content-type text/plain -o none
check "blob: its length" 8 "$(by_key blob show -c data -n hello.txt --query properties.contentLength -o tsv)"
check "blob: its type" text/plain "$(by_key blob show -c data -n hello.txt --query properties.contentSettings.contentType -o tsv)"
check "blob: its MD5" "$(openssl md5 -binary hello.txt | base64)" "$(by_key blob show -c data -n hello.txt --query properties.contentSettings.contentMd5 -o tsv)"
check "blob: its metadata" fr "$(by_key blob metadata show -c data -n hello.txt --query lang -o tsv)"
by_key blob metadata update -c data -n hello.txt --metadata lang=en -o none
check "blob: its new metadata" en "$(by_key blob metadata show -c data -n hello.txt --query lang -o tsv)"
check "blob: exists" true "$(by_key blob exists -c data -n hello.txt --query exists -o tsv | tr T t)"
by_key blob download -c data -n hello.txt -f back.txt --no-progress -o none
same "blob: downloaded" hello.txt back.txt
printf 'autre\n' > other.txt
refused "blob: not overwritten unasked" "already exists" by_key blob upload -c data -n hello.txt -f other.txt
by_key blob upload -c data -n hello.txt -f other.txt --overwrite -o none
by_key blob download -c data -n hello.txt -f back.txt --no-progress -o none
same "blob: overwritten when asked" other.txt back.txt

# ── odd names, nothing, and much
for name in 'été à la plage.txt' 'dossier/sous dossier/a+b&c=d.txt' 'pour cent %41.txt' 'a%2Fb' '日本/ファイル' "$(printf 'x%.0s' {1..300})" "dossier/$(printf 'é%.0s' {1..260})"; do
    by_key blob upload -c data -n "$name" -f hello.txt -o none
    by_key blob download -c data -n "$name" -f back.txt --no-progress -o none
    same "odd name: ${name:0:40}" hello.txt back.txt
    contains "odd name in the list: ${name:0:40}" "$name" "$(by_key blob list -c data --query '[].name' -o tsv)"
done
check "list: by prefix" 'dossier/sous dossier/a+b&c=d.txt' "$(by_key blob list -c data --prefix dossier/sous --query '[].name' -o tsv)"
contains "list: folders with a delimiter" dossier/ "$(by_key blob list -c data --delimiter / --query '[].name' -o tsv)"
: > empty
by_key blob upload -c data -n empty -f empty -o none
by_key blob download -c data -n empty -f empty.back --no-progress -o none
same "a blob of no bytes" empty empty.back
head -c 104857600 /dev/urandom > big
by_key blob upload -c data -n big -f big --no-progress -o none
by_key blob download -c data -n big -f big.back --no-progress -o none
same "a blob of 100 MiB" big big.back
rm -f big.back

# ── by connection string: path style, nothing but localhost
by_string() { az storage "$@" --connection-string "$connection" --only-show-errors; }
contains "connection string: lists" hello.txt "$(by_string blob list -c data --query '[].name' -o tsv)"
by_string blob upload -c data -n by-string.txt -f hello.txt -o none
by_string blob download -c data -n by-string.txt -f back.txt --no-progress -o none
same "connection string: up and down" hello.txt back.txt
by_string blob delete -c data -n by-string.txt -o none
check "connection string: deleted" false "$(by_string blob exists -c data -n by-string.txt --query exists -o tsv | tr F f)"
refused "a deleted blob is gone" BlobNotFound by_string blob show -c data -n by-string.txt

# ── signatures that can be handed on
sas() { az storage "$1" generate-sas --account-name $account --account-key "$key" --expiry "$(tomorrow)" --https-only -o tsv "${@:2}"; }
by_sas() { az storage "$@" --account-name $account --only-show-errors; }
reader=$(sas container -n data --permissions rl)
by_sas blob download -c data -n hello.txt -f back.txt --no-progress -o none --sas-token "$reader"
same "container SAS: reads" other.txt back.txt
refused "container SAS: may not write" "$FORBIDDEN" by_sas blob upload -c data -n no.txt -f hello.txt --sas-token "$reader"
bent=$(sed 's/sig=\(.\)/sig=A\1/' <<< "$reader")
wider=$(sed 's/sp=rl/sp=rwdl/' <<< "$reader")
[ "$wider" != "$reader" ] || die "container SAS: has no sp=rl: it cannot be widened"
refused "container SAS: a bent signature is refused" "$UNKNOWN" by_sas blob download -c data -n hello.txt -f back.txt --no-progress --sas-token "$bent"
refused "container SAS: more rights than were signed are refused" "$UNKNOWN" by_sas blob upload -c data -n no.txt -f hello.txt --sas-token "$wider"
whole=$(sas account --services b --resource-types sco --permissions rwdlac)
by_sas container create -n by-sas -o none --sas-token "$whole"
by_sas blob upload -c by-sas -n one.txt -f hello.txt -o none --sas-token "$whole"
check "account SAS: lists" one.txt "$(by_sas blob list -c by-sas --query '[].name' -o tsv --sas-token "$whole")"
by_sas container delete -n by-sas -o none --sas-token "$whole"
check "account SAS: the container is gone" data "$(by_key container list --query '[].name' -o tsv)"

# ── by who you are: nothing without a role on the data, even for the owner of the subscription
by_login() { az storage "$@" --account-name $account --auth-mode login --only-show-errors; }
refused "login: no role, no data" "$FORBIDDEN" by_login blob list -c data
az role assignment create --assignee "$AZURE_CLIENT_ID" --role "Storage Blob Data Contributor" --scope "$account_id" -o none
by_login blob upload -c data -n by-login.txt -f hello.txt -o none
by_login blob download -c data -n by-login.txt -f back.txt --no-progress -o none
same "login: up and down after the role" hello.txt back.txt
by_login blob download -c data -n by-login.txt -f back2.txt --no-progress -o none --blob-endpoint "$management/$account"
same "login: path style" hello.txt back2.txt
by_login blob delete -c data -n by-login.txt -o none

# ── a second program, which may do nothing until somebody lets it
check "role: Reader has Azure's id" acdd72a7-3385-48ef-bd42-f606fba81ae7 "$(az role definition list --name Reader --query '[0].name' -o tsv)"
mine=$AZURE_CONFIG_DIR
new_profile administrator
as_administrator
made=$(az ad sp create-for-rbac --display-name second --only-show-errors)
second=$(jq -er .appId <<< "$made")
secret=$(jq -er .password <<< "$made")
object=$(az ad sp show --id "$second" --query id -o tsv)
new_profile second
as_principal "$second" "$secret"
group_url="$management/subscriptions/$subscription/resourcegroups/$group?api-version=2024-11-01"
# by hand: without a role az knows no subscription, and asks nobody
bearer=$(az account get-access-token --query accessToken -o tsv)
by_hand() { az rest --method get --url "$group_url" --skip-authorization-header --headers "Authorization=Bearer $bearer" "$@"; }
refused "second program: refused without a role" AuthorizationFailed by_hand
theirs=$AZURE_CONFIG_DIR
export AZURE_CONFIG_DIR=$mine
az role assignment create --assignee-object-id "$object" --assignee-principal-type ServicePrincipal --role Reader --scope "$scope" -o none
check "role assignment: listed with its names" "second Reader" \
    "$(az role assignment list --scope "$scope" --query "[?principalId=='$object'].[principalName, roleDefinitionName]" -o tsv | sed "s/$second/second/" | tr '\t' ' ')"
export AZURE_CONFIG_DIR=$theirs
as_principal "$second" "$secret"
check "second program: reads with a role" $group "$(az rest --method get --url "$group_url" --query name -o tsv)"
check "second program: sees the group" $group "$(az group show -n $group --query name -o tsv)"
refused "second program: Reader may not write" AuthorizationFailed az group update -n $group --set tags.stage=taken
refused "second program: Reader may not see keys" AuthorizationFailed az storage account keys list -n $account -g $group
refused "second program: Reader may not give roles" AuthorizationFailed \
    az role assignment create --assignee-object-id "$object" --assignee-principal-type ServicePrincipal --role Owner --scope "$scope"
export AZURE_CONFIG_DIR=$mine
az role assignment delete --assignee "$second" --role Reader --scope "$scope"
check "role assignment: gone" "" "$(az role assignment list --scope "$scope" --query "[?principalId=='$object'].id" -o tsv)"
export AZURE_CONFIG_DIR=$theirs
refused "second program: refused again at once" AuthorizationFailed az rest --method get --url "$group_url"
export AZURE_CONFIG_DIR=$mine

# ── clear up
by_key blob delete -c data -n hello.txt -o none
by_key container delete -n data -o none
check "container: deleted" "" "$(by_key container list --query '[].name' -o tsv)"
az storage account delete -n $account -g $group -y
check "account: deleted" "" "$(az storage account list -g $group --query '[].name' -o tsv)"
az group delete -n $group -y
check "group: deleted" false "$(az group exists -n $group)"
