#!/usr/bin/env bash
# Usage: probes.sh LIBRARY [PROGRAM]
# LIBRARY has every static probe that docs/debugging.md names, and no other. Where bpftrace may be
# used, each of its examples there has something to say of PROGRAM.
set -euo pipefail

docs=$(dirname "$0")/../docs/debugging.md
library=$1
program=${2:-}
command -v readelf >/dev/null || { echo "SKIP: there is no readelf" && exit 77; }

notes=$(readelf -n "$library")
has=$(grep -A1 'Provider: ringo$' <<<"$notes" | sed -n 's/^ *Name: //p' | sort -u)
documented=$(sed -n 's/^| `\([a-z_]*\)(.*)` |.*/\1/p' "$docs" | sort -u)
diff <(echo "$documented") <(echo "$has") && echo "$has"

[[ -n $program ]] || exit 0
traced=$program
[[ $library != *.so ]] || traced=$library
if ! said=$(timeout 60 bpftrace -e 'BEGIN { exit(); }' 2>&1); then
    echo "examples skipped: ${said##*$'\n'}"
    exit 0
fi
# An example begins with `bpftrace` and ends at an empty line. What has one letter is for itself.
awk '/^    bpftrace -e/ { printf "%c", 0; on = 1 } /^$/ { on = 0 } on; END { printf "%c", 0 }' "$docs" |
    while IFS= read -r -d '' example; do
        [[ -n $example ]] || continue
        echo "$example"
        example=${example//.\/PROGRAM/$traced}
        said=$(eval "timeout 60 ${example/bpftrace/bpftrace -c $program}" 2>&1 </dev/null) &&
            grep -m 5 -E '^@(\[|[a-z_]{2})' <<<"$said" || { echo "it says: $said" && exit 1; }
    done
