//! Turns controllers on, from the topmost cgroup that is delegated to us down to the session's leaves, and no
//! further.
//!
//! A cgroup with processes of its own cannot have controllers in its children (cgroups(7), "no internal
//! processes"), unless it is the root. So the supervisor moves to a leaf beside the session, and moves back
//! at the end.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use super::limit::Controller;
use super::occupancy::{is_shared, occupied, own_occupied, processes_in};
use super::refused::Refused;
use super::supervisor_leaf::SupervisorLeaf;
use crate::containment::cgroup::files::{is_root, read_words, write};
use crate::containment::cgroup::metadata;
use crate::containment::{ContainmentError, Mount};

const CONTROL: &str = "cgroup.subtree_control";

/// The changes above a session that its limits required, to be undone at the end.
#[derive(Debug, Default)]
pub(super) struct Delegation {
    /// In the order in which they were turned on.
    on: Vec<(PathBuf, Controller)>,
    supervisor_leaf: Option<SupervisorLeaf>,
}

impl Delegation {
    /// Makes the `needed` controllers available to a session below cgrun's own cgroup, and those of `useful`
    /// that exist. cgrun may have to leave its own cgroup for that. After an error nothing has changed.
    pub(super) fn enable(
        &mut self,
        mount: &Mount,
        needed: &BTreeSet<Controller>,
        useful: &[Controller],
    ) -> Result<(), Refused> {
        let enabled = self.try_enable(mount, needed, useful);
        if enabled.is_err() {
            self.restore();
        }
        enabled
    }

    fn try_enable(
        &mut self,
        mount: &Mount,
        needed: &BTreeSet<Controller>,
        useful: &[Controller],
    ) -> Result<(), Refused> {
        // Processes in the way are found before anything is changed.
        for &controller in needed {
            if let Some(refused) = why_unavailable(mount, controller) {
                return Err(refused);
            }
        }
        for &controller in needed {
            for directory in to_pass_down(mount, controller)? {
                self.turn_on(directory, controller)?;
            }
        }
        let own = mount.own.as_path();
        let on = read_words(own, CONTROL)?;
        let is_in_the_way = || Ok::<_, Refused>(!is_root(own) && !processes_in(own)?.is_empty());
        if !needed.iter().all(|it| on.contains(it.name())) && is_in_the_way()? {
            self.supervisor_leaf = Some(SupervisorLeaf::enter(mount)?);
        }
        for &controller in needed {
            self.turn_on(own, controller)?;
        }
        let available = read_words(own, "cgroup.controllers")?;
        // A failure is ignored: it only means that some figures are missing.
        let there = useful.iter().filter(|it| available.contains(it.name()));
        there.for_each(|it| drop(self.turn_on(own, *it)));
        Ok(())
    }

    fn turn_on(&mut self, directory: &Path, controller: Controller) -> Result<(), Refused> {
        if read_words(directory, CONTROL)?.contains(controller.name()) {
            return Ok(());
        }
        match switch(directory, '+', controller) {
            Err(error) if error.is_busy() => return Err(occupied(directory)),
            other => other?,
        }
        // In the root, a controller serves all cgroups, and processes do not prevent turning it on.
        if !is_root(directory) {
            self.on.push((directory.to_path_buf(), controller));
        }
        Ok(())
    }

    /// Moves back to our original cgroup and turns off the controllers that we turned on, after the session's
    /// cgroup was removed. The kernel keeps controllers that another session now uses. If we die before this,
    /// the next sweep does it.
    pub(super) fn restore(&mut self) {
        for (directory, controller) in self.on.drain(..).rev() {
            let _ = switch(&directory, '-', controller);
        }
        if let Some(leaf) = self.supervisor_leaf.take() {
            leaf.leave();
        }
    }
}

/// Turns on, in a session's cgroup, the controllers that its parent passes down, for its leaves.
pub(super) fn pass_down(
    session: &Path,
    needed: &BTreeSet<Controller>,
    useful: &[Controller],
) -> Result<(), Refused> {
    for &controller in needed {
        switch(session, '+', controller)?;
    }
    let available = read_words(session, "cgroup.controllers")?;
    turn_on_useful(session, &available, useful);
    Ok(())
}

/// Why a session below cgrun's own cgroup cannot have this controller, if that is known without turning it
/// on.
pub(crate) fn why_unavailable(mount: &Mount, controller: Controller) -> Option<Refused> {
    let own = mount.own.as_path();
    let is_on = || Ok::<_, Refused>(read_words(own, CONTROL)?.contains(controller.name()));
    let tried = to_pass_down(mount, controller).and_then(|_| {
        if !is_on()? && !is_root(own) && is_shared(mount)? { Err(own_occupied(mount)) } else { Ok(()) }
    });
    tried.err().map(|refused| refused.shown_in(mount))
}

/// The cgroups, from the top down, that do not pass this controller to ours yet but can.
fn to_pass_down(mount: &Mount, controller: Controller) -> Result<Vec<&Path>, Refused> {
    let mut at = mount.own.as_path();
    let mut passing = Vec::new();
    while !read_words(at, "cgroup.controllers")?.contains(controller.name()) {
        if at == mount.point {
            return Err(missing_at_the_root(at, controller));
        }
        let above = at.parent().filter(|above| !metadata::is_marked_delegated(at) && may_control(above));
        let Some(above) = above else {
            return Err(why_not_passed_down(mount, at, controller));
        };
        passing.push(above);
        at = above;
    }
    for &directory in &passing {
        if !is_root(directory) && !processes_in(directory)?.is_empty() {
            return Err(occupied(directory));
        }
    }
    passing.reverse();
    Ok(passing)
}

fn why_not_passed_down(mount: &Mount, at: &Path, controller: Controller) -> Refused {
    match read_words(&mount.point, "cgroup.controllers") {
        Ok(all) if !all.contains(controller.name()) && is_root(&mount.point) => {
            missing_at_the_root(&mount.point, controller)
        }
        _ if is_in_v1(controller) => Refused::Hybrid(controller),
        _ => Refused::NotDelegated { controller, path: at.to_path_buf() },
    }
}

fn missing_at_the_root(root: &Path, controller: Controller) -> Refused {
    match is_in_v1(controller) {
        true => Refused::Hybrid(controller),
        false if is_root(root) => Refused::NotInKernel(controller),
        false => Refused::NotDelegated { controller, path: root.to_path_buf() },
    }
}

/// `4:memory:/job` in `/proc/self/cgroup`. The io controller was called blkio in v1.
fn is_in_v1(controller: Controller) -> bool {
    let name = if controller == Controller::Io { "blkio" } else { controller.name() };
    let text = std::fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    text.lines().any(|line| line.split(':').nth(1).is_some_and(|list| list.split(',').any(|it| it == name)))
}

fn may_control(directory: &Path) -> bool {
    rustix::fs::access(directory.join(CONTROL), rustix::fs::Access::WRITE_OK).is_ok()
}

/// A failure is ignored: it only means that some figures are missing.
fn turn_on_useful(directory: &Path, available: &BTreeSet<String>, useful: &[Controller]) {
    let there = useful.iter().filter(|it| available.contains(it.name()));
    there.for_each(|it| drop(switch(directory, '+', *it)));
}

fn switch(directory: &Path, sign: char, controller: Controller) -> Result<(), ContainmentError> {
    write(&directory.join(CONTROL), format!("{sign}{}", controller.name()).as_bytes())
}
