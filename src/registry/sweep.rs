//! Tears down stale sessions, those whose supervisor is dead.

use std::path::Path;

use anyhow::Result;
use nix::sys::signal::Signal;

use super::entry::{SessionEntry, SessionState};
use super::list::list_neighbours;
use crate::containers::monitors;
use crate::containment::{self, Containment, Mount, SessionCgroup, Shelter};
use crate::counts::{self, By};
use crate::guardian::record::Record;
use crate::leaks::remove_stale_log;
use crate::limits::clear_supervisor_leaves;
use crate::plan::KILL_WAIT;
use crate::report::Reporter;
use crate::runtime::events::Events;
use crate::scratch::{PATIENCE, Scratch};
use crate::sys::process::pidfd::Process;
use crate::sys::procfs::stat::ProcessKey;
use crate::sys::procfs::walk::ancestor_below;
use crate::teardown::{Cause, Context, NoSupervisor, Supervisor, Teardown, Verdict};

/// The signal that has asked cgrun to exit meanwhile, if one has.
#[derive(Default)]
struct Request(Option<Signal>);

impl Supervisor for Request {
    fn note_request(&mut self, signal: Signal) {
        self.0.get_or_insert(signal);
    }
}

/// Called when a session starts: tears down our stale sessions next to it. A signal ends that after the session at which it
/// came, and is returned.
pub(crate) fn end_stale_neighbours(
    mount: &Mount,
    records: &Path,
    events: &Events,
    reporter: &Reporter,
) -> Result<Option<Signal>> {
    let mut request = Request::default();
    let neighbours = list_neighbours(mount)?.into_iter();
    for session in neighbours.filter(|it| it.state == SessionState::Stale && it.is_ours()) {
        let id = session.id.clone();
        match end(session, mount, records, events, &mut request, reporter) {
            Ok(None) => {}
            Ok(Some(verdict)) if verdict.is_proven() => {
                reporter.say(&format!("ended session {id}, left behind by a cgrun process that died"))
            }
            Ok(Some(verdict)) => reporter.error(&format!(
                "cannot clean up session {id}, left behind by a cgrun process that died: {}",
                verdict.problems().join("; ")
            )),
            Err(error) => reporter.error(&format!(
                "cannot end session {id}, left behind by a cgrun process that died: {error:#}"
            )),
        }
        if request.0.is_some() {
            break;
        }
    }
    Ok(request.0)
}

/// Tears down one session by force, because its supervisor cannot be asked. `None` if its guardian, or the
/// teardown of an enclosing session, has already done so.
pub(crate) fn end_session(
    session: SessionEntry,
    mount: &Mount,
    records: &Path,
    events: &Events,
    reporter: &Reporter,
) -> Result<Option<Verdict>> {
    end(session, mount, records, events, &mut NoSupervisor, reporter)
}

fn end(
    session: SessionEntry,
    mount: &Mount,
    records: &Path,
    events: &Events,
    by: &mut dyn Supervisor,
    reporter: &Reporter,
) -> Result<Option<Verdict>> {
    let (mount, path) = mount.writable(&session.path);
    let supervisor = session.supervisor_pid().unwrap_or_default();
    let mut children_outside = outside(&session);
    remove_stale_log(&session.id);
    let mut record = Record::new(records, &session.id, supervisor, &session.command, "sweep");
    record.scratch = scratch(&session);
    let cgroup = match SessionCgroup::open(&mount, session.id, path.clone()) {
        Err(_) if !session.path.exists() => return Ok(None),
        opened => opened?,
    };
    let containment = Containment::cgroup(cgroup, None);
    let monitors = monitors::finish_of(&containment, &children_outside, monitors::LONGEST);
    children_outside.extend(monitors);
    let mut context = Context {
        watched_ports: session.ports,
        kill_wait: KILL_WAIT,
        children_outside,
        had_preexisting_children: !events.preexisting_children().is_empty(),
        ..Context::new(containment)
    };
    let verdict = Teardown::new(&mut context, &Cause::SUPERVISOR_DIED, events, by).run();
    counts::add(&verdict, &Cause::SUPERVISOR_DIED, By::Sweep);
    let tmp = record.end_scratch(&verdict, true, PATIENCE);
    tmp.iter().for_each(|it| reporter.tmp(it));
    record.write(&verdict, tmp.as_ref());
    path.parent().into_iter().for_each(clear_supervisor_leaves);
    Shelter::clear(&path);
    Ok(Some(verdict))
}

/// Its temporary directory. A note that others could have written is not believed.
fn scratch(session: &SessionEntry) -> Option<Scratch> {
    Scratch::from_note(&containment::read_scratch(&session.path).filter(|_| session.is_ours())?)
}

/// The children that a dead supervisor had in other cgroups, as far as its guardian has noted them. A note that others
/// could have written is not believed.
fn outside(session: &SessionEntry) -> Vec<Process> {
    let Some(owner) = session.owner().filter(|_| session.is_ours()) else { return Vec::new() };
    let us = rustix::process::getpid();
    let is_possible = |&(pid, started): &ProcessKey| {
        started >= owner.start_time && pid != us && ancestor_below(us, pid).is_none()
    };
    let noted = containment::read_outside(&session.path).into_iter();
    noted.filter(is_possible).filter_map(still_alive).collect()
}

/// Opens the process that had this key, unless it has exited.
fn still_alive(key: ProcessKey) -> Option<Process> {
    let (process, stat) = Process::open_with_stat(key.0)?;
    (stat.key() == key).then_some(process)
}
