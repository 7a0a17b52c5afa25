"""Runs the programs of perf/GROUP.cpp and what does the same in perf/vs, taking turns."""

import csv
import pathlib
import shutil
import subprocess
import sys
import tempfile

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
    "select_many": ([10, 100, 1_000, 10_000], 100_000),
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
    "files": (MILLION, 1_000_000),
}
# What only the first system is asked, since it would not fit a usual machine for some other.
ALONE = {"parked": [10_000_000]}


def copied(program, system, turn, folder):
    """The command, from a copy of the program for this turn. Where the pages of a file come to lie in
    memory is luck, the same for all its runs, and makes up to 30 percent."""
    copy = pathlib.Path(folder, f"{system.name}-{turn}")
    if not copy.exists():
        shutil.copy(program[0], copy)
    return [copy, *program[1:]]


def run_once(system, group, size, rounds, turn, folder):
    """One process: a dict for each of its lines. Empty when the system has no such workload."""
    program = system.program(group)
    if not program:
        return []
    command = [*map(str, copied(program, system, turn, folder)), str(size), str(rounds)]
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


def measure(group, chosen, turns, quick):
    with tempfile.TemporaryDirectory() as folder:
        return measure_in(folder, group, chosen, turns, quick)


def measure_in(folder, group, chosen, turns, quick):
    sizes, operations = GROUPS[group]
    samples = []
    sizes = sizes[-2:-1] if quick else [*sizes, *ALONE.get(group, [])]
    for size in sizes:
        chosen = chosen[:1] if size in ALONE.get(group, []) else chosen
        rounds = max(1, min(3 if quick else ROUNDS_MAX, operations // size))
        for turn in range(turns):
            for system in list(chosen):
                try:
                    lines = run_once(system, group, size, rounds, turn, folder)
                except (subprocess.SubprocessError, OSError) as error:
                    print(f"{group} {size}: {system.name} dropped: {error}", file=sys.stderr)
                    lines = []
                if not lines:
                    chosen = [other for other in chosen if other != system]
                samples += [sample(system, group, turn, line) for line in lines]
        print(f"{group} {size:,}: {turns} turns of {rounds} rounds, "
              f"{', '.join(system.name for system in chosen)}", file=sys.stderr)
    return samples
