//! Buildbot: a master and two workers.
