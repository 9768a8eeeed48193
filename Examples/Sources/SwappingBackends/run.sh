#!/bin/sh
# Runs one and the same binary on memory, on files and on a SoftHSM token, the lasting ones twice.
# Usage: run.sh BINARY    Everything is made in a temporary folder and removed at the end.
set -eu
binary=${1:?usage: run.sh BINARY}
here=$(cd "$(dirname "$0")" && pwd)
umask 077
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cp "$here"/*.json "$work"

head -c 32 /dev/urandom > "$work/store.key"

mkdir "$work/tokens"
printf 'directories.tokendir = %s\nobjectstore.backend = file\nlog.level = ERROR\n' "$work/tokens" \
  > "$work/softhsm2.conf"
export SOFTHSM2_CONF="$work/softhsm2.conf"
pin=$(od -An -N8 -tx1 /dev/urandom | tr -d ' \n')
printf '%s' "$pin" > "$work/pin"
softhsm2-util --init-token --free --label keycustody-example --pin "$pin" --so-pin "$pin" > "$work/log" 2>&1 \
  || { cat "$work/log" >&2; exit 1; }
# Where the module lies differs between distributions: this overrides the file's "module".
for module in /usr/lib/softhsm/libsofthsm2.so /usr/lib/*/softhsm/libsofthsm2.so /usr/lib64/pkcs11/libsofthsm2.so; do
  if [ -r "$module" ]; then export KEYCUSTODY_KEY_PROVIDERS_KEYS_MODULE="$module"; break; fi
done

for run in memory.json file.json file.json softhsm.json softhsm.json; do
  # On memory and files nothing reads a module; the override is for the token alone.
  echo "== $run"
  case $run in
    softhsm.json) "$binary" "$work/$run" 2> "$work/log" ;;
    *) env -u KEYCUSTODY_KEY_PROVIDERS_KEYS_MODULE "$binary" "$work/$run" 2> "$work/log" ;;
  esac || { cat "$work/log" >&2; exit 1; }
done
