//! Reports about a session: on the terminal, in files (JSON, JUnit, HTML), and for GitHub.

mod by_test;
mod fold;
mod github;
mod group_lines;
mod hint;
mod html;
mod json;
mod junit;
mod leak_text;
mod leaking_tests;
mod limits_hit;
mod locate;
mod log_writer;
mod paint;
mod pipe;
mod report_file;
mod report_files;
mod run_summary;
mod session_report;
mod step_summary;
mod terminal;
mod timeline;
mod tree;
mod usage;
mod verdict_text;

pub(crate) use github::GitHub;
pub(crate) use hint::hint;
pub(crate) use json::{SCHEMA, SCHEMA_VERSION, StartedDuring, rounded_seconds};
pub(crate) use report_file::ReportFile;
pub(crate) use report_files::ReportFiles;
pub(crate) use run_summary::RunSummary;
pub(crate) use session_report::SessionReport;
pub(crate) use terminal::Reporter;
pub(crate) use timeline::Timeline;
pub(crate) use tree::in_tree_order;
