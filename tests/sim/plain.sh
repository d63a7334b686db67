#!/bin/sh
# plain.sh SIM SIM_PLAIN - whether clusters live the same lives without the cipher: all that is reported
# of them but the trace, which is a hash of sealed bytes.
set -eu
for scenario in churn key-rotation udp-blocked replay duplicate-id large-sets scale-loss5; do
    for program in "$1" "$2"; do
        "$program" --scenario "$scenario" --seeds 1-2 | sed 's/, trace .*//'
    done | sort | uniq -c | grep -v '^ *2 PASS' || continue
    echo "$scenario: not the same, or violated" >&2
    exit 1
done
