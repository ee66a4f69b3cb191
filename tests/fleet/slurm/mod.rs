//! Slurm: a controller and two nodes, `proctrack/cgroup` with cgroup v2, and jobs of root and of others.

mod cluster;
mod ended;
mod job;
mod lost;
mod random;
mod shards;
