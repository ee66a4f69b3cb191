//! The System V objects that appeared while the session ran.

use std::collections::HashSet;
use std::io;
use std::path::Path;

use super::before::Before;
use super::leftover::{Fate, Leftover};
use super::look::{Leftovers, Scene};
use super::maker::{Maker, is_alive_since};
use crate::sys::process::pidfd::Process;
use crate::sys::system_v::{
    Object, ObjectKind, last_user_of_semaphore, parse_table, read_table, remove_segment,
};
use crate::text::plain;

pub(super) fn look(before: &Before, scene: &Scene<'_>, leftovers: &mut Leftovers) {
    for (kind, table) in &before.tables {
        match appeared(*kind, table) {
            Ok(objects) => {
                objects.iter().for_each(|object| judge(object, before.private.ipc, scene, leftovers))
            }
            Err(error) => {
                let has_proc = Path::new("/proc/self").exists();
                let unknown =
                    if has_proc { &mut leftovers.unverified } else { &mut leftovers.never_verified };
                unknown.push(format!("cannot read {}: {error}", kind.table()));
            }
        }
    }
}

fn appeared(kind: ObjectKind, before: &io::Result<Vec<u8>>) -> Result<Vec<Object>, String> {
    let before = before.as_ref().map_err(plain)?;
    let now = read_table(kind).map_err(|error| plain(&error))?;
    if *before == now {
        return Ok(Vec::new());
    }
    let parse = |text: &[u8]| match text {
        [] => Ok(Vec::new()),
        text => parse_table(kind, text).ok_or("it is not a table of such objects".to_string()),
    };
    let old: HashSet<i32> = parse(before)?.iter().map(|it| it.id).collect();
    Ok(parse(&now)?.into_iter().filter(|it| !old.contains(&it.id)).collect())
}

fn judge(object: &Object, is_private: bool, scene: &Scene<'_>, leftovers: &mut Leftovers) {
    let certain = scene.makers.iter().find(|it| it.has_made(object));
    let maker = certain.or_else(|| scene.makers.iter().find(|it| it.may_have_made(object)));
    if is_private {
        leftovers.found.push(Leftover::object(object, maker, Fate::GoneWithSession));
        return;
    }
    if !scene.may_be_of(object.uid) || certain.is_none() && belongs_to_another(object) {
        return;
    }
    let fate = match certain.map(|maker| remove(object, maker, scene)) {
        Some(Ok(true)) => Fate::Removed,
        Some(Err(error)) => {
            leftovers.unverified.push(format!(
                "cannot remove the shared memory {}: {}",
                object.id,
                plain(&error)
            ));
            Fate::LeftAlone
        }
        None | Some(Ok(false)) => Fate::LeftAlone,
    };
    leftovers.found.push(Leftover::object(object, maker, fate));
}

/// Removes it unless somebody can be using it: its maker, if it could not be stopped, or another who has attached it.
fn remove(object: &Object, maker: &Maker, scene: &Scene<'_>) -> io::Result<bool> {
    let is_unused = scene.is_proven && object.attached == 0 && !is_alive_since(maker.pid, object.changed);
    if is_unused { remove_segment(object) } else { Ok(false) }
}

/// Whether a process that has nothing to do with the session has made it, or uses it. Nothing of the session is alive.
fn belongs_to_another(object: &Object) -> bool {
    match object.kind {
        // A process of the session would be visible.
        ObjectKind::SharedMemory => {
            object.attached > 0 || object.creator.is_none_or(|it| is_alive_since(it, object.changed))
        }
        ObjectKind::Semaphores => last_user_of_semaphore(object.id).is_some_and(Process::exists),
        ObjectKind::MessageQueue => object.users.iter().copied().any(Process::exists),
    }
}
