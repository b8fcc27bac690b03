#!/usr/bin/env bash
# Every way to sign in with the az command: program by secret and by certificate, person by password, by device code and by
# browser; with the ADFS and the AAD form of the token service; registered cloud and environment only. Wrong secrets too.
. "$STORY/common.sh"

# ── a program by its secret
new_profile forms
as_principal "$AZURE_CLIENT_ID" "$AZURE_CLIENT_SECRET"
check "secret: who is signed in" "$AZURE_CLIENT_ID servicePrincipal" "$(az account show --query '[user.name, user.type]' -o tsv | tr '\t\n' '  ' | xargs)"
check "secret: the subscription" "$subscription" "$(az account show --query id -o tsv)"
# a profile of its own: in one that holds a good token, az answers from it and asks nobody
new_profile strangers
refused "secret: a wrong one" AADSTS7000215 as_principal "$AZURE_CLIENT_ID" not-the-secret
refused "secret: an unknown program" AADSTS700016 as_principal 11111111-2222-4333-8444-555555555555 not-the-secret

# ── a person by password
new_profile person
as_administrator
check "password: who is signed in" "$BLEU_ADMIN user" "$(az account show --query '[user.name, user.type]' -o tsv | tr '\t\n' '  ' | xargs)"
check "password: the directory knows them" "$BLEU_ADMIN" "$(az ad signed-in-user show --query userPrincipalName -o tsv)"
refused "password: a wrong one" AADSTS50126 az login --username "$BLEU_ADMIN" --password 'not the password' --tenant "$tenant" --allow-no-subscriptions

# ── a program by certificate
made=$(az ad sp create-for-rbac --display-name by-certificate --create-cert --only-show-errors)
program=$(jq -er .appId <<< "$made")
pem=$(jq -er .fileWithCertAndPrivateKey <<< "$made")
new_profile certificate
az login --service-principal --username "$program" --certificate "$pem" --tenant "$tenant" --allow-no-subscriptions --output none
check "certificate: who is signed in" "$program" "$(az account show --query user.name -o tsv)"
openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=other -keyout other.pem -out other.crt 2> other.log
cat other.crt >> other.pem
new_profile forger
refused "certificate: a stranger's" AADSTS az login --service-principal --username "$program" --certificate other.pem --tenant "$tenant" --allow-no-subscriptions

# ── a person on another device: the page without a browser, as a text browser would send it
page() { curl --silent --show-error --fail --cacert "$SSL_CERT_FILE" --cookie-jar cookies --cookie cookies "$@"; }
field() { sed -n "s/.*name=\"$1\" value=\"\([^\"]*\)\".*/\1/p" "$2" | head -n 1 | sed 's/&amp;/\&/g; s/&#43;/+/g'; }

# device_login FLAGS...
device_login() {
    : > device.err
    az login --use-device-code --allow-no-subscriptions --output none "$@" 2> device.err &
    local waiting=$! code='' url='' tries=0
    while [ -z "$code" ]; do
        tries=$((tries + 1))
        [ $tries -lt 300 ] || die "device code: none was shown: $(cat device.err)"
        kill -0 $waiting 2> /dev/null || die "device code: az ended: $(cat device.err)"
        sleep 0.1
        # one look: the line may still be being written
        cp device.err device.seen
        url=$(sed -n 's/.*open the page \([^ ]*\) and enter.*/\1/p' device.seen)
        code=$(sed -n 's/.*the code \([^ ]*\) to authenticate.*/\1/p' device.seen)
    done
    page --data-urlencode "user_code=$code" --data action=code "$url" > form.html
    page --data-urlencode "flow=$(field flow form.html)" --data-urlencode "username=$BLEU_ADMIN" \
        --data-urlencode "password=$BLEU_ADMIN_PASSWORD" --data action=sign-in "$url" > done.html
    wait $waiting || die "device code: az failed: $(cat device.err)"
}
new_profile device
device_login --tenant "$tenant"
check "device code: who is signed in" "$BLEU_ADMIN" "$(az account show --query user.name -o tsv)"

# ── a person in a browser: authorization code with PKCE, the answer posted to az's own little server
cat > browser.sh <<'B'
#!/usr/bin/env bash
# Stands in for a person's browser: opens the page, fills in the form, and posts on what comes back. In the background, as
# a browser is: az waits for this program to return before it answers on its own little server.
set -eu
exec >> "$SCRATCH/browser.log" 2>&1
cd "$SCRATCH"
if [ $# -eq 1 ]; then
    "$0" "$1" in-background &
    exit 0
fi
. "$SCRATCH/page.sh"
page "$1" > sign-in.html
action=$(sed -n 's/.*<form method="post" action="\([^"]*\)".*/\1/p' sign-in.html | head -n 1 | sed 's/&amp;/\&/g')
case $action in http*) ;; *) action="$(sed 's|\(https://[^/]*\).*|\1|' <<< "$1")$action" ;; esac
page --data-urlencode "flow=$(field flow sign-in.html)" --data-urlencode "username=$BLEU_ADMIN" \
    --data-urlencode "password=$BLEU_ADMIN_PASSWORD" --data action=sign-in "$action" > post.html
back=$(sed -n 's/.*<form method="post" action="\([^"]*\)".*/\1/p' post.html | head -n 1)
curl --silent --show-error --data-urlencode "code=$(field code post.html)" --data-urlencode "state=$(field state post.html)" "$back"
B
chmod +x browser.sh
{ declare -f page; declare -f field; } > page.sh
new_profile browser
BROWSER="$SCRATCH/browser.sh" timeout 60 az login --tenant "$tenant" --allow-no-subscriptions --output none || die "browser: $(cat browser.log)"
check "browser: who is signed in" "$BLEU_ADMIN" "$(az account show --query user.name -o tsv)"

# ── the AAD form of the same token service, with instance discovery off (as `bleu env` says)
check "the environment switches instance discovery off" false "$AZURE_CORE_INSTANCE_DISCOVERY"
new_profile aad --endpoint-active-directory "$(ready login)"
as_principal "$AZURE_CLIENT_ID" "$AZURE_CLIENT_SECRET"
check "AAD form: the subscription" "$subscription" "$(az account show --query id -o tsv)"
contains "AAD form: the groups answer" "[" "$(az group list -o json)"
# by device code: for a password in this form, MSAL asks about the realm without the port, and finds nobody there
device_login --tenant "$tenant"
check "AAD form: a person by device code" "$BLEU_ADMIN" "$(az account show --query user.name -o tsv)"

new_profile aad-strangers --endpoint-active-directory "$(ready login)"
refused "AAD form: a wrong secret" AADSTS7000215 as_principal "$AZURE_CLIENT_ID" not-the-secret

# ── nothing registered: the environment alone
export AZURE_CONFIG_DIR="$HOME/bare"
export ARM_CLOUD_METADATA_URL="$management/metadata/endpoints?api-version=2019-05-01"
as_principal "$AZURE_CLIENT_ID" "$AZURE_CLIENT_SECRET"
check "environment only: the subscription" "$subscription" "$(az account show --query id -o tsv)"
contains "environment only: the groups answer" "[" "$(az group list -o json)"

# ── sign out
az logout
refused "signed out" "az login" az account show
