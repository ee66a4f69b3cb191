//! The commented config that `cgrun init` writes.

pub(crate) const TEMPLATE: &str = r#"# cgrun.toml: what `cgrun COMMAND` starts before COMMAND and stops after it.
# Every key is optional. The values shown are the defaults, unless marked "example".
# `cgrun schema` prints a JSON Schema of this file, with which an editor completes and checks it.

[session]
# Ports that the session's processes must not hold after the session has ended,
# in addition to the services' own ports.
ports = [3000, 8000]

# How long a process is given to exit after it is asked to. Then it is killed.
grace = "5s"

# How long the whole cleanup may take. The services that are stopped one after another share this time
# (example; by default, after a signal, less than a known CI runner or container engine waits before it kills).
# stop_within = "9s"

# Stop waiting for killed processes if none of them exits for this long. Processes that are still alive are
# reported as survivors.
kill_wait = "2s"

# How long a process that the command left behind is given to exit on its own before it counts as a leak.
settle = "100ms"

# "report" names each leak; "fail" also exits with 121 if the command passed.
on_leak = "report"

# Processes that are not leaks: a program's name, or a pattern for the command line, in which * matches
# anything and ? one character. They are killed like the rest (example; none by default).
# allow = ["ssh-agent", "*chrome*--type=zygote*"]

# The file that lists the leaks that are known, relative to this file's directory; cgrun --write-baseline writes it
# (example; by default cgrun-leaks.toml, if it is there).
# baseline = "tests/leaks.toml"

# Reports to write, relative to this file's directory (example; none by default).
# reports = { json = "cgrun.json", junit = "cgrun.xml", html = "cgrun.html" }

# Stop the processes that hold a service's port, instead of refusing to start.
reclaim_ports = false

# Minimum containment to accept: "cgroup", "pidns" (a PID namespace), "tree", or "cgroup+pidns" for both
# (example; by default the strongest that the host offers).
# require = "cgroup"

# "session" gives the session a temporary directory of its own, in TMPDIR, which is removed when the session ends.
tmp = "host"

# When that directory is kept: "never", "on_failure" or "always" (example; by default never).
# keep_tmp = "on_failure"

# Remove the containers, pods, networks and volumes that the session creates through Docker or podman's service.
containers = false

# As root: run the services and the command as this user (example).
# user = "ci"

# Do not let any process of the session gain privileges: sudo and other setuid programs fail.
no_new_privs = false

# Pass on only PATH, TERM, LANG, LC_*, TZ and COLORTERM from the environment.
clean_env = false

# End the session if the process that started cgrun exits.
end_with_parent = false

# End the session after this time, with exit code 124 (example; no timeout by default).
# timeout = "30m"

# The same if the command neither uses the CPU nor reads or writes anything for this long
# (example; by default it can be idle forever).
# idle_timeout = "10m"

# If the command still runs after this time, say what it is running, and again after twice the time, and so on
# (example; by default nothing is said).
# warn_after = "15m"

# The signal that lets a command that runs into a timeout write where it hangs, before it is asked to exit
# (example; by default there is none).
# timeout_signal = "SIGABRT"

# Directory for the services' logs, relative to this file's directory
# (example; by default in the user's state directory).
# logs = "target/logs"

# Limits for the whole session (examples; no limits by default). Sizes: 4G, 512MiB, or 50% of the host's.
[limits]
# memory = "4GiB"
# swap = "1GiB"           # 0 if memory is limited and this is not set
# pids = 2000             # processes and threads
# cpus = 2.5              # or "50%" of the host's
# cpuset = "0-3"
# io_weight = 50          # share of I/O relative to others, whose default is 100

# Warn about a limit that cannot be applied, and run without it.
best_effort = false

# With --shards, give each an equal part of memory, swap, pids and cpus instead of all of it.
divided = false

# Which tool reads the stack of a hung process, for a program's name or a command line as in allow; false for none
# (examples; by default py-spy, jcmd, eu-stack and gdb read those that they can).
[diagnose]
# "uwsgi" = ["py-spy", "dump", "--pid", "{pid}"]
# "*postgres*" = false

# What the session has of its own, instead of sharing it with the host. By default nothing, with --shards everything.
[private]
# A network with nothing but a loopback interface: no port is taken, and any number of sessions can run side by side.
# "outbound" adds a way to the outside by pasta (package passt), and forward opens ports of the host that lead inside.
# net = true
# forward = ["8080:8000"]
# System V's shared memory, semaphores and message queues, and POSIX's message queues: what is left of them goes with the session.
# ipc = true
# /dev/shm, for POSIX's shared memory and semaphores.
# shm = true
# /tmp and /var/tmp, in memory. What commands and variables name in them stays visible.
# tmp = true
# How much each of these directories can hold; by default half of the host's memory.
# size = "2GiB"

# Keys that replace those above in one case, with --profile NAME or CGRUN_PROFILE. The profile ci is also used in CI.
# An example:
#
# [profiles.ci.session]
# on_leak = "fail"
# timeout = "20m"
# [profiles.ci.limits]
# memory = "6GiB"

# A service is started before the command and stopped after it. An example:
#
# [services.backend]
# command = ["uvicorn", "app:app", "--port", "8000"]   # a list; no shell is involved
# cwd = "backend"                                      # relative to this file's directory
# env = { DATABASE_URL = "sqlite:///test.db" }
# port = 8000                    # or "8125/udp"; must be free before and after the session; belongs to the service in between
# ready = { http = "http://127.0.0.1:8000/health", timeout = "30s" }
# #       or { tcp = 8000 }, { log = "regex" }, { command = ["pg_isready"] }
# depends_on = ["database"]
# stop_signal = "SIGTERM"
# grace = "10s"
# stdin = "open"                 # no input, and no end of file; "null": end of file at once
# critical = true                # if it exits during the tests, the session ends
# limits = { memory = "512MiB", pids = 100 }           # as above, for this service only
"#;

#[cfg(test)]
mod tests {
    use crate::config::keys::ConfigKeys;

    #[test]
    fn the_template_is_a_valid_config() {
        toml::from_str::<ConfigKeys>(super::TEMPLATE).unwrap();
    }

    #[test]
    fn the_example_keys_of_the_template_are_valid() {
        let is_example = |line: &&str| line.starts_with("# ") && line.contains(" = ");
        let session = super::TEMPLATE.split("[limits]").next().unwrap();
        let examples: Vec<_> = session.lines().filter(is_example).map(|line| &line[2..]).collect();
        let examples: Vec<_> = examples.into_iter().take_while(|line| !line.contains("command")).collect();
        let keys: ConfigKeys = toml::from_str(&format!("[session]\n{}", examples.join("\n"))).unwrap();
        assert_eq!(keys.session.reports.unwrap().len(), 3, "{examples:?}");
        assert!(
            keys.session.timeout.is_some()
                && keys.session.idle_timeout.is_some()
                && keys.session.warn_after.is_some()
                && keys.session.timeout_signal.is_some()
                && keys.session.allow.is_some()
                && keys.session.logs.is_some()
        );
    }

    #[test]
    fn the_example_service_of_the_template_is_valid() {
        let example = super::TEMPLATE.rsplit("An example:\n").next().unwrap();
        let lines: Vec<_> = example.lines().map(|line| line.trim_start_matches('#').trim_start()).collect();
        let lines: Vec<_> = lines.into_iter().filter(|line| !line.starts_with("or {")).collect();
        let keys: ConfigKeys = toml::from_str(&lines.join("\n")).unwrap();
        assert_eq!(keys.services.len(), 1);
    }

    #[test]
    fn the_example_profile_of_the_template_is_valid() {
        let example = super::TEMPLATE.split("An example:\n").nth(1).unwrap().split("\n\n").next().unwrap();
        let lines: Vec<_> = example.lines().map(|line| line.trim_start_matches('#').trim_start()).collect();
        let keys: ConfigKeys = toml::from_str(&lines.join("\n")).unwrap();
        let profile = &keys.profiles["ci"];
        assert!(profile.session.timeout.is_some() && profile.limits.memory.is_some());
    }

    #[test]
    fn the_example_limits_of_the_template_are_valid() {
        let limits = super::TEMPLATE.split("[limits]\n").nth(1).unwrap().split("\n\n").next().unwrap();
        let lines: Vec<_> = limits.lines().map(|line| line.trim_start_matches("# ")).collect();
        let keys: ConfigKeys = toml::from_str(&format!("[limits]\n{}", lines.join("\n"))).unwrap();
        assert!(keys.limits.memory.is_some() && keys.limits.io_weight.is_some());
    }
}
