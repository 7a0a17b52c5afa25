#!/usr/bin/env bash
# Builds and runs this folder as a user's project that has ringo as a Meson subproject.
# Done in a temporary copy: a link to ringo kept below ringo would hold itself.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../.." && pwd)

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

mkdir "$work/subprojects"
cp "$here/meson.build" "$here/main.cpp" "$work"
ln -s "$root" "$work/subprojects/ringo"

# Forced, so that an installed ringo does not stand in for this one.
meson setup "$work/build" "$work" --force-fallback-for=ringo
meson compile -C "$work/build"
meson test -C "$work/build" --print-errorlogs user

# A subproject builds the library alone.
if compgen -G "$work/build/subprojects/ringo/test/*" >/dev/null; then
    echo "error: as a subproject, ringo built its tests" >&2
    exit 1
fi
