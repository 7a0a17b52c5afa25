#!/usr/bin/env bash
# Usage: gdb.sh PROGRAM SCRIPT
# gdb's commands show PROGRAM's goroutines: alive, with the script that is in it or in its shared
# library, and from a core dump, with SCRIPT.
set -euo pipefail

program=$1
script=$2
source=gdb_program.cpp
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

command -v gdb >/dev/null || { echo "SKIP: there is no gdb" && exit 77; }

gdb_batch() {
    timeout 100 gdb -nx -batch -ex 'set debuginfod enabled off' -ex 'set width 0' "$@" 2>&1
}

# said NAME PATTERN: what gdb has said of NAME has a line like that.
said() {
    grep -qE "$2" "$work/$1" || { echo "$1: nothing like $2 in:" && cat "$work/$1" && exit 1; }
}

check() {
    said "$1" "^ +1  core 0  running +.*$source:22$"
    said "$1" "^ +[0-9]+  core 0  chan receive +.*$source:12$"
    said "$1" "^ +[0-9]+  core 0  sleep +.*$source:16$"
    said "$1" "^ +[0-9]+  core 0  runnable +made at .*$source:23$"
    said "$1" '^goroutine [0-9]+ \[chan receive\], core 0:$'
    said "$1" "^    .*$source:12$"
    said "$1" "^    .*$source:14$"
    said "$1" "^made by goroutine 1"
    said "$1" "^    .*$source:20$"
}

# Of the one that receives; ids depend on the number of cores.
trace='python gdb.execute("ringo trace " + [line.split()[0]
    for line in gdb.execute("ringo goroutines", to_string=True).splitlines() if "receive" in line][0])'
trusted=$(realpath "$(dirname "$program")/..")

gdb_batch -iex "add-auto-load-safe-path $trusted" -ex run -ex 'ringo goroutines' -ex "$trace" \
    -ex "generate-core-file $work/core" "$program" >"$work/live"
if grep -qE 'ptrace: Operation not permitted|Could not trace|personality' "$work/live"; then
    echo "SKIP: gdb may not start programs here" && exit 77
fi
check live

gdb_batch -ex "source $script" -ex 'ringo goroutines' -ex "$trace" "$program" "$work/core" >"$work/dump"
check dump

gdb_batch -ex "source $script" -ex 'ringo goroutines' /bin/true >"$work/other" || true
said other 'there is no ringo in this program'
cat "$work/live"
