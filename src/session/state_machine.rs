//! Decides what a session does next. It is pure: a state and an event give a new state and actions, so tests
//! can try every order of events without a process.

use std::time::Duration;

use nix::sys::signal::Signal;

use super::service::ServiceState;
use crate::plan::{PerService, ServiceId};
use crate::sys::signals::Caught;
use crate::sys::time::Instant;
use crate::teardown::{Cause, CtrlC, NormalExit, StartupFailure, Termination};

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum SessionEvent {
    /// A service is ready, so the services that need it can start.
    Ready(ServiceId),
    /// A service could not be started or did not become ready. The text says why.
    NotReady(ServiceId, String),
    /// No process of a service is left. The text says how it ended.
    ServiceEnded(ServiceId, String),
    CommandEnded,
    Signal(Caught),
    /// Ctrl-\ at the terminal, which the command has also received, and survives.
    SurvivedQuit(Caught),
    /// `--timeout` ran out.
    TimedOut(Duration),
    /// The command was idle for this long, which is what `--idle-timeout` allows.
    Idle(Duration),
    /// The process that started cgrun has exited, and `--end-with-parent` is set.
    ParentExited,
    /// The command has run for this long, after which `--warn-after` says to warn.
    RunsLong(Duration),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum SessionAction {
    StartService(ServiceId),
    StartCommand,
    /// Pass on to the command a signal that does not ask us to stop.
    PassOn(Signal),
    /// Stop until SIGCONT.
    Suspend(Caught),
    /// Tell the user that a service that is not critical has exited.
    ReportEnd(ServiceId, String),
    /// Say this, and what the command is running.
    Explain(String),
    /// No action follows this one.
    TearDown(Cause),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum SessionPhase {
    Starting,
    Running,
    Ended,
}

/// A service as the state machine sees it.
#[derive(Clone, Debug)]
pub(super) struct ServiceNode {
    depends_on: Vec<ServiceId>,
    critical: bool,
    state: ServiceState,
}

impl ServiceNode {
    pub(super) fn new(depends_on: &[ServiceId], critical: bool) -> Self {
        Self { depends_on: depends_on.to_vec(), critical, state: ServiceState::NotStarted }
    }
}

#[derive(Clone, Debug)]
pub(super) struct StateMachine {
    services: PerService<ServiceNode>,
    phase: SessionPhase,
    /// When the last Ctrl-C came that was left to the command.
    interrupted: Option<Instant>,
    /// When the last Ctrl-\ came that the command survived.
    asked: Option<Instant>,
    /// A second Ctrl-C or Ctrl-\ within this time ends the session.
    patience: Duration,
}

impl StateMachine {
    pub(super) fn new(services: PerService<ServiceNode>, patience: Duration) -> Self {
        Self { services, phase: SessionPhase::Starting, interrupted: None, asked: None, patience }
    }

    pub(super) fn state(&self, service: ServiceId) -> ServiceState {
        self.services[service].state
    }

    /// The first actions.
    pub(super) fn begin(&mut self) -> Vec<SessionAction> {
        self.start_next()
    }

    pub(super) fn step(&mut self, event: SessionEvent, now: Instant) -> Vec<SessionAction> {
        if self.phase == SessionPhase::Ended {
            return Vec::new();
        }
        match event {
            SessionEvent::Ready(service) => {
                let state = &mut self.services[service].state;
                if *state == ServiceState::Starting {
                    *state = ServiceState::Ready;
                }
                self.start_next()
            }
            SessionEvent::NotReady(service, why) => {
                self.end(Cause::StartupFailure(StartupFailure::Service { service, why }))
            }
            SessionEvent::ServiceEnded(service, how) => self.service_ended(service, how),
            SessionEvent::CommandEnded => {
                let (interrupted, recently) = (self.interrupted.is_some(), self.is_recently_interrupted(now));
                let quit = self.asked.is_some();
                self.end(Cause::NormalExit(NormalExit { interrupted, recently, quit }))
            }
            SessionEvent::TimedOut(limit) => self.end(Cause::Termination(Termination::TimedOut(limit))),
            SessionEvent::Idle(limit) => self.end(Cause::Termination(Termination::Idle(limit))),
            SessionEvent::ParentExited => self.end(Cause::Termination(Termination::ParentExited)),
            SessionEvent::RunsLong(time) => {
                let time = humantime::format_duration(time);
                vec![SessionAction::Explain(format!("the command still runs after {time}"))]
            }
            SessionEvent::Signal(caught) => self.signal(caught, now),
            SessionEvent::SurvivedQuit(caught) => self.quit(caught, now),
        }
    }

    fn service_ended(&mut self, service: ServiceId, how: String) -> Vec<SessionAction> {
        match std::mem::replace(&mut self.services[service].state, ServiceState::Ended) {
            ServiceState::Ended => Vec::new(),
            ServiceState::NotStarted | ServiceState::Starting => {
                self.end(Cause::StartupFailure(StartupFailure::Service { service, why: how }))
            }
            ServiceState::Ready if self.services[service].critical => {
                self.end(Cause::Termination(Termination::ServiceEnded { service, how }))
            }
            ServiceState::Ready => vec![SessionAction::ReportEnd(service, how)],
        }
    }

    fn signal(&mut self, caught: Caught, now: Instant) -> Vec<SessionAction> {
        let Caught { signal, from_terminal } = caught;
        match signal {
            _ if caught.is_about_stopping() => vec![SessionAction::Suspend(caught)],
            // A signal from the terminal, such as for a new window size, has also reached the command.
            _ if !caught.is_about_ending() && (from_terminal || self.phase != SessionPhase::Running) => {
                Vec::new()
            }
            _ if !caught.is_about_ending() => vec![SessionAction::PassOn(signal)],
            // Ctrl-C also reached the command, and a debugger or a prompt survives it: the command decides,
            // unless the user presses it again while the command should be exiting.
            Signal::SIGINT if from_terminal && self.phase == SessionPhase::Running => {
                let again = self.is_recently_interrupted(now);
                self.interrupted = Some(now);
                if again { self.end(Cause::CtrlC(CtrlC { from_terminal, again })) } else { Vec::new() }
            }
            _ => self.end(Cause::from_signal(caught)),
        }
    }

    /// The first Ctrl-\ is a question, as it is for a JVM, and the next one ends the session.
    fn quit(&mut self, caught: Caught, now: Instant) -> Vec<SessionAction> {
        let again = self.asked.is_some_and(|last| now - last <= self.patience);
        self.asked = Some(now);
        if again || self.phase != SessionPhase::Running {
            return self.signal(caught, now);
        }
        vec![SessionAction::Explain("the command is still running; Ctrl-\\ again ends the session".into())]
    }

    fn is_recently_interrupted(&self, now: Instant) -> bool {
        self.interrupted.is_some_and(|last| now - last <= self.patience)
    }

    fn start_next(&mut self) -> Vec<SessionAction> {
        if self.phase != SessionPhase::Starting {
            return Vec::new();
        }
        let mut actions = Vec::new();
        for id in self.services.ids() {
            // A service that was ready and has since ended was not critical.
            let can_start = self.services[id].depends_on.iter().all(|&it| self.has_been_ready(it));
            if self.services[id].state == ServiceState::NotStarted && can_start {
                self.services[id].state = ServiceState::Starting;
                actions.push(SessionAction::StartService(id));
            }
        }
        if self.services.ids().all(|id| self.has_been_ready(id)) {
            self.phase = SessionPhase::Running;
            actions.push(SessionAction::StartCommand);
        }
        actions
    }

    fn has_been_ready(&self, service: ServiceId) -> bool {
        matches!(self.services[service].state, ServiceState::Ready | ServiceState::Ended)
    }

    fn end(&mut self, cause: Cause) -> Vec<SessionAction> {
        self.phase = SessionPhase::Ended;
        vec![SessionAction::TearDown(cause)]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn caught(signal: Signal, from_terminal: bool) -> SessionEvent {
        SessionEvent::Signal(Caught { signal, from_terminal })
    }

    fn id(position: usize) -> ServiceId {
        ServiceId::new(position)
    }

    fn chain() -> StateMachine {
        let node = |depends_on: &[ServiceId]| ServiceNode::new(depends_on, true);
        let nodes = vec![node(&[]), node(&[id(0)]), node(&[])];
        StateMachine::new(PerService::new(nodes), Duration::from_secs(5))
    }

    fn running() -> StateMachine {
        let mut machine = StateMachine::new(PerService::new(Vec::new()), Duration::from_secs(5));
        assert_eq!(machine.begin(), [SessionAction::StartCommand]);
        machine
    }

    #[test]
    fn independent_services_start_together() {
        let now = Instant::now();
        let mut machine = chain();
        assert_eq!(machine.begin(), [SessionAction::StartService(id(0)), SessionAction::StartService(id(2))]);
        assert_eq!(machine.step(SessionEvent::Ready(id(0)), now), [SessionAction::StartService(id(1))]);
        assert_eq!(machine.step(SessionEvent::Ready(id(2)), now), []);
        assert_eq!(machine.step(SessionEvent::Ready(id(1)), now), [SessionAction::StartCommand]);
    }

    #[test]
    fn the_first_ctrl_c_is_left_to_the_command_and_a_second_one_ends_the_session() {
        let now = Instant::now();
        let mut machine = running();
        assert_eq!(machine.step(caught(Signal::SIGINT, true), now), []);
        let later = now + Duration::from_secs(60);
        assert_eq!(machine.step(caught(Signal::SIGINT, true), later), [], "the debugger kept running");
        let actions = machine.step(caught(Signal::SIGINT, true), later + Duration::from_secs(1));
        assert!(matches!(actions[..], [SessionAction::TearDown(Cause::CtrlC(CtrlC { again: true, .. }))]));
    }

    #[test]
    fn the_first_ctrl_backslash_that_the_command_survives_is_a_question() {
        let now = Instant::now();
        let mut machine = running();
        let quit = || SessionEvent::SurvivedQuit(Caught { signal: Signal::SIGQUIT, from_terminal: true });
        assert!(matches!(machine.step(quit(), now)[..], [SessionAction::Explain(_)]));
        let later = now + Duration::from_secs(60);
        assert!(matches!(machine.step(quit(), later)[..], [SessionAction::Explain(_)]));
        let actions = machine.step(quit(), later + Duration::from_secs(1));
        assert!(matches!(actions[..], [SessionAction::TearDown(Cause::Termination(_))]), "{actions:?}");
    }

    #[test]
    fn a_ctrl_c_handled_long_ago_does_not_shorten_the_grace() {
        for (minutes, recently) in [(0, true), (60, false)] {
            let now = Instant::now();
            let mut machine = running();
            machine.step(caught(Signal::SIGINT, true), now);
            let ended = machine.step(SessionEvent::CommandEnded, now + Duration::from_secs(60 * minutes));
            let cause = Cause::NormalExit(NormalExit { interrupted: true, recently, quit: false });
            assert_eq!(ended, [SessionAction::TearDown(cause)]);
        }
    }

    #[test]
    fn a_signal_sent_to_cgrun_ends_the_session() {
        for signal in [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP, Signal::SIGQUIT] {
            for mut machine in [running(), chain()] {
                machine.begin();
                let actions = machine.step(caught(signal, false), Instant::now());
                let is_first = matches!(
                    actions[..],
                    [SessionAction::TearDown(
                        Cause::CtrlC(CtrlC { again: false, .. }) | Cause::Termination(_)
                    )]
                );
                assert!(is_first, "{signal}: {actions:?}");
            }
        }
    }

    fn events() -> impl Strategy<Value = SessionEvent> {
        let signal = prop_oneof![Just(Signal::SIGINT), Just(Signal::SIGTERM), Just(Signal::SIGUSR1)];
        prop_oneof![
            4 => (0..3usize).prop_map(|it| SessionEvent::Ready(id(it))),
            1 => (0..3usize).prop_map(|it| SessionEvent::NotReady(id(it), String::new())),
            1 => (0..3usize).prop_map(|it| SessionEvent::ServiceEnded(id(it), String::new())),
            1 => Just(SessionEvent::CommandEnded),
            1 => Just(SessionEvent::TimedOut(Duration::ZERO)),
            1 => Just(SessionEvent::Idle(Duration::ZERO)),
            1 => Just(SessionEvent::ParentExited),
            1 => Just(SessionEvent::RunsLong(Duration::ZERO)),
            1 => (signal, any::<bool>()).prop_map(|(signal, tty)| caught(signal, tty)),
        ]
    }

    proptest! {
        #[test]
        fn any_order_of_events_keeps_the_order_of_starts(events in prop::collection::vec(events(), 0..30)) {
            let mut machine = chain();
            let mut actions = machine.begin();
            let mut ready = Vec::new();
            for event in events {
                if let SessionEvent::Ready(service) = event { ready.push(service) }
                let now = Instant::now();
                for action in machine.step(event, now) {
                    match action {
                        SessionAction::StartService(service) if service == id(1) => prop_assert!(ready.contains(&id(0))),
                        SessionAction::StartCommand => prop_assert!((0..3).all(|it| ready.contains(&id(it)))),
                        _ => {}
                    }
                    actions.push(action);
                }
            }
            let ends = actions.iter().filter(|it| matches!(it, SessionAction::TearDown(_))).count();
            prop_assert!(ends <= 1);
            prop_assert!(ends == 0 || matches!(actions.last(), Some(SessionAction::TearDown(_))));
            for action in &actions {
                let times = actions.iter().filter(|it| *it == action).count();
                let once = matches!(action, SessionAction::StartService(_) | SessionAction::StartCommand);
                prop_assert!(!once || times == 1);
            }
        }
    }
}
