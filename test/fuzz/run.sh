#!/usr/bin/env bash
# Runs the fuzzers that were built in DIR (clang, ASan), each for SECONDS, from test/corpus on.
# What they crash on stays in DIR.
# Usage: test/fuzz/run.sh DIR [SECONDS]
set -euo pipefail
dir=$(realpath "$1")
seconds=${2:-10}
cd "$(dirname "$0")/../corpus"

found=$(mktemp -d)
trap 'rm -rf "$found"' EXIT
passed=0
failed=0
for fuzzer in "$dir"/test/fuzz/fuzz_*; do
    [[ -x $fuzzer && ! -d $fuzzer ]] || continue
    name=${fuzzer##*fuzz_}
    mkdir "$found/$name"
    echo "== $name"
    if "$fuzzer" "$found/$name" "$name" -max_total_time="$seconds" -max_len=20000 -timeout=20 \
        -close_fd_mask=1 -print_final_stats=0 -verbosity=0 -artifact_prefix="$dir/$name-"; then
        passed=$((passed + 1))
    else
        failed=$((failed + 1))
    fi
done
echo "$passed passed, $failed failed"
[[ $passed -gt 0 && $failed -eq 0 ]]
