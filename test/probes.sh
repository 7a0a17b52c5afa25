#!/usr/bin/env bash
# Usage: probes.sh LIBRARY
# It has every static probe that docs/debugging.md names, and no other.
set -euo pipefail

docs=$(dirname "$0")/../docs/debugging.md
command -v readelf >/dev/null || { echo "SKIP: there is no readelf" && exit 77; }

notes=$(readelf -n "$1")
has=$(grep -A1 'Provider: ringo$' <<<"$notes" | sed -n 's/^ *Name: //p' | sort -u)
documented=$(sed -n 's/^| `\([a-z_]*\)(.*)` |.*/\1/p' "$docs" | sort -u)
diff <(echo "$documented") <(echo "$has") && echo "$has"
