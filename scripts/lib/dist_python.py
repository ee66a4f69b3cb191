"""The Pythons of this machine as hosts: virtual environments, pipx, uv, and a clone."""

import os
import shutil
import subprocess
import tempfile
from pathlib import Path

from dist_host import Host


class Python(Host):
    """A new virtual environment of this interpreter. Its scripts run on this machine."""

    def __init__(self, name, interpreter):
        super().__init__(name)
        self.interpreter = interpreter

    def __enter__(self):
        self.root = Path(tempfile.mkdtemp(prefix="cgrun-dist-test."))
        self.root.chmod(0o755)
        self.cgrun = self.root / "venv/bin/cgrun"
        self.must(f"{self.interpreter} -m venv {self.root}/venv")
        return self

    def install(self, wheel):
        return f"{self.root}/venv/bin/pip install --quiet --no-index {wheel}"

    def run(self, script, wrapper=()):
        return subprocess.run(
            [*wrapper, "sh", "-ec", script],
            cwd=self.root,
            env=os.environ | self.variables(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def variables(self):
        return {}


class Tool(Python):
    """pipx or uv, installed into a virtual environment."""

    def __init__(self, tool, command):
        super().__init__(tool, "python3")
        self.tool, self.command = tool, command

    def __enter__(self):
        super().__enter__()
        self.must(f"{self.root}/venv/bin/pip install --quiet --disable-pip-version-check {self.tool}")
        self.cgrun = self.root / "bin/cgrun"
        return self

    def install(self, wheel):
        return f"{self.root}/venv/bin/{self.command} {wheel}"

    def variables(self):
        root = str(self.root)
        homes = {"PIPX_HOME": "pipx", "UV_TOOL_DIR": "uv", "UV_CACHE_DIR": "cache"}
        variables = {name: f"{root}/{directory}" for name, directory in homes.items()}
        return variables | {"PIPX_BIN_DIR": f"{root}/bin", "UV_TOOL_BIN_DIR": f"{root}/bin"}


class Clone(Python):
    """`pip install .` in a clone, which compiles cgrun."""

    def __init__(self, target):
        super().__init__("pip install . in a clone", "python3")
        self.target = target

    def install(self, wheel):
        repository = Path(__file__).resolve().parent.parent.parent
        clone = f"git clone --quiet {repository} {self.root}/clone && cd {self.root}/clone"
        return f"{clone} && CARGO_TARGET_DIR={self.target}/dist-clone {self.root}/venv/bin/pip install --quiet ."


def interpreters():
    """Each minor version of Python 3.7 or later, once, with the path of its interpreter."""
    found = {}
    places = [*Path.home().glob(".pyenv/versions/3.*/bin"), *map(Path, os.get_exec_path())]
    for path in (it / f"python3.{minor}" for minor in range(7, 30) for it in places):
        works = path.exists() and subprocess.run([path, "-c", "import venv, ensurepip"], capture_output=True).returncode == 0
        if works:
            found.setdefault(path.name, path)
    return found


def environments():
    return [Python(name, path) for name, path in interpreters().items()]


def tools(target):
    yield Tool("pipx", "pipx install --quiet")
    yield Tool("uv", "uv tool install --quiet --offline")
    if shutil.which("cargo"):
        yield Clone(target)
