#!/usr/bin/env bash
# Runs every test over published vectors, and prints a table: what ran of each file, what did not and why, and which
# files hold algorithms that are not offered. The folder is KEYCUSTODY_VECTORS, or ../shared/vectors beside the package.
set -euo pipefail
cd "$(dirname "$0")/../.."
folder=${KEYCUSTODY_VECTORS:-$PWD/../shared/vectors}
output=$(mktemp)
trap 'rm -f "$output"' EXIT

status=0
# shellcheck disable=SC2086
swift test ${SWIFT_TEST_FLAGS:-} --filter 'Vector|KnownAnswer|KeyEnvelopeTests' > "$output" 2>&1 || status=$?
if [ $status != 0 ]; then cat "$output"; echo "vectors: failed"; exit $status; fi

printf '%-72s %8s %8s %8s  %s\n' "file" "accepted" "refused" "skipped" "reason"
if [ ! -d "$folder" ]; then
  echo "$folder: not present, skipped; the vectors that are typed in (RFC 3394, 4231, 5869, 7520, GCM, XAES, C2SP) ran"
else
  # A test's line may stand behind another's output: what counts begins at the mark.
  sed -n 's/.*\(vectors|\)/\1/p' "$output" | sort -u | awk -F'|' -v folder="$folder" '
    function why(path) {
      if (path ~ /^(lowkey-vault|akv-recordings)\//) return "not cryptography, but the answers of an interface"
      if (path ~ /ecdsa_secp[0-9]+r1_sha[0-9]+_test/) return "not offered: signatures are r and s here, not DER"
      if (path ~ /(KW|KWP)_A[DE]_(128|192)/) return "not offered: keys of 256 bits alone"
      if (path ~ /[Kk][Ww][Pp]/) return "not offered: a PKCS#11 import alone uses it, and has its own test"
      if (path ~ /pyca\/(oaep|pkcs1v2)/) return "not offered: RSA keys under 2048 bits, labels, or two hashes"
      if (path ~ /jose-cookbook\/(jws|jwk|rfc7797)/) return "in Wycheproof\047s file of JWS; but for HMAC and forms other than the compact one, not offered"
      if (path ~ /primality/) return "not offered: no primes are taken but whole keys, which OpenSSL checks"
      return "not offered"
    }
    NF >= 6 {
      printf "%-72s %8d %8d %8d  %s\n", $2, $3, $4, $5, $6
      ran[$2] = 1; files++; valid += $3; invalid += $4; skipped += $5
    }
    END {
      printf "%-72s %8d %8d %8d\n", "sum of " files " files", valid, invalid, skipped
      while (("cd \"" folder "\" && find . -type f | sort") | getline path) {
        sub(/^\.\//, "", path)
        if (path ~ /LICENSE|INDEX|[Rr][Ee][Aa][Dd][Mm][Ee]/ || path in ran) continue
        print path ": " why(path)
      }
    }'
fi
grep -E 'Test run with' "$output" | tail -1
