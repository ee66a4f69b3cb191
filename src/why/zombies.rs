//! Children that have exited, and for which their parent has not waited: it does not know yet.

use std::collections::BTreeMap;

use nix::sys::signal::Signal;
use rustix::process::Pid;

use super::seen::Seen;
use crate::sys::procfs::stat::{Zombie, zombie};
use crate::sys::procfs::walk::children;
use crate::text::readable;

/// The zombies of each process; those that a signal has killed first, because they tell the most.
pub(super) fn zombies(seen: &BTreeMap<i32, Seen>) -> BTreeMap<i32, Vec<Zombie>> {
    let is_alive = |pid: &Pid| seen.contains_key(&pid.as_raw_nonzero().get());
    let of = |parent: &Seen| -> Vec<Zombie> {
        let children = children(parent.stat.pid).unwrap_or_default();
        let mut found: Vec<_> = children.into_iter().filter(|it| !is_alive(it)).filter_map(zombie).collect();
        found.sort_by_key(|it| signal(it).is_none());
        found
    };
    seen.iter().map(|(&key, it)| (key, of(it))).filter(|(_, found)| !found.is_empty()).collect()
}

/// `its child 4712 (node) was killed by SIGKILL, and it has not waited for it`
pub(super) fn words(zombies: &[Zombie]) -> Option<String> {
    let first = zombies.first()?;
    let others = match zombies.len() - 1 {
        0 => String::new(),
        1 => ", as has 1 other".into(),
        more => format!(", as have {more} others"),
    };
    let ended = match (signal(first), first.exit) {
        (Some(signal), _) => format!("was killed by {signal}"),
        (None, Some(status)) => format!("has exited with code {}", status >> 8),
        (None, None) => "has exited".into(),
    };
    let name = readable(&first.name);
    Some(format!("its child {} ({name}) {ended}, and it has not waited for it{others}", first.pid))
}

/// The signal that has killed it (wait(2)).
fn signal(zombie: &Zombie) -> Option<String> {
    let number = zombie.exit? & 0x7f;
    let name = |number| Signal::try_from(number).map_or(format!("signal {number}"), |it| it.to_string());
    (number != 0).then(|| name(number))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn how_a_child_has_ended_is_told() {
        let zombie = |exit| Zombie { pid: Pid::from_raw(7).unwrap(), name: "a\nb".into(), exit };
        let said = |exits: &[Option<i32>]| words(&exits.iter().copied().map(zombie).collect::<Vec<_>>());
        assert_eq!(said(&[]), None);
        let text = r"its child 7 (a\nb) was killed by SIGKILL, and it has not waited for it";
        assert_eq!(said(&[Some(9)]).as_deref(), Some(text));
        let text = r"its child 7 (a\nb) has exited with code 3, and it has not waited for it, as has 1 other";
        assert_eq!(said(&[Some(3 << 8), None]).as_deref(), Some(text));
    }
}
