//! Decides whether a service is ready: its probe must pass, and only the session may listen on the service's
//! ports, so that a stale server is never taken for the service.
//!
//! A new kind of probe is a new file with a [`ProbeCheck`](probe::ProbeCheck), and an arm in `Waiting::begin`.

mod command;
mod escape_sequences;
mod http;
mod listeners;
mod log;
mod probe;
mod waiting;

pub(crate) use listeners::PortListeners;
pub(crate) use waiting::{Readiness, Waiting};
