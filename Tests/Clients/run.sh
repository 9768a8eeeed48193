#!/usr/bin/env bash
# Runs the official Python clients of Azure Key Vault, as they come from PyPI, against the server: once with vault keys
# in files, once with vault keys on SoftHSM. Prints how many checks each ran. The first argument is the script to run
# in their place, with its requirements beside it.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../.." && pwd)
script=${1:-clients}
requirements="$here/requirements.txt"
[ "$script" = clients ] || requirements="$here/$script-requirements.txt"
venv="$root/.build/$script-venv"
work=$(mktemp -d)
export KEYCUSTODY_CLIENTS_WORK=$work PYTHONDONTWRITEBYTECODE=1

end() {
  # Those that the script could not end itself, since it was killed.
  for pid in $(cat "$work"/*.pid 2>/dev/null); do
    if tr '\0' ' ' 2>/dev/null <"/proc/$pid/cmdline" | grep -qF "$work"; then kill -9 "$pid" 2>/dev/null || true; fi
  done
  rm -rf "$work"
}
trap end EXIT
trap 'exit 130' INT TERM

if [ ! -x "$venv/bin/python" ] || ! cmp -s "$requirements" "$venv/requirements.txt"; then
  python3 -m venv --clear "$venv"
  "$venv/bin/pip" install --quiet --disable-pip-version-check -r "$requirements"
  cp "$requirements" "$venv/requirements.txt"
fi

if [ -z "${KEYCUSTODY_EXECUTABLE:-}" ]; then
  # shellcheck disable=SC2086 # flags are words
  swift build --package-path "$root" ${SWIFT_TEST_FLAGS:-} --product keycustody
  # shellcheck disable=SC2086
  KEYCUSTODY_EXECUTABLE=$(swift build --package-path "$root" ${SWIFT_TEST_FLAGS:-} --show-bin-path)/keycustody
fi
export KEYCUSTODY_EXECUTABLE

umask 077
softhsm=$(find /usr/lib /usr/local/lib -name libsofthsm2.so 2>/dev/null | head -n 1)
[ -n "$softhsm" ] || { echo "SoftHSM is missing: apt-get install softhsm2" >&2; exit 1; }
export KEYCUSTODY_CLIENTS_MODULE=$softhsm
export SOFTHSM2_CONF=$work/softhsm2.conf
mkdir "$work/tokens"
printf 'directories.tokendir = %s/tokens\nobjectstore.backend = file\nlog.level = ERROR\n' "$work" >"$SOFTHSM2_CONF"
printf '4711-right' >"$work/pin"
softhsm2-util --init-token --free --label clients --pin 4711-right --so-pin 4711-officer >/dev/null

"$venv/bin/python" "$here/$script.py" &
child=$!
trap 'kill $child 2>/dev/null; wait $child || true; exit 130' INT TERM
wait $child
