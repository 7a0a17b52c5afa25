#!/bin/sh
# Usage: check.sh INCLUDE_DIR HEADER...
# Fails when a header below INCLUDE_DIR is not among HEADER..., or includes what
# users must not pay for or cannot have.
set -eu

include_dir=$1
shift
cd "$include_dir"
failed=0

for header in $(find . -name '*.hpp' | sed 's|^\./||' | sort); do
    case " $* " in
    *" $header "*) ;;
    *)
        echo "$header is not listed in test/headers/meson.build"
        failed=1
        ;;
    esac
done

forbidden='liburing|fmt/|lib/|\.\./|iostream>|functional>|thread>|regex>'
if grep -rnE "^[[:space:]]*#[[:space:]]*include[[:space:]]*[<\"]($forbidden)" --include='*.hpp' .; then
    echo "^ not allowed below include/ (liburing, fmt, lib/, <iostream>, <functional>, <thread>, <regex>)"
    failed=1
fi
exit "$failed"
