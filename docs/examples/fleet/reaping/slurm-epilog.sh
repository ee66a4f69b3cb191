#!/bin/sh
# Epilog= in slurm.conf: slurmd runs it as root on each node of a job that has ended. It cleans up after the cgrun processes
# of the job's user that were killed together with their guardians; sessions that are alive are left alone.
#
# A failure drains the node. So it fails only if something of a session survives, or can survive: no other job should
# start beside that. Everything else is only logged.

cgrun=${CGRUN:-/usr/bin/cgrun}
[ -n "${SLURM_JOB_USER-}" ] || exit 0

said=$(timeout --kill-after=5s 60s runuser -u "$SLURM_JOB_USER" -- "$cgrun" sweep 2>&1)
code=$?
if [ "$code" -ne 0 ]; then
    logger -t cgrun-epilog -- "job ${SLURM_JOB_ID-}: cgrun sweep failed with $code: $said" 2>/dev/null
fi
[ "$code" -ne 122 ]
