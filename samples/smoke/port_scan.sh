# shellcheck shell=bash disable=SC2154
# Sourced by smoke.sh: port_scan finds a server, and leaves other machines alone.

smoke_port_scan() {
    local said port status=0
    start_server "$dir/echo_server" 127.0.0.1:0
    port=${address##*:}
    said=$(timeout 20 "$dir/port_scan" 127.0.0.1 "$port-$port")
    [[ $said == "$address" ]] || die "it said: $said"
    said=$(timeout 50 "$dir/port_scan" localhost "$((port > 3000 ? port - 3000 : 1))-$((port + 1 < 65535 ? port + 1 : 65535))")
    grep -qx "$address" <<<"$said" || die "it said: $said"
    stop_server
    said=$(timeout 20 "$dir/port_scan" 127.0.0.1 "$port-$port")
    [[ -z $said ]] || die "it said: $said"

    said=$("$dir/port_scan" 192.0.2.1 1-10 2>&1) || status=$?
    [[ $status -eq 1 && $said == "port_scan: 192.0.2.1 is not this machine's loopback" ]] ||
        die "$status: $said"
}
