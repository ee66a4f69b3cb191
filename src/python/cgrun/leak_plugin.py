"""Finds the processes that each test leaves running.

After the teardown of a test, it looks for processes that descend from pytest and were not there before. They belong to the test,
unless a fixture with a wider scope has started them: such a fixture is judged when it is torn down.
"""

import os

import pytest

from . import processes

# A process that exits this soon after the test is no leak. In seconds, as is the next.
SETTLE = 0.25
# How long leaked processes have to exit after SIGTERM.
GRACE = 2.0
# Processes that start others all the time are ended within this many rounds, or left to cgrun.
ROUNDS = 5
CURRENT_TEST = "PYTEST_CURRENT_TEST"
ADVICE = "Stop it and wait for it in the fixture that starts it, after the fixture's yield."


class LeakPlugin:
    def __init__(self, mode):
        self.ends = mode == "fail"
        # What ran before the test began.
        self.before = {}
        # By fixture, what fixtures have started that outlive a test.
        self.owned = {}
        # What such fixtures have left running, until the teardown of the current test is over.
        self.left_by_fixtures = []
        # pytest itself may run in a test.
        self.own_mark = processes.stat_of(os.getpid())[0].variable(CURRENT_TEST)

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_setup(self, item):
        self.before = processes.descendants()
        return (yield)

    @pytest.hookimpl(wrapper=True)
    def pytest_fixture_setup(self, fixturedef):
        if fixturedef.scope == "function":
            return (yield)
        before = processes.descendants()
        try:
            return (yield)
        finally:
            known = self.all_owned().union(before)
            self.owned.setdefault(fixturedef, set()).update(set(processes.descendants()) - known)

    def pytest_fixture_post_finalizer(self, fixturedef):
        started = self.owned.pop(fixturedef, None)
        if started:
            self.left_by_fixtures.append((fixturedef, started))

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_teardown(self, item):
        try:
            result = yield
        except BaseException as error:
            message = self.judge(item)
            if message:
                error.args = (*error.args[:-1], f"{error.args[-1] if error.args else ''}\n{message}")
            raise
        message = self.judge(item)
        if message and self.ends:
            pytest.fail(message, pytrace=False)
        if message:
            item.warn(pytest.PytestWarning(f"{item.nodeid} {message}"))
        return result

    def judge(self, item):
        """Ends what the test, and the fixtures that were torn down after it, have left running, and says so."""
        fixtures, self.left_by_fixtures = self.left_by_fixtures, []
        entries = self.left_running(item, fixtures)
        if not entries:
            return None
        processes.wait_for(set().union(*(started for _, started in entries)), SETTLE)
        # They may have started others meanwhile.
        entries = self.left_running(item, fixtures)
        if not entries or item.get_closest_marker("leaks"):
            return None
        left = set().union(*(started for _, started in entries))
        texts = {it: f"pid {it.pid} ({shorten(it.command())})" for it in left}
        stubborn = self.end(left) if self.ends else set()
        lines = []
        for name, started in entries:
            leaked = sorted(started, key=lambda it: (it.started, it.pid))
            lines.append(f"{name}left {count(leaked)} running: {texts[leaked[0]]}{remark(leaked[0], stubborn)}")
            lines.extend(f"  {texts[it]}{remark(it, stubborn)}" for it in leaked[1:])
        return "\n".join([*lines, ADVICE])

    def left_running(self, item, fixtures):
        """What is still running, by who started it: the test, whose name is empty, and each fixture."""
        now = processes.descendants()
        elsewhere = self.all_owned().union(*(started for _, started in fixtures))
        entries = [("", self.started_by_test(item, elsewhere, now))]
        for fixture, started in fixtures:
            running = (started | below(started, now)).intersection(now)
            entries.append((f"fixture {fixture.argname!r} ({fixture.scope} scope) ", running))
        return [(name, running) for name, running in entries if running]

    def end(self, left):
        """Ends them, and what they start meanwhile. Returns those that had to be killed."""
        marks = {it.variable(CURRENT_TEST) for it in left}
        stubborn = set()
        for _ in range(ROUNDS):
            stubborn.update(processes.end(left, GRACE))
            elsewhere = self.all_owned()
            now = processes.descendants()
            new = set(now) - set(self.before) - elsewhere - below(elsewhere, now)
            left = {it for it in new if it.variable(CURRENT_TEST) in marks}
            if not left:
                break
        return stubborn

    def all_owned(self):
        return set().union(*self.owned.values())

    def started_by_test(self, item, elsewhere, now):
        """What runs now, did not run before the test, and was not started by a fixture of wider scope."""
        new = set(now) - set(self.before) - elsewhere
        new -= below(elsewhere, now)
        return {it for it in new if self.may_be_of(item, it.variable(CURRENT_TEST))}

    def may_be_of(self, item, mark):
        """A server of another test or of a fixture may have started the process as a daemon, which has its mark."""
        return mark in (None, self.own_mark) or mark.rpartition(" (")[0] == item.nodeid.replace("\x00", "(null)")


def below(roots, now):
    """Which of the processes `now` descend from one of `roots`."""
    pids = {it.pid for it in roots if it in now}
    found = set()
    while True:
        more = {it for it, parent in now.items() if parent in pids and it not in found}
        if not more:
            return found
        found |= more
        pids |= {it.pid for it in more}


def count(found):
    return "1 process" if len(found) == 1 else f"{len(found)} processes"


def remark(process, stubborn):
    return "; it did not stop when asked to" if process in stubborn else ""


def shorten(text, width=200):
    return text if len(text) <= width else f"{text[: width - 1]}…"
