#!/bin/sh
# Usage: readme.sh ROOT SAMPLE...
# The ```cpp blocks of README.md (excerpts are ```c++), in order, must be these files, byte for byte:
# what the reader copies is what the tests compile and run.
set -eu

root=$1
shift
blocks=$(grep -c '^```cpp$' "$root/README.md")
[ "$blocks" -eq $# ] || { echo "README.md has $blocks blocks of C++, not $#" >&2; exit 1; }
n=0
for sample; do
    n=$((n + 1))
    awk -v wanted=$n '/^```cpp$/ { seen++; next } /^```$/ { if (seen == wanted) exit; next } seen == wanted' \
        "$root/README.md" | diff -u - "$root/$sample"
done
