"""What an installed cgrun must do on every host."""

import time
from pathlib import Path

ROUNDS, TRIES = 30, 5
# No other process has this command line.
LEAK = "sleep 86017"


class Failed(Exception):
    pass


def expect(host, script, code=0, says="", exactly=None):
    done = host.run(script)
    is_right = done.returncode == code and says in done.stdout and exactly in (None, done.stdout)
    if not is_right:
        wanted = f"exit code {code} and {says if exactly is None else exactly!r}"
        raise Failed(f"{script}: expected {wanted}, got exit code {done.returncode}:\n{done.stdout}")
    return done.stdout


def is_running(command):
    for process in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            if process.read_bytes().replace(b"\0", b" ").strip() == command.encode():
                return True
        except OSError:
            pass
    return False


def check(host, cgrun="cgrun", knows_all_users=True, has_directory=False):
    """Raises Failed if something is wrong."""
    expect(host, f"{cgrun} true", exactly="")
    expect(host, f"{cgrun} sh -c 'exit 3'", code=3, exactly="")
    expect(host, f"{cgrun} sh -c '{LEAK} & exit 0'", says=LEAK)
    if is_running(LEAK):
        raise Failed(f"{LEAK} survived")
    expect(host, f"{cgrun} --user nobody id -u", exactly="65534\n")
    expect(host, f"{cgrun} --user 4711:4712 id", says="uid=4711")
    expect(host, f"{cgrun} --user no-such-user true", code=125, says="there is no user")
    expect(host, f"HOME=/proc {cgrun} true", exactly="")
    if not expect(host, f"{cgrun} doctor").startswith("containment   cgroup: "):
        raise Failed("cgrun doctor does not begin with the cgroup")
    if has_directory and knows_all_users:
        expect(host, f"{cgrun} --user distant id -u", exactly="4711\n")
    elif has_directory:
        expect(host, f"{cgrun} --user distant true", code=125, says="--user UID:GID")


def check_plugin(host, cgrun):
    """The wheel registers its plugin with the pytest of the environment, which may be too old for it."""
    python = f"{cgrun.parent}/python3"
    host.must(f"{python} -m pip install --quiet --disable-pip-version-check pytest")
    host.must(f"echo \"def test_leaks(): __import__('subprocess').Popen({LEAK.split()})\" >test_it.py")
    version = host.must(f"{python} -c 'import pytest; print(pytest.__version__)'")
    is_old = int(version.split(".")[0]) < 8
    says = "because pytest is older than 8.0" if is_old else "ERROR at teardown of test_leaks"
    expect(host, f"{cgrun} {python} -m pytest --cgrun-leaks=fail test_it.py", code=0 if is_old else 1, says=says)


def start_up(host, command):
    """Milliseconds for each run of a command on a host: the fastest of some loops, because others disturb the rest."""
    loop = "i=0; while [ $i -lt {} ]; do {} >/dev/null; i=$((i+1)); done"

    def fastest(rounds):
        times = []
        for _ in range(TRIES):
            started = time.monotonic()
            host.must(loop.format(rounds, command))
            times.append(time.monotonic() - started)
        return min(times)

    return (fastest(ROUNDS) - fastest(0)) * 1000 / ROUNDS
