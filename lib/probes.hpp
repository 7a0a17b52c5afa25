// Static probes for bpftrace, perf and gdb (USDT): a nop each, and a note in the library that says
// where its arguments are. Only lib/ has them: what users compile is the same with and without.
#pragma once

#if defined(RINGO_SDT)
// In registers: clang would copy an argument that may lie in memory onto the stack first. A file
// whose arguments all lie in memory anyway defines this anew, as m, and they need not be loaded.
#define STAP_SDT_ARG_CONSTRAINT nr
#include <sys/sdt.h>
#define RINGO_PROBE1(name, a) DTRACE_PROBE1(ringo, name, a)
#define RINGO_PROBE2(name, a, b) DTRACE_PROBE2(ringo, name, a, b)
#define RINGO_PROBE3(name, a, b, c) DTRACE_PROBE3(ringo, name, a, b, c)
#else
#define RINGO_PROBE1(name, a) static_cast<void>(0)
#define RINGO_PROBE2(name, a, b) static_cast<void>(0)
#define RINGO_PROBE3(name, a, b, c) static_cast<void>(0)
#endif
