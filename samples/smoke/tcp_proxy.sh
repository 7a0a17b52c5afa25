# shellcheck shell=bash disable=SC2154
# Sourced by smoke.sh: tcp_proxy in front of echo_server.

smoke_tcp_proxy() {
    local status=0
    work=$(mktemp -d)
    start_server "$dir/echo_server" 127.0.0.1:0
    background=$server
    server=
    exec 5<&3
    rm "$work/said"
    start_server "$dir/tcp_proxy" 127.0.0.1:0 "$address" 2
    "$dir/load" "$address" --seconds "$seconds" || die "load exited with $?"
    "$dir/load" "$address" --seconds 1 --bytes 300000 --connections 4 || die "load exited with $?"

    # The client ends its side while most of the echo is still to come; that end arrives, too, or
    # the echo would not end.
    if command -v nc >/dev/null && nc -h 2>&1 | grep -q -- -N; then
        head -c 5000000 /dev/urandom >"$work/sent"
        timeout 20 nc -N 127.0.0.1 "${address##*:}" <"$work/sent" >"$work/got" || status=$?
        [[ $status -eq 0 ]] || die "nc exited with $status"
        cmp "$work/sent" "$work/got" || die "the echo differs"
    else
        echo "no nc -N here: not tried"
    fi

    # Where nothing moves, the proxy ends it.
    exec 4<>"/dev/tcp/127.0.0.1/${address##*:}"
    timeout 20 cat <&4 >"$work/got" || status=$?
    exec 4>&-
    [[ $status -eq 0 && ! -s $work/got ]] || die "an idle connection stayed ($status)"
    stop_server

    # Nobody listens: the client hears no more than an end.
    rm "$work/said"
    kill -INT "$background"
    wait "$background" || die "echo_server exited with $?"
    background=
    start_server "$dir/tcp_proxy" 127.0.0.1:0 127.0.0.1:1 2>"$work/err"
    exec 4<>"/dev/tcp/127.0.0.1/${address##*:}"
    timeout 20 cat <&4 >"$work/got" || status=$?
    exec 4>&-
    stop_server
    [[ $status -eq 0 && $(cat "$work/err") == "tcp_proxy: dial 127.0.0.1:1: Connection refused" ]] ||
        die "it exited with $status and said: $(cat "$work/err")"
}
