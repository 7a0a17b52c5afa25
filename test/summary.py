#!/usr/bin/env python3
"""Usage: summary.py BUILD_DIR/meson-logs/testlog.json

Sums the doctest cases over all programs of one `meson test` run; any other test
counts as one case. The last line printed is `N passed, N failed`.
"""

import json
import re
import sys

CASES = re.compile(r"^\[doctest\] test cases: +\d+ \| +(\d+) passed \| +(\d+) failed", re.M)
SKIP = re.compile(r"^SKIP: .*$", re.M)


def count(test):
    """(passed, failed, skipped) of one program."""
    output = test.get("stdout") or ""
    ok = test["result"] in ("OK", "EXPECTEDFAIL")
    skip = test["result"] == "SKIP"
    lines = CASES.findall(output)
    if not lines:
        return int(ok), int(not ok and not skip), int(skip)
    skips = len(SKIP.findall(output))
    passed = sum(int(line[0]) for line in lines) - skips
    failed = sum(int(line[1]) for line in lines)
    # It reported success and then died, or ran out of time: that is a failure too.
    if not ok and not skip and failed == 0:
        failed = 1
    return passed, failed, skips


def main():
    total = [0, 0, 0]
    with open(sys.argv[1], encoding="utf-8") as log:
        tests = [json.loads(line) for line in log]
    for test in tests:
        total = [a + b for a, b in zip(total, count(test))]
        for reason in SKIP.findall(test.get("stdout") or ""):
            print(f"{test['name']}: {reason}")
        if test["result"] not in ("OK", "EXPECTEDFAIL", "SKIP"):
            print(f"{test['name']}: {test['result']}")
    print(f"{len(tests)} programs, {total[2]} cases skipped")
    print(f"{total[0]} passed, {total[1]} failed")
    return 1 if total[1] or not tests else 0


if __name__ == "__main__":
    sys.exit(main())
