#!/bin/sh
# Builds and runs every example, warnings being errors; each ends with an error when something is not as it must be.
set -eu
cd "$(dirname "$0")"
./check-readme.sh

strict="-Xswiftc -warnings-as-errors --explicit-target-dependency-import-check error"
# shellcheck disable=SC2086
swift build --quiet $strict
# shellcheck disable=SC2086
binaries=$(swift build $strict --show-bin-path)
for example in Embedding RevokeAndRestore Streaming OwnStorage; do
  echo "== $example"
  "$binaries/$example" 2> .build/log || { cat .build/log >&2; exit 1; }
done
Sources/SwappingBackends/run.sh "$binaries/SwappingBackends"
echo "== MountedVault"
Sources/MountedVault/run.sh "$binaries/MountedVault"
Sources/Notes/run.sh "$binaries/Notes"

echo "== ThirdPartyPlugin"
# shellcheck disable=SC2086
swift test --quiet --package-path ThirdPartyPlugin $strict
