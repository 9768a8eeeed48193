#!/usr/bin/env bash
# Runs the commands of README.md against the service, on memory, on files and on a SoftHSM token, and compares the
# answers; the lasting ones are stopped and started again in between.
# Usage: run.sh EXECUTABLE    Everything is made in a temporary folder and removed at the end.
set -eu
program=$(realpath "${1:?usage: run.sh EXECUTABLE}")
here=$(cd "$(dirname "$0")" && pwd)
umask 077
work=$(mktemp -d)
server=
cleanup() {
  [ -z "$server" ] || kill "$server" 2>/dev/null || true
  rm -rf "$work"
}
trap cleanup EXIT

fail() {
  echo "$@" >&2
  [ ! -e log ] || tail -n 20 log >&2
  exit 1
}

lines=$(cat "$here"/*.swift | wc -l)
[ "$lines" -lt 150 ] || fail "The example has $lines lines; under 150 is the promise."

# start CONFIGURATION: on a free port, for five minutes at most.
start() {
  timeout 300 "$program" "$1" 0 >log 2>&1 &
  server=$!
  local port=
  until [ -n "$port" ]; do
    kill -0 "$server" 2>/dev/null || fail "The service did not start."
    sleep 0.1
    port=$(sed -n 's/.*listening on 127\.0\.0\.1:\([0-9]*\).*/\1/p' log)
  done
  NOTES=http://127.0.0.1:$port
}

# Gracefully: anything but success is an error.
stop() {
  kill "$server"
  wait "$server" || fail "The service ended with status $?."
  server=
}

# play [TAG]: the commands in README.md's blocks of that tag, in this shell.
play() {
  local line asked='' wanted=''
  while IFS= read -r line; do
    case $line in
      '$ '*)
        [ -z "$asked" ] || compare "$asked" "$wanted"
        asked=${line#'$ '} wanted= ;;
      *) wanted+=$line$'\n' ;;
    esac
  done < <(awk -v fence="\`\`\`console${1:+ $1}" '$0 == fence { on = 1; next } /^```/ { on = 0 } on' "$here/README.md"
    echo '$ :')
}

compare() {
  echo "\$ $1"
  eval "$1" >answer 2>&1 </dev/null || true
  cat answer
  local pattern
  pattern=$(printf '%s' "$2" | sed 's/[][*?\\()|+@!]/\\&/g; s/…/*/g')
  # shellcheck disable=SC2053
  [[ $(cat answer) == $pattern ]] || fail "README.md says: $2"
}

for configuration in memory.json file.json softhsm.json; do
  echo "== Notes $configuration"
  mkdir "$work/$configuration.run"
  cd "$work/$configuration.run"
  cp "$here/$configuration" .
  play "$configuration"
  if [ "$configuration" = softhsm.json ]; then
    # Where the module lies differs between distributions: this overrides the file's "module".
    for module in /usr/lib/softhsm/libsofthsm2.so /usr/lib/*/softhsm/libsofthsm2.so /usr/lib64/pkcs11/libsofthsm2.so; do
      if [ -r "$module" ]; then export KEYCUSTODY_KEY_PROVIDERS_KEYS_MODULE="$module"; break; fi
    done
  fi
  start "$configuration"
  play
  if [ "$configuration" != memory.json ]; then
    stop
    start "$configuration"
    play restarted
  fi
  play last
  stop
done
