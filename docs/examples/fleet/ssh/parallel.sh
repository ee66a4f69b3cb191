#!/bin/sh
# Runs a suite in shards on several hosts, and makes one report of theirs: parallel.sh HOST,HOST... SHARDS COMMAND...
# In the command, {} is the number of the shard.
set -eu
hosts=$1 shards=$(seq "$2") night=night-$(date +%F-%H%M%S) failed=0
shift 2
mkdir "$night"

# Without exec, the death of the far shell lets parallel kill cgrun at once.
echo "$shards" | cgrun parallel --jobs 1 --sshlogin "$hosts" --termseq TERM,9000,KILL,25 \
    exec cgrun --stop-within 8s --report "json=$night/{}.json" "$@" || failed=$?

for host in $(echo "$hosts" | tr , ' '); do
    # A session that has ended with its connection can still be writing its report.
    ssh -n "$host" "timeout 20 sh -c 'while cgrun sessions | grep -qw live; do sleep 0.2; done'" || true
    scp -q "$host:$night/*.json" "$night" || echo "no report on $host" >&2
done
# A report that is missing is named, and makes this fail.
for shard in $shards; do echo "$night/$shard.json"; done |
    cgrun merge --files-from - --json "$night.json" || failed=1
exit "$failed"
