//! The command line, as clap sees it.

use std::path::PathBuf;

use clap::{CommandFactory, Parser, Subcommand};

use super::command_options::{Check, Merge, PsOptions, Sessions};
use super::run_options::Run;
use crate::commands::completions::Shell;
use crate::config::Time;

/// Run a test session in one transient cgroup: nothing that it starts outlives it
///
/// Everything from COMMAND on belongs to COMMAND. `cgrun -- check` runs a program called check.
/// The command line overrides the config; `cgrun init` writes a config with all available keys.
/// Each option can also be set by a variable: CGRUN_GRACE=9s means --grace 9s.
#[derive(Debug, Parser)]
#[command(version, args_conflicts_with_subcommands = true, subcommand_precedence_over_arg = false)]
#[command(
    override_usage = "cgrun [OPTIONS] COMMAND [ARG]...\n       cgrun run|doctor|check|merge|sessions|ps|why|stop|sweep|init|completions|man|schema"
)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub action: Option<CliCommand>,
    #[command(flatten)]
    pub run: Run,
}

#[derive(Debug, Subcommand)]
// Their options are declared only if the subcommand is used.
#[command(defer = true)]
#[expect(clippy::large_enum_variant, reason = "there is one per process")]
pub(crate) enum CliCommand {
    /// Run COMMAND in a session (the long form of `cgrun COMMAND`)
    Run(Run),
    /// Check that watched ports are free and no session is stale: exit 0 or 1
    ///
    /// The exit code is 125 if that cannot be determined.
    Check(Check),
    /// Show this host's containment and how to get a stronger one
    Doctor {
        /// Print JSON
        #[arg(long)]
        json: bool,
        /// As root: look for the container engine of this user's sessions (`cgrun --user NAME --containers`)
        #[arg(long, value_name = "NAME")]
        user: Option<String>,
    },
    /// Merge the JSON reports of many sessions into one, by test and by host
    ///
    /// Without --html, --json, --junit or --markdown, a summary is printed. The exit code is 1 if a report was left out.
    Merge(Merge),
    /// List sessions on this host: live, stale, and recently ended by a guardian or a sweep
    ///
    /// The latter are your own of the last seven days.
    Sessions(Sessions),
    /// List the processes of a session with the test that started each
    ///
    /// With --during or --new-since, the exit code is 1 if there are any. `cgrun -- ps` runs the program ps.
    Ps(PsOptions),
    /// Say what each process of a session waits for, and which one to look at if it hangs
    ///
    /// It only looks: no process is stopped. `cgrun -- why` runs a program called why.
    Why {
        /// The session's id [default: the session that this is in, or the only one of this user]
        id: Option<String>,
        /// Print JSON
        #[arg(long)]
        json: bool,
        /// Also show where in their code the processes at the end of the chain wait; gdb, eu-stack and jcmd
        /// stop them for a moment, or send them a signal
        #[arg(long)]
        stacks: bool,
        /// Take [diagnose] from this config instead of the nearest cgrun.toml or pyproject.toml
        #[arg(short, long, value_name = "FILE", requires = "stacks")]
        config: Option<PathBuf>,
    },
    /// End a live session, and wait until it has ended
    ///
    /// It is ended by force if it does not exit when asked.
    Stop {
        /// The session's id, as `cgrun sessions` and CGRUN_SESSION show it
        id: String,
        /// How long the session is given to end after each request
        #[arg(long, value_name = "DUR", default_value = "15s")]
        grace: Time,
    },
    /// Clean up after cgrun processes that died
    Sweep {
        /// Only show which sessions would be ended
        #[arg(long)]
        dry_run: bool,
    },
    /// Write a commented cgrun.toml into the working directory
    Init,
    /// Print a completion script for bash, zsh or fish
    Completions {
        /// The shell
        shell: Shell,
    },
    /// Print the man page, in roff
    Man,
    /// Print the JSON Schema of the config, for editors
    Schema,
}

/// The names of cgrun's own commands.
pub(crate) fn command_names() -> impl Iterator<Item = String> {
    Cli::command()
        .get_subcommands()
        .map(|command| command.get_name().to_string())
        .collect::<Vec<_>>()
        .into_iter()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_short_help_fits_one_screen() {
        let help = Cli::command().term_width(100).render_help().to_string();
        let options = help.lines().filter(|line| line.trim_start().starts_with('-')).count();
        assert!(options <= 24, "{options} options:\n{help}");
        assert!(help.lines().count() <= 50, "{} lines:\n{help}", help.lines().count());
    }
}
