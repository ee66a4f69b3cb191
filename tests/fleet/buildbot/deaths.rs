//! Many builds at once, each of which dies in a way that is drawn at random. Those that go down with the master or a worker
//! are repeated by Buildbot, and then die as they were meant to.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use serde_json::json;

use super::death::Death::{
    self, BuildStopped, CgrunAndGuardianKilled, CgrunKilled, Exits, MasterKilled, MasterRestarted, NeverRan,
    RequestCancelled, Silent, TooLong, WorkerKilled,
};
use super::death::{ALL, RARE};
use super::farm::Farm;
use super::shard::{LONG, SHORT, Shard, script};
use crate::fleet::{in_turn, jobs, seed};

/// What Buildbot is configured to, in seconds.
const SILENCE: u64 = 4;
const LONGEST: u64 = 8;
const TIMES: [(&str, &str); 5] = [
    ("timeout=20 * 60", "timeout=4"),
    ("maxTime=2 * 60 * 60", "maxTime=8"),
    ("sigtermTime=20", "sigtermTime=5"),
    ("--stop-within=15s", "--stop-within=3s"),
    ("max_builds=1)", "max_builds=4)"),
];

/// xorshift32.
struct Random(u32);

impl Random {
    fn below(&mut self, limit: u32) -> u32 {
        for (left, shift) in [(true, 13), (false, 17), (true, 5)] {
            self.0 ^= if left { self.0 << shift } else { self.0 >> shift };
        }
        self.0 % limit
    }
}

struct Job {
    shard: Shard,
    request: u64,
    death: Death,
    /// The attempt that runs, and when it is to die.
    running: Option<(u32, Instant)>,
    /// The attempts that are dying or dead: by what, since when, and how long it took.
    ended: BTreeMap<u32, (Death, Instant, Option<Duration>)>,
    is_complete: bool,
}

struct Night {
    farm: Farm,
    jobs: Vec<Job>,
    random: Random,
    /// When the master was asked what is complete.
    asked: Instant,
}

impl Night {
    fn begin(count: u32, seed: u32) -> Self {
        let farm = Farm::start(&script(), &[], &TIMES);
        let random = Random(seed.max(1));
        let job = |number: u32| {
            let death = if number % RARE == 0 { MasterRestarted } else { in_turn(&ALL, number - 1) };
            let shard = Shard::prepare(farm.path(), number, if death == Exits { SHORT } else { LONG });
            if death == TooLong {
                shard.make_noisy();
            }
            let request = farm.force_shard(number);
            Job { shard, request, death, running: None, ended: BTreeMap::new(), is_complete: false }
        };
        let jobs = (1..=count).map(job).collect();
        Self { farm, jobs, random, asked: Instant::now() }
    }

    /// Notes which attempts have begun, and which are gone.
    fn look(&mut self) {
        for job in &mut self.jobs {
            let attempt = job.shard.attempts();
            if attempt > 0 && !job.ended.contains_key(&attempt) && job.shard.has_started(attempt) {
                let later = Duration::from_millis(self.random.below(1500).into());
                job.running.get_or_insert((attempt, Instant::now() + later));
            }
            for (attempt, (_, since, took)) in &mut job.ended {
                if *attempt > 0 && took.is_none() && job.shard.alive(*attempt) == 0 {
                    *took = Some(since.elapsed());
                }
            }
        }
    }

    /// Lets those die whose time has come.
    fn kill(&mut self) {
        for index in 0..self.jobs.len() {
            let job = &self.jobs[index];
            let Some((attempt, when)) = job.running else { continue };
            // A repeated build that has died as it was meant to runs to its end.
            let is_done = job.ended.values().any(|(death, ..)| *death == job.death);
            if is_done || job.death == Exits {
                if job.shard.has_ended(attempt) {
                    self.note(index, Exits);
                }
                continue;
            }
            match job.death {
                Silent | TooLong => {
                    let limit = if job.death == Silent { SILENCE } else { LONGEST };
                    // The earliest moment at which Buildbot can act; it may be asked before it is.
                    if job.shard.alive(attempt) == 0 || Instant::now() > when + Duration::from_secs(limit) {
                        self.note(index, job.death);
                    }
                }
                // While a master or worker starts again, others can be silent for too long.
                _ if job.shard.alive(attempt) == 0 => self.note(index, Silent),
                _ if Instant::now() < when => {}
                death => self.strike(index, attempt, death),
            }
        }
    }

    /// If what is to be killed is not there right now, it is tried again.
    fn strike(&mut self, index: usize, attempt: u32, death: Death) {
        let (job, request) = (&self.jobs[index], self.jobs[index].request);
        let chaos = json!({ "reason": "chaos" });
        match death {
            BuildStopped => {
                let Some(build) = self.farm.builds(request).pop() else { return };
                if self.farm.control(&format!("builds/{}", build["buildid"]), "stop", &chaos).is_ok() {
                    self.note(index, death);
                }
            }
            RequestCancelled => {
                if self.farm.control(&format!("buildrequests/{request}"), "cancel", &chaos).is_ok() {
                    self.note(index, death);
                }
            }
            CgrunKilled | CgrunAndGuardianKilled => {
                if job.shard.kill_cgrun(attempt, death == CgrunAndGuardianKilled) {
                    self.note(index, death);
                }
            }
            WorkerKilled if self.farm.is_complete() => {
                let worker = job.shard.worker(attempt);
                self.note_all(index, death, |it, attempt| it.shard.worker(attempt) == worker);
                self.farm.kill_worker(worker);
                self.farm.begin_worker(worker);
            }
            MasterKilled | MasterRestarted if self.farm.is_complete() => {
                self.note_all(index, death, |_, _| true);
                let signal = if death == MasterKilled { Signal::SIGKILL } else { Signal::SIGTERM };
                self.farm.end_master(signal);
                self.farm.begin_master();
            }
            WorkerKilled | MasterKilled | MasterRestarted | Exits | Silent | TooLong | NeverRan => {}
        }
    }

    fn note(&mut self, index: usize, death: Death) {
        let job = &mut self.jobs[index];
        let Some((attempt, _)) = job.running.take() else { return };
        if death == job.death {
            job.shard.set_seconds(SHORT);
        }
        job.ended.insert(attempt, (death, Instant::now(), None));
    }

    /// The job at `index` dies, and others go down with it.
    fn note_all(&mut self, index: usize, death: Death, goes_too: impl Fn(&Job, u32) -> bool) {
        self.jobs[index].shard.set_seconds(SHORT);
        for other in 0..self.jobs.len() {
            let job = &self.jobs[other];
            if job.running.is_some_and(|(attempt, _)| other == index || goes_too(job, attempt)) {
                self.note(other, death);
            }
        }
    }

    fn is_over(&mut self) -> bool {
        if self.asked.elapsed() > Duration::from_millis(500) {
            let complete = self.farm.complete();
            for job in &mut self.jobs {
                job.is_complete = complete.contains(&job.request);
                let has_run = job.running.is_some() || !job.ended.is_empty();
                if job.is_complete && !has_run && !job.shard.has_started(job.shard.attempts()) {
                    job.ended.insert(0, (NeverRan, Instant::now(), Some(Duration::ZERO)));
                }
            }
            self.asked = Instant::now();
        }
        let has_ended =
            |job: &Job| !job.ended.is_empty() && job.ended.values().all(|(.., took)| took.is_some());
        self.jobs.iter().all(|job| job.is_complete && job.running.is_none() && has_ended(job))
    }

    /// Prints what came of it, and checks the reports.
    fn sum_up(&self) {
        let mut kinds: BTreeMap<Death, Vec<Duration>> = BTreeMap::new();
        let mut missing = Vec::new();
        for job in &self.jobs {
            for (death, _, took) in job.ended.values() {
                kinds.entry(*death).or_default().push(took.unwrap());
            }
            let number = job.shard.number();
            let survivors: usize = (1..=job.shard.attempts()).map(|it| job.shard.alive(it)).sum();
            assert_eq!(survivors, 0, "shard {number}: {:?}", job.ended);
            let last = job.ended.values().next_back().unwrap().0;
            if !self.farm.report_path(0, number).exists() {
                missing.push((number, last));
                continue;
            }
            let report = self.farm.report(0, number);
            assert_eq!(report["outcome"]["verified_empty"], true, "{report}");
            let causes: Vec<_> = job.ended.values().filter_map(|it| it.0.cause()).collect();
            assert!(
                causes.contains(&report["outcome"]["cause"].as_str().unwrap()),
                "{:?}: {report}",
                job.ended
            );
        }
        println!("{:<24} {:>6} {:>10} {:>8} {:>8}", "death", "count", "survivors", "median", "longest");
        for (death, took) in kinds {
            let (count, name) = (took.len(), format!("{death:?}"));
            let (median, longest) = crate::fleet::median_and_longest(took);
            println!("{name:<24} {count:>6} {:>10} {median:>7.2}s {longest:>7.2}s", 0);
        }
        println!(
            "{} jobs, {} reports, missing: {missing:?}",
            self.jobs.len(),
            self.jobs.len() - missing.len()
        );
        let unexplained: Vec<_> = missing.iter().filter(|it| it.1.cause().is_some()).collect();
        assert!(unexplained.is_empty(), "{unexplained:?}");
    }
}

#[test]
fn random_deaths() {
    let count = jobs(4);
    let mut night = Night::begin(count, seed());
    let limit = Duration::from_secs(40) + Duration::from_secs(30) * count;
    let begin = Instant::now();
    while !night.is_over() {
        night.look();
        night.kill();
        assert!(begin.elapsed() < limit, "{}", night.state());
        std::thread::sleep(Duration::from_millis(40));
    }
    println!("{count} jobs in {:.0} s", begin.elapsed().as_secs_f64());
    night.sum_up();
    night.farm.until_no_session_is_left();
}

impl Night {
    fn state(&self) -> String {
        let open = self
            .jobs
            .iter()
            .filter(|it| !it.is_complete || it.ended.values().any(|(.., took)| took.is_none()));
        let line = |job: &Job| {
            format!(
                "shard {} ({:?}): attempt {:?}, ended {:?}",
                job.shard.number(),
                job.death,
                job.running,
                job.ended
            )
        };
        open.map(line).collect::<Vec<_>>().join("\n")
    }
}
