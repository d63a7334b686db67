#!/bin/sh
# Every check of the sources; all run, and all failures are told with file and line, before it exits.
# shellcheck disable=SC2317 # the functions are called through check
set -u
cd "$(dirname "$0")/../.." || exit 1
failed=
check() {
    name=$1
    shift
    began=$(date +%s)
    if "$@"; then
        echo "lint: $name: ok, $(($(date +%s) - began)) s"
    else
        echo "lint: $name: FAILED"
        failed="$failed $name"
    fi
}

format() {
    git ls-files '*.c' '*.h' | xargs clang-format --dry-run -Werror && return
    echo "./dev format puts it right"
    return 1
}

# Of what ships. One process a file, so that what two of them say does not mix.
tidy() {
    # shellcheck disable=SC2016 # $1 is the inner shell's
    git ls-files 'lib/*.c' 'daemon/*.c' |
        xargs -P "$(getconf _NPROCESSORS_ONLN)" -n 1 sh -c '
            said=$(clang-tidy --quiet -p build "$1" 2>&1) && exit
            printf "%s\n" "$said" | grep -v "warnings\{0,1\} generated\.$" | sed "s|$PWD/||g"
            exit 1' tidy
}

shell() {
    # shellcheck disable=SC2046 # words are wanted
    shellcheck -f gcc $(git grep -lE '^#!.*\b(sh|bash)$' -- ':!*.py')
}

man_page() {
    said=$(mandoc -T lint -W warning daemon/spegel.8 2>&1)
    [ -z "$said" ] || printf '%s\n' "$said"
    [ -z "$said" ]
}

check clang-format format
check includes python3 tests/lint/check_includes.py
check sizes python3 tests/lint/check_sizes.py
check command-line-docs python3 tests/lint/check_cli_docs.py build/spegel
check version python3 tests/lint/check_version.py
check symptoms python3 tests/lint/check_symptoms.py
check man-page man_page
check shellcheck shell
check clang-tidy tidy
[ -z "$failed" ] || echo "lint: FAILED:$failed"
[ -z "$failed" ]
