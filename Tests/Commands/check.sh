#!/usr/bin/env bash
# Runs the executable as its users do, on every kind of key provider, good input and bad. Prints what it checked.
set -euo pipefail
keycustody=${1:?usage: check.sh EXECUTABLE}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
umask 077
passed=0

fail() {
  echo "FAIL: $*" >&2
  exit 1
}

# expect TEXT COMMAND…: succeeds and prints the text.
expect() {
  local text=$1
  shift
  "$@" >out 2>err || { cat out err >&2; fail "failed: $*"; }
  grep -qF -- "$text" out || { cat out err >&2; fail "no '$text' from: $*"; }
  passed=$((passed + 1))
}

# refuse TEXT COMMAND…: fails, says the text and a remedy, and does not crash.
refuse() {
  local text=$1 status=0
  shift
  "$@" >out 2>err || status=$?
  [ "$status" -ne 0 ] || fail "must be refused: $*"
  [ "$status" -lt 128 ] || { cat out err >&2; fail "crashed ($status): $*"; }
  grep -qF -- "$text" out err || { cat out err >&2; fail "no '$text' from: $*"; }
  passed=$((passed + 1))
}

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
printf 'what the customer wrote' >plain
: >empty

for backend in file pkcs11; do
  run() { local command=$1; shift; "$keycustody" "$command" "$@" --config "$backend.json"; }
  sub() { local command=$1 verb=$2; shift 2; "$keycustody" "$command" "$verb" "$@" --config "$backend.json"; }

  expect "Everything is well" run doctor
  expect '"ability":"unwrap A256KW"' run doctor --output json
  expect "created vault contoso-keys" sub vault create contoso-keys --tenant contoso --key-provider keys
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
  head -c -1 sealed >cut
  refuse "integrityFailure" run open cut target --resource contoso-notes --object note-1 --identifier owner=ann
  head -c 40 sealed >stump
  refuse "truncated" run open stump target --resource contoso-notes --object note-1 --identifier owner=ann
  printf 'KCO\x63' | cat - <(tail -c +5 sealed) >future
  refuse "unknown-format" run open future target --resource contoso-notes --object note-1 --identifier owner=ann
  refuse "malformed" run open plain target --resource contoso-notes --object note-1
  refuse "resource-unknown" run open sealed target --resource nobody --object note-1
  refuse "There is no file" run seal missing target --resource contoso-notes --object note-1
  refuse "data-class-unknown" run seal plain target --resource contoso-notes --object note-1 --class nonsense
  [ ! -e target ] || fail "a refused open left a target"

  # A customer's key: bound, rotated, withdrawn four ways, given back, switched off.
  refuse "identity-required" sub resource enable contoso-notes --key contoso-keys/notes --without-stored-data
  expect "contoso/contoso-notes" sub resource identity on contoso-notes
  expect "created vault loose" sub vault create loose --tenant contoso --key-provider keys --no-purge-protection
  refuse "purge-protection-required" sub resource enable contoso-notes --key loose/notes --without-stored-data
  expect "purge protection is on" sub vault protect loose
  refuse "grant-required" sub resource enable contoso-notes --key contoso-keys/notes --without-stored-data
  grant() { sub policy set contoso-keys contoso/contoso-notes --keys get,wrapKey,unwrapKey; }
  expect "unwrapKey" grant
  refuse "key-unknown" sub resource enable contoso-notes --key contoso-keys/missing --without-stored-data
  refuse "store-required" sub resource enable contoso-notes --key contoso-keys/notes
  refuse "store-unknown" sub resource enable contoso-notes --key contoso-keys/notes --store nowhere
  expect "sealed plain" run seal plain --store "$backend-data" --resource contoso-notes --object kept
  expect "customerManaged" sub resource enable contoso-notes --key contoso-keys/notes --store "$backend-data"
  expect "opened" run open opened --store "$backend-data" --resource contoso-notes --object kept
  cmp plain opened
  refuse "malformed" run seal plain target --store "$backend-data" --resource contoso-notes --object kept
  expect "sealed plain" run seal plain sealed --resource contoso-notes --object note-1
  expect "enabled" sub key rotate contoso-keys/notes
  expect "available" sub resource update contoso-notes --key contoso-keys/notes
  expect "administrator" sub policy delete contoso-keys contoso/contoso-notes
  refuse "access-denied" run open sealed target --resource contoso-notes --object note-1
  expect "suspended (access-denied)" sub resource status contoso-notes
  expect "unwrapKey" grant
  expect "disabled" sub key disable contoso-keys/notes
  refuse "key-disabled" run open sealed target --resource contoso-notes --object note-1
  expect "enabled" sub key enable contoso-keys/notes
  expect "recoverable until" sub key delete contoso-keys/notes
  refuse "key-deleted" run open sealed target --resource contoso-notes --object note-1
  refuse "purge-protected" sub key purge contoso-keys/notes
  expect "enabled" sub key recover contoso-keys/notes
  expect "opened sealed" run open sealed opened --resource contoso-notes --object note-1
  cmp plain opened
  [ ! -e target ] || fail "a refused open left a target"
done

# Configurations that are wrong.
sed 's/"directory": "file-keys"/"directroy": "file-keys"/' file.json >misspelt.json
refuse "keyProviders.keys.directory" "$keycustody" doctor --config misspelt.json
refuse "can't be read" "$keycustody" doctor --config missing.json
printf '{' >broken.json
refuse "not JSON" "$keycustody" doctor --config broken.json
sed 's/store.key/other.key/' file.json >otherkey.json
head -c 32 /dev/urandom >other.key
refuse "credentialRejected" "$keycustody" doctor --config otherkey.json
sed 's/"pin"/"wrong-pin"/' pkcs11.json >wrongpin.json
refuse "credentialRejected" "$keycustody" doctor --config wrongpin.json
sed 's/token=commands/token=nobody/' pkcs11.json >wrongtoken.json
refuse "notFound" "$keycustody" doctor --config wrongtoken.json
sed 's/libsofthsm2.so/libmissing.so/' pkcs11.json >wrongmodule.json
refuse "unavailable" "$keycustody" doctor --config wrongmodule.json

# Secrets in no output.
! grep -qF "4711-right" out err || fail "the PIN was printed"
echo "commands: $passed checks passed"
