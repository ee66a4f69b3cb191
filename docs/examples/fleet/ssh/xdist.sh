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
    # A session that has ended with its connection can still be writing its report.
    ssh -n "$host" "timeout 20 sh -c 'while cgrun sessions | grep -qw live; do sleep 0.2; done'" || true
    scp -q "$host:$night/$host.json" "$night" || echo "no report on $host" >&2
done
# A report that is missing is named, and makes this fail.
for host in $hosts; do echo "$night/$host.json"; done |
    cgrun merge --files-from - --json "$night.json" || failed=1
exit "$failed"
