//! `cgrun man`: prints the man page.

use anyhow::{Context, Result};
use clap::{Arg, Command};
use clap_mangen::Man;
use clap_mangen::roff::{Inline, Roff, bold, italic, roman};

use super::output::print;
use crate::runtime::exit_code::Exit;

/// The sections that the command line does not provide.
const MORE: &str = include_str!("man_sections.roff");

pub(crate) fn print_page(command: Command) -> Result<Exit> {
    print(&page(command).context("cannot render the man page")?)
}

fn page(command: Command) -> Result<String> {
    let commands = commands(&command);
    let man = Man::new(command).manual("User Commands");
    let mut page = Vec::new();
    man.render_title(&mut page)?;
    man.render_name_section(&mut page)?;
    synopsis().to_writer(&mut page)?;
    man.render_description_section(&mut page)?;
    commands.to_writer(&mut page)?;
    man.render_options_section(&mut page)?;
    Ok(String::from_utf8(page)? + MORE)
}

/// clap's lists every option.
fn synopsis() -> Roff {
    let mut roff = Roff::new();
    roff.control("SH", ["SYNOPSIS"]);
    roff.text([
        bold("cgrun"),
        roman(" ["),
        italic("OPTIONS"),
        roman("] "),
        italic("COMMAND"),
        roman(" ["),
        italic("ARG"),
        roman("]..."),
    ]);
    roff.control("br", []);
    roff.text([bold("cgrun"), roman(" "), italic("COMMAND\u{a0}OF\u{a0}CGRUN")]);
    roff
}

/// clap's refers to a page for each command.
fn commands(command: &Command) -> Roff {
    let mut roff = Roff::new();
    roff.control("SH", ["COMMANDS"]);
    roff.text([roman("They come right after "), bold("cgrun"), roman(".")]);
    for command in command.get_subcommands().filter(|it| it.get_name() != "help") {
        roff.control("TP", []);
        // `run` has the options of a session.
        let is_run = command.get_name() == "run";
        let arguments: Vec<_> =
            command.get_arguments().filter(|it| !is_run && it.get_long() != Some("help")).collect();
        roff.text(usage(command.get_name(), &arguments));
        roff.text([roman(command.get_about().map(ToString::to_string).unwrap_or_default())]);
        let options: Vec<_> = arguments.iter().filter(|it| is_own_option(it)).collect();
        if options.is_empty() {
            continue;
        }
        roff.control("RS", []);
        for argument in options {
            roff.control("TP", []);
            roff.text(option(argument));
            roff.text([roman(argument.get_help().map(ToString::to_string).unwrap_or_default())]);
        }
        roff.control("RE", []);
    }
    roff
}

/// The options that a command shares with a session are explained there.
fn is_own_option(argument: &Arg) -> bool {
    !argument.is_positional() && argument.get_help_heading().is_none()
}

fn usage(name: &str, arguments: &[&Arg]) -> Vec<Inline> {
    let mut line = vec![bold(name)];
    for argument in arguments {
        if argument.is_positional() {
            line.extend([roman(" "), italic(value_name(argument))]);
        } else {
            line.push(roman(" ["));
            line.extend(option(argument));
            line.push(roman("]"));
        }
    }
    line
}

fn option(argument: &Arg) -> Vec<Inline> {
    let name = bold(format!("--{}", argument.get_long().unwrap_or_default()));
    if argument.get_num_args().is_some_and(|it| it.takes_values()) {
        vec![name, roman(" "), italic(value_name(argument))]
    } else {
        vec![name]
    }
}

fn value_name(argument: &Arg) -> String {
    match argument.get_possible_values() {
        values if !values.is_empty() => values.iter().map(|it| it.get_name()).collect::<Vec<_>>().join("|"),
        _ => argument.get_value_names().map(|names| names.join(" ")).unwrap_or_default(),
    }
}
