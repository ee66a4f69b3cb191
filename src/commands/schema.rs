//! `cgrun schema`: prints the JSON Schema of the config.

use anyhow::Result;

use super::output::print;
use crate::config;
use crate::runtime::exit_code::Exit;

pub(crate) fn print_schema() -> Result<Exit> {
    print(&config::schema())
}
