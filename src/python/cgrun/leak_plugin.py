"""Finds the processes that each test leaves running.

After the teardown of a test, it looks for processes of this pytest that were not there before. They belong to the test,
unless a fixture with a wider scope has started them: such a fixture is judged when it is torn down.
"""

import os
import re
import weakref

import pytest

from . import pools, processes
from .family import Family

# A process that exits this soon after the test is no leak. In seconds, as is the next.
SETTLE = 0.25
# How long leaked processes have to exit after SIGTERM.
GRACE = 2.0
# Processes that start others all the time are ended within this many rounds, or left to cgrun.
ROUNDS = 5
CURRENT_TEST = "PYTEST_CURRENT_TEST"
ADVICE = "Stop it and wait for it in the fixture that starts it, after the fixture's yield."
SECTION = "processes left running"


class LeakPlugin:
    def __init__(self, mode):
        self.ends = mode == "fail"
        self.family = Family()
        # The test, and what ran before it began.
        self.current = ""
        self.before = set()
        # Why it is not known what the test has started.
        self.error = None
        # By fixture, what fixtures have started that outlive a test, the pools that they made, and the first test.
        self.owned = {}
        self.pools = {}
        self.first_users = {}
        # The pools that outlive a test, of fixtures and of modules.
        self.known_pools = weakref.WeakSet()
        # By name, what such fixtures have left running, until the teardown of the current test is over.
        self.left_by_fixtures = []
        # Whether such a fixture was set up for the current test.
        self.is_first_of_fixture = False
        self.messages = {}
        # pytest itself may run in a test.
        self.own_mark = processes.alive(os.getpid()).variable(CURRENT_TEST)

    def pytest_runtestloop(self):
        self.known_pools.update(pools.pools())

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_setup(self, item):
        self.current = item.nodeid.partition("::")[2] or item.name
        self.is_first_of_fixture = False
        self.error = None
        self.before = self.roots_or_error()
        if not self.error:
            self.owned = {it: set(filter(processes.Process.is_alive, started)) for it, started in self.owned.items()}
        return (yield)

    @pytest.hookimpl(wrapper=True)
    def pytest_fixture_setup(self, fixturedef):
        if fixturedef.scope == "function":
            return (yield)
        self.first_users[fixturedef] = self.current
        before = self.roots_or_error()
        try:
            return (yield)
        finally:
            started = self.roots_or_error() - before - self.all_owned()
            self.is_first_of_fixture |= bool(started)
            self.owned.setdefault(fixturedef, set()).update(started)
            made = [it for it in pools.pools() if it not in self.known_pools]
            self.pools.setdefault(fixturedef, weakref.WeakSet()).update(made)
            self.known_pools.update(made)

    def pytest_fixture_post_finalizer(self, fixturedef):
        first_user = self.first_users.pop(fixturedef, None)
        if first_user is None:
            return
        started = self.owned.pop(fixturedef, set())
        made = self.pools.pop(fixturedef, weakref.WeakSet())
        self.known_pools -= made
        started.update(*map(pools.workers_of, made))
        if started:
            name = f"{name_of(fixturedef)} ({fixturedef.scope} scope), first used by {first_user}, "
            self.left_by_fixtures.append((name, started))

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_teardown(self, item):
        try:
            return (yield)
        finally:
            message = self.judge(item)
            if message and self.ends:
                self.messages[item] = message
            elif message:
                item.warn(pytest.PytestWarning(f"{item.nodeid} {message}"))

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_makereport(self, item, call):
        report = yield
        message = self.messages.pop(item, None) if call.when == "teardown" else None
        if message and report.passed:
            report.outcome = "failed"
            with pytest.raises(pytest.fail.Exception) as failure:
                pytest.fail(message, pytrace=False)
            # An item of a special kind reports only exceptions of its own.
            report.longrepr = pytest.Item.repr_failure(item, failure)
        elif message and hasattr(report.longrepr, "addsection"):
            report.longrepr.addsection(SECTION, message)
        elif message:
            report.longrepr = f"{report.longrepr or ''}\n{message}"
        return report

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_sessionfinish(self, session):
        """If pytest stops early, it tears down wider fixtures only now."""
        result = yield
        message = self.judge(None)
        if message:
            self.messages[None] = message
            if self.ends and not session.exitstatus:
                session.exitstatus = pytest.ExitCode.TESTS_FAILED
        return result

    def pytest_terminal_summary(self, terminalreporter):
        message = self.messages.pop(None, None)
        if message:
            terminalreporter.section(SECTION)
            terminalreporter.line(message)

    def judge(self, item):
        """Ends what the test, and the fixtures that were torn down after it, have left running, and says so."""
        fixtures, self.left_by_fixtures = self.left_by_fixtures, []
        try:
            if self.error:
                raise self.error
            entries = self.left_running(item, fixtures)
            if not entries:
                return None
            processes.wait_for(set().union(*(started for _, started in entries)), SETTLE)
            # They may have started others meanwhile.
            entries = self.left_running(item, fixtures)
            return self.describe(item, fixtures, entries) if entries else None
        except OSError as error:
            return f"it is not known whether it left processes running: {error}"

    def describe(self, item, fixtures, entries):
        texts = {it: f"pid {it.pid} ({shorten(it.command())})" for _, started in entries for it in started}
        stubborn = self.end(item, fixtures, entries) if self.ends else set()
        lines = []
        for name, started in entries:
            leaked = sorted(started, key=lambda it: (it.started, it.pid))
            lines.append(f"{name}left {count(leaked)} running: {texts[leaked[0]]}{remark(leaked[0], stubborn)}")
            lines.extend(f"  {texts[it]}{remark(it, stubborn)}" for it in leaked[1:])
        return "\n".join([*lines, ADVICE])

    def left_running(self, item, fixtures):
        """What is still running, by who started it: the test, whose name is empty, and each fixture."""
        entries = [("", self.started_by_test(item, fixtures))]
        for name, started in fixtures:
            entries.append((name, {it for it in started if it.is_alive() and not self.family.is_kept(it)}))
        if any(roots for _, roots in entries):
            workers = set().union(*map(pools.workers_of, self.known_pools))
            entries = [(name, roots - workers) for name, roots in entries]
        return [(name, processes.with_descendants(roots)) for name, roots in entries if roots]

    def end(self, item, fixtures, entries):
        """Ends them, and what they start meanwhile. Returns those that had to be killed."""
        stubborn = set()
        for _ in range(ROUNDS):
            left = set().union(*(started for _, started in entries)) - stubborn
            if not left:
                break
            for pool in pools.pools():
                if pools.workers_of(pool) & left:
                    pools.close(pool, GRACE)
            stubborn |= processes.end(left, GRACE)
            entries = self.left_running(item, fixtures)
            for process in left:
                processes.reap(process)
        return stubborn

    def roots_or_error(self):
        try:
            return self.family.roots()
        except OSError as error:
            self.error = error
            return set()

    def all_owned(self):
        return set().union(*self.owned.values())

    def started_by_test(self, item, fixtures):
        """What has no living parent but pytest, did not run before the test, and was not started by a fixture of wider scope."""
        if item is None or item.get_closest_marker("leaks"):
            return set()
        new = self.family.roots() - self.before - self.all_owned()
        new = new.difference(*(started for _, started in fixtures))
        return {it for it in new if self.may_be_of(item, it)}

    def may_be_of(self, item, process):
        if self.family.is_orphan(process):
            if not self.family.is_ours(process):
                return False
            # A server of another test or of a fixture may have started it as a daemon, which has its mark.
            mark = process.variable(CURRENT_TEST)
            if mark not in (None, self.own_mark):
                test, _, phase = mark.rpartition(" (")
                if test != item.nodeid.replace("\x00", "(null)"):
                    return False
                if phase == "setup)" and self.is_first_of_fixture:
                    return False
            elif any(not it.is_alive() for it in self.all_owned()):
                return False
        return not self.family.is_kept(process)


def name_of(fixture):
    """pytest makes fixtures of setUpClass() and the like."""
    match = re.match(r"_?(?:unittest|xunit)_(\w+?)_fixture_", fixture.argname)
    return f"{match[1]}()" if match else f"fixture {fixture.argname!r}"


def count(found):
    return "1 process" if len(found) == 1 else f"{len(found)} processes"


def remark(process, stubborn):
    return "; it did not stop when asked to" if process in stubborn else ""


def shorten(text, width=200):
    return text if len(text) <= width else f"{text[: width - 1]}…"
