#!/bin/sh
# plain.sh SIM SIM_PLAIN - whether clusters live the same lives without the cipher: all that is reported
# of them but the trace, which is a hash of sealed bytes.
set -eu
for scenario in churn key-rotation udp-blocked replay duplicate-id large-sets scale-loss5; do
    sealed=$("$1" --scenario "$scenario" --seeds 1-2)
    plain=$("$2" --scenario "$scenario" --seeds 1-2)
    sealed=$(echo "$sealed" | sed 's/, trace .*//')
    plain=$(echo "$plain" | sed 's/, trace .*//')
    passed=$(echo "$sealed" | grep -c "^PASS $scenario ")
    if [ "$passed" != 2 ] || [ "$sealed" != "$plain" ]; then
        printf '%s\n\n%s\n' "$sealed" "$plain" >&2
        exit 1
    fi
done
