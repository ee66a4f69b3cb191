//! The HTML report: one page for people that needs no script and no network. maud escapes all text, so no
//! text from a process can become markup.

mod containers;
mod leaks;
mod leftovers;
mod overview;
mod page;
mod services;
mod test_lanes;
mod timeline;

pub(crate) use page::frame;
pub(super) use page::page;
