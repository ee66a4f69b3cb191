//! Programs are recognized on each machine and in each run.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::path::Path;

use proptest::prelude::*;

use super::program::{LONGEST, program};

fn key(words: &[&str]) -> String {
    program(&words.iter().map(OsString::from).collect::<Vec<_>>(), Path::new("/home/a/proj"))
}

fn key_of(command: &str) -> String {
    key(&command.split(' ').collect::<Vec<_>>())
}

#[test]
fn a_program_has_the_same_key_on_each_machine_and_in_each_run() {
    for (here, there, both) in [
        (
            "/home/a/.venv/bin/python3.11 -m http.server 8123",
            "/opt/venv/bin/python3 -m http.server 9000",
            "python -m http.server *",
        ),
        (
            "/usr/bin/python3 /home/a/proj/tests/server.py --port=43121",
            "/usr/bin/python3 /builds/b/tests/server.py --port=80",
            "python server.py --port=*",
        ),
        (
            "node /x/node_modules/.bin/vite --port 5173",
            "/usr/bin/node node_modules/.bin/vite --port 3000",
            "node vite --port *",
        ),
        (
            "postgres -D /tmp/pytest-of-ci/pytest-3/data0 -p 5433",
            "postgres -D /tmp/pytest-of-a/pytest-12/popen-gw1/data1 -p 99",
            "postgres -D data* -p *",
        ),
        ("redis-server 127.0.0.1:6379", "/usr/bin/redis-server 127.0.0.1:80", "redis-server 127.0.0.1:*"),
        ("redis-server *:6379", "redis-server *:6380", "redis-server *:*"),
        ("sh -c ./run 1234", "sh -c /home/a/run 99999", "sh -c run *"),
        (
            "tail -f --pid=37 /tmp/tmpab12cd_x/log",
            "tail -f --pid=38 /tmp/tmpzzzzzzzz/log",
            "tail -f --pid=* log",
        ),
        ("x /tmp/tmpab12cd_x", "x /var/tmp/tmpzzzzzzzz", "x tmp*"),
        ("x /tmp/tmp.AbCdEfGhIj", "x /tmp/tmp.0123456789", "x tmp.*"),
        (
            "/tmp/x/.venv/bin/python3.11 /tmp/pytest-of-a/pytest-1/test_server0",
            "/x/python3 /tmp/pytest-of-a/pytest-2/test_server17",
            "python test_server*",
        ),
        ("x /tmp/a/mail-server1", "x /srv/mail-server1", "x mail-server1"),
        ("x /tmp/vite-a1B2c3", "x /tmp/vite-Zk9PqR", "x vite-*"),
        ("x http://127.0.0.1:8000/health", "x http://127.0.0.1:43121/health", "x http://127.0.0.1:*/health"),
        (
            "x postgres://me:hunter2@db:5432/test_gw3",
            "x postgres://me:other@db:1/test_gw0",
            "x postgres://me:*@db:*/test_gw*",
        ),
        ("x --token abc -v", "x --token Zk9 -v", "x --token * -v"),
        ("x --api-key abc", "x --api-key Zk9", "x --api-key *"),
        (
            "sh -c DB_PASS=a PGPASSWORD=b x",
            "sh -c DB_PASS=c PGPASSWORD=d x",
            "sh -c DB_PASS=* PGPASSWORD=* x",
        ),
        ("x -H Authorization: Bearer abc", "x -H Authorization: Bearer def", "x -H Authorization: * *"),
        (
            "x 550e8400-e29b-41d4-a716-446655440000 3f2504e04f89",
            "x 650e8400-e29b-41d4-a716-446655440001 4f2504e04f89",
            "x * *",
        ),
        ("x -I/usr/lib", "x -I/opt/lib", "x -Ilib"),
        ("x tests/test_a.py:12", "x /y/test_a.py:7", "x test_a.py:*"),
    ] {
        assert_eq!(key_of(here), both);
        assert_eq!(key_of(there), both);
    }
}

/// Each is an argument of its own, as in argv, and as one text, as in a title that the process gave itself.
#[test]
fn a_directory_with_spaces_is_a_directory() {
    let in_directory = |directory: &str, command: &[&str]| {
        let command = command.iter().map(|word| OsString::from(word.replace("DIR", directory)));
        program(&command.collect::<Vec<_>>(), Path::new(directory))
    };
    for (command, same) in [
        (&["DIR/venv/bin/python3", "-m", "http.server"][..], "python -m http.server"),
        (&["DIR/bin/server"], "server"),
        (&["python", "DIR/x/y.py", "--data=DIR/data", "DIR"], "python y.py --data=data ."),
        (&["sh", "-c", "cd 'DIR' && exec DIR/run 'DIR/a b'"], "sh -c cd '.' && exec run 'a b'"),
        (&["x", "DIR/my file.txt"], "x my file.txt"),
        (&["x", "/opt/tool/lib:DIR/lib"], "x lib:lib"),
    ] {
        for directory in ["/srv/project", "/home/ci/my project", "/builds/a  b/c d"] {
            assert_eq!(in_directory(directory, command), same, "{directory}");
        }
    }
    // Not only the session's own.
    assert_eq!(key(&["/opt/my tools/python3", "-m", "x"]), "python -m x");
    assert_eq!(key(&["x", "--root=/opt/my tools/share/y"]), "x --root=y");
    // What only looks like one is kept.
    assert_eq!(key(&["/bin/sh -c /x/y"]), "sh -c y");
    assert_eq!(key(&["/bin/sh /x/y"]), "sh y");
    assert_eq!(key(&["sh", "-c", "/bin/a; /bin/b && ./c"]), "sh -c a; b && c");
    assert_eq!(key(&["x", "/a/b=1 2/c"]), "x b=1 c");
}

#[test]
fn what_tells_programs_apart_is_kept() {
    for command in [
        "sleep 900",
        "sleep 3600",
        "make -j 4",
        "python -m http.server",
        "[kworker]",
        "nginx: worker process",
        "x --color=never a.b 2.5",
        "x deadbeef",
        "tmux new -d",
    ] {
        assert_eq!(key_of(command), command);
    }
    assert_eq!(key(&["/bin/sh", "-c", "cd /home/a/proj && exec ./run 1234"]), "sh -c cd . && exec run *");
    assert_eq!(
        key(&["python3", "-c", "import x;\n\n  x.run(\"/srv/a\")"]),
        "python -c import x; x.run(\"a\")"
    );
    let spawn = "from multiprocessing.spawn import spawn_main; spawn_main(tracker_fd=5, pipe_handle=17)";
    let spawned =
        "python -c from multiprocessing.spawn import spawn_main; spawn_main(tracker_fd=*, pipe_handle=*)";
    assert_eq!(key(&["/usr/bin/python3.12", "-c", spawn]), spawned);
    assert_eq!(key(&[""]), "");
}

#[test]
fn a_long_or_hostile_command_becomes_one_short_printable_line() {
    let bytes = OsString::from_vec(b"/x/a\xff\x1b[2J\xe2\x80\xae\n\"'=b".to_vec());
    let hostile = program(&[bytes, "y".repeat(9000).into()], Path::new("/"));
    assert!(hostile.starts_with("a\u{fffd}\\u{1b}[2J\\u{202e} \"'=b yyy"), "{hostile}");
    assert_eq!(hostile.chars().count(), LONGEST);
    assert_eq!(key_of(&hostile), hostile);
}

proptest! {
    #[test]
    fn a_key_is_its_own_key(text in r#"([a-z0-9:/.='" -]|tmp|gw|sleep|port|://|/tmp/|[A-F]|é|\n|@){0,90}"#) {
        let once = key(&[&text]);
        prop_assert_eq!(key(&[&once]), once);
    }

    #[test]
    fn a_key_contains_no_directory_pid_or_port(
        directory in "/[a-z]{1,8}/[a-z0-9]{1,8}/\\.?venv",
        number in 1024..4_194_304u32,
        before in "(--port |--port=|-p|--bind 0.0.0.0:|x\\.py:|-D/|\"|)",
    ) {
        let command = format!("{directory}/bin/python3 {directory}/x.py {before}{number} --at={directory}/y '{directory}/z'");
        let key = key_of(&command);
        prop_assert!(!key.contains("venv") && !key.contains(&directory), "{key}");
        prop_assert!(!key.contains(&number.to_string()), "{key}");
    }
}
