# shellcheck shell=bash disable=SC2154
# Sourced by smoke.sh: udp_echo against its own client, nc and socat.

smoke_udp_echo() {
    local said port status=0
    start_server "$dir/udp_echo" 127.0.0.1:0
    port=${address##*:}

    said=$(timeout 10 "$dir/udp_echo" --ask "$address" "hello there")
    [[ $said == "hello there" ]] || die "the client said: $said"
    said=$(timeout 10 "$dir/udp_echo" --ask "localhost:$port" "$(head -c 60000 /dev/zero | tr '\0' x)")
    [[ ${#said} -eq 60000 ]] || die "the client got ${#said} bytes"

    if command -v nc >/dev/null; then
        said=$(printf 'from nc' | timeout 10 nc -u -w 1 127.0.0.1 "$port")
        [[ $said == "from nc" ]] || die "nc heard: $said"
    else
        echo "smoke udp_echo: there is no nc"
    fi
    if command -v socat >/dev/null; then
        said=$(printf 'from socat' | timeout 10 socat -t 1 - "UDP4:127.0.0.1:$port")
        [[ $said == "from socat" ]] || die "socat heard: $said"
    else
        echo "smoke udp_echo: there is no socat"
    fi
    stop_server

    # A client hears at once that nobody listens.
    said=$(timeout 10 "$dir/udp_echo" --ask "$address" hello 2>&1) || status=$?
    [[ $status -eq 1 && $said == "udp_echo: "*": Connection refused" ]] || die "$status: $said"
}
