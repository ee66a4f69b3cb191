"""Tells cgrun what was ended, so that its report lists it: a line of JSON in the session's leak log."""

import json
import os
import re

from . import processes

VARIABLE = "CGRUN_LEAK_LOG"
FLAGS = os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK


class LeakLog:
    def __init__(self):
        # It stays open, since a test can remove the file.
        self.handle, self.error = None, None
        try:
            self.handle = os.open(os.environ[VARIABLE], FLAGS)
        except KeyError:
            self.error = "cgrun is too old for that"
        except OSError as error:
            self.error = str(error)

    def add(self, described, write=os.write):
        """Adds these processes, which were ended together."""
        if described:
            self.append(entry_of(described), write)

    def allow(self, found, write=os.write):
        """Adds these processes, which their test is allowed to leave running."""
        if found:
            self.append(line_of({"allowed": {"processes": [(it.pid, it.started) for it in found]}}), write)

    def append(self, line, write):
        if self.handle is None:
            return
        try:
            if write(self.handle, line) < len(line):
                self.error = "the disk is full"
        except OSError as error:
            self.error = str(error)


def entry_of(described):
    return line_of({"ended": {"by": "pytest plugin", "processes": described}})


def line_of(entry):
    return json.dumps(entry).encode() + b"\n"


def origin(test, mark):
    """The test that left a process running. `mark` is what the process has in its environment: it tells the phase."""
    name, _, phase = (mark or "").rpartition(" (")
    test = processes.plain(test.replace("\x00", "(null)"))
    return {
        "runner": "pytest",
        "test": test,
        "phase": phase.rstrip(")") if name == test and re.fullmatch(r"\w+\)", phase) else None,
        "worker": os.environ.get("PYTEST_XDIST_WORKER"),
        "evidence": "plugin",
    }
