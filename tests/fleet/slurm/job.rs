//! A job of the cluster, and its processes as the kernel's cgroups show them.

use std::path::PathBuf;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::cluster::Cluster;
use crate::fleet::suite::Suites;
use crate::harness::until;
use crate::witness::cgroups;

const NODES: [&str; 2] = ["n0", "n1"];

pub(super) struct Job<'a> {
    cluster: &'a Cluster,
    pub id: String,
}

impl Cluster {
    /// Submits a script with options of sbatch.
    pub(super) fn submit(&self, options: &[&str], script: &str) -> Job<'_> {
        let file = tempfile::NamedTempFile::new_in(self.path()).unwrap();
        std::fs::write(file.path(), format!("#!/bin/sh\n{script}\n")).unwrap();
        let script = file.path().to_str().unwrap();
        let words = [&["sbatch", "--parsable", "--output=job-%j.log"], options, &[script]].concat();
        Job { cluster: self, id: self.ask(&words) }
    }

    /// The words of a shell that run a suite of this seed under cgrun, with these options.
    pub(super) fn suite(&self, suites: &Suites, options: &str, seed: u32, seconds: f64) -> String {
        let command = suites.command(seed, seconds).join(" ");
        format!("cgrun --grace 300ms --report json=report-{seed}.json {options} {command}")
    }

    /// The report of a suite.
    pub(super) fn report(&self, seed: u32) -> serde_json::Value {
        until(&format!("suite {seed} has a report"), || self.has_report(seed));
        serde_json::from_slice(&std::fs::read(self.report_path(seed)).unwrap()).unwrap()
    }

    pub(super) fn has_report(&self, seed: u32) -> bool {
        self.report_path(seed).exists()
    }

    fn report_path(&self, seed: u32) -> PathBuf {
        self.path().join(format!("report-{seed}.json"))
    }

    pub(super) fn job(&self, id: &str) -> Job<'_> {
        Job { cluster: self, id: id.into() }
    }
}

impl Job<'_> {
    /// A field that scontrol shows, such as `JobState`.
    pub(super) fn field(&self, name: &str) -> String {
        let shown = self.cluster.ask(&["scontrol", "show", "job", &self.id]);
        let mut fields = shown.split_whitespace().filter_map(|it| it.split_once('='));
        fields.find(|it| it.0 == name).unwrap_or_else(|| panic!("{name}: {shown}")).1.to_string()
    }

    pub(super) fn state(&self) -> String {
        self.field("JobState")
    }

    pub(super) fn until(&self, state: &str) {
        until(&format!("job {} is {state}, and not {}", self.id, self.state()), || self.state() == state);
    }

    /// Waits until Slurm has nothing to do for it any more: its processes have ended, and the Epilog has run.
    pub(super) fn until_over(&self) {
        let is_known = || self.cluster.ask(&["squeue", "-h", "-t", "all", "-o", "%i %t"]);
        let is_over = |line: &str| matches!(line.split_once(' '), Some((id, state)) if id == self.id && !["PD", "R", "CG", "CF"].contains(&state));
        until(&format!("job {} is over", self.id), || is_known().lines().any(is_over));
    }

    /// Its time is up now. Slurm looks every 30 seconds.
    pub(super) fn run_out_of_time(&self) {
        self.cluster.ask(&["scontrol", "update", &format!("JobId={}", self.id), "EndTime=now"]);
    }

    /// scancel, with options.
    pub(super) fn cancel(&self, options: &[&str]) {
        self.cluster.ask(&[&["scancel"], options, &[&self.id]].concat());
    }

    pub(super) fn log(&self) -> String {
        let path = self.cluster.path().join(format!("job-{}.log", self.id));
        std::fs::read_to_string(path).unwrap_or_default()
    }

    /// Its cgroups, one on each node that has one.
    pub(super) fn cgroups(&self) -> Vec<PathBuf> {
        let of = |node| format!("/sys/fs/cgroup/system.slice/{node}_slurmstepd.scope/job_{}", self.id);
        NODES.map(of).map(PathBuf::from).into_iter().filter(|it| it.exists()).collect()
    }

    /// The processes in those of its cgroups whose name begins like this.
    fn processes(&self, name: &str) -> Vec<Pid> {
        let below = self.cgroups().into_iter().flat_map(|it| cgroups::descendants(&it).unwrap_or_default());
        let wanted = below.filter(|it| it.file_name().unwrap().to_str().unwrap().starts_with(name));
        let found = wanted.flat_map(|it| cgroups::own_members(&it).unwrap_or_default());
        found.map(|pid| Pid::from_raw(pid.try_into().unwrap())).collect()
    }

    /// The supervisors, and whatever else Slurm sees in the job's tasks.
    pub(super) fn seen_by_slurm(&self) -> Vec<Pid> {
        self.processes("task_")
    }

    pub(super) fn guardians(&self) -> Vec<Pid> {
        self.processes("cgrun-guardian-")
    }

    pub(super) fn slurmstepd(&self) -> Vec<Pid> {
        self.processes("slurm")
    }

    /// Stops them all, so that none sees another die, and kills them.
    pub(super) fn kill(&self, victims: &[Pid]) {
        assert!(!victims.is_empty());
        for signal in [Signal::SIGSTOP, Signal::SIGKILL] {
            victims.iter().for_each(|pid| kill(*pid, signal).unwrap());
        }
    }
}

impl Cluster {
    /// The processes of the cluster with this command line.
    pub(super) fn processes(&self, command_line: &str) -> Vec<u32> {
        let members = cgroups::members("/sys/fs/cgroup".as_ref()).unwrap().into_iter();
        let line = |pid: &u32| std::fs::read_to_string(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        members.filter(|pid| line(pid).replace('\0', " ").trim() == command_line).collect()
    }
}
