#!/usr/bin/env bash
# Fuzzes every target, two at a time: `run.sh quick` by number of executions, `run.sh long MINUTES` by time for each
# target, `run.sh keep` adds what long runs found to the corpus. New inputs lie in .build/work, crashes in .build/crashes.
set -euo pipefail
cd "$(dirname "$0")"

# Executions of a quick run: cheap targets get more. The sum must reach the floor.
floor=10000000
quick="header=4500000 key-wrap=2000000 jwe=1000000 keyset=700000 record=600000 store-files=600000 text=250000
  configuration=120000 der=100000 sealed-key=100000 token=60000 object=60000 layers=40000 oaep=15000"
mode=${1:-long}
minutes=${2:-10}

# --sanitize=fuzzer keeps the compiler from making a main; coverage and both run-times come from the flags beside it.
build=(swift build -c release --sanitize=fuzzer -Xswiftc -sanitize=fuzzer,address -Xswiftc -enable-testing
  -Xcc "-fsanitize=fuzzer-no-link,address")
"${build[@]}" --quiet 2> >(grep -v asan_extra_spill_area >&2)
binary=$("${build[@]}" --show-bin-path)/fuzz
export binary mode minutes
mkdir -p .build/work .build/crashes .build/logs

run() {
  local target=${1%=*} runs=${1#*=} how
  local log=.build/logs/$target.log
  mkdir -p ".build/work/$target" "Corpus/$target"
  if [ "$mode" = quick ]; then how=(-runs="$runs" -seed=1); else how=(-max_total_time=$((60 * minutes))); fi
  local words=()
  if [ -f "Dictionaries/$target.dict" ]; then words=(-dict="Dictionaries/$target.dict"); fi
  # A found crash is run again with ASAN_OPTIONS unset, which then tells where memory came from.
  local failed=0
  ASAN_OPTIONS=${ASAN_OPTIONS:-malloc_context_size=0:quarantine_size_mb=8} SWIFT_BACKTRACE=enable=no \
    KEYCUSTODY_FUZZ_TARGET=$target "$binary" "${how[@]}" "${words[@]}" -max_len=1024 -timeout=20 -rss_limit_mb=2048 \
    -print_final_stats=1 -artifact_prefix=".build/crashes/$target-" ".build/work/$target" "Corpus/$target" \
    > "$log" 2>&1 || failed=1
  local done_ rate cover
  done_=$(sed -n 's/^stat::number_of_executed_units: *//p' "$log")
  rate=$(sed -n 's/^stat::average_exec_per_sec: *//p' "$log")
  cover=$(sed -n 's/.*cov: \([0-9]*\).*/\1/p' "$log" | tail -1)
  printf '%-14s %10s executions %8s/s %6s edges  %s\n' "$target" "${done_:-0}" "${rate:-0}" "${cover:-?}" \
    "$([ $failed = 0 ] && echo ok || echo "FAILED, see Fuzzing/$log")"
}
export -f run

if [ "$mode" = keep ]; then
  for pair in $quick; do
    target=${pair%=*}
    mkdir -p "Corpus/$target" ".build/work/$target"
    # Without counters: one input for each edge is kept, not one for each number of times it is passed.
    KEYCUSTODY_FUZZ_TARGET=$target "$binary" -merge=1 -use_counters=0 -max_len=1024 "Corpus/$target" \
      ".build/work/$target" 2>&1 | tail -1
  done
  exit
fi

# shellcheck disable=SC2086
printf '%s\n' $quick | xargs -P 2 -I{} bash -c 'run {}' | tee .build/logs/summary
awk -v floor="$([ "$mode" = quick ] && echo $floor || echo 0)" '
  { sum += $2 } /FAILED/ { bad = bad " " $1 }
  END {
    printf "%-14s %10d executions\n", "sum", sum
    if (bad) { print "fuzz: failed:" bad; exit 1 }
    if (sum < floor) { print "fuzz: fewer than " floor " executions"; exit 1 }
    print "fuzz: no target failed"
  }' .build/logs/summary
