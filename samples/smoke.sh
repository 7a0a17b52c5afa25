#!/usr/bin/env bash
# Usage: smoke.sh DIR NAME [SECONDS]
# Runs the samples built in DIR for a moment and checks what they say.
# `echo` is also what demo.sh shows, for longer.
set -euo pipefail

dir=$1
name=$2
seconds=${3:-1}

die() {
    echo "smoke $name: $*" >&2
    exit 1
}

smoke_hello() {
    local expected=$'hello from the fast one\nhello from the slow one\n2 greetings'
    local said
    said=$("$dir/hello")
    [[ $said == "$expected" ]] || die "it said: $said"
}

smoke_seeds() {
    local said
    said=$("$dir/seeds")
    [[ $said == seed\ *": shipped, though cancelled" ]] || die "it said: $said"
}

server=
work=

# On every way out: no server and no file stays behind.
clean_up() {
    if [[ -n $server ]]; then
        kill -KILL "$server" 2>/dev/null || true
        wait "$server" 2>/dev/null || true
    fi
    [[ -z $work ]] || rm -rf "$work"
}
trap clean_up EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

# echo_server and load against each other on loopback; Ctrl-C must drain the server.
smoke_echo() {
    local line address status=0
    work=$(mktemp -d)
    mkfifo "$work/said"
    # The shell starts background jobs with SIGINT ignored; the server needs it.
    env --default-signal=INT "$dir/echo_server" 127.0.0.1:0 >"$work/said" &
    server=$!
    exec 3<"$work/said"
    read -r -t 10 line <&3 || die "the server did not start"
    echo "$line"
    address=${line#listening }
    address=${address%%,*}
    [[ $line == listening\ * && $address == 127.0.0.1:* ]] || die "it said: $line"

    "$dir/load" "$address" --seconds "$seconds" || die "load exited with $?"

    kill -INT "$server"
    for ((tenths = 0; tenths < 100; tenths++)); do
        kill -0 "$server" 2>/dev/null || break
        sleep 0.1
    done
    kill -0 "$server" 2>/dev/null && die "the server still runs 10 s after SIGINT"
    wait "$server" || status=$?
    server=
    cat <&3
    [[ $status -eq 0 ]] || die "the server exited with $status after SIGINT"
}

smoke_prime_sieve() {
    local said
    said=$("$dir/prime_sieve" 10 | tr '\n' ' ')
    [[ $said == "2 3 5 7 11 13 17 19 23 29 " ]] || die "it said: $said"
}

# All jobs, each once; and after Ctrl-C those that have begun.
smoke_worker_pool() {
    local said line last= jobs=0 status=0
    said=$("$dir/worker_pool" 20 4)
    [[ $(grep -c '^job ' <<<"$said") -eq 20 && $said == *$'\n20 of 20 jobs done' ]] ||
        die "it said: $said"

    work=$(mktemp -d)
    mkfifo "$work/said"
    env --default-signal=INT "$dir/worker_pool" 1000000 2 >"$work/said" &
    server=$!
    exec 3<"$work/said"
    read -r -t 10 line <&3 || die "it did not start"
    kill -INT "$server"
    while read -r -t 10 line <&3; do
        [[ $line != job\ * ]] || jobs=$((jobs + 1))
        last=$line
    done
    [[ $last == "$((jobs + 1)) of 1000000 jobs done" ]] || die "its last line was: $last"
    wait "$server" || status=$?
    server=
    [[ $status -eq 0 ]] || die "it exited with $status after SIGINT"
}

# Two clients: what one says the other hears; Ctrl-C closes the room.
smoke_chat() {
    local line address status=0
    work=$(mktemp -d)
    mkfifo "$work/said"
    env --default-signal=INT "$dir/chat" 127.0.0.1:0 >"$work/said" &
    server=$!
    exec 3<"$work/said"
    read -r -t 10 line <&3 || die "the server did not start"
    address=${line#listening }
    address=${address%% *}
    [[ $address == 127.0.0.1:* ]] || die "it said: $line"

    exec 4<>"/dev/tcp/127.0.0.1/${address##*:}"
    read -r -t 10 line <&4 || die "nothing was heard"
    [[ $line == 127.0.0.1:*" has come" ]] || die "the first heard: $line"
    exec 5<>"/dev/tcp/127.0.0.1/${address##*:}"
    read -r -t 10 line <&4 || die "nobody came"
    [[ $line == 127.0.0.1:*" has come" ]] || die "the first heard: $line"
    echo "hello" >&5
    read -r -t 10 line <&4 || die "nothing was heard"
    [[ $line == 127.0.0.1:*": hello" ]] || die "the first heard: $line"
    exec 5>&-
    read -r -t 10 line <&4 || die "nobody went"
    [[ $line == 127.0.0.1:*" has gone" ]] || die "the first heard: $line"

    kill -INT "$server"
    while read -r -t 10 line <&3; do :; done
    [[ $line == closed || -z $line ]] || die "it said: $line"
    wait "$server" || status=$?
    server=
    exec 4>&-
    [[ $status -eq 0 ]] || die "it exited with $status after SIGINT"
}

# Counts to its end, and is ended by Ctrl-C.
smoke_ticker() {
    local said line last= status=0
    said=$("$dir/ticker" 3 10)
    [[ $said == tick\ 1\ at\ *$'\n'tick\ 2\ at\ *$'\n'tick\ 3\ at\ * ]] || die "it said: $said"

    work=$(mktemp -d)
    mkfifo "$work/said"
    env --default-signal=INT "$dir/ticker" 1000000 10 >"$work/said" &
    server=$!
    exec 3<"$work/said"
    read -r -t 10 line <&3 || die "it did not start"
    kill -INT "$server"
    while read -r -t 10 line <&3; do last=$line; done
    [[ $last == interrupted ]] || die "its last line was: $last"
    wait "$server" || status=$?
    server=
    [[ $status -eq 0 ]] || die "it exited with $status after SIGINT"
}

# A tree arrives whole; what is missing is named.
smoke_copy_tree() {
    local said status=0
    work=$(mktemp -d)
    mkdir -p "$work/from/a/b" "$work/from/empty"
    head -c 300000 /dev/urandom >"$work/from/a/large"
    for ((n = 0; n < 40; n++)); do
        echo "file $n" >"$work/from/a/b/$n"
    done
    ln -s a/large "$work/from/link"
    said=$("$dir/copy_tree" "$work/from" "$work/to/deep")
    [[ $said == "41 files, 300310 bytes" ]] || die "it said: $said"
    diff -r --no-dereference "$work/from" "$work/to/deep" || die "the copy differs"

    said=$("$dir/copy_tree" "$work/none" "$work/x" 2>&1) || status=$?
    [[ $status -eq 1 && $said == "copy_tree: stat $work/none: No such file or directory" ]] ||
        die "it exited with $status and said: $said"
}

[[ $(type -t "smoke_$name") == function ]] || die "no such case"
"smoke_$name"
