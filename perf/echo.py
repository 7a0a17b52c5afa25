#!/usr/bin/env python3
"""What does a TCP echo cost: CPU time of several servers, side by side.

    perf/echo.py --server epoll='build/perf/echo_epoll 0' --server uring='build/perf/echo_uring 0' \
                 --server ringo='build/perf/echo_ringo 0' --reference uring

A server is any program that prints `listening HOST:PORT` and echoes. It runs on CPU 0 and
perf/vs/echo_client.c on CPU 1. The servers take turns, A B C A B C, so that what the machine does
meanwhile hits all alike; a ratio pairs two runs of one round, and the table has the median of
these.

CPU time is the run time of all the server's threads while the counted requests are under way,
kernel work on its behalf included. Above some number of requests per second the client is the
limit, so judge by CPU per request.
"""

import argparse
import collections
import glob
import json
import os
import pathlib
import platform
import resource
import select
import shlex
import signal
import statistics
import subprocess
import sys
import tempfile
import time

SERVER_CPU = 0
CLIENT_CPU = 1
START_SECONDS_MAX = 10
# What the client may need beside the measured seconds: connecting, warm-up, late echoes.
CLIENT_SECONDS_EXTRA = 60
CLIENT_SOURCE = pathlib.Path(__file__).parent / "vs" / "echo_client.c"

Server = collections.namedtuple("Server", "name command")
# once: a connection for each message, as many at a time.
Load = collections.namedtuple("Load", "connections bytes seconds once", defaults=[False])
Sample = collections.namedtuple(
    "Sample", "connections round server cpu_us rps p50_us p99_us p999_us requests checksum"
)


class Failure(Exception):
    pass


class Process:
    """A child pinned to one CPU. Its lines are read within a time bound, and it does not survive
    the `with` block."""

    def __init__(self, cpu, command):
        self.command = command
        self.unread = b""
        self.child = subprocess.Popen(
            ["taskset", "-c", str(cpu), *command],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            bufsize=0,
        )

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.child.terminate()
        try:
            self.child.wait(2)
        except subprocess.TimeoutExpired:
            self.child.kill()
            self.child.wait()
        self.child.stdout.close()

    def read_line(self, seconds_max):
        deadline = time.monotonic() + seconds_max
        while b"\n" not in self.unread:
            left = max(0, deadline - time.monotonic())
            if not select.select([self.child.stdout], [], [], left)[0]:
                raise Failure(f"{shlex.join(self.command)}: silent for {seconds_max:g} s")
            read = os.read(self.child.stdout.fileno(), 4096)
            if not read:
                raise Failure(f"{shlex.join(self.command)}: ended early")
            self.unread += read
        line, self.unread = self.unread.split(b"\n", 1)
        return line.decode()

    def resident_bytes(self):
        pages = pathlib.Path(f"/proc/{self.child.pid}/statm").read_text().split()[1]
        return int(pages) * os.sysconf("SC_PAGE_SIZE")

    def cpu_ns(self):
        """Run time of all threads. schedstat: run time ns, wait time ns, time slices."""
        paths = glob.glob(f"/proc/{self.child.pid}/task/*/schedstat")
        if not paths:
            raise Failure(f"{shlex.join(self.command)}: no schedstat")
        return sum(int(pathlib.Path(path).read_text().split()[0]) for path in paths)


def address_of(server):
    line = server.read_line(START_SECONDS_MAX)
    word, _, rest = line.partition(" ")
    if word != "listening":
        raise Failure(f"{shlex.join(server.command)}: expected `listening HOST:PORT`, got: {line}")
    return rest.split(",")[0].strip()  # more may follow, for people


def measure(client_path, server_command, load):
    """One run: the client's report, and in it the server's CPU us per request and the memory that
    it has got for each connection, all of which are idle after one echo or more."""
    with Process(SERVER_CPU, server_command) as server:
        sizes = [str(load.connections), str(load.bytes), str(load.seconds)]
        sizes += ["once"] if load.once else []
        address = address_of(server)
        before_bytes = server.resident_bytes()
        with Process(CLIENT_CPU, [client_path, address, *sizes]) as client:
            seconds_max = load.seconds + CLIENT_SECONDS_EXTRA
            # The client is quiet for 50 ms after each of these two lines.
            if client.read_line(seconds_max) != "go":
                raise Failure("the client did not say `go`")
            idle_bytes = server.resident_bytes() - before_bytes
            start_ns = server.cpu_ns()
            report = json.loads(client.read_line(seconds_max))
            end_ns = server.cpu_ns()
            if client.child.wait(seconds_max) != 0:
                what = f"{report['errors']} wrong or lost echoes"
                raise Failure(f"{shlex.join(server_command)}: {what}")
    report["cpu_us"] = (end_ns - start_ns) / 1000 / report["requests"]
    report["idle_bytes"] = idle_bytes / load.connections
    return report


def measure_all(arguments):
    samples = []
    for connections in arguments.connections:
        for round_number in range(arguments.rounds):
            for server in arguments.server:
                load = Load(connections, arguments.bytes, arguments.seconds)
                report = measure(arguments.client, server.command, load)
                fields = {name: report[name] for name in Sample._fields if name in report}
                samples.append(Sample(connections, round_number, server.name, **fields))
                print(f"{connections} connections, round {round_number + 1}: {server.name} "
                      f"{report['cpu_us']:.2f} us", file=sys.stderr)
    return samples


def paired_ratio(samples, name, reference):
    """Median over the rounds of CPU per request, `name` to `reference`."""
    cost = {(sample.round, sample.server): sample.cpu_us for sample in samples}
    rounds = {sample.round for sample in samples}
    return statistics.median(cost[i, name] / cost[i, reference] for i in rounds)


def summarise(samples, name, references):
    """One row: `samples` are those of one connection count, of all servers."""
    own = [sample for sample in samples if sample.server == name]
    return {
        "connections": own[0].connections,
        "server": name,
        "cpu_us_best": min(sample.cpu_us for sample in own),
        "cpu_us_median": statistics.median(sample.cpu_us for sample in own),
        "rps_median": statistics.median(sample.rps for sample in own),
        "p99_us_median": statistics.median(sample.p99_us for sample in own),
        "ratios": {reference: paired_ratio(samples, name, reference) for reference in references},
    }


def summarise_all(arguments, samples):
    rows = []
    for connections in arguments.connections:
        of_count = [sample for sample in samples if sample.connections == connections]
        for server in arguments.server:
            rows.append(summarise(of_count, server.name, arguments.reference))
    return rows


def print_table(rows, references):
    titles = ["connections", "server", "CPU us per request, best / median", "requests/s", "p99 us"]
    titles += [f"CPU to {reference}, paired" for reference in references]
    print("| " + " | ".join(titles) + " |")
    print("|" + "---|" * len(titles))
    for row in rows:
        cells = [
            f"{row['connections']:,}",
            row["server"],
            f"{row['cpu_us_best']:.2f} / {row['cpu_us_median']:.2f}",
            f"{row['rps_median']:,.0f}",
            f"{row['p99_us_median']:,.0f}",
        ]
        cells += [f"{row['ratios'][reference]:.3f}" for reference in references]
        print("| " + " | ".join(cells) + " |")


def machine():
    info = pathlib.Path("/proc/cpuinfo").read_text().splitlines()
    models = [line.partition(":")[2].strip() for line in info if line.startswith("model name")]
    model = models[0] if models else platform.machine()
    kernel = f"{platform.system()} {platform.release().partition('-')[0]}"
    return f"{kernel}, {os.cpu_count()} x {model}"


def build_client(directory):
    client = os.path.join(directory, "echo_client")
    command = ["cc", "-O2", "-std=gnu11", str(CLIENT_SOURCE), "-o", client]
    subprocess.run(command, check=True, timeout=60)
    return client


def named_command(text):
    name, equals, command = text.partition("=")
    if not (name and equals and command):
        raise argparse.ArgumentTypeError("expected NAME=CMD")
    return Server(name, shlex.split(command))


def counts(text):
    return [int(word) for word in text.split(",")]


def parse_arguments():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--server", action="append", required=True, type=named_command, metavar="NAME=CMD")
    add("--reference", action="append", default=[], metavar="NAME",
        help="a server to give ratios to, beside the first")
    add("--client", metavar="FILE", help="echo_client; built with cc when not given")
    add("--connections", type=counts, default=[1, 64, 1000], metavar="N,N")
    add("--bytes", type=int, default=64)
    add("--seconds", type=float, default=2)
    add("--rounds", type=int, default=5)
    add("--json", metavar="FILE", help="also write all samples and the table there")
    arguments = parser.parse_args()
    names = [server.name for server in arguments.server]
    arguments.reference = list(dict.fromkeys([names[0], *arguments.reference]))
    if len(set(names)) < len(names):
        parser.error("two servers have the same name")
    if not set(arguments.reference) <= set(names):
        parser.error("a reference is not the name of a server")
    if arguments.rounds < 1:
        parser.error("no rounds")
    return arguments


def run(arguments):
    samples = measure_all(arguments)
    rows = summarise_all(arguments, samples)
    print_table(rows, arguments.reference)
    rounds = f"{arguments.rounds} rounds of {arguments.seconds:g} s"
    print(f"\n{arguments.bytes} bytes, {rounds}; {machine()}")
    if arguments.json:
        report = {
            "machine": machine(),
            "bytes": arguments.bytes,
            "seconds": arguments.seconds,
            "rows": rows,
            "samples": [sample._asdict() for sample in samples],
        }
        pathlib.Path(arguments.json).write_text(json.dumps(report, indent=1) + "\n")


def allow_many_files():
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def main():
    arguments = parse_arguments()
    allow_many_files()
    os.sched_setaffinity(0, {CLIENT_CPU})
    # A SIGTERM unwinds the `with` blocks too.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    with tempfile.TemporaryDirectory() as directory:
        arguments.client = arguments.client or build_client(directory)
        run(arguments)


if __name__ == "__main__":
    try:
        main()
    except Failure as failure:
        sys.exit(f"echo.py: {failure}")
