//! The phases of a teardown, in order. Each is named as in the JSON report, and is one method of
//! [`Teardown`](super::Teardown).
//!
//! | phase | does |
//! |---|---|
//! | [`ask`] | asks the command, the processes that it left behind, and the services to exit, and waits for their grace; before that, a command that hangs can write where it is ([`dump`]); inner PID namespaces go first ([`inner_inits`]) |
//! | [`kill`] | kills the processes left in the containment, until it is empty; if the supervisor is dead, first those that had left it ([`outside`]) |
//! | [`escaped`] | stops the processes that left the containment: our children, or those found by the session's marker ([`by_marker`]); reports those that could be its own ([`possible_escapees`]) |
//! | [`containers`] | ends what the session has created by way of container engines |
//! | [`ports`] | checks the watched ports, and kills processes that hold one and carry the session's marker |
//! | [`remove`] | removes the cgroups, which the kernel only allows if they are empty |

mod ask;
mod asking_roots;
mod by_marker;
mod containers;
mod dump;
mod escaped;
mod inner_inits;
mod kill;
mod kill_progress;
mod monitors;
mod outside;
mod ports;
mod possible_escapees;
mod remove;
mod stopping;
mod stragglers;
