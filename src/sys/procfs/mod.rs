//! Reads about processes from `/proc` (proc(5)). Nothing here sends a signal.

pub(crate) mod descriptors;
pub(crate) mod details;
pub(crate) mod elf;
pub(crate) mod environ;
pub(crate) mod io;
pub(crate) mod locks;
pub(crate) mod mappings;
pub(crate) mod memory;
pub(crate) mod namespaces;
pub(crate) mod process_info;
pub(crate) mod stat;
pub(crate) mod status;
pub(crate) mod switches;
pub(crate) mod syscall;
pub(crate) mod walk;
