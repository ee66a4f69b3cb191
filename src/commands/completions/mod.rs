//! `cgrun completions SHELL`: prints a completion script.
//!
//! clap generates the completion of cgrun's own options and commands. A wrapper, one file for each shell, hands over to
//! the completion of COMMAND.

use anyhow::Result;
use clap::{Arg, ArgAction, Command};

use super::output::print;
use crate::runtime::exit_code::Exit;

#[derive(Clone, Copy, Debug, clap::ValueEnum)]
pub(crate) enum Shell {
    Bash,
    Zsh,
    Fish,
}

pub(crate) fn print_script(shell: Shell, command: Command) -> Result<Exit> {
    print(&script(shell, command))
}

fn script(shell: Shell, mut command: Command) -> String {
    // The line of the generated script that begins its registration. The wrapper is registered instead.
    let (generator, registration, wrapper) = match shell {
        Shell::Bash => {
            (clap_complete::Shell::Bash, "if [[ \"${BASH_VERSINFO[0]}\" -eq 4 ", include_str!("wrapper.bash"))
        }
        Shell::Zsh => (clap_complete::Shell::Zsh, "if [ \"$funcstack[1]\"", include_str!("wrapper.zsh")),
        Shell::Fish => (clap_complete::Shell::Fish, "\0", include_str!("wrapper.fish")),
    };
    let mut generated = Vec::new();
    clap_complete::generate(generator, &mut command, "cgrun", &mut generated);
    let generated = String::from_utf8_lossy(&generated);
    let functions = generated.split(&format!("\n{registration}")).next().unwrap_or_default();
    // In zsh, the wrapper must have the name of the file, `_cgrun`. Of KIND=FILE, the FILE is to be completed.
    let functions = match shell {
        Shell::Zsh => functions
            .replacen("\n_cgrun() {", "\n_cgrun_itself() {", 1)
            .replace(":KIND=FILE:_default'", ":KIND=FILE:{ compset -P \"*=\"; _files }'"),
        Shell::Bash | Shell::Fish => functions.to_string(),
    };
    let commands: Vec<_> =
        command.get_subcommands().map(Command::get_name).filter(|it| *it != "run").collect();
    let options: Vec<_> =
        command.get_arguments().filter(|arg| has_separate_value(arg)).flat_map(names).collect();
    let switches: Vec<_> =
        command.get_arguments().filter(|arg| is_switch(arg)).filter_map(Arg::get_long).collect();
    let wrapper = wrapper
        .replace("SWITCHES|OF|CGRUN", &switches.join("|"))
        .replace("COMMAND|NAMES", &commands.join("|"))
        .replace("COMMAND NAMES", &commands.join(" "))
        .replace("OPTIONS|WITH|VALUES", &options.join("|"));
    format!("{functions}\n{wrapper}")
}

/// Whether the word after the option is its value.
fn has_separate_value(arg: &Arg) -> bool {
    arg.get_num_args().is_some_and(|it| it.min_values() > 0) && !arg.is_positional()
}

fn is_switch(arg: &Arg) -> bool {
    matches!(arg.get_action(), ArgAction::SetTrue)
}

fn names(arg: &Arg) -> Vec<String> {
    let short = arg.get_short().map(|it| format!("-{it}"));
    short.into_iter().chain(arg.get_long().map(|it| format!("--{it}"))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_wrapper_is_registered() {
        for (shell, registered) in
            [(Shell::Bash, "complete -F _cgrun_or_command "), (Shell::Zsh, "compdef _cgrun cgrun\n")]
        {
            let script = script(shell, crate::cli::command_for_completions());
            let lines: Vec<_> = script.lines().map(str::trim).filter(|it| !it.starts_with('#')).collect();
            let registrations: Vec<_> = lines
                .into_iter()
                .filter(|it| it.starts_with("complete ") || it.starts_with("compdef "))
                .collect();
            assert_eq!(registrations.len(), 1, "{registrations:?}");
            assert!(format!("{}\n", registrations[0]).starts_with(registered), "{registrations:?}");
            assert!(script.contains("--on-leak|") && script.contains("doctor|"), "{script}");
        }
    }
}
