//! What `/proc` tells about processes (proc(5)). Nothing here sends a signal.

pub mod descriptors;
pub mod details;
pub mod elf;
pub mod environ;
pub mod memory;
pub mod process_info;
pub mod stat;
pub mod walk;
