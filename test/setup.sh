# shellcheck shell=bash disable=SC2034
# Sourced by the scripts that a newcomer starts; holds their set-up, once.

packages_build=(g++ meson ninja-build pkg-config liburing-dev libfmt-dev libexpected-dev)
packages_test=(doctest-dev)

# install_missing PACKAGE...: says what is missing, then installs that and nothing else.
install_missing() {
    local missing=() package as_root=()
    if ! command -v apt-get >/dev/null || ! command -v dpkg-query >/dev/null; then
        check_tools "$@"
        return
    fi
    for package in "$@"; do
        if ! dpkg-query -W -f '${Status}\n' "$package" 2>/dev/null | grep -q ' installed$'; then
            missing+=("$package")
        fi
    done
    [[ ${#missing[@]} -gt 0 ]] || return 0

    echo "Installing with apt-get: ${missing[*]}"
    if [[ $EUID -ne 0 ]]; then
        if ! command -v sudo >/dev/null; then
            echo "error: that needs root and there is no sudo; as root: apt-get install ${missing[*]}" >&2
            return 1
        fi
        as_root=(sudo)
    fi
    "${as_root[@]}" apt-get update -qq
    "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive \
        apt-get install -y -qq --no-install-recommends "${missing[@]}"
}

# Without apt-get we cannot install, only look whether the tools are there. Libraries
# are left to Meson, which falls back to the wraps in subprojects/.
check_tools() {
    local tool missing=()
    for tool in meson ninja pkg-config; do
        command -v "$tool" >/dev/null || missing+=("$tool")
    done
    command -v "${CXX:-c++}" >/dev/null || missing+=("a C++20 compiler (g++ 12 or clang++ 14)")
    [[ ${#missing[@]} -gt 0 ]] || return 0
    {
        printf 'error: no apt-get here, and missing:'
        printf ' %s;' "${missing[@]}"
        printf '\nInstall what your distribution calls these Debian packages, then start again:\n  %s\n' "$*"
    } >&2
    return 1
}

# configure DIR ARGUMENT...: `meson setup`, again with the new arguments if DIR exists.
configure() {
    local dir=$1 again=()
    shift
    [[ -f $dir/build.ninja ]] && again=(--reconfigure)
    meson setup "${again[@]}" "$dir" "$@"
}
