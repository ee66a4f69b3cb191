"""Finds the processes that each test leaves running.

After the teardown of a test, it looks for processes of this pytest that were not there before. They belong to the test,
unless a fixture with a wider scope has started them: such a fixture is judged when it is torn down.
"""

import os

import pytest

from . import pools, processes
from .family import Family
from .known import KnownLeaks
from .leak_log import LeakLog, origin
from .owners import Owners

# A process that exits this soon is no leak. In seconds, as is the next.
SETTLE = 0.25
# How long leaked processes have to exit after SIGTERM.
GRACE = 1.0
# How often to look for what was started meanwhile. If that goes on and on, it is left to cgrun.
ROUNDS = 4
CURRENT_TEST = "PYTEST_CURRENT_TEST"
# What to do about the processes of the test itself, and about those of wider fixtures.
ADVICE_TO_TEST = "Stop {} and wait for {} in the test, also if it fails; or start {} in a fixture, and stop {} after its yield."
ADVICE_TO_FIXTURE = "Stop {} and wait for {} in the fixture, after its yield."
SECTION = "processes left running"
# Those after which pytest prints a summary.
SUMMARIZED = (0, 1, 2, 4, 5)


class LeakPlugin:
    def __init__(self, mode):
        self.ends = mode == "fail"
        self.family = Family()
        self.log = LeakLog()
        self.known = KnownLeaks()
        self.owners = Owners(self.roots_or_error)
        pools.watch()
        # The current test, its phase, when it began, and what ran before.
        self.test, self.phase, self.begin, self.before = "", "", 0, set()
        self.node = ""
        # The phases of the test in which a wider fixture was set up.
        self.phases_of_fixtures = set()
        # Why it is not known what the test has started.
        self.error = None
        self.messages = {}
        # pytest itself may run in a test.
        self.own_mark = processes.alive(os.getpid()).variable(CURRENT_TEST)

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_protocol(self, item):
        with pools.made_by(item):
            return (yield)

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_setup(self, item):
        self.test, self.phase, self.phases_of_fixtures = item.nodeid.partition("::")[2] or item.name, "setup", set()
        self.node = item.nodeid
        self.error, self.begin = None, processes.tick()
        self.before = self.roots_or_error()
        if not self.error:
            self.owners.keep(self.before)
        return (yield)

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_call(self):
        self.phase = "call"
        return (yield)

    @pytest.hookimpl(wrapper=True)
    def pytest_fixture_setup(self, fixturedef):
        if fixturedef.scope == "function":
            return (yield)
        self.phases_of_fixtures.add(self.phase)
        return (yield from self.owners.set_up(fixturedef, self.test, self.node))

    def pytest_fixture_post_finalizer(self, fixturedef):
        self.owners.end_teardown(fixturedef)

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_teardown(self, item):
        self.phase = "teardown"
        try:
            return (yield)
        finally:
            self.judge(item)
            if not self.ends and item in self.messages:
                item.warn(pytest.PytestWarning(f"{item.nodeid}: {self.messages.pop(item)}"))

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

    @pytest.hookimpl(wrapper=True, trylast=True)
    def pytest_sessionfinish(self, session):
        """If pytest stops early, it tears down wider fixtures only now. The terminal's summary comes after this."""
        result = yield
        has_summary = session.config.pluginmanager.has_plugin("terminalreporter") and session.exitstatus in SUMMARIZED
        # Otherwise nobody would say so, and cgrun does at the end of its session.
        if has_summary and not hasattr(session.config, "workerinput"):
            self.judge(None)
            if self.ends and None in self.messages and not session.exitstatus:
                session.exitstatus = pytest.ExitCode.TESTS_FAILED
        return result

    def pytest_terminal_summary(self, terminalreporter):
        message = self.messages.pop(None, None)
        if message:
            terminalreporter.section(SECTION)
            terminalreporter.line(message)

    def judge(self, item):
        """Ends what the test, and the fixtures that were torn down with it, have left running, and notes a message about it."""
        owners = self.owners.take_torn_down()
        try:
            if self.error:
                raise self.error
            left = self.settled(lambda: self.left_running(item, owners))
            if is_marked(item):
                self.log.allow(processes.with_descendants(self.new_of_test(item, owners)))
            if left:
                self.describe(item, owners, left)
        except OSError as error:
            if error.errno is None:  # It comes from a signal handler of the test.
                raise
            self.messages[item] = f"it is not known whether it left processes running: {error}"

    def settled(self, look):
        """What stays of what is found. A process has its time to exit, also if it was started only meanwhile."""
        found = look()
        seen = set()
        for _ in range(ROUNDS):
            new = set().union(*found.values()) - seen
            if not new:
                break
            processes.wait_for(new, SETTLE)
            seen |= new
            found = look()
        found = {name: {it for it in roots & seen if it.is_alive()} for name, roots in found.items()}
        return {name: roots for name, roots in found.items() if roots}

    def left_running(self, item, owners):
        """What is still running, by who started it: the test, whose name is empty, and each fixture."""
        found = {"": self.started_by_test(item, owners)}
        for owner in owners:
            found[owner.name_with_user()] = {it for it in owner.running() if not self.family.is_kept(it)}
        return {name: roots for name, roots in found.items() if roots}

    def started_by_test(self, item, owners):
        return set() if item is None or is_marked(item) else self.new_of_test(item, owners)

    def new_of_test(self, item, owners):
        new = self.family.roots() - self.before - self.owners.started()
        new = {it for it in new.difference(*(owner.started for owner in owners)) if self.may_be_of(item, it)}
        return new - pools.workers_of_others(item) if new else new

    def may_be_of(self, item, process):
        if process.started < self.begin:
            return False
        if self.family.is_orphan(process):
            # A server of another test or of a fixture may have started it as a daemon, which has its mark.
            mark = process.variable(CURRENT_TEST)
            if mark not in (None, self.own_mark):
                test, _, phase = mark.rpartition(" (")
                if test != item.nodeid.replace("\x00", "(null)") or phase.rstrip(")") in self.phases_of_fixtures:
                    return False
            elif self.owners.forget_the_dead():
                return False
        return not self.family.is_kept(process)

    def describe(self, item, owners, left):
        trees = {name: processes.with_descendants(roots) for name, roots in left.items()}
        texts = {it: f"pid {it.pid} ({self.text_of(it)})" for tree in trees.values() for it in tree}
        tests = {owner.name_with_user(): owner.node for owner in owners}
        described = self.described(trees, tests)
        # cgrun reports these as known.
        known = self.known.among(described)
        new = {name: tree - known for name, tree in trees.items() if tree - known}
        # If this is interrupted, by a time limit of the test for example, the message is there.
        if new:
            self.messages[item] = message_of(new, texts, set())
        stubborn = self.end(item, owners, trees, described) if self.ends else set()
        if new:
            self.messages[item] = message_of(new, texts, stubborn)
        used = self.owners.used_by(item) if "" in new else []
        if used:
            it = it_or_them(new[""])
            self.messages[item] += f"\nIf {' or '.join(used)} has started {it} for other tests too, name {it} in cgrun's allow."

    def text_of(self, process, own_pid=os.getpid):
        command = process.command()
        return "a fork of pytest" if command == processes.command_of(own_pid()) else shorten(command)

    def end(self, item, owners, trees, described):
        """Ends them, and what they start meanwhile. Returns those that had to be killed."""
        tests = {owner.name_with_user(): owner.node for owner in owners}
        left, ended, stubborn = set().union(*trees.values()), set(), set()
        try:
            for _ in range(ROUNDS):
                pools.close_those_of(left, GRACE)
                stubborn |= processes.end(left, GRACE)
                ended |= left
                found = self.left_running(item, owners)
                trees = {name: processes.with_descendants(it for it in roots if it.is_alive()) - ended for name, roots in found.items()}
                left = set().union(*trees.values())
                if not left:
                    break
                described.update(self.described(trees, tests))
        finally:
            # What is still alive cgrun finds at the end.
            self.log.add([{**said, "needed_sigkill": it in stubborn} for it, said in described.items() if not it.is_alive()])
        processes.reap(ended)
        return stubborn

    def described(self, trees, tests):
        """For the log, which test has left each process running."""
        found = {}
        for name, tree in trees.items():
            for it in tree:
                said, mark = it.described(), it.variable(CURRENT_TEST)
                if said:
                    found[it] = {**said, "started_during": origin(tests.get(name, self.node), mark)}
        return found

    def roots_or_error(self):
        try:
            return self.family.roots()
        except OSError as error:
            self.error = error
            return set()


def is_marked(item):
    return item is not None and item.get_closest_marker("leaks") is not None


def message_of(trees, texts, stubborn):
    lines = []
    for name, tree in trees.items():
        first, *others = sorted(tree, key=lambda it: (it.started, it.pid))
        said = {it: texts[it] + ("; it did not stop when asked to" if it in stubborn else "") for it in tree}
        lines.append(f"{name}left {count(tree)} running: {said[first]}")
        lines.extend(f"  {said[it]}" for it in others)
    return "\n".join([*lines, advice(trees)])


def advice(trees):
    of_test = trees.get("", ())
    of_fixtures = [it for name, tree in trees.items() if name for it in tree]
    said = ((ADVICE_TO_TEST, of_test), (ADVICE_TO_FIXTURE, of_fixtures))
    return " ".join(text.replace("{}", it_or_them(found)) for text, found in said if found)


def it_or_them(found):
    return "it" if len(found) == 1 else "them"


def count(found):
    return "1 process" if len(found) == 1 else f"{len(found)} processes"


def shorten(text, width=200):
    return text if len(text) <= width else f"{text[: width - 1]}…"
