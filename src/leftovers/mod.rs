//! What a session leaves behind that is not a process: System V objects, which belong to nobody, and files in directories
//! that all share.
//!
//! Only what is provably the session's is removed. The rest appeared while the session ran, and somebody else can have made
//! it, so it is reported and left alone.

mod before;
mod files;
mod leftover;
mod look;
mod maker;
mod objects;
mod private_directories;

pub(crate) use before::{Before, Own};
pub(crate) use leftover::{Fate, Leftover, LeftoverKind};
pub(crate) use look::{Leftovers, Scene, look};
pub(crate) use maker::Maker;
