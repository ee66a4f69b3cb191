#!/bin/sh
# Distributes the tests in a directory over several hosts: xdist.sh HOST,HOST... DIRECTORY [OPTION OF PYTEST]...
# Each host needs pytest for its python3.
set -eu
hosts=$(echo "$1" | tr , ' ') tests=$(realpath "$2") night=night-$(date +%F-%H%M%S) failed=0
shift 2
mkdir "$night"

for host in $hosts; do
    python="exec cgrun --end-with-parent --stop-within 8s --report json=$night/$host.json ${PYTHON:-python3}"
    set -- "$@" --tx "ssh=$host//chdir=$night//python=$python"
done
cgrun pytest --dist load "$@" --rsyncdir "$tests" "$tests" || failed=$?

for host in $hosts; do
    # A session that has ended with its connection is still writing its report.
    ssh -n "$host" "timeout 20 sh -c 'while cgrun sessions | grep -qw live; do sleep 0.2; done'" || true
    scp -q "$host:$night/$host.json" "$night" || echo "no report of $host" >&2
done
cgrun merge "$night"/*.json --json "$night.json"
exit "$failed"
