"""The regression gate: cgrun is compared with bwrap in the same run, so the speed of the machine does not matter."""

import sys

from bench_run import contenders, in_turns, run
from bench_table import CGRUN, PEER, Row, show

ROUNDS = 60
# cgrun is at about 1. Three times as much is no noise.
CEILING = 3.0


def gate(builds):
    """The exit code."""
    pairs, missing = contenders(builds)
    if missing:
        print(f"bench: there is nothing to compare with: {missing}", file=sys.stderr)
        return 1
    in_turns(pairs, ROUNDS, run)
    row = show(Row("`true`, back to back", [column for column, _ in pairs], adds=True))
    ratio = row.ratio(row.of(CGRUN))
    if ratio is None:
        print(f"bench: {row.of(PEER).name} was not slower than `true`, so nothing was measured", file=sys.stderr)
        return 1
    if ratio > CEILING:
        print(f"bench: cgrun adds {ratio:.2f} times what bwrap adds; the limit is {CEILING}", file=sys.stderr)
        return 1
    return 0
