#!/usr/bin/env bash
# Serves vaults from a folder as its users do, manages them beside it, and kills it at bad moments. Prints what it checked.
set -euo pipefail
keycustody=${1:?usage: serve.sh EXECUTABLE}
. "$(dirname "$0")/checks.sh"

# start FOLDER ARGUMENT…: serves a folder and waits for the line that says so.
start() {
  local folder=$1
  shift
  rm -f ready
  mkfifo ready
  "$keycustody" serve --data "$folder" "$@" --output json >ready 2>served &
  server=$!
  servers=("$server")
  # Stays open, so that the server may go on printing.
  exec 7<ready
  read -r -t 120 told <&7 || { cat served >&2; fail "did not start on $folder: $*"; }
  grep -qF '"ready":true' <<<"$told" || fail "started with: $told"
  port=$(python3 -c 'import json, sys; print(json.load(sys.stdin)["port"])' <<<"$told")
  passed=$((passed + 1))
}

# kill9, stop: ends it at once, or as it is asked to be, which takes no longer than five seconds.
kill9() {
  kill -9 "$server"
  wait "$server" 2>/dev/null || true
}
stop() {
  local before=${EPOCHREALTIME/./}
  kill -TERM "$server"
  wait "$server" || { cat served >&2; fail "ended with an error when it was asked to stop"; }
  [ $((${EPOCHREALTIME/./} - before)) -lt 5000000 ] || fail "took more than five seconds to stop"
  passed=$((passed + 1))
}

# ask FOLDER HOST PATH …: by curl over TLS, under the folder's own authority.
ask() {
  local folder=$1 host=$2 path=$3
  shift 3
  curl -sS --fail-with-body --cacert "$folder/tls/ca.pem" --resolve "*:$port:127.0.0.1" "https://$host:$port$path" "$@"
}

# token FOLDER CLIENT SECRET …: what a client is given for its secret.
token() {
  ask "$1" login.vault.localhost /main/oauth2/v2.0/token -d grant_type=client_credentials -d "client_id=$2" \
    --data-urlencode "client_secret=$3" -d "scope=https://vault.localhost:$port/.default" "${@:4}"
}

# of FOLDER COMMAND VERB …: a command on a folder.
of() {
  local folder=$1 command=$2 verb=$3
  shift 3
  "$keycustody" "$command" "$verb" "$@" --data "$folder"
}

# Arguments and configurations that are wrong.
refuse '"reason":"bad-arguments"' "$keycustody" serve --output json
advise "--data DIR or --config FILE"
refuse '"reason":"bad-arguments"' "$keycustody" serve --data data --config file.json --output json
refuse "A port is 0 to 65535" "$keycustody" serve --data data --port 65536 --output json
refuse '"reason":"bad-arguments"' "$keycustody" serve --data data --port many --output json
refuse "vaults.domain" "$keycustody" serve --config file.json --port 8443 --output json
[ ! -e data ] || fail "bad arguments left a folder"
refuse "'missing.json' can't be read" "$keycustody" serve --config missing.json
refuse "can't be made" "$keycustody" serve --data nowhere/data
mkdir -m 755 shared
refuse "is not this user's alone" "$keycustody" serve --data shared
advise "chmod 700"
[ -z "$(ls shared)" ] || fail "something was written to a folder that others can read"
: >a-file
refuse "a-file" "$keycustody" serve --data a-file
cat >file.json <<'JSON'
{ "keyProviders": { "keys": { "plugin": "memory" } }, "policyStores": { "records": { "plugin": "memory" } },
  "service": { "keyProvider": "keys", "policyStore": "records" }SERVER }
JSON
serving() { sed "s#SERVER#$1#" file.json >serving.json; }
serving ''
refuse "must say which certificate" "$keycustody" serve --config serving.json
serving ', "server": { "certificateFile": "none.pem", "keyFile": "none.pem", "port": 0 }'
refuse "can't be served" "$keycustody" serve --config serving.json
serving ', "server": { "certificateFolder": "tls", "certificateFile": "none.pem" }'
refuse "must say which certificate" "$keycustody" serve --config serving.json
serving ', "server": { "certificateFolder": "tls", "prot": 0 }'
refuse "server.prot" "$keycustody" serve --config serving.json
serving ', "server": { "tls": "outside", "certificateFolder": "tls" }'
refuse "shows no certificate" "$keycustody" serve --config serving.json
serving ', "server": { "tls": "elsewhere" }'
refuse "neither 'here' nor 'outside'" "$keycustody" serve --config serving.json
serving ', "server": { "tls": "outside", "address": "0.0.0.0" }'
refuse "this machine's own addresses" "$keycustody" serve --config serving.json
advise "127.0.0.1"
refuse "There is no deployment in" of data vault list
advise "keycustody serve --data 'data'"
refuse '"reason":"no-deployment"' of data identity show ann --output json
[ ! -e data ] || fail "a command made a folder"

# The first start, and what it leaves.
before=${EPOCHREALTIME/./}
start data --port 0
took=$(((${EPOCHREALTIME/./} - before) / 1000))
[ "$(stat -c %a data data/bootstrap.json data/store.key data/keycustody.json data/control.sock | sort -u | tr '\n' ' ')" = "600 700 " ] \
  || fail "others can read what is in the folder"
expect '"status":"ready"' ask data vault.localhost /readyz
expect '"status":"live"' ask data vault.localhost /healthz
expect access_token token data "$(member clientID data/bootstrap.json)" "$(member clientSecret data/bootstrap.json)"
bearer=$(member access_token)
api() { ask data main.vault.localhost "$1?api-version=7.6" -H "Authorization: Bearer $bearer" "${@:2}"; }
expect '"kty":"RSA"' api /keys/box/create -d '{"kty":"RSA"}'
refuse_http() { # STATUS TEXT COMMAND…
  local status=$1 text=$2
  shift 2
  "$@" -o out -w '%{http_code}' >code 2>err || true
  [ "$(cat code)" = "$status" ] || { cat out err >&2; fail "answered $(cat code), not $status: $*"; }
  grep -qF -- "$text" out || { cat out >&2; fail "no '$text' from: $*"; }
  passed=$((passed + 1))
}
refuse_http 401 AKV10000 ask data main.vault.localhost '/keys/box?api-version=7.6'
refuse_http 401 invalid_client token data bootstrap wrong
refuse_http 404 KeyNotFound api /keys/missing
refuse_http 421 BadParameter ask data elsewhere.localhost /keys -k

# Somebody has the port, and somebody has the folder.
refuse "could not go on listening" "$keycustody" serve --data other --port "$port"
advise "--port"
cp data/keycustody.json before.json
refuse "(busy, locked)" "$keycustody" serve --data data
advise "is open already"
cmp before.json data/keycustody.json
expect '"status":"ready"' ask data vault.localhost /readyz
# Commands that the server doesn't run for others.
refuse "(busy, locked)" of data resource list

# manage NAME: every command of a vault's owner, the server running or not.
manage() {
  local name=$1
  expect "created vault $name" of data vault create "$name"
  expect "\"name\":\"$name-kept\",\"purgeProtection\":true" of data vault create "$name-kept" --purge-protection --output json
  expect "$name-kept" of data vault list
  expect "\"name\":\"$name\"" of data vault list --output json
  refuse "no key provider 'nowhere'" of data vault create "$name-other" --key-provider nowhere
  refuse "no key provider 'nowhere'" of data vault create "$name-other" --hsm-key-provider nowhere
  refuse "'a b' is not a name" of data vault create "a b"
  refuse '"reason":"bad-name"' of data vault create "a b" --output json

  expect "rsa-2048" of data key create "$name/box" --type rsa-2048
  refuse "can't be a wrapping key" of data key create "$name/other" --type ec-p256
  expect "/keys/other" of data key create "$name/other" --type ec-p256 --role signing --output json
  refuse "is not a key type" of data key create "$name/box" --type rsa-1
  refuse "There is no vault 'missing'" of data key create missing/box
  expect "recoverable until" of data key delete "$name/box"
  expect "enabled" of data key recover "$name/box"
  expect "recoverable until" of data key delete "$name/box"
  expect "gone" of data key purge "$name/box"
  expect "enabled" of data key create "$name-kept/box"
  expect "recoverable until" of data key delete "$name-kept/box"
  refuse "purge-protected" of data key purge "$name-kept/box"

  expect "client secret" of data identity create "$name-ann"
  secret=$(sed -n 's/^client secret  //p' out)
  expect "\"principal\":\"main/$name-bob\"" of data identity create "$name-bob" --without-secret --output json
  expect '"enabled":true' of data identity show "$name-bob" --output json
  expect "client secret" of data identity secret "$name-bob" --days 30
  refuse "1 to 3650 days" of data identity secret "$name-bob" --days 0
  refuse "exists already" of data identity create "$name-ann"
  refuse "There is no principal 'main/nobody'" of data identity show nobody
  refuse '"reason":"principal-unknown"' of data identity disable nobody --output json
  refuse "'a b' is not a name" of data identity create "a b"
  refuse "Which issuer and subject is missing" of data identity federate "$name-bob"
  refuse "go together" of data identity federate "$name-bob" --federated-issuer https://issuer.example --output json
  expect "trusts job of https://issuer.example" of data identity federate "$name-bob" \
    --federated-issuer https://issuer.example --federated-subject job
  expect '"removed":true' of data identity federate "$name-bob" --federated-issuer https://issuer.example \
    --federated-subject job --remove --output json
  expect "disabled" of data identity disable "$name-bob"
  expect '"enabled":false' of data identity show "$name-bob" --output json
  expect "enabled" of data identity enable "$name-bob"
  expect '"removed":true' of data identity delete "$name-bob" --output json

  expect "get,list,secrets/get" of data policy set "$name" "$name-ann" --keys get,list --secrets get
  expect '"subject":"'"$name-ann" of data policy list "$name" --output json
  refuse "'fly' is not a permission on keys" of data policy set "$name" "$name-ann" --keys fly
  refuse "'fly' is not a permission on secrets" of data policy set "$name" "$name-ann" --secrets fly
  refuse "Give --keys, --secrets or both" of data policy set "$name" "$name-ann"
  refuse "There is no vault 'missing'" of data policy set missing "$name-ann" --keys get
  expect "deny" of data policy set "$name" "$name-ann" --keys purge --deny
  expect "administrator" of data policy delete "$name" "$name-ann"
  ! grep -qF "$name-ann" out || fail "a rule that was withdrawn is still there"

  expect "set https://$name.vault.localhost" of data secret set "$name/word" --value-file value
  expect '"id":"https' of data secret set "$name/word" --value-file - --output json <value
  expect "/secrets/word/" of data secret list "$name"
  expect '"enabled":true' of data secret list "$name" --output json
  refuse "over the 25600 kept" of data secret set "$name/large" --value-file large
  refuse "'$PWD/missing' can't be read" of data secret set "$name/word" --value-file "$PWD/missing"
  refuse "Write VAULT/NAME" of data secret set word --value-file value
  refuse "There is no vault 'missing'" of data secret list missing
  refuse "There is no secret" of data secret delete "$name/none"
  expect "recoverable until" of data secret delete "$name/word"
  refuse "deleted-but-recoverable" of data secret set "$name/word" --value-file value
  expect "recovered" of data secret recover "$name/word"
  expect '"deletedUntil"' of data secret delete "$name/word" --output json
  expect "gone" of data secret purge "$name/word"
}

# over COMMAND VERB …: a command at the server over HTTPS, by whose token lies in the file `token`.
over() {
  "$keycustody" "$@" --server "https://vault.localhost:$port" --ca-file data/tls/ca.pem --token-file token
}

# administer: what a tenant's administrator does from elsewhere, and what it can't.
administer() {
  local url="https://vault.localhost:$port"
  expect '"administrator":true' of data identity create chief --administrator --output json
  member clientSecret >chief-secret
  local secrets=("$(cat chief-secret)")
  expect access_token token data chief "$(cat chief-secret)"
  member access_token >token
  expect "created vault far" over vault create far
  refuse "exists already" over vault create far
  refuse "'a b' is not a name" over vault create "a b"
  refuse "7 to 90 days" over vault create far-2 --soft-delete-days 3
  refuse "Leave --tenant out" over vault create far-2 --tenant other
  expect '"name":"far"' over vault list --output json
  expect "deleted keys are kept 90 days" over vault show far
  refuse "There is no vault 'missing'" over vault show missing
  expect '"ranges":["127.0.0.0/8"]' over vault network far --ranges 127.0.0.0/8 --output json
  refuse "not a range" over vault network far --ranges here
  expect "lets every address in" over vault network far --everywhere
  expect "purge protection is on" over vault protect far
  expect '"purgeProtection":true' over vault show far --output json
  expect "created vault brief" over vault create brief
  expect '"deleted":"brief"' over vault delete brief --output json
  refuse "There is no vault 'brief'" over vault delete brief
  refuse "exists already, or was deleted" over vault create brief

  expect "client secret" over identity create far-ann
  sed -n 's/^client secret  //p' out >ann-secret
  secrets+=("$(cat ann-secret)")
  refuse "exists already" over identity create far-ann
  refuse "makes administrators" over identity create far-boss --administrator
  refuse "own machine" over identity administrator far-ann
  refuse "one of the administrator's own tenant" over identity show other/far-ann
  refuse "There is no principal 'main/nobody'" over identity show nobody
  expect "far-ann" over identity list
  expect '"administrator":true' over identity show chief --output json
  expect "trusts job" over identity federate far-ann --federated-issuer https://issuer.example --federated-subject job
  refuse "not an https URL" over identity federate far-ann --federated-issuer http://issuer.example \
    --federated-subject job
  refuse "own machine" over identity federate far-ann --federated-issuer https://issuer.example \
    --federated-subject job --federated-keys keys.json
  refuse "runs the deployment changes 'main/administrator'" over identity secret administrator

  refuse "may not 'list'" over key list far
  expect "create" over policy set far far-ann --keys create,get,list,delete,recover,rotate,update \
    --secrets set,list,delete,recover
  refuse "'fly' is not a permission on keys" over policy set far far-ann --keys fly
  expect '"subject":"far-ann"' over policy list far --output json
  expect "may create in far" over policy explain far far-ann create
  expect '"allowed":false' over policy explain far far-ann purge --output json
  refuse "is not a permission" over policy explain far far-ann fly

  ann() {
    "$keycustody" "$@" --server "$url" --ca-file data/tls/ca.pem --client-id main/far-ann --client-secret-file ann-secret
  }
  expect "rsa-2048" ann key create far/box
  expect '"type":"aes-256"' ann key create far/other --type aes-256 --output json
  refuse "exists already" ann key create far/box
  refuse "is not a key type" ann key create far/third --type rsa-1
  expect "/keys/box" ann key list far
  [ "$(grep -c '  enabled' out)" = 2 ] || { cat out >&2; fail "not the versions that were made"; }
  expect "enabled" ann key rotate far/box
  expect "disabled" ann key disable far/box
  expect "/keys/box" ann key show far/box
  refuse "There is no key" ann key show far/missing
  expect "recoverable until" ann key delete far/box
  refuse "may not 'purge'" ann key purge far/box
  expect "rsa-2048" ann key recover far/box
  expect "set https://far.vault.localhost" ann secret set far/word --value-file value
  expect '"enabled":true' ann secret list far --output json
  expect '"deletedUntil"' ann secret delete far/word --output json
  expect "recovered" ann secret recover far/word
  refuse "may not 'vaults/create'" ann vault create far-3

  # As the environment says it.
  KEYCUSTODY_SERVER=$url KEYCUSTODY_CA_FILE=data/tls/ca.pem KEYCUSTODY_TOKEN_FILE=token \
    expect '"name":"far"' "$keycustody" vault list --output json
  KEYCUSTODY_SERVER=$url expect "far" of data vault list

  # What stands between.
  refuse "is not trusted" "$keycustody" vault list --server "$url" --token-file token
  advise "--ca-file"
  cp data/tls/ca.pem other-ca.pem
  openssl req -x509 -newkey rsa:2048 -nodes -subj /CN=other -days 1 -keyout /dev/null -out other-ca.pem 2>/dev/null
  refuse '"reason":"untrusted-certificate"' "$keycustody" vault list --server "$url" --ca-file other-ca.pem \
    --token-file token --output json
  refuse "no certificates" "$keycustody" vault list --server "$url" --ca-file value --token-file token
  echo not-a-token >wrong-token
  refuse "does not take the token" "$keycustody" vault list --server "$url" --ca-file data/tls/ca.pem \
    --token-file wrong-token
  refuse "gives 'main/far-ann' no token" "$keycustody" vault list --server "$url" --ca-file data/tls/ca.pem \
    --client-id main/far-ann --client-secret-file wrong-token
  refuse "can't be reached" "$keycustody" vault list --server https://vault.localhost:1 --token-file token
  refuse "can't be reached" "$keycustody" vault list --server https://nowhere.invalid --token-file token
  refuse "is not the address of a server" "$keycustody" vault list --server http://vault.localhost --token-file token
  refuse "not under 'localhost'" "$keycustody" vault list --server "https://localhost:$port" \
    --ca-file data/tls/ca.pem --token-file token
  refuse "Nothing says who asks" "$keycustody" vault list --server "$url" --output json
  refuse "'missing' can't be read" "$keycustody" vault list --server "$url" --token-file missing
  refuse "secret of the client" "$keycustody" vault list --server "$url" --client-id main/far-ann
  refuse '"reason":"bad-arguments"' of data vault list --server "$url" --output json
  refuse '"reason":"bad-arguments"' "$keycustody" vault list --token-file token --output json

  # Everything is on record: who, what, where, from where; the vault's own administrators see it from elsewhere.
  expect '"principal":"main/chief"' over audit show --vault far --action policies/set --output json
  advise '"detail":"allow main/far-ann keys'
  advise '"source":"127.0.0.1"'
  expect "main/chief  explain  allowed" over audit show --vault far
  refuse "Name the log's folder" "$keycustody" audit show
  expect "operator/local  identities/create  allowed" "$keycustody" audit show data/audit --action identities/create
  expect "main/chief  vaults/create  intended" "$keycustody" audit show data/audit --vault far
  expect "main/far-ann  vaults/create  refused" "$keycustody" audit show data/audit --outcome refused
  expect "operator/local  administrators/add  allowed" "$keycustody" audit show data/audit --principal operator/local
  expect '"method":"socket"' "$keycustody" audit show data/audit --action administrators/add --output json

  expect "no longer administers" of data identity administrator chief --remove
  refuse "may not 'vaults/list'" over vault list
  expect '"removed":true' of data identity delete chief --output json
  refuse "does not take the token" over vault list
  local given
  for given in "${secrets[@]}"; do
    ! grep -rqF -- "$given" data || fail "a client's secret lies in the folder"
  done
}
printf 'the-value-that-nobody-prints' >value
head -c 30000 /dev/zero | tr '\0' a >large
manage served
expect access_token token data served-ann "$secret"
administer
expect "disabled" of data identity disable served-ann
refuse_http 401 invalid_client token data served-ann "$secret"
stop
manage unserved
[ ! -e data/control.sock ] || fail "the socket is still there"
expect "Everything is well" "$keycustody" doctor --data data
start data
expect access_token token data unserved-ann "$secret"
bearer=$(token data bootstrap "$(member clientSecret data/bootstrap.json)" >out && member access_token)
expect '"kty":"RSA"' api /keys/box
stop

# A secret is in no output and in no file but the one it came from.
! grep -qF -- "$(cat value)" printed || fail "a secret's value was printed"
! grep -rqF -- "$(cat value)" data || fail "a secret's value lies in the folder"
! grep -rqF -- "$secret" data || fail "a client's secret lies in the folder"
[ "$(grep -rlF -- "$(member clientSecret data/bootstrap.json)" data)" = data/bootstrap.json ] || fail "a secret lies about"

# Killed between changes and amid them: what was acknowledged is there.
start data
for round in {1..20}; do
  expect "made main/round-$round" of data identity create "round-$round" --without-secret
  echo "round-$round" >>acknowledged
  (of data identity create "amid-$round" --without-secret >/dev/null 2>&1 && echo "amid-$round" >>acknowledged) &
  amid=$!
  [ $((round % 2)) = 0 ] || sleep "0.0$((RANDOM % 100))"
  kill9
  wait "$amid" || true
  start data
  of data identity list >out
  while read -r name; do
    grep -q "^main/$name " out || { cat out >&2; fail "$name was lost"; }
  done <acknowledged
  passed=$((passed + 1))
done
stop
expect "checkpoint" "$keycustody" audit verify data/audit --verifier data/audit/verifier.key

# First starts that were killed at random moments and then completed: one set of credentials, which works.
for round in {1..20}; do
  "$keycustody" serve --data "first-$round" --port 0 >/dev/null 2>&1 &
  server=$!
  servers=("$server")
  sleep "$(printf '%d.%03d' $((RANDOM % took / 1000)) $((RANDOM % took % 1000)))"
  kill9
  # A folder that has a configuration keeps its port.
  if [ -e "first-$round/keycustody.json" ]; then start "first-$round"; else start "first-$round" --port 0; fi
  [ "$(find "first-$round" -name bootstrap.json | wc -l)" = 1 ] || fail "not one bootstrap.json"
  expect access_token token "first-$round" bootstrap "$(member clientSecret "first-$round/bootstrap.json")"
  kill9
  # The same once more: another start changes nothing.
  cp "first-$round/bootstrap.json" bootstrap-before
  start "first-$round"
  cmp bootstrap-before "first-$round/bootstrap.json"
  kill9
  rm -rf "first-$round"
done
servers=()
echo "serving: $passed checks passed"
