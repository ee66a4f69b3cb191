"""The regression gate: cgrun is compared with bwrap in the same run, so the speed of the machine does not matter."""

import sys

from bench_run import contenders, in_turns, run
from bench_table import CGRUN, Row, show

ROUNDS = 60
# A busy machine can spoil one try.
TRIES = 3
# The static build is at about 0.7. Three times as much is not noise.
CEILING = 2.0


def gate(builds):
    """The exit code."""
    for _ in range(TRIES):
        pairs, missing = contenders(builds)
        if missing:
            print(f"bench: there is nothing to compare with: {missing}", file=sys.stderr)
            return 1
        in_turns(pairs, ROUNDS, run)
        row = show(Row("`true`, back to back", [column for column, _ in pairs], adds=True))
        ratio = row.ratio(row.of(CGRUN))
        if ratio is not None and ratio <= CEILING:
            return 0
    print(f"bench: cgrun adds more than {CEILING} times what bwrap adds", file=sys.stderr)
    return 1
