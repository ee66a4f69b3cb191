//! The graceful component: everyone is asked, and has until the end of the grace (leaks: half of it).
//!
//! First the command, if it still runs. Then what it left behind, and at the same time the services
//! in reverse order of dependency. What is waited for is the tree, not its first process. Asked are
//! the *roots* of a tree, those whose parent is not in it: a database's first process knows how to
//! end its workers, and would not forgive us for doing it. Where a root ends and leaves children
//! behind (npm and its shell do), these are roots in turn.

use std::collections::HashSet;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use rustix::process::Pid;

use super::component::{Component, Role};
use super::layers::Cause;
use super::settle::Stragglers;
use super::verdict::Verdict;
use super::{Context, Wait};
use crate::containment::Leaf;
use crate::leaks::{Frozen, Snapshot};
use crate::runtime::clock;
use crate::runtime::events::Wake;
use crate::sys::pidfd::Process;
use crate::sys::proc;

/// The kernel may hold the notice of an empty leaf back for 15 ms, and sends none of a new root.
const LOOK: Duration = Duration::from_millis(10);
/// New roots are looked for this often, or in ten times the time that takes.
const ROOTS: Duration = LOOK;

/// Asks all components to end and waits, as long as their grace lasts, and the user's patience.
pub fn gracefully(context: &mut Context, cause: &Cause, wait: &mut Wait<'_>, verdict: &mut Verdict) {
    let mut stopping: Vec<_> = context.components.iter().map(|_| Stopping::default()).collect();
    while !wait.requests.end_the_grace() {
        (wait.ensure_guardian)(context);
        for (index, state) in stopping.iter_mut().enumerate() {
            if state.stage != Stage::Done && !is_populated(&context.components[index].leaf, verdict) {
                state.stage = Stage::Done;
                verdict.span(index).gone = Some(clock::now());
            }
        }
        for (index, component) in context.components.iter().enumerate() {
            if stopping[index].stage != Stage::Waiting
                || is_its_turn(component, &context.components, &stopping)
            {
                advance(component, &mut stopping[index], context, cause, verdict);
                if matches!(stopping[index].stage, Stage::Ending(_) | Stage::Asked(_) | Stage::Killed) {
                    verdict.span(index).asked.get_or_insert_with(clock::now);
                }
            }
        }
        // What was killed is waited for later, all at once.
        if stopping.iter().all(|state| matches!(state.stage, Stage::Killed | Stage::Done)) {
            if look_again(&context.components, &mut stopping, verdict) {
                continue;
            }
            return;
        }
        let populated =
            context.components.iter().zip(&stopping).filter(|(_, state)| state.stage != Stage::Done);
        let wakes: Vec<_> =
            populated.filter_map(|(component, _)| component.leaf.events().map(Wake::changed)).collect();
        let mut ended = Vec::new();
        let until = stopping.iter().filter_map(Stopping::until).chain([clock::now() + LOOK]).min();
        verdict.expect(wait.on(&wakes, until, |pid, status| ended.push((pid, status))));
        ended.into_iter().for_each(|(pid, status)| context.note_exit(pid, status));
    }
    note_leftovers(context, &mut stopping, verdict);
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Stage {
    /// Until those that need it are done.
    #[default]
    Waiting,
    /// The command itself was asked, and may take until then.
    Ending(Instant),
    /// The command has ended; what it left may leave by itself until then.
    Settling(Instant),
    /// All of it was asked, and may take until then.
    Asked(Instant),
    Killed,
    Done,
}

#[derive(Debug)]
struct Stopping {
    stage: Stage,
    asked: HashSet<Pid>,
    roots_due: Instant,
    stragglers: Stragglers,
    /// What had left the command's tree when that was asked to end: leaked, where it has to be killed.
    beside: Snapshot,
    /// It was not as empty as it had been.
    looked_again: bool,
}

impl Default for Stopping {
    fn default() -> Self {
        Self {
            stage: Stage::Waiting,
            asked: HashSet::new(),
            roots_due: clock::now(),
            stragglers: Stragglers::default(),
            beside: Snapshot::default(),
            looked_again: false,
        }
    }
}

impl Stopping {
    /// When its present stage is over, whatever happens.
    fn until(&self) -> Option<Instant> {
        match self.stage {
            Stage::Ending(until) | Stage::Settling(until) | Stage::Asked(until) => Some(until),
            Stage::Waiting | Stage::Killed | Stage::Done => None,
        }
    }
}

/// Moves a component on through all stages whose time has come.
fn advance(
    component: &Component,
    state: &mut Stopping,
    context: &Context,
    cause: &Cause,
    verdict: &mut Verdict,
) {
    loop {
        let next = next(component, state, context, cause, verdict);
        if next == std::mem::replace(&mut state.stage, next) {
            return;
        }
    }
}

fn next(
    component: &Component,
    state: &mut Stopping,
    context: &Context,
    cause: &Cause,
    verdict: &mut Verdict,
) -> Stage {
    let now = clock::now();
    let at = state.stage;
    // It stands still from the picture to what is done to it: what is killed need not wake up before.
    let mut still = None;
    let stage = match at {
        Stage::Waiting if component.is_running_command() => {
            // Whether it ends these itself is not known yet; once it is asked to end, they are as well.
            let still = Frozen::freeze(&component.leaf);
            let taken = still.snapshot_without(component.leader.pid, &component.how_outlived());
            state.beside = verdict.expect(taken).unwrap_or_default();
            Stage::Ending(clock::now() + component.grace)
        }
        Stage::Waiting if component.role == Role::Command => Stage::Settling(now + context.settle),
        Stage::Waiting => Stage::Asked(now + component.grace),
        Stage::Ending(_) if component.status.is_some() => Stage::Settling(now + context.settle),
        Stage::Settling(until)
            if now >= until && state.stragglers.are_held_up(&component.leaf, context.settle) =>
        {
            Stage::Settling(now + LOOK)
        }
        Stage::Settling(until) if now >= until => {
            still = Some(note(component, verdict));
            state.asked.clear();
            // A service may wait for these, as a database does for its clients: the rest of its
            // grace is to be enough to end without them.
            Stage::Asked(clock::now() + component.grace / 2)
        }
        same => same,
    };
    // The picture takes time.
    let now = clock::now();
    match stage {
        Stage::Ending(until) | Stage::Asked(until) if now >= until => {
            verdict.command_killed |= component.is_running_command();
            // What a command that has ended left behind was noted before it was asked.
            let is_noted = component.role == Role::Command && !component.is_running_command();
            let _still = (!is_noted).then(|| note(component, verdict));
            verdict.add_leaks(std::mem::take(&mut state.beside));
            let members = component.leaf.members().unwrap_or_default();
            verdict.had_to_be_killed(|pid| state.asked.contains(&pid) && members.contains(&pid));
            verdict.expect(component.leaf.kill());
            Stage::Killed
        }
        Stage::Ending(until) => {
            match cause.stop_signal() {
                // As a terminal does: a shell waits for its child, which is to get it as well.
                Some(Signal::SIGINT) if component.own_group => interrupt_group(component, state),
                Some(signal) => ask(component, signal, now, until, state, verdict),
                None => {}
            }
            stage
        }
        Stage::Asked(until) => {
            // What forks all the time is never met as it moves. A service is not stopped so roughly.
            let moves = component.role == Role::Command && now >= state.roots_due && still.is_none();
            let _still = moves.then(|| Frozen::freeze(&component.leaf));
            ask(component, component.stop_signal, now, until, state, verdict);
            stage
        }
        _ => stage,
    }
}

/// The command comes first, and a service once nobody is left who needs it. What a command that has
/// ended left behind holds no service back.
fn is_its_turn(component: &Component, components: &[Component], stopping: &[Stopping]) -> bool {
    component.role != Role::Service
        || components.iter().zip(stopping).all(|(other, state)| {
            let needs_it = other.is_running_command() || other.depends_on.contains(&component.name);
            !needs_it || matches!(state.stage, Stage::Killed | Stage::Done)
        })
}

fn interrupt_group(component: &Component, state: &mut Stopping) {
    if state.asked.insert(component.leader.pid) {
        // Whether it was asked matters little: what follows proves the end.
        for signal in [Signal::SIGINT, Signal::SIGCONT] {
            let _ = component.leader.signal_group(signal);
        }
    }
}

/// Sends `signal` to the roots that have not had it, and wakes up whoever is stopped. `begin` is when
/// that began, the time in which the leaf came to a stand included: it counts for the next time.
fn ask(
    component: &Component,
    signal: Signal,
    begin: Instant,
    until: Instant,
    state: &mut Stopping,
    verdict: &mut Verdict,
) {
    if begin < state.roots_due {
        return;
    }
    let members = verdict.expect(component.leaf.members()).unwrap_or_default();
    let all: HashSet<Pid> = members.iter().copied().collect();
    let first = state.asked.is_empty();
    for pid in members.into_iter().take_while(|_| clock::now() < until) {
        let is_root = proc::parent(pid).is_none_or(|parent| !all.contains(&parent));
        let is_new_root = is_root && state.asked.insert(pid);
        if !is_new_root && !first {
            continue;
        }
        // Its place is looked at after opening: only then is it surely the process meant. Whoever may
        // not be asked (another user's) is killed with its cgroup, which alone proves the end.
        if let Ok(Some(process)) = Process::open(pid)
            && component.leaf.contains(pid).unwrap_or(false)
        {
            if is_new_root {
                let _ = process.signal(signal);
            }
            let _ = process.signal(Signal::SIGCONT);
        }
    }
    state.roots_due = begin + ROOTS.max(clock::since(begin) * 10);
}

/// Remembers who is in the leaf as leaked, and leaves it standing still.
fn note<'a>(component: &'a Component, verdict: &mut Verdict) -> Frozen<'a> {
    let how = component.how_outlived();
    let still = Frozen::freeze(&component.leaf);
    // What has left the tree of a command that runs, nobody would have ended.
    let running = component.is_running_command().then_some(component.leader.pid);
    let taken = running.map_or_else(|| still.snapshot(&how), |leader| still.snapshot_without(leader, &how));
    let crowd = verdict.expect(taken).unwrap_or_default();
    verdict.add_leaks(crowd);
    still
}

/// Where the user would not wait, what the command left is still said.
fn note_leftovers(context: &Context, stopping: &mut [Stopping], verdict: &mut Verdict) {
    for (component, state) in context.components.iter().zip(stopping) {
        let not_noted = matches!(state.stage, Stage::Waiting | Stage::Ending(_) | Stage::Settling(_));
        if component.role == Role::Command && not_noted {
            drop(note(component, verdict));
            if component.is_running_command() {
                verdict.add_leaks(std::mem::take(&mut state.beside));
            }
        }
        verdict.command_killed |= component.is_running_command();
    }
}

/// Whether somebody is in a component that was empty: came late, or was out of sight. Begins anew with it, once.
fn look_again(components: &[Component], stopping: &mut [Stopping], verdict: &mut Verdict) -> bool {
    let mut any = false;
    for (index, state) in stopping.iter_mut().enumerate() {
        if state.stage == Stage::Done && !state.looked_again && is_populated(&components[index].leaf, verdict)
        {
            *state = Stopping { looked_again: true, ..Stopping::default() };
            verdict.span(index).gone = None;
            any = true;
        }
    }
    any
}

/// A leaf that cannot be read may hold anybody.
fn is_populated(leaf: &Leaf, verdict: &mut Verdict) -> bool {
    verdict.expect(leaf.is_populated()).unwrap_or(true)
}
