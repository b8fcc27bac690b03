# What the stories in bash share: checks that say what they looked at, and a few ways to sign in. Sourced, not run.
set -euo pipefail

ready() { jq -er ".$1" "$BLEU_READY"; }

management=$(ready management)
tenant=$(ready tenant)
subscription=$(ready subscription)
location=$(ready location)

die() {
    printf 'FAILED: %s\n' "$1" >&2
    exit 1
}

# check WHAT EXPECTED ACTUAL
check() {
    [ "$2" = "$3" ] || die "$1: expected '$2', found '$3'"
    printf 'ok: %s\n' "$1"
}

# contains WHAT PART WHOLE
contains() {
    case "$3" in
        *"$2"*) printf 'ok: %s\n' "$1" ;;
        *) die "$1: '$2' is not in: $3" ;;
    esac
}

# refused WHAT WORD COMMAND...: the command must fail, and say WORD
refused() {
    local what=$1 word=$2 said
    shift 2
    if said=$("$@" 2>&1 < /dev/null); then die "$what: succeeded with: $said"; fi
    case "$said" in *Traceback*) die "$what: the client broke instead of reporting: $said" ;; esac
    contains "$what" "$word" "$said"
}

# same WHAT FILE FILE
same() {
    cmp -- "$2" "$3" || die "$1: the files differ"
    printf 'ok: %s\n' "$1"
}

# new_profile NAME [FLAGS]: a fresh az profile that knows this region as a cloud, by one URL
new_profile() {
    local name=$1
    shift
    export AZURE_CONFIG_DIR="$HOME/$name"
    az cloud register --name "$name" --endpoint-resource-manager "$management" "$@"
    az cloud set --name "$name"
}

# as_principal APP SECRET: signs a service principal in, also one that has no role yet
as_principal() {
    az login --service-principal --username "$1" --password "$2" --tenant "$tenant" --allow-no-subscriptions --output none
}

as_administrator() {
    az login --username "$BLEU_ADMIN" --password "$BLEU_ADMIN_PASSWORD" --tenant "$tenant" --allow-no-subscriptions --output none
}

# tomorrow: an expiry in the form that SAS commands take
tomorrow() { date -u -d '+1 day' '+%Y-%m-%dT%H:%MZ'; }
