"""Limits and figures, where all controllers are cgroup v2's. As root and as an ordinary user."""

import html
import json
import os
import pathlib
import re
import subprocess
import tempfile

from main import (
    CGRUN,
    DELEGATED,
    DELEGATED_TO_USER,
    HELPERS,
    LINGER_ONLY,
    assert_nothing_left,
    doctor,
    processes,
    run,
    start_and_kill,
    until,
)

HUNGRY = ["python3", f"{HELPERS}/hungry.py"]
# In a scope of root's and a user's, and in what was delegated to either.
EVERYWHERE = ([], LINGER_ONLY, DELEGATED, DELEGATED_TO_USER)
# A shell's way to its session's cgroup.
SESSION = 'cd "/sys/fs/cgroup$(sed s/^0:://\\;s,/[^/]*$,, /proc/self/cgroup)" && '


def with_config(how, text, *arguments, code=0):
    with tempfile.TemporaryDirectory() as directory:
        os.chmod(directory, 0o777)
        config = pathlib.Path(directory, "cgrun.toml")
        config.write_text(text)
        return run([*how, CGRUN, "-c", str(config), "--logs", f"{directory}/logs", *arguments], code=code)


def test_a_memory_eater_is_ended_and_named():
    for how in EVERYWHERE:
        done = run([*how, CGRUN, "--memory", "48MiB", *HUNGRY, "memory", "200"], code=137)
        line = "out of memory: the session reached its limit of 48 MiB, and the kernel killed all of the command"
        assert line in done.stderr, done.stderr
        # Only root may read the kernel's log; without it there is still whom we started.
        name = " (python3)" if how in ([], DELEGATED) else ""
        assert re.search(rf"; the first was pid \d+{re.escape(name)}\n", done.stderr), done.stderr
        assert "got " not in done.stdout
        assert_nothing_left()


def test_within_its_limit_nothing_is_said():
    for how in EVERYWHERE:
        done = run([*how, CGRUN, "--memory", "64MiB", "--pids", "50", "--cpus", "2", *HUNGRY, "memory", "16"])
        assert (done.stdout, done.stderr) == ("got 16 MiB\n", ""), done
    assert_nothing_left()


def test_a_memory_eater_takes_its_whole_session_along():
    script = f"sleep 4321 & {' '.join(HUNGRY)} memory 200; echo limps on"
    done = run([CGRUN, "--memory", "48MiB", "sh", "-c", script], code=137)
    assert "the session reached its limit of 48 MiB, and the kernel killed all of the command" in done.stderr, done.stderr
    assert "leaked" not in done.stderr, done.stderr
    assert "limps" not in done.stdout
    assert_nothing_left()


EATEN = "until grep -q 'populated 0' service.eater/cgroup.events; do sleep 0.1; done; exit 0"


def eater(critical):
    return (
        f"[services.eater]\ncommand = ['{HUNGRY[0]}', '{HUNGRY[1]}', 'then', 'memory', '200']\n"
        f"critical = {critical}\nlimits = {{ memory = '48MiB' }}\n"
    )


def test_a_memory_eater_among_the_services():
    line = "out of memory: service eater reached its limit of 48 MiB, and the kernel killed all of service eater"
    for how in ([], LINGER_ONLY):
        done = with_config(how, eater("true"), "sleep", "4321", code=125)
        assert line in done.stderr, done.stderr
        # The exit code stays the command's, which the limit of another does not touch.
        script = SESSION + "until grep -q 'populated 0' service.eater/cgroup.events; do sleep 0.1; done; exit 7"
        done = with_config(how, eater("false"), "sh", "-c", script, code=7)
        assert line in done.stderr, done.stderr
        assert "the session reached" not in done.stderr, done.stderr
        assert_nothing_left()


def test_a_session_out_of_memory_ends_as_its_command_did_also_with_services():
    config = "[services.web]\ncommand = ['sleep', '4321']\n[limits]\nmemory = '48MiB'\n"
    for _ in range(5):
        done = with_config([], config, *HUNGRY, "memory", "200", code=137)
        assert "the session reached its limit of 48 MiB, and the kernel killed all" in done.stderr, done.stderr
        assert "service web" not in done.stderr.replace("all of service web", ""), done.stderr
    assert_nothing_left()


def test_github_is_told_of_a_limit():
    with tempfile.TemporaryDirectory() as directory:
        github = ["env", "GITHUB_ACTIONS=true", f"GITHUB_STEP_SUMMARY={directory}/summary"]
        done = run([*github, CGRUN, "--memory", "48MiB", *HUNGRY, "memory", "200"], code=137)
        assert "\n::warning title=cgrun%3A a limit was met::out of memory: the session" in done.stderr, done.stderr
        summary = pathlib.Path(directory, "summary").read_text()
        assert summary.startswith("### cgrun: a limit was met") and "out of memory" in summary, summary


def test_a_fork_bomb_is_bounded():
    for how in EVERYWHERE:
        done = run([*how, CGRUN, "--pids", "50", "--grace", "1s", *HUNGRY, "forks", "500"])
        assert done.stdout == "refused\n", done
        assert "too many processes: the session reached its limit of 50, and " in done.stderr, done.stderr
        assert "most processes belonged to the command" in done.stderr, done.stderr
        leaked = re.search(r"leaked (\d+) processes, found and ended", done.stderr)
        assert leaked and 40 <= int(leaked[1]) < 50, done.stderr
        assert not processes("hungry.py")
        assert_nothing_left()


def test_a_fork_bomb_in_a_service_leaves_the_command_alone():
    config = (
        f"[session]\ngrace = '1s'\n[services.bomb]\ncommand = ['{HUNGRY[0]}', '{HUNGRY[1]}', 'then', 'forks', '200']\n"
        "critical = false\nlimits = { pids = 20 }\n"
    )
    script = SESSION + "until grep -q 'max [1-9]' service.bomb/pids.events; do sleep 0.1; done; sleep 0 & sleep 0 & wait"
    done = with_config([], config, "sh", "-c", script)
    assert "too many processes: service bomb reached its limit of 20, and " in done.stderr, done.stderr
    assert not processes("hungry.py")
    assert_nothing_left()


def test_no_room_is_left_for_the_command():
    config = (
        f"[session]\ngrace = '500ms'\n[limits]\npids = 10\n[services.bomb]\nready = {{ log = 'refused' }}\n"
        f"command = ['{HUNGRY[0]}', '-u', '{HUNGRY[1]}', 'stay', 'forks', '100']\n"
    )
    # Also where a process joins its cgroup after its birth.
    for how in ([CGRUN], ["env", f"CGRUN={CGRUN}", "python3", f"{HELPERS}/launch.py", "without-clone3", "ENOSYS"]):
        with tempfile.TemporaryDirectory() as directory:
            pathlib.Path(directory, "cgrun.toml").write_text(config)
            done = run([*how, "-c", f"{directory}/cgrun.toml", "--logs", f"{directory}/logs", "true"], code=125)
        assert "true could not be executed: cannot make a process: there are as many as the limits of pids" in done.stderr, done.stderr
        assert "too many processes: the session reached its limit of 10, and " in done.stderr, done.stderr
        assert "most processes belonged to service bomb" in done.stderr, done.stderr
    assert_nothing_left()


def test_a_cpu_burner_gets_its_share_and_no_more():
    for how, workers in (([], "1"), (LINGER_ONLY, "2")):
        done = run([*how, CGRUN, "-v", "--cpus", "0.5", *HUNGRY, "burn", "5", workers])
        line = re.search(r"throttled: the session exceeded its 0.5 CPUs in (\d+) of (\d+) periods", done.stderr)
        assert line, done.stderr
        throttled, periods = map(int, line.groups())
        assert throttled >= 0.8 * periods, done.stderr
        # What the kernel counted, against what it was to grant; and as the burner sees it.
        session = re.search(r"cgrun: session +([\d.]+) s +([\d.]+) s", done.stderr)
        share = (float(session[1]) + float(session[2])) / (periods * 0.1)
        assert 0.45 <= share <= 0.55, (share, done.stderr)
        used, wall = map(float, done.stdout.split(" of "))
        assert 0.45 <= used / wall <= 0.55, done.stdout
    # Any program is held back for a moment while it starts.
    assert run([CGRUN, "--cpus", "0.5", "python3", "-c", "pass"]).stderr == ""
    assert_nothing_left()


def test_a_limit_inside_the_session_is_not_the_hosts():
    inner = [CGRUN, "--memory", "48MiB", *HUNGRY, "memory", "200"]
    for how in ([], LINGER_ONLY):
        done = run([*how, CGRUN, "--pids", "60", *inner], code=137)
        assert "out of memory: the session reached its limit of 48 MiB, and the kernel killed all of the command" in done.stderr, done.stderr
        line = "out of memory: a cgroup inside the command reached a limit of its own, and the kernel killed 1 process of the command"
        assert line in done.stderr, done.stderr
    assert_nothing_left()


def test_who_is_killed_in_a_cgroup_of_its_own_making():
    script = SESSION + f"mkdir own && echo $$ >own/cgroup.procs && exec {' '.join(HUNGRY)} memory 200"
    done = run([CGRUN, "--memory", "48MiB", "sh", "-c", script], code=137)
    line = "out of memory: the session reached its limit of 48 MiB, and the kernel killed all of the session"
    assert line in done.stderr, done.stderr
    assert_nothing_left()


def test_every_report_names_the_limit_that_struck():
    with tempfile.TemporaryDirectory() as directory:
        reports = {kind: pathlib.Path(directory, f"cgrun.{kind}") for kind in ("json", "junit", "html")}
        options = [word for kind, path in reports.items() for word in ("--report", f"{kind}={path}")]
        done = with_config([], eater("false"), *options, "sh", "-c", SESSION + EATEN)
        [line] = [line.removeprefix("cgrun: ") for line in done.stderr.splitlines() if "out of memory" in line]
        text = {kind: html.unescape(path.read_text()) for kind, path in reports.items()}
        assert line in text["junit"] and line in text["html"], (line, text)
        usage = json.loads(text["json"])["usage"]
        [struck] = usage["limits_hit"]
        victim = struck.pop("victim")
        assert struck == {
            "resource": "memory", "level": "own", "component": "service eater", "limit_bytes": 48 << 20,
            "killed": [{"component": "service eater"}],
        }, struck
        assert victim["name"] == "python3" and victim["pid"] > 1, victim
        assert f"the first was pid {victim['pid']} (python3)" in line, line
        figures = {it["name"]: it for it in [usage["session"], *usage["components"]]}
        assert figures.keys() == {"session", "service eater", "command"}, figures
        for it in figures.values():
            assert {"cpu_user_usec", "memory_peak_bytes", "processes_peak"} <= it.keys(), it
            assert all(isinstance(value, int) for key, value in it.items() if key != "name"), it
    assert_nothing_left()


def test_a_guardian_reports_what_struck():
    config = eater("false") + "[limits]\npids = 50\n"
    with tempfile.TemporaryDirectory() as directory:
        pathlib.Path(directory, "cgrun.toml").write_text(config)
        report = pathlib.Path(directory, "cgrun.json")
        script = SESSION + EATEN.replace("exit 0", f"touch {directory}/running; exec sleep 4321")
        command = [CGRUN, "-c", f"{directory}/cgrun.toml", "--logs", directory, "--report", f"json={report}", "sh", "-c", script]
        child = subprocess.Popen(command, stderr=subprocess.DEVNULL)
        until(pathlib.Path(directory, "running").exists, "the eater was killed")
        child.kill()
        child.wait()
        until(report.exists, "the guardian has written the report")
        until(lambda: not processes(directory), "the guardian has ended")
        usage = json.loads(report.read_text())["usage"]
        assert [(it["resource"], it["component"], it["killed"]) for it in usage["limits_hit"]] == [
            ("memory", "service eater", [{"component": "service eater"}])
        ], usage
        assert [it["name"] for it in usage["components"]] == ["service eater", "command"], usage
    assert_nothing_left()


def test_what_is_asked_for_is_set():
    # No library of ours has started a thread.
    script = SESSION + "cat memory.max memory.oom.group memory.swap.max pids.max cpu.max; grep Threads /proc/$PPID/status"
    config = "[limits]\nmemory = '64MiB'\nswap = 0\npids = 77\ncpus = '50%'\n"
    for how in EVERYWHERE:
        done = with_config(how, config, "sh", "-c", script)
        assert done.stdout.split() == [str(64 << 20), "1", "0", "77", "100000", "100000", "Threads:", "1"], done
        assert done.stderr == "", done.stderr
    done = with_config([], "[limits]\ncpuset = '1'\n", "sh", "-c", SESSION + "cat cpuset.cpus.effective; nproc")
    assert done.stdout.split() == ["1", "1"], done
    done = with_config([], "[limits]\nio_weight = 200\n", "sh", "-c", SESSION + "head -n 1 io.weight")
    assert done.stdout == "default 200\n", done
    # The command line wins, and the user's session has root's limits.
    done = with_config([], config, "--pids", "78", "--user", "tester", "sh", "-c", SESSION + "cat pids.max; id -un")
    assert done.stdout.split() == ["78", "tester"], done
    done = run([CGRUN, "--require", "cgroup+pidns", "--pids", "79", "sh", "-c", SESSION + "cat pids.max"])
    # And two of ours.
    assert done.stdout == "81\n", done
    assert_nothing_left()


def test_memory_bounds_swap_as_well():
    swap = "/swapfile"
    run(["dd", "if=/dev/zero", f"of={swap}", "bs=1M", "count=128"])
    os.chmod(swap, 0o600)
    run(["mkswap", swap])
    run(["swapon", swap])
    try:
        done = run([CGRUN, "--memory", "48MiB", *HUNGRY, "memory", "100"], code=137)
        assert "out of memory: the session reached its limit of 48 MiB" in done.stderr, done.stderr
        # Unless swap was asked for.
        done = with_config([], "[limits]\nmemory = '48MiB'\nswap = '100%'\n", *HUNGRY, "memory", "100")
        assert (done.stdout, done.stderr) == ("got 100 MiB\n", ""), done
    finally:
        run(["swapoff", swap])
        os.unlink(swap)
    assert_nothing_left()


def test_a_weight_without_effect_is_said():
    script = SESSION + "cat io.weight io.bfq.weight 2>/dev/null; true"
    done = with_config([], "[limits]\nio_weight = 200\n", "sh", "-c", script)
    assert "default 200\n" in done.stdout, done
    schedulers = [path.read_text() for path in pathlib.Path("/sys/block").glob("*/queue/scheduler")]
    cost = pathlib.Path("/sys/fs/cgroup/io.cost.qos")
    works = any("[bfq]" in it for it in schedulers) or cost.exists() and "enable=1" in cost.read_text()
    assert ("io_weight has no effect on this host" in done.stderr) == (not works), (done, schedulers)
    assert_nothing_left()


def test_the_least_is_enough_to_start():
    run([CGRUN, "--memory", "1MiB", "--pids", "1", "--cpus", "0.01", "true"])
    config = "[limits]\npids = 2\n[services.web]\ncommand = ['sleep', '4321']\nlimits = { pids = 1 }\n"
    for kind in ("cgroup", "cgroup+pidns"):
        run([CGRUN, "--require", kind, "--pids", "1", "true"])
        with_config([], config, "--require", kind, "true")
    assert_nothing_left()


def test_what_was_not_delegated_is_refused():
    done = with_config(LINGER_ONLY, "[limits]\ncpuset = '0'\n", "true", code=125)
    assert "cannot limit cpuset: the cpuset controller is not delegated to /sys/fs/cgroup/user.slice" in done.stderr, done.stderr
    assert "Delegate=memory pids cpu cpuset" in done.stderr, done.stderr
    # What can be had is had.
    config = "[limits]\ncpuset = '0'\npids = 77\nbest_effort = true\n"
    done = with_config(LINGER_ONLY, config, "sh", "-c", SESSION + "cat pids.max")
    assert "without a limit of cpuset: " in done.stderr and done.stdout == "77\n", done
    assert_nothing_left()


def test_doctor_says_what_can_be_limited():
    keys = {"memory": "memory = '64M'", "pids": "pids = 50", "cpu": "cpus = 1", "cpuset": "cpuset = '0'", "io": "io_weight = 50"}
    counts = []
    for how in EVERYWHERE:
        said = doctor(how)["cgroup"]
        refused = {it["controller"]: it for it in said["unavailable_limits"]}
        assert refused.keys().isdisjoint(said["available_limits"]) and refused.keys() | set(said["available_limits"]) == keys.keys(), said
        for controller, key in keys.items():
            it = refused.get(controller)
            done = with_config(how, f"[limits]\n{key}\n", "true", code=125 if it else 0)
            if it:
                # But for the name of the scope, which is another each time.
                reason = re.sub(r"cgrun\\-[^ /]*", "[^ ]*", re.escape(it["reason"]))
                assert re.search(reason, done.stderr) and it["remedy"] in done.stderr, (said, done.stderr)
        counts.append(len(refused))
    assert counts[0] == 0 and counts[1] > 0, counts
    # And where somebody else is in the cgroup that was delegated to us, none.
    said = run([*DELEGATED, "sh", "-c", f"{CGRUN} doctor; true"]).stdout
    assert re.search("^limits +none\nno limits +memory pids cpu cpuset io: .* has processes of its own", said, re.M), said
    assert_nothing_left()


def test_a_service_is_told_that_its_session_has_less():
    config = "[limits]\nmemory = '64M'\n[services.web]\ncommand = ['sleep', '4321']\nlimits = { memory = '128M' }\n"
    done = with_config([], config, "true")
    assert "service web's limit of 128 MiB of memory is more than the whole session's (64 MiB)" in done.stderr, done.stderr
    assert_nothing_left()


def test_of_cpus_that_are_not_there_those_are_had_that_are():
    # The machine has two.
    config = "[limits]\ncpuset = '0-3'\n[services.web]\ncommand = ['sleep', '4321']\nlimits = { cpuset = '1-8' }\n"
    done = with_config([], config, "sh", "-c", SESSION + "cat cpuset.cpus service.web/cpuset.cpus")
    assert done.stdout.split() == ["0-1", "1"], done
    for whose in ("the session's", "service web's"):
        assert re.search(f"{whose} limit of the CPUs [^ ]* is more than this host has", done.stderr), done.stderr
    # What is said of the one is said also where another is refused.
    done = with_config([], config.replace("1-8", "7"), "true", code=125)
    assert "cannot limit cpuset of service web: 7 has no CPU of this host" in done.stderr, done.stderr
    assert "the session's limit of the CPUs " in done.stderr, done.stderr
    done = with_config([], config.replace("1-8", "7"), "--limits-best-effort", "sh", "-c", SESSION + "cat cpuset.cpus")
    assert "without a limit of cpuset of service web: 7 has no CPU" in done.stderr and done.stdout == "0-1\n", done
    config = config.replace("0-3", "0").replace("1-8", "1")
    done = with_config([], config, "true", code=125)
    assert "cannot limit cpuset of service web: 1 has no CPU of the whole session's, which are 0;" in done.stderr, done.stderr
    assert_nothing_left()


def test_cpus_that_a_unit_is_not_granted():
    unit = [*DELEGATED, "-p", "AllowedCPUs=0"]
    done = with_config(unit, "[limits]\ncpuset = '1'\n", "true", code=125)
    assert "cannot limit cpuset: the cgroups above grant it the CPUs 0 only, and none of 1; " in done.stderr, done.stderr
    done = with_config(unit, "[limits]\ncpuset = '0-1'\n", "nproc")
    assert done.stdout == "1\n", done
    assert "cpuset: of the CPUs 0-1 the cgroups above grant 0 only" in done.stderr, done.stderr
    assert_nothing_left()


def test_a_cgroup_with_other_processes_is_left_alone():
    for how in (DELEGATED, DELEGATED_TO_USER):
        script = f"{CGRUN} --pids 50 true; echo $?; {CGRUN} --pids 50 --limits-best-effort true; echo $?; {CGRUN} true"
        done = run([*how, "sh", "-c", script])
        assert done.stdout == "125\n0\n", done
        assert re.search(r"has processes of its own \(pid \d+, /usr/bin/sh -c ", done.stderr), done.stderr
        assert "--scope -p Delegate=yes cgrun COMMAND" in done.stderr, done.stderr
        assert "without a limit of pids: " in done.stderr, done.stderr
    # And that helps.
    run(["systemd-run", "--quiet", "--scope", "-p", "Delegate=yes", CGRUN, "--pids", "50", "true"])
    assert_nothing_left()


def test_our_own_cgroup_is_left_as_it_was():
    """systemd could start nothing more in a unit whose cgroup has controllers for its children."""
    unit = pathlib.Path("/run/systemd/system/twice.service")
    look = "/bin/sh -c 'cd /sys/fs/cgroup/system.slice/twice.service && cat cgroup.subtree_control && ls -d */ >/run/twice; exit 0'"
    unit.write_text(
        "[Service]\nType=oneshot\nDelegate=yes\n"
        f"ExecStart={CGRUN} --pids 50 --memory 64M true\nExecStart={look}\n"
        f"ExecStart={CGRUN} --pids 50 true\nExecStart={look}\n"
    )
    try:
        run(["systemctl", "daemon-reload"])
        run(["systemctl", "start", "twice"])
        assert pathlib.Path("/run/twice").read_text() == ""
    finally:
        unit.unlink()
        run(["systemctl", "daemon-reload"])
    assert_nothing_left()


def test_the_cgroups_above_are_left_as_they_were():
    """Two of them pass nothing down yet, and the session's is made below the second one."""
    script = (
        'cd "/sys/fs/cgroup$(sed s/^0::// /proc/self/cgroup)" && mkdir -p a/b aside && echo 0 >aside/cgroup.procs\n'
        'within() { sh -c "echo 0 >a/b/cgroup.procs; $1"; echo $?; cat cgroup.subtree_control a/cgroup.subtree_control; }\n'
        f"within 'exec {CGRUN} --pids 50 true'\n"
        f"within '{CGRUN} --pids 50 true; exit $?'\n"
        f"within 'exec {CGRUN} --memory 64M true'\n"
    )
    for how in (DELEGATED, DELEGATED_TO_USER):
        done = run([*how, "sh", "-c", script])
        # The second time a shell is in the way.
        assert done.stdout.split() == ["0", "125", "0"], done
        assert "has processes of its own" in done.stderr, done.stderr
    assert_nothing_left()


def test_a_session_in_a_session_has_its_own_limits():
    inner = [CGRUN, "--pids", "30", "sh", "-c", SESSION + "cat pids.max"]
    for how in ([], LINGER_ONLY):
        done = run([*how, CGRUN, "--pids", "60", *inner])
        assert (done.stdout, done.stderr) == ("30\n", ""), done
    assert_nothing_left()


def test_the_guardian_ends_a_session_with_limits():
    for how in ([], LINGER_ONLY):
        for with_guardian in (False, True):
            with tempfile.TemporaryDirectory() as directory:
                os.chmod(directory, 0o777)
                pathlib.Path(directory, "cgrun.toml").write_text("[limits]\npids = 50\nmemory = '64M'\n")
                start_and_kill([*how, "env", "-C", directory], with_guardian)
            if with_guardian:
                assert processes("sleep 4321"), "somebody was to be left"
                run([*how, CGRUN, "sweep"])
            until(lambda: not processes("sleep 4321"), "all has ended")
            assert_nothing_left()


def test_figures():
    config = "[services.web]\ncommand = ['sleep', '4321']\n"
    for how in ([], LINGER_ONLY):
        done = with_config(how, config, "-v", "--memory", "128M", *HUNGRY, "memory", "32")
        rows = {line.split("  ")[0]: line for line in re.sub("(?m)^cgrun: ", "", done.stderr).splitlines()}
        peak = re.search(r"([\d.]+) MiB", rows["command"])
        assert peak and 32 <= float(peak[1]) <= 60, done.stderr
        assert re.search(r"[\d.]+ [KM]iB +1 ", rows["service web"]), done.stderr
        assert "session" in rows and "used by" in rows, done.stderr
        # Without a limit only what costs nothing.
        done = run([*how, CGRUN, "-v", "true"])
        assert re.search(r"session +0\.\d\d s +0\.\d\d s +- +- ", done.stderr), done.stderr
    assert_nothing_left()
