#!/usr/bin/env bash
# Shows ringo at work: installs what is missing (Debian), builds a release into
# build/demo, and runs an echo server against a load generator on loopback.
set -euo pipefail
cd "$(dirname "$0")/.."
source test/setup.sh

install_missing "${packages_build[@]}"
configure build/demo --buildtype release -Dtests=disabled -Dperf=disabled
meson compile -C build/demo

printf '\nFive seconds of echo over TCP on this machine:\n\n'
./samples/smoke.sh build/demo/samples echo 5

cat <<'END'

Try next:
  ./build/demo/samples/hello                      the first program of README.md
  ./build/demo/samples/echo_server :7777          a server on every address and core; Ctrl-C drains it
  ./build/demo/samples/load 127.0.0.1:7777 --connections 1000 --bytes 64 --seconds 10
  ./test/run.sh                                   all tests
  lib/shard.cpp                                   the loop that ran this
END
