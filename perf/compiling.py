"""What the headers cost a user's compiler: preprocessed lines, and the time of a file that has
nothing else."""

import shutil
import subprocess
import time

import systems

GROUPS = {"compile": ["g++", "clang++-14", "clang++-19"]}


def compile_with(compiler, system, *options):
    headers, found_by = system.headers
    source = "".join(f"#include <{header}>\n" for header in headers)
    command = [compiler, "-std=c++20", *found_by, "-x", "c++", "-", "-o", "-", *options]
    return subprocess.run(command, input=source.encode(), stdout=subprocess.PIPE, check=True).stdout


def costs(compiler, system):
    """Workload, unit, value."""
    lines = compile_with(compiler, system, "-E", "-P").count(b"\n")
    yield f"{compiler}, preprocessed", "lines", lines
    start = time.monotonic()
    compile_with(compiler, system, "-O2", "-S")
    yield f"{compiler} -O2", "ms", (time.monotonic() - start) * 1000


def measure(group, chosen, turns, quick):
    compilers = [systems.compiler()] if quick else filter(shutil.which, GROUPS[group])
    return [{"group": group, "workload": workload, "size": 1, "unit": unit, "system": system.name,
             "turn": turn, "checksum": "", "median": value}
            for compiler in compilers
            for turn in range(turns)
            for system in chosen if system.headers
            for workload, unit, value in costs(compiler, system)]
