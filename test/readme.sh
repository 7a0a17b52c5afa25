#!/bin/sh
# Usage: readme.sh ROOT
# The first ```cpp block of README.md must be samples/hello.cpp, byte for byte:
# what the reader copies is what the tests compile and run.
set -eu

sed -n '/^```cpp$/,/^```$/p' "$1/README.md" | sed -e '1d' -e '/^```$/,$d' | diff -u - "$1/samples/hello.cpp"
