//! What the shards run, if a test is to end them: the suite of the fleet, once for each attempt to build the shard.

use std::path::{Path, PathBuf};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::fleet::suite::Suites;
use crate::harness::until;

/// Longer than any test.
pub(super) const LONG: f64 = 600.0;
pub(super) const SHORT: f64 = 0.3;

/// The script of a repository that runs it. `jobs` has a directory for each shard, which says for how long it runs.
pub(super) fn script() -> String {
    let suite = crate::fleet::root().join("scripts/lib/fleet_suite.py");
    format!(
        "#!/bin/sh\n\
         job={{farm}}/jobs/$1 attempt=1\n\
         until mkdir $job/$attempt 2>/dev/null; do attempt=$((attempt + 1)); done\n\
         echo $PPID >$job/$attempt/cgrun; pwd >$job/$attempt/where\n\
         [ ! -e $job/noisy ] || while sleep 0.2; do echo is running; done &\n\
         exec python3 {} $job/$attempt $1 $(cat $job/seconds)\n",
        suite.display()
    )
}

/// The attempts to build one shard.
pub(super) struct Shard {
    number: u32,
    directory: PathBuf,
}

impl Shard {
    pub(super) fn prepare(farm: &Path, number: u32, seconds: f64) -> Self {
        let directory = farm.join(format!("jobs/{number}"));
        std::fs::create_dir_all(&directory).unwrap();
        let shard = Self { number, directory };
        shard.set_seconds(seconds);
        shard
    }

    pub(super) fn number(&self) -> u32 {
        self.number
    }

    /// For the attempts that begin from now on.
    pub(super) fn set_seconds(&self, seconds: f64) {
        std::fs::write(self.directory.join("new"), seconds.to_string()).unwrap();
        std::fs::rename(self.directory.join("new"), self.directory.join("seconds")).unwrap();
    }

    /// It prints something all the time.
    pub(super) fn make_noisy(&self) {
        std::fs::write(self.directory.join("noisy"), "").unwrap();
    }

    /// How many attempts there were.
    pub(super) fn attempts(&self) -> u32 {
        (1..).take_while(|attempt| self.directory.join(attempt.to_string()).exists()).last().unwrap_or(0)
    }

    fn suites(&self, attempt: u32) -> Suites {
        Suites::within(&self.directory.join(attempt.to_string()))
    }

    pub(super) fn has_started(&self, attempt: u32) -> bool {
        attempt > 0 && attempt <= self.attempts() && self.suites(attempt).has_started(self.number)
    }

    /// Whether it ran to its end, instead of being ended.
    pub(super) fn has_ended(&self, attempt: u32) -> bool {
        self.suites(attempt).has_ended(self.number)
    }

    pub(super) fn until_started(&self, attempt: u32) {
        until(&format!("shard {}, attempt {attempt} has started", self.number), || self.has_started(attempt));
    }

    /// How many processes of an attempt are alive.
    pub(super) fn alive(&self, attempt: u32) -> usize {
        self.suites(attempt).alive().len()
    }

    pub(super) fn until_gone(&self, attempt: u32) {
        self.suites(attempt).until_all_are_gone();
    }

    /// The worker that runs it.
    pub(super) fn worker(&self, attempt: u32) -> usize {
        let place = self.read(attempt, "where");
        if place.contains("/worker1/") { 1 } else { 2 }
    }

    /// Where the worker runs it.
    pub(super) fn place(&self, attempt: u32) -> PathBuf {
        self.read(attempt, "where").into()
    }

    fn read(&self, attempt: u32, name: &str) -> String {
        let path = self.directory.join(attempt.to_string()).join(name);
        std::fs::read_to_string(path).unwrap().trim().to_string()
    }

    /// Kills its cgrun, and also the guardian of that, if neither is to see the other die. `false` if it has just exited.
    pub(super) fn kill_cgrun(&self, attempt: u32, with_guardian: bool) -> bool {
        let supervisor: i32 = self.read(attempt, "cgrun").parse().unwrap();
        if name(supervisor).as_deref() != Some("cgrun") {
            return false;
        }
        let mut victims = vec![supervisor];
        if with_guardian {
            victims.extend(guardian(supervisor));
        }
        let is_done = victims.len() == 1 + usize::from(with_guardian);
        for signal in [Signal::SIGSTOP, Signal::SIGKILL].into_iter().filter(|_| is_done) {
            victims.iter().for_each(|pid| _ = kill(Pid::from_raw(*pid), signal));
        }
        is_done
    }
}

fn name(pid: i32) -> Option<String> {
    std::fs::read_to_string(format!("/proc/{pid}/comm")).ok().map(|it| it.trim().to_string())
}

/// The child of a supervisor that leads a POSIX session, and is cgrun.
fn guardian(supervisor: i32) -> Option<i32> {
    let children = std::fs::read_to_string(format!("/proc/{supervisor}/task/{supervisor}/children")).ok()?;
    let mut children = children.split_whitespace().map(|pid| pid.parse::<i32>().unwrap());
    let leads = |pid: i32| nix::unistd::getsid(Some(Pid::from_raw(pid))) == Ok(Pid::from_raw(pid));
    children.find(|pid| name(*pid).as_deref() == Some("cgrun") && leads(*pid))
}
