#!/usr/bin/env python3
"""What does an HTTP request cost: CPU time of several servers that say hello, side by side.

    perf/hello.py --server ringo='build/perf/samples/http_server 127.0.0.1:0' \\
                  --server Go='build/perf/go/peer http 127.0.0.1:0' --server nginx=nginx

A server is any program that prints `listening HOST:PORT` and answers GET /hello, or nginx, which
gets a configuration with one worker, no log and `return 200`. It runs on CPU 0 and wrk on CPU 1. The
servers take turns; a ratio pairs two runs of one round.
"""

import argparse
import os
import pathlib
import re
import resource
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time

import echo

NGINX = """
daemon off;
master_process off;
worker_processes 1;
error_log stderr crit;
pid {folder}/pid;
events {{ worker_connections 4096; }}
http {{
    access_log off;
    keepalive_requests 1000000000;
    client_body_temp_path {folder}; proxy_temp_path {folder}; fastcgi_temp_path {folder};
    uwsgi_temp_path {folder}; scgi_temp_path {folder};
    server {{
        listen {address};
        location /hello {{ default_type text/plain; return 200 "hello, world\\n"; }}
    }}
}}
"""


class Server(echo.Process):
    """One that says where it listens, or nginx, which is told."""

    def __init__(self, command):
        self.folder = tempfile.TemporaryDirectory()
        self.address = None
        if command == ["nginx"]:
            with socket.create_server(("127.0.0.1", 0)) as free:
                self.address = "127.0.0.1:%d" % free.getsockname()[1]
            path = pathlib.Path(self.folder.name) / "nginx.conf"
            path.write_text(NGINX.format(folder=self.folder.name, address=self.address))
            command = [shutil.which("nginx") or "/usr/sbin/nginx", "-p", self.folder.name, "-c",
                       str(path)]
        super().__init__(echo.SERVER_CPU, command)

    def __enter__(self):
        if not self.address:
            self.address = echo.address_of(self)
        host, _, port = self.address.rpartition(":")
        for _ in range(echo.START_SECONDS_MAX * 100):
            try:
                socket.create_connection((host, int(port))).close()
                return self
            except OSError:
                time.sleep(0.01)
        raise echo.Failure(f"{self.command[0]}: nobody listens at {self.address}")

    def __exit__(self, *exception):
        super().__exit__(*exception)
        self.folder.cleanup()


def measure_one(command, connections, seconds):
    """One run: the server's CPU us per request, requests per second, and the latency's 99 %."""
    with Server(command) as server:
        wrk = ["taskset", "-c", str(echo.CLIENT_CPU), "wrk", "-t1", f"-c{connections}",
               f"-d{seconds:g}s", "--latency", f"http://{server.address}/hello"]
        start_ns = server.cpu_ns()
        said = subprocess.run(wrk, stdout=subprocess.PIPE, text=True, check=True,
                              timeout=seconds + echo.CLIENT_SECONDS_EXTRA).stdout
        cpu_ns = server.cpu_ns() - start_ns
    if "Non-2xx" in said or "Socket errors" in said:
        raise echo.Failure(f"{command[0]}: {said}")
    requests = int(re.search(r"(\d+) requests in", said)[1])
    number, unit = re.search(r"99%\s+([\d.]+)(us|ms|s)", said).groups()
    p99_us = float(number) * {"us": 1, "ms": 1e3, "s": 1e6}[unit]
    return {"cpu_us": cpu_ns / 1000 / requests, "rps": requests / seconds, "p99_us": p99_us}


# --- for perf/run.py ---

GROUPS = {"http": (1, 64, 1_000)}
SECONDS = 2
ROWS = {"cpu_us": ("HTTP hello, CPU, a request", "us"),
        "p99_us": ("HTTP hello, latency, 99 %", "us")}


def measure(group, chosen, turns, quick):
    samples = []
    servers = [system for system in chosen if system.http]
    if not shutil.which("wrk"):
        print(f"skipped {group}: no wrk here", file=sys.stderr)
        return samples
    for connections in GROUPS[group][1:2] if quick else GROUPS[group]:
        for turn in range(turns):
            for system in list(servers):
                try:
                    found = measure_one(list(map(str, system.http)), connections,
                                        1 if quick else SECONDS)
                except (echo.Failure, subprocess.SubprocessError) as error:
                    print(f"{group} {connections}: {system.name} dropped: {error}", file=sys.stderr)
                    servers.remove(system)
                    continue
                for key, (workload, unit) in ROWS.items():
                    samples.append({"group": group, "workload": workload, "size": connections,
                                    "unit": unit, "system": system.name, "turn": turn,
                                    "checksum": "", "median": found[key]})
        print(f"{group}, {connections:,} connections: {turns} turns, "
              f"{', '.join(system.name for system in servers)}", file=sys.stderr)
    return samples


# --- by itself ---


def parse_arguments():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--server", action="append", required=True, type=echo.named_command, metavar="NAME=CMD")
    add("--connections", type=int, default=64)
    add("--seconds", type=int, default=2)
    add("--rounds", type=int, default=5)
    return parser.parse_args()


def main():
    arguments = parse_arguments()
    costs = {server.name: [] for server in arguments.server}
    for _ in range(arguments.rounds):
        for server in arguments.server:
            found = measure_one(server.command, arguments.connections, arguments.seconds)
            costs[server.name].append(found["cpu_us"])
            print(f"{server.name} {found['cpu_us']:.2f} us, {found['rps']:.0f}/s", file=sys.stderr)
    first = costs[arguments.server[0].name]
    print(f"| server | CPU us per request, best / median | to {arguments.server[0].name}, paired |")
    print("|---|---|---|")
    for name, cost in costs.items():
        ratio = statistics.median(own / other for own, other in zip(cost, first))
        print(f"| {name} | {min(cost):.2f} / {statistics.median(cost):.2f} | {ratio:.2f} |")
    print(f"\n{arguments.connections} connections, {arguments.rounds} rounds of "
          f"{arguments.seconds} s; {echo.machine()}")


if __name__ == "__main__":
    try:
        main()
    except echo.Failure as failure:
        sys.exit(f"hello.py: {failure}")
