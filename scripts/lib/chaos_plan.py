"""Derives from a seed the events of one chaos run, and how cgrun may exit. Pure functions."""

import random
from signal import SIGABRT, SIGCONT, SIGINT, SIGKILL, SIGSEGV, SIGSTOP, SIGTERM, SIGUSR1

from chaos_actor import HANDLED, POLITE

DEADLY = (SIGKILL, SIGSEGV, SIGABRT)
# The part of the sessions that run a container of podman.
CONTAINERS = 0.04
# The part of the others that have something of their own.
PRIVATE = 0.3


def plan_child(it, safe_to_vanish, ports):
    kind = it.choice(["rest", "rest", "stopped", "forker", "namespace", "blank"])
    daemon = it.random() < 0.3
    away = it.random() < 0.2 and (kind != "blank" or safe_to_vanish(daemon))
    return {
        "kind": kind,
        "depth": it.choice([0, 0, 0, 1, 3]),
        "daemon": daemon,
        "deaf": it.random() < 0.3,
        "elsewhere": away,
        "port": ports.pop() if ports and it.random() < 0.2 else None,
        "links": it.randrange(3, 30),
    }


def plan_hits(it, services):
    """Which process receives which signal. They are sent one after another without a pause."""
    one = {
        "supervisor": lambda: [("supervisor", it.choice([*POLITE, *DEADLY, SIGKILL, SIGKILL]))],
        "guardian": lambda: [("guardian", it.choice([*DEADLY, SIGTERM]))],
        "command": lambda: [("command", it.choice([*POLITE, *DEADLY, SIGUSR1]))],
        "service": lambda: [(f"service{it.randrange(services)}", it.choice([SIGKILL, SIGTERM, SIGSTOP]))],
        "paused": lambda: [("supervisor", SIGSTOP), ("guardian", it.choice(DEADLY)), ("supervisor", SIGCONT)],
        "both": lambda: it.sample([("supervisor", SIGKILL), ("guardian", SIGKILL)], 2),
        "cookie": lambda: [("cookie", SIGKILL)],
        "both surely": lambda: [(who, what) for what in (SIGSTOP, SIGKILL) for who in ("supervisor", "guardian")],
    }
    kinds = [kind for kind in one if kind != "service" or services]
    chosen = it.choices(kinds, k=it.choice([0, 1, 1, 1, 1, 2, 3]))
    return [hit for kind in chosen for hit in one[kind]()]


def plan(seed):
    it = random.Random(seed)
    services = it.choice([0, 1, 2, 3])
    hits = plan_hits(it, services)
    phase = it.choice(["start", "run", "run", "teardown"])

    def safe_to_vanish(daemon):
        """Whether a process that leaves the cgroup and clears its environment is still found."""
        if not any(who in ("supervisor", "cookie") and what in DEADLY for who, what in hits):
            return True
        # Its living parent shows the guardian where it came from.
        return len(hits) == 1 and hits[0][0] == "supervisor" and phase == "run" and not daemon

    ports = it.sample([3000, 8000], 2)

    def leader(children):
        return {
            "on_signal": it.choice(["dies", "dies", "handles", "ignores"]),
            "port": ports.pop() if ports and it.random() < 0.3 else None,
            "children": [plan_child(it, safe_to_vanish, ports) for _ in range(it.randrange(children))],
        }

    made = {
        "seed": seed,
        "services": [leader(4) | {"needs": it.random() < 0.5, "log": it.random() < 0.5} for _ in range(services)],
        "command": leader(6) | {"code": it.choice([0, 0, 1, 7])},
        "nested": it.choice([0, 0, 0, 1, 2]),
        "fail_on_leak": it.random() < 0.3,
        "grace": it.choice([50, 200, 400]),
        "phase": phase,
        "delay": it.choice([0, it.uniform(0, 0.05), it.uniform(0, 0.3)]),
        "hits": hits,
        "around": it.choice(["nothing", "nothing", "nothing", "frozen clock", "few files", "raw terminal"]),
    }
    # Drawn last, so that a seed gives the same session as before there were containers.
    made["command"]["container"] = it.choice(["attached", "detached"]) if it.random() < CONTAINERS else None
    # And these, so that it gives the same as before sessions could be private.
    if it.random() < PRIVATE and not made["command"]["container"]:
        made["private"] = it.choice(["net", "net=outbound,ipc", "tmp,shm", "all"])
    return made


def can_leak(plan):
    """Whether a process can outlive the command, or a service its grace."""
    is_deaf = any(it["on_signal"] == "ignores" for it in plan["services"])
    leaders = [plan["command"], *plan["services"]]
    return is_deaf or any(it["children"] or it.get("container") for it in leaders)


def exit_codes(plan, hits, was_killed=False, was_running=True):
    """The exit codes that cgrun may have after these hits; a negative number means killed by that signal.

    `was_killed` tells whether cgrun says that it killed the command, which had not exited in time, and `was_running`
    whether the command had started its work.
    """
    command = plan["command"]
    own = {command["code"]} | ({121} if plan["fail_on_leak"] and command["code"] == 0 and can_leak(plan) else set())
    answers = {"dies": set(), "handles": {HANDLED}, "ignores": own}
    may = set()
    for who, what in hits:
        answer = answers[command["on_signal"]] if what in POLITE else set()
        # The guardian passes a SIGTERM on.
        is_for_supervisor = who == "supervisor" or (who == "guardian" and what == SIGTERM)
        if is_for_supervisor and what not in (SIGSTOP, SIGCONT):
            may |= answer
            # A command that has not started, or that an outer cgrun kills after a shorter grace, handles nothing.
            if answer != {HANDLED} or plan["phase"] == "start" or plan["nested"] or was_killed:
                may.add(-what)
        elif who == "command":
            may |= answer or {128 + what}
        elif who.startswith("service"):
            may |= {125} | own
    if not was_running and any(what == SIGINT for _, what in hits):
        may.add(1)  # Python says so if it is interrupted while it starts.
    return may if may and plan["phase"] == "run" and not can_be_lost(hits) else may | own


def can_be_lost(hits):
    """Whether a guardian was killed right after a SIGTERM, which it may not have passed on then."""
    those = [what for who, what in hits if who == "guardian"]
    return SIGTERM in those and any(what in DEADLY for what in those[those.index(SIGTERM) :])
