# What the checks of the executable share; they read it by `.`, and are then in a folder of their own that goes away.
work=$(mktemp -d)
# What to end before that folder goes: the checks put their servers here.
servers=()
ending=KILL
cleanup() {
  for process in "${servers[@]}"; do
    kill -s "$ending" "$process" 2>/dev/null || true
    wait "$process" 2>/dev/null || true
  done
  rm -rf "$work"
}
trap cleanup EXIT
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
  cat out err >>printed
  grep -qF -- "$text" out || { cat out err >&2; fail "no '$text' from: $*"; }
  passed=$((passed + 1))
}

# refuse TEXT COMMAND…: fails, says the text and a remedy, and does not crash.
refuse() {
  local text=$1 status=0
  shift
  "$@" >out 2>err || status=$?
  cat out err >>printed
  [ "$status" -ne 0 ] || fail "must be refused: $*"
  [ "$status" -lt 128 ] || { cat out err >&2; fail "crashed ($status): $*"; }
  grep -qF -- "$text" out err || { cat out err >&2; fail "no '$text' from: $*"; }
  grep -qE '^remedy: .|"remedy":"[^"]' out err || { cat out err >&2; fail "no remedy from: $*"; }
  passed=$((passed + 1))
}

# advise TEXT: the refusal before said this too.
advise() {
  grep -qF -- "$1" out err || { cat out err >&2; fail "no '$1' in what was refused last"; }
  passed=$((passed + 1))
}

# conceal TEXT: the refusal before did not say this.
conceal() {
  ! grep -qF -- "$1" out err || { cat out err >&2; fail "'$1' in what was refused last"; }
  passed=$((passed + 1))
}

# member NAME [FILE]: a member of a JSON object, of what was printed last unless a file is named.
member() {
  python3 -c 'import json, sys; print(json.load(open(sys.argv[2]))[sys.argv[1]])' "$1" "${2:-out}"
}
