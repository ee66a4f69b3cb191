//! Many reports become one: by test, by host, and compared with an earlier night.

mod compare;
mod document;
mod html;
mod input;
mod junit;
mod markdown;
mod merged;
mod output;
mod overview;
mod seconds;
mod session_file;
mod session_result;
mod tables;
mod text;
mod verdict;

pub(crate) use input::{add, read};
pub(crate) use merged::Merged;
pub(crate) use output::{Draft, Drafts, Format, Outputs};
pub(crate) use overview::Overview;
pub(crate) use verdict::sentences;

/// With what the name of a shard's report begins.
pub(crate) const SHARD: &str = "shard ";
