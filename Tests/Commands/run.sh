#!/usr/bin/env bash
# Starts the vaults by `make run`, does what it prints, stops them, and starts them again on the same folder.
set -euo pipefail
root=$(cd "$(dirname "$0")/../.." && pwd)
. "$(dirname "$0")/checks.sh"
# So that make passes it on.
ending=TERM
port=$(python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')

# start: make run, up to the last line it prints.
start() {
  rm -f told
  mkfifo told
  make -s --no-print-directory -C "$root" run DATA="$work/data" PORT="$port" >told 2>trouble &
  server=$!
  servers=("$server")
  exec 7<told
  : >said
  while read -r -t 1800 line <&7; do
    printf '%s\n' "$line" >>said
    [ "$line" != END ] || break
  done
  grep -qF "serving the vaults" said || { cat said trouble >&2; fail "make run did not start"; }
  passed=$((passed + 1))
}

# stop: by SIGTERM; make passes it on. It takes no longer than five seconds.
stop() {
  local before=${EPOCHREALTIME/./}
  kill -TERM "$server"
  wait "$server" 2>/dev/null || true
  [ $((${EPOCHREALTIME/./} - before)) -lt 5000000 ] || fail "took more than five seconds to stop"
  ! curl -s --max-time 5 -k "https://127.0.0.1:$port/readyz" >/dev/null || fail "something still answers"
  passed=$((passed + 1))
}

ready() {
  curl -sS --fail --cacert data/tls/ca.pem --resolve "main.vault.localhost:$port:127.0.0.1" \
    "https://main.vault.localhost:$port/readyz"
}

# printed: the commands for curl as they are printed, which read makes free of the spaces before them.
printed() { sed -n '/^Try it with curl:/,/^Programs find/{/^Try/d;/^Programs/d;p}' said; }

start
grep -qF 'bootstrap.json' said || fail "the credentials are not named"
expect '"status":"ready"' ready
printed >try.sh
[ -s try.sh ] || fail "no example was printed"
expect "\"kid\":\"https://main.vault.localhost:$port/keys/my-key/" bash -eu try.sh
kid=$(python3 -c 'import json; print(json.load(open("out"))["key"]["kid"])')
stop

start
expect '"status":"ready"' ready
# The same commands, which look at the key instead of making one.
sed -e 's#/create?#?#' -e "s#-d '{\"kty\".*}' ##" try.sh >look.sh
! cmp -s try.sh look.sh || fail "nothing was changed in the example"
expect "\"kid\":\"$kid\"" bash -eu look.sh
stop
servers=()
echo "make run: $passed checks passed"
