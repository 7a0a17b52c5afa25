#!/usr/bin/env python3
"""Usage: embed.py [SCRIPT] HEADER
Writes a header that puts SCRIPT into a program, where gdb finds it:
https://sourceware.org/gdb/current/onlinedocs/gdb.html/dotdebug_005fgdb_005fscripts-section.html
"""

import json
import pathlib
import sys

PYTHON_TEXT = 4  # gdb's SECTION_SCRIPT_ID_PYTHON_TEXT


def assembly(script):
    # With names of its own: all scripts that gdb loads share one namespace.
    text = "gdb.inlined.ringo\nexec({!r}, {{'__name__': 'ringo'}})\n".format(script)
    # "MS": not in memory when the program runs; one copy, however often it is linked.
    yield '.pushsection .debug_gdb_scripts, "MS", @progbits, 1'
    yield ".byte {}".format(PYTHON_TEXT)
    for line in text.splitlines(keepends=True):
        yield ".ascii " + json.dumps(line)  # of ASCII: its escapes are the assembler's, too
    yield ".byte 0"
    yield ".popsection"


*scripts, header = map(pathlib.Path, sys.argv[1:])
lines = [line for path in scripts for line in assembly(path.read_text(encoding="ascii"))]
header.write_text('asm(R"asm(\n{}\n)asm");\n'.format("\n".join(lines)) if lines else "")
