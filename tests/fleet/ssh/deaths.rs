//! Each way in which a connection, or one end of it, dies.

use std::time::Duration;

use nix::sys::signal::{Signal, kill};

use super::Hosts;
use super::job::{Death, Job, Way};
use crate::fleet::{in_turn, jobs, seed};

/// A suite on a far host dies in this way, and leaves nothing. Returns the cause that its report names, if there is one.
fn dies(way: Way, death: Death) -> Option<String> {
    let hosts = Hosts::enter(1);
    let mut job = Job::start(&hosts, 3, 600.0, way, death);
    job.until_started();
    job.strike(hosts.host(1), death);
    hosts.host(1).until_clean();
    job.suites.until_all_are_gone();
    let cause = job.cause();
    job.forget();
    cause
}

macro_rules! deaths {
    ($($test:ident: $way:ident, $death:ident => $cause:expr;)*) => {
        $(#[test] fn $test() { assert_eq!(dies(Way::$way, Death::$death).as_deref(), $cause) })*
    };
}

deaths! {
    a_lost_connection_ends_the_far_session: Terminal, LinkDown => Some("signal");
    a_lost_connection_without_a_terminal_ends_the_far_session: EndWithParent, LinkDown => Some("parent_exited");
    a_killed_client_ends_the_far_session: Terminal, ClientKilled => Some("signal");
    a_killed_client_without_a_terminal_ends_the_far_session: EndWithParent, ClientKilled => Some("parent_exited");
    a_terminal_that_is_gone_ends_the_far_session: Terminal, WindowClosed => Some("signal");
    a_killed_control_master_ends_the_far_session: Terminal, MasterKilled => Some("signal");
    a_killed_control_master_without_a_terminal_ends_the_far_session: EndWithParent, MasterKilled => Some("parent_exited");
    a_killed_sshd_ends_the_far_session: Terminal, SshdKilled => Some("signal");
    a_killed_sshd_without_a_terminal_ends_the_far_session: EndWithParent, SshdKilled => Some("parent_exited");
    a_killed_client_of_an_ordinary_user_ends_the_far_session: OrdinaryUser, ClientKilled => Some("parent_exited");
    a_far_cgrun_that_is_killed_leaves_nothing: EndWithParent, CgrunKilled => Some("supervisor_died");
    a_far_host_is_swept_by_ssh: EndWithParent, BothKilled => None;
}

/// What `docs/fleet/ssh.md` warns of.
#[test]
fn without_a_terminal_and_without_an_option_a_lost_connection_is_not_noticed() {
    let hosts = Hosts::enter(1);
    let mut job = Job::start(&hosts, 3, 600.0, Way::Bare, Death::ClientKilled);
    job.until_started();
    let supervisor = hosts.host(1).supervisors()[0];
    let sshd = hosts.host(1).sshd_of(supervisor);
    job.strike(hosts.host(1), Death::ClientKilled);
    crate::harness::until("its sshd has exited", || super::hosts::name(sshd) != "sshd");
    assert!(!job.suites.alive().is_empty() && !job.report.exists());
    kill(supervisor, Signal::SIGTERM).unwrap();
    hosts.host(1).until_clean();
    // It has not begun to end before.
    assert_eq!(job.cause().as_deref(), Some("signal"));
    job.forget();
}

/// dash does not execute the last command of its script in its own place, so it is the parent of cgrun.
#[test]
fn a_shell_between_sshd_and_cgrun_does_not_keep_the_session() {
    let hosts = Hosts::enter(1);
    let mut job = Job::start(&hosts, 3, 600.0, Way::InShell, Death::ClientKilled);
    job.until_started();
    let supervisor = hosts.host(1).supervisors()[0];
    assert_eq!(super::hosts::name(super::hosts::parent(supervisor).unwrap()), "sh");
    job.strike(hosts.host(1), Death::ClientKilled);
    hosts.host(1).until_clean();
    job.suites.until_all_are_gone();
    job.forget();
}

/// `scripts/fleet ssh JOBS SEED`.
#[test]
fn random_deaths() {
    let hosts = Hosts::enter(1);
    let host = hosts.host(1);
    let mut drawn = Drawn(seed());
    let mut done: Vec<(Death, Outcome)> = Vec::new();
    for number in 0..jobs(4) {
        let death = in_turn(&Death::ALL, number);
        let way = [Way::Terminal, Way::EndWithParent][drawn.below(2)];
        let seconds = if death == Death::None { 0.3 } else { 600.0 };
        let mut job = Job::start(&hosts, seed().wrapping_mul(1000) + number, seconds, way, death);
        let is_early = death.can_be_early() && drawn.below(3) == 0;
        if !is_early {
            job.until_started();
        }
        std::thread::sleep(Duration::from_millis(drawn.below(400).try_into().unwrap()));
        let begin = job.strike(host, death);
        host.until_clean();
        let took = begin.elapsed();
        let survivors = job.suites.alive().len();
        let reported = job.report.exists();
        let early = if is_early { " early" } else { "" };
        println!("{number}: {death:?} {way:?}{early} {took:?}");
        assert_eq!(survivors, 0);
        assert!(reported || is_early || death == Death::BothKilled, "no report: {death:?} {way:?}");
        if death == Death::LinkDown {
            host.link("up");
        }
        job.forget();
        done.push((death, Outcome { took, reported, is_early }));
    }
    for kind in Death::ALL {
        let of: Vec<_> = done.iter().filter(|(death, _)| *death == kind).map(|(_, it)| it).collect();
        if of.is_empty() {
            continue;
        }
        let (median, longest) = crate::fleet::median_and_longest(of.iter().map(|it| it.took));
        let count = |wanted: fn(&Outcome) -> bool| of.iter().filter(|it| wanted(it)).count();
        println!(
            "{kind:?}: {} jobs, 0 survivors, {} reports, {} without (before the session), {} without (swept); \
             clean after {median:.2} s (median), {longest:.2} s (longest)",
            of.len(),
            count(|it| it.reported),
            count(|it| !it.reported && it.is_early),
            count(|it| !it.reported && !it.is_early),
        );
    }
}

struct Outcome {
    took: Duration,
    reported: bool,
    is_early: bool,
}

/// Numbers that a seed gives.
struct Drawn(u32);

impl Drawn {
    fn below(&mut self, limit: usize) -> usize {
        self.0 = self.0.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (self.0 >> 8) as usize % limit
    }
}
