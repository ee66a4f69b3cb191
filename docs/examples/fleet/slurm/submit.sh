#!/bin/sh
# Submits the shards, and a job that merges their reports as soon as all of them have ended, in whatever way.
set -e
suite=$(sbatch --parsable suite.sbatch)
sbatch --dependency="afterany:$suite" merge.sbatch "$suite" 4
