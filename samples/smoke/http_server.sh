# shellcheck shell=bash disable=SC2154
# Sourced by smoke.sh: http_server against curl, wrk, and requests by hand.

# answers REQUEST EXPECTED...: the status lines that come back on a connection of its own.
answers() {
    local request=$1 said
    shift
    exec 4<>"/dev/tcp/127.0.0.1/${address##*:}"
    printf '%b' "$request" >&4
    said=$(timeout 10 cat <&4 | tr -d '\r' | sed -n 's/^HTTP\/1.1 \([0-9]*\) .*/\1/p' | xargs)
    exec 4>&-
    [[ $said == "$*" ]] || die "to $(head -c 60 <<<"$request") it said: $said"
}

smoke_http_server() {
    local said long
    work=$(mktemp -d)
    mkdir -p "$work/site/deep"
    head -c 300000 /dev/urandom >"$work/site/deep/large file"
    echo "<p>hello</p>" >"$work/site/index.html"
    mkfifo "$work/site/fifo"
    start_server "$dir/http_server" 127.0.0.1:0 "$work/site"

    # Without waiting for the first answer; `Connection: close` is the last.
    local host='Host: here\r\n' last='Host: here\r\nConnection: close\r\n\r\n'
    answers "GET /hello HTTP/1.1\r\n$host\r\nHEAD / HTTP/1.1\r\n$host\r\nGET /none HTTP/1.1\r\n$last" \
        200 200 404
    answers "GET /hello HTTP/1.0\r\n\r\n" 200
    answers "GET /fifo HTTP/1.1\r\n${host}\r\nGET /deep HTTP/1.1\r\n$last" 404 404
    answers "DELETE / HTTP/1.1\r\n${host}\r\nPOST / HTTP/1.1\r\nContent-Length: 2\r\n${host}\r\nab" 405 405
    answers "rubbish\r\n\r\n" 400
    answers "GET / HTTP/1.1\r\n\r\n" 400
    answers "GET / HTTP/1.1\r\n${host}Content-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n" 400
    answers "GET /%2e%2e/%2e%2e/etc/passwd HTTP/1.1\r\n$host\r\n" 400
    answers "GET / HTTP/3.0\r\n$host\r\n" 505
    printf -v long '%05000d' 0
    answers "GET /$long HTTP/1.1\r\n$host\r\n" 414
    answers "GET / HTTP/1.1\r\n${host}A: $long$long$long$long\r\n\r\n" 431

    # What the fuzzer starts from; the server lives on.
    local corpus file
    corpus=$(dirname "$0")/../test/corpus/http
    if command -v nc >/dev/null && nc -h 2>&1 | grep -q -- -N; then
        for file in "$corpus"/*; do
            timeout 10 nc -N 127.0.0.1 "${address##*:}" <"$file" >"$work/got" ||
                die "$file: nc exited with $?"
        done
        answers "GET /hello HTTP/1.1\\r\\n$last" 200
    else
        echo "no nc -N here: not tried"
    fi

    if command -v curl >/dev/null; then
        curl -sf -m 10 -o "$work/got" "http://$address/deep/large%20file"
        cmp "$work/got" "$work/site/deep/large file" || die "the file differs"
        said=$(curl -sv -m 10 "http://$address/" "http://$address/hello" 2>&1 | tr -d '\r')
        [[ $said == *"<p>hello</p>"*"Re-using existing connection"*"hello, world"* ]] ||
            die "keep-alive: $said"
        said=$(curl -sI -m 10 "http://$address/deep/large%20file" | tr -d '\r')
        [[ $said == "HTTP/1.1 200 OK"*"Content-Length: 300000"* ]] || die "HEAD: $said"
        said=$(curl -s -m 10 --path-as-is -w '%{http_code}' "http://$address/../../etc/passwd")
        [[ $said == $'Bad Request\n400' ]] || die "traversal: $said"
    else
        echo "no curl here: not tried"
    fi
    if command -v wrk >/dev/null; then
        said=$(timeout 30 wrk -t1 -c64 -d"$seconds" "http://$address/hello")
        echo "$said"
        [[ $said == *"requests in"* && $said != *"Non-2xx"* && $said != *"Socket errors"* ]] ||
            die "wrk was not content"
    else
        echo "no wrk here: not tried"
    fi
    stop_server
}
