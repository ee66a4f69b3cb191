//! Why a session hangs: what each process waits for, who could end that wait, and where the chain ends.
//!
//! Everything is read from /proc and from sock_diag(7): no process gets a signal, or is stopped.

mod events;
mod explanation;
mod files;
mod graph;
mod groups;
mod line;
mod peers;
mod postgres;
mod reason;
mod rights;
mod rows;
mod seen;
mod stuck;
mod suspects;
mod syscalls;
mod terminals;
mod text;
mod wait;
mod words;
mod zombies;

pub(crate) use explanation::Explanation;
pub(crate) use rows::Row;
pub(crate) use seen::Subject;
pub(crate) use stuck::why_stuck;
