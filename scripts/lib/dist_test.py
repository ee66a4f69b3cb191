"""Installs cgrun from its packages and runs it. scripts/dist-test starts this; the first argument is the target directory."""

import sys
import time
from pathlib import Path

sys.dont_write_bytecode = True
from dist_checks import Failed, check, check_plugin, start_up
from dist_host import Busybox, Debian
from dist_python import environments, tools
from dist_refusals import refusals


class Table:
    HEADER = ("artefact", "host", "size", "install", "--version", "true", "result")

    def __init__(self):
        self.failed = False
        self.show(self.HEADER)

    def show(self, cells):
        widths = (14, 26, 9, 9, 10, 9)
        print("    " + "".join(f"{cell:<{width}}" for cell, width in zip(cells, widths, strict=False)) + cells[-1], flush=True)

    def row(self, kind, file, host, install, cgrun="cgrun", is_for_pytest=False, **options):
        """Installs a package on a host with a script, checks it there, and adds a line."""
        started = time.monotonic()
        cells = [kind, host.name, f"{file.stat().st_size / 1e6:.2f} MB"]
        try:
            host.must(install)
            cells.append(f"{time.monotonic() - started:.2f} s")
            check(host, cgrun, **options)
            if is_for_pytest:
                check_plugin(host, cgrun)
            for command in ("--version", "true"):
                cells.append(f"{start_up(host, f'{cgrun} {command}'):.1f} ms")
            cells.append("ok")
        except (Failed, SystemExit) as error:
            self.failed = True
            cells += [""] * (6 - len(cells)) + [f"FAIL {error}"]
        self.show(cells)


class Packages:
    def __init__(self, directory):
        self.directory = directory
        self.archive = self.one("cgrun-*-linux.tar.gz")
        self.wheel, self.deb = self.one("cgrun-*.whl"), self.one("cgrun_*.deb")

    def one(self, pattern):
        return next(iter(sorted(self.directory.glob(pattern))), None)


def unpack(path):
    return f"tar -xzf {path} -C /usr/local --strip-components=1"


def archive(packages, table, target):
    with Busybox() as host:
        table.row("archive", packages.archive, host, unpack(host.add(packages.archive)), knows_all_users=False)
        cut_file(packages, host)


def cut_file(packages, host):
    """A download that was cut short does not pass its checksum."""
    (host.root / "packages/SHA256SUMS").write_text(
        "".join(
            line
            for line in (packages.directory / "SHA256SUMS").read_text().splitlines(keepends=True)
            if packages.archive.name in line
        )
    )
    host.must("cd packages && sha256sum -c SHA256SUMS")
    with open(host.root / "packages" / packages.archive.name, "r+b") as file:
        file.truncate(packages.archive.stat().st_size - 1)
    if host.run("cd packages && sha256sum -c SHA256SUMS").returncode == 0:
        raise SystemExit("a file that is cut short passes its checksum")
    print("    a file that is cut short does not pass its checksum")


def debian(packages, table, target):
    for suite in ("bullseye", "bookworm", "trixie"):
        for kind in ("archive", "wheel", "deb"):
            with Debian(suite, target / "dist-hosts") as host:
                file = getattr(packages, kind)
                path, cgrun = host.add(file), "cgrun"
                install = {"archive": unpack(path), "deb": f"dpkg -i {path}"}.get(kind)
                if kind == "wheel":
                    host.must("python3 -m venv /venv")
                    install, cgrun = f"/venv/bin/pip install --no-index {path}", "/venv/bin/cgrun"
                knows = kind != "archive"
                table.row(kind, file, host, install, cgrun, knows_all_users=knows, has_directory=True)


def python(packages, table, target):
    for environment in environments():
        with environment as host:
            table.row("wheel", packages.wheel, host, host.install(packages.wheel), host.cgrun, is_for_pytest=True)
    for tool in tools(target):
        with tool as host:
            table.row("wheel", packages.wheel, host, host.install(packages.wheel), host.cgrun)


GROUPS = {"archive": archive, "debian": debian, "python": python, "refusals": refusals}
NEEDED = {"archive": ["archive"], "debian": ["archive", "wheel", "deb"], "python": ["wheel"], "refusals": []}


def check_arguments(names, packages):
    for name in names:
        if name not in GROUPS:
            raise SystemExit(f"there is no group {name}; the groups are {', '.join(GROUPS)}")
        for kind in NEEDED[name]:
            if not getattr(packages, kind):
                raise SystemExit(f"the group {name} needs the {kind}, which is not built; run scripts/dist first")


def main():
    target = Path(sys.argv[1])
    packages = Packages(target / "dist")
    check_arguments(sys.argv[2:], packages)
    table = Table()
    for name in sys.argv[2:]:
        GROUPS[name](packages, table, target)
    sys.exit(table.failed)


if __name__ == "__main__":
    main()
