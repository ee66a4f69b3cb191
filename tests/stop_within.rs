//! A bound for the whole teardown, which is divided among the components that are stopped one after another.

use std::time::Duration;

use nix::sys::signal::Signal::{SIGINT, SIGTERM};

use crate::harness::{Finished, Session};

/// Three services that stop one after another. Each notes that it was asked, and does what `on_stop` says.
fn chain(on_stop: [&str; 3]) -> String {
    let service = |(index, on_stop): (usize, &&str)| {
        let depends_on = if index == 0 { String::new() } else { format!("'s{}'", index - 1) };
        let script = format!(
            "trap 'touch asked{index}; {on_stop}' TERM; echo ready; while :; do sleep 1000 & wait; done"
        );
        format!(
            "[services.s{index}]\ncommand = ['sh', '-c', \"{script}\"]\nready = {{ log = 'ready' }}\ndepends_on = [{depends_on}]\n"
        )
    };
    on_stop.iter().enumerate().map(service).collect()
}

const DEAF: [&str; 3] = [":", ":", ":"];

fn assert_all_were_asked(run: &Finished) {
    for index in 0..3 {
        assert!(run.path().join(format!("asked{index}")).exists(), "{index}: {}", run.stderr());
    }
}

#[test]
fn three_deaf_services_share_the_time() {
    let run = Session::new().config(&chain(DEAF)).options(["--stop-within", "3s"]).command(["true"]).run();
    run.assert_code(0).assert_nothing_left().assert_faster_than(Duration::from_secs(6));
    run.assert_slower_than(Duration::from_millis(2500));
    assert_all_were_asked(&run);
}

#[test]
fn a_deaf_command_leaves_time_for_the_services() {
    let run = Session::new().config(&chain([":", ":", "touch saved; exit"])).options(["--stop-within", "4s"]);
    let run = run.helper("ignore.py", &["TERM"]).start();
    run.until_file("ignoring").signal(SIGTERM);
    let run = run.finish();
    run.assert_signal(SIGTERM).assert_nothing_left().assert_faster_than(Duration::from_secs(8));
    assert_all_were_asked(&run);
    assert!(run.path().join("saved").exists());
}

#[test]
fn time_that_is_not_used_is_left_to_the_next() {
    let config = chain(["sleep 1.5; touch saved; exit", "exit", "exit"]);
    let run = Session::new().config(&config).options(["--stop-within", "3s"]).command(["true"]).run();
    run.assert_code(0).assert_nothing_left();
    assert!(run.path().join("saved").exists(), "a third of the time was not enough");
}

#[test]
fn the_time_to_settle_is_part_of_it() {
    let run = Session::new().options(["--stop-within", "2s", "--settle", "1m"]).sh("sleep 1000 &").run();
    run.assert_code(0).assert_said("(sleep 1000)").assert_nothing_left();
    run.assert_faster_than(Duration::from_secs(6));
}

/// Like a database that waits for its clients.
#[test]
fn a_service_that_waits_for_what_the_command_left_has_time_after_that() {
    let config = "[services.db]\nready = { log = 'ready' }\ncommand = ['sh', '-c', \"\
        trap 'while [ -e /proc/$(cat client) ]; do sleep 0.02; done; sleep 0.2; touch saved; exit' TERM; \
        echo ready; while :; do sleep 1000 & wait; done\"]\n";
    let leave = "sh -c 'trap : TERM; echo $$ >client.new; mv client.new client; while :; do sleep 1000 & wait; done' & \
        until [ -e client ]; do sleep 0.02; done";
    let run = Session::new().config(config).options(["--stop-within", "3s"]).sh(leave).run();
    run.assert_code(0).assert_nothing_left().assert_faster_than(Duration::from_secs(7));
    assert!(run.path().join("saved").exists(), "{}", run.stderr());
}

#[test]
fn the_config_key_works_like_the_option() {
    let config = format!("[session]\nstop_within = '0s'\n{}", chain(DEAF));
    let run = Session::new().config(&config).command(["true"]).run();
    run.assert_code(0).assert_nothing_left().assert_faster_than(Duration::from_secs(4));
}

/// It sends SIGTERM after 7.5 s and SIGKILL after 10.
#[test]
fn a_session_stops_before_githubs_runner_asks_again() {
    let run = Session::new()
        .config(&chain(DEAF))
        .env("GITHUB_ACTIONS", "true")
        .sh("touch running; exec sleep 1000");
    let run = run.start();
    run.until_file("running").signal(SIGINT);
    let begin = std::time::Instant::now();
    let run = run.finish();
    assert!(begin.elapsed() < Duration::from_millis(7500), "{:?}", begin.elapsed());
    run.assert_signal(SIGINT).assert_nothing_left();
    assert_all_were_asked(&run);
}

#[test]
fn a_signal_during_the_cleanup_shortens_a_grace_that_has_begun() {
    let config = format!("[session]\ngrace = '60s'\n{}", chain(DEAF));
    let run = Session::new().config(&config).env("GITHUB_ACTIONS", "true").command(["true"]).start();
    run.until_file("asked2").signal(SIGTERM);
    let begin = std::time::Instant::now();
    let run = run.finish();
    assert!(begin.elapsed() < Duration::from_millis(7500), "{:?}", begin.elapsed());
    run.assert_code(0).assert_nothing_left();
    assert_all_were_asked(&run);
}

/// `docker stop` sends SIGKILL after 10 s.
#[test]
fn as_the_first_process_of_a_container_it_stops_before_docker_kills() {
    let launch = "unshare -p -f --mount-proc \"$CGRUN\" \"$@\" & until [ -e running ]; do sleep 0.01; done; \
                  date +%s%N >asked; kill -TERM $(ps -o pid= --ppid $!); wait $!; date +%s%N >gone";
    let run = Session::new().config(&chain(DEAF)).sh("touch running; exec sleep 1000");
    let run = run.start_through(&["sh", "-c", launch, "sh"]).finish();
    let at = |name: &str| run.read(name).trim().parse::<u64>().unwrap() / 1_000_000;
    let took = at("gone") - at("asked");
    assert!((5000..10_000).contains(&took), "{took} ms\n{}", run.stderr());
    run.assert_nothing_left();
    assert_all_were_asked(&run);
}
