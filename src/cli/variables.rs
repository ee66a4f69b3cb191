//! `CGRUN_GRACE=5s` stands for `--grace 5s`, and so on for each option of a session.
//!
//! clap can read variables, but it takes an empty one for a value, does not name the variable in an error, and lets it
//! conflict with an option that is given.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};

use clap::builder::{BoolishValueParser, TypedValueParser};
use clap::error::{ContextKind, ContextValue, Error, ErrorKind};
use clap::parser::ValueSource;
use clap::{Arg, ArgAction, ArgMatches, Command, CommandFactory};

use super::arguments::Cli;

const PREFIX: &str = "CGRUN_";

/// The options that are not a session's, or that concern several sessions: a shard has CGRUN_SHARDS in its environment.
const WITHOUT: [&str; 5] = ["help", "version", "json", "shards", "fail-fast"];

/// The variable that stands for an option; `None` for COMMAND and for some options.
pub(super) fn variable_name(option: &Arg) -> Option<String> {
    let long = option.get_long().filter(|it| !WITHOUT.contains(it))?;
    Some(format!("{PREFIX}{}", long.to_uppercase().replace('-', "_")))
}

/// The variables that cgrun sets or reads otherwise.
const OTHERS: &[&str] = &[
    "CGRUN_SESSION",
    "CGRUN_LEAF",
    "CGRUN_OUTER",
    "CGRUN_ALLOWED",
    "CGRUN_LEAK_LOG",
    "CGRUN_KNOWN_LEAKS",
    "CGRUN_TEST",
    "CGRUN_SHARD",
    "CGRUN_SHARDS",
    #[cfg(debug_assertions)]
    "CGRUN_FAILPOINT",
];

/// The variables that stand for nothing, but resemble one that does: each with what was probably meant.
pub(crate) fn misspelled(names: impl Iterator<Item = OsString>) -> Vec<(String, String)> {
    let ours = names.filter_map(|name| name.into_string().ok()).filter(|name| name.starts_with(PREFIX));
    let ours: Vec<_> = ours.filter(|name| !OTHERS.contains(&name.as_str())).collect();
    // Few set such a variable, and describing all options to clap takes a third of a millisecond.
    if ours.is_empty() {
        return Vec::new();
    }
    let options = Cli::command();
    let known: Vec<String> = options.get_arguments().filter_map(variable_name).collect();
    let known: Vec<&str> = known.iter().map(String::as_str).chain(OTHERS.iter().copied()).collect();
    let meant = |name: &str| {
        let near = |it: &&str| strsim::osa_distance(&name[PREFIX.len()..], &it[PREFIX.len()..]);
        let meant = known.iter().copied().min_by_key(near)?;
        // Short words resemble too many others.
        let resembles = near(&meant) > 0 && near(&meant) * 3 <= meant.len() - PREFIX.len();
        resembles.then(|| meant.to_string())
    };
    ours.into_iter()
        .filter_map(|name| Some((meant(&name)?, name)))
        .map(|(meant, name)| (name, meant))
        .collect()
}

/// The options of `command` that variables stand for, as words. An empty variable counts as unset. An option that is
/// given, or one that conflicts with it, takes precedence over a variable.
pub(super) fn options_from_variables(
    command: &Command,
    matches: &ArgMatches,
    variable: impl Fn(&str) -> Option<OsString>,
) -> Result<Vec<OsString>, Error> {
    let is_given = |it: &Arg| matches.value_source(it.get_id().as_str()) == Some(ValueSource::CommandLine);
    let mut words = Vec::new();
    let mut used: Vec<(&Arg, String)> = Vec::new();
    for option in command.get_arguments() {
        let Some(name) = variable_name(option) else { continue };
        let Some(value) = variable(&name).filter(|value| !value.is_empty()) else { continue };
        if is_given(option) || command.get_arguments().any(|it| is_given(it) && conflict(command, it, option))
        {
            continue;
        }
        let options = words_of(command, option, &value).and_then(|words| check(command, words));
        let options = options.map_err(|error| about_variable(error, &name))?;
        if options.is_empty() {
            continue;
        }
        if let Some((_, other)) = used.iter().find(|(it, _)| conflict(command, it, option)) {
            let message =
                format!("the variables {other} and {name} contradict each other; unset one of them");
            return Err(Error::raw(ErrorKind::ArgumentConflict, message + "\n"));
        }
        used.push((option, name));
        words.extend(options);
    }
    Ok(words)
}

fn conflict(command: &Command, one: &Arg, other: &Arg) -> bool {
    let is_declared =
        |one, other: &Arg| command.get_arg_conflicts_with(one).iter().any(|it| it.get_id() == other.get_id());
    is_declared(one, other) || is_declared(other, one)
}

/// The option with this value. A flag takes a yes or no, and an option that can be repeated takes a list with commas.
fn words_of(command: &Command, option: &Arg, value: &OsStr) -> Result<Vec<OsString>, Error> {
    let long = option.get_long().unwrap_or_default();
    let with = |value: &[u8]| OsString::from_vec([b"--", long.as_bytes(), b"=", value].concat());
    Ok(match option.get_action() {
        ArgAction::SetTrue => {
            let is_on = BoolishValueParser::new().parse_ref(command, Some(option), value)?;
            if is_on { vec![format!("--{long}").into()] } else { Vec::new() }
        }
        ArgAction::Append => {
            let values = value.as_bytes().split(|&byte| byte == b',');
            values.filter(|value| !value.is_empty()).map(with).collect()
        }
        _ => vec![with(value.as_bytes())],
    })
}

/// Parses the words alone, so that an error is about their variable.
fn check(command: &Command, words: Vec<OsString>) -> Result<Vec<OsString>, Error> {
    let program = OsString::from(command.get_name());
    command.clone().try_get_matches_from([&[program], words.as_slice()].concat())?;
    Ok(words)
}

fn about_variable(mut error: Error, name: &str) -> Error {
    error.insert(ContextKind::InvalidArg, ContextValue::String(name.into()));
    error
}

#[cfg(test)]
mod tests {
    use super::super::parse::parse_from;
    use super::*;

    fn parse(words: &[&str], variables: &[(&str, &str)]) -> Result<Cli, String> {
        let words = ["cgrun"].iter().chain(words).map(OsString::from).collect();
        let variable =
            |name: &str| variables.iter().find(|(it, _)| *it == name).map(|(_, value)| value.into());
        parse_from(words, variable).map_err(|error| error.to_string())
    }

    #[test]
    fn no_variable_has_a_name_that_cgrun_uses_otherwise() {
        for option in Cli::command().get_arguments() {
            let Some(name) = variable_name(option) else { continue };
            assert!(!OTHERS.contains(&name.as_str()), "{name}");
            assert!(!name.starts_with("CGRUN_KEPT_"), "{name}");
        }
    }

    #[test]
    fn a_variable_stands_for_each_option() {
        let run = parse(&["x"], &[("CGRUN_GRACE", "7s"), ("CGRUN_PORT", "1,2/udp"), ("CGRUN_QUIET", "yes")])
            .unwrap()
            .run;
        assert_eq!(run.options.grace, Some("7s".parse().unwrap()));
        assert_eq!(run.options.config.ports.len(), 2);
        assert!(run.options.quiet);
        assert_eq!(run.command, ["x"]);
    }

    #[test]
    fn an_option_takes_precedence_over_a_variable() {
        let run = parse(&["--grace", "1s", "-q", "x"], &[("CGRUN_GRACE", "7s"), ("CGRUN_VERBOSE", "1")])
            .unwrap()
            .run;
        assert_eq!(run.options.grace, Some("1s".parse().unwrap()));
        assert!(run.options.quiet && !run.options.verbose);
    }

    #[test]
    fn an_empty_variable_counts_as_unset() {
        let run = parse(&["x"], &[("CGRUN_GRACE", ""), ("CGRUN_VERBOSE", "")]).unwrap().run;
        assert!(run.options.grace.is_none() && !run.options.verbose);
    }

    #[test]
    fn a_variable_can_turn_an_option_off() {
        let run = parse(&["x"], &[("CGRUN_CLEAN_ENV", "0"), ("CGRUN_VERBOSE", "false")]).unwrap().run;
        assert_eq!(run.options.clean_env, Some(false));
        assert!(!run.options.verbose);
    }

    #[test]
    fn a_misspelled_variable_is_recognized() {
        let found =
            |name: &str| misspelled(std::iter::once(OsString::from(name))).pop().map(|(_, meant)| meant);
        assert_eq!(found("CGRUN_ONLEAK").as_deref(), Some("CGRUN_ON_LEAK"));
        assert_eq!(found("CGRUN_TIMEOUTS").as_deref(), Some("CGRUN_TIMEOUT"));
        for name in
            ["CGRUN_GRACE", "CGRUN_TEST", "CGRUN_MY_OWN", "CGRUN_KEPT_LD_PRELOAD", "XCGRUN_GRCE", "CGRUN_"]
        {
            assert_eq!(found(name), None, "{name}");
        }
    }

    #[test]
    fn an_error_names_the_variable() {
        let error = |name, value| parse(&["x"], &[(name, value)]).unwrap_err();
        for (name, value) in [
            ("CGRUN_GRACE", "soon"),
            ("CGRUN_PORT", "1,x"),
            ("CGRUN_ON_LEAK", "warn"),
            ("CGRUN_VERBOSE", "maybe"),
            ("CGRUN_CLEAN_ENV", "maybe"),
            ("CGRUN_REPORT", "xml=x"),
        ] {
            let error = error(name, value);
            assert!(
                error.starts_with("error: invalid value ") && error.contains(&format!("for '{name}'")),
                "{error}"
            );
        }
    }

    #[test]
    fn variables_that_contradict_each_other_are_named() {
        let both = [("CGRUN_CONFIG", "x"), ("CGRUN_NO_CONFIG", "1")];
        let error = parse(&["x"], &both).unwrap_err();
        assert!(error.contains("CGRUN_CONFIG and CGRUN_NO_CONFIG contradict each other"), "{error}");
    }

    #[test]
    fn only_run_and_check_read_variables() {
        let wrong = [("CGRUN_GRACE", "soon")];
        assert!(parse(&["doctor"], &wrong).is_ok() && parse(&["stop", "x"], &wrong).is_ok());
        assert!(parse(&["check"], &wrong).is_ok() && parse(&["check"], &[("CGRUN_PORT", "x")]).is_err());
        assert!(parse(&["run", "x"], &wrong).is_err());
    }

    #[test]
    fn a_misspelled_option_is_not_taken_for_a_command() {
        let error = parse(&["--on-laek", "fail", "x"], &[]).unwrap_err();
        assert!(error.contains("'--on-leak'") && !error.contains("-- --on-laek"), "{error}");
        let error = parse(&["--zzz", "x"], &[]).unwrap_err();
        assert!(!error.contains("tip"), "{error}");
    }
}
