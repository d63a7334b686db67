#!/bin/sh
# Every check of the sources; all run, and all failures are told, before it exits.
# shellcheck disable=SC2317 # the functions are called through check
set -u
cd "$(dirname "$0")/../.." || exit 1
failed=0
check() {
    name=$1
    shift
    if "$@"; then
        echo "lint: $name: ok"
    else
        echo "lint: $name: FAILED" >&2
        failed=1
    fi
}

format() {
    git ls-files '*.c' '*.h' | xargs clang-format --dry-run -Werror
}

tidy() {
    git ls-files 'lib/*.c' 'daemon/*.c' |
        xargs -P "$(getconf _NPROCESSORS_ONLN)" -n 4 clang-tidy --quiet -p build 2>build/tidy.log
}

shell() {
    shellcheck dev tests/lint/run.sh tests/fuzz/run.sh && shellcheck -s bash .ci/run
}

man_page() {
    [ -z "$(mandoc -T lint -W warning daemon/spegel.8 2>&1 | tee /dev/stderr)" ]
}

check clang-format format
check includes python3 tests/lint/check_includes.py
check sizes python3 tests/lint/check_sizes.py
check command-line-docs python3 tests/lint/check_cli_docs.py build/spegel
check man-page man_page
check shellcheck shell
check clang-tidy tidy
exit $failed
