#!/usr/bin/env bash
# Usage: broken.sh PROGRAM [--update]
# What the broken programs say is what docs/debugging.md quotes, but for times, addresses and the
# stacks of threads. --update: writes it there.
set -euo pipefail

program=$1
update=${2:-}
docs=$(dirname "$0")/../docs/debugging.md
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
unset RINGO_CORES RINGO_LOG

# What differs from run to run, and from build to build.
normalised() {
    sed -E -e 's/[0-9.]+(ns|us|ms|m|h|s)\b/T/g' -e 's/(for|in|within) [0-9]+ ms/\1 N ms/g' \
        -e 's/0x[0-9a-f]+/ADDRESS/g' -e '/^goroutine/s/, T, core/, core/'
}

# As the documentation shows it.
readable() {
    sed -E -e 's|[^ ]*/samples/broken/|broken/|' |
        awk '/^stack:$/ { print; print "    …"; cut = 1; next } cut && /^    / { next } { cut = 0; print }'
}

names=$(sed -n 's/^```text \([a-z_]*\)$/\1/p' "$docs")
[[ $(wc -w <<<"$names") -eq $("$program" 2>&1 | grep -c '^    ') ]] || { echo "not all are documented" && exit 1; }

failed=0
for name in $names; do
    (timeout 60 "$program" "$name" 2>&1 || true) 2>/dev/null | readable | sed -e :a -e '/^\n*$/{$d;N;ba' -e '}' >"$work/said"
    if [[ $update == --update ]]; then
        awk -v name="$name" -v said="$work/said" '
            cut && /^```$/ { cut = 0 }
            !cut { print }
            $0 == "```text " name { while ((getline line < said) > 0) print line; cut = 1 }' \
            "$docs" >"$work/docs"
        cp "$work/docs" "$docs"
    else
        awk -v name="$name" 'inside && /^```$/ { exit } inside { print } $0 == "```text " name { inside = 1 }' \
            "$docs" | normalised >"$work/quoted"
        normalised <"$work/said" >"$work/now"
        diff -u --label "docs/debugging.md, $name" --label "what it says" "$work/quoted" "$work/now" || failed=1
    fi
done
exit "$failed"
