#!/bin/sh
# Epilog of slurm.conf: runs as root on each node of a job, after Slurm has ended the job.

for step in /sys/fs/cgroup/system.slice/*slurmstepd.scope/"job_$SLURM_JOB_ID"/step_*; do
    # Slurm removes that in a moment, unless slurmstepd was killed: then no signal of Slurm's reaches the step any more.
    for _ in 1 2 3 4 5 6 7 8 9 10; do
        [ ! -d "$step/slurm" ] || sleep 0.2
    done
    [ -d "$step/slurm" ] || continue
    for session in "$step"/user/cgrun-???????? "$step"/user/task_*/cgrun-????????; do
        [ ! -d "$session" ] || /usr/local/bin/cgrun stop --grace 5s "${session##*/cgrun-}"
    done
    echo 1 >"$step/cgroup.kill"
done
# The sessions whose cgrun and guardian are both dead. If this fails, Slurm drains the node.
exec /usr/local/bin/cgrun sweep
