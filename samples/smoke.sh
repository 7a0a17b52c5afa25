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
background=
work=

# On every way out: no server and no file stays behind.
clean_up() {
    local one
    for one in $server $background; do
        kill -KILL "$one" 2>/dev/null || true
        wait "$one" 2>/dev/null || true
    done
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

skip() {
    echo "smoke $name: skipped, $*"
    exit 77
}

# until_true SECONDS COMMAND...: runs it again and again.
until_true() {
    local tenths=$(($1 * 10))
    shift
    until "$@"; do
        ((tenths-- > 0)) || return 1
        sleep 0.1
    done
}

# Each line is run once, as many at a time as were allowed; what fails, or cannot start, is named.
smoke_run_many() {
    local said status=0
    work=$(mktemp -d)
    said=$(seq 1 20 | "$dir/run_many" 4 printf 'number %s\n' | sort -n -k 2)
    [[ $said == "$(seq -f 'number %.0f' 1 20)" ]] || die "it said: $said"

    # Two that wait for each other end only if they run at the same time.
    mkfifo "$work/a" "$work/b"
    said=$(printf '%s\n' 'echo 1 >a; cat b' 'cat a; echo 2 >b' |
        env -C "$work" timeout 20 "$(realpath "$dir")/run_many" 2 sh -c | sort | tr '\n' ' ')
    [[ $said == "1 2 " ]] || die "it said: $said"

    said=$(echo 3 | "$dir/run_many" 2 sh -c 'echo on its way; exit $0') || status=$?
    [[ $status -eq 1 && $said == $'on its way\n3: exit status 3' ]] || die "$status: $said"
    status=0
    said=$(echo x | "$dir/run_many" 2 no-such-program) || status=$?
    [[ $status -eq 1 && $said == "x: start no-such-program: No such file or directory" ]] ||
        die "$status: $said"

    # Ctrl-C ends those that run.
    mkfifo "$work/in"
    env --default-signal=INT "$dir/run_many" 2 sh -c 'echo $$ >>'"$work/pids"'; exec sleep 1000' \
        <"$work/in" 2>"$work/err" &
    server=$!
    exec 3>"$work/in"
    printf '1\n2\n' >&3
    until_true 10 eval '[[ $(wc -l 2>/dev/null <"$work/pids") -eq 2 ]]' || die "they did not start"
    kill -INT "$server"
    status=0
    wait "$server" || status=$?
    server=
    exec 3>&-
    [[ $status -eq 130 ]] || die "it exited with $status after SIGINT"
    for pid in $(cat "$work/pids"); do
        kill -0 "$pid" 2>/dev/null && die "a command still runs"
    done
    return 0
}

# What is appended comes; a file that is cut or replaced is followed.
smoke_tail() {
    local line status=0
    work=$(mktemp -d)
    mkfifo "$work/said"
    echo "before" >"$work/log"
    env --default-signal=INT "$dir/tail" "$work/log" >"$work/said" 2>"$work/err" &
    server=$!
    exec 3<"$work/said"
    until_true 10 grep -q following "$work/err" || die "it did not start"
    for text in "one" "two"; do
        echo "$text" >>"$work/log"
        read -r -t 10 line <&3 && [[ $line == "$text" ]] || die "it said: $line"
    done
    : >"$work/log"
    until_true 10 grep -q cut: "$work/err" || die "it did not see that the file was cut"
    echo "cut" >>"$work/log"
    read -r -t 10 line <&3 && [[ $line == cut ]] || die "it said: $line"
    mv "$work/log" "$work/log.1"
    echo "late" >>"$work/log.1"
    read -r -t 10 line <&3 && [[ $line == late ]] || die "it said: $line"
    echo "rotated" >"$work/log"
    read -r -t 10 line <&3 && [[ $line == rotated ]] || die "it said: $line"
    kill -INT "$server"
    wait "$server" || status=$?
    server=
    [[ $status -eq 0 ]] || die "it exited with $status after SIGINT"
    line=$("$dir/tail" "$work/none" 2>&1) || status=$?
    [[ $status -eq 1 && $line == "tail: open $work/none: No such file or directory" ]] ||
        die "$status: $line"
}

# Against a server of its own, on a socket in a folder of its own.
smoke_redis_client() {
    local said status=0
    command -v redis-server >/dev/null || skip "there is no redis-server"
    work=$(mktemp -d)
    redis-server --port 0 --unixsocket "$work/redis" --save '' --dir "$work" >"$work/log" &
    server=$!
    until_true 10 test -S "$work/redis" || die "the server did not start: $(cat "$work/log")"

    said=$(printf '%s\n' 'SET name gopher' 'GET name' 'GET none' 'RPUSH list a b' 'LRANGE list 0 -1' |
        timeout 20 "$dir/redis_client" "$work/redis" | tr '\n' '|')
    [[ $said == "OK|gopher|(nil)|2|a b|" ]] || die "it said: $said"
    seq 5000 | sed 's/.*/INCR n/' | timeout 20 "$dir/redis_client" "$work/redis" |
        cmp - <(seq 5000) || die "a command was lost, or overtook another"
    said=$(echo 'NO SUCH' | timeout 20 "$dir/redis_client" "$work/redis") || status=$?
    [[ $status -eq 1 && $said == "error: ERR unknown command"* ]] || die "$status: $said"
    status=0
    said=$(timeout 20 "$dir/redis_client" "$work/none" 2>&1 </dev/null) || status=$?
    [[ $status -eq 1 && $said == "redis_client: $work/none: No such file or directory" ]] ||
        die "$status: $said"

    # A server that goes is said, not waited for.
    status=0
    said=$(echo 'SHUTDOWN NOSAVE' | timeout 20 "$dir/redis_client" "$work/redis") || status=$?
    [[ $status -eq 1 && $said == "error: "* ]] || die "$status: $said"
}

smoke_pg_query() {
    local bin='' said status=0 as=()
    for bin in /usr/lib/postgresql/*/bin/initdb "$(command -v initdb || true)"; do
        [[ -x $bin ]] && break
    done
    [[ -x $bin ]] || skip "there is no PostgreSQL server"
    bin=$(dirname "$(readlink -f "$bin")")
    work=$(mktemp -d)
    if [[ $EUID -eq 0 ]]; then  # which the server refuses
        chown nobody "$work"
        as=(setpriv --reuid nobody --regid nogroup --clear-groups --)
    fi
    "${as[@]}" "$bin/initdb" -D "$work/data" -U postgres -A trust --no-sync >"$work.log" 2>&1 ||
        die "initdb: $(cat "$work.log")"
    rm "$work.log"
    "${as[@]}" "$bin/postgres" -D "$work/data" -k "$work" -c listen_addresses= -c fsync=off \
        >/dev/null 2>&1 &
    server=$!
    until_true 20 "$bin/pg_isready" -q -h "$work" || die "the server did not start"

    local where="host=$work user=postgres dbname=postgres"
    said=$(timeout 20 "$dir/pg_query" "$where" "select 1, 'one'" "select n from generate_series(1, 3) n")
    [[ $said == $'1\tone\n1\n2\n3' ]] || die "it said: $said"
    # Two that wait for each other: the second gives what the first waits for.
    said=$(timeout 20 "$dir/pg_query" "$where" \
        "create table t(n int); do \$\$ begin while not exists (select from pg_class where relname = 'u') loop perform pg_sleep(0.01); end loop; end \$\$; select 'first'" \
        "create table u(n int); select 'second'")
    [[ $said == $'first\nsecond' ]] || die "it said: $said"
    # More than a socket takes at once.
    said=$(timeout 20 "$dir/pg_query" "$where" "select length('$(head -c 100000 /dev/zero | tr '\0' x)')" \
        "select length(repeat('x', 3000000))")
    [[ $said == $'100000\n3000000' ]] || die "it said: $said"
    said=$(timeout 20 "$dir/pg_query" "$where" "select nonsense" 2>&1) || status=$?
    [[ $status -eq 1 && $said == *'column "nonsense" does not exist'* ]] || die "$status: $said"
    status=0
    said=$(timeout 20 "$dir/pg_query" "host=$work port=1" "select 1" 2>&1) || status=$?
    [[ $status -eq 1 && $said == *"No such file or directory"* ]] || die "$status: $said"

    kill -TERM "$server"  # it leaves its clients and its shared memory in order
    wait "$server" || true
    server=
}

# start_server PROGRAM ARGUMENT...: sets address, and reads what it says from descriptor 3.
start_server() {
    local line
    work=${work:-$(mktemp -d)}
    mkfifo "$work/said"
    env --default-signal=INT "$@" >"$work/said" &
    server=$!
    exec 3<"$work/said"
    read -r -t 10 line <&3 || die "the server did not start"
    address=${line#listening }
    address=${address%%[, ]*}
    [[ $line == listening\ * && $address == 127.0.0.1:* ]] || die "it said: $line"
}

# Ctrl-C drains it.
stop_server() {
    local line status=0
    kill -INT "$server"
    while read -r -t 10 line <&3; do :; done
    until_true 10 eval '! kill -0 "$server" 2>/dev/null' || die "it still runs 20 s after SIGINT"
    wait "$server" || status=$?
    server=
    [[ $status -eq 0 ]] || die "the server exited with $status after SIGINT"
}

# A case that is long has a file of its own.
more=$(dirname "$0")/smoke/$name.sh
[[ ! -f $more ]] || source "$more"
[[ $(type -t "smoke_$name") == function ]] || die "no such case"
"smoke_$name"
