"""Runs the echo servers, one thread on one CPU with the client on another, taking turns."""

import sys

import echo
import systems

# group: its loads. Quick takes some of them.
GROUPS = {
    "echo 64 B": [echo.Load(n, 64, 0.5) for n in (1, 64, 1_000, 10_000)],
    "echo 16 KiB": [echo.Load(n, 16384, 0.5) for n in (1, 64, 1_000)],
    # Short, since each leaves a port behind that is not free at once.
    "churn": [echo.Load(64, 64, 0.5, once=True)],
}
QUICK = (64, 1_000)
# Several in full: what else a virtual machine does disturbs a run in one place or another.
RUNS_IN_A_TURN = 4

# What a group's table has of echo.py's report: name, unit, from how many connections on.
ECHO_ROWS = {
    "cpu_us": ("CPU, a request", "us", 1),
    "p50_us": ("latency, median", "us", 1),
    "p99_us": ("latency, 99 %", "us", 1),
    "p999_us": ("latency, 99.9 %", "us", 1),
    "idle_bytes": ("an idle connection", "bytes", 1_000),
}
CHURN_ROWS = {"cpu_us": ("CPU, a connection and its echo", "us", 1)}


def samples_of(group, load, system, turn, found):
    for key, (workload, unit, connections_min) in (CHURN_ROWS if load.once else ECHO_ROWS).items():
        if load.connections >= connections_min:
            # The client compares each echo, so there is no sum to compare.
            yield {"group": group, "workload": workload, "size": load.connections, "unit": unit,
                   "system": system.name, "turn": turn, "checksum": "", "median": found[key]}


def measure(group, chosen, turns, quick):
    samples = []
    client = str(systems.ringo_build / "perf" / "echo_client")
    servers = [system for system in chosen if system.server]
    for load in GROUPS[group]:
        if quick and load.connections not in QUICK:
            continue
        runs = turns if quick or load.once else turns * RUNS_IN_A_TURN
        for turn in range(runs):
            for system in list(servers):
                try:
                    found = echo.measure(client, list(map(str, system.server)), load)
                except echo.Failure as error:
                    print(f"{group} {load}: {system.name} dropped: {error}", file=sys.stderr)
                    servers.remove(system)
                    continue
                samples += samples_of(group, load, system, turn, found)
        print(f"{group}, {load.connections:,} connections: {runs} runs of {load.seconds:g} s, "
              f"{', '.join(system.name for system in servers)}", file=sys.stderr)
    return samples
