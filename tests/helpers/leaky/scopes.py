"""Tests and fixtures of every scope, those that clean up and those that leak. Run it as `pytest scopes.py`."""

import os
import subprocess
import unittest

import pytest


def start(*command, **options):
    return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, **options)


def clean(number):
    process = start("sleep", number)
    yield process
    process.kill()
    process.wait()


def leaky(number):
    yield start("sleep", number)


for scope in ("session", "package", "module", "class", "function"):
    for make in (clean, leaky):
        number = 910 + len(scope)
        globals()[f"{make.__name__}_{scope}"] = pytest.fixture(scope=scope, name=f"{make.__name__}_{scope}")(
            lambda make=make, number=number: (yield from make(str(number)))
        )


@pytest.fixture
def broken():
    yield
    raise ValueError("the teardown broke")


class TestFirst:
    def test_clean_fixtures(self, clean_session, clean_package, clean_module, clean_class, clean_function):
        pass

    def test_leaky_function(self, leaky_function):
        pass

    def test_leaky_class(self, leaky_class, clean_class):
        pass

    def test_last_of_class(self):
        pass


def test_leaky_others(leaky_session, leaky_package, leaky_module):
    pass


def test_call():
    start("sleep", "901")


def test_no_environment():
    start("sleep", "902", env={})


def test_daemon():
    subprocess.run(["env", "-i", "setsid", "-f", "/bin/sleep", "903"], check=True)


def test_double_fork():
    if os.fork() == 0:
        if os.fork() == 0:
            os.execv("/bin/sleep", ["sleep", "904"])
        os._exit(0)
    os.wait()


def test_chain():
    shell = start("sh", "-c", "sleep 905 & exec sleep 906")
    while not open(f"/proc/{shell.pid}/cmdline", "rb").read().startswith(b"sleep"):
        assert shell.poll() is None


def test_deaf():
    with subprocess.Popen(["sh", "-c", "trap '' TERM; echo; while :; do sleep 907; done"], stdout=-1) as shell:
        shell.stdout.readline()
        shell.returncode = 0  # Do not wait for it.


def test_brief():
    start("sleep", "0.05")


def test_fails_and_leaks():
    start("sleep", "908")
    raise AssertionError("it failed itself")


def test_teardown_breaks(broken):
    start("sleep", "909")


@pytest.mark.leaks("the agent stays")
def test_allowed():
    start("sleep", "900")


def test_clean():
    subprocess.run(["true"], check=True)


@pytest.mark.parametrize("name", ["a b", "x (call)", "é☃", "\x1b[31m\n::error::", "%0A]]>"])
def test_hostile_name(name):
    start("sleep", "930")


def test_subtests(subtests):
    for number in "931", "932":
        with subtests.test(number):
            start("sleep", number)


class TestOfUnittest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.process = start("sleep", "940")

    def test_one(self):
        start("sleep", "941")

    def test_two(self):
        pass
