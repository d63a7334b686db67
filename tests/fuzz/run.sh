#!/bin/sh
# Every fuzz target for so many seconds each: run.sh SECONDS. Finds land in build/fuzz/finds, what
# was learnt in build/fuzz/corpus, which the next run starts from. Fails on any find.
set -eu
cd "$(dirname "$0")/../.."
seconds=${1:-60}
dir=build/fuzz
[ -f $dir/build.ninja ] ||
    CC=clang cmake -G Ninja -S . -B $dir -DSPEGEL_FUZZ=ON -DSPEGEL_TESTS=OFF >/dev/null
ninja -C $dir >$dir/ninja.log 2>&1 || {
    grep -E 'error|FAILED|undefined' $dir/ninja.log >&2 || tail -30 $dir/ninja.log >&2
    exit 1
}
mkdir -p $dir/finds
failed=
for source in tests/fuzz/fuzz_*.c; do
    target=$(basename "$source" .c)
    log=$dir/$target.log
    corpus=$dir/corpus/$target
    mkdir -p "$corpus"
    seeds=tests/fuzz/seeds/$target
    [ -d "$seeds" ] || seeds=
    status=0
    # shellcheck disable=SC2086 # no seeds: no argument
    $dir/"$target" -max_total_time="$seconds" -timeout=10 -rss_limit_mb=2048 -print_final_stats=1 \
        -artifact_prefix=$dir/finds/"$target"- "$corpus" $seeds >"$log" 2>&1 || status=$?
    runs=$(sed -n 's/^stat::number_of_executed_units: //p' "$log")
    if [ $status = 0 ] && [ "${runs:-0}" -gt 0 ]; then
        echo "fuzz: $target: ok, $runs runs"
        continue
    fi
    grep -vE '^(#[0-9]+|INFO:|stat::)' "$log" | tail -40
    find=$(sed -n 's/.*Test unit written to //p' "$log" | tail -n 1)
    echo "fuzz: $target: FAILED, see $log${find:+; again with: $dir/$target $find}"
    failed="$failed $target"
done
[ -z "$failed" ] || echo "fuzz: FAILED:$failed"
[ -z "$failed" ]
