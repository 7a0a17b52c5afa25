#!/usr/bin/env bash
# Does what a newcomer does: README's two commands, in a fresh Debian 12 that has
# nothing installed. Takes root, debootstrap and this machine's apt sources.
# Usage: ./test/chroot.sh [--keep]      (--keep leaves the system in place to look at)
set -euo pipefail
cd "$(dirname "$0")/.."

suite=bookworm
commands=(./samples/demo.sh ./test/run.sh)
keep=false
[[ ${1:-} != --keep ]] || keep=true

if [[ $EUID -ne 0 ]]; then
    echo "error: debootstrap and chroot need root" >&2
    exit 1
fi
if ! command -v debootstrap >/dev/null; then
    echo "error: debootstrap is missing: apt-get install debootstrap" >&2
    exit 1
fi

# Mounts live in a namespace of our own, so even a kill leaves none behind.
if [[ -z ${RINGO_CHROOT_NAMESPACE:-} ]]; then
    RINGO_CHROOT_NAMESPACE=1 exec unshare --mount --propagation private "$0" "$@"
fi

mirror=$(apt-get indextargets --format '$(REPO_URI) $(CODENAME) $(COMPONENT)' 'Created-By: Packages' |
    awk -v suite="$suite" '$2 == suite && $3 == "main" { print $1; exit }')
if [[ -z $mirror ]]; then
    echo "error: no apt source of this machine has $suite; run apt-get update?" >&2
    exit 1
fi

root=$(mktemp -d)
mounts=()

clean_up() {
    local i
    for ((i = ${#mounts[@]} - 1; i >= 0; i--)); do
        umount --lazy "${mounts[i]}"
    done
    if [[ $keep == true ]]; then
        echo "kept: $root"
    else
        rm -rf --one-file-system "$root"
    fi
}
trap clean_up EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

bind() {
    mount --rbind "$1" "$root$1"
    mounts+=("$root$1")
}

echo "Making a Debian $suite"
debootstrap --variant=minbase "$suite" "$root" "$mirror" >"$root.log" || {
    tail -n 20 "$root.log" >&2
    exit 1
}
rm "$root.log"

# The same sources, proxies and keys as here; the same names resolve.
for part in sources.list sources.list.d apt.conf.d keyrings trusted.gpg.d; do
    [[ ! -e /etc/apt/$part ]] || cp -a "/etc/apt/$part" "$root/etc/apt/"
done
[[ -s /etc/apt/sources.list ]] || rm -f "$root/etc/apt/sources.list"
cp -L /etc/resolv.conf /etc/hosts "$root/etc/"
for dir in /proc /sys /dev; do
    bind "$dir"
done

# What a clone would hold, changes not yet committed included.
checkout=/home/newcomer/ringo
mkdir -p "$root$checkout"
git ls-files -z --cached --others --exclude-standard |
    tar --create --null --files-from - --ignore-failed-read | tar --extract --directory "$root$checkout"

status=0
for command in "${commands[@]}"; do
    printf '\n== %s\n' "$command"
    env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/root LANG=C.UTF-8 \
        chroot "$root" sh -c "cd $checkout && $command" || {
        status=$?
        echo "== $command: exit $status" >&2
    }
done
exit "$status"
