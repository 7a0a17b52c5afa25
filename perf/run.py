#!/usr/bin/env python3
"""Measures ringo beside its peers: the same workloads, taking turns.

    perf/run.sh                      everything, about half an hour
    perf/run.sh --quick              one size of each workload, under three minutes once built
    perf/run.sh --only 'chan|skynet' the groups (perf/GROUP.cpp) that match
    perf/run.sh --against HEAD~10    this ringo beside an older one, no peers

Each turn runs every system once, A B C A B C, so that what the machine does meanwhile hits all
alike. A run gives the median of its rounds; a result is the median of the turns; a ratio is the
median of the ratios within each turn.
"""

import argparse
import csv
import os
import pathlib
import platform
import re
import subprocess
import sys
import time

import report
import systems

RUN_SECONDS_MAX = 300
# Rounds in one run, bounded by operations too: small sizes are repeated more often.
ROUNDS_MAX = 11

# group: its sizes in full; the operations after which a run has had enough rounds. Quick takes
# the last size but one.
MILLION = [1_000, 10_000, 100_000, 1_000_000]
GROUPS = {
    "spawn": (MILLION, 3_000_000),
    "switch": (MILLION, 5_000_000),
    "chan": (MILLION, 3_000_000),
    "two_cores": (MILLION, 3_000_000),
    "mutex": (MILLION, 5_000_000),
    "context": (MILLION, 1_000_000),
    "parked": (MILLION, 1_000_000),
    "sleepers": (MILLION, 1_000_000),
    "timers": (MILLION, 1_000_000),
    "skynet": (MILLION, 1_000_000),
    "sieve": ([250, 500, 1_000, 2_500], 1),
    "gates": (MILLION, 3_000_000),
    "groups": (MILLION, 3_000_000),
}


def run_once(system, group, size, rounds):
    """One process: a dict for each of its lines. Empty when the system has no such workload."""
    program = system.program(group)
    if not program:
        return []
    command = [*map(str, program), str(size), str(rounds)]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, timeout=RUN_SECONDS_MAX,
                          check=True)
    rows = csv.reader(done.stdout.splitlines(), delimiter="\t")
    titles, *lines = [[cell.strip() for cell in row] for row in rows] or [[]]
    return [dict(zip(titles, line)) for line in lines]


def sample(system, group, turn, line):
    numbers = {key: float(line[key]) for key in ("median", "min", "max", "first")}
    return {"group": group, "workload": line["workload"], "size": int(line["n"]),
            "unit": line["unit"], "system": system.name, "turn": turn,
            "checksum": line["checksum"], **numbers}


def measure(arguments, group, chosen):
    sizes, operations = GROUPS[group]
    samples = []
    for size in sizes[-2:-1] if arguments.quick else sizes:
        rounds = max(1, min(3 if arguments.quick else ROUNDS_MAX, operations // size))
        for turn in range(arguments.turns):
            for system in list(chosen):
                try:
                    lines = run_once(system, group, size, rounds)
                except (subprocess.SubprocessError, OSError) as error:
                    print(f"{group} {size}: {system.name} dropped: {error}", file=sys.stderr)
                    lines = []
                if not lines:
                    chosen = [other for other in chosen if other != system]
                samples += [sample(system, group, turn, line) for line in lines]
        print(f"{group} {size:,}: {arguments.turns} turns of {rounds} rounds, "
              f"{', '.join(system.name for system in chosen)}", file=sys.stderr)
    return samples


def machine():
    info = pathlib.Path("/proc/cpuinfo").read_text().splitlines()
    models = [line.partition(":")[2].strip() for line in info if line.startswith("model name")]
    model = models[0] if models else platform.machine()
    kernel = f"{platform.system()} {platform.release().partition('-')[0]}"
    return f"{kernel}, {os.cpu_count()} x {model}"


def build(arguments, groups):
    """ringo first: the others are compared with it."""
    built = [systems.ringo(groups)]
    if arguments.against:
        return [*built, systems.older_ringo(arguments.against, groups)]
    for name, peer in systems.PEERS.items():
        try:
            built.append(peer(groups))
        except systems.Skip as reason:
            print(f"skipped {name}: {reason}")
    return built


def parse_arguments():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--quick", action="store_true", help="under three minutes")
    add("--only", default="", metavar="PATTERN", help="a regular expression, searched in groups")
    add("--against", metavar="GIT_REV", help="compare with that revision of ringo")
    add("--turns", type=int, help="5, or 3 when quick")
    add("--output", type=pathlib.Path, default=systems.BUILD, metavar="DIRECTORY",
        help="of RESULTS.md, results.json and the pictures (build/perf)")
    add("--no-install", action="store_true", help="use what is installed")
    arguments = parser.parse_args()
    arguments.turns = arguments.turns or (3 if arguments.quick else 5)
    return arguments


def main():
    arguments = parse_arguments()
    groups = [group for group in GROUPS if re.search(arguments.only, group)]
    if not groups:
        sys.exit(f"no group matches {arguments.only}; there are: {', '.join(GROUPS)}")
    print("Building", file=sys.stderr)
    chosen = build(arguments, groups)
    start = time.monotonic()
    samples = []
    for group in groups:
        samples += measure(arguments, group, chosen)
    results = {
        "machine": machine(),
        "date": time.strftime("%Y-%m-%d"),
        "command": "perf/run.sh " + " ".join(sys.argv[1:]),
        "seconds": round(time.monotonic() - start),
        "systems": {system.name: system.version for system in chosen},
        "samples": samples,
    }
    report.write(results, arguments.output)
    print((arguments.output / "RESULTS.md").read_text())


if __name__ == "__main__":
    try:
        main()
    except systems.Skip as failure:
        sys.exit(f"perf/run.py: {failure}")
