//! The HTML report: one page for people that needs no script and no network. maud escapes every text
//! that it is given, so nothing that a process says of itself can become markup.

mod leaks;
mod overview;
mod page;
mod services;
mod timeline;

pub(super) use page::page;
