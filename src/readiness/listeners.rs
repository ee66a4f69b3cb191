//! Checks whether only the session listens on a service's ports.

use std::fmt;
use std::io;

use super::probe::{ProbeCheck, Progress};
use crate::containment::Sockets;
use crate::plan::ServicePlan;
use crate::ports::Holding;
use crate::sys::port::Port;
use crate::sys::sockets::Listener;

/// The listeners on the services' ports at one moment.
pub(crate) struct PortListeners<'a> {
    /// All listeners, or why they are not known.
    pub listeners: &'a io::Result<Vec<Listener>>,
    /// Tells which of them belong to the session.
    pub sockets: &'a Sockets,
    /// The ports on which an engine listens for the session's containers.
    pub published: &'a [Port],
}

impl PortListeners<'_> {
    fn include(&self, listener: &Listener) -> bool {
        self.sockets.include(listener) || self.published.contains(&listener.port)
    }
}

/// The probe of a service that is ready once it is started and its ports are its own.
#[derive(Debug)]
pub(super) struct ListenerCheck;

impl ProbeCheck for ListenerCheck {
    fn check(&mut self, _: Option<&Listener>) -> io::Result<Progress> {
        Ok(Progress::Passed)
    }

    fn unanswered(&self) -> String {
        "it has not answered".into()
    }
}

/// Why a service's ports are not the session's own.
#[derive(Debug)]
pub(super) enum NotOurs {
    Unknown(Port, String),
    NoListener(Port),
    Strangers(Vec<Listener>),
}

/// This is slow, because it looks up which processes hold the port.
impl fmt::Display for NotOurs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unknown(port, error) => {
                write!(f, "cannot determine which process listens on port {port}: {error}")
            }
            Self::NoListener(port) => write!(f, "nothing listens on port {port}"),
            Self::Strangers(listeners) => {
                let held: Vec<_> = Holding::of(listeners).iter().map(Holding::to_string).collect();
                write!(f, "{}, which is outside this session", held.join(", "))
            }
        }
    }
}

/// A listener of the session on the last of the service's ports, if only the session listens on them; `None` for a
/// service without a port.
pub(super) fn own_listener<'a>(
    plan: &ServicePlan,
    found: &'a PortListeners<'_>,
) -> Result<Option<&'a Listener>, NotOurs> {
    let mut own = None;
    for port in plan.own_ports() {
        let listeners =
            found.listeners.as_ref().map_err(|error| NotOurs::Unknown(port, crate::text::plain(error)))?;
        let (ours, strangers): (Vec<_>, Vec<_>) = listeners
            .iter()
            .filter(|listener| listener.port == port)
            .partition(|listener| found.include(listener));
        if !strangers.is_empty() {
            return Err(NotOurs::Strangers(strangers.into_iter().cloned().collect()));
        }
        own = Some(*ours.first().ok_or(NotOurs::NoListener(port))?);
    }
    Ok(own)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::Probe;
    use std::time::Duration;

    fn listener(cgroup: u64, address: &str) -> Listener {
        Listener {
            address: address.parse().unwrap(),
            port: Port::tcp(8000),
            inode: 1,
            uid: 0,
            cgroup: Some(cgroup),
        }
    }

    #[test]
    fn a_stranger_on_the_port_keeps_a_service_from_being_ready() {
        let plan = ServicePlan {
            name: "web".into(),
            command: Vec::new(),
            cwd: "/".into(),
            env: Default::default(),
            port: Some(Port::tcp(8000)),
            probe: Probe::Started,
            ready_timeout: Duration::ZERO,
            depends_on: Vec::new(),
            stop_signal: nix::sys::signal::Signal::SIGTERM,
            grace: Duration::ZERO,
            critical: true,
            stdin: Default::default(),
            limits: Default::default(),
        };
        let check = |listeners: io::Result<Vec<Listener>>, published: &[Port]| {
            let sockets = Sockets::MadeIn(vec![7, 8]);
            let found = PortListeners { listeners: &listeners, sockets: &sockets, published };
            own_listener(&plan, &found).map(|_| ()).map_err(|not_ours| not_ours.to_string())
        };
        assert!(check(Ok(vec![]), &[]).unwrap_err().contains("nothing listens"));
        assert_eq!(check(Ok(vec![listener(8, "::")]), &[]), Ok(()));
        let both = vec![listener(7, "0.0.0.0"), listener(9, "127.0.0.1")];
        assert!(check(Ok(both.clone()), &[]).unwrap_err().contains("outside"));
        assert!(check(Ok(both.clone()), &[Port::tcp(8001)]).unwrap_err().contains("outside"));
        assert_eq!(check(Ok(both), &[Port::tcp(8000)]), Ok(()));
        assert!(check(Err(io::Error::other("no")), &[]).is_err());
    }
}
