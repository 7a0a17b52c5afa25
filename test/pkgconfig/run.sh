#!/usr/bin/env bash
# Installs ringo into a temporary prefix and builds one program against it through
# pkg-config, the way a Makefile would: once with --static, once without.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../.." && pwd)
compiler=${CXX:-g++}

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

meson setup "$work/build" "$root" --prefix "$work/prefix" --libdir lib \
    -Dtests=disabled -Dperf=disabled -Dsamples=disabled
meson install -C "$work/build"

export PKG_CONFIG_PATH="$work/prefix/lib/pkgconfig"
for mode in '' --static; do
    flags=$(pkg-config --cflags --libs $mode ringo)
    echo "pkg-config $mode: $flags"
    # shellcheck disable=SC2086 # flags are words
    $compiler -std=c++20 -O2 "$root/test/subproject/main.cpp" $flags -o "$work/user"
    "$work/user"
done
