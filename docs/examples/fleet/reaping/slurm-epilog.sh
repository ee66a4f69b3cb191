#!/bin/sh
# Epilog= in slurm.conf: slurmd runs it as root on each node of a job that has ended. A failure drains the node. So it fails
# only if something of a session survives, or can survive: no other job should start beside that. The rest is only logged.

# Slurm sets none.
PATH=${PATH:+$PATH:}/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin
export PATH
[ -n "${SLURM_JOB_USER-}" ] || exit 0

# A session that still lives has lost its slurmstepd, so that no signal of Slurm reaches it.
for session in /sys/fs/cgroup/system.slice/*slurmstepd.scope/"job_${SLURM_JOB_ID-}"/step_*/user/cgrun-????????; do
    [ ! -d "$session" ] || timeout --kill-after=5s 30s cgrun stop --grace 5s "${session##*/cgrun-}"
done
# Those whose cgrun and guardian were both killed. Only their user ends them; live ones are left alone.
said=$(timeout --kill-after=5s 60s runuser -u "$SLURM_JOB_USER" -- cgrun sweep 2>&1)
code=$?
[ "$code" -eq 0 ] || logger -t cgrun-epilog -- "job ${SLURM_JOB_ID-}: cgrun sweep failed with $code: $said" 2>/dev/null
[ "$code" -ne 122 ]
