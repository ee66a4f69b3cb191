//! The labels by which an object of a container engine is known to be a session's. They are all that is left to go by when
//! cgrun was killed: the engine keeps them with the object.

use std::fmt;
use std::io;

use rustix::process::Pid;

use crate::containment::{Owner, SessionId, own_namespace};
use crate::sys::procfs::stat;

/// The id of the session.
pub(crate) const SESSION: &str = "cgrun.session";
/// Since which start of the kernel its supervisor runs.
pub(crate) const BOOT: &str = "cgrun.boot";
/// The number of the PID namespace of its supervisor.
pub(crate) const PID_NAMESPACE: &str = "cgrun.pid-namespace";
/// `PID:START`: the supervisor, by its pid in that namespace, and when it was started (clock ticks after boot).
pub(crate) const OWNER: &str = "cgrun.owner";
/// The test that has created the object, if that is known.
pub(crate) const TEST: &str = "cgrun.test";
/// What has run that test, such as pytest.
pub(crate) const RUNNER: &str = "cgrun.runner";
/// The service that has created it, if one has.
pub(crate) const SERVICE: &str = "cgrun.service";
/// A value that no other creation has. An image that is made of a container (`docker commit`) has that container's.
pub(crate) const CREATED: &str = "cgrun.created";
/// What comes before the id of a session around the one that has created the object. The label is empty.
pub(crate) const OUTER: &str = "cgrun.outer.";
/// What comes before these names on the networks and volumes of Compose v1, which warns of every label that is not in its
/// file, unless its name begins so.
pub(crate) const OF_COMPOSE_V1: &str = "com.docker.";

const BOOT_ID: &str = "/proc/sys/kernel/random/boot_id";

/// Where a pid means something: two hosts, or two containers, can share one engine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    boot: String,
    pid_namespace: String,
}

/// What all objects of one session have.
#[derive(Clone, Debug)]
pub(crate) struct Labels {
    session: String,
    place: Place,
    owner: Owner,
}

impl Place {
    /// Where this process is.
    pub(crate) fn here() -> io::Result<Self> {
        let boot = std::fs::read_to_string(BOOT_ID)
            .map_err(|error| io::Error::new(error.kind(), format!("cannot read {BOOT_ID}: {error}")))?;
        Ok(Self { boot: boot.trim().to_owned(), pid_namespace: own_namespace("pid")? })
    }

    /// Whether these values are those of this place.
    pub(super) fn is(&self, boot: &str, pid_namespace: &str) -> bool {
        self.is_boot(boot) && self.pid_namespace == pid_namespace
    }

    pub(super) fn is_boot(&self, boot: &str) -> bool {
        self.boot == boot
    }
}

impl Labels {
    /// The labels of a session whose supervisor is this process.
    pub(crate) fn of(session: &SessionId) -> io::Result<Self> {
        Ok(Self { session: session.to_string(), place: Place::here()?, owner: Owner::us()? })
    }

    pub(super) fn session(&self) -> &str {
        &self.session
    }

    pub(super) fn place(&self) -> &Place {
        &self.place
    }

    pub(crate) fn pairs(&self) -> Vec<(&'static str, String)> {
        vec![
            (SESSION, self.session.clone()),
            (BOOT, self.place.boot.clone()),
            (PID_NAMESPACE, self.place.pid_namespace.clone()),
            (OWNER, format!("{}:{}", self.owner.pid, self.owner.start_time)),
        ]
    }
}

/// `PID:START`
pub(super) fn parse_owner(text: &str) -> Option<Owner> {
    let (pid, start_time) = text.split_once(':')?;
    let pid = Pid::from_raw(pid.parse().ok().filter(|&pid| pid > 0)?)?;
    Some(Owner { pid, start_time: start_time.parse().ok()? })
}

/// Whether the supervisor of a session is certain to be dead.
pub(super) fn is_dead(owner: Owner) -> bool {
    // Another time namespace shifts all start times, and a process with this pid can be the owner in spite of its start.
    owner.is_alive().is_ok_and(|alive| !alive) && !is_in_another_time(owner.pid)
}

fn is_in_another_time(pid: Pid) -> bool {
    let time = |process: &dyn fmt::Display| std::fs::read_link(format!("/proc/{process}/ns/time"));
    match (time(&"self"), time(&pid)) {
        (Ok(ours), Ok(its)) => ours != its,
        // Its start could be read, so that it is there, and we are not allowed to know more.
        (Ok(_), Err(_)) => stat::start_time(pid).is_some(),
        // Before Linux 5.6 there is only one.
        (Err(_), _) => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_labels_of_a_living_session_say_that_it_lives() {
        let id = SessionId::random().unwrap();
        let pairs = Labels::of(&id).unwrap().pairs();
        let value = |name: &str| pairs.iter().find(|it| it.0 == name).unwrap().1.as_str();
        assert_eq!(value(SESSION), id.to_string());
        assert!(Place::here().unwrap().is(value(BOOT), value(PID_NAMESPACE)));
        assert!(!Place::here().unwrap().is("another", value(PID_NAMESPACE)));
        assert!(!Place::here().unwrap().is(value(BOOT), "1"));
        let owner = parse_owner(value(OWNER)).unwrap();
        assert!(!is_dead(owner));
        assert!(is_dead(Owner { start_time: owner.start_time + 1, ..owner }), "its pid is another's now");
        assert!(is_dead(Owner { pid: Pid::from_raw(i32::MAX).unwrap(), ..owner }));
    }

    #[test]
    fn only_a_whole_owner_is_believed() {
        for text in ["", "12", "12:", ":12", "0:5", "-4:5", "x:5", "12:x"] {
            assert_eq!(parse_owner(text), None, "{text}");
        }
    }
}
