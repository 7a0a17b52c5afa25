#!/usr/bin/env python3
"""Measures ringo beside its peers: the same workloads, taking turns.

    perf/run.sh                      every size; allow an hour
    perf/run.sh --quick              one size of each workload, under three minutes once built
    perf/run.sh --only 'chan|skynet' the groups (perf/GROUP.cpp) that match
    perf/run.sh --against HEAD~10    this ringo beside an older one, no peers

Each turn runs every system once, A B C A B C, so that what the machine does meanwhile hits all
alike. A run gives the median of its rounds; a result is the median of the turns; a ratio is the
median of the ratios within each turn.
"""

import argparse
import os
import pathlib
import re
import sys
import time

import compiling
import echo
import hello
import network
import report
import systems
import workloads


def build(arguments, groups):
    """ringo first: the others are compared with it."""
    if arguments.built:
        systems.ringo_build = arguments.built.resolve()
    built = [systems.ringo(groups=None if arguments.built else groups)]
    if arguments.against:
        return [*built, systems.older_ringo(arguments.against, groups)]
    for name, peer in systems.PEERS.items():
        if not re.search(arguments.peers, name):
            continue
        try:
            built.append(peer())
        except systems.Skip as reason:
            print(f"skipped {name}: {reason}")
    return built


def parse_arguments():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--quick", action="store_true", help="under three minutes")
    add("--only", default="", metavar="PATTERN", help="a regular expression that a group's name matches")
    add("--against", metavar="GIT_REV", help="compare with that revision of ringo")
    add("--peers", default="", metavar="PATTERN", help=f"of {', '.join(systems.PEERS)}")
    add("--built", type=pathlib.Path, metavar="DIRECTORY", help="where this ringo is built already")
    add("--turns", type=int, help="5, or 3 when quick")
    add("--output", type=pathlib.Path, default=systems.BUILD, metavar="DIRECTORY",
        help="of RESULTS.md and results/, its pictures and raw data (build/perf)")
    add("--no-install", action="store_true", help="use what is installed")
    arguments = parser.parse_args()
    arguments.turns = arguments.turns or (3 if arguments.quick else 5)
    return arguments


def main():
    arguments = parse_arguments()
    everything = {**workloads.GROUPS, **network.GROUPS, **hello.GROUPS, **compiling.GROUPS}
    groups = [group for group in everything if re.search(arguments.only, group)]
    if not groups:
        sys.exit(f"no group matches {arguments.only}; there are: {', '.join(everything)}")
    load = os.getloadavg()[0]
    print("Building", file=sys.stderr)
    chosen = build(arguments, [group for group in groups if group in workloads.GROUPS])
    echo.allow_many_files()
    os.environ["RINGO_CORES"] = "1"  # of the echo server; the programs say how many they want
    start = time.monotonic()
    samples = []
    for group in groups:
        module = next(m for m in (workloads, network, hello, compiling) if group in m.GROUPS)
        samples += module.measure(group, chosen, arguments.turns, arguments.quick)
    results = {
        "machine": echo.machine(),
        "date": time.strftime("%Y-%m-%d"),
        "command": "perf/run.sh " + " ".join(sys.argv[1:]),
        "load": load,
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
