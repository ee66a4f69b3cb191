//! The program itself: what a maintainer needs to know about it.

use std::fmt;

use serde::Serialize;

#[derive(Debug, Serialize)]
pub(super) struct Build {
    version: &'static str,
    /// Such as `x86_64-linux-musl`.
    target: String,
    /// Whether it runs without shared libraries.
    is_static: bool,
    /// Whether it was built without optimizations, and with fail points for the tests.
    is_debug: bool,
}

impl Build {
    pub(super) fn of_this_program() -> Self {
        let libc = if cfg!(target_env = "musl") { "musl" } else { "gnu" };
        Self {
            version: env!("CARGO_PKG_VERSION"),
            target: format!("{}-linux-{libc}", std::env::consts::ARCH),
            is_static: cfg!(target_feature = "crt-static"),
            is_debug: cfg!(debug_assertions),
        }
    }
}

impl fmt::Display for Build {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let linked = if self.is_static { "static" } else { "dynamic" };
        let debug = if self.is_debug { ", debug build" } else { "" };
        write!(f, "{}, {linked}, {}{debug}", self.version, self.target)
    }
}
