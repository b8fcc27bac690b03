#!/usr/bin/env bash
# Two customers of one region. The second can't see, reach, change or name what is the first's: each try ends as if there
# were nothing. What a stranger may learn is that a storage account's name is taken, since these are everybody's.
. "$STORY/common.sh"

group=shared-name
account=bleufirst1
by_first() { AZURE_CONFIG_DIR="$HOME/first" "$@"; }
first_client=$AZURE_CLIENT_ID
first_secret=$AZURE_CLIENT_SECRET
first_scope="/subscriptions/$subscription/resourceGroups/$group"

# ── the first customer has something to lose
by_first "$BLEU" login --data "$BLEU_DATA"
by_first az group create -n $group -l "$location" -o none
by_first az group create -n quietly-first -l "$location" -o none
account_id=$(by_first az storage account create -n $account -g $group -l "$location" --sku Standard_LRS --query id -o tsv)
first_key=$(by_first az storage account keys list -n $account -g $group --query '[0].value' -o tsv)
printf 'for our eyes only\n' > secret.txt
by_first az storage container create -n vault --account-name $account --account-key "$first_key" --only-show-errors -o none
by_first az storage blob upload -c vault -n secret.txt -f secret.txt --account-name $account --account-key "$first_key" --only-show-errors -o none

# ── a second customer comes
made=$("$BLEU" tenant add Contoso --data "$BLEU_DATA" --json)
second_tenant=$(jq -er .tenant <<< "$made")
domain=$(jq -er .domain <<< "$made")
[ "$second_tenant" != "$tenant" ] || die "the second customer is the first"
lines=$("$BLEU" env --data "$BLEU_DATA" --tenant "$domain")
eval "$lines"
export AZURE_CONFIG_DIR="$HOME/contoso"
"$BLEU" login --data "$BLEU_DATA" --tenant "$domain"
check "second: its tenant" "$second_tenant" "$(az account show --query tenantId -o tsv)"
mine=$(az account show --query id -o tsv)
[ "$mine" != "$subscription" ] || die "the second customer has the first's subscription"
check "second: one subscription, its own" "$mine" "$(az account list --query '[].id' -o tsv)"
check "second: no groups yet" "" "$(az group list --query '[].name' -o tsv)"
check "second: no resources yet" "" "$(az resource list --query '[].name' -o tsv)"
check "second: no accounts yet" "" "$(az storage account list --query '[].name' -o tsv)"

# ── the same name of a group is two groups; the name of an account is one in the region
az group create -n $group -l "$location" --tags whose=contoso -o none
check "group: the second's is its own" contoso "$(az group show -n $group --query tags.whose -o tsv)"
check "group: the first's is as it was" "" "$(by_first az group show -n $group --query tags.whose -o tsv)"
check "account: its name is taken" "false AlreadyExists" \
    "$(az storage account check-name -n $account --query '[nameAvailable, reason]' -o tsv | tr '\t\n' '  ' | xargs)"
refused "account: not made under the first's name" StorageAccountAlreadyTaken az storage account create -n $account -g $group -l "$location"

# ── Resource Manager: another's subscription is one that does not exist, whatever is asked of it
bearer=$(az account get-access-token --query accessToken -o tsv)
# ask METHOD PATH [BODY]: by hand, because az itself asks only about subscriptions that it knows
ask() {
    local method=$1 url=$management$2
    shift 2
    case $url in *\?*) ;; *) url="$url?api-version=2024-11-01" ;; esac
    curl --silent --show-error --cacert "$SSL_CERT_FILE" --request "$method" --header "Authorization: Bearer $bearer" \
        --header 'Content-Type: application/json' --write-out '%{http_code}' --output answer.json "$url" "$@"
}
role=/providers/Microsoft.Authorization/roleAssignments/11111111-2222-4333-8444-555555555555
object=$(jq -rR 'split(".")[1] | gsub("-"; "+") | gsub("_"; "/") | @base64d | fromjson | .oid' <<< "$bearer")
grant="{\"properties\": {\"principalId\": \"$object\", \"principalType\": \"ServicePrincipal\",
    \"roleDefinitionId\": \"/subscriptions/$subscription/providers/Microsoft.Authorization/roleDefinitions/8e3af657-a8ff-443c-a75c-2fe8c4bcb635\"}}"
# gone WHAT METHOD PATH [BODY]: 404, and word for word what a subscription that never was answers
gone() {
    local what=$1 method=$2 path=$3 never=00000000-1111-4222-8333-444444444444
    shift 3
    check "$what" "404 SubscriptionNotFound" "$(ask "$method" "$path" "$@") $(jq -r .error.code answer.json)"
    sed "s/$subscription/$never/g" answer.json > theirs.json
    check "$what: as one that never was" 404 "$(ask "$method" "${path//$subscription/$never}" "$@")"
    same "$what: in the same words" answer.json theirs.json
}
gone "subscription: shown" GET "/subscriptions/$subscription"
gone "group: listed" GET "/subscriptions/$subscription/resourcegroups"
gone "group: shown" GET "$first_scope"
gone "group: made" PUT "/subscriptions/$subscription/resourcegroups/new" --data "{\"location\": \"$location\"}"
gone "group: deleted" DELETE "$first_scope"
gone "resources: listed" GET "/subscriptions/$subscription/resources"
gone "account: shown" GET "$account_id?api-version=2025-08-01"
gone "account: changed" PATCH "$account_id?api-version=2025-08-01" --data '{"tags": {"whose": "contoso"}}'
gone "account: keys" POST "$account_id/listKeys?api-version=2025-08-01" --data ''
gone "account: deleted" DELETE "$account_id?api-version=2025-08-01"
gone "roles: listed" GET "$first_scope/providers/Microsoft.Authorization/roleAssignments?api-version=2022-04-01"
gone "roles: taken" PUT "$first_scope$role?api-version=2022-04-01" --data "$grant"

# ── the data
theirs() { az storage blob "$@" --account-name $account --only-show-errors; }
refused "data: not listed by who one is" ResourceNotFound theirs list -c vault --auth-mode login
refused "data: not listed by who one is, path style" ResourceNotFound theirs list -c vault --auth-mode login --blob-endpoint "$management/$account"
refused "data: not read" ResourceNotFound theirs download -c vault -n secret.txt -f stolen.txt --no-progress --auth-mode login
refused "data: not written" ResourceNotFound theirs upload -c vault -n new.txt -f secret.txt --auth-mode login
[ ! -s stolen.txt ] || die "data: something came"
az storage account create -n bleusecond1 -g $group -l "$location" --sku Standard_LRS -o none
second_key=$(az storage account keys list -n bleusecond1 -g $group --query '[0].value' -o tsv)
refused "data: not by the key of one's own account" "Authentication failure" theirs list -c vault --account-key "$second_key"
own_sas=$(az storage account generate-sas --account-name bleusecond1 --account-key "$second_key" --services b --resource-types sco \
    --permissions rwdlac --expiry "$(tomorrow)" --https-only -o tsv)
refused "data: not by a signature of one's own account" "Authentication failure" theirs list -c vault --sas-token "$own_sas"

# ── the directories
refused "directory: the first's programs are strangers" "" az ad sp show --id "$first_client"
check "directory: the first's administrator is not in it" "" "$(az ad user list --query "[?userPrincipalName=='$BLEU_ADMIN'].id" -o tsv)"
export AZURE_CONFIG_DIR="$HOME/forged"
az cloud register --name forged --endpoint-resource-manager "$management" --endpoint-active-directory "$(ready login)"
az cloud set --name forged
refused "directory: the first's program can't sign in to the second" AADSTS700016 \
    az login --service-principal --username "$first_client" --password "$first_secret" --tenant "$second_tenant" --allow-no-subscriptions
export AZURE_CONFIG_DIR="$HOME/contoso"

# ── and back: nothing happened to the first
by_first az storage blob download -c vault -n secret.txt -f back.txt --account-name $account --account-key "$first_key" --only-show-errors --no-progress -o none
same "first: the blob is as it was" secret.txt back.txt
check "first: the list is as it was" secret.txt \
    "$(by_first az storage blob list -c vault --query '[].name' -o tsv --account-name $account --account-key "$first_key" --only-show-errors)"
check "first: no tags came" "" "$(by_first az storage account show -n $account -g $group --query tags.whose -o tsv)"
check "first: its accounts are its own" "" "$(by_first az storage account list --query "[?name=='bleusecond1'].name" -o tsv)"

# ── each has its own record, true by the keys that its login kept, and silent about the other
"$BLEU" record export --data "$BLEU_DATA" --tenant "$second_tenant" --out second.bundle
"$BLEU" record export --data "$BLEU_DATA" --tenant "$tenant" --out first.bundle
contains "record: the second's is true" TRUE "$("$BLEU" verify second.bundle)"
contains "record: the first's is true" TRUE "$("$BLEU" verify first.bundle)"
contains "record: the second's names its account" bleusecond1 "$(tr -cd "[:print:]\n" < second.bundle)"
! grep -aq quietly-first second.bundle || die "record: the second's bundle names a group of the first's that it never asked about"
contains "record: the first's names its group" quietly-first "$(tr -cd "[:print:]\n" < first.bundle)"
! grep -aq bleusecond1 first.bundle || die "record: the first's bundle names the second's account"
printf 'ok: record: neither names what is the other'"'"'s\n'

# ── clear up
az group delete -n $group -y
by_first az group delete -n $group -y
by_first az group delete -n quietly-first -y
