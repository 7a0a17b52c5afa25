#!/bin/sh
# Usage: from_go.sh DOCUMENT SOURCE
# Each ```cpp block of DOCUMENT must stand in SOURCE, line by line, but for SOURCE's lines that
# begin with exactly four spaces and `CHECK` or `const`: those are the test's own.
set -eu

awk '
    function fail(text) { print text > "/dev/stderr"; failed = 1; exit 1 }
    FNR == NR { if ($0 !~ /^    (CHECK|const)/) source = source $0 "\n"; next }
    /^```cpp$/ { block = "\n"; inside = 1; next }
    /^```$/ {
        if (inside && index("\n" source, block) == 0)
            fail("not in the source, as it stands:" block)
        blocks += inside
        inside = 0
        next
    }
    inside { block = block $0 "\n" }
    END { if (!failed && blocks == 0) fail("no blocks of C++") }
' "$2" "$1"
