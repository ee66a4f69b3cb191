//! The session's services: their logs, and how each is found ready.

pub mod http;
pub mod logs;
pub mod ready;
