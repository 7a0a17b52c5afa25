# shellcheck shell=bash disable=SC2154 # of smoke.sh
# Its numbers are there, grow, and are what Prometheus takes.
smoke_metrics_server() {
    local text first n
    command -v curl >/dev/null || skip "there is no curl"
    start_server "$dir/metrics_server" 127.0.0.1:0
    text=$(curl -sS --max-time 10 -i "http://$address/metrics")
    [[ $text == "HTTP/1.1 200 OK"*"text/plain; version=0.0.4"* ]] || die "it said: $text"
    # A worker waits for each job that is under way, and this connection is one.
    first=$(metric_of "$text" ringo_accepts_total)
    [[ $first -ge 1 && $(metric_of "$text" ringo_goroutines_started_total) -ge 16 ]] || die "$text"
    for ((n = 0; n < 20; n++)); do
        text=$(curl -sS --max-time 10 -o /dev/null -w '%{http_code}' "http://$address/")
        [[ $text == 404 ]] || die "status $text for what is not there"
    done
    text=$(curl -sS --max-time 10 "http://$address/metrics")
    [[ $(metric_of "$text" ringo_accepts_total) -gt $first ]] || die "$text"
    if command -v promtool >/dev/null; then
        promtool check metrics <<<"$text" || die "promtool does not take it"
    else
        echo "not shown to promtool, which is not here (Debian's package prometheus has it)"
    fi
    stop_server
}

# Of all cores.
metric_of() { awk -v name="$2" '$1 ~ "^" name "[{ ]" || $1 == name { n += $2 } END { print n + 0 }' <<<"$1"; }
