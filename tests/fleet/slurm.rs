//! Slurm: a controller and its nodes.
