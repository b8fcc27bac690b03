#!/usr/bin/env bash
# rclone, another author's client: the same files up, compared, changed, mirrored and removed.
. "$STORY/common.sh"

group=rclone
account=bleurclone1
"$BLEU" login --data "$BLEU_DATA"
az group create -n $group -l "$location" -o none
az storage account create -n $account -g $group -l "$location" --sku Standard_LRS -o none

# rclone puts the account before the endpoint, so it is given the host names
endpoint=$(ready hosts.blob | sed 's|https://{account}\.||')
export RCLONE_CONFIG=/dev/null RCLONE_CONFIG_BLEU_TYPE=azureblob
export RCLONE_CONFIG_BLEU_ACCOUNT=$account RCLONE_CONFIG_BLEU_ENDPOINT=$endpoint
RCLONE_CONFIG_BLEU_KEY=$(az storage account keys list -n $account -g $group --query '[0].value' -o tsv)
export RCLONE_CONFIG_BLEU_KEY
rclone() { command rclone --retries 1 --low-level-retries 2 "$@"; }

mkdir -p 'there/dossier été/deep er' there/many
printf 'bonjour\n' > there/hello.txt
: > there/empty
printf 'x' > 'there/dossier été/naïve & plus+percent%.txt'
printf 'y' > 'there/dossier été/deep er/日本.txt'
head -c 12582912 /dev/urandom > there/blocks.bin
for n in $(seq 1 60); do printf '%s\n' "$n" > there/many/$n; done

rclone mkdir bleu:files
check "mkdir" files/ "$(rclone lsf bleu:)"
rclone copy --azureblob-chunk-size 4Mi --azureblob-upload-cutoff 4Mi there bleu:files
rclone check --download there bleu:files
printf 'ok: copied, and every byte compared\n'
check "ls: as many files as here" "$(find there -type f | wc -l)" "$(rclone lsf -R --files-only bleu:files | wc -l)"
check "ls: paging" 60 "$(rclone lsf --azureblob-list-chunk 7 bleu:files/many | wc -l)"
check "ls: an odd name" 'naïve & plus+percent%.txt' "$(rclone lsf 'bleu:files/dossier été' | grep -v /)"
check "size" "$(find there -type f -printf '%s\n' | awk '{s += $1} END {print s}')" "$(rclone size --json bleu:files | jq .bytes)"
check "cat: a range" 'jour' "$(rclone cat --offset 3 --count 4 bleu:files/hello.txt)"

rm there/many/1
printf 'changed\n' > there/hello.txt
rclone sync there bleu:files
rclone check --download there bleu:files
check "sync: removed there too" 59 "$(rclone lsf bleu:files/many | wc -l)"
check "sync: changed there too" changed "$(rclone cat bleu:files/hello.txt)"
rclone copy bleu:files back
diff -r there back || die "what came back differs"
rclone deletefile bleu:files/hello.txt
check "deletefile" "" "$(rclone lsf --files-only --include hello.txt bleu:files)"
rclone purge bleu:files
check "purge" "" "$(rclone lsf bleu:)"

RCLONE_CONFIG_BLEU_KEY=$(printf 'wrong' | base64)
refused "a wrong key" AuthenticationFailed rclone lsf bleu:
az group delete -n $group -y
