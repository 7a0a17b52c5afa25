#!/usr/bin/env bash
# What ringo costs its user's compiler: preprocessed lines (-E -P) of the main headers, and
# the time to compile the first program (samples/hello.cpp, -O2, median of 5).
# Usage: compile_cost.sh [COMPILER...]
set -euo pipefail
cd "$(dirname "$0")/.."

headers=(task go ringo)
runs=5

if [[ $# -gt 0 ]]; then
    compilers=("$@")
else
    compilers=()
    for compiler in g++ clang++ clang++-19; do
        command -v "$compiler" >/dev/null && compilers+=("$compiler")
    done
fi

lines() { # COMPILER HEADER
    echo "#include <ringo/$2.hpp>" | "$1" -std=c++20 -Iinclude -E -P -x c++ - | wc -l
}

compile_ms() { # COMPILER
    local start=${EPOCHREALTIME/./}
    "$1" -std=c++20 -O2 -Iinclude -c samples/hello.cpp -o /dev/null
    echo $(((${EPOCHREALTIME/./} - start) / 1000))
}

printf '%-12s' compiler
printf '%12s' "${headers[@]/%/.hpp}"
printf '%14s\n' 'hello.cpp ms'
for compiler in "${compilers[@]}"; do
    printf '%-12s' "$compiler"
    for header in "${headers[@]}"; do
        count=$(lines "$compiler" "$header")
        printf '%12d' "$count"
    done
    compile_ms "$compiler" >/dev/null # fills the file cache
    median=$(for ((i = 0; i < runs; i++)); do compile_ms "$compiler"; done | sort -n | sed -n "$((runs / 2 + 1))p")
    printf '%14d\n' "$median"
done
