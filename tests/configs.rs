//! Where the settings of a run come from: the command line, variables, a profile, the config.

use crate::harness::{OwnHost, Session};

/// Prints one line for each setting that a test can observe from outside.
const PROFILES: &str = "[session]\nclean_env = true\n[profiles.ci.session]\nclean_env = false\n\
                        [profiles.nightly.session]\ntimeout = '3h'\n";

/// A session whose command prints the variable `SEEN`, unless the environment is clean.
fn session() -> Session {
    Session::new().env("SEEN", "seen").sh("echo \"$SEEN\"")
}

#[test]
fn no_config_reads_no_config() {
    let _host = OwnHost::enter();
    let broken = "not a config";
    session().config(broken).run().assert_code(125);
    session().config(broken).options(["--no-config"]).run().assert_code(0).assert_nothing_left();
    session().config(broken).env("CGRUN_NO_CONFIG", "1").run().assert_code(0);
    Session::again().config(broken).options(["check", "--no-config", "-p", "1"]).run().assert_code(0);
    let run = session().config(broken).options(["--no-config", "-c", "cgrun.toml"]).run();
    run.assert_code(125).assert_said("'--no-config' cannot be used with '--config <FILE>'");
}

/// "No config" and a profile, or a config, of which each is an option, a variable, or absent.
#[test]
fn no_config_and_a_profile_contradict_each_other_unless_one_is_an_option() {
    let _host = OwnHost::enter();
    Session::new();
    let others = [("--profile", "CGRUN_PROFILE", "ci"), ("--config", "CGRUN_CONFIG", "cgrun.toml")];
    for (command, (option, variable, value)) in
        ["", "run", "check"].iter().flat_map(|it| others.map(|other| (it, other)))
    {
        let run = |options: &[&str], variables: &[(&str, &str)]| {
            let session = Session::again().config("[profiles.ci.session]\nports = 1\n");
            let session = session.options(Some(command).filter(|it| !it.is_empty())).options(options);
            let session = variables.iter().fold(session, |session, (name, value)| session.env(*name, *value));
            if *command == "check" { session.run() } else { session.command(["true"]).run() }
        };
        let no_config = ("CGRUN_NO_CONFIG", "1");
        let contradict =
            format!("the variables {variable} and CGRUN_NO_CONFIG contradict each other; unset one of them");
        let both = run(&[], &[no_config, (variable, value)]);
        let mut said = both.assert_code(125).stderr();
        if !said.contains(&contradict) {
            said = said.replace(
                &format!("CGRUN_NO_CONFIG and {variable}"),
                &format!("{variable} and CGRUN_NO_CONFIG"),
            );
        }
        assert!(said.contains(&contradict), "{command}: {said}");
        // The option takes precedence: the config, which is wrong, is read or not.
        run(&["--no-config"], &[(variable, value)]).assert_code(0);
        run(&["--no-config"], &[(variable, value), no_config]).assert_code(0);
        run(&[option, value], &[no_config]).assert_code(125).assert_said("cgrun.toml:2:9: ");
        run(&[option, value], &[no_config, (variable, "other")])
            .assert_code(125)
            .assert_said("cgrun.toml:2:9: ");
        // A variable that is empty or says no is as good as none.
        for off in ["", "0", "false", "no", "off"] {
            run(&[], &[("CGRUN_NO_CONFIG", off), (variable, value)])
                .assert_code(125)
                .assert_said("cgrun.toml:2:9: ");
        }
        run(&[], &[no_config, (variable, "")]).assert_code(0);
        run(&["--no-config", option, value], &[]).assert_code(125).assert_said("cannot be used with");
    }
}

#[test]
fn an_option_comes_before_a_variable_and_that_before_the_config() {
    let config = "[session]\nclean_env = true\n";
    let seen = |session: Session| session.config(config).run().assert_code(0).stdout() == "seen\n";
    assert!(!seen(session()));
    assert!(seen(session().env("CGRUN_CLEAN_ENV", "0")));
    assert!(!seen(session().env("CGRUN_CLEAN_ENV", "")));
    assert!(!seen(session().env("CGRUN_CLEAN_ENV", "0").options(["--clean-env"])));
    assert!(seen(session().env("CGRUN_CLEAN_ENV", "1").options(["--clean-env=false"])));
}

#[test]
fn a_wrong_variable_is_named() {
    let run = session().env("CGRUN_GRACE", "soon").run();
    run.assert_code(125)
        .assert_said("error: invalid value 'soon' for 'CGRUN_GRACE': a duration is a number with a unit")
        .assert_nothing_left();
}

#[test]
fn a_session_inherits_the_variables_unless_its_environment_is_clean() {
    let script = "echo \"$CGRUN_SETTLE\"";
    let run = Session::new().env("CGRUN_SETTLE", "1ms").sh(script).run();
    assert_eq!(run.assert_code(0).stdout(), "1ms\n");
    let run = Session::again().env("CGRUN_SETTLE", "1ms").options(["--clean-env"]).sh(script).run();
    assert_eq!(run.assert_code(0).stdout(), "\n");
}

#[test]
fn a_report_can_be_asked_for_with_a_variable() {
    let run = session().env("CGRUN_REPORT", "json=a.json,junit=b.xml").run();
    run.assert_code(0);
    assert!(run.path().join("a.json").exists() && run.path().join("b.xml").exists());
}

#[test]
fn the_profile_ci_is_used_in_ci() {
    for (ci, is_used) in [("true", true), ("1", true), ("", false), ("0", false), ("False", false)] {
        let run = session().config(PROFILES).env("CI", ci).options(["-v"]).run();
        assert_eq!(run.assert_code(0).stdout() == "seen\n", is_used, "CI={ci}");
        assert_eq!(run.stderr().contains("using the profile ci of "), is_used, "CI={ci}");
        assert_eq!(run.stderr().contains("because the variable CI is set"), is_used, "CI={ci}");
    }
    let run = session().config(PROFILES).env("CI", "true").options(["--profile", "nightly"]).run();
    assert_eq!(run.assert_code(0).stdout(), "\n");
    assert!(run.stderr().is_empty(), "{}", run.stderr());
}

/// A profile, a long list of leaks in the log, GitHub's summary, and `cgrun doctor`.
#[test]
fn all_parts_agree_on_whether_a_ci_system_runs_cgrun() {
    let cases: [(&[(&str, &str)], bool); 7] = [
        (&[("GITHUB_ACTIONS", "true")], true),
        (&[("GITHUB_ACTIONS", "true"), ("CI", "true")], true),
        (&[("GITHUB_ACTIONS", "FALSE")], false),
        (&[("GITHUB_ACTIONS", "0")], false),
        (&[("GITHUB_ACTIONS", "true"), ("CI", "false")], false),
        (&[("GITHUB_ACTIONS", "true"), ("CI", "0")], false),
        (&[("GITHUB_ACTIONS", "true"), ("CI", "")], false),
    ];
    let in_ci = |session: Session, variables: &[(&str, &str)]| {
        variables.iter().fold(session, |session, (name, value)| session.env(*name, *value))
    };
    let leaks = "for n in $(seq 40); do sleep 9$n & done; echo \"$SEEN\"";
    for (variables, expected) in cases {
        let session = session().config(PROFILES).options(["-v"]).env("GITHUB_STEP_SUMMARY", "summary");
        let run = in_ci(session, variables).sh(leaks).run();
        let is_used = run.assert_code(0).stdout() == "seen\n";
        let said = run.stderr();
        let doctor = in_ci(Session::again().options(["doctor"]), variables).run().stdout();
        let row = doctor.lines().find(|line| line.starts_with("CI ")).unwrap().to_string();
        let answers = [
            is_used,
            said.contains("using the profile ci of ") && said.contains(", because GitHub Actions runs cgrun"),
            said.contains("::group::"),
            said.contains("::warning"),
            run.path().join("summary").exists(),
            row.ends_with("GitHub Actions"),
        ];
        assert_eq!(answers, [expected; 6], "{variables:?}\n{said}\n{row}");
        run.assert_nothing_left();
    }
}

#[test]
fn a_profile_can_be_named() {
    for session in [session().options(["--profile", "ci"]), session().env("CGRUN_PROFILE", "ci")] {
        assert_eq!(session.config(PROFILES).run().assert_code(0).stdout(), "seen\n");
    }
}

#[test]
fn an_error_about_a_limit_names_the_profile_that_set_it() {
    let config = "[limits]\ncpus = 1\n[services.a]\ncommand = ['sleep', '900']\n\
                  [profiles.ci.limits]\npids = 1\n[profiles.huge.limits]\ncpuset = '8000'\n[profiles.none.session]\n";
    let refused = |options: &[&str]| {
        let run = Session::again().config(config).options(options).command(["touch", "ran"]).run();
        assert!(!run.path().join("ran").exists());
        run.assert_code(125);
        run.stderr()
    };
    Session::new();
    let said = refused(&["--profile", "ci"]);
    assert!(
        said.contains("a limit of 1 processes (set by the profile ci) is too small: 1 services"),
        "{said}"
    );
    // An option has replaced that of the profile.
    let said = refused(&["--profile", "ci", "--pids", "1"]);
    assert!(said.contains("a limit of 1 processes is too small"), "{said}");
    let said = refused(&["--profile", "none", "--pids", "1"]);
    assert!(said.contains("a limit of 1 processes is too small"), "{said}");
    let said = refused(&["--profile", "huge"]);
    let expected = "cannot limit cpuset (set by the profile huge): 8000 contains none of this host's CPUs";
    assert!(said.contains(expected), "{said}");
}

#[test]
fn an_unknown_profile_is_refused() {
    let run = session().config(PROFILES).options(["--profile", "CI"]).run();
    run.assert_code(125).assert_said("cgrun.toml has no profile \"CI\"; its profiles are ci, nightly");
    let run = session().options(["--profile", "ci"]).run();
    run.assert_code(125).assert_said("there is no profile \"ci\", because there is no config");
    let run = Session::again().config(PROFILES).options(["check", "--profile", "x"]).run();
    run.assert_code(125).assert_said("its profiles are ci, nightly");
}

#[test]
fn a_wrong_config_is_explained_in_words_of_toml() {
    for (config, message) in [
        (
            "[profiles.ci]\non_leak = 'fail'",
            "unknown key `on_leak`, expected one of `session`, `limits`, `private`; its keys go into",
        ),
        ("profiles = []", "invalid type: list, expected a table"),
        ("[session]\nuser = {}", "invalid type: table, expected a string in quotes"),
        ("[session]\nclean_env = 'yes'", "invalid type: string \"yes\", expected true or false"),
    ] {
        session().config(config).run().assert_code(125).assert_said(message);
    }
}

#[test]
fn a_misspelled_option_gets_no_misleading_tip() {
    let run = session().options(["--on-laek", "fail"]).run();
    run.assert_code(125).assert_said("a similar argument exists: '--on-leak'");
    assert!(!run.stderr().contains("-- --on-laek"), "{}", run.stderr());
}

#[test]
fn check_prints_json() {
    let _host = OwnHost::enter();
    let run = Session::new().options(["check", "--json", "-p", "3000"]).run();
    let said: serde_json::Value = serde_json::from_str(&run.assert_code(0).stdout()).unwrap();
    assert_eq!(said["clean"], true);
    assert_eq!(said["watched_ports"], serde_json::json!([3000]));
    let listener = std::net::TcpListener::bind("127.0.0.1:3000").unwrap();
    let run = Session::again().options(["check", "--json", "-p", "3000"]).run();
    let said: serde_json::Value = serde_json::from_str(&run.assert_code(1).stdout()).unwrap();
    drop(listener);
    assert_eq!((&said["clean"], &said["held_ports"][0]["port"]), (&false.into(), &3000.into()));
    assert_eq!(said["held_ports"][0]["pids"][0], std::process::id());
    assert_eq!(run.stderr(), "");
}
