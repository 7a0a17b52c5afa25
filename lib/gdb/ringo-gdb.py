"""Goroutines in gdb, of a live process or a core dump, with or without debug information.

    ringo goroutines    every goroutine: its state, and where it is
    ringo trace ID      the chain of co_await places of one

gdb finds it in the program, or beside an installed shared library: see docs/debugging.md. By hand:
source .../ringo-gdb.py
"""

import struct

import gdb

LAYOUT_VERSION = 1
LAYOUT = (
    "version shard_next shard_index shard_current shard_frame shard_scopes scope_next"
    " scope_goroutines goroutine_next goroutine_frame goroutine_waiting goroutine_id"
    " goroutine_made_by wait_type type_name promise_where promise_caller"
).split()
FRAME_PROMISE = 16  # behind the two pointers that each compiler's frames begin with
LINE_SHIFT = 49  # of a call_site that holds the line itself
TRACE_MAX = 1000


def read(address, code):
    data = gdb.selected_inferior().read_memory(address, struct.calcsize(code))
    return struct.unpack(code, data)[0]


def pointer(address):
    return read(address, "@Q")


def text(address):
    """A string that ends in a zero."""
    data = b""
    while len(data) < 4096:
        # Not beyond the page: the next may not be there.
        step = 64 - address % 64
        data += bytes(gdb.selected_inferior().read_memory(address, step))
        address += step
        if b"\0" in data:
            break
    return data.split(b"\0")[0].decode("utf-8", "replace")


def readable(function):
    """Its name, of what compilers spell with type, parameters, and g++ with the frame."""
    if "lambda" in function:
        return function
    for nameless in ("(anonymous namespace)::", "{anonymous}::"):
        function = function.replace(nameless, "")
    name = function.split("(")[0]
    depth = 0
    for i in range(len(name) - 1, -1, -1):
        depth += (name[i] == ">") - (name[i] == "<")
        if name[i] == " " and depth == 0:
            return name[i + 1 :]
    return name


def symbol(name):
    try:
        return int(gdb.parse_and_eval("(unsigned long)&" + name))
    except gdb.error:
        raise gdb.GdbError("there is no ringo in this program, or it has not been started")


class Layout:
    def __init__(self):
        table = symbol("ringo_debug_layout")
        for i, name in enumerate(LAYOUT):
            setattr(self, name, read(table + 4 * i, "@I"))
        if self.version != LAYOUT_VERSION:
            raise gdb.GdbError("this script and the program are of different versions of ringo")


def is_site(value):
    return value & 1 != 0


class Place:
    """A ringo::detail::call_site: a place in the source."""

    def __init__(self, bits):
        self.function = ""
        self.file = ""
        self.line = bits >> LINE_SHIFT
        if bits == 1:
            return
        if self.line != 0:
            self.file = text((bits & ((1 << LINE_SHIFT) - 1)) >> 1)
            return
        data = bits - 1
        self.file = text(pointer(data))
        function = pointer(data + 8)
        self.function = readable(text(function)) if function != 0 else ""
        self.line = read(data + 16, "@I")

    def __str__(self):
        if not self.file:
            return "unknown place"
        return "{}:{}".format(self.file, self.line)


class Goroutine:
    def __init__(self, layout, core, shard, address):
        self.core = core
        self.id = read(address + layout.goroutine_id, "@I")
        self.made_by = read(address + layout.goroutine_made_by, "@I")
        running = pointer(shard + layout.shard_current) == address
        frame = pointer(address + layout.goroutine_frame)
        waiting = pointer(address + layout.goroutine_waiting)
        if running:
            self.state = "running"
            frame = pointer(shard + layout.shard_frame) or frame
        elif waiting != 0:
            self.state = text(pointer(pointer(waiting + layout.wait_type) + layout.type_name))
        else:
            self.state = "runnable"
        self.running = running
        self.trace = []
        while frame != 0 and not is_site(frame) and len(self.trace) < TRACE_MAX:
            promise = frame + FRAME_PROMISE
            self.trace.append(Place(pointer(promise + layout.promise_where)))
            frame = pointer(promise + layout.promise_caller)
        self.made = Place(frame if is_site(frame) else 1)


def goroutines():
    layout = Layout()
    shard = pointer(symbol("ringo_debug_shards"))
    found = []
    while shard != 0:
        core = read(shard + layout.shard_index, "@H")
        scope = pointer(shard + layout.shard_scopes)
        while scope != 0:
            address = pointer(scope + layout.scope_goroutines)
            while address != 0:
                found.append(Goroutine(layout, core, shard, address))
                address = pointer(address + layout.goroutine_next)
            scope = pointer(scope + layout.scope_next)
        shard = pointer(shard + layout.shard_next)
    return sorted(found, key=lambda g: g.id)


class RingoCommand(gdb.Command):
    """Goroutines of a program that uses ringo."""

    def __init__(self):
        super().__init__("ringo", gdb.COMMAND_STATUS, gdb.COMPLETE_NONE, True)


class GoroutinesCommand(gdb.Command):
    """ringo goroutines: every goroutine, its state, and where it is."""

    def __init__(self):
        super().__init__("ringo goroutines", gdb.COMMAND_STATUS)

    def invoke(self, argument, from_tty):
        del argument, from_tty
        for g in goroutines():
            place = g.trace[0] if g.trace else g.made
            what = "" if g.trace else "made at "
            print("{:6}  core {}  {:16}  {}{}".format(g.id, g.core, g.state, what, place))


class TraceCommand(gdb.Command):
    """ringo trace ID: the chain of co_await places of a goroutine, the innermost first.

Of one that runs, the first is where it was suspended last; where it is now, the backtrace of its
core's thread shows."""

    def __init__(self):
        super().__init__("ringo trace", gdb.COMMAND_STATUS)

    def invoke(self, argument, from_tty):
        del from_tty
        if not argument.strip().isdigit():
            raise gdb.GdbError("usage: ringo trace ID, with an ID of `ringo goroutines`")
        found = [g for g in goroutines() if g.id == int(argument)]
        if not found:
            raise gdb.GdbError("there is no goroutine {}".format(argument.strip()))
        for g in found:
            print("goroutine {} [{}], core {}:".format(g.id, g.state, g.core))
            for place in g.trace:
                if place.function:
                    print(place.function)
                print("    {}".format(place))
            maker = " by goroutine {}".format(g.made_by) if g.made_by else ""
            if g.made.function:
                print("made{} in {}".format(maker, g.made.function))
            else:
                print("made{}".format(maker))
            print("    {}".format(g.made))


RingoCommand()
GoroutinesCommand()
TraceCommand()
