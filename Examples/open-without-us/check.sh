#!/usr/bin/env bash
# Proves that what we seal opens with stock Python packages, and that what they seal opens with us.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../.." && pwd)
venv="$root/.build/interop-venv"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
if [ ! -x "$venv/bin/python" ] || ! cmp -s "$here/requirements.txt" "$venv/requirements.txt"; then
  python3 -m venv "$venv"
  "$venv/bin/pip" install --quiet --disable-pip-version-check -r "$here/requirements.txt"
  cp "$here/requirements.txt" "$venv/requirements.txt"
fi
python="$venv/bin/python"
test_swift() {
  # A filter that matches nothing passes: look for the count.
  # shellcheck disable=SC2086 # flags are words
  KEYCUSTODY_INTEROP="$work" swift test --package-path "$root" ${SWIFT_TEST_FLAGS:-} --filter "InteropTests/$1" | tee "$work/log"
  grep -Eq 'Test run with 1 test .*passed' "$work/log"
}

test_swift writeSealed
opened=0
for folder in "$work"/case-*/; do
  # shellcheck disable=SC2046 # the file holds one word a line, none with spaces
  for sealed in "$folder"sealed-*; do
    plain="${sealed/sealed-/plain-}"
    "$python" "$here/open.py" $(cat "$folder/arguments") "$sealed" | cmp - "$plain"
    opened=$((opened + 1))
  done
  # It must refuse another object's name, or the comparison above proves little.
  # shellcheck disable=SC2046
  if "$python" "$here/open.py" $(cat "$folder/arguments") --object other "$sealed" >/dev/null 2>&1; then
    echo "open.py opened $sealed under another context" >&2
    exit 1
  fi
done
[ "$opened" -ge 1 ]
echo "stock Python opened $opened sealed records and objects"

sealed=0
for plain in "$work"/foreign/plain-*; do
  # shellcheck disable=SC2046
  "$python" "$here/seal_object.py" $(cat "$work/foreign/arguments") <"$plain" >"${plain/plain-/sealed-}"
  sealed=$((sealed + 1))
done
[ "$sealed" -ge 1 ]
records=0
for plain in "$work"/foreign/record-plain-*; do
  # shellcheck disable=SC2046
  "$python" "$here/seal_record.py" $(cat "$work/foreign/record-arguments") <"$plain" >"${plain/plain-/sealed-}"
  records=$((records + 1))
done
[ "$records" -ge 1 ]
# shellcheck disable=SC2046
"$python" "$here/seal_envelope.py" $(cat "$work/foreign/envelope-arguments") >"$work/foreign/envelope.json"
test_swift openForeign
echo "stock Python sealed $sealed objects, $records records and 1 key envelope that opened here"
