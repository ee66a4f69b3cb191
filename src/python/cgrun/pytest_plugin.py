"""`pytest --cgrun-leaks=fail` fails each test that leaves a process running.

The wheel registers this module with pytest (pytest11), so it must do nothing unless it is asked to, with any pytest.
"""

import os

import pytest

MODES = ("off", "warn", "fail")
# The first with hooks that wrap others as this plugin does.
OLDEST_PYTEST = (8, 0)


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
    reason = why_not()
    config.cgrun_leaks_said = f"leaks were not looked for, because {reason}"
    if reason is None:
        from .leak_plugin import LeakPlugin

        plugin = LeakPlugin(mode)
        config.pluginmanager.register(plugin, "cgrun-leaks")
        hidden = "daemons were not looked for, because /proc hides the process that adopts them (hidepid, proc(5))"
        config.cgrun_leaks_said = hidden if plugin.family.reaper is None else None
        config.cgrun_leaks_log = plugin.log


def pytest_terminal_summary(terminalreporter, config):
    said = getattr(config, "cgrun_leaks_said", None)
    if said:
        terminalreporter.write_line(f"cgrun: {said}")
    log = getattr(config, "cgrun_leaks_log", None)
    if log and log.error:
        terminalreporter.write_line(f"cgrun: its report may lack what was ended here: {log.error}")


def why_not():
    """Why leaks cannot be looked for. None if they can."""
    if "CGRUN_SESSION" not in os.environ:
        return "pytest does not run in a session (cgrun pytest)"
    if getattr(pytest, "version_tuple", (0, 0))[:2] < OLDEST_PYTEST:
        return "pytest is older than {}.{}".format(*OLDEST_PYTEST)
    if not os.path.exists(f"/proc/self/task/{os.getpid()}/children"):
        return "the kernel does not list the children of processes (CONFIG_PROC_CHILDREN), or /proc is not mounted"
    return None
