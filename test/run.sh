#!/usr/bin/env bash
# Builds ringo and runs all its tests. Installs what is missing (Debian), says so first.
# Without options: release, the default compiler, in build/test.
# The last line is `N passed, N failed`; exits non-zero when something failed.
set -euo pipefail
cd "$(dirname "$0")/.."
source test/setup.sh

usage() {
    cat <<'END'
usage: ./test/run.sh [options]
  --compiler CXX    g++, clang++, clang++-19, ... (default: $CXX, else Meson's choice)
  --debug           -O0 with debug information instead of release
  --sanitize KIND   address | thread | undefined | address,undefined
  --werror          warnings are errors
  --suite NAME      only that suite (perf, samples)
  --no-suite NAME   all but that one (stress; uring: the tests of old kernels' io_uring)
  --no-tests        the library, its benchmarks and its samples alone
  --no-samples      all but the samples
  --no-pch          no precompiled headers, which hide it when a file does not name what it needs
  --backend epoll   as if RINGO_BACKEND said so: all but what is about io_uring alone
  --forbid-uring    where io_uring is forbidden by a seccomp filter
RINGO_CORES in the environment is what the tests see.
END
}

compiler=${CXX:-}
buildtype=release
sanitize=none
werror=false
dir=build/test
options=()
tests=enabled
test_args=()
forbid=false
packages=("${packages_build[@]}" "${packages_test[@]}")

while [[ $# -gt 0 ]]; do
    case $1 in
    --compiler) compiler=${2:?--compiler needs a name} && dir+=-$2 && shift ;;
    --debug) buildtype=debug && dir+=-debug ;;
    --sanitize) sanitize=${2:?--sanitize needs a kind} && dir+=-${2//,/-} && shift ;;
    --werror) werror=true ;;
    --suite) test_args+=(--suite "${2:?--suite needs a name}") && shift ;;
    --no-suite) test_args+=(--no-suite "${2:?--no-suite needs a name}") && shift ;;
    --no-tests) tests=disabled ;;
    --no-samples) options+=(-Dsamples=disabled) ;;
    --no-pch) options+=(-Db_pch=false) ;;
    --backend) export RINGO_BACKEND=${2:?--backend needs a name} && shift ;;
    --forbid-uring) forbid=true ;;
    -h | --help) usage && exit 0 ;;
    *) usage >&2 && exit 2 ;;
    esac
    shift
done

# clang++-19 comes from the package clang-19, and its C twin is clang-19.
if [[ $compiler == clang++* ]]; then
    packages+=("${compiler/++/}")
    [[ $sanitize == none ]] || packages+=("libclang-rt${compiler#clang++}-dev")
fi
kind=(--buildtype "$buildtype")
if [[ $sanitize != none ]]; then
    if [[ $buildtype != debug ]]; then
        buildtype=-O1
        # With line numbers for the reports. No --buildtype: when the folder is configured again,
        # that would win over the others, and everything be compiled again.
        kind=(-Doptimization=1 -Ddebug=false -Dcpp_args=-g1)
    fi
    test_args+=(--timeout-multiplier 5)
fi

# What benchmarks call, tests call too.
[[ $buildtype == release ]] || options+=(-Dperf=disabled)

install_missing "${packages[@]}"

# An explicit compiler switches Meson's own use of ccache off.
if [[ -n $compiler ]]; then
    ccache=
    if command -v ccache >/dev/null; then ccache='ccache '; fi
    c_compiler=${compiler/++/}
    [[ $c_compiler == g* ]] && c_compiler=gcc${compiler#g++}
    export CXX="$ccache$compiler" CC="$ccache$c_compiler"
fi

echo "== ${compiler:-default compiler}, $buildtype, sanitize $sanitize, RINGO_CORES ${RINGO_CORES:-unset}," \
    "RINGO_BACKEND ${RINGO_BACKEND:-unset}: $dir"
if ! configure "$dir" "${kind[@]}" -Db_sanitize="$sanitize" -Db_lundef=false \
    -Dwerror="$werror" -Dtests="$tests" "${options[@]}" || ! meson compile -C "$dir"; then
    printf 'The build failed.\n0 passed, 1 failed\n'
    exit 1
fi

log=$dir/meson-logs/testlog.json
if [[ $forbid == true ]]; then
    test_args+=(--wrapper "$PWD/$dir/test/without_uring")
    log=${log/testlog/testlog-without_uring}  # Meson's name for it
fi
if [[ $forbid == true || ${RINGO_BACKEND:-} == epoll ]]; then
    test_args+=(--no-suite uring --no-suite docs)
fi

# Meson sets the like for ASan and UBSan by itself.
export TSAN_OPTIONS=${TSAN_OPTIONS:-halt_on_error=1:second_deadlock_stack=1:die_after_fork=0}

rm -f "$log"
status=0
# Twice as many at a time as there are CPUs: most wait for something most of the time.
meson test -C "$dir" --no-rebuild --num-processes "$((2 * $(nproc)))" --print-errorlogs \
    "${test_args[@]}" || status=$?
python3 test/summary.py "$log" || status=1
exit "$status"
