//! The stacks of the processes that a session hangs at: where in its code each of them waits.
//!
//! A tool for each kind of process reads them, as a child of the process that asks, with the rights of the process's user
//! and within a bound of time. Some tools stop the process for a moment, or send it a signal, so they run only if the user
//! asks for stacks, or if the session is about to be ended anyway.

mod collect;
mod credentials;
mod java;
mod kernel;
mod kind;
mod lookup;
mod native;
mod node;
mod python;
mod rules;
mod running;
mod stack;
mod tool;
mod tool_process;

pub(crate) use collect::{Target, stacks};
pub(crate) use rules::{PID, Rules};
pub(crate) use stack::Stack;
pub(crate) use tool::Intrusion;
