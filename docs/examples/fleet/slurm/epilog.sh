#!/bin/sh
# Epilog of slurm.conf: runs as root on each node of a job, after Slurm has ended the job.

# A session that still lives has lost its slurmstepd, so that no signal of Slurm's reaches it.
for session in /sys/fs/cgroup/system.slice/*slurmstepd.scope/"job_$SLURM_JOB_ID"/step_*/user/cgrun-????????; do
    [ ! -d "$session" ] || /usr/local/bin/cgrun stop --grace 5s "${session##*/cgrun-}"
done
# Those whose cgrun and guardian are both dead. If this fails, Slurm drains the node.
exec /usr/local/bin/cgrun sweep
