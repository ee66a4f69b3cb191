"""What fixtures with a wider scope than a test have started. Each is judged when it is torn down."""

import re
from dataclasses import dataclass, field

from . import pools, processes


@dataclass
class Owner:
    """One such fixture, from its setup to its teardown."""

    fixture: object
    first_user: str
    # The same test, as pytest names it.
    node: str
    started: set = field(default_factory=set)
    # What ran when its teardown began.
    before_teardown: set = None

    def name(self):
        return f"{title_of(self.fixture)} ({self.fixture.scope} scope)"

    def name_with_user(self):
        return f"{self.name()}, first used by {self.first_user}, "

    def running(self):
        """What it has started, and is not the work of another fixture's pool."""
        started = {it for it in self.started if it.is_alive()}
        return (started | pools.workers_of(self.fixture)) - pools.workers_of_others(self.fixture)


class Owners:
    def __init__(self, roots):
        self.roots = roots
        self.by_fixture = {}
        # Those that were torn down and have not been judged yet.
        self.torn_down = []

    def set_up(self, fixture, test, node):
        """Runs around the setup of a fixture."""
        owner = Owner(fixture, test, node)
        before, begin = self.roots(), processes.tick()
        try:
            with pools.made_by(fixture):
                return (yield)
        finally:
            owner.started = {it for it in self.roots() - before - self.started() if it.started >= begin}
            self.by_fixture[fixture] = owner
            # It is the last finalizer so far, so it is the first to be called.
            fixture.addfinalizer(lambda: self.begin_teardown(owner))

    def begin_teardown(self, owner):
        owner.before_teardown = self.roots()

    def end_teardown(self, fixture):
        owner = self.by_fixture.pop(fixture, None)
        if owner:
            if owner.before_teardown is not None:
                owner.started |= self.roots() - owner.before_teardown - self.started()
            self.torn_down.append(owner)

    def take_torn_down(self):
        owners, self.torn_down = self.torn_down, []
        return owners

    def started(self):
        return set().union(*(it.started for it in self.by_fixture.values()))

    def keep(self, running):
        for owner in self.by_fixture.values():
            owner.started &= running

    def forget_the_dead(self):
        """Returns whether any exited during this test."""
        dead = {it for it in self.started() if not it.is_alive()}
        for owner in self.by_fixture.values():
            owner.started -= dead
        return bool(dead)

    def used_by(self, item):
        names = getattr(item, "fixturenames", ())
        return [it.name() for it in self.by_fixture.values() if it.fixture.argname in names]


def title_of(fixture):
    """pytest makes fixtures of setUpClass() and the like."""
    match = re.match(r"_?(?:unittest|xunit)_(\w+?)_fixture_", fixture.argname)
    return f"{match[1]}()" if match else f"fixture {fixture.argname!r}"
