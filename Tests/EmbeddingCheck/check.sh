#!/bin/sh
# What an embedder with `traits: []` gets: builds it, runs it, and fails when it fetched or linked more than is promised.
set -eu
cd "$(dirname "$0")"
swift build --quiet
"$(swift build --show-bin-path)/EmbeddingCheck" 2> /dev/null

swift package show-dependencies --format json > .build/dependencies.json
python3 - .build/dependencies.json .build/checkouts <<'PYTHON'
import json, os, sys

def walk(node):
    for child in node["dependencies"]:
        yield child
        yield from walk(child)

# By what was resolved, and by what really lies on the disk.
resolved = {node["identity"] for node in walk(json.load(open(sys.argv[1]))) if "://" in node["url"]}
fetched = set(os.listdir(sys.argv[2])) if os.path.isdir(sys.argv[2]) else set()
print("fetched:", ", ".join(sorted(resolved | fetched)) or "nothing")
if resolved != {"swift-log"} or fetched - {"swift-log"}:
    sys.exit("An embedder with `traits: []` must fetch swift-log and nothing else.")
PYTHON

# libcrypto is the only library it brings besides Swift's own and the C library.
libraries=$(ldd "$(swift build --show-bin-path)/EmbeddingCheck" | awk '{ print $1 }' | sed 's|.*/||' | sort)
echo "links:" $libraries
if echo "$libraries" | grep -qE 'ssl|sqlite|libpq|p11|libcurl|softhsm'; then
  echo "An embedder of the core and the memory plugin must link libcrypto alone." >&2
  exit 1
fi
