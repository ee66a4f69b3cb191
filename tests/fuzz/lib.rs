//! The modules of cgrun that the fuzzer drives, and what it compares them with.

#![allow(dead_code, unused_imports, unused_macros)]

#[path = "../../src/containers/mod.rs"]
mod containers;
#[path = "../../src/containment/mod.rs"]
mod containment;
#[path = "../../src/leaks/mod.rs"]
mod leaks;
#[path = "../../src/ports/mod.rs"]
mod ports;
#[path = "../../src/runtime/mod.rs"]
mod runtime;
#[path = "../../src/sys/mod.rs"]
mod sys;
#[path = "../../src/text.rs"]
mod text;

pub mod grammar;
pub mod oracle;
pub mod requests;
pub mod upstream;

pub use containers::fuzzing as cgrun;
