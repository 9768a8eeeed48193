#!/usr/bin/env bash
# Runs the executable as its users do, on every kind of key provider, good input and bad. Prints what it checked.
set -euo pipefail
keycustody=${1:?usage: check.sh EXECUTABLE}
. "$(dirname "$0")/checks.sh"

softhsm=$(find /usr/lib /usr/local/lib -name libsofthsm2.so 2>/dev/null | head -n 1)
[ -n "$softhsm" ] || fail "SoftHSM is missing: apt-get install softhsm2"
mkdir tokens
printf 'directories.tokendir = %s/tokens\nobjectstore.backend = file\nlog.level = ERROR\n' "$work" >softhsm2.conf
export SOFTHSM2_CONF=$work/softhsm2.conf
softhsm2-util --init-token --free --label commands --pin 4711-right --so-pin 4711-officer >/dev/null
printf '4711-right' >pin
printf 'not-the-pin' >wrong-pin
head -c 32 /dev/urandom >store.key

configuration() { # NAME KEY-PROVIDER-SECTION
  cat >"$1.json" <<JSON
{ "keyProviders": { "keys": $2 },
  "policyStores": { "records": { "plugin": "file", "directory": "$1-records" } },
  "service": { "keyProvider": "keys", "policyStore": "records" } }
JSON
}
configuration file '{ "plugin": "file", "directory": "file-keys", "keyFile": "store.key" }'
configuration pkcs11 "{ \"plugin\": \"pkcs11\", \"module\": \"$softhsm\", \"token\": \"pkcs11:token=commands\", \"pinFile\": \"pin\" }"

expect 0.1.0 "$keycustody" --version
expect "SoftHSM 2.6.1, measured" "$keycustody" doctor --quirks
expect '"source":"SoftHSM 2.6.1, measured"' "$keycustody" doctor --quirks --output json
printf 'what the customer wrote' >plain
: >empty

for backend in file pkcs11; do
  run() { local command=$1; shift; "$keycustody" "$command" "$@" --config "$backend.json"; }
  sub() { local command=$1 verb=$2; shift 2; "$keycustody" "$command" "$verb" "$@" --config "$backend.json"; }

  expect "Everything is well" run doctor
  expect '"ability":"unwrap A256KW"' run doctor --output json
  expect "created vault contoso-keys" sub vault create contoso-keys --tenant contoso --key-provider keys --purge-protection
  expect "rsa-2048" sub key create contoso-keys/notes --type rsa-2048
  expect "serviceManaged" sub resource create contoso-notes --tenant contoso
  expect "sealed plain" run seal plain sealed --resource contoso-notes --object note-1 --identifier owner=ann
  expect "opened sealed" run open sealed opened --resource contoso-notes --object note-1 --identifier owner=ann
  cmp plain opened
  expect "sealed empty" run seal empty sealed-empty --resource contoso-notes --object empty
  expect "opened" run open sealed-empty opened-empty --resource contoso-notes --object empty
  cmp empty opened-empty
  expect '"protected"' sub resource envelopes contoso-notes

  # Bad sealed data: refused, and the target does not appear.
  rm -f target
  refuse "not-authentic" run open sealed target --resource contoso-notes --object note-2 --identifier owner=ann
  refuse "not-authentic" run open sealed target --resource contoso-notes --object note-1 --identifier owner=bob
  advise "restore it from a backup"
  refuse "data-class-unknown" run open sealed target --resource contoso-notes --object note-1 --class nonsense
  advise "long-term, transient, serving-copy"
  refuse "not-authentic" run open sealed target --resource contoso-notes --object note-1 --class transient
  cp sealed flipped
  printf '\xff' | dd of=flipped bs=1 seek=200 conv=notrunc status=none
  refuse "can't be told apart" run open flipped target --resource contoso-notes --object note-1 --identifier owner=ann
  advise "'flipped'"
  advise "backup"
  head -c -1 sealed >cut
  refuse "integrityFailure" run open cut target --resource contoso-notes --object note-1 --identifier owner=ann
  head -c 40 sealed >stump
  refuse "truncated" run open stump target --resource contoso-notes --object note-1 --identifier owner=ann
  printf 'KCO\x63' | cat - <(tail -c +5 sealed) >future
  refuse "unknown-format" run open future target --resource contoso-notes --object note-1 --identifier owner=ann
  refuse "malformed" run open plain target --resource contoso-notes --object note-1
  refuse "resource-unknown" run open sealed target --resource nobody --object note-1
  refuse "There is no file 'missing'" run seal missing target --resource contoso-notes --object note-1
  refuse "there is no folder 'nowhere'" run seal plain nowhere/target --resource contoso-notes --object note-1
  advise "mkdir -p 'nowhere'"
  conceal ".part"
  refuse "'nowhere/target'" run open sealed nowhere/target --resource contoso-notes --object note-1 --identifier owner=ann
  conceal ".part"
  refuse "'plain' is not a folder" run seal plain plain/target --resource contoso-notes --object note-1
  refuse "1 to 512 bytes" run seal plain target --resource contoso-notes --object ""
  refuse "1 to 512 bytes" run seal plain target --resource contoso-notes --object "$(printf 'a%.0s' {1..513})"
  refuse "already-exists" sub resource create contoso-notes --tenant contoso
  advise "resource status contoso-notes"
  refuse "data-class-unknown" run seal plain target --resource contoso-notes --object note-1 --class nonsense
  [ ! -e target ] || fail "a refused open left a target"

  # A customer's key: bound, rotated, withdrawn four ways, given back, switched off.
  refuse "identity-required" sub resource enable contoso-notes --key contoso-keys/notes --without-stored-data
  expect "contoso/contoso-notes" sub resource identity on contoso-notes
  expect "created vault loose" sub vault create loose --tenant contoso --key-provider keys
  refuse "purge-protection-required" sub resource enable contoso-notes --key loose/notes --without-stored-data
  expect "purge protection is on" sub vault protect loose
  refuse "grant-required" sub resource enable contoso-notes --key contoso-keys/notes --without-stored-data
  advise "keycustody policy set contoso-keys contoso/contoso-notes --keys get,wrapKey,unwrapKey"
  grant() { sub policy set contoso-keys contoso/contoso-notes --keys get,wrapKey,unwrapKey; }
  expect "unwrapKey" grant
  refuse "key-unknown" sub resource enable contoso-notes --key contoso-keys/missing --without-stored-data
  refuse "store-required" sub resource enable contoso-notes --key contoso-keys/notes
  refuse "store-unknown" sub resource enable contoso-notes --key contoso-keys/notes --store nowhere
  refuse "no item 'kept'" run open target --store "$backend-data" --resource contoso-notes --object kept
  refuse "'nowhere/data' can't be made" run seal plain --store nowhere/data --resource contoso-notes --object kept
  expect "sealed plain" run seal plain --store "$backend-data" --resource contoso-notes --object kept
  refuse "no item 'other'" run open target --store "$backend-data" --resource contoso-notes --object other
  conceal ".json"
  expect "customerManaged" sub resource enable contoso-notes --key contoso-keys/notes --store "$backend-data"
  expect "opened" run open opened --store "$backend-data" --resource contoso-notes --object kept
  cmp plain opened
  refuse "malformed" run seal plain target --store "$backend-data" --resource contoso-notes --object kept
  expect "sealed plain" run seal plain sealed --resource contoso-notes --object note-1
  expect "enabled" sub key rotate contoso-keys/notes
  expect "available" sub resource update contoso-notes --key contoso-keys/notes
  expect "stored" sub resource keys contoso-notes --store "$backend-data"
  expect "retired" sub resource keys add contoso-notes
  refuse "store-required" sub resource keys destroy contoso-notes --key 0011223344556677
  refuse "unknown-root-key" sub resource keys destroy contoso-notes --key 0011223344556677 --store "$backend-data"
  expect "customerManaged" sub resource resume contoso-notes --store "$backend-data"
  expect "root keys of 1 resources anew" sub service rotate
  expect "wrapped 0 root keys" sub service rotate --no-new-version
  expect "sealed plain" run seal plain sealed --resource contoso-notes --object note-1
  expect "administrator" sub policy delete contoso-keys contoso/contoso-notes
  refuse "access-denied" run open sealed target --resource contoso-notes --object note-1
  advise "keycustody policy set contoso-keys contoso/contoso-notes --keys get,wrapKey,unwrapKey"
  expect "suspended (access-denied)" sub resource status contoso-notes
  expect "unwrapKey" grant
  expect "disabled" sub key disable contoso-keys/notes
  refuse "key-disabled" run open sealed target --resource contoso-notes --object note-1
  advise "keycustody key enable contoso-keys/notes/"
  expect "enabled" sub key enable contoso-keys/notes
  expect "recoverable until" sub key delete contoso-keys/notes
  refuse "key-deleted" run open sealed target --resource contoso-notes --object note-1
  advise "keycustody key recover contoso-keys/notes"
  refuse "purge-protected" sub key purge contoso-keys/notes
  expect "enabled" sub key recover contoso-keys/notes
  expect "opened sealed" run open sealed opened --resource contoso-notes --object note-1
  cmp plain opened
  expect "deny" sub policy set contoso-keys contoso/contoso-notes --keys unwrapKey --deny
  refuse "access-denied" run open sealed target --resource contoso-notes --object note-1
  advise "keycustody policy delete contoso-keys contoso/contoso-notes, since a rule forbids it"
  expect "administrator" sub policy delete contoso-keys contoso/contoso-notes
  expect "unwrapKey" grant
  expect "opened sealed" run open sealed opened --resource contoso-notes --object note-1
  [ ! -e target ] || fail "a refused open left a target"
done

# A large file that was altered in its middle, which is no end.
head -c 300000 /dev/urandom >large
expect "sealed large" "$keycustody" seal large large-sealed --resource contoso-notes --object large --config file.json
printf '\xff\xff' | dd of=large-sealed bs=1 seek=20000 conv=notrunc status=none
refuse "not-authentic" "$keycustody" open large-sealed target --resource contoso-notes --object large --config file.json
advise "restore it from a backup"
cp file-data/contoso-notes/kept.sealed kept-copy
printf '\xff' | dd of=file-data/contoso-notes/kept.sealed bs=1 seek=200 conv=notrunc status=none
refuse "can't be told apart" "$keycustody" open target --store file-data --resource contoso-notes --object kept --config file.json
cp kept-copy file-data/contoso-notes/kept.sealed

# Somebody else has the store open.
mkfifo gate
exec 8<>gate
flock --close file-records/lock cat gate 8>&- &
holder=$!
while flock --nonblock file-records/lock true; do :; done
refuse "(busy, locked)" "$keycustody" resource list --config file.json
advise "It is held by process $holder (flock)"
advise "nothing has to be stopped"
refuse '"code":"busy"' "$keycustody" doctor --output json --config file.json
advise '"retry":"later"'
exec 8>&-
wait "$holder"
expect "contoso-notes" "$keycustody" resource list --config file.json

# Arguments that can't be understood, in the form that was asked for.
refuse '{"error":{"code":"invalidInput"' "$keycustody" resource list --wrong --output json --config file.json
advise "Unknown option '--wrong'"
refuse '"reason":"bad-arguments"' "$keycustody" resource create --output=json
refuse '"retry":"never"' "$keycustody" open --output json
expect "USAGE: keycustody" "$keycustody" resource --output json --help

# Configurations that are wrong.
sed 's/"directory": "file-keys"/"directroy": "file-keys"/' file.json >misspelt.json
refuse "keyProviders.keys.directory" "$keycustody" doctor --config misspelt.json
refuse "can't be read" "$keycustody" doctor --config missing.json
printf '{' >broken.json
refuse "'broken.json' is not JSON" "$keycustody" doctor --config broken.json
: >hollow.json
refuse "it is empty" "$keycustody" doctor --config hollow.json

# change EXPRESSION: the configuration with something else in it, as changed.json.
change() { sed "$1" file.json >changed.json; ! cmp -s file.json changed.json || fail "nothing changed by $1"; }
change 's/"records" }/"records", "leaseSeconds": 1.5 }/'
refuse "'service.leaseSeconds' in the configuration file 'changed.json' is a number that is not whole" \
  "$keycustody" resource list --config changed.json
conceal "Decod"
change 's/"records" }/"records", "leaseSeconds": 3000 }/'
refuse "'service.leaseSeconds' in 'changed.json' must be a whole number from 0 to 900, and is 3000" \
  "$keycustody" resource list --config changed.json
change 's/"records" }/"records", "nonces": 3 }/'
refuse "'service.nonces' in 'changed.json' must be a text, and is a whole number" \
  "$keycustody" resource list --config changed.json
advise '"counted", or "random"'
change 's/"service": {/"service": { "tenant": null,/'
refuse "'service.tenant' in the configuration file 'changed.json' is null" "$keycustody" doctor --config changed.json
change 's/{ "keyProviders"/{ "fips": "yes", "keyProviders"/'
refuse "'fips' in 'changed.json' must be true or false" "$keycustody" resource list --config changed.json
change 's/{ "keyProvider": "keys"/{ "keyProvider": "other"/'
refuse "'service.keyProvider' names the key provider 'other'" "$keycustody" resource list --config changed.json
advise "one of: keys"
conceal "identity"
change 's/"policyStore": "records"/"policyStore": "other"/'
refuse "'service.policyStore' names the policy store 'other'" "$keycustody" doctor --config changed.json
sed 's/"service"/"identity": { "keyProvider": "other" }, "service"/' file.json >changed.json
refuse "'identity.keyProvider' names the key provider 'other'" "$keycustody" resource list --config changed.json
change 's/store.key/missing.key/'
refuse "'keyProviders.keys.keyFile'" "$keycustody" resource list --config changed.json
advise "head -c 32 /dev/urandom > './missing.key'"
refuse '"retry":"never"' "$keycustody" resource list --output json --config changed.json
change 's/"policyStores": {/"policyStores": { "more": { "plugin": "file", "directory": "file-records" },/'
refuse "is open already, elsewhere in this process" "$keycustody" resource list --config changed.json
advise "a folder of its own"
change 's/{ "keyProviders"/{ "fips": true, "keyProviders"/'
OPENSSL_MODULES=$work refuse "no-fips-provider" "$keycustody" resource list --config changed.json
advise "the guide 'FIPS mode'"
[ "$(grep '^error: ' err | wc -c)" -lt 300 ] || fail "the refusal of FIPS mode is long"
OPENSSL_MODULES=$work refuse '"code":"unsupported"' "$keycustody" doctor --output json --config changed.json
sed 's/store.key/other.key/' file.json >otherkey.json
head -c 32 /dev/urandom >other.key
refuse "credentialRejected" "$keycustody" doctor --config otherkey.json
refuse '"check":"open","code":"credentialRejected"' "$keycustody" doctor --output json --config otherkey.json
advise '{"error":{"code":"credentialRejected"'
advise '"retry":"afterOperator"'
sed 's/"pin"/"wrong-pin"/' pkcs11.json >wrongpin.json
refuse "credentialRejected" "$keycustody" doctor --config wrongpin.json
sed 's/token=commands/token=nobody/' pkcs11.json >wrongtoken.json
refuse "notFound" "$keycustody" doctor --config wrongtoken.json
sed 's/libsofthsm2.so/libmissing.so/' pkcs11.json >wrongmodule.json
refuse "unavailable" "$keycustody" doctor --config wrongmodule.json

# Secrets in no output.
! grep -qF "4711-right" printed || fail "the PIN was printed"
echo "commands: $passed checks passed"
