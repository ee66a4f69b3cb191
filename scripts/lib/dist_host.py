"""A host to install cgrun on: a file system of its own, with the kernel and the cgroups of this machine."""

import shutil
import subprocess
import tempfile
from pathlib import Path

# The mounts are private to these processes, so the kernel removes them with the last one.
ENTER = """
mount -t proc proc "$1/proc"
mount --bind /dev "$1/dev"
mount -t tmpfs sys "$1/sys"
mkdir -p "$1/sys/fs/cgroup"
mount --bind "$2" "$1/sys/fs/cgroup"
exec chroot "$1" /usr/bin/env -i PATH="$3" HOME=/root LANG=C.UTF-8 sh -c "$4"
"""
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
# A user of a directory service, who is not in /etc/passwd.
DISTANT = "distant:x:4711:4712::/nonexistent:/bin/sh\n"


def cgroup2():
    lines = [it.split() for it in Path("/proc/self/mounts").read_text().splitlines()]
    return next(it[1] for it in lines if it[2] == "cgroup2")


class Host:
    """Use it as a context: its files are removed at the end."""

    def __init__(self, name, path=PATH):
        self.name, self.path = name, path

    def __enter__(self):
        self.root = Path(tempfile.mkdtemp(prefix="cgrun-dist-test."))
        self.root.chmod(0o755)
        try:
            self.fill()
        except BaseException:
            self.__exit__()
            raise
        (self.root / "packages").mkdir()
        return self

    def __exit__(self, *_):
        subprocess.run(["rm", "-rf", "--one-file-system", self.root], check=True)

    def add(self, file):
        """Copies a package onto the host, and returns its path there."""
        shutil.copy(file, self.root / "packages")
        return f"/packages/{Path(file).name}"

    def run(self, script, wrapper=()):
        """Runs a shell script there as root. stderr is part of the output."""
        enter = ["unshare", "--mount", "--propagation", "private", "sh", "-ec", ENTER, "enter"]
        command = [*wrapper, *enter, self.root, cgroup2(), self.path, script]
        return subprocess.run(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )

    def must(self, script):
        done = self.run(script)
        if done.returncode:
            raise SystemExit(f"{self.name}: {script}: exit code {done.returncode}\n{done.stdout}")
        return done.stdout


class Debian(Host):
    def __init__(self, suite, archives):
        super().__init__({"bullseye": "Debian 11", "bookworm": "Debian 12", "trixie": "Debian 13"}[suite])
        self.archive = archives / f"{suite}.tar"

    def fill(self):
        subprocess.run(["tar", "-xf", self.archive, "-C", self.root, "--exclude=./dev/*"], check=True)
        users = self.root / "var/lib/extrausers/passwd"
        users.parent.mkdir(parents=True, exist_ok=True)
        users.write_text(DISTANT)
        sources = self.root / "etc/nsswitch.conf"
        sources.write_text("passwd: files extrausers\ngroup: files extrausers\n")


class Busybox(Host):
    def __init__(self):
        super().__init__("busybox")

    def fill(self):
        for directory in "bin dev etc proc root sys tmp usr/bin usr/local".split():
            (self.root / directory).mkdir(parents=True)
        (self.root / "tmp").chmod(0o1777)
        shutil.copy(shutil.which("busybox"), self.root / "bin/busybox")
        for applet in "sh sleep true id tar sha256sum cat head".split():
            (self.root / "bin" / applet).symlink_to("busybox")
        (self.root / "usr/bin/env").symlink_to("../../bin/busybox")
        (self.root / "etc/passwd").write_text("root:x:0:0::/root:/bin/sh\nnobody:x:65534:65534::/:/bin/sh\n")
        (self.root / "etc/group").write_text("root:x:0:\nnogroup:x:65534:\n")
