#!/usr/bin/env bash
# Installs ringo into a temporary prefix and builds one program against it through
# pkg-config, the way a Makefile would: once with the static library, once with the shared one.
# gdb shows the goroutines of both.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../.." && pwd)
compiler=${CXX:-g++}

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

meson setup "$work/build" "$root" --prefix "$work/prefix" --libdir lib -Ddefault_library=both \
    -Dtests=disabled -Dperf=disabled -Dsamples=disabled
meson install -C "$work/build"

export PKG_CONFIG_PATH="$work/prefix/lib/pkgconfig"
export LD_LIBRARY_PATH="$work/prefix/lib"
mkdir "$work/user"
for mode in '' --static; do
    flags=$(pkg-config --cflags --libs $mode ringo)
    [[ -z $mode ]] || flags=${flags/-lringo/-l:libringo.a}
    echo "pkg-config $mode: $flags"
    # shellcheck disable=SC2086 # flags are words
    $compiler -std=c++20 -O2 "$root/test/subproject/main.cpp" $flags -o "$work/user/program"
    "$work/user/program"
    # shellcheck disable=SC2086
    $compiler -std=c++20 -O2 "$root/test/gdb_program.cpp" $flags -o "$work/user/gdb_program"
    status=0
    "$root/test/gdb.sh" "$work/user/gdb_program" "$work/prefix/share/ringo/ringo-gdb.py" || status=$?
    [[ $status -eq 0 || $status -eq 77 ]]
done
