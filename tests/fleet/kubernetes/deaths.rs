//! Pods that die at random, in all the ways that a pod can.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use super::node::{Kind, Node, Played};
use super::pod::{Pod, set_mode};
use crate::fleet::suite::Suites;
use crate::harness::until;

/// The longest that any of them takes: the grace of a deletion, and the time to kill many processes on a busy machine.
const BOUND: Duration = Duration::from_secs(40);

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Death {
    /// The suite ends by itself.
    Own,
    Deleted,
    /// SIGKILL follows before cgrun can be done.
    TooShort,
    /// `kubectl delete --force`, and a node that dies.
    Forced,
    SupervisorKilled,
    /// A shell is the first process, and ends with its child.
    SupervisorKilledBelowAShell,
    /// Another one takes its place.
    GuardianKilled,
    FirstProcessKilled,
    /// conmon, or what stands for the shim.
    MonitorKilled,
}

use Death::*;

/// Those without a test of their own come first.
const DEATHS: [Death; 9] = [
    GuardianKilled,
    MonitorKilled,
    FirstProcessKilled,
    SupervisorKilledBelowAShell,
    Forced,
    Own,
    SupervisorKilled,
    Deleted,
    TooShort,
];

impl Death {
    /// Why nobody can write a report, if so: the kernel kills the whole container at once.
    fn no_report(self) -> Option<&'static str> {
        match self {
            TooShort | Forced | FirstProcessKilled => {
                Some("the container was killed, and the guardian with it")
            }
            SupervisorKilledBelowAShell => Some("the shell ended, and the kernel killed the guardian"),
            _ => None,
        }
    }

    /// Whether the suite goes on until it ends by itself.
    fn spares_the_suite(self) -> bool {
        matches!(self, Own | GuardianKilled | MonitorKilled)
    }

    fn inflict(self, played: &mut Played<'_>) {
        match self {
            Own => {}
            Deleted => played.delete(super::GRACE),
            TooShort => played.delete(Duration::from_secs(1)),
            Forced => played.delete(Duration::ZERO),
            SupervisorKilled => super::kill(played.cgruns(3)[1]),
            SupervisorKilledBelowAShell => super::kill(played.cgruns(2)[0]),
            GuardianKilled => super::kill(played.cgruns(3)[2]),
            FirstProcessKilled => super::kill(played.cgruns(3)[0]),
            MonitorKilled => played.kill_monitor(),
        }
    }
}

#[derive(Clone, Copy, Debug)]
struct Outcome {
    has_report: bool,
    survivors: usize,
    /// From the death, or from the end of the suite, until nothing of it was alive.
    took: Duration,
}

/// splitmix64.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut it = self.0;
        it = (it ^ (it >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        it = (it ^ (it >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (it ^ (it >> 31)) % bound
    }
}

fn random_deaths(kind: Kind) {
    let node = Node::start(kind);
    let src = node.home().join("src");
    let suites = Suites::within(&src.join("suites"));
    set_mode(&src.join("suites"), 0o777);
    set_mode(&src.join("suites/registered"), 0o777);
    for name in ["fleet_suite.py", "chaos_actor.py", "chaos_plan.py"] {
        std::fs::copy(crate::fleet::root().join("scripts/lib").join(name), src.join(name)).unwrap();
    }
    let mut random = Random(u64::from(crate::fleet::seed()) * 2 + u64::from(kind == Kind::Runc));
    let mut outcomes: BTreeMap<Death, Vec<Outcome>> = BTreeMap::new();
    let jobs = crate::fleet::jobs(4).div_ceil(2);
    for job in 0..jobs {
        // Of few, each kind of node has others.
        let turn = if kind == Kind::Runc { job + jobs } else { job };
        let death = crate::fleet::in_turn(&DEATHS, turn);
        let outcome = die(&node, &suites, job, death, &mut random);
        println!("job {job} by {kind:?}: {death:?}, {outcome:?}");
        outcomes.entry(death).or_default().push(outcome);
    }
    outcomes.iter().for_each(|(death, all)| print(kind, *death, all));
    assert!(outcomes.into_values().flatten().all(|it| it.survivors == 0));
}

fn print(kind: Kind, death: Death, all: &[Outcome]) {
    let (median, longest) = crate::fleet::median_and_longest(all.iter().map(|it| it.took));
    let survivors: usize = all.iter().map(|it| it.survivors).sum();
    let missing = all.iter().filter(|it| !it.has_report).count();
    let why = death.no_report().filter(|_| missing > 0).map(|why| format!(" ({why})")).unwrap_or_default();
    println!(
        "{kind:?}, {death:?}: {} jobs, {survivors} survivors, {missing} without a report{why}, clean after {median:.2} s \
         (median) and {longest:.2} s (longest)",
        all.len()
    );
}

/// One job.
fn die(node: &Node, suites: &Suites, job: u32, death: Death, random: &mut Random) -> Outcome {
    let seed = random.below(1 << 31) as u32;
    // It must not end before its death.
    let seconds = if death.spares_the_suite() { 2.0 + random.below(10) as f64 / 10.0 } else { 120.0 };
    let words = [
        "python3",
        "-B",
        "/src/fleet_suite.py",
        "/src/suites",
        &seed.to_string(),
        &seconds.to_string(),
        "plain",
    ];
    let mut pod = Pod::of("job.yaml", job, node.home()).running(&words.map(String::from));
    pod = match death {
        SupervisorKilledBelowAShell => pod.below_a_shell(),
        // Not every process obeys, so the grace of cgrun exceeds that of the pod.
        TooShort => pod.options(&["--grace=20s"]),
        _ => pod.options(&["--grace=1s"]),
    };
    let mut played = node.play(&pod);
    suites.until_started(seed);
    std::thread::sleep(Duration::from_millis(random.below(300)));
    let mut begin = Instant::now();
    death.inflict(&mut played);
    if death.spares_the_suite() {
        until("the suite has ended", || suites.has_ended(seed));
        begin = Instant::now();
    }
    while !suites.alive().is_empty() && begin.elapsed() < BOUND {
        std::thread::sleep(Duration::from_millis(2));
    }
    let (took, survivors) = (begin.elapsed(), suites.alive().len());
    assert_eq!(suites.has_ended(seed), death.spares_the_suite(), "{death:?}: {}", played.log());
    until("cgrun has exited", || node.host().cgruns().is_empty());
    let report = pod.report(job);
    match &report {
        // It was faster than the kernel.
        Some(_) if death.no_report().is_some() => {}
        Some(report) => {
            assert_eq!(report["outcome"]["verified_empty"], true, "{death:?}: {report:#}");
            assert!(pod.message().starts_with("clean"), "{death:?}: {}", pod.message());
        }
        None => assert!(death.no_report().is_some(), "{death:?} without a report: {}", played.log()),
    }
    Outcome { has_report: report.is_some(), survivors, took }
}

mod podman {
    #[test]
    fn random_deaths() {
        super::random_deaths(super::Kind::Podman);
    }
}

mod runc {
    #[test]
    fn random_deaths() {
        super::random_deaths(super::Kind::Runc);
    }
}
