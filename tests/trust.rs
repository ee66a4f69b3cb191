//! Without `--config`, a config is used only if only trusted users can have written it. Files of the same
//! name that are not configs are skipped.

use std::os::unix::fs::{PermissionsExt, chown};
use std::os::unix::net::UnixListener;
use std::path::Path;

use crate::fixtures::NOBODY;
use crate::harness::{Finished, Session};

const SOMEBODY: u32 = 4711;

/// Its service leaves a file behind if the config is used.
const PLANTED: &str = "[services.planted]\n\
    command = ['sh', '-c', 'touch planted-ran; echo ready; exec sleep 900']\nready = { log = 'ready' }\n";

/// A session that runs in `shared/mine`, both of which belong to root. The command leaves a file behind.
fn session() -> Session {
    Session::new().command(["touch", "ran"]).file("shared/mine/here", "")
}

fn set_mode(path: &Path, mode: u32) {
    std::fs::set_permissions(path, PermissionsExt::from_mode(mode)).unwrap();
}

fn give(path: &Path, uid: u32) {
    std::os::unix::fs::lchown(path, Some(uid), Some(uid)).unwrap();
}

/// Runs `with` cgrun in `directory`.
fn run_in(session: Session, directory: &str, with: &str) -> Finished {
    let script = format!("cd {directory} && exec {with} \"$CGRUN\" \"$@\"");
    session.start_through(&["sh", "-c", &script, "sh"]).finish()
}

#[track_caller]
fn assert_refused(run: &Finished, words: &[&str]) {
    run.assert_code(125).assert_nothing_left();
    words.iter().for_each(|word| {
        run.assert_said(word);
    });
    for file in ["shared/mine/ran", "shared/planted-ran", "shared/mine/planted-ran"] {
        assert!(!run.path().join(file).exists(), "there is a file {file}\n{}", run.stderr());
    }
}

#[track_caller]
fn assert_used(run: &Finished) {
    run.assert_code(0).assert_nothing_left();
    assert!(run.path().join("shared/planted-ran").exists(), "not used\n{}", run.stderr());
}

#[track_caller]
fn assert_skipped(run: &Finished) {
    run.assert_code(0).assert_silent().assert_nothing_left();
    assert!(run.path().join("shared/mine/ran").exists());
}

#[test]
fn a_config_that_another_user_planted_in_a_shared_directory_is_refused() {
    for (name, text) in [("cgrun.toml", PLANTED.to_string()), ("pyproject.toml", in_pyproject())] {
        let session = session().file(&format!("shared/{name}"), text);
        set_mode(&session.path().join("shared"), 0o1777);
        give(&session.path().join("shared").join(name), NOBODY);
        let run = run_in(session, "shared/mine", "");
        let path = format!("{}/shared/{name}", run.path().display());
        let named = format!("pass -c {path}, and to run without");
        assert_refused(&run, &["is not trusted: it belongs to nobody", "chown", &named]);
    }
}

fn in_pyproject() -> String {
    PLANTED.replace("[services", "[tool.cgrun.services")
}

#[test]
fn a_config_of_another_user_in_the_working_directory_is_refused() {
    let session = session().file("shared/mine/cgrun.toml", PLANTED);
    give(&session.path().join("shared/mine/cgrun.toml"), NOBODY);
    assert_refused(&run_in(session, "shared/mine", ""), &["belongs to nobody"]);
}

#[test]
fn cgrun_check_refuses_it_too() {
    let session = session().command(["check"]).file("shared/cgrun.toml", PLANTED);
    give(&session.path().join("shared/cgrun.toml"), NOBODY);
    assert_refused(&run_in(session, "shared/mine", ""), &["belongs to nobody"]);
}

#[test]
fn a_link_that_another_user_made_is_refused_even_to_a_file_of_root() {
    let session = session().file("other.toml", PLANTED);
    let link = session.path().join("shared/cgrun.toml");
    std::os::unix::fs::symlink("../other.toml", &link).unwrap();
    give(&link, NOBODY);
    assert_refused(&run_in(session, "shared/mine", ""), &["belongs to nobody"]);
}

#[test]
fn a_link_of_root_to_a_file_of_another_user_is_refused() {
    let session = session().file("other.toml", PLANTED);
    give(&session.path().join("other.toml"), NOBODY);
    std::os::unix::fs::symlink("../other.toml", session.path().join("shared/cgrun.toml")).unwrap();
    assert_refused(&run_in(session, "shared/mine", ""), &["belongs to nobody"]);
}

#[test]
fn a_directory_between_that_all_users_can_write_to_is_named() {
    for mode in [0o777, 0o1777] {
        let session = session().file("shared/cgrun.toml", PLANTED);
        set_mode(&session.path().join("shared"), mode);
        let run = run_in(session, "shared/mine", "");
        let named = format!("{}/shared is writable by all users", run.path().display());
        assert_refused(&run, &[&named, "pass -c"]);
    }
    let session = session_below(0o777);
    let run = run_in(session, "shared/open/mine", "");
    assert_refused(&run, &["/shared/open is writable by all users"]);
}

/// Like [`session`], but with one more directory between the config and the working directory.
fn session_below(mode: u32) -> Session {
    let session = Session::new().command(["touch", "ran"]).file("shared/open/mine/here", "");
    let session = session.file("shared/cgrun.toml", PLANTED);
    set_mode(&session.path().join("shared/open"), mode);
    session
}

#[test]
fn a_directory_between_of_another_user_is_named() {
    let session = session().file("shared/cgrun.toml", PLANTED);
    give(&session.path().join("shared"), NOBODY);
    assert_refused(&run_in(session, "shared/mine", ""), &["/shared belongs to nobody"]);
}

#[test]
fn a_config_that_all_users_can_write_to_is_refused() {
    let session = session().file("shared/cgrun.toml", PLANTED);
    set_mode(&session.path().join("shared/cgrun.toml"), 0o666);
    assert_refused(&run_in(session, "shared/mine", ""), &["all users can write to it", "chmod o-w"]);
}

#[test]
fn in_a_working_directory_that_is_open_to_all_users_the_mode_of_the_config_does_not_matter() {
    let session = session().file("shared/mine/cgrun.toml", "[session]\ngrace = '1s'\n");
    for (name, mode) in [("cgrun.toml", 0o777), ("", 0o777)] {
        set_mode(&session.path().join("shared/mine").join(name), mode);
    }
    assert_skipped(&run_in(session, "shared/mine", ""));
}

#[test]
fn a_working_directory_that_is_open_to_all_users_does_not_excuse_a_config_above_it() {
    let session = session().file("shared/cgrun.toml", PLANTED);
    set_mode(&session.path().join("shared/cgrun.toml"), 0o666);
    set_mode(&session.path().join("shared/mine"), 0o777);
    assert_refused(&run_in(session, "shared/mine", ""), &["all users can write to it", "chmod o-w"]);
}

#[test]
fn a_directory_that_the_group_can_write_to_is_no_obstacle() {
    let session = session().file("shared/cgrun.toml", PLANTED);
    set_mode(&session.path().join("shared"), 0o775);
    assert_used(&run_in(session, "shared/mine", ""));
}

#[test]
fn the_owner_of_the_working_directory_is_trusted() {
    let session = session().file("shared/cgrun.toml", PLANTED);
    for name in ["shared/cgrun.toml", "shared", "shared/mine"] {
        give(&session.path().join(name), SOMEBODY);
    }
    assert_used(&run_in(session, "shared/mine", ""));
}

#[test]
fn the_user_who_called_sudo_is_trusted() {
    let planted = || {
        let session = session().file("shared/cgrun.toml", PLANTED);
        give(&session.path().join("shared/cgrun.toml"), SOMEBODY);
        session
    };
    assert_used(&run_in(planted().env("SUDO_UID", SOMEBODY.to_string()), "shared/mine", ""));
    let other = planted().env("SUDO_UID", NOBODY.to_string());
    assert_refused(&run_in(other, "shared/mine", ""), &["belongs to uid 4711"]);
}

#[test]
fn the_user_of_the_session_is_trusted_if_named_on_the_command_line() {
    for user in ["nobody", "65534"] {
        let session = session().file("shared/cgrun.toml", PLANTED).options(["--user", user]);
        give(&session.path().join("shared/cgrun.toml"), NOBODY);
        set_mode(session.path(), 0o755);
        for directory in ["shared", "shared/mine"] {
            give(&session.path().join(directory), NOBODY);
        }
        assert_used(&run_in(session, "shared/mine", ""));
    }
}

#[test]
fn a_user_trusts_root_but_no_other_user() {
    let unprivileged = "setpriv --reuid=4711 --regid=4711 --clear-groups";
    for (owner, is_trusted) in [(0, true), (SOMEBODY, true), (NOBODY, false)] {
        let session = session().file("shared/cgrun.toml", "[session]\nnonsense = 1\n");
        for directory in ["", "shared", "shared/mine"] {
            set_mode(&session.path().join(directory), 0o755);
        }
        chown(session.path().join("shared/cgrun.toml"), Some(owner), None).unwrap();
        let cgrun = session.path().join("cgrun");
        std::fs::copy(crate::harness::cgrun_program(), &cgrun).unwrap();
        let session = session.env("CGRUN", cgrun).env("SUDO_UID", NOBODY.to_string());
        let run = run_in(session, "shared/mine", unprivileged);
        assert_refused(&run, &[if is_trusted { "unknown key `nonsense`" } else { "belongs to nobody" }]);
    }
}

#[test]
fn a_config_that_is_named_is_used_whoever_owns_it() {
    let session = session().file("shared/cgrun.toml", PLANTED).options(["-c", "../cgrun.toml"]);
    set_mode(&session.path().join("shared"), 0o1777);
    give(&session.path().join("shared/cgrun.toml"), NOBODY);
    assert_used(&run_in(session, "shared/mine", ""));
}

#[test]
fn dev_null_as_the_config_means_no_config() {
    let session = session().file("shared/cgrun.toml", PLANTED).options(["-c", "/dev/null"]);
    give(&session.path().join("shared/cgrun.toml"), NOBODY);
    assert_skipped(&run_in(session, "shared/mine", ""));
}

#[test]
fn a_pyproject_of_another_user_that_is_no_config_is_skipped() {
    for text in ["[project]\ndependencies = ['cgrun']\n", "[tool.\nbroken", "\u{fe}"] {
        let session = session().file("shared/pyproject.toml", text);
        set_mode(&session.path().join("shared"), 0o1777);
        give(&session.path().join("shared/pyproject.toml"), NOBODY);
        assert_skipped(&run_in(session, "shared/mine", ""));
    }
}

#[test]
fn what_is_not_a_file_is_skipped() {
    type Make = fn(&Path);
    let kinds: [Make; 5] = [
        |path| nix::unistd::mkfifo(path, nix::sys::stat::Mode::S_IRWXU).unwrap(),
        |path| drop(UnixListener::bind(path).unwrap()),
        |path| std::os::unix::fs::symlink("/dev/zero", path).unwrap(),
        |path| std::fs::create_dir(path).unwrap(),
        |path| std::os::unix::fs::symlink(path.file_name().unwrap(), path).unwrap(),
    ];
    for make in kinds {
        for path in ["shared/cgrun.toml", "shared/mine/cgrun.toml", "shared/pyproject.toml"] {
            let session = session();
            make(&session.path().join(path));
            assert_skipped(&run_in(session, "shared/mine", ""));
        }
    }
}
