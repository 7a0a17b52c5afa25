#!/usr/bin/env bash
# Measures ringo beside its peers, or beside an older ringo. Installs what is missing (Debian),
# says so first; perf/run.py does the rest.
set -euo pipefail
cd "$(dirname "$0")/.."
source test/setup.sh

# A peer that cannot be installed is no reason to stop: perf/run.py says that it skips it.
peer() {
    install_missing "$@" || echo "Cannot install $*"
}

if [[ " $* " != *" --no-install "* ]]; then
    install_missing "${packages_build[@]}"
    if [[ " $* " != *" --against"* ]]; then
        command -v go >/dev/null || peer golang-go
        command -v cargo >/dev/null || peer cargo rustc
        peer librust-tokio-dev librust-tokio-util-dev librust-tokio-stream-dev \
            librust-async-channel-dev librust-futures-util-dev librust-hyper-dev
        peer libboost1.81-dev
        peer libuv1-dev
        peer wrk node-llhttp  # nginx only where it is: its package starts a server
    fi
fi
exec python3 perf/run.py "$@"
