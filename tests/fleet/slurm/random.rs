//! Jobs that die in random ways, side by side on two nodes.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use super::cluster::Cluster;
use super::job::Job;
use crate::fleet::suite::Suites;

/// How many run at a time. Each needs a CPU of the node.
const AT_ONCE: usize = 6;
/// Far more than any job needs.
const LIMIT: Duration = Duration::from_secs(120);
/// The quick ones come first: what Slurm does not hear while a daemon is dead, it asks for a minute later.
const DEATHS: [Death; 9] = [
    Death::Exit,
    Death::Cgrun,
    Death::Scancel("exec"),
    Death::Scancel("srun"),
    Death::Scancel(""),
    Death::Preemption,
    Death::CgrunAndGuardian,
    Death::Slurmstepd,
    Death::Slurmd,
];

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Death {
    /// The suite's own.
    Exit,
    /// Of a job whose script starts cgrun by this word.
    Scancel(&'static str),
    /// Only if there are many jobs: Slurm looks every 30 seconds.
    TimeLimit,
    Preemption,
    Cgrun,
    CgrunAndGuardian,
    /// Then scancel.
    Slurmstepd,
    /// The node's daemon, which is started again; then scancel.
    Slurmd,
}

/// What has become of a job.
struct Life<'a> {
    cluster: &'a Cluster,
    job: Job<'a>,
    suites: Suites,
    seed: u32,
    death: Death,
    /// How long the suite runs before its death.
    delay: Duration,
    submitted: Instant,
    started: Option<Instant>,
    is_doomed: bool,
    /// When its end began.
    struck: Option<Instant>,
    clean: Option<Duration>,
}

#[derive(Default)]
struct Figures {
    survivors: usize,
    reports: usize,
    missing: usize,
    clean: Vec<Duration>,
}

#[test]
fn random_deaths() {
    let count = crate::fleet::jobs(5);
    let cluster = Cluster::start();
    let mut draw = Draw(crate::fleet::seed());
    let mut pending: Vec<_> = (1..=count).map(|seed| (seed, death(seed - 1, count), draw.delay())).collect();
    let mut living: Vec<Life> = Vec::new();
    let mut figures: BTreeMap<Death, Figures> = BTreeMap::new();
    while !(pending.is_empty() && living.is_empty()) {
        while living.len() < AT_ONCE && !pending.is_empty() {
            let (seed, death, delay) = pending.remove(0);
            living.push(Life::begin(&cluster, seed, death, delay));
        }
        let states = cluster.ask(&["squeue", "-h", "-t", "all", "-o", "%i %t"]);
        let state = |job: &Job| {
            states.lines().find_map(|line| line.split_once(' ').filter(|it| it.0 == job.id)).map(|it| it.1)
        };
        living.retain_mut(|life| {
            let is_over = life.go_on(state(&life.job).unwrap_or("CA"));
            if is_over {
                life.count(figures.entry(life.death).or_default());
            }
            !is_over
        });
    }
    print(&figures);
    assert_eq!(figures.values().map(|it| it.survivors).sum::<usize>(), 0);
    let missing: Vec<_> = figures.iter().filter(|it| it.1.missing > 0).map(|it| *it.0).collect();
    // Then nobody is left to write one.
    assert!(missing.iter().all(|it| *it == Death::CgrunAndGuardian), "{missing:?}");
}

impl<'a> Life<'a> {
    fn begin(cluster: &'a Cluster, seed: u32, death: Death, delay: Duration) -> Self {
        let suites = Suites::within(&cluster.path().join(format!("suites-{seed}")));
        let launcher = if let Death::Scancel(launcher) = death { launcher } else { "exec" };
        let seconds = if death == Death::Exit { delay.as_secs_f64() } else { 600.0 };
        let script = format!("{launcher} {}", cluster.suite(&suites, "", seed, seconds));
        // A job that is to be preempted has a node for itself.
        let node = if death == Death::Preemption { &["-w", "n1", "--exclusive"][..] } else { &["-w", "n0"] };
        let job = cluster.submit(node, &script);
        let (submitted, started) = (Instant::now(), None);
        Self {
            cluster,
            job,
            suites,
            seed,
            death,
            delay,
            submitted,
            started,
            is_doomed: false,
            struck: None,
            clean: None,
        }
    }

    /// Looks after it. Returns whether it is over.
    fn go_on(&mut self, state: &str) -> bool {
        assert!(
            self.submitted.elapsed() < LIMIT,
            "{:?}, job {} is {state}\n{}",
            self.death,
            self.job.id,
            self.job.log()
        );
        if self.started.is_none() && self.suites.has_started(self.seed) {
            self.started = Some(Instant::now());
        }
        if !self.is_doomed && self.started.is_some_and(|it| it.elapsed() >= self.delay) {
            self.is_doomed = true;
            self.strike();
        }
        if self.is_doomed && self.struck.is_none() && self.has_been_struck() {
            self.struck = Some(Instant::now());
        }
        let Some(struck) = self.struck else { return false };
        if self.clean.is_none() && self.suites.alive().is_empty() {
            self.clean = Some(struck.elapsed());
        }
        if self.death == Death::Preemption && state == "PD" {
            self.job.cancel(&[]);
        }
        let is_over = !["PD", "CF", "R", "CG"].contains(&state);
        // A guardian can need a moment longer than Slurm.
        is_over
            && (self.clean.is_some() && self.cluster.has_report(self.seed) || struck.elapsed() > LIMIT / 10)
    }

    fn strike(&self) {
        match self.death {
            Death::Exit => {}
            Death::Scancel(_) => self.job.cancel(&[]),
            Death::TimeLimit => self.job.run_out_of_time(),
            Death::Preemption => {
                drop(self.cluster.submit(&["-w", "n1", "--exclusive", "-p", "urgent"], "exec true"))
            }
            Death::Cgrun => self.job.kill(&self.job.seen_by_slurm()),
            Death::CgrunAndGuardian => {
                self.job.kill(&[self.job.seen_by_slurm(), self.job.guardians()].concat())
            }
            Death::Slurmstepd => {
                self.job.kill(&self.job.slurmstepd());
                self.job.cancel(&[]);
            }
            Death::Slurmd => {
                self.cluster.kill_and_restart("n0");
                self.job.cancel(&[]);
            }
        }
    }

    fn has_been_struck(&self) -> bool {
        match self.death {
            Death::Exit => self.suites.has_ended(self.seed),
            Death::TimeLimit | Death::Preemption => self.job.log().contains(" DUE TO "),
            _ => true,
        }
    }

    fn count(&self, figures: &mut Figures) {
        figures.survivors += self.suites.alive().len();
        *(if self.cluster.has_report(self.seed) { &mut figures.reports } else { &mut figures.missing }) += 1;
        figures.clean.extend(self.clean);
    }
}

fn death(job: u32, jobs: u32) -> Death {
    let and_late = if jobs < 20 { &[][..] } else { &[Death::TimeLimit] };
    crate::fleet::in_turn(&[&DEATHS[..], and_late].concat(), job)
}

/// A linear congruential generator, of which the upper bits are used.
struct Draw(u32);

impl Draw {
    fn next(&mut self, below: u32) -> u32 {
        self.0 = self.0.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (self.0 >> 8) % below
    }

    fn delay(&mut self) -> Duration {
        Duration::from_millis(self.next(800).into())
    }
}

fn print(figures: &BTreeMap<Death, Figures>) {
    println!(
        "death                    jobs  survivors  reports  missing  median    max  (seconds until clean)"
    );
    for (death, it) in figures {
        let (median, longest) = crate::fleet::median_and_longest(it.clean.iter().copied());
        println!(
            "{:<24} {:>4} {:>10} {:>8} {:>8} {median:>7.2} {longest:>6.2}",
            format!("{death:?}"),
            it.reports + it.missing,
            it.survivors,
            it.reports,
            it.missing,
        );
    }
}
