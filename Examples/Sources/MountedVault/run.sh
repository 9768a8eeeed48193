#!/usr/bin/env bash
# Runs the application beside a certificate made by openssl, and asks its own route and the vault it mounts, as clients do.
set -euo pipefail
program=${1:?usage: run.sh EXECUTABLE}
work=$(mktemp -d)
server=
cleanup() {
  [ -z "$server" ] || kill "$server" 2>/dev/null || true
  rm -rf "$work"
}
trap cleanup EXIT
cd "$work"
umask 077

openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 1 -subj /CN=MountedVault \
  -addext subjectAltName=DNS:app.localhost,DNS:vault.localhost,DNS:*.vault.localhost \
  -keyout server-key.pem -out server.pem 2>openssl.log || { cat openssl.log >&2; exit 1; }
"$program" >log 2>&1 &
server=$!

# ask HOST PATH …: by curl, of one of the hosts.
ask() {
  local host=$1 path=$2
  shift 2
  curl -sS --fail --cacert server.pem --resolve "$host:8444:127.0.0.1" "https://$host:8444$path" "$@"
}
member() { python3 -c "import json, sys; print(json.load(sys.stdin)$1)"; }

until ask app.localhost /hello >answer 2>trouble; do
  kill -0 "$server" 2>/dev/null || { cat log >&2; exit 1; }
  sleep 0.1
done
grep -x 'hello from the application' answer
token=$(ask login.vault.localhost /contoso/oauth2/v2.0/token -d grant_type=client_credentials -d client_id=shop \
  --data-urlencode "client_secret=$(cat secret)" -d scope=https://vault.localhost:8444/.default | member '["access_token"]')
vault() { ask orders.vault.localhost "$1?api-version=7.6" -H "Authorization: Bearer $token" -d "$2"; }
vault /keys/box/create '{"kty":"RSA","key_size":2048}' | member '["key"]["kid"]'
value=$(printf '{"alg":"RSA-OAEP-256","value":"%s"}' "$(vault /keys/box/wrapkey '{"alg":"RSA-OAEP-256","value":"aGVsbG8"}' | member '["value"]')")
[ "$(vault /keys/box/unwrapkey "$value" | member '["value"]')" = aGVsbG8 ]
# Without a token: refused, by the vault and not by the application.
[ "$(ask orders.vault.localhost '/keys/box?api-version=7.6' -o refusal -w '%{http_code}' --no-fail)" = 401 ]
echo "wrapped and unwrapped by a key of the mounted vault"
