"""Runs the tests of the virtual machine, which has systemd and cgroup v2: main.py [TEXT]...

Runs as root. Each function below whose name begins with `test_` is a test; these show which containment cgrun
chooses in each place of such a host. The tests of limits, and some others, come from the Rust test program.
Arguments select the tests whose names contain one of them.
"""

import contextlib
import json
import os
import pathlib
import pty
import re
import select
import shlex
import signal
import subprocess
import sys
import tempfile
import time
import traceback

CGRUN = "/usr/local/bin/cgrun"
HELPERS = "/payload/tests/helpers"
PROMISES = "/payload/promises"
WITNESS = "/usr/local/bin/examples/witness"
CGROUPS = pathlib.Path("/sys/fs/cgroup")
# Seconds. This is far more than any step takes, because an emulated machine is slow.
LIMIT = 60


def run(command, code=0, limit=LIMIT, **options):
    """Runs a command, waits until it exits, and checks its exit code."""
    done = subprocess.run(command, capture_output=True, text=True, timeout=limit, **options)
    assert done.returncode == code, f"{shlex.join(command)}: {done.returncode}\n{done.stdout}{done.stderr}"
    return done


def doctor(how):
    return json.loads(run([*how, CGRUN, "doctor", "--json"]).stdout)


def until(condition, what):
    deadline = time.monotonic() + LIMIT
    while not condition():
        assert time.monotonic() < deadline, f"never: {what}"
        time.sleep(0.02)


def processes(text):
    """The command lines that contain `text`, of all processes except this one."""
    found = []
    for directory in pathlib.Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            line = (directory / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
            if text in line and int(directory.name) != os.getpid():
                found.append(f"{directory.name}: {line}")
    return found


def sessions():
    """The cgroups of all sessions, and the scopes that systemd made for them."""
    return [path for path in CGROUPS.glob("**/cgrun-*") if path.is_dir()]


def assert_nothing_left():
    """Asks the witness, which does not use cgrun, and then cgrun itself."""
    marks = [word for mark in ("sleep 4321", "leak.py", "server.py") for word in ("--command-line", mark)]
    run([WITNESS, "--ports", "3000,8000", *marks])
    # systemd removes an empty scope a little later.
    run([WITNESS, "--no-session-below", str(CGROUPS), "--within", str(LIMIT / 2)])
    run([CGRUN, "check"])


# Ways to run a command. PAMName=login creates a logind session, as an ssh login does.
LOGIN = ["systemd-run", "--quiet", "--wait", "--pipe", "-p", "User=tester", "-p", "PAMName=login"]
SU = ["su", "-l", "tester", "-c", 'exec "$0" "$@"', "--"]
LINGER_ONLY = ["env", "-u", "XDG_RUNTIME_DIR", "-u", "DBUS_SESSION_BUS_ADDRESS", "runuser", "-u", "tester", "--"]
USER_SERVICE = ["systemd-run", "--quiet", "--wait", "--pipe", "--user", "--machine=tester@.host"]
DELEGATED = ["systemd-run", "--quiet", "--wait", "--pipe", "-p", "Delegate=yes"]
DELEGATED_TO_USER = [*DELEGATED, "-p", "User=tester"]
NO_MANAGER = ["runuser", "-u", "plain", "--"]
READ_ONLY = ["unshare", "-m", "sh", "-c", 'mount -o remount,bind,ro /sys/fs/cgroup && exec "$@"', "sh"]


def assert_chosen(how, containment, source):
    said = doctor(how)
    assert (said["containment"], said["cgroup"]["session_parent_source"]) == (containment, source), said
    assert said["cgroup"]["layout"] == "unified", said
    assert said["systemd"]["running"], said
    # The session passes the command's exit code on, kills a leak, and asks its service to exit.
    with tempfile.TemporaryDirectory() as directory:
        os.chmod(directory, 0o777)
        config = pathlib.Path(directory, "cgrun.toml")
        config.write_text(
            "[session]\nports = [8000]\n[services.web]\nport = 8000\n"
            f"command = ['python3', '{HELPERS}/server.py', '8000', '--name', 'web', '--journal', '{directory}/journal']\n"
        )
        script = "sleep 4321 & setsid -f sleep 4321; cat /proc/self/cgroup; exit 7"
        done = run([*how, CGRUN, "-c", str(config), "--logs", f"{directory}/logs", "sh", "-c", script], code=7)
        assert "leaked 2 processes, found and stopped" in done.stderr, done.stderr
        assert "web SIGTERM" in pathlib.Path(directory, "journal").read_text()
        weaker = "this session is contained only by a" in done.stderr
        assert weaker == (containment != "cgroup"), done.stderr
        if containment == "cgroup":
            place = re.search("0::(.*)/cgrun-[^/]*/command", done.stdout)
            assert place, done.stdout
            return done, place[1]
    return done, None


def test_cgroup_kill_is_promised_if_the_kernel_has_it():
    said = doctor([])
    release = tuple(map(int, re.findall(r"\d+", os.uname().release)[:2]))
    assert said["cgroup"]["cgroup_kill"] == (release >= (5, 14)), said
    assert ("one write to cgroup.kill" in said["guarantee"]) == said["cgroup"]["cgroup_kill"], said


def test_root_in_a_service_gets_a_scope():
    _, place = assert_chosen([], "cgroup", "scope")
    assert place.startswith("/system.slice/cgrun-"), place
    assert_nothing_left()


def test_root_in_a_login_session_gets_a_scope():
    how = ["systemd-run", "--quiet", "--wait", "--pipe", "-p", "PAMName=login", "-p", "User=root"]
    assert_chosen(how, "cgroup", "scope")
    assert_nothing_left()


def test_root_in_a_unit_with_delegate_needs_none():
    _, place = assert_chosen(DELEGATED, "cgroup", "delegated")
    assert place.startswith("/system.slice/run-"), place
    assert_nothing_left()


def test_a_user_with_a_login_session_gets_a_scope():
    _, place = assert_chosen(LOGIN, "cgroup", "scope")
    assert "/user@" in place and "/cgrun-" in place, place
    assert_nothing_left()


def test_a_user_by_su_gets_a_scope():
    assert_chosen(SU, "cgroup", "scope")
    assert_nothing_left()


def test_a_user_with_linger_only_gets_a_scope():
    assert_chosen(LINGER_ONLY, "cgroup", "scope")
    assert_nothing_left()


def test_a_users_own_service_gets_a_scope():
    assert_chosen(USER_SERVICE, "cgroup", "scope")
    assert_nothing_left()


def test_a_service_with_delegate_and_user_needs_none():
    assert_chosen(DELEGATED_TO_USER, "cgroup", "delegated")
    assert_nothing_left()


def test_a_user_without_a_manager_gets_a_pid_namespace():
    assert_chosen(NO_MANAGER, "pidns", None)
    said = doctor(NO_MANAGER)
    assert "loginctl enable-linger plain" in said["next_step"], said
    assert_nothing_left()


def test_read_only_cgroups_give_a_pid_namespace():
    assert_chosen(READ_ONLY, "pidns", None)
    assert "mount -o remount,bind,rw /sys/fs/cgroup" in doctor(READ_ONLY)["next_step"]
    run([*READ_ONLY, CGRUN, "--require", "cgroup", "true"], code=125)
    assert_nothing_left()


@contextlib.contextmanager
def sysctl(name, value):
    path = pathlib.Path("/proc/sys", *name.split("."))
    before = path.read_text()
    path.write_text(value)
    try:
        yield
    finally:
        path.write_text(before)


def test_no_namespaces_allowed_leaves_the_process_tree():
    with sysctl("user.max_user_namespaces", "0"):
        assert_chosen(NO_MANAGER, "tree", None)
        missing = doctor(NO_MANAGER)["unavailable"]
        assert any("sysctl user.max_user_namespaces=15000" in it["remedy"] for it in missing), missing
        done = run([*NO_MANAGER, CGRUN, "--require", "pidns", "true"], code=125)
        assert "--require" in done.stderr
    assert_nothing_left()


HANGS = "sleep 4321 | cat; true"


def why_in_a_second_shell(how, verdict):
    """The lines of `cgrun why` by the same user, which is no ancestor, without its last one, which ends with `verdict`."""
    with tempfile.TemporaryDirectory() as directory:
        os.chmod(directory, 0o777)
        known, said = pathlib.Path(directory, "id"), []
        script = f"echo $CGRUN_SESSION >{directory}/new; mv {directory}/new {known}; {HANGS}"
        child = subprocess.Popen([*how, CGRUN, "sh", "-c", script], stderr=subprocess.DEVNULL)

        def explains():
            said[:] = run([*how, CGRUN, "why", known.read_text().strip()]).stdout.splitlines()
            return said[-1].startswith("look at pid ") and said[-1].endswith(verdict)

        try:
            until(known.exists, "the command runs")
            until(explains, f"{verdict} in the last line")
        finally:
            [supervisor] = supervisors()
            os.kill(supervisor, signal.SIGTERM)
            child.wait(LIMIT)
    assert_nothing_left()
    return said[:-1]


def assert_yama_hides(how):
    *said, hint = why_in_a_second_shell(how, "(sleep 4321): it sleeps")
    remedy = "are hidden by Yama (kernel.yama.ptrace_scope): run as root, or see what --warn-after prints"
    assert hint.startswith("the system calls of ") and hint.endswith(remedy), hint
    assert any("reads its stdin, a pipe that only " in line for line in said), said


def test_why_in_a_second_shell_says_what_yama_hides():
    """The user owns the user namespace of a session in a PID namespace, and so has all capabilities over it."""
    with sysctl("kernel.yama.ptrace_scope", "1"):
        assert_yama_hides(LINGER_ONLY)
        said = why_in_a_second_shell(NO_MANAGER, "(sleep 4321): it sleeps for 72 min")
        assert not any("hidden" in line for line in said), said
        with sysctl("user.max_user_namespaces", "0"):
            assert_yama_hides(NO_MANAGER)


def test_yama_hides_nothing_from_the_cgrun_that_runs_the_session():
    """It is an ancestor of the processes."""
    with sysctl("kernel.yama.ptrace_scope", "1"):
        for how in (LINGER_ONLY, NO_MANAGER):
            done = run([*how, CGRUN, "--timeout", "5s", "sh", "-c", HANGS], code=124)
            assert "(sleep 4321): it sleeps for 72 min" in done.stderr, done.stderr
            assert "hidden" not in done.stderr, done.stderr
            assert_nothing_left()


def test_controllers_are_on_in_a_users_scope():
    controllers = doctor(LOGIN)["cgroup"]["controllers"]
    assert {"memory", "pids", "cpu"} <= set(controllers), controllers


def test_sessions_are_made_only_where_systemd_delegated():
    for how, manager in (([], "--system"), (LOGIN, "--user"), (DELEGATED, "--system")):
        # The leaf is in the session's cgroup, which is in the delegated one.
        script = f"unit=$(sed 's,.*/\\([^/]*\\)/[^/]*/[^/]*$,\\1,' /proc/self/cgroup); systemctl {manager} show -P Delegate $unit"
        assert run([*how, CGRUN, "sh", "-c", script]).stdout == "yes\n"
    assert_nothing_left()


def test_a_session_in_a_scope_ends_with_the_service_that_started_it():
    script = f"{CGRUN} sh -c 'touch /run/running; exec sleep 4321'; true"
    run(["systemd-run", "--quiet", "--unit=runner", "sh", "-c", script])
    until(pathlib.Path("/run/running").exists, "the command runs")
    [session] = [path for path in sessions() if path.suffix != ".scope"]
    assert session.parent.parent.name == "system.slice", session
    run(["systemctl", "stop", "runner.service"])
    until(lambda: not processes("sleep 4321"), "all processes have exited")
    assert_nothing_left()


def test_both_a_cgroup_and_a_pid_namespace():
    script = "sleep 4321 & echo 0 >/sys/fs/cgroup/cgroup.procs; test $$ -lt 10"
    run([CGRUN, "--require", "cgroup+pidns", "sh", "-c", script])
    assert_nothing_left()


def test_a_network_with_a_way_out_can_have_limits():
    """What connects it is in cgrun's own cgroup, in which controllers need room."""
    run(["modprobe", "--all", "tun", "dummy"])
    os.chmod("/dev/net/tun", 0o666)
    words = ["link add way type dummy", "address add 10.9.0.1/24 dev way", "link set way up", "route add default via 10.9.0.2"]
    for it in words:
        run(["ip", *it.split()])
    try:
        for how in ([], USER_SERVICE, DELEGATED, DELEGATED_TO_USER):
            done = run([*how, CGRUN, "--private", "net=outbound", "--pids", "60", "ip", "-brief", "address"])
            assert "10.9.0.1" in done.stdout, done.stdout
            assert not processes("pasta")
            assert_nothing_left()
    finally:
        run(["ip", "link", "delete", "way"])


def test_a_root_process_that_leaves_the_scope():
    script = "sh -c 'echo 0 >/sys/fs/cgroup/cgroup.procs; exec sleep 4321' & sleep 0.5"
    done = run([CGRUN, "sh", "-c", script])
    assert "it had left the session's cgroup" in done.stderr, done.stderr
    assert_nothing_left()


def test_a_session_of_another_user_has_no_capabilities():
    script = "grep ^Cap /proc/self/status; id -un; echo 0 >/sys/fs/cgroup/cgroup.procs"
    done = run([CGRUN, "--user", "tester", "sh", "-c", script], code=2)
    assert "Permission denied" in done.stderr, done.stderr
    assert "tester" in done.stdout and re.search("CapEff:\t0+\n", done.stdout), done.stdout
    assert_nothing_left()


def test_sudo_inside_fails_only_with_no_new_privs():
    assert run([CGRUN, "--user", "tester", "sudo", "-n", "id", "-u"]).stdout == "0\n"
    done = run([CGRUN, "--user", "tester", "--no-new-privs", "sudo", "-n", "id", "-u"], code=1)
    assert "no new privileges" in done.stderr, done.stderr


def test_a_limit_in_a_task_of_slurm_leaves_cgrun_where_slurm_sees_it():
    """The cgroups of a job as Slurm makes them. `tests/fleet/slurm` has a real one, on a host without controllers."""
    scope = CGROUPS / "system.slice/n0_slurmstepd.scope"
    user = scope / "job_7/step_batch/user"
    task = user / "task_0"
    task.mkdir(parents=True)
    (scope / "system").mkdir()
    inside = ["sh", "-c", f'echo 0 >{task}/cgroup.procs && exec "$@"', "sh"]
    of_the_host = {it: it.read_text().split() for it in (at / "cgroup.subtree_control" for at in (scope.parent, CGROUPS))}
    try:
        for directory in (CGROUPS, scope.parent, scope, scope / "job_7", user.parent, user):
            (directory / "cgroup.subtree_control").write_text("+memory +cpu +cpuset")
        limits = ["--memory", "100MiB", "--pids", "50"]
        show = f'sed -n 1p {task}/cgroup.procs; cat /proc/self/cgroup; cat "/sys/fs/cgroup$(sed s/0::// /proc/self/cgroup)/../memory.max"'
        said = run([*inside, CGRUN, *limits, "sh", "-c", show]).stdout.splitlines()
        assert said[0] and re.fullmatch("0::.*/user/cgrun-[^/]*/command", said[1]) and said[2] == "104857600", said
        without = run([*inside, CGRUN, "cat", "/proc/self/cgroup"]).stdout
        assert re.search("/user/task_0/cgrun-[^/]*/command", without), without
        assert "pids" not in (user / "cgroup.subtree_control").read_text()
        left = [str(path) for path in user.iterdir() if path.is_dir()]
        assert left == [str(task)], left
    finally:
        # What is left because of a failure must not hide it.
        with contextlib.suppress(OSError):
            for directory in (task, user, user.parent, scope / "job_7", scope / "system", scope):
                directory.rmdir()
            for file, before in of_the_host.items():
                added = [f"-{it}" for it in file.read_text().split() if it not in before]
                file.write_text(" ".join(added))
    assert not scope.exists()
    assert_nothing_left()


def test_a_signal_reaches_the_session_through_the_scope():
    for how in (LINGER_ONLY, NO_MANAGER):
        with tempfile.TemporaryDirectory() as directory:
            os.chmod(directory, 0o777)
            script = f"touch {directory}/running; exec sleep 4321"
            child = subprocess.Popen([*how, CGRUN, "sh", "-c", script], stderr=subprocess.PIPE)
            until(pathlib.Path(directory, "running").exists, "the command runs")
            [supervisor] = supervisors()
            os.kill(supervisor, signal.SIGTERM)
            # runuser reports the signal that killed its child.
            code = child.wait(LIMIT)
            assert code in (-signal.SIGTERM, 128 + signal.SIGTERM), code
        assert_nothing_left()


def cgruns():
    pids = [int(line.split(":")[0]) for line in processes(CGRUN + " sh")]
    return [pid for pid in pids if is_cgrun(pid)]


def supervisors():
    """A guardian has the same command line, but leads a session of its own."""
    return [pid for pid in cgruns() if os.getsid(pid) != pid]


def is_cgrun(pid):
    """Whether this is a cgrun, but not the first process of a PID namespace, which has a second pid in there."""
    with contextlib.suppress(OSError):
        status = pathlib.Path(f"/proc/{pid}/status").read_text()
        numbers = re.search("^NSpid:(.*)", status, re.MULTILINE)[1].split()
        return os.readlink(f"/proc/{pid}/exe") == CGRUN and len(numbers) == 1
    return False


def has_ended(child):
    """Whether the child has exited. runuser stops together with its own child, and must be continued."""
    pid, status = os.waitpid(child, os.WNOHANG | os.WUNTRACED)
    if pid and os.WIFSTOPPED(status):
        os.kill(child, signal.SIGCONT)
        return False
    return pid != 0


def start_and_kill(how, with_guardian):
    """Starts a session and kills its supervisor, and optionally its guardian."""
    with tempfile.TemporaryDirectory() as directory:
        os.chmod(directory, 0o777)
        script = f"(trap '' TERM; sleep 4321) & setsid -f sleep 4321; touch {directory}/running; exec sleep 4321"
        child = subprocess.Popen([*how, CGRUN, "sh", "-c", script], stderr=subprocess.DEVNULL)
        until(pathlib.Path(directory, "running").exists, "the command runs")
        victims = cgruns() if with_guardian else supervisors()
        for number in (signal.SIGSTOP, signal.SIGKILL):
            for pid in victims:
                os.kill(pid, number)
        until(lambda: has_ended(child.pid), "the starter exits")


def test_the_guardian_cleans_up_a_session_in_a_scope():
    for how in ([], LINGER_ONLY):
        start_and_kill(how, with_guardian=False)
        until(lambda: not processes("sleep 4321"), "all processes have exited")
        assert_nothing_left()


def test_the_next_session_cleans_up_after_a_dead_one_in_its_scope():
    start_and_kill(LINGER_ONLY, with_guardian=True)
    assert processes("sleep 4321"), "nothing was left to end"
    done = run([*LINGER_ONLY, CGRUN, "true"])
    assert "left behind by a cgrun process that died" in done.stderr, done.stderr
    assert_nothing_left()


def test_a_pid_namespace_dies_with_cgrun_and_its_guardian():
    start_and_kill(NO_MANAGER, with_guardian=True)
    until(lambda: not processes("sleep 4321"), "all processes have exited")
    assert_nothing_left()


def test_a_terminal_through_the_scope():
    """Ctrl-Z, fg and Ctrl-C in a login shell of an ordinary user."""
    pid, master = pty.fork()
    if pid == 0:
        os.execvp("su", ["su", "-l", "tester"])
    screen = b""

    def shows(text):
        nonlocal screen
        deadline = time.monotonic() + LIMIT
        while text.encode() not in screen:
            left = deadline - time.monotonic()
            assert left > 0, f"never on the screen: {text!r}, but {screen!r}"
            if select.select([master], [], [], left)[0]:
                screen += os.read(master, 4096)
        screen = screen.split(text.encode(), 1)[1]

    def enter(line):
        os.write(master, line.encode() + b"\n")

    enter("stty -echo; PS1='[$?]'\"> \"")
    shows("[0]> ")
    enter("cgrun sh -c 'trap \"exit 6\" INT; echo run''ning; while :; do sleep 0.1; done'")
    shows("running")
    os.write(master, b"\x1a")
    shows("[148]> ")
    enter("fg")
    time.sleep(0.5)
    os.write(master, b"\x03")
    shows("[6]> ")
    enter("exit 0")
    with contextlib.suppress(OSError):
        while os.read(master, 4096):
            pass
    os.waitpid(pid, 0)
    os.close(master)
    assert_nothing_left()


def test_everything_a_command_leaves_behind_is_cleaned_up():
    """The same leaks as on other hosts, as a user, in a cgroup and in a PID namespace."""
    for how in (LINGER_ONLY, NO_MANAGER):
        for leak in (["deaf"], ["blank-daemon"], ["fork-storm", "10", "deaf"]):
            with tempfile.TemporaryDirectory() as directory:
                os.chmod(directory, 0o777)
                command = f"cd {directory}; exec python3 {HELPERS}/leak.py {' '.join(leak)}"
                done = run([*how, CGRUN, "--grace", "500ms", "sh", "-c", command])
                assert "found and stopped" in done.stderr, (leak, done.stderr)
            assert_nothing_left()


# The nightly job of docs/ci.md.
RECIPES = pathlib.Path("/payload/docs/examples/ci")
NIGHTLY = "cgrun-nightly.service"


class Nightly:
    """The example's units, for root or for the lingering user."""

    def __init__(self, user):
        home = pathlib.Path("/root" if user == "root" else f"/home/{user}")
        self.units = pathlib.Path("/etc/systemd/system") if user == "root" else home / ".config/systemd/user"
        self.systemctl = ["systemctl"] if user == "root" else ["systemctl", "--user", f"--machine={user}@.host"]
        self.project = home / "shop"
        self.user = user

    def install(self, script, timeout):
        now = "[Timer]\nOnCalendar=\nRandomizedDelaySec=0\nAccuracySec=1ms\nOnActiveSec=0\n"
        texts = {
            self.project / "nightly": f"#!/bin/sh\n{script}\n",
            self.units / NIGHTLY: (RECIPES / NIGHTLY).read_text().replace("--timeout 2h", f"--timeout {timeout}"),
            self.units / "cgrun-nightly.timer": (RECIPES / "cgrun-nightly.timer").read_text(),
            self.units / "cgrun-nightly.timer.d/now.conf": now,
        }
        for path, text in texts.items():
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        (self.project / "nightly").chmod(0o755)
        run(["chown", "-R", f"{self.user}:", str(self.project)])
        run([*self.systemctl, "daemon-reload"])

    def start(self, *units):
        """Starts the units, and waits until the service has failed. Returns its exit status."""
        subprocess.run([*self.systemctl, "start", *units], capture_output=True, timeout=LIMIT)
        shown = [*self.systemctl, "show", "-P", "ActiveState", "-P", "ExecMainStatus", NIGHTLY]
        said = []
        until(lambda: said.append(run(shown).stdout.split()) or "failed" in said[-1], "the nightly fails")
        return next(int(word) for word in said[-1] if word.isdigit())

    def journal(self):
        """What the unit and the service manager have said about it."""
        run(["journalctl", "--sync"])
        unit = "UNIT" if self.user == "root" else "USER_UNIT"
        said = ["SYSLOG_IDENTIFIER=cgrun-nightly", f"_UID={0 if self.user == 'root' else 1000}"]
        return run(["journalctl", "-o", "cat", f"{unit}={NIGHTLY}", "+", *said]).stdout


def test_a_nightly_reports_a_leak_and_a_hang_in_the_journal():
    """The timer starts it. What hangs is ended by its own limit."""
    for user, units in (("root", ["cgrun-nightly.timer"]), ("tester", [NIGHTLY])):
        nightly = Nightly(user)
        nightly.install("setsid -f sleep 4321; cat /proc/self/cgroup", "2h")
        assert nightly.start(*units) == 121, nightly.journal()
        journal = nightly.journal()
        assert "leaked 1 process, found and stopped" in journal and "(sleep 4321)" in journal, journal
        # A user's manager does not mark the cgroups that it delegates.
        place = NIGHTLY if user == "root" else r"cgrun-[^/]*\.scope"
        assert re.search(f"0::/.*/{place}/cgrun-[^/]*/command", journal), journal
        run([*nightly.systemctl, "stop", "cgrun-nightly.timer"])

        nightly.install("exec sleep 4321", "1s")
        assert nightly.start(NIGHTLY) == 124, nightly.journal()
        journal = nightly.journal()
        assert "timed out after 1s; still running" in journal and "status=124" in journal, journal
        run([*nightly.systemctl, "reset-failed", NIGHTLY])
    assert_nothing_left()


def test_the_action_provides_a_user_manager():
    """As on a runner whose user has sudo and no manager."""
    rights = pathlib.Path("/etc/sudoers.d/plain")
    rights.write_text("plain ALL=(ALL) NOPASSWD: ALL\n")
    with tempfile.TemporaryDirectory() as directory:
        program = pathlib.Path(directory, "cgrun/bin/cgrun")
        program.parent.mkdir(parents=True)
        program.symlink_to(CGRUN)
        os.chmod(directory, 0o755)
        try:
            done = run([*NO_MANAGER, "env", f"RUNNER_TEMP={directory}", "/payload/scripts/action", "delegate"])
            assert re.search("^containment +cgroup", done.stdout, re.MULTILINE), done.stdout
            assert "started user@1001.service" in done.stdout, done.stdout
            # The next step still has it, and the next boot does not.
            run([*NO_MANAGER, CGRUN, "--no-config", "--require", "cgroup", "true"])
            assert os.listdir("/var/lib/systemd/linger") == ["tester"]
        finally:
            rights.unlink()
            run(["systemctl", "stop", "user@1001.service"])


def test_a_signal_through_sudo_reaches_the_session():
    """As when sudo is the entry process of a step, which an ordinary user cancels."""
    with tempfile.TemporaryDirectory() as directory:
        os.chmod(directory, 0o777)
        script = f"touch {directory}/running; trap 'touch {directory}/asked; exit 5' INT; while :; do sleep 0.1; done"
        command = ["sudo", "-n", CGRUN, "--user", "tester", "sh", "-c", script]
        child = subprocess.Popen(command, user="tester", stderr=subprocess.DEVNULL)
        until(pathlib.Path(directory, "running").exists, "the command runs")
        run(["runuser", "-u", "tester", "--", "kill", "-INT", str(child.pid)])
        assert child.wait(LIMIT) == 5
        assert pathlib.Path(directory, "asked").exists()
    assert_nothing_left()


@contextlib.contextmanager
def pod_with_memory_limit(together):
    """A cgroup with the limits that the kubelet gives a container. `together` is its default since Kubernetes 1.28;
    `singleProcessOOMKill` turns it off."""
    (CGROUPS / "cgroup.subtree_control").write_text("+memory")
    cgroup = CGROUPS / "pod"
    cgroup.mkdir()
    for name, value in (("memory.max", "64M"), ("memory.swap.max", "0"), ("memory.oom.group", str(int(together)))):
        (cgroup / name).write_text(value)
    try:
        yield cgroup
    finally:
        (cgroup / "cgroup.kill").write_text("1")
        until(lambda: "populated 0" in (cgroup / "cgroup.events").read_text(), "all processes of the pod have exited")
        cgroup.rmdir()


def run_out_of_memory(cgroup, directory):
    """Runs a suite that needs too much, with cgrun as the first process, without any right. Returns its exit code, and
    what Kubernetes would show."""
    message = pathlib.Path(directory, "termination-log")
    message.write_text("")
    message.chmod(0o666)
    script = f"sleep 4321 & setsid -f sleep 4321; python3 {HELPERS}/hungry.py memory 200"
    enter = f'echo 0 >{cgroup}/cgroup.procs; exec unshare --pid --fork --mount-proc "$@"'
    words = ["setpriv", "--reuid=4242", "--regid=4242", "--clear-groups", "--no-new-privs"]
    reports = [f"--report=summary={message}", f"--report=json={directory}/reports/0.json"]
    words += [CGRUN, "--no-config", *reports, "sh", "-c", script]
    return subprocess.run(["sh", "-c", enter, "sh", *words], timeout=LIMIT).returncode, message.read_text()


def test_a_pod_that_runs_out_of_memory():
    for together in (False, True):
        with tempfile.TemporaryDirectory() as directory, pod_with_memory_limit(together) as cgroup:
            os.chmod(directory, 0o755)
            reports = pathlib.Path(directory, "reports")
            reports.mkdir()
            os.chmod(reports, 0o777)
            # As RuntimeDefault does.
            with sysctl("user.max_user_namespaces", "0"):
                code, message = run_out_of_memory(cgroup, directory)
            until(lambda: not processes("sleep 4321"), "all processes have exited")
            killed = dict(line.split() for line in (cgroup / "memory.events").read_text().splitlines())
            if together:
                # Neither cgrun nor its guardian is spared.
                assert (code, message, list(reports.glob("*.json"))) == (-signal.SIGKILL, "", []), (code, message)
                assert killed["oom_group_kill"] == "1", killed
            else:
                report = json.loads((reports / "0.json").read_text())
                assert (code, report["leaked_process_count"]) == (137, 2), report
                assert "exit code 137" in message and message.endswith("leaked 2 processes\n"), message
                assert (killed["oom_kill"], killed["oom_group_kill"]) == ("1", "0"), killed
    assert_nothing_left()


# Rust tests that are also useful here. Tests that are ignored on other hosts always run here.
ALSO_HERE = ("limits::", "users::", "exit_codes::", "docs::limits")
# Exceptions, which start hundreds of sessions or measure tenths of a second of a program's start.
TOO_SLOW_HERE = ("exit_codes::all_256_exit_codes_are_passed_on", "limits::verbose_shows_what_was_used")


def rust_tests():
    """The names of tests and functions that run them, each in its own process."""
    env = dict(os.environ, NEXTEST="1", NEXTEST_BIN_EXE_cgrun=CGRUN, CARGO_MANIFEST_DIR="/payload")

    def names(*options):
        lines = subprocess.check_output([PROMISES, "--list", "--format", "terse", *options], text=True, env=env)
        return [line.removesuffix(": test") for line in lines.splitlines()]

    def test(name):
        run([PROMISES, "--exact", name, "--include-ignored", "--nocapture"], limit=3 * LIMIT, env=env)

    ignored, everything = names("--ignored"), names()
    renamed = set(TOO_SLOW_HERE).difference(everything)
    assert not renamed, f"no such tests: {renamed}"
    for name in everything:
        if name in ignored or name.startswith(ALSO_HERE) and name not in TOO_SLOW_HERE:
            yield name, lambda name=name: test(name)


def main():
    wanted = sys.argv[1:]
    tests = [(name.removeprefix("test_"), test) for name, test in globals().items() if name.startswith("test_")]
    tests += rust_tests()
    tests = [(name, test) for name, test in tests if not wanted or any(it in name for it in wanted)]
    failed = 0
    for name, test in tests:
        begin = time.monotonic()
        try:
            test()
            verdict = "ok  "
        except Exception:
            failed += 1
            traceback.print_exc(file=sys.stdout)
            verdict = "FAIL"
            # It must not affect later tests.
            for session in sessions():
                with contextlib.suppress(OSError):
                    (session / "cgroup.kill").write_text("1")
        print(f"{verdict} {name} ({time.monotonic() - begin:.1f} s)", flush=True)
    print(f"{len(tests) - failed} passed, {failed} failed", flush=True)
    sys.exit(1 if failed or not tests else 0)


if __name__ == "__main__":
    main()
