//! The commented config that `cgrun init` writes.

pub const TEMPLATE: &str = r#"# cgrun.toml: what `cgrun COMMAND` starts before COMMAND, and ends after it.
# Every key may be left out; what is shown is the default unless it says "example".

[session]
# Ports that must not be held by anything of the session afterwards,
# besides the services' own ports.
ports = [3000, 8000]

# How long a process may take to end after it was asked to; then it is killed.
grace = "5s"

# How long the kernel may go without ending one of the killed processes before those left are survivors.
kill_wait = "2s"

# How long what the command leaves behind may take to end by itself before it is a leak.
settle = "100ms"

# "report" names what leaked; "fail" also exits 121 where the command passed.
on_leak = "report"

# What may outlive the command: a program's name, or a pattern for its command line, with * for
# anything and ? for one character. Ended all the same, but no leak (example; nothing by default).
# allow = ["ssh-agent", "*chrome*--type=zygote*"]

# Reports of the session, from this file's directory (example; none by default).
# reports = { json = "cgrun.json", junit = "cgrun.xml", html = "cgrun.html" }

# End whoever holds a service's port instead of refusing to start.
reclaim_ports = false

# Refuse to run where nothing this strong can hold the session: "cgroup", "pidns" (a PID namespace),
# "tree", or "cgroup+pidns" (example; the strongest there is by default).
# require = "cgroup"

# As root: run services and command as this user (example).
# user = "ci"

# No program of the session gains privileges: sudo and other setuid programs fail.
no_new_privs = false

# Give the session only PATH, TERM, LANG, LC_*, TZ and COLORTERM of our environment.
clean_env = false

# End the session after this time with exit code 124 (example; no limit by default).
# timeout = "30m"

# Where the services' logs go (example; by default the user's state directory).
# logs = "target/logs"

# What the session may use (examples; no limit by default). Sizes: 4G, 512MiB, or 50% of the host's.
[limits]
# memory = "4GiB"
# swap = "1GiB"           # 0 where there is a limit of memory
# pids = 2000             # processes and threads
# cpus = 2.5              # or "50%" of the host's
# cpuset = "0-3"
# io_weight = 50          # beside others' 100

# Go on with a warning where a limit cannot be applied.
best_effort = false

# A service is started before the command, and stopped after it. An example:
#
# [services.backend]
# command = ["uvicorn", "app:app", "--port", "8000"]   # a list; there is no hidden shell
# cwd = "backend"                                      # from this file's directory
# env = { DATABASE_URL = "sqlite:///test.db" }
# port = 8000                    # must be free before; ours while running; free after
# ready = { http = "http://127.0.0.1:8000/health", timeout = "30s" }
# #       or { tcp = 8000 }, { log = "regex" }, { command = ["pg_isready"] }
# depends_on = ["database"]
# stop_signal = "SIGTERM"
# grace = "10s"
# critical = true                # its end during the tests ends the session
# limits = { memory = "512MiB", pids = 100 }           # as above, for this service alone
"#;

#[cfg(test)]
mod tests {
    use crate::config::File;

    #[test]
    fn the_template_is_a_valid_config() {
        toml::from_str::<File>(super::TEMPLATE).unwrap();
    }

    #[test]
    fn its_example_keys_are_valid_too() {
        let is_example = |line: &&str| line.starts_with("# ") && line.contains(" = ");
        let session = super::TEMPLATE.split("[limits]").next().unwrap();
        let examples: Vec<_> = session.lines().filter(is_example).map(|line| &line[2..]).collect();
        let examples: Vec<_> = examples.into_iter().take_while(|line| !line.contains("command")).collect();
        let file: File = toml::from_str(&format!("[session]\n{}", examples.join("\n"))).unwrap();
        assert_eq!(file.session.reports.unwrap().len(), 3, "{examples:?}");
        assert!(
            file.session.timeout.is_some() && file.session.allow.is_some() && file.session.logs.is_some()
        );
    }

    #[test]
    fn its_example_service_is_valid_too() {
        let example = super::TEMPLATE.split("An example:\n").nth(1).unwrap();
        let lines: Vec<_> = example.lines().map(|line| line.trim_start_matches('#').trim_start()).collect();
        let lines: Vec<_> = lines.into_iter().filter(|line| !line.starts_with("or {")).collect();
        let file: File = toml::from_str(&lines.join("\n")).unwrap();
        assert_eq!(file.services.len(), 1);
    }

    #[test]
    fn so_are_its_example_limits() {
        let limits = super::TEMPLATE.split("[limits]\n").nth(1).unwrap().split("\n\n").next().unwrap();
        let lines: Vec<_> = limits.lines().map(|line| line.trim_start_matches("# ")).collect();
        let file: File = toml::from_str(&format!("[limits]\n{}", lines.join("\n"))).unwrap();
        assert!(file.limits.memory.is_some() && file.limits.io_weight.is_some());
    }
}
