//! The hooks in `docs/examples/hooks` fail the test that leaves a process, with the real runners.

use std::collections::BTreeMap;
use std::os::unix::fs::symlink;
use std::path::Path;

use serde_json::Value;

use crate::fixtures::LONG;
use crate::harness::{Finished, Session, installed};

/// What became of a test, and all that its runner says about it.
type Results = BTreeMap<String, (bool, String)>;

/// Six tests for any runner that has `describe`, and a fixture of the file. `N` is a digit.
const SUITE: &str = "
    const start = (time) => spawn('sleep', [time], { stdio: 'ignore', detached: true });
    beforeAll(() => { start('9N0').unref(); });
    test('leaves nothing', () => {});
    test('leaves a process', () => { start('9N1').unref(); });
    test('leaves a daemon', () => { spawnSync('setsid', ['-f', 'sleep', '9N2'], { stdio: 'ignore' }); });
    test('leaves nothing for long', () => { start('0.02').unref(); });
    test('fails too', () => { start('9N3').unref(); throw new Error('the assertion'); });
    describe('a group', () => {
        let kept;
        afterEach(() => { kept.kill(); });
        test('cleans up', () => { kept = start('9N4'); });
    });
";

/// A session with the hooks and the test runners.
fn session(modules: &str) -> Session {
    let session = Session::new().options(LONG).env("CI", "1");
    for entry in std::fs::read_dir(installed("docs/examples/hooks")).unwrap() {
        let entry = entry.unwrap();
        std::fs::copy(entry.path(), session.path().join(entry.file_name())).unwrap();
    }
    symlink(installed(modules), session.path().join("node_modules")).unwrap();
    let path = format!("{}:{}", cgrun_directory().display(), std::env::var("PATH").unwrap());
    session.env("PATH", path)
}

fn cgrun_directory() -> std::path::PathBuf {
    crate::harness::cgrun_program().parent().unwrap().to_path_buf()
}

/// One file of tests for each worker, which begins with `head`.
fn suites(session: Session, names: &[&str], head: &str) -> Session {
    let mut session = session;
    for (name, digit) in names.iter().zip(["1", "2", "3"]) {
        session = session.file(name, format!("{head}{}", SUITE.replace('N', digit)));
    }
    session
}

/// Each file's tests, of which those fail that leave something.
fn assert_leaks_fail(run: &Finished, results: &Results, files: &[&str]) {
    assert_eq!(results.len(), 6 * files.len(), "{results:#?}\n{}", run.stderr());
    for (file, digit) in files.iter().zip(["1", "2", "3"]) {
        for (test, passes, seconds) in [
            ("leaves nothing", true, None),
            ("leaves a process", false, Some("1")),
            ("leaves a daemon", false, Some("2")),
            ("leaves nothing for long", true, None),
            ("fails too", false, Some("3")),
            ("cleans up", true, None),
        ] {
            let (passed, said) = &results[&format!("{file} {test}")];
            assert_eq!(*passed, passes, "{file} {test}: {said}");
            let leaked = said.matches("(sleep ").count();
            assert_eq!(leaked, usize::from(seconds.is_some()), "{file} {test}: {said}");
            if let Some(seconds) = seconds {
                assert!(said.contains(&format!("(sleep 9{digit}{seconds})")), "{file} {test}: {said}");
                assert!(said.contains("1 process left running, and ended by cgrun:"), "{said}");
            }
        }
        let (_, said) = &results[&format!("{file} fails too")];
        assert!(said.contains("the assertion"), "{said}");
        // The fixture's is left to the end of the session.
        run.assert_said(&format!("sleep 9{digit}0"));
    }
    assert_ne!(run.status.code(), Some(0));
    run.assert_nothing_left();
}

fn read_json(run: &Finished, file: &str) -> Value {
    let text = std::fs::read_to_string(run.path().join(file));
    let text = text.unwrap_or_else(|error| panic!("{file}: {error}\n{}\n{}", run.stdout(), run.stderr()));
    serde_json::from_str(&text).unwrap()
}

fn file_name(path: &Value) -> String {
    Path::new(path.as_str().unwrap()).file_name().unwrap().to_str().unwrap().to_string()
}

/// The format of jest, which vitest writes too.
fn jest_results(run: &Finished) -> Results {
    let report = read_json(run, "results.json");
    let files = report["testResults"].as_array().unwrap();
    let tests = files.iter().flat_map(|file| {
        let name = file_name(&file["name"]);
        let tests = file["assertionResults"].as_array().unwrap().iter();
        tests.map(move |test| {
            let key = format!("{name} {}", test["title"].as_str().unwrap());
            (key, (test["status"] == "passed", test["failureMessages"].to_string()))
        })
    });
    tests.collect()
}

fn jest(files: &[&str]) {
    let session = suites(
        session("tests/runners/node_modules"),
        files,
        "const { spawn, spawnSync } = require('node:child_process');\n",
    );
    let session =
        session.file("jest.config.js", "module.exports = { testEnvironment: './cgrun-jest.cjs' };\n");
    let workers = format!("--maxWorkers={}", files.len());
    let command = ["node_modules/.bin/jest", &workers, "--json", "--outputFile=results.json"];
    let run = session.command(command).run();
    assert_leaks_fail(&run, &jest_results(&run), files);
}

#[test]
fn jest_fails_the_test_that_leaks() {
    jest(&["a.test.js"]);
}

#[test]
fn jest_fails_the_test_that_leaks_in_each_of_two_workers() {
    jest(&["a.test.js", "b.test.js"]);
}

fn vitest(files: &[&str], pool: &str) {
    let head = "import { afterEach, beforeAll, describe, test } from 'vitest';\nimport { spawn, spawnSync } from 'node:child_process';\n";
    let session = suites(session("tests/demo/frontend/node_modules"), files, head);
    let config = "export default { test: { setupFiles: './cgrun-vitest.mjs' } };\n";
    let session = session.file("vitest.config.mjs", config);
    let command = ["node_modules/.bin/vitest", "run", pool, "--reporter=json", "--outputFile=results.json"];
    let run = session.command(command).run();
    assert_leaks_fail(&run, &jest_results(&run), files);
}

#[test]
fn vitest_fails_the_test_that_leaks() {
    vitest(&["a.test.js"], "--pool=forks");
}

#[test]
fn vitest_fails_the_test_that_leaks_in_each_of_two_workers() {
    vitest(&["a.test.js", "b.test.js"], "--pool=forks");
}

#[test]
fn vitest_fails_the_test_that_leaks_in_each_of_two_threads() {
    vitest(&["a.test.js", "b.test.js"], "--pool=threads");
}

/// Runs Playwright with so many workers.
fn playwright(session: Session, workers: usize) -> (Finished, Results) {
    let workers = format!("--workers={workers}");
    let session = session.env("PLAYWRIGHT_JSON_OUTPUT_NAME", "results.json");
    let run = session.command(["node_modules/.bin/playwright", "test", &workers, "--reporter=json"]).run();
    let report = read_json(&run, "results.json");
    let mut results = Results::new();
    let mut pending = report["suites"].as_array().unwrap().clone();
    while let Some(suite) = pending.pop() {
        pending.extend(suite["suites"].as_array().into_iter().flatten().cloned());
        for spec in suite["specs"].as_array().unwrap() {
            let key = format!("{} {}", file_name(&spec["file"]), spec["title"].as_str().unwrap());
            let said = spec["tests"][0]["results"][0]["errors"].to_string();
            results.insert(key, (spec["ok"] == true, said));
        }
    }
    (run, results)
}

fn playwright_without_browser(files: &[&str]) {
    let head = "const { test } = require('./cgrun-playwright.cjs');\n\
        const { spawn, spawnSync } = require('node:child_process');\n\
        const { beforeAll, afterEach, describe } = test;\n";
    let session = suites(session("tests/runners/node_modules"), files, head);
    let hook = session.path().join("cgrun-playwright.cjs");
    let text = std::fs::read_to_string(&hook).unwrap();
    std::fs::write(&hook, text.replace("({ browser }, ", "({}, ")).unwrap();
    let (run, results) = playwright(session, files.len());
    assert_leaks_fail(&run, &results, files);
}

#[test]
fn playwright_fails_the_test_that_leaks() {
    playwright_without_browser(&["a.spec.js"]);
}

#[test]
fn playwright_fails_the_test_that_leaks_in_each_of_two_workers() {
    playwright_without_browser(&["a.spec.js", "b.spec.js"]);
}

#[test]
fn playwright_blames_no_test_for_the_browser() {
    let config = "const chromium = require('node:child_process').execSync('command -v chromium').toString().trim();\n\
        module.exports = { use: { launchOptions: { executablePath: chromium, args: ['--no-sandbox'] } } };\n";
    let suite = "const { test, expect } = require('./cgrun-playwright.cjs');\n\
        const { spawn } = require('node:child_process');\n\
        test('shows a page', async ({ page }) => { await page.setContent('<p>hello'); \
            await expect(page.locator('p')).toHaveText('hello'); });\n\
        test('leaves a process', async ({ page }) => { spawn('sleep', ['901'], { stdio: 'ignore' }).unref(); });\n\
        test('shows another', async ({ page }) => { await page.setContent('<p>hello'); });\n";
    let session = session("tests/runners/node_modules").file("playwright.config.js", config);
    let (run, results) = playwright(session.file("a.spec.js", suite), 1);
    let passed = |test: &str| results[&format!("a.spec.js {test}")].0;
    let tests = ["shows a page", "leaves a process", "shows another"];
    assert_eq!(tests.map(passed), [true, false, true], "{results:#?}");
    run.assert_code(1).assert_nothing_left();
}

fn mocha(files: &[&str], options: &[&str]) {
    let head = "const { spawn, spawnSync } = require('node:child_process');\nconst [beforeAll, test] = [before, it];\n";
    let session = suites(session("tests/runners/node_modules"), files, head);
    let session = session.file(".mocharc.yml", "require: ./cgrun-mocha.cjs\n");
    let reporter =
        ["node_modules/.bin/mocha", "--reporter", "json", "--reporter-option", "output=results.json"];
    let run = session.command([&reporter, options, files].concat()).run();
    let report = read_json(&run, "results.json");
    let mut results = Results::new();
    for test in report["tests"].as_array().unwrap() {
        let key = format!("{} {}", file_name(&test["file"]), test["title"].as_str().unwrap());
        results.insert(key, (true, String::new()));
    }
    for test in report["failures"].as_array().unwrap() {
        let key = format!("{} {}", file_name(&test["file"]), test["title"].as_str().unwrap());
        let (_, said) = results.remove(&key).unwrap();
        results.insert(key, (false, said + test["err"]["message"].as_str().unwrap()));
    }
    assert_leaks_fail(&run, &results, files);
}

#[test]
fn mocha_fails_the_test_that_leaks() {
    mocha(&["a.js"], &[]);
}

#[test]
fn mocha_fails_the_test_that_leaks_in_each_of_two_workers() {
    mocha(&["a.js", "b.js"], &["--parallel", "--jobs", "2"]);
}

/// Names that a terminal, an environment or a list would take for something else.
#[test]
fn vitest_fails_tests_with_hostile_names() {
    let suite = "import { test } from 'vitest'; import { spawn } from 'node:child_process';\n\
        for (const name of ['a\\nb', '\\u001b[2J', 'a\\0b', '--end', '::error::', 'x'.repeat(200_000), 'é %s $&'])\n\
            test(name, () => { spawn('sleep', ['901'], { stdio: 'ignore' }).unref(); });\n";
    let config = "export default { test: { setupFiles: './cgrun-vitest.mjs' } };\n";
    let session = session("tests/demo/frontend/node_modules").file("a.test.js", suite);
    let command = ["node_modules/.bin/vitest", "run", "--reporter=json", "--outputFile=results.json"];
    let run = session.file("vitest.config.mjs", config).command(command).run();
    let results = jest_results(&run);
    assert_eq!(results.len(), 7);
    for (name, (passed, said)) in results {
        assert!(!passed && said.contains("(sleep 901)"), "{name}: {said}");
    }
    run.assert_code(1).assert_nothing_left();
}

/// Nothing tells which of them has started what.
#[test]
fn vitest_blames_none_of_several_tests_that_run_at_once() {
    let suite = "import { expect, test } from 'vitest';\nimport { spawn } from 'node:child_process';\n\
        const both = Array.from({ length: 2 }, () => Promise.withResolvers?.() ?? resolvers());\n\
        function resolvers() { let resolve; const promise = new Promise((it) => { resolve = it; }); return { promise, resolve }; }\n\
        const meet = (own) => { both[own].resolve(); return both[1 - own].promise; };\n\
        const leave = (time) => spawn('sleep', [time], { stdio: 'ignore' }).unref();\n\
        test.concurrent('one', async () => { await meet(0); leave('901'); });\n\
        test.concurrent('two', async () => { await meet(1); });\n\
        test('alone', () => { leave('902'); });\n";
    let session = session("tests/demo/frontend/node_modules").file("a.test.js", suite);
    let session =
        session.file("vitest.config.mjs", "export default { test: { setupFiles: './cgrun-vitest.mjs' } };\n");
    let command = ["node_modules/.bin/vitest", "run", "--reporter=json", "--outputFile=results.json"];
    let run = session.command(command).run();
    let results = jest_results(&run);
    let passed = |test: &str| results[&format!("a.test.js {test}")].0;
    assert_eq!(["one", "two", "alone"].map(passed), [true, true, false], "{results:#?}");
    run.assert_said("sleep 901").assert_nothing_left();
}

/// What `results` says is a line for each test, with what bats says about it.
fn bats_results(file: &str, stdout: &str, results: &mut Results) {
    let mut last = String::new();
    for line in stdout.lines() {
        let test = line
            .strip_prefix("ok ")
            .map(|it| (true, it))
            .or(line.strip_prefix("not ok ").map(|it| (false, it)));
        match test {
            Some((passed, name)) => {
                last = format!("{file} {}", name.split_once(' ').unwrap().1);
                results.insert(last.clone(), (passed, String::new()));
            }
            None => {
                if let Some((_, said)) = results.get_mut(&last) {
                    *said += &format!("{line}\n");
                }
            }
        }
    }
}

const BATS: &str = "load cgrun-leaks.bash
setup_file() { setsid -f sleep 9N0 >/dev/null 2>&1 3>&- 4>&- 5>&- 6>&-; }
@test \"leaves nothing\" { true; }
@test \"leaves a process\" { sleep 9N1 >/dev/null 2>&1 3>&- & }
@test \"leaves a daemon\" { setsid -f sleep 9N2 >/dev/null 2>&1 3>&-; }
@test \"leaves nothing for long\" { sleep 0.02 >/dev/null 2>&1 3>&- & }
@test \"fails too\" { sleep 9N3 >/dev/null 2>&1 3>&- & echo 'the assertion'; false; }
@test \"cleans up\" { sleep 9N4 >/dev/null 2>&1 3>&- & until grep -q sleep /proc/$!/comm; do :; done; kill $!; }
";

#[test]
fn bats_fails_the_test_that_leaks() {
    let session = session("tests/runners/node_modules").file("a.bats", BATS.replace('N', "1"));
    let run = session.command(["bats", "--tap", "a.bats"]).run();
    let mut results = Results::new();
    bats_results("a.bats", &run.stdout(), &mut results);
    assert_leaks_fail(&run, &results, &["a.bats"]);
}

#[test]
fn bats_fails_the_test_that_leaks_if_two_run_at_once() {
    let session = session("tests/runners/node_modules");
    let session = session.file("a.bats", BATS.replace('N', "1")).file("b.bats", BATS.replace('N', "2"));
    let run = session.sh("bats --tap a.bats >a & bats --tap b.bats >b & wait $! && wait").run();
    let mut results = Results::new();
    for (file, output) in [("a.bats", "a"), ("b.bats", "b")] {
        bats_results(file, &run.read(output), &mut results);
    }
    assert_leaks_fail(&run, &results, &["a.bats", "b.bats"]);
}

#[test]
fn nextest_fails_the_test_that_leaks() {
    let manifest = "[package]\nname = 'leaky'\nversion = '0.0.0'\nedition = '2021'\n[workspace]\n";
    let tests = "#[cfg(test)] fn start(words: &[&str]) -> std::process::Child {
            let null = std::process::Stdio::null;
            let mut command = std::process::Command::new(words[0]);
            command.args(&words[1..]).stdin(null()).stdout(null()).stderr(null()).spawn().unwrap()
        }
        #[test] fn leaves_nothing() {}
        #[test] fn leaves_a_process() { start(&[\"sleep\", \"911\"]); }
        #[test] fn leaves_a_daemon() { start(&[\"setsid\", \"-f\", \"sleep\", \"912\"]).wait().unwrap(); }
        #[test] fn leaves_nothing_for_long() { start(&[\"sleep\", \"0.02\"]); }
        #[test] fn fails_too() { start(&[\"sleep\", \"913\"]); panic!(\"the assertion\"); }
        #[test] fn cleans_up() { let mut it = start(&[\"sleep\", \"914\"]); it.kill().unwrap(); it.wait().unwrap(); }\n";
    let session = session("tests/runners/node_modules").file("Cargo.toml", manifest);
    let runner = "[target.'cfg(target_os = \"linux\")']\nrunner = './cgrun-nextest.sh'\n";
    let session = session.file("src/lib.rs", tests).file(".cargo/config.toml", runner);
    let session = session.env("CARGO_TARGET_DIR", "target").env("NO_COLOR", "1");
    let run = session
        .command(["env", "-u", "NEXTEST_TEST_NAME", "cargo", "nextest", "run", "--offline", "--no-fail-fast"])
        .run();
    let said = run.stderr();
    for (test, outcome) in [
        ("leaves_nothing", "PASS"),
        ("leaves_a_process", "FAIL"),
        ("leaves_a_daemon", "FAIL"),
        ("leaves_nothing_for_long", "PASS"),
        ("fails_too", "FAIL"),
        ("cleans_up", "PASS"),
    ] {
        let pattern = regex::Regex::new(&format!(r"(?m)^ +{outcome} .* {test}$")).unwrap();
        assert!(pattern.is_match(&said), "{test}: not {outcome}\n{said}");
    }
    for seconds in ["911", "912", "913"] {
        assert!(said.contains(&format!("(sleep {seconds})")), "{said}");
    }
    run.assert_said("the assertion").assert_code(100).assert_nothing_left();
    assert!(!said.contains("leaked 1"), "{said}");
}
