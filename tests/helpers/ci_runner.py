"""ci_runner.py KIND SECONDS COMMAND...: runs a step as a CI runner does, and cancels it once the file `running` exists.

The kinds are those of the runners' sources:

github   ProcessInvoker.cs and JobExtension.cs (actions/runner): SIGINT to the step's entry process, after 7.5 s
         SIGTERM, after 2.5 s SIGKILL. A step has ended if its entry process has exited and no process holds its
         output, for which the runner waits 5 s. At the end of the job, it kills all processes with its cookie.
jenkins  BourneShellScript.java (durable-task) and ProcessTree.java: SIGTERM to all processes with the cookie, and
         to their descendants, children first. It waits for each, 5 s in all, and kills none. The order of siblings
         is that of a hash of their pids, so `jenkins-reversed` begins with the youngest.
gitlab   killer_unix.go and job_unix.go (gitlab-runner): SIGTERM to the step's process group, and after
         `graceful_kill_timeout` SIGKILL. The output is read until no process holds it.

SECONDS is how long the runner waits for an end on its own after everything it does, which is a limit for the test
only. The output of the step goes to `step.log`. What the runner did and how long it took goes to `cancel.json`.
"""

import json
import os
import pathlib
import signal
import subprocess
import sys
import threading
import time
import uuid

kind, patience, command = sys.argv[1], float(sys.argv[2]), sys.argv[3:]
log = open("step.log", "wb", buffering=0)
done = {"signals": [], "orphans": []}


class Step:
    """The entry process, and the threads that read its output."""

    def __init__(self, environment, **options):
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
        self.process = subprocess.Popen(command, env=dict(os.environ, **environment), **pipes, **options)
        self.process.stdin.close()
        self.readers = [self.thread(self.read, stream) for stream in (self.process.stdout, self.process.stderr)]
        self.exited = self.thread(self.process.wait)

    def thread(self, target, *arguments):
        thread = threading.Thread(target=target, args=arguments, daemon=True)
        thread.start()
        return thread

    def read(self, stream):
        while chunk := os.read(stream.fileno(), 65536):
            log.write(chunk)

    def has_ended(self, within, for_output):
        """Whether it exits within this time, and its output ends within another."""
        self.exited.join(within)
        if self.exited.is_alive():
            return False
        begin = time.monotonic()
        for reader in self.readers:
            reader.join(max(0, for_output - (time.monotonic() - begin)))
        done["held_output"] = any(reader.is_alive() for reader in self.readers)
        return True


def told(signal_name):
    done["signals"].append(signal_name)


def wait_until_running():
    deadline = time.monotonic() + 60
    while not os.path.exists("running"):
        assert time.monotonic() < deadline, "the step never runs"
        time.sleep(0.002)


def environment_of(pid):
    try:
        return pathlib.Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
    except OSError:
        return []


def processes():
    return [int(name) for name in os.listdir("/proc") if name.isdigit()]


def name_of(pid):
    return pathlib.Path(f"/proc/{pid}/comm").read_text().strip()


def github():
    cookie = f"RUNNER_TRACKING_ID=github_{uuid.uuid4()}"
    step = Step(dict([cookie.split("=")], GITHUB_ACTIONS="true", CI="true"))
    wait_until_running()
    begin()
    for number, wait in ((signal.SIGINT, 7.5), (signal.SIGTERM, 2.5), (signal.SIGKILL, patience)):
        told(number.name)
        step.process.send_signal(number)
        if step.has_ended(wait, for_output=5):
            break
    ended()
    for pid in processes():
        if cookie.encode() in environment_of(pid):
            try:
                done["orphans"].append(name_of(pid))
                os.kill(pid, signal.SIGKILL)
            except OSError:
                pass  # It has exited.


def gitlab():
    step = Step({"GITLAB_CI": "true", "CI": "true"}, preexec_fn=os.setpgrp)
    wait_until_running()
    begin()
    for number in (signal.SIGTERM, signal.SIGKILL):
        told(number.name)
        os.killpg(step.process.pid, number)
        if step.has_ended(patience, for_output=patience):
            break
    ended()


def jenkins():
    # The wrapper that starts the script has another value than the script, so that it survives to write the result.
    cookie = f"JENKINS_SERVER_COOKIE=durable-{uuid.uuid4().hex}"
    script = 'jsc=$1; shift; JENKINS_SERVER_COOKIE=$jsc "$@"; echo $? >result'
    command[:] = ["sh", "-c", script, "sh", cookie.split("=")[1], *command]
    step = Step({"JENKINS_SERVER_COOKIE": "please-do-not-kill-me", "BUILD_ID": "7"})
    wait_until_running()
    begin()
    parents = {}
    for pid in processes():
        try:
            parents[pid] = int(pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
        except OSError:
            pass
    for pid in parents:
        if cookie.encode() in environment_of(pid):
            kill_recursively(pid, parents, time.monotonic() + 5)
    assert step.has_ended(patience, for_output=patience), "the step never ends"
    ended()


def kill_recursively(pid, parents, deadline):
    children = [it for it, parent in parents.items() if parent == pid]
    for child in reversed(children) if kind == "jenkins-reversed" else children:
        kill_recursively(child, parents, deadline)
    try:
        name = name_of(pid)
        os.kill(pid, signal.SIGTERM)
    except OSError:
        return
    told(f"SIGTERM to {name}")
    pause = 0.01
    while os.path.exists(f"/proc/{pid}/status"):
        time.sleep(pause)
        pause = min(2 * pause, 1)
        if time.monotonic() >= deadline:
            break


def begin():
    done["begin"] = time.time()


def ended():
    done["seconds"] = time.time() - done["begin"]


{"github": github, "gitlab": gitlab, "jenkins": jenkins, "jenkins-reversed": jenkins}[kind]()
pathlib.Path("cancel.json").write_text(json.dumps(done))
