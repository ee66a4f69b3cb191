"""`pytest --cgrun-leaks=fail` fails each test that leaves a process running.

The wheel registers this module with pytest (pytest11), so it must do nothing unless it is asked to, with any pytest.
"""

import os

import pytest

MODES = ("off", "warn", "fail")
# The first with hooks that wrap others as this plugin does.
OLDEST_PYTEST = (7, 4)


def pytest_addoption(parser):
    text = "whether a test that leaves processes running fails and they are ended (fail), causes a warning (warn), or neither (off)"
    parser.getgroup("cgrun").addoption("--cgrun-leaks", choices=MODES, help=text)
    parser.addini("cgrun_leaks", "the same as --cgrun-leaks", default="off")


def pytest_configure(config):
    config.addinivalue_line("markers", "leaks(reason): the test is allowed to leave processes running")
    mode = config.getoption("--cgrun-leaks") or config.getini("cgrun_leaks")
    if mode not in MODES:
        raise pytest.UsageError(f"cgrun_leaks is {mode!r}, and has to be one of {', '.join(MODES)}")
    if mode == "off":
        return
    config.cgrun_leaks_off = why_not()
    if config.cgrun_leaks_off is None:
        from .leak_plugin import LeakPlugin

        config.pluginmanager.register(LeakPlugin(mode), "cgrun-leaks")


def pytest_report_header(config):
    reason = getattr(config, "cgrun_leaks_off", None)
    return f"cgrun: not looking for leaks, because {reason}" if reason else None


def why_not():
    """Why leaks cannot be looked for. None if they can."""
    if "CGRUN_SESSION" not in os.environ:
        return "pytest does not run in a session (cgrun pytest)"
    if getattr(pytest, "version_tuple", (0, 0))[:2] < OLDEST_PYTEST:
        return "pytest is older than {}.{}".format(*OLDEST_PYTEST)
    from . import processes

    if not processes.can_list():
        return "the kernel does not list the children of processes (CONFIG_PROC_CHILDREN)"
    if not processes.adopt_orphans():
        return "pytest cannot adopt daemons (PR_SET_CHILD_SUBREAPER)"
    return None
