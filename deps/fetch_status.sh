#!/bin/sh
# fetch_status.sh LOG - the status to exit with, when apt-get or debootstrap failed with that log: 75
# where packages could not be fetched, which is no fault of what is built; else 1.
set -eu
if grep -Eq '^E: (Failed|Unable) to fetch|^E: Failed getting release file|^E: Couldn.t download|Temporary failure resolving|Could not (resolve|connect to)' \
    "$1"; then
    echo 75
else
    echo 1
fi
