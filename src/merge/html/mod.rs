//! The page that people read in the morning. It needs no script and no network.

mod leaks;
mod page;
mod side_by_side;

pub(super) use page::page;
