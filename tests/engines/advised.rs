//! `cgrun doctor` says which engine a session with `--containers` would use.

use std::process::Output;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::{Value, json};

use super::engine::{Engine, EngineKind};
use super::host::{output, text};
use super::started::{client, engine, name};
use crate::harness::until;

fn doctor(engine: &Engine, options: &[&str]) -> Output {
    let mut command = engine.cgrun();
    command.arg("doctor").args(options).env("HOME", engine.host.path());
    let done = output(&mut command);
    assert_eq!(done.status.code(), Some(0), "{}", text(&done.stderr));
    done
}

fn found(engine: &Engine, options: &[&str]) -> Value {
    let done = doctor(engine, &[&["--json"], options].concat());
    let said: Value = serde_json::from_slice(&done.stdout).unwrap();
    said["containers"].clone()
}

fn doctor_names_the_engine_that_a_session_would_use(kind: EngineKind) {
    let engine = engine(kind);
    let asked = client(&engine, "version --format '{{.Server.Version}}'");
    let version = text(&output(std::process::Command::new("sh").args(["-c", &asked])).stdout);
    let version = version.trim();
    // A busy machine can need longer than doctor waits.
    let (mut said, mut usual) = (Value::Null, Duration::ZERO);
    for _ in 0..20 {
        let began = Instant::now();
        (said, usual) = (found(&engine, &[]), began.elapsed());
        if said["engines"][0]["version"].is_string() {
            break;
        }
    }
    assert_eq!((&said["available"], &said["reason"]), (&json!(true), &Value::Null), "{said:#}");
    let it = &said["engines"][0];
    assert_eq!((&it["engine"], &it["version"]), (&json!(name(kind)), &json!(version)), "{said:#}");
    let socket = it["socket"].as_str().unwrap();
    assert_eq!(said["engines"].as_array().unwrap().len(), 1, "{said:#}");
    let row = format!("\nengine        {} {version} at {socket}\n", name(kind));
    until("the row names it", || text(&doctor(&engine, &[]).stdout).contains(&row));

    // What another user cannot reach is no engine of that user's sessions.
    let of_nobody = found(&engine, &["--user", "nobody"]);
    assert_eq!(
        (&of_nobody["available"], &of_nobody["engines"]),
        (&json!(false), &json!([])),
        "{of_nobody:#}"
    );
    assert!(of_nobody["reason"].as_str().unwrap().contains("container engine"), "{of_nobody:#}");

    let daemon = Pid::from_raw(engine.daemon());
    kill(daemon, Signal::SIGSTOP).unwrap();
    let began = Instant::now();
    let said = found(&engine, &[]);
    let hung = began.elapsed();
    kill(daemon, Signal::SIGCONT).unwrap();
    println!("{kind:?}: cgrun doctor took {usual:?}, and {hung:?} with an engine that hangs");
    assert_eq!(said["engines"][0]["problem"], "it did not answer in time", "{said:#}");
    assert!(hung < usual + Duration::from_secs(2), "{usual:?} {hung:?}");
}

with_both! {
    doctor_names_the_engine_that_a_session_would_use,
}
