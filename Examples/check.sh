#!/bin/sh
# Builds and runs every example, warnings being errors; each ends with an error when something is not as it must be.
set -eu
cd "$(dirname "$0")"
./check-readme.sh

strict=${SWIFT_TEST_FLAGS:--Xswiftc -warnings-as-errors --explicit-target-dependency-import-check error}
# The build folder of the whole checkout: what both packages need is compiled once.
shared="--scratch-path $(cd .. && pwd)/.build"
# shellcheck disable=SC2086
swift build --quiet $strict $shared
# shellcheck disable=SC2086
binaries=$(swift build $strict $shared --show-bin-path)
log=$(mktemp)
trap 'rm -f "$log"' EXIT
for example in Embedding RevokeAndRestore Streaming OwnStorage; do
  echo "== $example"
  "$binaries/$example" 2> "$log" || { cat "$log" >&2; exit 1; }
done
Sources/SwappingBackends/run.sh "$binaries/SwappingBackends"
echo "== MountedVault"
Sources/MountedVault/run.sh "$binaries/MountedVault"
Sources/Notes/run.sh "$binaries/Notes"

echo "== ThirdPartyPlugin"
# shellcheck disable=SC2086
swift test --quiet --package-path ThirdPartyPlugin $strict
