#!/usr/bin/env bash
# Random 4 KiB reads, 64 at a time, on one core: ringo and fio, taking turns.
# Usage: files.sh PERF_FILES [FOLDER] [TURNS] [MIB]
#   PERF_FILES  the program, such as build/perf/perf/perf_files
#   FOLDER      on the disk that is to be measured; the current one unless given
set -euo pipefail

program=$(realpath "$1")
folder=${2:-.}
turns=${3:-5}
mib=${4:-1024}

command -v fio >/dev/null || {
    echo "files.sh: fio is missing (apt-get install fio)" >&2
    exit 1
}

file=$(mktemp "$folder/ringo-files-XXXXXX")
trap 'rm -f "$file"' EXIT
head -c "${mib}M" /dev/urandom >"$file"
sync "$file"
cpu=$(taskset -cp $$ | sed 's/.*: //; s/[-,].*//')

# Reads per second.
fio_once() {
    taskset -c "$cpu" fio --name=x --filename="$file" --readonly --rw=randread --bs=4k \
        --iodepth=64 --ioengine=io_uring --norandommap --gtod_reduce=1 --invalidate=0 --direct="$1" \
        --size="${mib}M" --io_size="$((reads * 4))k" --output-format=json |
        sed -n 's/^ *"iops" : \([0-9.]*\),$/\1/p' | head -n 1
}
ringo_once() {
    local how=()
    [[ $1 -eq 1 ]] || how=(cached)
    taskset -c "$cpu" "$program" "$reads" 1 "$file" "${how[@]}" |
        awk -F'\t' '/^random/ { print 1e9 / $4 }'
}
median() {
    sort -g | awk '{ v[NR] = $1 } END { print v[int((NR + 1) / 2)] }'
}

for direct in 1 0; do
    [[ $direct -eq 1 ]] && reads=200000 || reads=1000000
    [[ $direct -eq 1 ]] || cat "$file" >/dev/null
    fio=() ringo=()
    for ((i = 0; i < turns; i++)); do
        fio+=("$(fio_once $direct)")
        ringo+=("$(ringo_once $direct)")
    done
    f=$(printf '%s\n' "${fio[@]}" | median)
    r=$(printf '%s\n' "${ringo[@]}" | median)
    [[ $direct -eq 1 ]] && what=direct || what=cached
    awk -v w="$what" -v f="$f" -v r="$r" -v all="fio ${fio[*]}; ringo ${ringo[*]}" 'BEGIN {
        printf "%s: ringo %.0f reads/s, fio %.0f, ratio %.2f   (%s)\n", w, r, f, r / f, all }'
done
