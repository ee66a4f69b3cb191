//! What a session does next. Pure: a state and an event give a new state and actions, so that every
//! order of events can be tried without a process.

use std::time::{Duration, Instant};

use nix::sys::signal::Signal;

use crate::sys::signals::Caught;
use crate::teardown::{Cause, CtrlC, NormalExit, StartupFailure, Termination};

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// A service is ready for those that need it.
    Ready(usize),
    /// A service could not be started or did not become ready; says why.
    NotReady(usize, String),
    /// Nothing is left of a service; says how it ended.
    ServiceEnded(usize, String),
    CommandEnded,
    Signal(Caught),
    /// The session lasted as long as `--timeout` allows.
    TimedOut(Duration),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    StartService(usize),
    StartCommand,
    /// Hand a signal that is not about ending to the command.
    PassOn(Signal),
    /// Stop until somebody continues us.
    Suspend(Caught),
    /// Tell the user that a service that is not critical has ended.
    Mention(usize, String),
    /// Nothing follows this.
    TearDown(Cause),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Waiting,
    Starting,
    Ready,
    Gone,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Starting,
    Running,
    Ended,
}

/// What the machine must know of a service.
#[derive(Clone, Debug)]
pub struct Node {
    pub depends_on: Vec<usize>,
    pub critical: bool,
}

#[derive(Clone, Debug)]
pub struct Machine {
    nodes: Vec<Node>,
    stages: Vec<Stage>,
    phase: Phase,
    /// A Ctrl-C that the command was left to handle, and when.
    interrupted: Option<Instant>,
    /// The time in which a second Ctrl-C means it.
    patience: Duration,
}

impl Machine {
    pub fn new(nodes: Vec<Node>, patience: Duration) -> Self {
        let stages = vec![Stage::Waiting; nodes.len()];
        Self { nodes, stages, phase: Phase::Starting, interrupted: None, patience }
    }

    /// The first actions.
    pub fn begin(&mut self) -> Vec<Action> {
        self.start_what_can()
    }

    pub fn step(&mut self, event: Event, now: Instant) -> Vec<Action> {
        if self.phase == Phase::Ended {
            return Vec::new();
        }
        match event {
            Event::Ready(service) => {
                if self.stages[service] == Stage::Starting {
                    self.stages[service] = Stage::Ready;
                }
                self.start_what_can()
            }
            Event::NotReady(service, why) => {
                self.end(Cause::StartupFailure(StartupFailure::Service { service, why }))
            }
            Event::ServiceEnded(service, how) => self.service_ended(service, how),
            Event::CommandEnded => {
                let (interrupted, recently) = (self.interrupted.is_some(), self.is_recently_interrupted(now));
                self.end(Cause::NormalExit(NormalExit { interrupted, recently }))
            }
            Event::TimedOut(limit) => self.end(Cause::Termination(Termination::TimedOut(limit))),
            Event::Signal(caught) => self.signal(caught, now),
        }
    }

    fn service_ended(&mut self, service: usize, how: String) -> Vec<Action> {
        match std::mem::replace(&mut self.stages[service], Stage::Gone) {
            Stage::Gone => Vec::new(),
            Stage::Waiting | Stage::Starting => {
                self.end(Cause::StartupFailure(StartupFailure::Service { service, why: how }))
            }
            Stage::Ready if self.nodes[service].critical => {
                self.end(Cause::Termination(Termination::ServiceEnded { service, how }))
            }
            Stage::Ready => vec![Action::Mention(service, how)],
        }
    }

    fn signal(&mut self, caught: Caught, now: Instant) -> Vec<Action> {
        let Caught { signal, from_terminal } = caught;
        match signal {
            _ if caught.is_about_stopping() => vec![Action::Suspend(caught)],
            // What the terminal sends (a new window size), it has sent the command as well.
            _ if !caught.is_about_ending() && (from_terminal || self.phase != Phase::Running) => Vec::new(),
            _ if !caught.is_about_ending() => vec![Action::PassOn(signal)],
            // Ctrl-C reached the command as well, and a debugger or a prompt lives on after it: the
            // command decides, unless the user presses again while it should be ending.
            Signal::SIGINT if from_terminal && self.phase == Phase::Running => {
                let again = self.is_recently_interrupted(now);
                self.interrupted = Some(now);
                if again { self.end(Cause::CtrlC(CtrlC { from_terminal, again })) } else { Vec::new() }
            }
            _ => self.end(Cause::from_signal(caught)),
        }
    }

    fn is_recently_interrupted(&self, now: Instant) -> bool {
        self.interrupted.is_some_and(|last| now.duration_since(last) <= self.patience)
    }

    fn start_what_can(&mut self) -> Vec<Action> {
        if self.phase != Phase::Starting {
            return Vec::new();
        }
        let mut actions = Vec::new();
        for (service, node) in self.nodes.iter().enumerate() {
            // One that was ready and has ended since was not critical.
            let can = node.depends_on.iter().all(|&it| matches!(self.stages[it], Stage::Ready | Stage::Gone));
            if self.stages[service] == Stage::Waiting && can {
                self.stages[service] = Stage::Starting;
                actions.push(Action::StartService(service));
            }
        }
        if self.stages.iter().all(|&stage| matches!(stage, Stage::Ready | Stage::Gone)) {
            self.phase = Phase::Running;
            actions.push(Action::StartCommand);
        }
        actions
    }

    fn end(&mut self, cause: Cause) -> Vec<Action> {
        self.phase = Phase::Ended;
        vec![Action::TearDown(cause)]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn caught(signal: Signal, from_terminal: bool) -> Event {
        Event::Signal(Caught { signal, from_terminal })
    }

    fn chain() -> Machine {
        let node = |depends_on: &[usize]| Node { depends_on: depends_on.to_vec(), critical: true };
        Machine::new(vec![node(&[]), node(&[0]), node(&[])], Duration::from_secs(5))
    }

    fn running() -> Machine {
        let mut machine = Machine::new(Vec::new(), Duration::from_secs(5));
        assert_eq!(machine.begin(), [Action::StartCommand]);
        machine
    }

    #[test]
    fn services_that_need_nothing_of_each_other_start_together() {
        let now = Instant::now();
        let mut machine = chain();
        assert_eq!(machine.begin(), [Action::StartService(0), Action::StartService(2)]);
        assert_eq!(machine.step(Event::Ready(0), now), [Action::StartService(1)]);
        assert_eq!(machine.step(Event::Ready(2), now), []);
        assert_eq!(machine.step(Event::Ready(1), now), [Action::StartCommand]);
    }

    #[test]
    fn one_ctrl_c_is_the_commands_a_second_one_is_ours() {
        let now = Instant::now();
        let mut machine = running();
        assert_eq!(machine.step(caught(Signal::SIGINT, true), now), []);
        let later = now + Duration::from_secs(60);
        assert_eq!(machine.step(caught(Signal::SIGINT, true), later), [], "the debugger lived on");
        let actions = machine.step(caught(Signal::SIGINT, true), later + Duration::from_secs(1));
        assert!(matches!(actions[..], [Action::TearDown(Cause::CtrlC(CtrlC { again: true, .. }))]));
    }

    #[test]
    fn a_ctrl_c_that_the_command_has_long_handled_is_no_haste() {
        for (minutes, recently) in [(0, true), (60, false)] {
            let now = Instant::now();
            let mut machine = running();
            machine.step(caught(Signal::SIGINT, true), now);
            let ended = machine.step(Event::CommandEnded, now + Duration::from_secs(60 * minutes));
            let cause = Cause::NormalExit(NormalExit { interrupted: true, recently });
            assert_eq!(ended, [Action::TearDown(cause)]);
        }
    }

    #[test]
    fn a_signal_meant_for_us_ends_the_session() {
        for signal in [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP, Signal::SIGQUIT] {
            for mut machine in [running(), chain()] {
                machine.begin();
                let actions = machine.step(caught(signal, false), Instant::now());
                let is_first = matches!(
                    actions[..],
                    [Action::TearDown(Cause::CtrlC(CtrlC { again: false, .. }) | Cause::Termination(_))]
                );
                assert!(is_first, "{signal}: {actions:?}");
            }
        }
    }

    fn events() -> impl Strategy<Value = Event> {
        let signal = prop_oneof![Just(Signal::SIGINT), Just(Signal::SIGTERM), Just(Signal::SIGUSR1)];
        prop_oneof![
            4 => (0..3usize).prop_map(Event::Ready),
            1 => (0..3usize).prop_map(|it| Event::NotReady(it, String::new())),
            1 => (0..3usize).prop_map(|it| Event::ServiceEnded(it, String::new())),
            1 => Just(Event::CommandEnded),
            1 => Just(Event::TimedOut(Duration::ZERO)),
            1 => (signal, any::<bool>()).prop_map(|(signal, tty)| caught(signal, tty)),
        ]
    }

    proptest! {
        #[test]
        fn whatever_happens_the_order_holds(events in prop::collection::vec(events(), 0..30)) {
            let mut machine = chain();
            let mut actions = machine.begin();
            let mut ready = Vec::new();
            for event in events {
                if let Event::Ready(service) = event { ready.push(service) }
                let now = Instant::now();
                for action in machine.step(event, now) {
                    match action {
                        Action::StartService(1) => prop_assert!(ready.contains(&0)),
                        Action::StartCommand => prop_assert!([0, 1, 2].iter().all(|it| ready.contains(it))),
                        _ => {}
                    }
                    actions.push(action);
                }
            }
            let ends = actions.iter().filter(|it| matches!(it, Action::TearDown(_))).count();
            prop_assert!(ends <= 1);
            prop_assert!(ends == 0 || matches!(actions.last(), Some(Action::TearDown(_))));
            for action in &actions {
                let times = actions.iter().filter(|it| *it == action).count();
                let once = matches!(action, Action::StartService(_) | Action::StartCommand);
                prop_assert!(!once || times == 1);
            }
        }
    }
}
