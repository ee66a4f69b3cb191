//! `cgrun init`: writes a commented `cgrun.toml` into the working directory.

use std::fs::File;
use std::io::{ErrorKind, Write};
use std::path::Path;

use anyhow::{Context, Error, Result, anyhow};

use crate::config::{FILE_NAME, template};
use crate::report::Reporter;
use crate::runtime::exit_code::Exit;

/// The file that `cgrun schema` is meant to be written to.
const SCHEMA_NAME: &str = "cgrun.schema.json";

pub(crate) fn init(reporter: &Reporter) -> Result<Exit> {
    let mut file = File::create_new(FILE_NAME).map_err(|error| match error.kind() {
        ErrorKind::AlreadyExists => anyhow!("{FILE_NAME} already exists here; edit it, or remove it first"),
        _ => Error::new(error).context(format!("cannot create {FILE_NAME} here")),
    })?;
    // Editors complain about a schema that does not exist.
    let schema =
        if Path::new(SCHEMA_NAME).is_file() { format!("#:schema ./{SCHEMA_NAME}\n") } else { String::new() };
    let text = schema + template::TEMPLATE;
    if let Err(error) = file.write_all(text.as_bytes()) {
        // An incomplete file would be mistaken for a config.
        let _ = std::fs::remove_file(FILE_NAME);
        return Err(error).context(format!("cannot write {FILE_NAME}"));
    }
    reporter.say(&format!("wrote {FILE_NAME}; now try: cgrun COMMAND"));
    Ok(Exit::Code(0))
}
