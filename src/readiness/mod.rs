//! Is a service ready? Its probe passes, and only the session listens on the service's ports, so that a stale
//! server never passes for the service.
//!
//! A new kind of probe is a new file with a [`ProbeCheck`](probe::ProbeCheck), and an arm in `Waiting::begin`.

mod command;
mod http;
mod listeners;
mod log;
mod probe;
mod waiting;

pub(crate) use listeners::PortListeners;
pub(crate) use waiting::{Readiness, TICK, Waiting};
