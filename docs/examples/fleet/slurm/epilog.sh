#!/bin/sh
# Epilog= in slurm.conf: slurmd runs it as root on each node of a job that has ended. A failure drains the node. So it fails
# only if something of a session can survive: no other job should start beside that. The rest is only logged.

# Slurm sets none.
PATH=${PATH:+$PATH:}/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin
export PATH
[ -n "${SLURM_JOB_USER-}" ] || exit 0

for step in /sys/fs/cgroup/system.slice/*slurmstepd.scope/"job_${SLURM_JOB_ID-}"/step_*; do
    # Slurm removes that in a moment, unless slurmstepd was killed: then no signal of Slurm's reaches the step any more.
    for _ in 1 2 3 4 5 6 7 8 9 10; do
        [ ! -d "$step/slurm" ] || sleep 0.2
    done
    [ -d "$step/slurm" ] || continue
    for session in "$step"/user/cgrun-???????? "$step"/user/task_*/cgrun-????????; do
        [ ! -d "$session" ] || timeout --kill-after=5s 30s cgrun stop --grace 5s "${session##*/cgrun-}"
    done
    echo 1 >"$step/cgroup.kill"
done
# The sessions whose cgrun and guardian were both killed. Only their user ends them; live ones are left alone.
said=$(timeout --kill-after=5s 60s runuser -u "$SLURM_JOB_USER" -- cgrun sweep 2>&1)
code=$?
[ "$code" -eq 0 ] || logger -t cgrun-epilog -- "job ${SLURM_JOB_ID-}: cgrun sweep failed with $code: $said" 2>/dev/null
[ "$code" -ne 122 ]
