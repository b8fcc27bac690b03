#!/usr/bin/env bash
# A person with an authenticator: enrolment on the page, sign-in with its code by device code and by browser, a recovery
# code once, an administrator's reset, and sessions that end when they are revoked. The az command, unmodified.
. "$STORY/common.sh"

page() { curl --silent --show-error --cacert "$SSL_CERT_FILE" --cookie-jar cookies --cookie cookies "$@"; }
field() { sed -n "s/.*name=\"$1\" value=\"\([^\"]*\)\".*/\1/p" "$2" | head -n 1 | sed 's/&amp;/\&/g; s/&#43;/+/g'; }
# totp KEY AHEAD: the code of an authenticator (RFC 6238), so many steps ahead
totp() {
    python3 - "$1" "$2" << 'P'
import base64, hashlib, hmac, struct, sys, time
tag = hmac.new(base64.b32decode(sys.argv[1]), struct.pack(">Q", int(time.time()) // 30 + int(sys.argv[2])), hashlib.sha1).digest()
at = tag[19] & 15
print("%06d" % ((struct.unpack(">I", tag[at:at + 4])[0] & 0x7FFFFFFF) % 1000000))
P
}

# ── enrolment
security="$(ready login)/common/security"
page "$security" > security.html
# step FORM FIELDS...: sends the form of the page before
step() {
    local flow
    flow=$(field flow security.html)
    page --data-urlencode "flow=$flow" "$@" "$security" > next.html
    mv next.html security.html
}
step --data-urlencode "username=$BLEU_ADMIN" --data-urlencode "password=$BLEU_ADMIN_PASSWORD" --data action=sign-in
step --data action=enrol
contains "the page shows a picture to scan" "<svg" "$(cat security.html)"
key=$(sed -n 's/.*<code>\([^<]*\)<.*/\1/p' security.html | tr -d ' ')
step --data action=confirm --data "code=$(totp "$key" 0)"
recovery=$(grep -o '<li><code>[^<]*' security.html | sed 's/.*>//')
check "recovery codes are shown" 10 "$(wc -l <<< "$recovery")"

# ── the password alone
new_profile password
refused "password alone" AADSTS50076 as_administrator

# ── device code, with the next code of the authenticator
# second PASSWORD-PAGE ACTION-URL CODE: sends the code on the page that follows the password
device_login() {
    local second=$1 waiting code='' url='' tries=0
    : > device.err
    az login --use-device-code --allow-no-subscriptions --output none --tenant "$tenant" 2> device.err &
    waiting=$!
    while [ -z "$code" ]; do
        tries=$((tries + 1))
        [ $tries -lt 300 ] || die "device code: none was shown: $(cat device.err)"
        kill -0 $waiting 2> /dev/null || die "device code: az ended: $(cat device.err)"
        sleep 0.1
        cp device.err device.seen
        url=$(sed -n 's/.*open the page \([^ ]*\) and enter.*/\1/p' device.seen)
        code=$(sed -n 's/.*the code \([^ ]*\) to authenticate.*/\1/p' device.seen)
    done
    page --data-urlencode "user_code=$code" --data action=code "$url" > form.html
    page --data-urlencode "flow=$(field flow form.html)" --data-urlencode "username=$BLEU_ADMIN" \
        --data-urlencode "password=$BLEU_ADMIN_PASSWORD" --data action=sign-in "$url" > half.html
    contains "device code: the password is half of it" one-time-code "$(cat half.html)"
    page --data-urlencode "flow=$(field flow half.html)" --data action=sign-in --data "code=000000" "$url" > wrong.html
    contains "device code: a wrong code is refused" 'role="alert"' "$(cat wrong.html)"
    page --data-urlencode "flow=$(field flow half.html)" --data action=sign-in --data "code=$second" "$url" > done.html
    wait $waiting || die "device code: az failed: $(cat device.err)"
}
new_profile device
device_login "$(totp "$key" 1)"
check "device code: who is signed in" "$BLEU_ADMIN" "$(az account show --query user.name -o tsv)"
token=$(az account get-access-token --query accessToken -o tsv | cut -d. -f2 | tr '_-' '/+')
claims=$(printf '%s%s' "$token" "$(printf '%*s' $(((4 - ${#token} % 4) % 4)) '' | tr ' ' =)" | base64 -d)
check "the token says how" '["pwd","mfa"]' "$(jq -c .amr <<< "$claims")"
graph=$(az cloud show --query endpoints.microsoftGraphResourceId -o tsv)
methods="$(az rest --method get --url "${graph%/}/v1.0/me/authentication/methods" --query "value[].\"@odata.type\"" -o tsv)"
contains "Graph lists the authenticator" softwareOathAuthenticationMethod "$methods"

# ── a browser, with a recovery code; it works once
cat > browser.sh << 'B'
#!/usr/bin/env bash
# Stands in for a person's browser, in the background as one is.
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
    --data-urlencode "password=$BLEU_ADMIN_PASSWORD" --data action=sign-in "$action" > half.html
page --data-urlencode "flow=$(field flow half.html)" --data-urlencode "code=$RECOVERY" --data action=sign-in "$action" > post.html
back=$(sed -n 's/.*<form method="post" action="\([^"]*\)".*/\1/p' post.html | head -n 1)
curl --silent --show-error --data-urlencode "code=$(field code post.html)" --data-urlencode "state=$(field state post.html)" "$back"
B
chmod +x browser.sh
{ declare -f page; declare -f field; } > page.sh
RECOVERY=$(head -n 1 <<< "$recovery")
export RECOVERY
new_profile browser
BROWSER="$SCRATCH/browser.sh" timeout 60 az login --tenant "$tenant" --allow-no-subscriptions --output none || die "browser: $(cat browser.log)"
check "browser: who is signed in" "$BLEU_ADMIN" "$(az account show --query user.name -o tsv)"

# ── revoked: what az still holds is refused at the next request, and its refresh token too
az rest --method post --url "${graph%/}/v1.0/users/$BLEU_ADMIN/revokeSignInSessions" --output none
refused "revoked: the token in store" "az login" az group list
refused "revoked: in another profile" TokenIssuedBeforeRevocationTimestamp env AZURE_CONFIG_DIR="$HOME/device" az ad user list

# ── and in again, to give the authenticator back
sleep 1
new_profile again
RECOVERY=$(sed -n 2p <<< "$recovery")
BROWSER="$SCRATCH/browser.sh" timeout 60 az login --tenant "$tenant" --allow-no-subscriptions --output none || die "browser: $(cat browser.log)"
method=$(az rest --method get --url "${graph%/}/v1.0/me/authentication/softwareOathMethods" --query 'value[0].id' -o tsv)
az rest --method delete --url "${graph%/}/v1.0/users/$BLEU_ADMIN/authentication/softwareOathMethods/$method" --output none
new_profile without
as_administrator
check "reset: the password is enough again" "$BLEU_ADMIN" "$(az account show --query user.name -o tsv)"
