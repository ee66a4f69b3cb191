//! The command line as completion scripts and the man page describe it.

use clap::builder::PossibleValuesParser;
use clap::{Arg, ArgAction, Args, Command, CommandFactory, Subcommand, ValueHint};

use super::arguments::{Cli, CliCommand};
use super::run_options::RunOptions;

/// Without COMMAND, whose completion is not ours.
pub(crate) fn command_for_completions() -> Command {
    let command = Command::new("cgrun").version(env!("CARGO_PKG_VERSION"));
    let mut command = RunOptions::augment_args(CliCommand::augment_subcommands(command));
    command.build();
    let values =
        |values: &'static [&str]| move |arg: Arg| arg.value_parser(PossibleValuesParser::new(values));
    command
        .mut_arg("require", values(&["cgroup", "pidns", "tree", "cgroup+pidns"]))
        .mut_arg("user", |arg| arg.value_hint(ValueHint::Username))
        .mut_args(for_shells)
        .mut_subcommands(|command| command.mut_args(for_shells))
}

fn for_shells(arg: Arg) -> Arg {
    // The value of a switch is optional, and only `=` can precede it. Scripts would take the next word for it.
    if arg.get_num_args().is_some_and(|it| it.takes_values() && it.min_values() == 0) {
        return arg.num_args(0).action(ArgAction::SetTrue);
    }
    without_file_names(arg)
}

/// clap suggests files as the value of any option that does not say otherwise.
fn without_file_names(arg: Arg) -> Arg {
    let is_open = arg.get_value_hint() == ValueHint::Unknown && arg.get_possible_values().is_empty();
    if is_open && arg.get_id() != "reports" { arg.value_hint(ValueHint::Other) } else { arg }
}

/// With the options that only `--help` explains.
pub(crate) fn command_for_man_page() -> Command {
    let mut command = Cli::command().mut_args(|arg| arg.hide_short_help(false));
    command.build();
    command
}
