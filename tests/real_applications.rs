//! Real servers as services, each with its own way to start, fork and exit. All of them shut down by
//! themselves and save their state: only a service that does not react is killed.
//!
//! scripts/test installs what they need. A missing program fails the test.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, SystemTime};

use nix::sys::signal::Signal;

use crate::harness::{Finished, Session, is_listening, private_shared_memory};

/// Long enough that a service that exits only because this ran out is noticed.
const GRACE: &str = "30s";
/// Far shorter than [`GRACE`], and far longer than any of them needs on a busy machine.
const SOON: Duration = Duration::from_secs(12);

// --- Python ------------------------------------------------------------------------------

/// Records the start and the orderly exit of each worker, and responds with `ANSWER`.
const ASGI: &str = r#"
import os, pathlib

ANSWER = str(os.getpid())

async def app(scope, receive, send):
    if scope["type"] == "lifespan":
        while True:
            event = (await receive())["type"]
            pathlib.Path(f"{event}.{os.getpid()}").touch()
            await send({"type": f"{event}.complete"})
            if event == "lifespan.shutdown":
                return
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": ANSWER.encode()})
"#;

fn uvicorn(arguments: &str) -> Session {
    let uvicorn = below_root("target/demo/venv/bin/uvicorn");
    Session::new().file("app.py", ASGI).config(&format!(
        r#"
        [session]
        grace = "{GRACE}"

        [services.backend]
        command = ["{uvicorn}", "app:app", "--port", "8000", {arguments}]
        port = 8000
        ready = {{ http = "http://127.0.0.1:8000/" }}
        "#
    ))
}

#[test]
fn uvicorn_workers_shut_down_in_order() {
    let run = uvicorn(r#""--workers", "3""#)
        .sh("python3 $HELPERS/all_workers.py 8000 3; code=$?; touch ended; exit $code")
        .run();
    run.assert_code(0);
    assert_graceful(&run);
    assert_eq!(count(&run, "lifespan.startup."), 3);
    assert_eq!(count(&run, "lifespan.shutdown."), 3, "{}", run.log("backend"));
}

#[test]
fn uvicorn_with_reload_shuts_down_in_order_after_an_edit() {
    let edit = r#"python3 $HELPERS/edit_until.py 8000 edited app.py 'ANSWER = "edited"'"#;
    let run = uvicorn(r#""--reload""#).sh(&format!("{edit}; code=$?; touch ended; exit $code")).run();
    run.assert_code(0);
    assert_graceful(&run);
    let workers = count(&run, "lifespan.startup.");
    assert!(workers >= 2, "{}", run.log("backend"));
    assert_eq!(count(&run, "lifespan.shutdown."), workers, "{}", run.log("backend"));
}

// --- JavaScript --------------------------------------------------------------------------

#[test]
fn a_node_server_behind_npm_and_a_shell_shuts_down_in_order() {
    installed("npm");
    let package = r#"{ "name": "frontend", "scripts": { "dev": "node server.js && true" } }"#;
    let server = r#"
        const server = require("http").createServer((_, response) => response.end("tea"));
        server.listen(3000, "127.0.0.1");
        process.on("SIGTERM", () => {
            require("fs").writeFileSync("saved", "");
            process.exit(0);
        });
    "#;
    let run = Session::new()
        .file("package.json", package)
        .file("server.js", server)
        .config(&format!(
            r#"
            [session]
            grace = "{GRACE}"

            [services.frontend]
            command = ["npm", "run", "dev"]
            port = 3000
            ready = {{ http = "http://127.0.0.1:3000/" }}
            "#
        ))
        .sh("python3 $HELPERS/get.py 3000; touch ended")
        .run();
    run.assert_code(0);
    assert_eq!(run.stdout(), "tea");
    assert_graceful(&run);
    assert!(run.path().join("saved").exists(), "node was not asked to exit\n{}", run.log("frontend"));
}

#[test]
fn vite_behind_npm_shuts_down() {
    installed("npm");
    below_root("tests/demo/frontend/node_modules/.bin/vite");
    let run = Session::new()
        .config(&format!(
            r#"
            [session]
            grace = "{GRACE}"

            [services.frontend]
            command = ["npm", "run", "dev"]
            cwd = "{}"
            port = 3000
            ready = {{ http = "http://127.0.0.1:3000/" }}
            "#,
            below_root("tests/demo/frontend")
        ))
        .sh("python3 $HELPERS/get.py 3000 /main.js; touch ended")
        .run();
    run.assert_code(0);
    assert!(run.stdout().contains("fetch"), "{}", run.stdout());
    assert_graceful(&run);
}

#[test]
fn vite_is_ready_when_its_coloured_log_says_so() {
    let vite = below_root("tests/demo/frontend/node_modules/.bin/vite");
    let run = Session::new()
        .config(&format!(
            r#"
            [session]
            grace = "{GRACE}"

            [services.frontend]
            command = ["{vite}"]
            cwd = "{}"
            env = {{ FORCE_COLOR = "1" }}
            ready = {{ log = "ready in \\d+ ms" }}
            "#,
            below_root("tests/demo/frontend")
        ))
        .sh("touch ended")
        .run();
    run.assert_code(0);
    assert!(run.log("frontend").contains("\u{1b}[1m"), "{}", run.log("frontend"));
    assert_graceful(&run);
}

#[test]
fn esbuild_watches_until_it_is_stopped() {
    let esbuild = below_root("tests/demo/frontend/node_modules/.bin/esbuild");
    let rebuilt = "until grep -q tea out.js; do sleep 0.01; done; echo 'console.log(\"coffee\")' >in.js; \
        until grep -q coffee out.js; do sleep 0.01; done; touch ended";
    let run = Session::new()
        .file("in.js", "console.log(\"tea\")\n")
        .config(&format!(
            r#"
            [session]
            grace = "{GRACE}"

            [services.frontend]
            command = ["{esbuild}", "in.js", "--watch", "--outfile=out.js"]
            ready = {{ log = "watching for changes" }}
            "#
        ))
        .sh(rebuilt)
        .run();
    run.assert_code(0);
    assert_graceful(&run);
}

// --- Redis -------------------------------------------------------------------------------

/// Redis with its own log. If it daemonizes, the process that was started has exited before it is ready.
fn redis(daemonize: &str, keys: &str) -> Session {
    installed("redis-server");
    installed("redis-cli");
    Session::new().config(&format!(
        r#"
        [session]
        grace = "{GRACE}"

        [services.cache]
        command = ["redis-server", "--daemonize", "{daemonize}", "--bind", "127.0.0.1",
                   "--save", "3600 1000000", "--dir", "."]
        port = 6379
        {keys}
        "#
    ))
}

#[test]
fn a_redis_daemon_saves_its_data() {
    let run = redis("yes", r#"ready = { command = ["redis-cli", "ping"] }"#)
        .sh("redis-cli set pot darjeeling; touch ended")
        .run();
    run.assert_code(0);
    assert_eq!(run.stdout(), "OK\n");
    assert_graceful(&run);
    let dump = std::fs::read(run.path().join("dump.rdb")).expect("a dump: redis was asked, not killed");
    assert!(dump.windows(10).any(|it| it == b"darjeeling"), "{dump:?}");
}

#[test]
fn a_service_that_exits_during_the_tests_ends_the_session_at_once() {
    let run = redis("no", "").sh("touch ended; redis-cli shutdown; exec sleep 1000").run();
    run.assert_code(125).assert_said("service cache ended: exit status 0; it must outlive the command");
    run.assert_said("Redis is now ready to exit");
    assert_graceful(&run);
}

#[test]
fn a_killed_daemon_is_not_reported_as_a_clean_exit() {
    let pid = r"redis-cli info server | sed -n 's/^process_id:\([0-9]*\).*/\1/p'";
    let run = redis("yes", "").sh(&format!("touch ended; kill -KILL $({pid}); exec sleep 1000")).run();
    run.assert_code(125).assert_said("service cache ended; it must outlive the command");
    assert_graceful(&run);
}

#[test]
fn a_service_that_is_not_critical_can_exit_during_the_tests() {
    let wait = "until grep -q 'not critical' stderr; do sleep 0.01; done";
    let run =
        redis("no", "critical = false").sh(&format!("redis-cli shutdown; {wait}; touch ended; exit 7")).run();
    run.assert_code(7).assert_said("service cache ended: exit status 0; it is not critical");
    assert_graceful(&run);
}

// --- nginx -------------------------------------------------------------------------------

#[test]
fn an_nginx_daemon_shuts_down_its_workers() {
    installed("nginx");
    let nginx = "
        worker_processes 2;
        pid nginx.pid;
        error_log error.log notice;
        events {}
        http {
            access_log off;
            server {
                listen 127.0.0.1:8000;
                location / { return 200 tea; }
            }
        }
    ";
    let run = Session::new()
        .file("nginx.conf", nginx)
        .config(&format!(
            r#"
            [session]
            grace = "{GRACE}"

            [services.web]
            command = ["nginx", "-p", ".", "-e", "error.log", "-c", "nginx.conf"]
            port = 8000
            ready = {{ http = "http://127.0.0.1:8000/" }}
            stop_signal = "SIGQUIT"
            "#
        ))
        .sh("python3 $HELPERS/get.py 8000; ls nginx.pid; touch ended")
        .run();
    run.assert_code(0);
    assert_eq!(run.stdout(), "teanginx.pid\n");
    assert_graceful(&run);
    assert!(!run.path().join("nginx.pid").exists(), "nginx was asked, not killed");
    // cgrun asks only the master, which asks its workers.
    let log = run.read("error.log");
    assert_eq!(log.matches("gracefully shutting down").count(), 2, "{log}");
}

// --- PostgreSQL --------------------------------------------------------------------------

/// A new database owned by the user postgres. pg_ctl starts it, and exits when the server is up.
pub(crate) fn postgres(keys: &str) -> Session {
    let bin = postgres_programs();
    // If it is killed, it leaves some.
    private_shared_memory();
    let session = Session::new();
    // The server runs as another user, which needs access to the directory.
    std::fs::set_permissions(session.path(), PermissionsExt::from_mode(0o711)).unwrap();
    let data = session.path().join("data").to_string_lossy().into_owned();
    let as_postgres = ["setpriv", "--reuid=postgres", "--regid=postgres", "--init-groups", "--"];
    succeed(Command::new("install").args(["-d", "-o", "postgres", "-m", "700", &data]));
    succeed(
        Command::new(as_postgres[0])
            .args(&as_postgres[1..])
            .arg(bin.join("initdb"))
            .args(["--no-sync", "--auth=trust", "--locale=C", "--encoding=UTF8", "-D", &data])
            .current_dir(session.path()),
    );
    let pg_ctl = bin.join("pg_ctl");
    let log = format!("{data}/server.log");
    let options = format!("-h 127.0.0.1 -p 5432 -k '{data}'");
    let command = as_postgres.iter().copied().chain([
        pg_ctl.to_str().unwrap(),
        "start",
        "-w",
        "-D",
        &data,
        "-l",
        &log,
        "-o",
        &options,
    ]);
    let command: Vec<_> = command.map(|it| format!("{it:?}")).collect();
    session
        .env("PGHOST", "127.0.0.1")
        .env("PGUSER", "postgres")
        .env("PATH", format!("{}:{}", bin.display(), std::env::var("PATH").unwrap()))
        .config(&format!(
            r#"
            [session]
            grace = "{GRACE}"

            [services.database]
            command = [{}]
            port = 5432
            ready = {{ command = ["pg_isready", "--quiet"] }}
            {keys}
            "#,
            command.join(", ")
        ))
}

#[track_caller]
fn assert_shut_down_cleanly(run: &Finished) {
    assert!(soon(run), "{}\n{}", run.stderr(), run.read("data/server.log"));
    run.assert_nothing_left();
    let log = run.read("data/server.log");
    assert!(log.contains("database system is shut down"), "{log}");
    let mut control = Command::new(postgres_programs().join("pg_controldata"));
    let control = succeed(control.arg(run.path().join("data")).env("LC_ALL", "C"));
    let state = control.lines().find_map(|line| line.strip_prefix("Database cluster state:"));
    assert_eq!(state.map(str::trim), Some("shut down"), "{control}");
}

#[test]
fn postgres_is_shut_down_cleanly() {
    let run = postgres("")
        .sh("psql -qAtc 'create table tea (cup int); insert into tea values (7); select cup from tea'; touch ended")
        .run();
    run.assert_code(0);
    assert_eq!(run.stdout(), "7\n");
    assert_graceful(&run);
    assert_shut_down_cleanly(&run);
}

#[test]
fn postgres_is_shut_down_cleanly_when_cgrun_is_terminated() {
    let run = postgres("").sh("touch ended; exec sleep 1000").start();
    run.until_file("ended");
    // The test's own search for leftovers would see it.
    assert!(is_listening(5432) && run.members().len() > 3, "{:?}", run.members());
    run.signal(Signal::SIGTERM);
    let run = run.finish();
    run.assert_signal(Signal::SIGTERM);
    assert_graceful(&run);
    assert_shut_down_cleanly(&run);
}

/// Starts a client in the background and waits until it is connected.
fn leaked_client(query: &str) -> String {
    let connected = "select count(*) from pg_stat_activity where application_name = 'leaked'";
    format!(
        "mkfifo never; PGAPPNAME=leaked setsid psql -q {query} <>never & \
         until [ $(psql -qAtc \"{connected}\") = 1 ]; do :; done; touch ended"
    )
}

/// On SIGTERM, PostgreSQL waits for its clients, so the leaked one is asked to exit too.
#[test]
fn postgres_is_shut_down_cleanly_under_a_leaked_connection() {
    let run = postgres("").sh(&leaked_client("")).run();
    run.assert_code(0).assert_said("leaked 1 process").assert_said("(psql -q)");
    assert_shut_down_cleanly(&run);
}

/// A client that ignores the request must not cause PostgreSQL to be killed.
#[test]
fn postgres_is_shut_down_cleanly_under_a_leaked_connection_that_stays() {
    let client = format!("trap '' TERM; {}", leaked_client(""));
    let run = postgres("").options(["--grace", "4s"]).sh(&client).run();
    run.assert_code(0).assert_said("leaked 1 process").assert_said("(psql -q)");
    assert_shut_down_cleanly(&run);
}

/// On SIGINT, PostgreSQL does not wait, not even for a running query.
#[test]
fn postgres_is_shut_down_cleanly_under_a_leaked_query() {
    let run = postgres(r#"stop_signal = "SIGINT""#).sh(&leaked_client("-c 'select pg_sleep(1000)'")).run();
    run.assert_code(0);
    assert_shut_down_cleanly(&run);
}

// --- the grace ---------------------------------------------------------------------------

fn slow_to_save(command: &str) -> Session {
    Session::new()
        .config(&format!(
            r#"
            [session]
            grace = "{GRACE}"

            [services.store]
            command = [{command}]
            ready = {{ log = "^ready$" }}
            "#
        ))
        .sh("touch ended")
}

#[test]
fn a_service_gets_the_time_it_needs_to_save_its_state() {
    let run = slow_to_save(r#""python3", "{helpers}/slow_save.py", "2""#).run();
    run.assert_code(0).assert_slower_than(Duration::from_secs(2));
    assert_graceful(&run);
    assert!(run.path().join("saved").exists());
}

#[test]
fn a_service_behind_a_shell_that_exits_at_once_gets_the_time_it_needs_to_save_its_state() {
    let run = slow_to_save(r#""sh", "-c", "python3 {helpers}/slow_save.py 2; true""#).run();
    run.assert_code(0).assert_slower_than(Duration::from_secs(2));
    assert_graceful(&run);
    assert!(run.path().join("saved").exists());
}

// --- assertions -----------------------------------------------------------------------------

/// Asserts that every service exited by itself when asked, long before it would have been killed.
#[track_caller]
fn assert_graceful(run: &Finished) {
    assert!(!run.stderr().contains("leaked"), "{}", run.stderr());
    assert!(soon(run), "took {:?}\n{}", run.took, run.stderr());
    run.assert_nothing_left();
}

/// Whether cgrun exited soon after the command created the file `ended`.
fn soon(run: &Finished) -> bool {
    let ended = run.path().join("ended").metadata().expect("the command has exited").modified().unwrap();
    SystemTime::now().duration_since(ended).unwrap() < SOON
}

/// The number of files whose names begin with `prefix`.
fn count(run: &Finished, prefix: &str) -> usize {
    let names = std::fs::read_dir(run.path()).unwrap().map(|it| it.unwrap().file_name());
    names.filter(|name| name.to_string_lossy().starts_with(prefix)).count()
}

const INSTALL: &str = "scripts/test installs it";

#[track_caller]
fn installed(program: &str) {
    let path = std::env::var_os("PATH").unwrap();
    let found = std::env::split_paths(&path).any(|directory| directory.join(program).is_file());
    assert!(found, "{program} is missing; {INSTALL}");
}

#[track_caller]
fn below_root(path: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
    assert!(path.exists(), "{} is missing; {INSTALL}", path.display());
    path.to_string_lossy().into_owned()
}

/// Debian keeps them out of PATH, in one directory per version.
#[track_caller]
pub(crate) fn postgres_programs() -> PathBuf {
    let versions = std::fs::read_dir("/usr/lib/postgresql").into_iter().flatten();
    let bins = versions.map(|version| version.unwrap().path().join("bin"));
    let newest = bins.filter(|bin| bin.join("pg_ctl").exists()).max();
    newest.unwrap_or_else(|| panic!("PostgreSQL is missing; {INSTALL}"))
}

#[track_caller]
fn succeed(command: &mut Command) -> String {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}; {INSTALL}"));
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}
