//! The JSON Schema of the config agrees with the parser, in both directions.

use std::path::Path;
use std::process::Command;

use serde_json::Value;

use crate::harness::{OwnHost, Session, helpers, installed};

/// A service without the brackets around its keys.
const SERVICE: &str = "[services.web]\ncommand = ['x']\n";

/// Validates the configs against what `cgrun schema` prints. Returns a verdict for each.
fn verdicts(configs: &[String]) -> Vec<String> {
    let session = Session::new().options(["schema"]).run();
    session.assert_code(0);
    let values: Vec<Value> = configs.iter().map(|it| toml::from_str(it).expect(it)).collect();
    let file = session.path().join("configs.json");
    std::fs::write(&file, serde_json::to_vec(&values).unwrap()).unwrap();
    let output = Command::new(installed("target/demo/venv/bin/python"))
        .arg(helpers().join("validate_configs.py"))
        .args([session.path().join("stdout"), file])
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap().lines().map(String::from).collect()
}

fn is_accepted_by_cgrun(config: &str) -> bool {
    // On the whole one, sessions of other tests can be unknown.
    let _host = OwnHost::enter();
    let run = Session::again().config(config).options(["check"]).run();
    // 1 means that something of this host is not clean.
    matches!(run.status.code(), Some(0 | 1))
}

/// The configs of the documentation and of the examples, and the template.
fn good_configs() -> Vec<String> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut configs = Vec::new();
    let mut directories = vec![root.join("docs"), root.join("tests/demo")];
    while let Some(directory) = directories.pop() {
        for entry in std::fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_str().unwrap();
            if path.is_dir() && name != "node_modules" {
                directories.push(path);
            } else if name == "cgrun.toml" {
                configs.push(std::fs::read_to_string(&path).unwrap());
            } else if name.ends_with(".md") {
                let text = std::fs::read_to_string(&path).unwrap();
                let mut before = "";
                for (number, part) in text.split("```").enumerate() {
                    if number % 2 == 0 {
                        before = part;
                    } else if let Some(config) = part.strip_prefix("toml\n") {
                        let is_ours = !before.trim_end().lines().last().unwrap().contains("not run");
                        configs.extend(is_ours.then(|| config.to_string()));
                    }
                }
            }
        }
    }
    let init = Session::again().options(["init"]).run();
    configs.push(init.read("cgrun.toml"));
    configs
}

#[test]
fn every_config_that_cgrun_accepts_is_valid() {
    let mut configs = good_configs();
    assert!(configs.len() > 8, "{}", configs.len());
    let values = [
        "[session]\nports = [1, '8125/udp', '+80/tcp']",
        "[session]\ngrace = '1h 30m'\nsettle = '0.5s'\ntimeout = '2 weeks'\nkill_wait = ' 5 s '",
        "[session]\nrequire = 'pidns+cgroup'\nallow = ['a b', '*/x*']\nuser = 'root'",
        "[session]\nreports = { html = 'x.html' }\nclean_env = true\nstop_within = '1M'",
        "[diagnose]\nuwsgi = ['py-spy', 'dump', '{pid}']\n'*x y*' = false\nz = []\n'a *' = ['./t', '--pid={pid}']",
        "[limits]\nmemory = '1.5 GiB'\nswap = 0\npids = '20'\ncpus = '50%'\ncpuset = 3\nio_weight = 10000",
        "[session]\nsettle = '0'\ngrace = '1h30m5s'\ntimeout = '1.5h'",
        "[limits]\nmemory = 1048576\nswap = '0%'\npids = 1\ncpus = 0.5\ncpuset = '0-3, 6'\nbest_effort = true",
        "[services.'a-b_c.d']\ncommand = ['x', '']\nstop_signal = 'INT'\nstdin = 'null'\ncritical = false",
        "[services.a]\ncommand = ['x']\nready = { http = 'HTTPS://[::1]:80/@vite/client#@' }\nenv = { 'a.b' = '' }",
        "[services.a]\ncommand = ['x']\nready = { timeout = '1s' }\nport = '53/udp'",
        "[profiles.ci.session]\non_leak = 'fail'\n[profiles.ci.limits]\npids = 9\n[profiles.'']",
    ];
    configs.extend(values.map(String::from));
    for (config, verdict) in configs.iter().zip(verdicts(&configs)) {
        assert!(is_accepted_by_cgrun(config), "cgrun refuses:\n{config}");
        assert_eq!(verdict, "valid", "{config}");
    }
}

#[test]
fn each_kind_of_bad_config_is_refused_by_both() {
    let session = |keys: &str| format!("[session]\n{keys}\n");
    let limits = |keys: &str| format!("[limits]\n{keys}\n");
    let service = |keys: &str| format!("{SERVICE}{keys}\n");
    let mut configs: Vec<String> =
        ["porrts = 1", "[sesion]", "[profiles.ci]\ngrace = '1s'", "profiles = 1", "session = 1"]
            .map(String::from)
            .to_vec();
    let tools = ["'gdb'", "true", "['']", "['gdb', '-p']", "[1, '{pid}']"];
    configs.extend(tools.map(|tool| format!("[diagnose]\nx = {tool}\n")));
    configs.push("[diagnose]\n'/bin/x' = false\n".into());
    configs.extend(
        [
            "porrts = [1]",
            "ports = 3000",
            "ports = [0]",
            "ports = [70000]",
            "ports = ['x']",
            "ports = [1.5]",
            "ports = ['1/sctp']",
            "grace = 5",
            "grace = 'soon'",
            "grace = '5'",
            "grace = '-5s'",
            "on_leak = 'warn'",
            "on_leak = true",
            "allow = 'x'",
            "allow = ['']",
            "allow = ['/bin/x']",
            "reports = { xml = 'x' }",
            "reports = { json = 1 }",
            "reclaim_ports = 'yes'",
            "require = 'docker'",
            "user = 0",
            "logs = \"a\\u0000\"",
        ]
        .map(session),
    );
    configs.extend(
        [
            "memory = 'much'",
            "memory = 4",
            "memory = '10%%'",
            "memory = '4X'",
            "swap = -1",
            "pids = 0",
            "pids = 1.5",
            "pids = 'many'",
            "pids = 9999999",
            "cpus = 0",
            "cpus = 'two'",
            "cpus = 9999999",
            "io_weight = 0",
            "io_weight = 10001",
            "cpuset = '0-'",
            "cpuset = 9000",
            "best_effort = 1",
            "disk = 1",
        ]
        .map(limits),
    );
    configs.extend(
        [
            "prot = 1",
            "port = 0",
            "env = { A = 1 }",
            "env = { 'A=B' = 'x' }",
            "env = { '' = 'x' }",
            "ready = { htp = 'x' }",
            "ready = { tcp = 1, log = 'x' }",
            "ready = { http = 'ftp://localhost' }",
            "ready = { http = 'http://example.org' }",
            "ready = { http = 'http://u@127.0.0.1/' }",
            "ready = { tcp = '1/udp' }",
            "ready = { command = [] }",
            "ready = 1",
            "depends_on = 'web'",
            "depends_on = ['a/b']",
            "stop_signal = 'SIGNAL'",
            "stop_signal = 15",
            "critical = 1",
            "stdin = 'closed'",
            "limits = { best_effort = true }",
            "limits = { memory = 1 }",
            "cwd = 1",
        ]
        .map(service),
    );
    let names = ["a/b", "..", "", "-x", "a b", "é"];
    configs.extend(names.map(|name| format!("[services.'{name}']\ncommand = ['x']\n")));
    let services = [
        "command = []",
        "command = ['']",
        "command = 'x'",
        "command = [1]",
        "command = [\"a\\u0000\"]",
        "cwd = 'x'",
    ];
    configs.extend(services.map(|keys| format!("[services.web]\n{keys}\n")));
    for (config, verdict) in configs.iter().zip(verdicts(&configs)) {
        assert!(!is_accepted_by_cgrun(config), "cgrun accepts:\n{config}");
        assert!(verdict.starts_with("refused"), "the schema accepts:\n{config}");
    }
}

/// As an editor does, and a CI: taplo follows the comment in the first line.
#[test]
fn taplo_checks_the_config_that_init_writes() {
    let schema = Session::new().options(["schema"]).run().stdout();
    let taplo = |config: &str| {
        let session = Session::again().file("cgrun.schema.json", &schema).file("cgrun.toml", config);
        let taplo = installed("target/recipes/venv/bin/taplo");
        session.start_through(&[taplo.to_str().unwrap(), "check", "cgrun.toml"]).finish()
    };
    let init = Session::again().file("cgrun.schema.json", &schema).options(["init"]).run();
    let config = init.read("cgrun.toml");
    taplo(&config).assert_code(0);
    for (right, wrong, message) in [
        ("grace = \"5s\"", "grace = 5", "5 is not of type \"string\""),
        ("on_leak = \"report\"", "on_leak = \"warn\"", "\"warn\" is not"),
        ("settle =", "settled =", "Additional properties are not allowed ('settled' was unexpected)"),
    ] {
        assert!(config.contains(right), "{right}");
        taplo(&config.replace(right, wrong)).assert_code(1).assert_said(message);
    }
}

#[test]
fn every_key_has_a_description() {
    fn undescribed(schema: &Value, path: &str, found: &mut Vec<String>) {
        for (key, value) in schema["properties"].as_object().into_iter().flatten() {
            let path = format!("{path}.{key}");
            // The reports are all of one kind.
            if value["description"].as_str().is_none_or(|it| it.contains('\n')) && !path.contains(".reports.")
            {
                found.push(path.clone());
            }
            undescribed(value, &path, found);
        }
        for inner in ["additionalProperties", "items"].iter().filter(|it| schema[**it].is_object()) {
            undescribed(&schema[*inner], path, found);
        }
        let patterns = schema["patternProperties"].as_object().into_iter().flatten();
        patterns.for_each(|(_, schema)| undescribed(schema, path, found));
    }
    let run = Session::new().options(["schema"]).run();
    let schema: Value = serde_json::from_str(&run.stdout()).unwrap();
    let mut found = Vec::new();
    undescribed(&schema, "", &mut found);
    assert!(found.is_empty(), "{found:?}");
    assert!(schema["properties"].as_object().unwrap().len() == 6, "{schema}");
}

#[test]
fn init_refers_to_a_schema_that_exists() {
    let run = Session::new().options(["init"]).run();
    assert!(!run.read("cgrun.toml").contains("#:schema"));
    let run = Session::again().file("cgrun.schema.json", "{}").options(["init"]).run();
    assert!(run.read("cgrun.toml").starts_with("#:schema ./cgrun.schema.json\n"));
    run.assert_code(0);
}
