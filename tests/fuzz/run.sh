#!/bin/sh
# Every fuzz target for so many seconds each: run.sh SECONDS. Finds land in build/fuzz/finds.
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
status=0
for source in tests/fuzz/fuzz_*.c; do
    target=$(basename "$source" .c)
    corpus=$dir/corpus/$target
    mkdir -p "$corpus"
    seeds=tests/fuzz/seeds/$target
    [ -d "$seeds" ] || seeds=
    # shellcheck disable=SC2086 # no seeds: no argument
    if $dir/"$target" -max_total_time="$seconds" -timeout=10 -rss_limit_mb=2048 -print_final_stats=1 \
        -artifact_prefix=$dir/finds/"$target"- "$corpus" $seeds >$dir/"$target".log 2>&1; then
        echo "fuzz: $target: $(sed -n 's/^stat::number_of_executed_units: //p' $dir/"$target".log) runs"
    else
        tail -40 $dir/"$target".log >&2
        echo "fuzz: $target: FAILED, see $dir/finds" >&2
        status=1
    fi
done
exit $status
